//! Who gets the credit, and why nobody does.

use crate::common::*;
use headwater_engine::limits::{
    CLAIM_SKEW_MAX_MS, NEIGHBOURS_MAX, NODE_CLICKS_MAX, OBSERVATION_IDENTIFIERS_MAX,
};

type Decided = (String, Option<String>, Option<u64>, u64);

fn credited(partner: u64) -> Decided {
    ("attributed".into(), None, Some(partner), 1)
}

fn refused(reason: &str) -> Decided {
    ("unattributed".into(), Some(reason.into()), None, 1)
}

/// A click of partner 3 by visitor 4 at `T0`, in a program with a window of a day.
fn clicked() -> World {
    let mut world = World::default();
    world.push(head(90, T0).program(DAY, 1));
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world
}

#[test]
fn a_click_counts_to_the_last_millisecond_of_its_window_and_not_at_its_end() {
    for (after_ms, expected) in [
        (0, credited(3)),
        (DAY - 1, credited(3)),
        (DAY, refused("outside_window")),
        (DAY + 5 * DAY, refused("outside_window")),
    ] {
        for by in [sale(1).by(VISITOR, 4), sale(1).click(100)] {
            let mut world = clicked();
            let now = T0 + after_ms;
            assert_eq!(world.at(now).push(head(1, now).sale(&by)).decision(), expected);
        }
    }
}

#[test]
fn the_window_is_measured_at_the_time_the_conversion_claims() {
    let mut world = clicked();
    let now = T0 + DAY + 60_000;
    let report = head(1, now).claim(T0 + DAY - 1).sale(&sale(1).by(VISITOR, 4));
    assert_eq!(world.at(now).push(report).decision(), credited(3));
}

#[test]
fn only_a_click_that_is_named_survives_a_clock_that_is_behind() {
    for (behind_ms, by, expected) in [
        (CLAIM_SKEW_MAX_MS, sale(1).click(100), credited(3)),
        (CLAIM_SKEW_MAX_MS + 1, sale(1).click(100), refused("no_touch")),
        (1, sale(1).by(VISITOR, 4), refused("no_touch")),
    ] {
        let report = head(1, T0).claim(T0 - behind_ms).sale(&by);
        assert_eq!(clicked().push(report).decision(), expected);
    }
}

#[test]
fn a_claim_from_the_future_counts_as_the_time_of_acceptance() {
    for (ahead_ms, occurred_ms) in
        [(CLAIM_SKEW_MAX_MS, T0 + CLAIM_SKEW_MAX_MS), (CLAIM_SKEW_MAX_MS + 1, T0)]
    {
        let report = head(1, T0).claim(T0 + ahead_ms).sale(&sale(1).click(100));
        let rows = clicked().push(report).rows("conversions");
        assert_eq!(rows[0][7].as_u64(), Some(occurred_ms));
    }
}

#[test]
fn the_accept_time_is_held_to_the_log() {
    let mut world = World::default();
    let mut accepted = |event, accept_ms| {
        let rows = world.push(head(event, accept_ms).click(3, &[])).rows("clicks");
        rows[0][5].as_u64().unwrap()
    };
    assert_eq!(accepted(1, T0 - DAY), T0 - DAY);
    assert_eq!(accepted(2, T0 - DAY - 1), T0 - DAY);
    assert_eq!(accepted(3, T0 + 2000), T0 + 2000);
    assert_eq!(accepted(4, T0 + 2001), T0 + 2000);
}

#[test]
fn the_last_click_wins_and_of_two_at_once_the_larger_id() {
    let mut world = clicked();
    world.push(head(102, T0).click(5, &[(VISITOR, 4)]));
    world.push(head(101, T0).click(4, &[(VISITOR, 4)]));
    assert_eq!(world.push(head(1, T0).sale(&sale(1).by(VISITOR, 4))).decision(), credited(5));
    world.at(T0 + 1).push(head(99, T0 + 1).click(6, &[(VISITOR, 4)]));
    let result = world.push(head(2, T0 + 1).sale(&sale(2).by(VISITOR, 4)));
    assert_eq!(result.decision(), credited(6));
    let outcomes: Vec<String> = candidates(&result).into_iter().map(|(_, o)| o).collect();
    assert_eq!(outcomes, ["credited", "older", "older", "older"]);
}

fn candidates(result: &Result) -> Vec<(u64, String)> {
    let explain = result.explain();
    let read = |candidate: &Value| {
        let partner = candidate["partner"].as_u64().unwrap();
        (partner, candidate["outcome"].as_str().unwrap().to_owned())
    };
    explain["candidates"].as_array().unwrap().iter().map(read).collect()
}

#[test]
fn a_named_click_wins_over_a_later_one_and_the_explanation_says_so() {
    let mut world = clicked();
    world.at(T0 + 1).push(head(101, T0 + 1).click(4, &[(VISITOR, 4)]));
    let result = world.push(head(1, T0 + 1).sale(&sale(1).click(100).by(VISITOR, 4)));
    assert_eq!(result.decision(), credited(3));
    let expected = [(4, "outranked_by_named_click".to_owned()), (3, "credited".to_owned())];
    assert_eq!(candidates(&result), expected);
}

#[test]
fn an_unknown_named_click_leaves_the_credit_to_the_identifiers() {
    let mut world = clicked();
    let result = world.push(head(1, T0).sale(&sale(1).click(999).by(VISITOR, 4)));
    assert_eq!(result.decision(), credited(3));
    let result = world.push(head(2, T0).sale(&sale(2).click(998).by(VISITOR, 5)));
    assert_eq!(result.decision(), refused("click_unknown"));
}

#[test]
fn a_click_of_another_program_earns_nothing_here() {
    let mut world = clicked();
    world.push(head(200, T0).click_in(2, 7, 0, &[(VISITOR, 8)]));
    let named = world.push(head(1, T0).sale(&sale(1).click(200)));
    assert_eq!(named.decision(), refused("click_unknown"));
    let reached = world.push(head(2, T0).sale(&sale(2).by(VISITOR, 8)));
    assert_eq!(reached.decision(), refused("no_touch"));
}

#[test]
fn brands_share_nothing() {
    let mut world = clicked();
    let result = world.push(head(1, T0).brand(2).sale(&sale(1).click(100).by(VISITOR, 4)));
    assert_eq!(result.decision(), refused("click_unknown"));
}

#[test]
fn only_enrolled_partners_earn_and_the_newest_revision_says_who_is() {
    let mut world = clicked();
    world.push(head(91, T0).enrolment(3, "paused", 7));
    let stale = world.push(head(92, T0).enrolment(3, "active", 6));
    assert_eq!(stale.rows("controls").len(), 0);
    let result = world.push(head(1, T0).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(result.decision(), refused("partner_inactive"));
    world.push(head(101, T0).click(4, &[(VISITOR, 4)]));
    assert_eq!(world.push(head(2, T0).sale(&sale(2).by(VISITOR, 4))).decision(), credited(4));
    world.push(head(93, T0).enrolment(3, "active", 8));
    assert_eq!(world.push(head(3, T0).sale(&sale(3).click(100))).decision(), credited(3));
}

#[test]
fn one_shared_identifier_links_and_each_hop_names_the_event_that_proves_it() {
    let mut world = clicked();
    world.push(head(300, T0).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
    let result = world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(result.decision(), credited(3));
    let path = result.explain()["candidates"][0]["path"].clone();
    let end = |kind: u64, number: u64| array([Value::from(kind), bin(id(number))]);
    assert_eq!(path.as_array().unwrap().len(), 2);
    assert_eq!((&path[0]["from"], &path[0]["to"]), (&end(CUSTOMER, 5), &end(VISITOR, 4)));
    assert_eq!(path[0]["event_id"], bin(id(300)));
    assert_eq!((&path[1]["from"], &path[1]["to"]), (&end(VISITOR, 4), &end(CLICK, 100)));
    assert_eq!(path[1]["event_id"], bin(id(100)));
    let named = world.push(head(2, T0).sale(&sale(2).click(100)));
    let path = named.explain()["candidates"][0]["path"].clone();
    assert_eq!((&path[0]["from"], &path[0]["to"]), (&end(0, 50_002), &end(CLICK, 100)));
}

#[test]
fn whichever_digest_of_an_address_is_known_links() {
    for known in [6, 7] {
        let mut world = clicked();
        world.push(head(300, T0).identify(&[(EMAIL, 6), (EMAIL, 7), (VISITOR, 4)]));
        let result = world.push(head(1, T0).sale(&sale(1).by(EMAIL, known)));
        assert_eq!(result.decision(), credited(3));
    }
}

#[test]
fn a_click_id_seen_with_a_customer_is_the_customers_click() {
    let mut world = clicked();
    world.push(head(300, T0).identify(&[(CUSTOMER, 5), (CLICK, 100)]));
    let result = world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(result.decision(), credited(3));
    assert_eq!(result.explain()["candidates"][0]["path"].as_array().unwrap().len(), 1);
}

#[test]
fn links_are_believed_for_as_long_as_their_weaker_type_lives() {
    for (age_ms, expected) in [(90 * DAY - 1, credited(3)), (90 * DAY, refused("no_touch"))] {
        let mut world = World::default();
        world.push(head(90, T0).program(200 * DAY, 1));
        world.push(head(300, T0).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
        world.at(T0 + 50 * DAY).push(head(100, world_ms(50)).click(3, &[(VISITOR, 4)]));
        let now = T0 + age_ms;
        let result = world.at(now).push(head(1, now).sale(&sale(1).by(CUSTOMER, 5)));
        assert_eq!(result.decision(), expected);
    }
}

fn world_ms(days: u64) -> u64 {
    T0 + days * DAY
}

#[test]
fn an_identifier_with_one_neighbor_too_many_links_nobody_and_is_named() {
    for (neighbors, expected) in
        [(NEIGHBOURS_MAX as u64, credited(3)), (NEIGHBOURS_MAX as u64 + 1, refused("hub"))]
    {
        let mut world = clicked();
        world.push(head(300, T0).identify(&[(DEVICE, 9), (VISITOR, 4)]));
        for n in 1..neighbors {
            world.push(head(300 + n, T0).identify(&[(CUSTOMER, n), (DEVICE, 9)]));
        }
        let result = world.push(head(1, T0).sale(&sale(1).by(DEVICE, 9)));
        assert_eq!(result.decision(), expected);
        let hubs = result.explain()["hubs"].as_array().unwrap().len();
        assert_eq!(hubs, usize::from(expected.1.is_some()));
    }
}

#[test]
fn browsers_cannot_make_a_hub_of_what_servers_linked() {
    let mut world = clicked();
    world.push(head(300, T0).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
    for n in 0..200 {
        world.push(head(400 + n, T0).browser().identify(&[(CUSTOMER, 5), (VISITOR, 1000 + n)]));
    }
    let result = world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(result.decision(), credited(3));
}

#[test]
fn a_browser_ties_its_own_visitor_to_one_person_only() {
    let mut world = clicked();
    let seen = [(VISITOR, 4), (CUSTOMER, 5), (EMAIL, 6), (DEVICE, 7)];
    world.push(head(300, T0).browser().identify(&seen));
    let mut decide = |order, kind, number| {
        world.push(head(order, T0).sale(&sale(order).by(kind, number))).decision()
    };
    assert_eq!(decide(1, CUSTOMER, 5), credited(3));
    assert_eq!(decide(2, EMAIL, 6), refused("no_identifier_known"));
    assert_eq!(decide(3, DEVICE, 7), refused("no_identifier_known"));
}

#[test]
fn an_event_that_names_two_customers_links_nothing() {
    let mut world = clicked();
    world.push(head(300, T0).identify(&[(CUSTOMER, 5), (CUSTOMER, 6), (VISITOR, 4)]));
    let result = world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(result.decision(), refused("no_identifier_known"));
}

#[test]
fn only_the_strongest_identifiers_of_an_event_are_linked() {
    let max = OBSERVATION_IDENTIFIERS_MAX as u64;
    let mut list = vec![(CUSTOMER, 5)];
    list.extend((0..max).map(|n| (VISITOR, n)));
    for (visitor, expected) in [(max - 2, credited(3)), (max - 1, refused("no_identifier_known"))] {
        let mut world = World::default();
        world.push(head(300, T0).identify(&list));
        world.push(head(100, T0).click(3, &[(CUSTOMER, 5)]));
        let result = world.push(head(1, T0).sale(&sale(1).by(VISITOR, visitor)));
        assert_eq!(result.decision(), expected);
    }
}

#[test]
fn without_consent_only_the_click_id_counts() {
    let denied = |sale: Sale| Sale { flags: CONSENT_DENIED, ..sale };
    let mut world = clicked();
    let named = world.push(head(1, T0).sale(&denied(sale(1).click(100).by(CUSTOMER, 5))));
    assert_eq!(named.decision(), credited(3));
    let other = world.push(head(2, T0).sale(&denied(sale(2).by(VISITOR, 4))));
    assert_eq!(other.decision(), refused("consent_denied"));
    let after = world.push(head(3, T0).sale(&sale(3).by(CUSTOMER, 5)));
    assert_eq!(after.decision(), refused("no_identifier_known"));
    world.push(head(101, T0).click_in(1, 3, CONSENT_DENIED, &[(VISITOR, 44)]));
    world.push(head(301, T0).identify_with(CONSENT_DENIED, &[(VISITOR, 4), (CUSTOMER, 6)]));
    for by in [sale(4).by(VISITOR, 44), sale(5).by(CUSTOMER, 6)] {
        let result = world.push(head(by.order, T0).sale(&by));
        assert_eq!(result.decision(), refused("no_identifier_known"));
    }
    assert_eq!(world.push(head(6, T0).sale(&sale(6).click(101))).decision(), credited(3));
}

#[test]
fn an_identifier_keeps_its_newest_clicks() {
    let mut world = World::default();
    world.push(head(90, T0).program(DAY, 1));
    for n in 0..=NODE_CLICKS_MAX as u64 {
        world.push(head(100 + n, T0 + n).click(n, &[(VISITOR, 4)]));
    }
    let now = T0 + 1000;
    let result = world.at(now).push(head(1, now).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(result.decision(), credited(NODE_CLICKS_MAX as u64));
    let partners: Vec<u64> = candidates(&result).into_iter().map(|(p, _)| p).collect();
    assert_eq!(partners, (1..=NODE_CLICKS_MAX as u64).rev().collect::<Vec<_>>());
}

#[test]
fn an_erased_identifier_links_nobody() {
    let mut world = clicked();
    world.push(head(300, T0).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
    let erasure =
        array(["identifier".into(), false.into(), false.into(), identifiers(&[(VISITOR, 4)])]);
    assert_eq!(world.push(head(301, T0).record(7, erasure)).rows("erasures").len(), 1);
    let result = world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(result.decision(), refused("no_touch"));
}

#[test]
fn a_link_counts_only_while_both_ends_hold_it() {
    let mut world = World::default();
    for n in 0..=NEIGHBOURS_MAX as u64 {
        world.push(head(1000 + n, T0).identify(&[(CUSTOMER, 5), (VISITOR, 1000 + n)]));
    }
    // The shortest-lived link finds no room at the customer, and is left at the visitor alone.
    world.push(head(300, T0).claim(T0 - 1).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
    world.push(head(100, T0).click(3, &[(CUSTOMER, 5)]));
    let at_hub = world.push(head(1, T0).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(at_hub.decision(), refused("hub"));
    let visitor = identifiers(&[(VISITOR, 1000)]);
    let erasure = array(["identifier".into(), false.into(), false.into(), visitor]);
    world.push(head(301, T0).record(7, erasure));
    let later = T0 + 10_000;
    let result = world.at(later).push(head(2, later).sale(&sale(2).by(VISITOR, 4)));
    assert_eq!(result.decision(), refused("no_touch"));
}

#[test]
fn a_decision_made_again_knows_what_was_known_and_nothing_later() {
    let (earlier, later) = (T0 + 1, T0 + 60_000);
    for (first_seen_ms, expected) in [(earlier, 1), (later, 0)] {
        let mut world = clicked();
        world.push(head(299, T0).identify(&[(CUSTOMER, 5)]));
        if first_seen_ms == earlier {
            world.push(head(300, T0).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
        }
        let unknown = Sale { flags: CONSENT_DENIED, ..sale(1) };
        world.at(earlier).push(head(1, earlier).sale(&unknown));
        world.at(later).push(head(301, later).identify(&[(CUSTOMER, 5), (VISITOR, 4)]));
        let merged = world.push(head(2, later).browser().sale(&sale(1).by(CUSTOMER, 5)));
        assert_eq!(merged.decision().2, (expected == 1).then_some(3));
        assert_eq!(merged.decision().3, 2);
    }
}

#[test]
fn what_was_first_seen_after_the_conversion_was_not_known_to_it() {
    let mut world = clicked();
    world.push(head(1, T0).sale(&sale(1).by(CUSTOMER, 5)));
    let later = T0 + 60_000;
    world.at(later).push(head(300, later).identify(&[(VISITOR, 77)]));
    let again = world.push(head(2, later).sale(&sale(1).by(VISITOR, 77)));
    // The first report itself made the customer known, which is no news; the visitor came later.
    assert_eq!(again.rows("conversions"), Vec::<Vec<Value>>::new());
    let other = Sale { flags: CONSENT_DENIED, ..sale(2) };
    world.at(later).push(head(3, later).sale(&other));
    let last = later + 60_000;
    world.at(last).push(head(301, last).identify(&[(VISITOR, 78)]));
    let merged = world.push(head(4, last).browser().sale(&sale(2).by(VISITOR, 78)));
    assert_eq!(merged.decision().1.as_deref(), Some("no_identifier_known"));
}
