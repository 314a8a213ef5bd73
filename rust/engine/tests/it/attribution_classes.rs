//! Classes of touches: how they rank, their windows, and promo codes that partners own.

use headwater_engine::limits::Limits;

use crate::attribution_shared::{candidates, credits, named, outcomes, world};
use crate::common::*;

const HOUR: u64 = 3_600_000;
const SOFT: u64 = 32;
const IMPRESSION: u64 = 64;

fn classes(list: &[&str]) -> Value {
    Value::Array(list.iter().map(|class| Value::from(*class)).collect())
}

/// A click of partner 3, a soft click of 4, an impression of 5, by visitor 4, a minute apart.
fn touched(terms: &[(&str, Value)]) -> World {
    let mut world = world(terms);
    for (n, flags) in (0..).zip([0, SOFT, IMPRESSION]) {
        let now = T0 + n * 60_000;
        world.at(now).push(head(100 + n, now).click_in(1, 3 + n, flags, &[(VISITOR, 4)]));
    }
    world
}

fn code(number: u64, revision: u64, partner: u64, text: &str, status: &str) -> Vec<u8> {
    let value = [
        ("program", 1.into()),
        ("partner", partner.into()),
        ("code", text.into()),
        ("status", status.into()),
    ];
    head(700 + 10 * number + revision, T0).control("promo_code", number, revision, &value)
}

fn deleted(number: u64, revision: u64) -> Vec<u8> {
    let body = ["promo_code".into(), number.into(), revision.into(), Value::Nil];
    head(800 + 10 * number + revision, T0).record(5, array(body))
}

fn with_code(order: u64, text: &'static str) -> Sale {
    Sale { promo: Some(text), ..sale(order) }
}

fn sold(world: &mut World, by: &Sale) -> Result {
    let now = world.ms;
    world.push(head(by.order, now).sale(by))
}

#[test]
fn the_best_class_earns_and_the_others_are_outranked() {
    let result = sold(&mut touched(&[]), &sale(1).by(VISITOR, 4));
    let row = |partner, class: &str, outcome: &str, share| {
        (partner, class.to_owned(), outcome.to_owned(), share)
    };
    assert_eq!(
        candidates(&result),
        [
            row(5, "impression", "outranked_by_class", 0),
            row(4, "soft_click", "outranked_by_class", 0),
            row(3, "click", "credited", 1_000_000),
        ]
    );
}

#[test]
fn a_program_orders_the_classes_and_leaves_out_those_that_never_earn() {
    for (order, expected) in [
        (classes(&["impression", "click"]), Some(5)),
        (classes(&["soft_click"]), Some(4)),
        (classes(&["exclusive_coupon"]), None),
        // Not orders of classes: the default stands.
        (classes(&[]), Some(3)),
        (classes(&["impression", "impression"]), Some(3)),
        (classes(&["impression", "banner"]), Some(3)),
        (Value::from("impression"), Some(3)),
    ] {
        let mut world = touched(&[("class_order", order)]);
        let result = sold(&mut world, &sale(1).by(VISITOR, 4));
        assert_eq!(credits(&result).first().map(|credit| credit.0), expected);
        if expected.is_none() {
            assert_eq!(result.decision().1.as_deref(), Some("no_touch"));
            let miss = result.explain()["nearest_miss"].clone();
            assert_eq!(miss["outcome"].as_str(), Some("outranked_by_class"));
        }
    }
}

#[test]
fn a_click_that_is_both_soft_and_an_impression_is_an_impression() {
    let mut world = world(&[]);
    world.push(head(100, T0).click_in(1, 3, SOFT | IMPRESSION, &[(VISITOR, 4)]));
    let result = sold(&mut world, &sale(1).by(VISITOR, 4));
    assert_eq!(candidates(&result)[0].1, "impression");
}

/// Whether a touch of flags that long ago earns.
fn earns_after(terms: &[(&str, Value)], event: &[(&str, Value)], flags: u64, age_ms: u64) -> bool {
    let mut world = world(terms);
    world.push(head(91, T0).control("event_type", 2, 1, event));
    world.push(head(100, T0).click_in(1, 3, flags, &[(VISITOR, 4)]));
    let now = T0 + age_ms;
    let result = world.at(now).push(head(1, now).sale(&sale(1).by(VISITOR, 4)));
    result.decision().2.is_some()
}

#[test]
fn each_class_has_its_window() {
    let day = DAY;
    let event = |window_ms: u64| [("program", 1.into()), ("window_ms", window_ms.into())];
    let click = || ("window_ms", Value::from(3 * day));
    let soft = || ("soft_click_window_ms", Value::from(2 * day));
    let seen = || ("impression_window_ms", Value::from(HOUR));
    let none: &[(&str, Value)] = &[];
    for (terms, event, flags, window_ms) in [
        (&[click()][..], none, 0, 3 * day),
        (&[click()][..], none, SOFT, 3 * day),
        (&[click()][..], none, IMPRESSION, day),
        (&[click(), soft(), seen()][..], none, SOFT, 2 * day),
        (&[click(), soft(), seen()][..], none, IMPRESSION, HOUR),
        (&[click()][..], &event(5 * day)[..], 0, 5 * day),
        (&[click()][..], &event(HOUR)[..], 0, HOUR),
        (&[click()][..], &event(HOUR)[..], SOFT, HOUR),
        (&[click(), soft()][..], &event(HOUR)[..], SOFT, 2 * day),
        (&[click()][..], &event(HOUR)[..], IMPRESSION, day),
    ] {
        assert!(earns_after(terms, event, flags, window_ms - 1));
        assert!(!earns_after(terms, event, flags, window_ms));
    }
}

#[test]
fn a_click_is_kept_for_the_longest_window_of_its_program() {
    let event = [("program", 1.into()), ("window_ms", (200 * DAY).into())];
    assert!(earns_after(&[("window_ms", DAY.into())], &event, 0, 80 * DAY));
    assert!(!earns_after(&[("window_ms", DAY.into())], &[], 0, 80 * DAY));
}

#[test]
fn a_codes_owner_has_the_credit_and_keeps_the_click_with_its_sub_ids() {
    for (owner, click) in [(3, Some(100)), (4, Some(101)), (9, None)] {
        let mut world = touched(&[]);
        world.push(code(1, 1, owner, "Summer", "active"));
        let result = sold(&mut world, &with_code(1, " sUMMER ").by(VISITOR, 4));
        assert_eq!(credits(&result), [(owner, click, 1_000_000)]);
        let shown = candidates(&result).remove(0);
        assert_eq!(shown, (owner, "exclusive_coupon".into(), "credited".into(), 1_000_000));
        let first = result.explain()["candidates"][0].clone();
        assert_eq!(first["click_id"].is_nil(), click.is_none());
        assert_eq!(first["touch_ms"].as_u64(), Some(world.ms));
        assert_eq!(first["path"].as_array().map(Vec::len), Some(0));
    }
}

#[test]
fn a_code_credits_with_no_identifier_at_all() {
    let mut world = world(&[]);
    world.push(code(1, 1, 9, "TEN", "active"));
    assert_eq!(sold(&mut world, &with_code(1, "TEN")).decision().2, Some(9));
    let unknown = sold(&mut world, &with_code(2, "ELEVEN"));
    assert_eq!(unknown.decision().1.as_deref(), Some("no_identifier_known"));
    let empty = sold(&mut world, &with_code(3, "  "));
    assert_eq!(empty.decision().1.as_deref(), Some("no_identifier_known"));
}

#[test]
fn a_code_is_nobodys_once_it_is_paused_or_deleted_whatever_the_order_of_changes() {
    let changes = [code(1, 1, 3, "TEN", "active"), code(1, 2, 3, "TEN", "paused"), deleted(1, 3)];
    for (order, expected) in [
        (&[0][..], Some(3)),
        (&[0, 1], None),
        (&[1, 0], None),
        (&[0, 2], None),
        (&[2, 0], None),
        (&[2, 1, 0], None),
    ] {
        let mut world = world(&[]);
        for at in order {
            world.push(changes[*at].clone());
        }
        assert_eq!(sold(&mut world, &with_code(1, "TEN")).decision().2, expected);
    }
}

#[test]
fn a_code_that_is_given_anew_belongs_to_its_new_owner() {
    let mut world = world(&[]);
    world.push(code(1, 1, 3, "TEN", "active"));
    world.push(deleted(1, 2));
    world.push(code(2, 3, 4, "ten", "active"));
    assert_eq!(sold(&mut world, &with_code(1, "TEN")).decision().2, Some(4));
    world.push(code(2, 4, 4, "TWENTY", "active"));
    assert_eq!(sold(&mut world, &with_code(2, "TEN")).decision().2, None);
    assert_eq!(sold(&mut world, &with_code(3, "Twenty")).decision().2, Some(4));
}

#[test]
fn a_code_of_a_partner_who_left_earns_nothing_and_is_named() {
    let mut world = world(&[]);
    world.push(code(1, 1, 3, "TEN", "active"));
    world.push(head(92, T0).enrolment(3, "paused", 1));
    let result = sold(&mut world, &with_code(1, "TEN"));
    assert_eq!(result.decision().1.as_deref(), Some("partner_inactive"));
    let miss = result.explain()["nearest_miss"].clone();
    assert_eq!((miss["partner"].as_u64(), miss["missed_by_ms"].as_u64()), (Some(3), Some(0)));
    assert!(miss["click_id"].is_nil());
}

#[test]
fn a_named_click_wins_over_a_code_unless_it_is_one_of_the_candidates() {
    for (setting, expected) in [("wins", (3, Some(100))), ("candidate", (9, None))] {
        let mut world = touched(&[("explicit_click", setting.into())]);
        world.push(code(1, 1, 9, "TEN", "active"));
        let result = sold(&mut world, &with_code(1, "TEN").click(100).by(VISITOR, 4));
        assert_eq!(credits(&result), [(expected.0, expected.1, 1_000_000)]);
        let others =
            if setting == "wins" { "outranked_by_named_click" } else { "outranked_by_class" };
        assert_eq!(outcomes(&result).iter().filter(|(_, outcome)| outcome == others).count(), 3);
    }
}

#[test]
fn a_named_click_takes_all_in_a_split_model_and_shares_as_a_candidate() {
    for (setting, expected) in [
        ("wins", vec![(3, Some(100), 1_000_000)]),
        ("candidate", vec![(3, Some(100), 500_000), (6, Some(200), 500_000)]),
    ] {
        let mut world = touched(&[("model", "linear".into()), ("explicit_click", setting.into())]);
        let now = world.ms;
        world.push(head(200, now).click(6, &[(VISITOR, 4)]));
        let result = sold(&mut world, &sale(1).click(100).by(VISITOR, 4));
        assert_eq!(credits(&result), expected);
    }
}

#[test]
fn a_click_named_of_a_class_that_never_earns_does_not_win() {
    let mut world = touched(&[("class_order", classes(&["click"]))]);
    let result = sold(&mut world, &sale(1).click(102).by(VISITOR, 4));
    assert_eq!(credits(&result), [(3, Some(100), 1_000_000)]);
    let expected = [(5, "outranked_by_class"), (4, "outranked_by_class"), (3, "credited")];
    assert_eq!(outcomes(&result), named(&expected));
}

#[test]
fn the_hash_of_the_configuration_covers_what_was_used() {
    let hash = |records: &[Vec<u8>], by: &Sale| {
        let mut world = touched(&[]);
        for record in records {
            world.push(record.clone());
        }
        sold(&mut world, by).rows("conversions")[0][16].clone()
    };
    let by = with_code(1, "TEN").by(VISITOR, 4);
    let ten = || code(1, 1, 9, "TEN", "active");
    let plain = hash(&[], &by);
    let event = head(91, T0).control("event_type", 2, 1, &[("window_ms", DAY.into())]);
    let other = code(2, 1, 9, "OTHER", "active");
    assert_eq!(hash(&[other], &by), plain);
    assert_ne!(hash(&[ten()], &by), plain);
    assert_ne!(hash(&[event], &by), plain);
    let enrolment = head(92, T0).enrolment(3, "active", 1);
    assert_ne!(hash(&[enrolment], &by), plain);
}

#[test]
fn promo_codes_above_their_bound_are_not_applied() {
    let limits = Limits { promo_codes_max: 2, ..Limits::default() };
    let mut world = World::with(limits);
    let mut taken = |record: Vec<u8>| world.push(record).rows("controls").len();
    assert_eq!(taken(code(1, 1, 3, "ONE", "active")), 1);
    assert_eq!(taken(code(2, 1, 3, "TWO", "active")), 1);
    assert_eq!(taken(code(3, 1, 3, "THREE", "active")), 0);
    assert_eq!(taken(code(1, 2, 4, "ONE", "active")), 1);
    assert_eq!(taken(deleted(2, 2)), 1);
    // What was deleted keeps its place, lest an older change bring it back.
    assert_eq!(taken(code(4, 1, 3, "FOUR", "active")), 0);
    assert_eq!(taken(code(2, 1, 3, "TWO", "active")), 0);
}
