//! Reports of one order: new, repeated, merged or in conflict.

use crate::common::*;

fn clicked() -> World {
    let mut world = World::default();
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world
}

fn amount(result: &Result) -> i64 {
    result.rows("conversions").last().unwrap()[10].as_i64().unwrap()
}

#[test]
fn the_same_report_again_is_a_repeat_and_changes_nothing() {
    let mut world = clicked();
    let report = Sale { item: Some("shoe"), promo: Some("TEN"), ..sale(1).click(100) };
    let first = world.push(head(1, T0).sale(&report));
    assert_eq!((first.effect().as_str(), first.rows("conversions").len()), ("created", 1));
    let again = world.push(head(2, T0).sale(&report));
    assert_eq!((again.effect().as_str(), again.rows("conversions").len()), ("repeat", 0));
    let retried = world.push(head(2, T0).sale(&report));
    assert_eq!((retried.rows("reports").len(), retried.number("duplicates")), (0, 1));
}

#[test]
fn each_field_that_makes_an_order_makes_a_conflict() {
    let first = Sale { item: Some("shoe"), promo: Some("TEN"), ..sale(1).click(100) };
    for other in [
        first.clone().amount(1001),
        first.clone().click(101),
        Sale { promo: None, ..first.clone() },
        Sale { item: Some("sock"), ..first.clone() },
    ] {
        let mut world = clicked();
        world.push(head(1, T0).sale(&first));
        let result = world.push(head(2, T0).sale(&other));
        assert_eq!((result.effect().as_str(), result.rows("conversions").len()), ("conflict", 0));
        let back = world.push(head(3, T0).sale(&first));
        assert_eq!(back.effect(), "repeat");
    }
}

#[test]
fn a_repeat_that_adds_an_identifier_is_decided_again() {
    let mut world = clicked();
    let first = world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(first.decision().1.as_deref(), Some("no_identifier_known"));
    let again = world.push(head(2, T0).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(again.effect(), "repeat");
    assert_eq!(again.decision(), ("attributed".into(), None, Some(3), 2));
    let third = world.push(head(3, T0).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!((third.effect().as_str(), third.rows("conversions").len()), ("repeat", 0));
}

#[test]
fn a_repeat_may_add_the_click_or_leave_it_out() {
    let mut world = clicked();
    world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    let named = world.push(head(2, T0).sale(&sale(1).click(100)));
    assert_eq!(named.decision(), ("attributed".into(), None, Some(3), 2));
    assert_eq!(world.push(head(3, T0).sale(&sale(1))).effect(), "repeat");
    assert_eq!(world.push(head(4, T0).sale(&sale(1).click(101))).effect(), "conflict");
}

#[test]
fn a_decision_made_again_is_made_at_the_time_of_the_first() {
    let mut world = clicked();
    world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    world.at(T0 + 1).push(head(101, T0 + 1).click(8, &[(VISITOR, 4)]));
    let again = world.push(head(2, T0 + 1).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(again.decision(), ("attributed".into(), None, Some(3), 2));
}

#[test]
fn server_and_browser_make_one_conversion_money_by_the_server_identity_by_both() {
    let mut world = clicked();
    world.push(head(101, T0).click(8, &[(VISITOR, 9)]));
    let first = world.push(head(1, T0).browser().sale(&sale(1).amount(900).by(VISITOR, 4)));
    assert_eq!((first.decision().2, amount(&first)), (Some(3), 900));
    let merged = world.push(head(2, T0).sale(&sale(1).amount(1000).by(CUSTOMER, 5)));
    assert_eq!((merged.effect().as_str(), amount(&merged)), ("merged", 1000));
    assert_eq!(merged.decision(), ("attributed".into(), None, Some(3), 2));
    let browser_again = head(3, T0).browser().sale(&sale(1).amount(900).by(VISITOR, 4));
    assert_eq!(world.push(browser_again).effect(), "repeat");
    let browser_other = head(4, T0).browser().sale(&sale(1).amount(901).by(VISITOR, 4));
    assert_eq!(world.push(browser_other).effect(), "conflict");
}

#[test]
fn merging_what_changes_nothing_makes_no_new_revision() {
    let mut world = clicked();
    world.push(head(1, T0).sale(&sale(1).by(VISITOR, 4)));
    let merged = world.push(head(2, T0).browser().sale(&sale(1).amount(7).by(VISITOR, 4)));
    assert_eq!((merged.effect().as_str(), merged.rows("conversions").len()), ("merged", 0));
}

/// The partners of an order's successive decisions, reported by server and browser.
fn partners_of(server_first: bool, server: Sale, browser: Sale) -> Vec<Option<u64>> {
    let mut world = clicked();
    world.push(head(101, T0).click(8, &[(VISITOR, 99)]));
    let server = head(1, T0).sale(&server);
    let browser = head(2, T0).browser().sale(&browser);
    let reports = if server_first { [server, browser] } else { [browser, server] };
    reports
        .into_iter()
        .flat_map(|report| world.push(report).rows("conversions"))
        .map(|row| decision_of(&row).2)
        .collect()
}

#[test]
fn a_browser_that_guesses_an_order_moves_no_credit_of_a_servers_named_click() {
    let thief = || sale(1).click(101);
    assert_eq!(partners_of(true, sale(1).click(100), thief()), vec![Some(3)]);
    assert_eq!(partners_of(false, sale(1).click(100), thief()), vec![Some(8), Some(3)]);
}

#[test]
fn a_browser_that_guesses_an_order_moves_no_credit_of_a_servers_identifier() {
    for thief in [|| sale(1).click(101), || sale(1).by(VISITOR, 99)] {
        assert_eq!(partners_of(true, sale(1).by(VISITOR, 4), thief()), vec![Some(3)]);
        assert_eq!(partners_of(false, sale(1).by(VISITOR, 4), thief()), vec![Some(8), Some(3)]);
    }
}

#[test]
fn what_a_browser_says_counts_where_the_servers_evidence_gives_no_credit() {
    let partners = partners_of(true, sale(1).by(VISITOR, 1234), sale(1).click(101));
    assert_eq!(partners, vec![None, Some(8)]);
}

#[test]
fn a_refused_report_is_a_rejection_and_nothing_else() {
    let mut world = clicked();
    let refused = Sale { refused: Some("amount_invalid"), ..sale(1).by(VISITOR, 4) };
    let result = world.push(head(1, T0).browser().sale(&refused));
    assert_eq!(result.rows("rejections")[0][5].as_str(), Some("amount_invalid"));
    assert_eq!((result.rows("reports").len(), result.rows("conversions").len()), (0, 0));
    assert_eq!(world.push(head(2, T0).sale(&sale(1).by(VISITOR, 4))).effect(), "created");
}

#[test]
fn consent_given_by_either_report_lets_its_identifiers_count() {
    let mut world = clicked();
    let denied = Sale { flags: CONSENT_DENIED, ..sale(1).by(VISITOR, 4) };
    let first = world.push(head(1, T0).sale(&denied));
    assert_eq!(first.decision().1.as_deref(), Some("consent_denied"));
    let merged = world.push(head(2, T0).browser().sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(merged.decision(), ("attributed".into(), None, Some(3), 2));
}

#[test]
fn an_order_is_remembered_for_its_time_and_no_longer() {
    for (days, effect) in [(399, "repeat"), (400, "created")] {
        let mut world = clicked();
        world.push(head(1, T0).sale(&sale(1)));
        let now = T0 + days * DAY;
        assert_eq!(world.at(now).push(head(2, now).sale(&sale(1))).effect(), effect);
    }
}

#[test]
fn a_repeat_after_the_click_has_expired_takes_no_credit_away() {
    let mut world = clicked();
    let first = world.push(head(1, T0).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(first.decision(), ("attributed".into(), None, Some(3), 1));
    let later = T0 + 60 * 86_400_000;
    world.at(later).push(head(9, later).tick());
    let again = world.push(head(2, later).sale(&sale(1).by(VISITOR, 4).by(CUSTOMER, 5)));
    assert_eq!((again.effect().as_str(), again.rows("conversions").len()), ("repeat", 0));
}

#[test]
fn a_repeat_that_names_the_click_has_the_order_decided_again() {
    let mut world = World::default();
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    let first = world.push(head(1, T0).sale(&sale(1).by(VISITOR, 9)));
    assert_eq!(first.decision().2, None);
    let again = world.push(head(2, T0).sale(&sale(1).by(VISITOR, 9).click(100)));
    assert_eq!(again.decision().2, Some(3));
}
