//! Replay: grouping, restarting, repeating and disorder change nothing they must not.

use std::collections::{BTreeMap, BTreeSet};

use headwater_engine::{Engine, Options, Outcomes};
use proptest::prelude::*;

use crate::common::*;

type Log = Vec<((u64, u64), Vec<u8>)>;

/// One record drawn from a small world, so that everything meets.
fn record(event: u64) -> impl Strategy<Value = Vec<u8>> {
    let kind = (1_u64..=8, 0_u64..6);
    let list = prop::collection::vec(kind, 0..4);
    let times = (0_u64..40 * DAY, prop::option::of(0_u64..40 * DAY), any::<bool>());
    let choice = (0_u8..12, 0_u64..4, 0_u64..4, 0_u64..80);
    (list, times, choice).prop_map(move |(list, times, (what, one, two, click))| {
        let (accept_ms, claim_ms, browser) = times;
        let mut at = head(event, T0 + accept_ms);
        at.claim_ms = claim_ms.map(|ms| T0 + ms);
        at.trust = if browser { BROWSER } else { SERVER };
        at.brand = 1 + one % 2;
        match what {
            0..=3 => at.click(two, &list),
            4..=6 => at.identify(&list),
            7 => at.program((1 + one * 9) * DAY, two),
            8 => at.enrolment(one, if two > 1 { "active" } else { "paused" }, click),
            9 => at.tick(),
            _ => at.sale(&Sale {
                click: (two == 0).then_some(click),
                list,
                amount: if one == 0 { 999 } else { 1000 },
                ..sale(two * 3)
            }),
        }
    })
}

/// A log of frames with rising times, some of them sent twice.
fn log() -> impl Strategy<Value = Log> {
    let records = prop::collection::vec(0_u64..u64::MAX, 1..80)
        .prop_flat_map(|seeds| (0..seeds.len() as u64).map(record).collect::<Vec<_>>());
    let sizes = prop::collection::vec((1_usize..5, 0_u64..2 * DAY, any::<bool>()), 80);
    (records, sizes).prop_map(|(records, sizes)| {
        let (mut log, mut ms, mut sequence) = (Log::new(), T0, 1);
        let mut rest = records.as_slice();
        for (size, wait_ms, twice) in sizes {
            let (now, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            if now.is_empty() {
                break;
            }
            ms += wait_ms;
            let bytes = frame(7, sequence, now);
            sequence += now.len() as u64;
            if twice {
                log.push(((ms, log.len() as u64), bytes.clone()));
            }
            log.push(((ms, log.len() as u64), bytes));
        }
        log
    })
}

fn apply(engine: &mut Engine, entries: &[((u64, u64), Vec<u8>)]) -> Result {
    let mut outcomes = Outcomes::new();
    for (position, frame) in entries {
        engine.apply(*position, frame, &mut outcomes).unwrap();
    }
    read(&engine.encode_outcomes(&outcomes))
}

fn engine() -> Engine {
    Engine::new(0, Options::default())
}

/// The rows of clicks and observations by event id, less the times the log gave them.
fn ledger(results: &[Result]) -> BTreeMap<Vec<u8>, Vec<Value>> {
    let mut rows = BTreeMap::new();
    for result in results {
        // The first score of a click is by what is known when it comes; the last is another test's.
        for (table, scores, times) in [("clicks", 10..16, 5..7), ("observations", 0..0, 4..5)] {
            for mut row in result.rows(table) {
                let event = row[0].as_slice().unwrap().to_vec();
                row.drain(scores.clone());
                row.drain(times.clone());
                assert!(rows.insert(event, row).is_none(), "twice");
            }
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn grouping_into_calls_changes_nothing(log in log(), cut in any::<prop::sample::Index>()) {
        let (mut whole, mut parts) = (engine(), engine());
        let all = apply(&mut whole, &log);
        let (first, second) = log.split_at(cut.index(log.len() + 1));
        let (one, two) = (apply(&mut parts, first), apply(&mut parts, second));
        for table in ["clicks", "observations", "conversions", "reports", "controls"] {
            let both = [one.rows(table), two.rows(table)].concat();
            prop_assert_eq!(all.rows(table), both);
        }
        prop_assert_eq!(whole.chain_digest(), parts.chain_digest());
        prop_assert_eq!(whole.view().to_bytes(), parts.view().to_bytes());
    }

    #[test]
    fn a_snapshot_and_the_tail_equal_the_whole(log in log(), cut in any::<prop::sample::Index>()) {
        let (first, second) = log.split_at(cut.index(log.len() + 1));
        let mut whole = engine();
        apply(&mut whole, first);
        let bytes = whole.view().to_bytes();
        let mut restored = Engine::restore(0, &bytes, Options::default()).unwrap();
        prop_assert_eq!(&restored.view().to_bytes(), &bytes);
        prop_assert_eq!(apply(&mut whole, second), apply(&mut restored, second));
        prop_assert_eq!(whole.chain_digest(), restored.chain_digest());
        prop_assert_eq!(whole.view().to_bytes(), restored.view().to_bytes());
    }

    #[test]
    fn disorder_and_repeats_give_the_same_clicks_and_observations(
        log in log(),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let frames: BTreeSet<Vec<u8>> = log.iter().map(|(_, frame)| frame.clone()).collect();
        let mut frames: Vec<Vec<u8>> = frames.into_iter().collect();
        frames.sort_by_key(|frame| {
            let sum = frame.iter().fold(seed, |sum, byte| sum.rotate_left(7) ^ u64::from(*byte));
            sum.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let again = frames[order.index(frames.len())].clone();
        frames.push(again);
        let now = log.last().unwrap().0.0;
        let shuffled: Log =
            frames.into_iter().enumerate().map(|(n, frame)| ((now, n as u64), frame)).collect();
        let (mut straight, mut other) = (engine(), engine());
        let left = ledger(&[apply(&mut straight, &log)]);
        let right = ledger(&[apply(&mut other, &shuffled)]);
        prop_assert_eq!(left, right);
        prop_assert_eq!(straight.ranges(7), other.ranges(7));
    }

    #[test]
    fn the_chain_tells_logs_apart(log in log(), at in any::<prop::sample::Index>()) {
        let at = at.index(log.len());
        let (mut whole, mut skipped, mut other) = (engine(), engine(), engine());
        apply(&mut whole, &log);
        for (n, (position, frame)) in log.iter().enumerate() {
            if n == at {
                skipped.skip(*position, frame, "panic").unwrap();
                other.skip(*position, frame, "malformed").unwrap();
            } else {
                apply(&mut skipped, &log[n..=n]);
                apply(&mut other, &log[n..=n]);
            }
        }
        prop_assert_ne!(whole.chain_digest(), skipped.chain_digest());
        prop_assert_ne!(other.chain_digest(), skipped.chain_digest());
        prop_assert_eq!(whole.position(), skipped.position());
    }
}
