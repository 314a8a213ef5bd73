//! Which sequences of a producer have been seen, as sorted disjoint ranges.
//!
//! A high-water mark would take a frame that arrives late for one that arrived before, and
//! lose it; ranges do not care about order.

/// Sorted, disjoint, non-adjacent inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Takes ranges as a snapshot holds them; `None` when they are not sorted and disjoint.
    pub fn from_sorted(ranges: Vec<(u64, u64)>) -> Option<Self> {
        let ordered = ranges.iter().all(|(first, last)| first <= last);
        let apart = ranges
            .iter()
            .zip(ranges.iter().skip(1))
            .all(|(left, right)| left.1.checked_add(1).is_some_and(|next| next < right.0));
        (ordered && apart).then_some(Self(ranges))
    }

    /// The ranges, lowest first, both ends inclusive.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether the sequence has been seen.
    pub fn contains(&self, sequence: u64) -> bool {
        let after = self.0.partition_point(|range| range.0 <= sequence);
        let before = after.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|range| sequence <= range.1)
    }

    /// Adds `first..=last`, and forgets the lowest ranges above `ranges_max`.
    pub fn insert(&mut self, first: u64, last: u64, ranges_max: usize) {
        let start = self.0.partition_point(|range| range.1 < first.saturating_sub(1));
        let end = self.0.partition_point(|range| range.0 <= last.saturating_add(1));
        let merged = self.0.get(start..end).unwrap_or_default();
        let low = merged.first().map_or(first, |range| range.0.min(first));
        let high = merged.last().map_or(last, |range| range.1.max(last));
        self.0.splice(start..end, [(low, high)]);
        let excess = self.0.len().saturating_sub(ranges_max);
        self.0.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_exactly_what_was_put_in(
            inserts in prop::collection::vec((1_u64..200, 0_u64..12), 0..60),
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (first, more) in inserts {
                ranges.insert(first, first + more, usize::MAX);
                model.extend(first..=first + more);
            }
            for sequence in 0..220 {
                prop_assert_eq!(ranges.contains(sequence), model.contains(&sequence));
            }
            prop_assert_eq!(Ranges::from_sorted(ranges.as_slice().to_vec()), Some(ranges));
        }
    }

    #[test]
    fn at_the_bound_the_lowest_range_is_forgotten_and_no_gap_filled() {
        let mut ranges = Ranges::default();
        for first in [10, 20, 30] {
            ranges.insert(first, first, 3);
        }
        assert_eq!(ranges.as_slice(), [(10, 10), (20, 20), (30, 30)]);
        ranges.insert(40, 40, 3);
        assert_eq!(ranges.as_slice(), [(20, 20), (30, 30), (40, 40)]);
        assert!(!ranges.contains(25));
    }

    #[test]
    fn the_ends_of_the_number_line_are_ordinary() {
        let mut ranges = Ranges::default();
        ranges.insert(u64::MAX, u64::MAX, 8);
        ranges.insert(0, 0, 8);
        assert_eq!(ranges.as_slice(), [(0, 0), (u64::MAX, u64::MAX)]);
    }
}
