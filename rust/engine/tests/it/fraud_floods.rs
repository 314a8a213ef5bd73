//! A source that turns out to be a flood, in a running engine.

use std::collections::BTreeMap;

use headwater_engine::fraud::ONE;
use headwater_engine::limits::{Limits, FRAUD_RESCORED_MAX, SOURCE_CLICK_AGE_MAX_MS};
use headwater_engine::{Engine, Options};
use proptest::prelude::*;

use crate::common::*;
use crate::fraud_conversions::{judged, last, order_of, rules, Judged, HOUR};

/// A midnight, and half a day later, by when its clicks have had their time.
pub(crate) const DAWN: u64 = 20_260 * DAY;
pub(crate) const NOON: u64 = DAWN + 12 * HOUR;

/// A program in which floods are told from a hundred clicks on, and nothing else counts.
pub(crate) fn flooded() -> World {
    let mut world = World::default();
    ruled(&mut world);
    world
}

fn ruled(world: &mut World) {
    world.at(DAWN);
    let off = ["SLICE_BURST", "CTIT_FLAT", "CTIT_LOW_VARIANCE", "CR_TOO_HIGH"];
    let mut changes: Vec<(&str, &str, Value)> =
        off.iter().map(|code| (*code, "mode", "off".into())).collect();
    changes.push(("CLICK_FLOODING", "low", 100.into()));
    world.push(head(90, DAWN).control("program", 1, 1, &[rules(&changes)]));
}

/// Clicks of a partner, each by a visitor of its own with the click's number.
pub(crate) fn clicks(world: &mut World, partner: u64, numbers: std::ops::Range<u64>) -> Result {
    let now = world.ms;
    let client = Client { lists: Some("lists-1"), ..Client::default() };
    let click = |n| {
        head(n, now).visit(&Visit { partner, list: vec![(VISITOR, n)], client, ..Visit::default() })
    };
    world.push_all(&numbers.map(click).collect::<Vec<_>>())
}

pub(crate) fn sales(world: &mut World, numbers: std::ops::Range<u64>) -> Vec<Judged> {
    let now = world.ms;
    let sell = |n| last(&world.push(head(100_000 + n, now).sale(&sale(n).by(VISITOR, n))));
    numbers.map(sell).collect()
}

/// Partner 3 has 500 clicks and 100 sales, partner 5 so many clicks and one sale; half a day later
/// partner 3 has one click more, and what comes of that.
fn with_flood(clicks_of_flood: u64) -> (World, Result) {
    let mut world = before_noon(clicks_of_flood);
    world.at(NOON);
    let result = clicks(&mut world, 3, 5000..5001);
    (world, result)
}

pub(crate) fn before_noon(clicks_of_flood: u64) -> World {
    let mut world = flooded();
    clicks(&mut world, 3, 1000..1500);
    clicks(&mut world, 5, 2000..2000 + clicks_of_flood);
    world.at(DAWN + HOUR / 2);
    sales(&mut world, 1000..1100);
    let sold = sales(&mut world, 2000..2001);
    assert_eq!((sold[0].verdict.as_str(), sold[0].codes.len()), ("accept", 0));
    world
}

/// Time passes by a second; what comes of that.
pub(crate) fn tick(world: &mut World) -> Result {
    let now = world.ms + 1000;
    world.at(now);
    world.push(head(0, now).tick())
}

#[test]
fn a_source_that_turns_out_to_be_a_flood_has_its_clicks_and_conversions_scored_again() {
    let (mut world, result) = with_flood(200);
    let revised = result.rows("decision_revised");
    assert_eq!(revised.len(), 200, "though nothing has happened to it since");
    assert_eq!(revised[0][10].as_str(), Some("CLICK_FLOODING"));
    assert!(revised.iter().all(|row| row[4].as_str() == Some("review")));
    let fraud = rmpv::decode::read_value(&mut revised[0][9].as_slice().unwrap()).unwrap();
    assert_eq!(fraud[2].as_str(), Some("lists-1"), "as when the click came");
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
fn a_brand_that_has_gone_quiet_is_judged_when_nothing_late_can_come() {
    let mut world = before_noon(200);
    world.at(DAWN + 2 * DAY - 13 * HOUR);
    assert_eq!(tick(&mut world).rows("decision_revised").len(), 0, "clicks may be held up");
    world.at(DAWN + 2 * DAY - 11 * HOUR);
    let revised = tick(&mut world);
    let revised = revised.rows("decision_revised");
    assert_eq!(revised.len(), 200);
    assert!(revised.iter().all(|row| row[10].as_str() == Some("CLICK_FLOODING")));
}

#[test]
fn and_back_when_its_conversions_come_in() {
    let (mut world, _) = with_flood(200);
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
    let mut world = before_noon(200);
    let restart = |world: &mut World| {
        let bytes = world.engine.view().to_bytes();
        world.engine = Engine::restore(0, &bytes, Options::default()).unwrap();
        assert_eq!(world.engine.view().to_bytes(), bytes);
    };
    restart(&mut world);
    world.at(NOON);
    let other = head(8000, NOON).brand(2).click(5, &[(VISITOR, 1)]);
    assert_eq!(world.push(other).rows("clicks")[0][10].as_str(), Some("accept"));
    let result = clicks(&mut world, 3, 5000..5001);
    assert_eq!(result.rows("decision_revised").len(), 200);
    let result = clicks(&mut world, 5, 6000..6001);
    assert_eq!(result.rows("clicks")[0][10].as_str(), Some("review"));
}

#[test]
fn all_clicks_of_a_flood_are_scored_again_a_bounded_part_with_each_event_or_tick() {
    let many = 2 * FRAUD_RESCORED_MAX + 88;
    let (mut world, first) = with_flood(many as u64);
    let mut counts = vec![first.rows("decision_revised").len()];
    for step in 0..4 {
        if step == 0 {
            let bytes = world.engine.view().to_bytes();
            world.engine = Engine::restore(0, &bytes, Options::default()).unwrap();
        }
        counts.push(tick(&mut world).rows("decision_revised").len());
    }
    assert_eq!(counts, [FRAUD_RESCORED_MAX, FRAUD_RESCORED_MAX, 88, 0, 0]);
}

#[test]
fn of_two_floods_each_has_its_turn() {
    let mut world = before_noon(400);
    world.at(DAWN + HOUR);
    clicks(&mut world, 6, 3000..3400);
    world.at(NOON);
    clicks(&mut world, 3, 5000..5001);
    let second = tick(&mut world);
    let number_of = |row: &[Value]| {
        let id = row[0].as_slice().unwrap();
        u64::from_be_bytes(id[8..].try_into().unwrap())
    };
    let revised = second.rows("decision_revised");
    let numbers: Vec<u64> = revised.iter().map(|row| number_of(row)).collect();
    assert_eq!(numbers.len(), FRAUD_RESCORED_MAX);
    assert!(numbers.iter().all(|number| *number >= 3000), "those of the other");
    let rest = [tick(&mut world), tick(&mut world)].map(|it| it.rows("decision_revised").len());
    assert_eq!(rest.iter().sum::<usize>(), 2 * (400 - FRAUD_RESCORED_MAX));
}

#[test]
fn beyond_the_bound_the_oldest_clicks_keep_their_verdicts() {
    let mut world = World::with(Limits { source_clicks_max: 40, ..Limits::default() });
    ruled(&mut world);
    clicks(&mut world, 3, 1000..1500);
    world.at(DAWN + HOUR / 2);
    sales(&mut world, 1000..1100);
    clicks(&mut world, 5, 2000..2200);
    world.at(NOON);
    let result = clicks(&mut world, 3, 5000..5001);
    // The click that comes now is one of the forty.
    assert_eq!(result.rows("decision_revised").len(), 39);
}

#[test]
fn a_click_of_a_week_ago_keeps_its_verdict() {
    for (later, revised) in [(SOURCE_CLICK_AGE_MAX_MS - 1000, 200), (SOURCE_CLICK_AGE_MAX_MS, 0)] {
        let mut world = before_noon(200);
        // Nothing is known of others until now.
        world.at(DAWN + later);
        let result = clicks(&mut world, 3, 5000..5001);
        let ticked = tick(&mut world);
        let all = result.rows("decision_revised").len() + ticked.rows("decision_revised").len();
        assert_eq!(all, revised);
    }
}

#[test]
fn what_is_refused_for_its_source_is_counted_all_the_same() {
    let mut world = before_noon(700);
    let enforced = rules(&[("SOURCE_QUALITY", "mode", "enforce".into())]);
    world.push(head(91, DAWN).control("program", 1, 2, &[enforced]));
    world.at(NOON);
    clicks(&mut world, 3, 5000..5001);
    for _ in 0..3 {
        tick(&mut world);
    }
    for n in 6000..6010 {
        let result = clicks(&mut world, 5, n..n + 1);
        assert_eq!(result.rows("clicks")[0][10].as_str(), Some("reject"));
        assert!(result.rows("decision_revised").is_empty(), "it does not go to and fro");
    }
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

/// The last word on every click and every order.
fn last_words(results: &[Result]) -> BTreeMap<Vec<u8>, (String, u64)> {
    let mut last = BTreeMap::new();
    let places = [("clicks", 10, 13), ("decision_revised", 4, 7), ("conversions", 17, 18)];
    for result in results {
        for (table, verdict, score) in places {
            for row in result.rows(table) {
                let said =
                    (row[verdict].as_str().unwrap().to_owned(), row[score].as_u64().unwrap());
                last.insert(row[0].as_slice().unwrap().to_vec(), said);
            }
        }
    }
    last
}

/// Clicks and sales of three partners within some hours, as they are accepted.
pub(crate) fn traffic(rates: [u64; 3]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for (partner, rate) in (3..).zip(rates) {
        for n in partner * 1000..partner * 1000 + 150 {
            let at_ms = DAWN + n % 1000 * 60_000;
            records.push(head(n, at_ms).click(partner, &[(VISITOR, n)]));
            if n % 100 < rate {
                let sold_ms = at_ms + 1000 * (n % 7 * 600 + 20);
                records.push(head(100_000 + n, sold_ms).sale(&sale(n).by(VISITOR, n)));
            }
        }
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_known_of_sources_in_the_end_does_not_depend_on_the_order_of_arrival(
        rates in [0..4_u64, 10..40_u64, 0..60_u64],
        seed in any::<u64>(),
    ) {
        let straight = traffic(rates);
        let mut shuffled = straight.clone();
        let mut state = seed;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            shuffled.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        let ends = |records: &[Vec<u8>]| {
            let mut world = flooded();
            world.at(NOON);
            let mut results: Vec<Result> =
                records.chunks(20).map(|some| world.push_all(some)).collect();
            world.at(NOON + 6 * HOUR);
            results.push(clicks(&mut world, 8, 9000..9001));
            for _ in 0..8 {
                results.push(tick(&mut world));
            }
            last_words(&results)
        };
        prop_assert_eq!(ends(&straight), ends(&shuffled));
    }
}

#[test]
fn what_a_person_has_yet_to_look_at_is_no_measure_of_others() {
    // Sales a second after the click are under review; they are as many as all others together.
    for attack in [1, 200] {
        let mut world = flooded();
        clicks(&mut world, 3, 1000..1500);
        clicks(&mut world, 4, 2000..2300);
        clicks(&mut world, 9, 3000..3000 + attack);
        world.at(DAWN + 1000);
        let hasty = sales(&mut world, 3000..3000 + attack);
        assert!(hasty.iter().all(|sold| sold.verdict == "review"));
        world.at(DAWN + HOUR / 2);
        sales(&mut world, 1000..1100);
        sales(&mut world, 2000..2036);
        world.at(NOON);
        clicks(&mut world, 3, 5000..5001);
        let next = clicks(&mut world, 4, 6000..6001);
        assert_eq!(next.rows("clicks")[0][13].as_u64(), Some(0), "an honest source, {attack}");
    }
}
