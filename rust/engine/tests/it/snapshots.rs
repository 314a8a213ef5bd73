//! Snapshots: the same state, the same bytes; damage is refused.

use headwater_engine::{Engine, Error, Options};

use crate::common::*;

/// A world with something in every part of its state.
fn full() -> World {
    let mut world = World::default();
    world.push(head(90, T0).program(DAY, 1));
    world.push(head(91, T0).control("event_type", 2, 1, &[("kind", "sale".into())]));
    world.push(head(92, T0).enrolment(3, "active", 1));
    let list = crate::fraud_shared::chunk("2026-10", 0, 1, &["Examplebot", "(unclosed"]);
    world.push(head(93, T0).brand(0).control("bot_list", 0, 1, &list));
    let rules = crate::fraud_shared::rule("IP_VELOCITY", &[("weight", 30.into())]);
    world.push(head(94, T0).brand(0).control("fraud_rules", 0, 1, &[("rules", rules)]));
    world.push(head(99, T0).click(3, &[(VISITOR, 1)]));
    let now = T0 + 10 * DAY;
    world.at(now).push(head(100, now).click(3, &[(VISITOR, 4)]));
    world.push(head(98, now).click_in(1, 3, crate::fraud_world::HONEYPOT, &[(VISITOR, 9)]));
    world.push(head(101, now).browser().identify(&[(VISITOR, 4), (CUSTOMER, 5)]));
    world.push(head(1, now).sale(&sale(1).click(100).by(CUSTOMER, 5)));
    world.push(head(2, now).browser().sale(&sale(1).by(VISITOR, 4)));
    world.push(head(3, now).brand(2).sale(&sale(2).by(VISITOR, 4)));
    world.push_frame(&frame(3, 40, &[head(8, now).tick()]));
    world
}

#[test]
fn a_snapshot_is_restored_to_the_same_state() {
    let world = full();
    let bytes = world.engine.view().to_bytes();
    let again = Engine::restore(0, &bytes, Options::default()).unwrap();
    assert_eq!(again.view().to_bytes(), bytes);
    assert_eq!(again.position(), world.engine.position());
    assert_eq!(again.time_ms(), world.engine.time_ms());
    assert_eq!(again.chain_digest(), world.engine.chain_digest());
    let counts = |engine: &Engine| {
        let mut stats = engine.stats();
        stats.retain(|name, _| !name.ends_with("_bytes"));
        stats
    };
    assert_eq!(counts(&again), counts(&world.engine));
    assert!(again.stats().values().all(|size| *size > 0), "{:?}", again.stats());
}

#[test]
fn a_view_keeps_what_it_saw_while_the_engine_moves_on() {
    let mut world = full();
    let view = world.engine.view();
    let before = view.to_bytes();
    world.push(head(200, world.ms).click(3, &[(VISITOR, 4)]));
    world.push(head(201, world.ms).identify(&[(VISITOR, 4), (CUSTOMER, 5), (EMAIL, 6)]));
    assert_eq!(view.to_bytes(), before);
    assert_ne!(world.engine.view().to_bytes(), before);
}

#[test]
fn a_snapshot_damaged_in_any_byte_or_cut_short_is_refused() {
    let bytes = full().engine.view().to_bytes();
    let restore = |bytes: &[u8]| Engine::restore(0, bytes, Options::default()).map(|_| ());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        assert_eq!(restore(&damaged), Err(Error::Snapshot("damaged")), "byte {at}");
        assert_eq!(restore(&bytes[..at]), Err(Error::Snapshot("damaged")), "cut at {at}");
    }
}

#[test]
fn a_snapshot_of_another_partition_is_refused() {
    let bytes = full().engine.view().to_bytes();
    let elsewhere = Engine::restore(1, &bytes, Options::default()).map(|_| ());
    assert_eq!(elsewhere, Err(Error::Snapshot("wrong_partition")));
}

#[test]
fn after_an_erasure_a_restored_engine_decides_like_the_one_that_went_on() {
    let mut world = World::default();
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world.push(head(1, T0).sale(&sale(1).click(100).by(VISITOR, 4)));
    let erased = identifiers(&[(VISITOR, 4), (CLICK, 100)]);
    let body = array(["identifier".into(), false.into(), false.into(), erased]);
    world.push(head(2, T0).record(7, body));
    let bytes = world.engine.view().to_bytes();
    let again = Engine::restore(0, &bytes, Options::default()).unwrap();
    let late = head(3, T0).identify(&[(CLICK, 100), (CUSTOMER, 5)]);
    let went_on = world.push(late.clone()).rows("conversions").len();
    let position = world.stream_seq - 1;
    let mut restored =
        World { engine: again, ms: T0, stream_seq: position, sequence: world.sequence - 1 };
    assert_eq!(restored.push(late).rows("conversions").len(), went_on);
    assert_eq!(restored.engine.chain_digest(), world.engine.chain_digest());
}
