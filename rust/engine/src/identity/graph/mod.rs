//! The identity graph of one brand; its rules are those of `docs/identity.md`.
//!
//! Identifiers and links are rows in chunked arenas. A link's row is shared by its two ends, and
//! says which of them keep it; an identifier keeps its best 49 of each trust. Nothing is labelled:
//! whoever asks walks. Rows are given out and freed in an order that only the log decides, so the
//! same log gives the same bytes.

mod conflict;
mod ends;
mod forget;
mod prefetch;
mod question;
mod rows;
mod walk;

use std::collections::BTreeMap;

use super::{Identifier, IdentifierType};
use crate::limits::{NEIGHBOURS_MAX, OBSERVATION_IDENTIFIERS_MAX};
use crate::record::Trust;
use crate::state::arena::{Arena, Lists};
use crate::state::brand::Gone;
use crate::state::id_index::IdIndex;
use crate::Id;

use ends::Crowd;
use forget::Checks;
pub use question::{Hop, Link, Member, Moment, OnConflict, Resolution, Traversal};
pub(crate) use rows::Under;
use rows::{day_of, End, LinkRow, Node, Use};
pub use walk::Walk;

/// Identifiers seen together in one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The event.
    pub event_id: Id,
    /// When it was accepted, milliseconds.
    pub accept_ms: u64,
    /// When it happened, milliseconds; not after it was accepted.
    pub at_ms: u64,
    /// Who vouches for it.
    pub trust: Trust,
    /// What may be linked, the strongest first.
    pub identifiers: Vec<Identifier>,
}

impl Observation {
    /// Takes from an event what may be linked: nothing when it names two customers, the
    /// strongest few otherwise; of a browser's event no device and at most one person.
    pub fn new(
        event_id: Id,
        accept_ms: u64,
        at_ms: u64,
        trust: Trust,
        identifiers: impl Iterator<Item = Identifier>,
    ) -> Self {
        let mut identifiers: Vec<Identifier> = identifiers.collect();
        identifiers.sort_unstable();
        identifiers.dedup();
        let is_customer = |other: &&Identifier| other.kind == IdentifierType::Customer;
        if identifiers.iter().filter(is_customer).count() > 1 {
            identifiers.clear();
        }
        if trust == Trust::Browser {
            let mut persons = 0;
            identifiers.retain(|identifier| {
                persons += usize::from(identifier.kind.is_person());
                match identifier.kind {
                    IdentifierType::Device => false,
                    kind => !kind.is_person() || persons == 1,
                }
            });
        }
        identifiers.truncate(OBSERVATION_IDENTIFIERS_MAX);
        // A click is found by its id: it takes a place here only when seen with somebody.
        if matches!(identifiers.as_slice(), [Identifier { kind: IdentifierType::Click, .. }]) {
            identifiers.clear();
        }
        Self { event_id, accept_ms, at_ms: at_ms.min(accept_ms), trust, identifiers }
    }

    /// How many of the strongest identifiers are linked to all that follow them. A plain address
    /// comes as two digests, of which a later caller may know either.
    fn anchors(&self) -> usize {
        let Some(strongest) = self.identifiers.first() else { return 0 };
        match strongest.kind {
            IdentifierType::Email => {
                self.identifiers.iter().filter(|other| other.kind == strongest.kind).count()
            }
            _ => 1,
        }
    }
}

/// What a snapshot takes of the graph: everything but the order of expiry, which follows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    /// Of the index: not known to whoever sends identifiers, so that none can be chosen to share
    /// a bucket with others.
    pub(crate) seed: u64,
    pub(crate) index: IdIndex,
    pub(crate) nodes: Arena<Node>,
    pub(crate) links: Arena<LinkRow>,
    pub(crate) ends: Lists<End>,
    pub(crate) clicks: Lists<Under>,
    /// Of identifiers that let links go: how many neighbours still keep such a link's other end.
    pub(crate) let_go: BTreeMap<u32, u32>,
    /// Identifiers that are sure to be hubs. Follows from the rest.
    pub(crate) crowds: BTreeMap<u32, Crowd>,
}

/// All identifiers of a brand.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    store: Store,
    checks: Checks,
}

impl Graph {
    /// A graph that knows nobody, with the seed of its index.
    pub fn new(seed: u64) -> Self {
        Self { store: Store { seed, ..Store::default() }, checks: Checks::default() }
    }

    /// Rebuilds the order of expiry from what a snapshot holds.
    pub(crate) fn from_store(mut store: Store) -> Self {
        let crowded: Vec<u32> = (0..)
            .zip(store.nodes.rows.iter())
            .filter(|(_, node)| usize::from(node.ends_len) > NEIGHBOURS_MAX)
            .map(|(row, _)| row)
            .collect();
        crowded.into_iter().for_each(|row| store.note_crowd(row));
        let checks = Checks::of(&store);
        Self { store, checks }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// How many identifiers are known.
    pub fn len(&self) -> usize {
        self.store.index.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory taken, links and lists of clicks included.
    pub fn bytes(&self) -> usize {
        self.store.bytes() + self.checks.bytes()
    }

    /// Whether an identifier is known.
    pub fn contains(&self, key: &Identifier) -> bool {
        self.store.find(key).is_some()
    }

    /// The row of an identifier.
    pub(crate) fn row_of(&self, key: &Identifier) -> Option<u32> {
        self.store.find(key)
    }

    /// The identifier of a row, unless it has been forgotten.
    pub(crate) fn key_of(&self, row: u32) -> Option<Identifier> {
        self.store.known(row).map(Node::key)
    }

    /// Takes an observation in.
    pub fn observe(&mut self, seen: &Observation) {
        let mut rows = [0; OBSERVATION_IDENTIFIERS_MAX];
        for (row, key) in rows.iter_mut().zip(&seen.identifiers) {
            *row = self.see(*key, seen.accept_ms, seen.at_ms);
        }
        let mut others = rows.get(..seen.identifiers.len()).unwrap_or_default();
        for _ in 0..seen.anchors() {
            let Some((anchor, rest)) = others.split_first() else { return };
            for other in rest {
                self.store.link(*anchor, *other, seen);
            }
            others = rest;
        }
    }

    fn see(&mut self, key: Identifier, accept_ms: u64, at_ms: u64) -> u32 {
        let (first_known_s, day) = (seconds_of(accept_ms), day_of(at_ms));
        if let Some(row) = self.store.find(&key) {
            let known = self.store.nodes.get(row);
            let is_news =
                known.is_some_and(|node| node.last_day < day || first_known_s < node.first_known_s);
            if let Some(node) = self.store.nodes.get_mut(row).filter(|_| is_news) {
                node.last_day = node.last_day.max(day);
                node.first_known_s = node.first_known_s.min(first_known_s);
            }
            return row;
        }
        let mut node = Node { first_known_s, last_day: day, ..Node::new(key) };
        node.check_day = forget::expiry_day(&node);
        let row = self.store.insert(node);
        self.checks.push(node.check_day, row);
        row
    }

    /// Makes an identifier known that a click is to be under.
    pub(crate) fn know(&mut self, key: &Identifier, accept_ms: u64, at_ms: u64) -> u32 {
        self.see(*key, accept_ms, at_ms.min(accept_ms))
    }

    /// Puts a click under an identifier that is known. `is_older` says which other clicks of it
    /// come before this one, `second_of` when a click happened. Returns a click that had to
    /// leave: the oldest.
    pub(crate) fn attach(
        &mut self,
        row: u32,
        click: u32,
        is_older: impl Fn(u32) -> bool,
        second_of: impl Fn(u32) -> u32,
    ) -> Option<u32> {
        let as_under = |click| Under { touch_s: second_of(click), click };
        let mut under: Vec<Under> = match self.store.clicks_of(row) {
            ClicksOf::One(only) => vec![as_under(only)],
            ClicksOf::Many(under) => under.to_vec(),
        };
        // As a rule the newest click is the newest: one look instead of several.
        let at = match under.last() {
            Some(newest) if !is_older(newest.click) => {
                under.partition_point(|other| is_older(other.click))
            }
            _ => under.len(),
        };
        under.insert(at, as_under(click));
        let excess = under.len().saturating_sub(crate::limits::NODE_CLICKS_MAX);
        let gone = under.drain(..excess).next();
        self.store.set_clicks(row, &under);
        gone.map(|gone| gone.click)
    }

    /// Takes a click from under an identifier, which remembers why.
    pub(crate) fn detach(&mut self, row: u32, click: u32, why: Gone) {
        if let Some(node) = self.store.nodes.get_mut(row) {
            node.note_lost(why);
        }
        let rest: Vec<Under> = match self.store.clicks_of(row) {
            ClicksOf::One(_) => Vec::new(),
            ClicksOf::Many(under) => {
                under.iter().copied().filter(|other| other.click != click).collect()
            }
        };
        self.store.set_clicks(row, &rest);
    }

    /// Whether a click under an identifier is no longer live, for a reason.
    pub(crate) fn has_lost(&self, row: u32, why: Gone) -> bool {
        self.store.known(row).is_some_and(|node| node.has_lost(why))
    }

    /// The clicks under an identifier, the oldest first.
    pub(crate) fn clicks_of(&self, row: u32) -> ClicksOf<'_> {
        self.store.clicks_of(row)
    }
}

/// The clicks under an identifier. Most identifiers that have any have one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClicksOf<'a> {
    One(u32),
    Many(&'a [Under]),
}

impl<'a> ClicksOf<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(under) => under.len(),
        }
    }

    /// Their rows, the newest first.
    pub(crate) fn newest_first(self) -> impl Iterator<Item = u32> + 'a {
        let (only, under) = match self {
            Self::One(only) => (Some(only), &[][..]),
            Self::Many(under) => (None, under),
        };
        only.into_iter().chain(under.iter().rev().map(|under| under.click))
    }

    /// Those that may lie in `(after, until]`: all that do, and of others only ones that happened
    /// in the seconds of the two bounds.
    pub(crate) fn between(self, after_ms: u64, until_ms: u64) -> Self {
        match self {
            Self::One(_) => self,
            Self::Many(under) => {
                let (after_s, until_s) = (seconds_of(after_ms), seconds_of(until_ms));
                let from = under.partition_point(|under| under.touch_s < after_s);
                let to = under.partition_point(|under| under.touch_s <= until_s);
                Self::Many(under.get(from..to).unwrap_or_default())
            }
        }
    }
}

impl Store {
    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        let Self { index, nodes, links, ends, clicks, let_go, .. } = self;
        let rows = index.bytes() + nodes.bytes() + links.bytes() + ends.bytes() + clicks.bytes();
        rows + let_go.len() * 4 * size_of::<u32>()
    }

    fn find(&self, key: &Identifier) -> Option<u32> {
        self.index
            .find(key.hash(self.seed), |row| self.nodes.get(row).is_some_and(|node| node.is(key)))
    }

    fn insert(&mut self, node: Node) -> u32 {
        let row = self.nodes.insert(node);
        let (nodes, seed) = (&self.nodes, self.seed);
        let hash_of = |row| nodes.get(row).map_or(0, |node| node.key().hash(seed));
        self.index.insert(node.key().hash(seed), row, hash_of);
        row
    }

    fn clicks_of(&self, row: u32) -> ClicksOf<'_> {
        let Some(node) = self.nodes.get(row) else { return ClicksOf::Many(&[]) };
        match node.clicks_len {
            1 => ClicksOf::One(node.clicks),
            len => ClicksOf::Many(self.clicks.get(node.clicks, usize::from(len))),
        }
    }

    fn set_clicks(&mut self, row: u32, clicks: &[Under]) {
        let Some(node) = self.nodes.get(row) else { return };
        let (place, len) = match node.clicks_len {
            1 => (0, 0),
            len => (node.clicks, usize::from(len)),
        };
        let place = match clicks {
            [only] => {
                self.clicks.replace(place, len, &[]);
                only.click
            }
            clicks => self.clicks.replace(place, len, clicks),
        };
        if let Some(node) = self.nodes.get_mut(row) {
            node.clicks = place;
            node.clicks_len = u8::try_from(clicks.len()).unwrap_or(u8::MAX);
        }
    }
}

/// Whole seconds of a time; the largest stands for all later ones.
pub(crate) fn seconds_of(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}
