//! Clicks of sources scored again: what one event may cost, and the same however the log is cut.

use headwater_engine::limits::{
    FRAUD_LISTS_MAX, FRAUD_RESCORED_MAX, OBSERVATION_IDENTIFIERS_MAX, REVISITED_WORK_MAX,
};
use headwater_engine::{Engine, Options};
use proptest::prelude::*;

use crate::common::*;
use crate::fraud_conversions::HOUR;
use crate::fraud_floods::{before_noon, clicks, flooded, sales, tick, traffic, DAWN, NOON};

fn restarted(world: &World) -> World {
    let bytes = world.engine.view().to_bytes();
    let engine = Engine::restore(0, &bytes, Options::default()).unwrap();
    assert_eq!(engine.view().to_bytes(), bytes, "restored to other bytes");
    let World { ms, stream_seq, sequence, .. } = *world;
    World { engine, ms, stream_seq, sequence }
}

#[test]
fn clicks_of_people_who_are_known_by_much_are_scored_again_fewer_at_a_time() {
    const CLICKS: u64 = 250;
    // The visitor, and as many devices as one event links.
    let devices = OBSERVATION_IDENTIFIERS_MAX as u64 - 1;
    let mut world = flooded();
    clicks(&mut world, 3, 1000..1500);
    let visit = |n: u64| {
        let known_by = (0..devices).map(|device| (DEVICE, n * 100 + device));
        let list = known_by.chain([(VISITOR, n)]).collect();
        head(n, DAWN).visit(&Visit { partner: 5, list, ..Visit::default() })
    };
    world.push_all(&(2000..2000 + CLICKS).map(visit).collect::<Vec<_>>());
    world.at(DAWN + HOUR / 2);
    sales(&mut world, 1000..1100);
    sales(&mut world, 2000..2001);
    world.at(NOON);
    let first = clicks(&mut world, 3, 5000..5001).rows("decision_revised").len();
    // The click, its visitor and the devices, over servers' and over browsers' links.
    let work = 2 * (1 + 4 * (OBSERVATION_IDENTIFIERS_MAX + 1));
    assert_eq!(first, REVISITED_WORK_MAX.div_ceil(work));
    let rest = tick(&mut world).rows("decision_revised").len();
    assert_eq!((first + rest) as u64, CLICKS);
    assert!(first + rest < FRAUD_RESCORED_MAX, "but for that it were one step");
}

#[test]
fn a_source_that_turns_back_in_the_middle_ends_as_it_is_known_then() {
    let mut world = before_noon(600);
    world.at(NOON);
    let mut results = vec![clicks(&mut world, 3, 5000..5001)];
    assert_eq!(results[0].rows("decision_revised").len(), FRAUD_RESCORED_MAX);
    for n in 2001..2120 {
        results.push(world.push(head(100_000 + n, NOON).sale(&sale(n).by(VISITOR, n))));
    }
    for _ in 0..8 {
        results.push(tick(&mut world));
    }
    let mut verdicts = std::collections::BTreeMap::new();
    for row in results.iter().flat_map(|result| result.rows("decision_revised")) {
        verdicts.insert(row[0].as_slice().unwrap().to_vec(), row[4].as_str() == Some("accept"));
    }
    assert_eq!(verdicts.len(), 600);
    assert!(verdicts.values().all(|is_accepted| *is_accepted));
}

#[test]
fn decisions_name_as_many_versions_of_the_address_lists_as_are_kept() {
    // The others' clicks are of one version more.
    for (versions, is_known) in [(FRAUD_LISTS_MAX - 1, true), (FRAUD_LISTS_MAX, false)] {
        let mut world = flooded();
        clicks(&mut world, 3, 1000..1500);
        let visit = |n: u64| {
            let name: &'static str = Box::leak(format!("version {n}").into_boxed_str());
            let client = Client { lists: Some(name), ..Client::default() };
            let list = vec![(VISITOR, n)];
            head(n, DAWN).visit(&Visit { partner: 5, list, client, ..Visit::default() })
        };
        let last = 2000 + versions as u64;
        world.push_all(&(2000..last).map(visit).collect::<Vec<_>>());
        world.at(DAWN + HOUR / 2);
        sales(&mut world, 1000..1100);
        world.at(NOON);
        let mut named = std::collections::BTreeMap::new();
        for result in [clicks(&mut world, 3, 5000..5001), tick(&mut world), tick(&mut world)] {
            for row in result.rows("decision_revised") {
                let fraud = rmpv::decode::read_value(&mut row[9].as_slice().unwrap()).unwrap();
                let lists = fraud[2].as_str().map(str::to_owned);
                named.insert(row[0].as_slice().unwrap().to_vec(), lists);
            }
        }
        assert_eq!(named.len(), versions);
        let of = |n: u64| named[&id(n).to_vec()].clone();
        assert_eq!(of(2000), is_known.then(|| "version 2000".to_owned()));
        assert_eq!(of(last - 1), Some(format!("version {}", last - 1)));
    }
}

/// Traffic of a day with a flood in it, a later click of somebody else, and ticks.
fn log(rates: [u64; 3]) -> Vec<(u64, Vec<u8>)> {
    let at_noon = |record| (NOON, record);
    let mut log: Vec<_> = traffic(rates).into_iter().map(at_noon).collect();
    let later = NOON + 6 * HOUR;
    log.push((later, head(9000, later).click(8, &[(VISITOR, 9000)])));
    log.extend((1..5).map(|n| (later + n * 1000, head(0, later + n * 1000).tick())));
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_restart_in_the_middle_of_a_sweep_changes_nothing(
        rates in [0..3_u64, 20..60_u64, 20..60_u64],
        restarts in prop::collection::btree_set(0_usize..60, 1..4),
    ) {
        let log = log(rates);
        let (mut whole, mut broken) = (flooded(), flooded());
        for (ms, record) in &log {
            whole.at(*ms).push(record.clone());
        }
        for (place, (ms, record)) in log.iter().enumerate() {
            // Sweeps are among the last records.
            if restarts.contains(&(log.len() - 1 - place)) {
                broken = restarted(&broken);
            }
            broken.at(*ms).push(record.clone());
        }
        prop_assert_eq!(whole.engine.chain_digest(), broken.engine.chain_digest());
        prop_assert!(whole.engine.view().to_bytes() == broken.engine.view().to_bytes());
    }
}
