//! Ids of events seen lately. All are remembered for the same time, so the first to come is the
//! first to go: a queue through the rows themselves.

use super::arena::Arena;
use super::chunks::{Fields, Ms6, Row};
use super::cow::CowKey;
use super::id_index::IdIndex;
use crate::limits::{RECENT_EVENT_AGE_MAX_MS, SWEEP_ROWS_MAX};
use crate::Id;

const NONE: u32 = u32::MAX;

/// An id, when it is forgotten, and the row of the id that came after it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecentRow {
    id: Id,
    due: Ms6,
    next: u32,
}

impl Row for RecentRow {
    const BYTES: usize = 26;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(self.due.bytes());
        self.next.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { id: fields.take()?, due: fields.ms()?, next: fields.u32()? })
    }
}

/// The ids, oldest first.
#[derive(Clone, Debug)]
pub struct Recent {
    pub(crate) index: IdIndex,
    pub(crate) rows: Arena<RecentRow>,
    pub(crate) oldest: u32,
    pub(crate) newest: u32,
}

impl Default for Recent {
    fn default() -> Self {
        let (index, rows) = (IdIndex::default(), Arena::default());
        Self { index, rows, oldest: NONE, newest: NONE }
    }
}

impl Recent {
    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the cache line a look for an id begins with.
    #[inline]
    pub(crate) fn touch(&self, id: &Id) -> u32 {
        self.index.touch(id.spread())
    }

    /// Remembers an id; above `ids_max` the oldest is forgotten. Returns whether it was new.
    pub fn note(&mut self, id: Id, now_ms: u64, ids_max: usize) -> bool {
        let rows = &self.rows;
        let is_it = |row| rows.get(row).is_some_and(|row| row.id == id);
        if self.index.find(id.spread(), is_it).is_some() {
            return false;
        }
        let due = Ms6::new(now_ms.saturating_add(RECENT_EVENT_AGE_MAX_MS));
        let row = self.rows.insert(RecentRow { id, due, next: NONE });
        let rows = &self.rows;
        let hash_of = |row| rows.get(row).map_or(0, |row| row.id.spread());
        self.index.insert(id.spread(), row, hash_of);
        match self.rows.get_mut(self.newest) {
            Some(newest) => newest.next = row,
            None => self.oldest = row,
        }
        self.newest = row;
        if self.len() > ids_max {
            self.pop();
        }
        true
    }

    /// Forgets ids that are old enough, a bounded part at a time.
    pub fn sweep(&mut self, now_ms: u64) {
        for _ in 0..SWEEP_ROWS_MAX {
            let is_due = self.rows.get(self.oldest).is_some_and(|row| row.due.get() <= now_ms);
            if !is_due {
                return;
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(row) = self.rows.get(self.oldest).copied() else { return };
        self.index.remove(row.id.spread(), self.oldest);
        self.rows.remove(self.oldest);
        self.oldest = row.next;
        if row.next == NONE {
            self.newest = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_come_is_the_first_to_go() {
        let mut recent = Recent::default();
        for number in 1..=3 {
            assert!(recent.note([number; 16], u64::from(number), 2));
        }
        assert_eq!(recent.len(), 2);
        assert!(recent.note([1; 16], 4, 2), "forgotten for want of room");
        assert!(!recent.note([3; 16], 5, 2));
        recent.sweep(3 + RECENT_EVENT_AGE_MAX_MS - 1);
        assert_eq!(recent.len(), 2);
        recent.sweep(4 + RECENT_EVENT_AGE_MAX_MS);
        assert!(recent.is_empty());
        assert!(recent.note([3; 16], 6, 2));
    }
}
