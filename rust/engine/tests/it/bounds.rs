//! Each bound of the state: what happens at it, and one past it.

use headwater_engine::limits::{
    Limits, CLICK_GRACE_MS, HOUR_MS, IDENTIFIER_GRACE_MS, PRODUCER_IDLE_MAX_MS,
    RECENT_EVENT_AGE_MAX_MS,
};
use headwater_engine::{Engine, Error, Options, Outcomes};

use crate::common::*;

fn reason(result: &Result) -> Option<String> {
    result.decision().1
}

#[test]
fn one_live_click_too_many_evicts_the_one_that_expires_first() {
    let mut world = World::with(Limits { clicks_live_max: 2, ..Limits::default() });
    world.push(head(101, T0).claim(T0 - 5_000).click(3, &[(VISITOR, 4)]));
    world.push(head(102, T0).claim(T0 - 9_000).click(5, &[(VISITOR, 6)]));
    let kept = world.push(head(1, T0).sale(&sale(1).click(102)));
    assert_eq!(kept.decision().2, Some(5));
    world.push(head(103, T0).click(7, &[]));
    let named = world.push(head(2, T0).sale(&sale(2).click(102)));
    assert_eq!(reason(&named).as_deref(), Some("click_evicted"));
    let reached = world.push(head(3, T0).sale(&sale(3).by(VISITOR, 6)));
    assert_eq!(reason(&reached).as_deref(), Some("click_evicted"));
    assert_eq!(world.push(head(4, T0).sale(&sale(4).click(101))).decision().2, Some(3));
    let again = world.push(head(102, T0).click(5, &[]));
    assert_eq!((again.rows("clicks").len(), again.number("duplicates")), (0, 1));
}

#[test]
fn the_oldest_of_too_many_gone_clicks_is_forgotten() {
    let limits = Limits { clicks_live_max: 1, clicks_gone_max: 2, ..Limits::default() };
    let mut world = World::with(limits);
    for n in 0..4 {
        let now = T0 + 1000 * n;
        world.at(now).push(head(100 + n, now).click(3, &[]));
    }
    for (click, expected) in [(100, "click_unknown"), (101, "click_evicted")] {
        let result = world.push(head(click + 900, T0).sale(&sale(click).click(click)));
        assert_eq!(reason(&result).as_deref(), Some(expected));
    }
}

#[test]
fn a_click_past_its_window_and_grace_is_still_told_from_an_unknown_one() {
    let mut world = World::default();
    world.push(head(90, T0).program(DAY, 1));
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    for (order, now, live) in
        [(1, T0 + DAY + CLICK_GRACE_MS - 1, 1), (2, T0 + DAY + CLICK_GRACE_MS, 0)]
    {
        for (offset, by) in [(0, sale(order).click(100)), (10, sale(order + 10).by(VISITOR, 4))] {
            let result = world.at(now).push(head(order + offset, now).sale(&by));
            assert_eq!(reason(&result).as_deref(), Some("outside_window"));
        }
        assert_eq!(world.engine.stats()["clicks_live"], live);
    }
}

#[test]
fn an_identifier_is_dropped_once_its_last_sighting_has_aged() {
    let mut world = World::default();
    let identifiers = |world: &World| world.engine.stats()["identifiers"];
    world.push(head(1, T0).identify(&[(VISITOR, 4)]));
    let again = T0 + 80 * DAY;
    world.at(again).push(head(2, again).identify(&[(VISITOR, 4)]));
    // Days are looked at whole, and the one it was last seen in is not over.
    let end = (again / DAY + 1) * DAY + 90 * DAY + IDENTIFIER_GRACE_MS;
    world.at(end - 1).push(head(3, end - 1).control("x", 1, 1, &[]));
    assert_eq!(identifiers(&world), 1);
    world.at(end).push(head(4, end).control("x", 1, 1, &[]));
    assert_eq!(identifiers(&world), 0);
}

#[test]
fn the_oldest_of_too_many_orders_is_forgotten() {
    let mut world = World::with(Limits { orders_max: 2, ..Limits::default() });
    for n in 1..=2 {
        world.at(T0 + n).push(head(n, T0 + n).sale(&sale(n)));
    }
    assert_eq!(world.push(head(11, T0).sale(&sale(1))).effect(), "repeat");
    world.at(T0 + 3).push(head(3, T0 + 3).sale(&sale(3)));
    assert_eq!(world.push(head(12, T0).sale(&sale(2))).effect(), "repeat");
    assert_eq!(world.push(head(13, T0).sale(&sale(1))).effect(), "created");
}

#[test]
fn event_ids_are_remembered_to_their_age_and_number() {
    let mut world = World::with(Limits { recent_events_max: 2, ..Limits::default() });
    let mut seen = |event, now| {
        let result = world.at(now).push(head(event, now).identify(&[(VISITOR, 4)]));
        result.number("duplicates") == 1
    };
    assert!(!seen(1, T0));
    assert!(!seen(2, T0 + 1));
    assert!(seen(1, T0 + 1));
    assert!(!seen(3, T0 + 2));
    assert!(!seen(1, T0 + 3));
    assert!(seen(1, T0 + 3 + RECENT_EVENT_AGE_MAX_MS - 1));
    assert!(!seen(1, T0 + 3 + RECENT_EVENT_AGE_MAX_MS));
}

#[test]
fn a_silent_producer_is_forgotten_at_an_hour_past_its_time() {
    let start = T0 - T0 % HOUR_MS;
    let mut world = World::default();
    world.at(start).push_frame(&frame(5, 1, &[head(1, T0).tick()]));
    world.at(start + PRODUCER_IDLE_MAX_MS).push(head(2, T0).tick());
    assert_eq!(world.engine.ranges(5), [(1, 1)]);
    world.at(start + PRODUCER_IDLE_MAX_MS + HOUR_MS).push(head(3, T0).tick());
    assert!(world.engine.ranges(5).is_empty());
}

#[test]
fn the_longest_idle_of_too_many_producers_is_forgotten() {
    let mut world = World::with(Limits { producers_max: 2, ..Limits::default() });
    for (step, producer) in [5, 6, 5, 7].into_iter().enumerate() {
        let now = T0 + step as u64;
        world.at(now).push_frame(&frame(producer, 1 + now % 9, &[head(1, now).tick()]));
    }
    assert!(world.engine.ranges(6).is_empty());
    assert_eq!(world.engine.ranges(5).len() + world.engine.ranges(7).len(), 3);
}

#[test]
fn the_lowest_of_too_many_ranges_is_forgotten() {
    let mut world = World::with(Limits { producer_ranges_max: 2, ..Limits::default() });
    for first in [1, 3, 5] {
        world.push_frame(&frame(5, first, &[head(1, T0).tick()]));
    }
    assert_eq!(world.engine.ranges(5), [(3, 3), (5, 5)]);
}

#[test]
fn a_frame_for_one_brand_too_many_is_quarantined_whole() {
    let mut world = World::with(Limits { brands_max: 2, ..Limits::default() });
    let click = |event, brand| head(event, T0).brand(brand).click(3, &[]);
    let both = world.push_all(&[click(1, 1), click(2, 2), head(3, T0).brand(0).tick()]);
    assert_eq!(both.rows("clicks").len(), 2);
    let above = world.push_all(&[click(4, 1), click(5, 3)]);
    assert_eq!(above.rows("clicks").len(), 0);
    assert_eq!(above.rows("quarantined")[0][2].as_str(), Some("brands_max"));
}

#[test]
fn controls_above_their_bound_are_not_applied() {
    let limits = Limits { programs_max: 1, enrolments_max: 1, ..Limits::default() };
    let mut world = World::with(limits);
    let window = |n: u64| head(90 + n, T0).control("program", n, 1, &[("window_ms", 5.into())]);
    assert_eq!(world.push(window(1)).rows("controls").len(), 1);
    assert_eq!(world.push(window(2)).rows("controls").len(), 0);
    assert_eq!(world.push(head(1, T0).enrolment(3, "paused", 1)).rows("controls").len(), 1);
    assert_eq!(world.push(head(2, T0).enrolment(4, "paused", 1)).rows("controls").len(), 0);
    let noted = world.push(head(3, T0).control("banner", 5, 1, &[]));
    assert_eq!(noted.rows("controls")[0][1].as_str(), Some("banner"));
}

#[test]
fn positions_must_rise_and_versions_be_known_before_anything_is_applied() {
    let mut world = World::default();
    world.push(head(1, T0).click(3, &[]));
    let position = world.engine.position();
    let frame = frame(11, 2, &[head(2, T0).click(3, &[])]);
    let mut outcomes = Outcomes::new();
    let refused = world.engine.apply(position, &frame, &mut outcomes);
    assert_eq!(refused, Err(Error::Position { entry: position, position }));
    assert!(world.engine.skip(position, &frame, "panic").is_err());
    let mut newer = frame.clone();
    newer[3] = 9;
    let next = (position.0, position.1 + 1);
    let entries = [(next, frame.as_slice()), ((next.0, next.1 + 1), newer.as_slice())];
    assert_eq!(world.engine.check(entries), Err(Error::UnknownVersion(9)));
    assert_eq!(world.engine.apply(next, &newer, &mut outcomes), Err(Error::UnknownVersion(9)));
    assert_eq!(world.engine.position(), position);
}

#[test]
fn damaged_frames_are_quarantined_with_their_reason() {
    let mut world = World::default();
    let good = frame(11, 1, &[head(2, T0).click(3, &[])]);
    let mut bad_sum = good.clone();
    *bad_sum.last_mut().unwrap() ^= 1;
    let mut elsewhere = Engine::new(1, Options::default());
    let mut outcomes = Outcomes::new();
    elsewhere.apply((T0, 0), &good, &mut outcomes).unwrap();
    let wrong = read(&elsewhere.encode_outcomes(&outcomes));
    for (result, reason, frame) in [
        (world.push_frame(&bad_sum), "bad_checksum", bad_sum.as_slice()),
        (world.push_frame(b"rubbish"), "malformed", b"rubbish".as_slice()),
        (wrong, "wrong_partition", good.as_slice()),
    ] {
        let row = &result.rows("quarantined")[0];
        assert_eq!((row[2].as_str(), row[3].as_slice()), (Some(reason), Some(frame)));
    }
    assert_eq!(world.push_frame(&good).rows("clicks").len(), 1);
}

#[test]
#[should_panic(expected = "panic_on")]
fn the_fault_hook_panics_at_its_event() {
    let options = Options { panic_on: Some(id(2)), ..Options::default() };
    let mut world = World { engine: Engine::new(0, options), ..World::default() };
    world.push(head(1, T0).click(3, &[]));
    world.push(head(2, T0).click(3, &[]));
}
