//! Reads ahead for many walks, stage by stage, so that their cache misses overlap.
//!
//! A walk is a chain of misses: index, identifier, links and neighbours, clicks. One walk waits
//! for each in turn; many walks, taken one stage at a time, wait for them together. Nothing is
//! returned: what counts is that the lines have been read.

use std::hint::black_box;

use super::Graph;
use crate::identity::Identifier;
use crate::state::cow::CowKey;

impl Graph {
    /// Reads what walks from some identifiers are about to read; the clicks under those and
    /// under their neighbours go to `clicks`.
    pub(crate) fn prefetch<'a>(
        &self,
        keys: impl Iterator<Item = &'a Identifier> + Clone,
        clicks: &mut Vec<u32>,
    ) {
        let store = &self.store;
        let mut read: u64 = 0;
        for key in keys.clone() {
            read += u64::from(store.index.touch(key.spread()));
        }
        let rows: Vec<u32> = keys.filter_map(|key| store.find(key)).collect();
        let mut neighbours = Vec::with_capacity(rows.len() * 2);
        for row in &rows {
            for end in store.ends_of(*row) {
                read += store.links.get(end.link).map_or(0, |link| link.last.get());
                neighbours.push(end.to);
            }
        }
        for row in &neighbours {
            read += store.nodes.get(*row).map_or(0, |node| u64::from(node.clicks_len));
        }
        for row in rows.iter().chain(&neighbours) {
            clicks.extend_from_slice(store.clicks_of(*row));
        }
        black_box(read);
    }
}
