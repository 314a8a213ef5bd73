//! A crowded graph through the whole engine: a snapshot and the tail equal the whole log.

use headwater_engine::identity::Identifier;
use headwater_engine::record::Trust;
use headwater_engine::{Engine, Options, Outcomes};
use proptest::prelude::*;

use crate::common::*;
use crate::graph_oracle::Seen;
use crate::graph_worlds::*;

fn list(identifiers: &[Identifier]) -> Vec<Value> {
    let one = |key: &Identifier| array([Value::from(key.kind as u64), bin(key.digest)]);
    identifiers.iter().map(one).collect()
}

/// An event as a record: an identify, a click, or one of its identifiers erased.
fn record(number: u64, seen: &Seen, what: u8) -> Vec<u8> {
    let at = Head {
        claim_ms: Some(seen.at_ms),
        trust: seen.trust as u64,
        ..head(number, seen.accept_ms)
    };
    let nils = array(vec![Value::Nil; 5]);
    let all = Value::Array(list(&seen.identifiers));
    match what {
        0 => {
            let first = seen.identifiers.first().map(std::slice::from_ref).unwrap_or_default();
            let first = Value::Array(list(first));
            at.record(
                7,
                array(["person".into(), false.into(), number.is_multiple_of(2).into(), first]),
            )
        }
        1..=3 => {
            let params = Value::Map(vec![]);
            let body = [1.into(), (number % 5).into(), 9.into(), 0.into(), all, params, nils];
            at.record(1, array(body))
        }
        4 if seen.trust == Trust::Server => {
            at.sale(&Sale { list: vec![(CUSTOMER, number % 4), (VISITOR, 1)], ..sale(number) })
        }
        _ => at.record(3, array([1.into(), 0.into(), all, nils])),
    }
}

fn apply(engine: &mut Engine, log: &[((u64, u64), Vec<u8>)]) -> Vec<u8> {
    let mut outcomes = Outcomes::new();
    for (position, frame) in log {
        engine.apply(*position, frame, &mut outcomes).unwrap();
    }
    engine.encode_outcomes(&outcomes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_snapshot_of_a_crowded_graph_and_the_tail_equal_the_whole(
        history in crowded_history(),
        what in prop::collection::vec(0_u8..12, 256),
        waits in prop::collection::vec(prop::sample::select(vec![0, 0, 0, 0, DAY, 40 * DAY]), 256),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 3),
    ) {
        let mut ms = T0;
        let log: Vec<((u64, u64), Vec<u8>)> = history
            .iter()
            .zip(what.into_iter().zip(waits))
            .zip(1..)
            .map(|((seen, (what, wait_ms)), number)| {
                ms = (ms + wait_ms).max(seen.accept_ms);
                ((ms, number), frame(7, number, &[record(number, seen, what)]))
            })
            .collect();
        let mut whole = Engine::new(0, Options::default());
        apply(&mut whole, &log);
        for cut in cuts {
            let (first, second) = log.split_at(cut.index(log.len() + 1));
            let mut straight = Engine::new(0, Options::default());
            apply(&mut straight, first);
            let bytes = straight.view().to_bytes();
            let mut restored = Engine::restore(0, &bytes, Options::default()).unwrap();
            prop_assert!(restored.view().to_bytes() == bytes);
            prop_assert!(apply(&mut straight, second) == apply(&mut restored, second));
            prop_assert_eq!(restored.chain_digest(), whole.chain_digest());
            prop_assert!(restored.view().to_bytes() == whole.view().to_bytes());
        }
    }
}
