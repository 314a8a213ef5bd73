//! Reads ahead for many walks, stage by stage, so that their cache misses overlap.
//!
//! A walk is a chain of misses: index, identifier, links and neighbours, clicks. One walk waits
//! for each in turn; many walks, taken one stage at a time, wait for them together. A stage is a
//! loop of loads that do not depend on each other, which the processor runs side by side.

use std::hint::black_box;

use super::rows::LinkRow;
use super::{ClicksOf, Graph, Under};
use crate::identity::Identifier;

/// Links of one identifier that are read ahead: a hub's are not walked.
const ENDS_AHEAD_MAX: usize = 8;
/// Steps from the starts that are read ahead: few walks go further.
const STEPS_AHEAD: usize = 2;
/// Clicks of a list in a cache line.
const UNDER_A_LINE: usize = 64 / size_of::<Under>();

impl Graph {
    /// The rows of many identifiers.
    pub(crate) fn rows_of(&self, keys: &[Identifier]) -> Vec<Option<u32>> {
        let store = &self.store;
        let hashes: Vec<u64> = keys.iter().map(|key| key.hash(store.seed)).collect();
        let mut read: u32 = 0;
        for hash in &hashes {
            read = read.wrapping_add(store.index.touch(*hash));
        }
        black_box(read);
        let guesses: Vec<Option<u32>> =
            hashes.iter().map(|hash| store.index.guess(*hash)).collect();
        let is_it = |key: &Identifier, row: u32| store.nodes.get(row).is_some_and(|it| it.is(key));
        let right: Vec<bool> = keys
            .iter()
            .zip(&guesses)
            .map(|(key, guess)| guess.is_some_and(|row| is_it(key, row)))
            .collect();
        let found = |((key, guess), right)| if right { guess } else { store.find(key) };
        keys.iter().zip(guesses).zip(right).map(found).collect()
    }

    /// Reads what walks from some rows are about to read: their links, their neighbours, and the
    /// lists of clicks under all of these. A click that is alone under an identifier is not in a
    /// list: its row goes to `single`.
    pub(crate) fn read_ahead(&self, rows: &[Option<u32>], single: &mut Vec<u32>) {
        let store = &self.store;
        let mut read: u64 = 0;
        let mut reached: Vec<u32> = Vec::with_capacity(rows.len() * 4);
        reached.extend(rows.iter().flatten());
        let mut ring = 0..reached.len();
        for _ in 0..STEPS_AHEAD {
            for place in ring.clone() {
                let Some(row) = reached.get(place).copied() else { break };
                for end in store.ends_of(row).iter().take(ENDS_AHEAD_MAX) {
                    let link = store.links.get(end.link);
                    read = read.wrapping_add(u64::from(link.map_or(0, LinkRow::first_byte)));
                    reached.push(end.to);
                }
            }
            ring = ring.end..reached.len();
        }
        for row in &reached {
            match store.clicks_of(*row) {
                ClicksOf::One(only) => single.push(only),
                ClicksOf::Many(under) => {
                    for under in under.iter().step_by(UNDER_A_LINE) {
                        read = read.wrapping_add(u64::from(under.touch_s));
                    }
                }
            }
        }
        black_box(read);
    }
}
