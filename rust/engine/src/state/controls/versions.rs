//! What an object of the configuration was, and since when it is what it is.
//!
//! A decision made again, because a report or a record arrives late, is made by the terms that
//! were in force when it was made first.

use crate::limits::FORMER_VERSIONS_MAX;

/// Something with a revision.
pub trait Revised {
    /// The revision of the change that made it so.
    fn revision(&self) -> u64;
}

/// An object as it is, and as it was lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions<T> {
    /// From the oldest to the one in force.
    versions: Vec<T>,
    /// Whether older ones were let go.
    is_cut: bool,
}

impl<T: Revised> Versions<T> {
    /// An object with its first version.
    pub fn new(first: T) -> Self {
        Self { versions: vec![first], is_cut: false }
    }

    /// What a snapshot holds; `None` when that is no version at all.
    pub(crate) fn of(versions: Vec<T>, is_cut: bool) -> Option<Self> {
        let is_rising = versions.is_sorted_by(|a, b| a.revision() < b.revision());
        (!versions.is_empty() && is_rising).then_some(Self { versions, is_cut })
    }

    /// Puts a newer version in force; returns one that is let go.
    pub fn put(&mut self, new: T) -> Option<T> {
        self.versions.push(new);
        if self.versions.len() <= FORMER_VERSIONS_MAX + 1 {
            return None;
        }
        self.is_cut = true;
        Some(self.versions.remove(0))
    }

    /// Every version that is kept, the oldest first.
    pub fn all(&self) -> &[T] {
        &self.versions
    }

    /// Whether older versions were let go.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The version in force.
    pub fn now(&self) -> Option<&T> {
        self.versions.last()
    }

    /// The version in force when `revision` was the newest of all changes; of one let go, the
    /// oldest that is kept.
    pub fn at(&self, revision: u64) -> Option<&T> {
        let found = self.versions.iter().rev().find(|version| version.revision() <= revision);
        found.or_else(|| self.versions.first().filter(|_| self.is_cut))
    }
}
