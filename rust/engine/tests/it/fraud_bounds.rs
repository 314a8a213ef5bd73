//! Memory at its bounds, and the same bytes from the same log.

use headwater_engine::limits::Limits;
use headwater_engine::{Engine, Options};
use proptest::prelude::*;

use crate::common::T0;
use crate::fraud_world::*;

fn small() -> Limits {
    Limits {
        fraud_pending_max: 100,
        fraud_tallies_max: 500,
        fraud_findings_max: 200,
        source_clicks_max: 150,
        ..Limits::default()
    }
}

/// Strangers, each seen once, and one regular that is never away for long.
fn strangers(count: u64) -> Vec<Touch> {
    (0..count)
        .map(|number| Touch {
            event: 1 + number,
            at_ms: T0 + number * 2_000,
            flags: if number % 20 == 0 { 0 } else { NEW },
            visitor: Some(if number % 20 == 0 { 1 } else { 1_000 + number }),
            address: Some(if number % 20 == 0 { 1 } else { 1_000 + number }),
            net: number,
            agent: number % 60,
            is_activated: number % 3 == 0,
            ..Touch::default()
        })
        .collect()
}

#[test]
fn ten_times_more_keys_than_fit_stay_within_the_bound_and_a_regular_is_not_forgotten() {
    let mut clicks = Clicks::with(small());
    let touches = strangers(2_000);
    clicks.run(&touches);
    let stats = clicks.engine.stats();
    assert!(stats["fraud_tallies"] <= 500, "{}", stats["fraud_tallies"]);
    assert!(stats["fraud_pending"] <= 100);
    assert!(stats["fraud_findings"] <= 200);
    let regular = touches.iter().rev().find(|touch| touch.visitor == Some(1)).unwrap();
    assert!(clicks.end(regular.event).codes.contains(&21), "its device is still counted");
    let before = stats["fraud_bytes"];
    clicks.run(&strangers(6_000)[2_000..]);
    let after = clicks.engine.stats()["fraud_bytes"];
    assert!(after <= before + before / 4, "{before} {after}");
}

#[test]
fn a_brand_without_traffic_lets_everything_pending_go() {
    let mut clicks = Clicks::default();
    clicks.run(&strangers(300)).settle();
    assert_eq!(clicks.engine.stats()["fraud_pending"], 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// At tiny bounds, with floods, and restored from a snapshot at any moment.
    #[test]
    fn a_snapshot_and_the_tail_equal_the_whole(
        picks in prop::collection::vec((0_u64..6, 0_u64..9, 0_u64..40, 0_u64..8), 1..250),
        cut in any::<prop::sample::Index>(),
        is_small in any::<bool>(),
    ) {
        let limits = if is_small { small() } else { Limits::default() };
        let limits = Limits { fraud_tallies_max: limits.fraud_tallies_max / 5, ..limits };
        let touch = |(number, (who, agent, seconds, kind)): (usize, &(u64, u64, u64, u64))| Touch {
            event: 1 + number as u64,
            at_ms: T0 + (number as u64) * 40_000 + seconds * 1_000,
            flags: [0, 0, NEW, NEW, NEW, PREFETCH, HONEYPOT, TEST][usize::try_from(*kind).unwrap()],
            visitor: Some(if kind % 2 == 0 { *who } else { 1_000 + number as u64 }),
            device: (*kind == 1).then_some(*who),
            address: Some(who / 2),
            net: who / 2,
            partner: 1 + agent % 3,
            link: agent % 2,
            agent: *agent,
            ..Touch::default()
        };
        let touches: Vec<Touch> = picks.iter().enumerate().map(touch).collect();
        let (first, second) = touches.split_at(cut.index(touches.len()));
        let mut whole = Clicks::with(limits);
        whole.run(first);
        let bytes = whole.engine.view().to_bytes();
        let options = Options { limits, panic_on: None };
        let engine = Engine::restore(0, &bytes, options).unwrap();
        prop_assert!(engine.view().to_bytes() == bytes, "restored to other bytes");
        let (ms, stream, sequence) = (whole.ms, whole.stream, whole.sequence);
        let (ends, revisions) = (whole.ends.clone(), whole.revisions.clone());
        let mut restored =
            Clicks { engine, ends, revisions, ms, stream, sequence, ..Clicks::with(limits) };
        whole.run(second).settle();
        restored.run(second).settle();
        prop_assert_eq!(whole.engine.chain_digest(), restored.engine.chain_digest());
        prop_assert!(whole.engine.view().to_bytes() == restored.engine.view().to_bytes());
    }
}
