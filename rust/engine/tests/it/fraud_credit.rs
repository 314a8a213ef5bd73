//! Clicks that are not genuine earn nothing, and pass on what speaks against them.

use headwater_engine::fraud::ONE;

use crate::common::*;
use crate::fraud_conversions::*;

const PREFETCH: u64 = 16;
const HONEYPOT: u64 = 256;

/// Partner 3's ordinary click, then one of partner 5 that differs.
fn doubtful(visit: Visit) -> World {
    let mut world = clicked();
    let now = T0 + HOUR;
    let visit = Visit { partner: 5, list: vec![(VISITOR, 4)], ..visit };
    world.at(now).push(head(101, now).browser().visit(&visit));
    world
}

fn loaded_as(fetch_dest: &'static str) -> Visit {
    let client = Client { fetch_dest: Some(fetch_dest), ..Client::default() };
    Visit { client, ..Visit::default() }
}

#[test]
fn clicks_that_are_not_genuine_are_no_candidates_and_the_explanation_says_so() {
    let robot = Client { agent: Some("curl/8.5.0"), ..Client::default() };
    for (visit, outcome) in [
        (loaded_as("image"), "fraud_rejected"),
        (Visit { client: robot, ..Visit::default() }, "filtered"),
        (Visit { flags: PREFETCH, ..Visit::default() }, "prefetch"),
    ] {
        let mut world = doubtful(visit);
        let now = world.ms + HOUR;
        let result = world.at(now).push(head(1, now).sale(&by_visitor()));
        assert_eq!(outcomes(&result), named(&[(5, outcome), (3, "credited")]));
        assert_eq!((last(&result).partner, last(&result).codes), (Some(3), vec![]));
    }
}

#[test]
fn the_reason_is_fraud_where_a_touch_would_have_earned_but_for_it() {
    for (flags, list, reason) in [
        (HONEYPOT, vec![(VISITOR, 4)], "fraud_rejected"),
        (PREFETCH, vec![(VISITOR, 4)], "no_touch"),
        (HONEYPOT, vec![(VISITOR, 5)], "no_identifier_known"),
    ] {
        let mut world = ruled(&[]);
        let visit = Visit { flags, list, ..Visit::default() };
        world.push(head(100, T0).visit(&visit));
        let sold = sell(&mut world, &by_visitor());
        assert_eq!((sold.status.as_str(), sold.reason.as_deref()), ("unattributed", Some(reason)));
    }
    let mut world = ruled(&[]);
    let visit = Visit { flags: HONEYPOT, list: vec![(VISITOR, 4)], ..Visit::default() };
    world.push(head(100, T0).claim(T0 - 31 * DAY).visit(&visit));
    assert_eq!(sell(&mut world, &by_visitor()).reason.as_deref(), Some("outside_window"));
}

#[test]
fn a_prefetched_click_that_is_named_counts() {
    let mut world = doubtful(Visit { flags: PREFETCH, ..Visit::default() });
    let sold = sell(&mut world, &by_visitor().click(101));
    assert_eq!((sold.partner, sold.verdict.as_str()), (Some(5), "accept"));
}

#[test]
fn what_speaks_against_a_click_speaks_against_its_conversion_at_four_fifths() {
    let mut world = doubtful(loaded_as("iframe"));
    let sold = sell(&mut world, &by_visitor());
    assert_eq!((sold.partner, sold.status.as_str()), (Some(5), "attributed"));
    assert_eq!((sold.verdict.as_str(), sold.score), ("review", 64));
    let code = sold.code("FORCED_CLICK").unwrap();
    assert!(code.is_inherited);
    assert_eq!((code.severity, code.points), (u64::from(ONE) * 4 / 5, 64));
}

#[test]
fn of_several_credited_clicks_each_signal_counts_once() {
    let mut world = ruled(&[]);
    let mut terms = vec![("model", "linear".into())];
    terms.push(rules(&[("COLLISION", "mode", "off".into())]));
    world.push(head(93, T0).control("program", 1, 2, &terms));
    for (event, partner, visit) in
        [(100, 3, loaded_as("iframe")), (101, 5, loaded_as("iframe")), (102, 6, Visit::default())]
    {
        let visit = Visit { partner, list: vec![(VISITOR, 4)], ..visit };
        world.push(head(event, T0).browser().visit(&visit));
    }
    let sold = sell(&mut world, &by_visitor());
    let forced = sold.codes.iter().filter(|code| code.code == "FORCED_CLICK");
    assert_eq!((forced.count(), sold.score), (1, 64));
}

#[test]
fn a_program_that_enforces_a_rule_takes_the_credit_away_and_shows_who_would_have_had_it() {
    let mut world = ruled(&[("GEO_MISMATCH", "mode", "enforce".into())]);
    for (event, partner) in [(100, 3), (101, 5)] {
        let visit =
            Visit { partner, list: vec![(VISITOR, 4)], client: from("DE"), ..Visit::default() };
        world.push(head(event, T0 + event).visit(&visit));
    }
    let now = T0 + HOUR;
    let result =
        world.at(now).push(head(1, now).sale(&Sale { client: from("FR"), ..by_visitor() }));
    let sold = last(&result);
    assert_eq!(
        (sold.status.as_str(), sold.reason.as_deref()),
        ("rejected", Some("fraud_rejected"))
    );
    assert_eq!((sold.partner, sold.verdict.as_str(), sold.score), (None, "reject", 100));
    assert_eq!(outcomes(&result), named(&[(5, "fraud_rejected"), (3, "older")]));
    let shares = crate::attribution_shared::candidates(&result);
    assert!(shares.iter().all(|candidate| candidate.3 == 0));
}

#[test]
fn the_rules_are_those_of_the_partner_with_the_largest_part() {
    for (partner, status) in [(3, "rejected"), (5, "attributed")] {
        let mut world = ruled(&[]);
        let strict = rules(&[("GEO_MISMATCH", "mode", "enforce".into())]);
        let value = [("program", 1.into()), ("partner", 3.into()), strict];
        world.push(head(95, T0).control("enrolment", 103, 2, &value));
        let visit =
            Visit { partner, list: vec![(VISITOR, 4)], client: from("DE"), ..Visit::default() };
        world.push(head(100, T0).visit(&visit));
        let sold = sell(&mut world, &Sale { client: from("FR"), ..by_visitor() });
        assert_eq!(sold.status, status);
    }
}

#[test]
fn rules_that_change_later_change_no_earlier_order() {
    let mut world = ruled(&[]);
    let visit = Visit { list: vec![(VISITOR, 4)], client: from("DE"), ..Visit::default() };
    world.push(head(100, T0).visit(&visit));
    let first = sell(&mut world, &Sale { client: from("FR"), ..by_visitor() });
    assert_eq!(first.score, 25);
    let strict = [rules(&[("GEO_MISMATCH", "mode", "enforce".into())])];
    let now = world.ms;
    world.push(head(93, now).control("program", 1, 2, &strict));
    let report = Sale { client: from("FR"), ..by_visitor().by(CUSTOMER, 5) };
    assert_eq!(world.push(head(2, now).sale(&report)).rows("conversions").len(), 0);
    let next = Sale { order: 2, ..report };
    assert_eq!(last(&world.push(head(3, now).sale(&next))).status, "rejected");
}

#[test]
fn a_click_is_refused_by_the_rules_in_force_for_the_conversion() {
    let mut world = doubtful(loaded_as("iframe"));
    let now = world.ms;
    let strict = [rules(&[("FORCED_CLICK", "mode", "enforce".into())])];
    world.push(head(93, now).control("program", 1, 2, &strict));
    let now = now + HOUR;
    let result = world.at(now).push(head(1, now).sale(&by_visitor()));
    assert_eq!(outcomes(&result), named(&[(5, "fraud_rejected"), (3, "credited")]));
}

#[test]
fn a_rule_in_the_shadow_is_shown_and_has_no_effect() {
    let mut world = ruled(&[("CTIT_TOO_SHORT", "mode", "shadow".into())]);
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    let sold = last(&world.push(head(1, T0).sale(&by_visitor())));
    assert_eq!((sold.score, sold.codes.len(), sold.codes[0].points), (0, 1, 0));
}

/// A program that refuses clicks of a browser that makes very many, a sale of its first click,
/// and the clicks that follow.
fn run_wild(is_old: bool) -> (World, Vec<Result>) {
    let changes = [("DEVICE_VELOCITY", "mode", Value::from("enforce"))];
    let quiet = ["DUPLICATE_CLICK", "CADENCE", "SLICE_BURST", "COLLISION"];
    let quiet = quiet.map(|code| (code, "mode", Value::from("off")));
    let mut world = ruled(&[changes.as_slice(), &quiet].concat());
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    let mut results = vec![world.push(head(1, T0 + 60).claim(T0 + 60_000).sale(&by_visitor()))];
    // Late clicks are still late ones; the order is no longer among the young.
    let now = if is_old { T0 + DAY + 30_000 } else { T0 + HOUR };
    world.at(now);
    for n in 0..20 {
        let at = head(200 + n, T0 + 61_000 + n * n * 1000);
        results.push(world.push(at.click(3, &[(VISITOR, 4)])));
    }
    (world, results)
}

#[test]
fn a_click_that_is_refused_later_loses_its_credit_within_the_day_and_after_it() {
    for is_old in [false, true] {
        let (_, results) = run_wild(is_old);
        let first = judged(&results[0].rows("conversions")[0]);
        assert_eq!((first.partner, first.revision), (Some(3), 1));
        let end = last_of(&results, 1);
        assert_eq!((end.partner, end.status.as_str()), (None, "unattributed"), "{is_old}");
        assert_eq!(end.reason.as_deref(), Some("fraud_rejected"));
    }
}
