//! Which sub ids of a partner's day have rollup cells of their own: so many, those that came first.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::cells::{ClickCells, PartnerDay};

/// The sub ids with cells of their own, of the days that are loaded.
#[derive(Debug, Default)]
pub struct SubIds {
    days: HashMap<PartnerDay, HashSet<Box<str>>>,
}

impl SubIds {
    /// The days of cells that have to be loaded before their sub ids are named.
    pub fn missing(&self, cells: &ClickCells) -> BTreeSet<PartnerDay> {
        let mut found = BTreeSet::new();
        for (day, _) in cells.sub_ids() {
            if !self.days.contains_key(&day) {
                found.insert(day);
            }
        }
        found
    }

    /// Takes in what a day has.
    pub fn load(&mut self, day: PartnerDay, sub_ids: impl IntoIterator<Item = Box<str>>) {
        self.days.insert(day, sub_ids.into_iter().collect());
    }

    /// Whether a sub id has cells of its own; nothing when its day is not loaded.
    pub fn has(&self, day: &PartnerDay, sub1: &str) -> Option<bool> {
        self.days.get(day).map(|known| known.contains(sub1))
    }

    /// Gives the sub ids of cells cells of their own, up to `count_max` for a day; the others go
    /// into the cells of `rest`. Those that are new, in the order in which they came up.
    pub fn name(
        &mut self,
        cells: &mut ClickCells,
        count_max: usize,
        rest: &str,
    ) -> Vec<(PartnerDay, String)> {
        let mut new = Vec::new();
        let mut over = HashSet::new();
        for (day, sub1) in cells.sub_ids() {
            let known = self.days.entry(day).or_default();
            if known.contains(sub1) {
                continue;
            }
            if known.len() >= count_max {
                over.insert((day, sub1.to_owned()));
            } else {
                known.insert(sub1.into());
                new.push((day, sub1.to_owned()));
            }
        }
        if !over.is_empty() {
            cells.sum_up(&over, rest);
        }
        new
    }

    /// Gives up the days before one, by its number.
    pub fn forget_before(&mut self, day: u64) {
        self.days.retain(|(_, _, number), _| *number >= day);
    }
}
