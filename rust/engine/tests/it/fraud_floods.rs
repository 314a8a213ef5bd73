//! A source that turns out to be a flood, in a running engine.

use headwater_engine::fraud::ONE;
use headwater_engine::{Engine, Options};

use crate::common::*;
use crate::fraud_conversions::{judged, last, order_of, rules, Judged, HOUR};

/// A midnight, and half a day later, by when its clicks have had their time.
const DAWN: u64 = 20_260 * DAY;
const NOON: u64 = DAWN + 12 * HOUR;

/// A program in which floods are told from a hundred clicks on, and nothing else counts.
fn flooded() -> World {
    let mut world = World::default();
    world.at(DAWN);
    let off = ["SLICE_BURST", "CTIT_FLAT", "CTIT_LOW_VARIANCE", "CR_TOO_HIGH"];
    let mut changes: Vec<(&str, &str, Value)> =
        off.iter().map(|code| (*code, "mode", "off".into())).collect();
    changes.push(("CLICK_FLOODING", "low", 100.into()));
    world.push(head(90, DAWN).control("program", 1, 1, &[rules(&changes)]));
    world
}

/// Clicks of a partner, each by a visitor of its own with the click's number.
fn clicks(world: &mut World, partner: u64, numbers: std::ops::Range<u64>) -> Result {
    let now = world.ms;
    let click = |n| head(n, now).click(partner, &[(VISITOR, n)]);
    world.push_all(&numbers.map(click).collect::<Vec<_>>())
}

fn sales(world: &mut World, numbers: std::ops::Range<u64>) -> Vec<Judged> {
    let now = world.ms;
    let sell = |n| last(&world.push(head(100_000 + n, now).sale(&sale(n).by(VISITOR, n))));
    numbers.map(sell).collect()
}

/// Partner 3 has 500 clicks and 100 sales, partner 5 so many clicks and one sale.
fn with_flood(clicks_of_flood: u64) -> World {
    let mut world = flooded();
    clicks(&mut world, 3, 1000..1500);
    clicks(&mut world, 5, 2000..2000 + clicks_of_flood);
    world.at(DAWN + HOUR / 2);
    sales(&mut world, 1000..1100);
    let sold = sales(&mut world, 2000..2001);
    assert_eq!((sold[0].verdict.as_str(), sold[0].codes.len()), ("accept", 0));
    world.at(NOON);
    clicks(&mut world, 3, 5000..5001);
    world
}

#[test]
fn a_source_that_turns_out_to_be_a_flood_has_its_clicks_and_conversions_scored_again() {
    let mut world = with_flood(200);
    let result = clicks(&mut world, 5, 6000..6001);
    let revised = result.rows("decision_revised");
    assert_eq!(revised.len(), 200, "every click that it still knows");
    assert_eq!(revised[0][10].as_str(), Some("CLICK_FLOODING"));
    assert!(revised.iter().all(|row| row[4].as_str() == Some("review")));
    let rows = result.rows("conversions");
    assert_eq!((rows.len(), order_of(&rows[0])), (1, 2000));
    let sold = judged(&rows[0]);
    assert_eq!((sold.status.as_str(), sold.partner, sold.revision), ("attributed", Some(5), 2));
    let code = sold.code("CLICK_FLOODING").unwrap();
    assert!(code.is_inherited);
    assert_eq!(code.severity, u64::from(ONE) / 2 * 4 / 5);
    let next = clicks(&mut world, 5, 6001..6002);
    assert_eq!(next.rows("decision_revised").len(), 0, "said once");
    assert_eq!(next.rows("clicks")[0][10].as_str(), Some("review"));
}

#[test]
fn and_back_when_its_conversions_come_in() {
    let mut world = with_flood(200);
    clicks(&mut world, 5, 6000..6001);
    let mut last_decision = None;
    for n in 2001..2040 {
        let now = world.ms;
        let result = world.push(head(100_000 + n, now).sale(&sale(n).by(VISITOR, n)));
        for row in result.rows("conversions").iter().filter(|row| order_of(row) == 2000) {
            last_decision = Some(judged(row));
        }
    }
    let sold = last_decision.expect("decided again");
    assert_eq!((sold.verdict.as_str(), sold.codes.len()), ("accept", 0));
    let fresh = clicks(&mut world, 5, 7000..7001);
    assert_eq!(fresh.rows("clicks")[0][10].as_str(), Some("accept"));
}

#[test]
fn no_flood_is_another_brand_s_and_none_is_forgotten_with_a_restart() {
    let mut world = with_flood(200);
    let bytes = world.engine.view().to_bytes();
    world.engine = Engine::restore(0, &bytes, Options::default()).unwrap();
    assert_eq!(world.engine.view().to_bytes(), bytes);
    let other = head(8000, NOON).brand(2).click(5, &[(VISITOR, 1)]);
    assert_eq!(world.push(other).rows("clicks")[0][10].as_str(), Some("accept"));
    let result = clicks(&mut world, 5, 6000..6001);
    assert_eq!(result.rows("decision_revised").len(), 200);
}

#[test]
fn tests_and_refused_clicks_are_not_counted() {
    let mut world = flooded();
    let now = world.ms;
    let before = world.engine.view().to_bytes().len();
    for (n, flags) in [(1, 1), (2, 16)] {
        let visit = Visit { flags, ..Visit::default() };
        world.push(head(n, now).visit(&visit));
    }
    let image = Client { fetch_dest: Some("image"), ..Client::default() };
    world.push(head(3, now).browser().visit(&Visit { client: image, ..Visit::default() }));
    let uncounted = world.engine.view().to_bytes().len();
    clicks(&mut world, 3, 10..11);
    let counted = world.engine.view().to_bytes().len();
    // Four levels of counts are larger than all else that a click leaves behind.
    assert!(counted - uncounted > (uncounted - before) / 2 + 1000);
}
