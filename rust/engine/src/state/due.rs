//! A map of things that expire, and at its bound lose the one that would expire first.

use std::collections::BTreeSet;

use super::cow::CowMap;
use crate::Id;

/// A value and when it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due<V> {
    /// Engine time, in milliseconds, from which the entry is gone.
    pub due_ms: u64,
    /// The value.
    pub value: V,
}

/// Entries by id, each with its time of expiry. The order of expiry follows from the entries,
/// so a snapshot holds only those.
#[derive(Clone, Debug)]
pub struct DueMap<V> {
    entries: CowMap<Id, Due<V>>,
    order: BTreeSet<(u64, Id)>,
}

impl<V: Clone> Default for DueMap<V> {
    fn default() -> Self {
        Self { entries: CowMap::default(), order: BTreeSet::new() }
    }
}

impl<V: Clone> DueMap<V> {
    /// Rebuilds the order of expiry from entries.
    pub fn from_entries(entries: CowMap<Id, Due<V>>) -> Self {
        let order = entries.sorted().into_iter().map(|(id, due)| (due.due_ms, *id)).collect();
        Self { entries, order }
    }

    /// The entries alone, as a snapshot takes them.
    pub fn entries(&self) -> &CowMap<Id, Due<V>> {
        &self.entries
    }

    /// The value of an id.
    pub fn get(&self, id: &Id) -> Option<&V> {
        self.entries.get(id).map(|due| &due.value)
    }

    /// The value of an id, to change it in place.
    pub fn get_mut(&mut self, id: &Id) -> Option<&mut V> {
        self.entries.get_mut(id).map(|due| &mut due.value)
    }

    /// Whether the id is there.
    pub fn contains(&self, id: &Id) -> bool {
        self.entries.contains(id)
    }

    /// Adds an entry. Above `entries_max` the entry that expires first, by time and then id,
    /// is taken out and returned; that may be the new one.
    pub fn insert(&mut self, id: Id, due_ms: u64, value: V, entries_max: usize) -> Option<(Id, V)> {
        if let Some(old) = self.entries.insert(id, Due { due_ms, value }) {
            self.order.remove(&(old.due_ms, id));
        }
        self.order.insert((due_ms, id));
        if self.entries.len() > entries_max {
            return self.pop();
        }
        None
    }

    /// Takes out one entry that has expired by `now_ms`, the earliest first.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(Id, V)> {
        if self.order.first()?.0 > now_ms {
            return None;
        }
        self.pop()
    }

    fn pop(&mut self) -> Option<(Id, V)> {
        let (_, id) = self.order.pop_first()?;
        self.entries.remove(&id).map(|due| (id, due.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_bound_the_first_to_expire_goes_and_below_it_none() {
        let mut map = DueMap::default();
        assert_eq!(map.insert([1; 16], 30, 'a', 2), None);
        assert_eq!(map.insert([2; 16], 20, 'b', 2), None);
        assert_eq!(map.insert([3; 16], 40, 'c', 2), Some(([2; 16], 'b')));
        assert_eq!(map.pop_due(29), None);
        assert_eq!(map.pop_due(30), Some(([1; 16], 'a')));
        assert_eq!(map.entries().len(), 1);
    }
}
