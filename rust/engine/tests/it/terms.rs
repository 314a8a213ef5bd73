//! A decision made again goes by the terms of its time, not by those of today.

use headwater_engine::limits::FORMER_VERSIONS_MAX;

use crate::common::*;

/// A click ten days old that the program's window of 30 days takes in, and an order by a customer
/// who is tied to it, decided without knowing that.
fn decided() -> World {
    let mut world = World::default();
    world.push(head(90, T0).program(30 * DAY, 1));
    world.push(head(91, T0).enrolment(3, "active", 2));
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    let now = T0 + 10 * DAY;
    world.at(now).push(head(1, now).sale(&sale(1).by(CUSTOMER, 5)));
    world
}

/// The same order reported by the browser, which names the visitor: it is decided again.
fn again(world: &mut World) -> Result {
    let later = world.ms + 60_000;
    world.at(later).push(head(2, later).browser().sale(&sale(1).by(VISITOR, 4)))
}

#[test]
fn a_window_shortened_later_takes_nothing_back() {
    let mut world = decided();
    world.push(head(92, world.ms).program(DAY, 3));
    assert_eq!(again(&mut world).decision().2, Some(3));
    let fresh = world.push(head(3, world.ms).sale(&sale(2).by(VISITOR, 4)));
    assert_eq!(fresh.decision().1.as_deref(), Some("outside_window"));
}

#[test]
fn a_partner_that_leaves_later_keeps_what_was_brought_before() {
    let mut world = decided();
    world.push(head(92, world.ms).enrolment(3, "paused", 3));
    assert_eq!(again(&mut world).decision().2, Some(3));
    let fresh = world.push(head(3, world.ms).sale(&sale(2).by(VISITOR, 4)));
    assert_eq!(fresh.decision().1.as_deref(), Some("partner_inactive"));
}

#[test]
fn of_one_change_too_many_the_oldest_terms_kept_stand_for_those_before() {
    for (changes, expected) in [(FORMER_VERSIONS_MAX as u64, Some(3)), (17, None)] {
        let mut world = decided();
        for change in 0..changes {
            world.push(head(200 + change, world.ms).program(DAY, 10 + change));
        }
        assert_eq!(again(&mut world).decision().2, expected, "{changes} changes");
    }
    assert_eq!(FORMER_VERSIONS_MAX, 16);
}

#[test]
fn the_terms_of_the_time_survive_a_snapshot() {
    let mut world = decided();
    world.push(head(92, world.ms).program(DAY, 3));
    let bytes = world.engine.view().to_bytes();
    world.engine =
        headwater_engine::Engine::restore(0, &bytes, headwater_engine::Options::default()).unwrap();
    assert_eq!(world.engine.view().to_bytes(), bytes);
    assert_eq!(again(&mut world).decision().2, Some(3));
}
