//! How long a click may earn is what partner and brand agreed on for the time of the conversion.

use headwater_engine::{Engine, Options};

use crate::common::*;

const EVENT_TYPE: u64 = 2;

/// What terms say: partner, begin, and further members.
fn terms(
    number: u64,
    revision: u64,
    partner: u64,
    from_ms: u64,
    more: &[(&str, Value)],
) -> Vec<u8> {
    let mut value: Vec<(&str, Value)> =
        vec![("program", 1.into()), ("partner", partner.into()), ("from_ms", from_ms.into())];
    value.extend(more.iter().cloned());
    head(1000 + 100 * number + revision, T0).control("terms", number, revision, &value)
}

fn window(ms: u64) -> Vec<(&'static str, Value)> {
    vec![("window_ms", ms.into())]
}

/// A program of 30 days, a click of partner 3, and what the terms say.
fn world(terms: &[Vec<u8>]) -> World {
    let mut world = World::default();
    world.push(head(90, T0).program(30 * DAY, 1));
    for record in terms {
        world.push(record.clone());
    }
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world
}

/// Whether an order so long after the click is credited.
fn is_credited(terms: &[Vec<u8>], after_ms: u64) -> bool {
    let mut world = world(terms);
    let now = T0 + after_ms;
    world.at(now).push(head(1, now).sale(&sale(1).by(VISITOR, 4))).decision().2 == Some(3)
}

/// Holds that a click is credited for so long and not a millisecond longer.
fn assert_window(terms: &[Vec<u8>], window_ms: u64) {
    assert!(is_credited(terms, window_ms - 1), "within {window_ms}");
    assert!(!is_credited(terms, window_ms), "at {window_ms}");
}

#[test]
fn without_terms_the_program_decides() {
    assert_window(&[], 30 * DAY);
    assert_window(&[terms(1, 2, 3, 0, &[])], 30 * DAY);
    assert_window(&[terms(1, 2, 4, 0, &window(DAY))], 30 * DAY);
}

#[test]
fn a_partner_s_own_terms_stand_before_those_for_all() {
    assert_window(&[terms(1, 2, 0, 0, &window(7 * DAY))], 7 * DAY);
    let both = [terms(1, 2, 0, 0, &window(7 * DAY)), terms(2, 3, 3, 0, &window(90 * DAY))];
    assert_window(&both, 90 * DAY);
}

#[test]
fn what_is_agreed_for_an_event_type_stands_before_the_rest() {
    let pair = |event_type: u64, ms: u64| array([event_type.into(), ms.into()]);
    let windows = array([pair(9, DAY), pair(EVENT_TYPE, 2 * DAY)]);
    let agreed = [("window_ms", Value::from(5 * DAY)), ("event_windows_ms", windows)];
    assert_window(&[terms(1, 2, 3, 0, &agreed)], 2 * DAY);
}

#[test]
fn the_event_type_s_own_window_gives_way_to_terms() {
    let own = [("program", 1.into()), ("window_ms", DAY.into())];
    let own = head(92, T0).control("event_type", EVENT_TYPE, 5, &own);
    assert_window(std::slice::from_ref(&own), DAY);
    assert_window(&[own, terms(1, 6, 3, 0, &window(3 * DAY))], 3 * DAY);
}

#[test]
fn the_time_of_the_conversion_says_which_terms_hold() {
    let change_ms = T0 + 10 * DAY;
    let mut first = window(20 * DAY);
    first.push(("until_ms", change_ms.into()));
    let both = [terms(1, 2, 3, 0, &first), terms(2, 3, 3, change_ms, &window(5 * DAY))];
    assert!(is_credited(&both, 10 * DAY - 1), "the first terms take it in");
    assert!(!is_credited(&both, 10 * DAY), "the second do not");
    let without_end = [terms(1, 2, 3, 0, &window(20 * DAY)), both[1].clone()];
    assert!(!is_credited(&without_end, 10 * DAY), "the later begun hold");
}

#[test]
fn terms_made_later_take_nothing_back() {
    let mut world = world(&[]);
    let now = T0 + 10 * DAY;
    world.at(now).push(head(1, now).sale(&sale(1).by(CUSTOMER, 5)));
    world.push(terms(1, 9, 3, 0, &window(DAY)));
    let again = head(2, now).browser().sale(&sale(1).by(VISITOR, 4));
    assert_eq!(world.push(again).decision().2, Some(3));
    let fresh = world.push(head(3, now).sale(&sale(2).by(VISITOR, 4)));
    assert_eq!(fresh.decision().1.as_deref(), Some("outside_window"));
}

#[test]
fn deleted_terms_hold_no_more() {
    let deleted = ["terms".into(), 1.into(), 3.into(), Value::Nil];
    let deleted = head(93, T0).record(5, array(deleted));
    assert_window(&[terms(1, 2, 3, 0, &window(DAY)), deleted], 30 * DAY);
}

#[test]
fn an_older_revision_changes_nothing() {
    assert_window(&[terms(1, 5, 3, 0, &window(DAY)), terms(1, 4, 3, 0, &window(9 * DAY))], DAY);
}

#[test]
fn terms_are_in_the_hash_of_what_was_in_force() {
    let hash = |terms: &[Vec<u8>]| {
        let mut world = world(terms);
        let made = world.push(head(1, T0 + 5).sale(&sale(1).by(VISITOR, 4)));
        made.rows("conversions")[0][16].clone()
    };
    assert_ne!(hash(&[]), hash(&[terms(1, 2, 3, 0, &window(DAY))]));
    assert_eq!(hash(&[]), hash(&[terms(1, 2, 4, 0, &window(DAY))]));
}

#[test]
fn terms_survive_a_snapshot() {
    let pair = array([Value::from(EVENT_TYPE), Value::from(2 * DAY)]);
    let agreed = [("until_ms", Value::from(T0 + 9 * DAY)), ("event_windows_ms", array([pair]))];
    let mut world = world(&[
        terms(1, 2, 0, 0, &window(7 * DAY)),
        terms(1, 3, 0, 5, &window(6 * DAY)),
        terms(2, 4, 3, 0, &agreed),
    ]);
    let bytes = world.engine.view().to_bytes();
    world.engine = Engine::restore(0, &bytes, Options::default()).unwrap();
    assert_eq!(world.engine.view().to_bytes(), bytes);
    let now = T0 + 2 * DAY;
    let late = world.at(now).push(head(1, now).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(late.decision().1.as_deref(), Some("outside_window"));
}
