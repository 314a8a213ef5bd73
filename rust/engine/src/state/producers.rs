//! The producers whose frames have been seen, and which of their sequences.

use std::collections::{BTreeMap, BTreeSet};

use super::ranges::Ranges;
use crate::limits::PRODUCER_IDLE_MAX_MS;

/// One producer: one boot of a process that writes frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producer {
    /// Sequences seen.
    pub ranges: Ranges,
    /// Engine time of its newest frame, milliseconds.
    pub last_ms: u64,
}

/// All producers of a partition that are not yet forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    pub(crate) by_number: BTreeMap<u64, Producer>,
}

impl Producers {
    /// The ranges seen of a producer; empty when it is unknown.
    pub fn ranges(&self, producer: u64) -> &[(u64, u64)] {
        self.by_number.get(&producer).map_or(&[], |producer| producer.ranges.as_slice())
    }

    /// Whether a sequence of a producer has been seen.
    pub fn contains(&self, producer: u64, sequence: u64) -> bool {
        self.by_number.get(&producer).is_some_and(|producer| producer.ranges.contains(sequence))
    }

    /// Notes that `first..=last` of a producer has been seen. With more than `producers_max`
    /// the one longest idle is forgotten.
    pub fn insert(
        &mut self,
        producer: u64,
        (first, last): (u64, u64),
        now_ms: u64,
        ranges_max: usize,
        producers_max: usize,
    ) {
        let is_new = !self.by_number.contains_key(&producer);
        if is_new && self.by_number.len() >= producers_max {
            let idlest = self.by_number.iter().min_by_key(|(number, p)| (p.last_ms, **number));
            if let Some(number) = idlest.map(|(number, _)| *number) {
                self.by_number.remove(&number);
            }
        }
        let entry = self.by_number.entry(producer).or_default();
        entry.ranges.insert(first, last, ranges_max);
        entry.last_ms = now_ms;
    }

    /// Forgets the producers idle for longer than [`PRODUCER_IDLE_MAX_MS`].
    pub fn forget_idle(&mut self, now_ms: u64) {
        self.by_number
            .retain(|_, producer| now_ms.saturating_sub(producer.last_ms) <= PRODUCER_IDLE_MAX_MS);
    }

    /// The ranges of some producers, for the outcomes of a batch.
    pub fn of<'a>(
        &'a self,
        touched: &'a BTreeSet<u64>,
    ) -> impl Iterator<Item = (u64, &'a [(u64, u64)])> + 'a {
        touched.iter().map(|producer| (*producer, self.ranges(*producer)))
    }
}
