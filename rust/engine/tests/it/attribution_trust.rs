//! Whom a server's evidence credits, no browser moves.

use crate::attribution_shared::{named, outcomes, world};
use crate::common::*;

/// Partner 3's click under visitor 4, whom a server linked to customer 5; then partner 8's click
/// under visitor 9, whom a browser claims to be customer 5.
fn claimed() -> World {
    let mut world = world(&[]);
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world.push(head(300, T0).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
    let now = T0 + 60_000;
    world.at(now).push(head(101, now).click(8, &[(VISITOR, 9)]));
    world.push(head(301, now).browser().identify(&[(CUSTOMER, 5), (VISITOR, 9)]));
    world
}

/// Whose reports and whose links the last conversion was decided on.
fn decided_on(result: &Result) -> (String, String) {
    let explain = result.explain();
    let side = |name: &str| explain[name].as_str().unwrap().to_owned();
    (side("evidence"), side("links"))
}

fn on(evidence: &str, links: &str) -> (String, String) {
    (evidence.to_owned(), links.to_owned())
}

#[test]
fn a_browsers_link_to_a_newer_click_moves_nothing_and_is_shown() {
    let mut world = claimed();
    let now = world.ms;
    let result = world.push(head(1, now).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(result.decision().2, Some(3));
    assert_eq!(decided_on(&result), on("server", "server"));
    assert_eq!(outcomes(&result), named(&[(8, "browser_evidence"), (3, "credited")]));
    let path = result.explain()["candidates"][0]["path"].clone();
    assert_eq!(path.as_array().map(Vec::len), Some(2));
    assert_eq!(path[0]["event_id"], bin(id(301)));
}

#[test]
fn a_browsers_link_counts_where_servers_links_give_no_credit() {
    let mut world = world(&[]);
    world.push(head(101, T0).click(8, &[(VISITOR, 9)]));
    world.push(head(301, T0).browser().identify(&[(CUSTOMER, 5), (VISITOR, 9)]));
    let result = world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(result.decision().2, Some(8));
    assert_eq!(decided_on(&result), on("server", "browser"));
}

#[test]
fn a_browsers_report_counts_last_over_servers_links_first() {
    let mut world = claimed();
    let now = world.ms;
    let first = world.push(head(1, now).browser().sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(first.decision().2, Some(3));
    assert_eq!(decided_on(&first), on("browser", "server"));
    let second = world.push(head(2, now).browser().sale(&sale(2).by(VISITOR, 9)));
    assert_eq!(second.decision().2, Some(8));
    let nobody = world.push(head(3, now).browser().sale(&sale(3).by(VISITOR, 77)));
    assert_eq!((nobody.decision().2, decided_on(&nobody)), (None, on("browser", "browser")));
}

#[test]
fn what_servers_reported_over_browsers_links_comes_before_what_browsers_reported() {
    let mut world = world(&[]);
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world.push(head(300, T0).browser().identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
    world.push(head(101, T0).click(8, &[(VISITOR, 9)]));
    world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    let merged = world.push(head(2, T0).browser().sale(&sale(1).click(101)));
    assert!(merged.rows("conversions").is_empty());
}

#[test]
fn a_code_that_a_browser_claims_moves_no_credit_of_a_server() {
    for (server_says, expected) in [(true, Some(3)), (false, Some(9))] {
        let mut world = claimed();
        let now = world.ms;
        let value = [("program", 1.into()), ("partner", 9.into()), ("code", "TEN".into())];
        world.push(head(95, now).control("promo_code", 1, 1, &value));
        let server = if server_says { sale(1).by(CUSTOMER, 5) } else { sale(1) };
        let first = world.push(head(1, now).sale(&server));
        let browser = Sale { promo: Some("TEN"), ..sale(1).amount(7) };
        let merged = world.push(head(2, now).browser().sale(&browser));
        let last =
            merged.rows("conversions").last().map_or(first.decision(), |row| decision_of(row));
        assert_eq!(last.2, expected);
    }
}

#[test]
fn a_servers_code_counts_before_a_browsers() {
    let mut world = claimed();
    let now = world.ms;
    for (number, partner, text) in [(1, 9, "TEN"), (2, 8, "TWENTY")] {
        let value = [("program", 1.into()), ("partner", partner.into()), ("code", text.into())];
        world.push(head(90 + number, now).control("promo_code", number, 1, &value));
    }
    let code = |text| Sale { promo: Some(text), ..sale(1) };
    world.push(head(1, now).browser().sale(&code("TWENTY")));
    let merged = world.push(head(2, now).sale(&code("TEN")));
    assert_eq!(merged.decision(), ("attributed".into(), None, Some(9), 2));
    assert_eq!(outcomes(&merged), named(&[(9, "credited")]));
}

#[test]
fn a_click_that_is_named_leads_over_browsers_links_last() {
    let mut world = world(&[]);
    world.push(head(92, T0).enrolment(6, "paused", 1));
    world.push(head(100, T0).click(6, &[(VISITOR, 4)]));
    world.push(head(101, T0).click(8, &[(CUSTOMER, 5)]));
    world.push(head(300, T0).browser().identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
    let result = world.push(head(1, T0).sale(&sale(1).click(100)));
    assert_eq!(result.decision().2, Some(8));
    assert_eq!(decided_on(&result), on("server", "browser"));
}
