//! What the graph forgets: identifiers that have expired, and those that are erased.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::ends::ends_in;
use super::rows::{day_of, Node, Use};
use super::{Graph, Store};
use crate::identity::Identifier;
use crate::limits::{DAY_MS, IDENTIFIER_GRACE_MS, SWEEP_ROWS_MAX};

/// Days an identifier is kept after its links have died, the day it was last seen in included.
const GRACE_DAYS: u64 = IDENTIFIER_GRACE_MS.div_ceil(DAY_MS) + 1;

/// Days until an identifier is looked at again that has expired but for the clicks under it.
const CHECK_DAYS: u16 = 7;

/// On which day to look at which identifier: never later than the day it expires.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    by_day: BTreeMap<u16, Vec<u32>>,
    due: BinaryHeap<Reverse<u32>>,
    /// The newest day whose identifiers are in `due`.
    due_day: u16,
}

impl Checks {
    pub(super) fn of(store: &Store) -> Self {
        let mut checks = Self::default();
        for (row, node) in (0..).zip(store.nodes.rows.iter()) {
            if node.usage == Use::Known {
                checks.push(node.check_day, row);
            }
        }
        checks
    }

    pub(super) fn push(&mut self, day: u16, row: u32) {
        if day <= self.due_day {
            self.due.push(Reverse(row));
        } else {
            self.by_day.entry(day).or_default().push(row);
        }
    }

    fn pop(&mut self, today: u16) -> Option<u32> {
        while let Some(entry) = self.by_day.first_entry().filter(|entry| *entry.key() <= today) {
            self.due_day = *entry.key();
            let rows = entry.remove();
            self.due.extend(rows.into_iter().map(Reverse));
        }
        self.due.pop().map(|Reverse(row)| row)
    }

    pub(super) fn bytes(&self) -> usize {
        let rows: usize = self.by_day.values().map(Vec::capacity).sum();
        (rows + self.due.capacity()) * size_of::<u32>() + self.by_day.len() * 48
    }
}

/// The first day on which an identifier that is not seen again may be forgotten.
pub(super) fn expiry_day(node: &Node) -> u16 {
    let days = node.kind().lifetime_ms() / DAY_MS + GRACE_DAYS + u64::from(node.last_day);
    u16::try_from(days).unwrap_or(u16::MAX)
}

impl Graph {
    /// Forgets identifiers that expired a grace ago, at most some at a time; those that clicks
    /// are kept under stay. Changes no answer that can still be asked for.
    pub fn sweep(&mut self, now_ms: u64) {
        let today = day_of(now_ms);
        let mut swept = 0;
        while swept < SWEEP_ROWS_MAX {
            let Some(row) = self.checks.pop(today) else { return };
            // Erased meanwhile, or its row given to another, which has its own check. Not counted:
            // an engine restored from a snapshot does not meet it.
            let Some(node) = self.store.known(row).filter(|node| node.check_day <= today) else {
                continue;
            };
            swept += 1;
            let again_day = if node.clicks_len > 0 { today.saturating_add(CHECK_DAYS) } else { 0 };
            let check_day = expiry_day(node).max(again_day);
            if check_day <= today {
                self.store.forget(row);
                continue;
            }
            if let Some(node) = self.store.nodes.get_mut(row) {
                node.check_day = check_day;
            }
            self.checks.push(check_day, row);
        }
    }

    /// Forgets an identifier, its links, and which clicks were made under it: these are returned.
    pub(crate) fn forget(&mut self, key: &Identifier) -> Option<Vec<u32>> {
        let row = self.store.find(key)?;
        let clicks = self.store.clicks_of(row).newest_first().collect();
        self.store.forget(row);
        Some(clicks)
    }

    /// Forgets an identifier and its links. Returns whether it was known.
    pub fn erase(&mut self, key: &Identifier) -> bool {
        self.forget(key).is_some()
    }
}

impl Store {
    fn forget(&mut self, row: u32) {
        let Some(node) = self.known(row) else { return };
        let hash = node.key().hash(self.seed);
        let mut ends = ends_in(&self.ends, node).to_vec();
        // What is freed is freed in an order that tells nothing of the digest.
        ends.sort_unstable_by_key(|end| (end.to, end.link));
        self.index.remove(hash, row);
        self.set_clicks(row, &[]);
        for end in ends {
            let back = self.ends_of(end.to).iter().find(|other| other.link == end.link).copied();
            if let Some(back) = back {
                self.drop_end(end.to, back);
            }
            self.drop_end(row, end);
        }
        let forgotten = Node { usage: Use::Forgotten, ..Node::default() };
        self.nodes.rows.set(crate::state::chunks::at(row), forgotten);
        if self.let_go.contains_key(&row) {
            // Neighbours it had let go keep their ends of links to nobody, and count one less.
            self.crowds.clear();
        } else {
            self.free_forgotten(row);
        }
    }

    /// Frees the row of a forgotten identifier once nothing names it.
    pub(super) fn free_forgotten(&mut self, row: u32) {
        if self.nodes.get(row).is_some_and(|node| node.usage == Use::Forgotten) {
            self.nodes.remove(row);
        }
    }
}
