//! Conversions of one day that have something in common: an address, a device, a customer.
//!
//! A set grows by one however often an order is reported, so what it says does not depend on the
//! order in which reports arrive.

use crate::fraud::Signal;
use crate::identity::digest::plain_digest;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{DAY_MS, IDENTIFIER_GRACE_MS, REPEATS_MAX, REPEAT_CONVERSIONS_MAX};
use crate::state::cow::CowMap;
use crate::state::due::{Due, DueMap};
use crate::Id;

/// What conversions can have in common. The numbers enter digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Common {
    /// The address.
    Address = 1,
    /// The network the address is of.
    Network = 2,
    /// A browser or device.
    Device = 3,
    /// An e-mail address or telephone number.
    Contact = 4,
}

impl Common {
    /// The signal that counts it.
    pub fn signal(self) -> Signal {
        match self {
            Self::Address | Self::Network => Signal::DuplicateAddress,
            Self::Device => Signal::DuplicateDevice,
            Self::Contact => Signal::LeadVelocity,
        }
    }

    /// What an identifier is to be compared as.
    pub fn of(kind: IdentifierType) -> Option<Self> {
        match kind {
            IdentifierType::Visitor | IdentifierType::Device => Some(Self::Device),
            IdentifierType::Email | IdentifierType::Phone => Some(Self::Contact),
            _ => None,
        }
    }
}

/// A kind of conversion on a day: only those of one kind and day are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The program's number.
    pub program: u64,
    /// The event type's number.
    pub event_type: u64,
    /// The day they happened on, counted from 1970.
    pub day: u64,
}

/// A set: what is in common, and the digest it is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What is in common.
    pub common: Common,
    digest: Id,
}

impl Scope {
    /// The scope of a conversion that happened at a time.
    pub fn of(program: u64, event_type: u64, occurred_ms: u64) -> Self {
        Self { program, event_type, day: occurred_ms / DAY_MS }
    }

    /// The set of the conversions from one address or network, by its digest.
    pub fn place(&self, common: Common, digest: u64) -> Key {
        self.key(common, 0, &digest.to_le_bytes())
    }

    /// The set of the conversions with an identifier, if such are compared.
    pub fn identifier(&self, identifier: Identifier) -> Option<Key> {
        let common = Common::of(identifier.kind)?;
        Some(self.key(common, identifier.kind as u8, &identifier.digest))
    }

    fn key(&self, common: Common, kind: u8, value: &[u8]) -> Key {
        let digest = plain_digest(&[
            &[common as u8, kind],
            &self.program.to_le_bytes(),
            &self.event_type.to_le_bytes(),
            &self.day.to_le_bytes(),
            value,
        ]);
        Key { common, digest }
    }

    /// Until when a late report can be of its day.
    pub fn due_ms(&self) -> u64 {
        self.day.saturating_add(1).saturating_mul(DAY_MS).saturating_add(IDENTIFIER_GRACE_MS)
    }
}

/// A conversion in a set: the order it is a line of, and its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Digest of the order's number.
    pub order: u64,
    /// The conversion.
    pub conversion_id: Id,
}

impl Entry {
    /// A conversion of an order; one without a number is an order by itself.
    pub fn new(conversion_id: Id, order_id: Option<&str>) -> Self {
        let digest = order_id.map_or(conversion_id, |text| plain_digest(&[text.as_bytes()]));
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self { order: u64::from_le_bytes([a, b, c, d, e, f, g, h]), conversion_id }
    }
}

/// The conversions that have one thing in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeat {
    /// The first of them, in order.
    pub(crate) entries: Vec<Entry>,
    /// How many there are beyond those.
    pub(crate) beyond: u64,
}

impl Repeat {
    /// How many different orders there are.
    pub fn orders(&self) -> u64 {
        let mut orders: Vec<u64> = self.entries.iter().map(|entry| entry.order).collect();
        orders.dedup();
        orders.len() as u64 + self.beyond
    }

    /// How many there are, one of them an order that may not be among them.
    fn orders_with(&self, entry: Entry) -> u64 {
        let is_among = self.entries.iter().any(|other| other.order == entry.order);
        self.orders() + u64::from(!is_among && self.beyond == 0)
    }

    fn add(&mut self, entry: Entry) {
        if let Err(place) = self.entries.binary_search(&entry) {
            self.entries.insert(place, entry);
            if self.entries.len() > REPEAT_CONVERSIONS_MAX {
                self.entries.pop();
                self.beyond += 1;
            }
        }
    }

    fn remove(&mut self, entry: Entry) {
        match self.entries.binary_search(&entry) {
            Ok(place) => {
                self.entries.remove(place);
            }
            Err(_) => self.beyond = self.beyond.saturating_sub(1),
        }
    }
}

/// The sets an order is in, and as what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// When the sets are let go.
    pub due_ms: u64,
    /// The order.
    pub entry: Entry,
    /// The sets, sorted.
    pub keys: Vec<Key>,
}

/// How a set has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What its conversions have in common.
    pub common: Common,
    /// How many orders there were.
    pub before: u64,
    /// How many there are.
    pub after: u64,
    /// Its conversions that are known by their ids.
    pub conversions: Vec<Id>,
}

/// The sets of a brand.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    entries: DueMap<Repeat>,
}

impl Repeats {
    /// Rebuilds what follows from what a snapshot holds.
    pub(crate) fn from_entries(entries: CowMap<Id, Due<Repeat>>) -> Self {
        Self { entries: DueMap::from_entries(entries) }
    }

    /// What a snapshot takes.
    pub(crate) fn entries(&self) -> &CowMap<Id, Due<Repeat>> {
        self.entries.entries()
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.entries.entries().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many different orders a set has, with one that asks.
    pub fn orders_with(&self, key: &Key, entry: Entry) -> u64 {
        self.entries.get(&key.digest).map_or(1, |repeat| repeat.orders_with(entry))
    }

    /// Moves a conversion from the sets it was in to those it is in; how these have changed.
    pub fn change(&mut self, before: &Memberships, after: &Memberships) -> Vec<Turn> {
        let gone = before.keys.iter().filter(|key| after.keys.binary_search(key).is_err());
        let gone = gone.filter_map(|key| self.note(before, key, false));
        let mut turns: Vec<Turn> = gone.collect();
        let new = after.keys.iter().filter(|key| before.keys.binary_search(key).is_err());
        turns.extend(new.filter_map(|key| self.note(after, key, true)));
        turns
    }

    /// Puts a conversion into a set, or takes it out.
    fn note(&mut self, of: &Memberships, key: &Key, is_in: bool) -> Option<Turn> {
        let entry = of.entry;
        if is_in && !self.entries.contains(&key.digest) {
            self.entries.insert(key.digest, of.due_ms, Repeat::default(), REPEATS_MAX);
        }
        let repeat = self.entries.get_mut(&key.digest)?;
        let before = repeat.orders();
        if is_in {
            repeat.add(entry);
        } else {
            repeat.remove(entry);
        }
        let conversions = repeat.entries.iter().map(|other| other.conversion_id);
        Some(Turn {
            common: key.common,
            before,
            after: repeat.orders(),
            conversions: conversions.filter(|id| *id != entry.conversion_id).collect(),
        })
    }

    /// Drops what no late report can be compared with any more, a bounded part at a time.
    pub fn sweep(&mut self, now_ms: u64) {
        for _ in 0..crate::limits::SWEEP_ROWS_MAX {
            if self.entries.pop_due(now_ms).is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(order: u64, line: u8) -> Entry {
        Entry { order, conversion_id: [line; 16] }
    }

    #[test]
    fn lines_of_one_order_count_once_and_whatever_the_order_they_came_in() {
        let entries = [entry(5, 1), entry(3, 2), entry(5, 3)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut repeat = Repeat::default();
            order.into_iter().for_each(|at| repeat.add(entries[at]));
            assert_eq!((repeat.orders(), repeat.entries.len()), (2, 3));
            assert_eq!((repeat.orders_with(entry(5, 9)), repeat.orders_with(entry(6, 9))), (2, 3));
            repeat.remove(entries[1]);
            assert_eq!(repeat.orders(), 1);
        }
    }

    #[test]
    fn past_its_bound_a_set_knows_how_many_there_are_and_not_which() {
        let mut repeat = Repeat::default();
        for order in (0..REPEAT_CONVERSIONS_MAX as u64 + 3).rev() {
            repeat.add(entry(order, 1));
        }
        assert_eq!(repeat.entries.len(), REPEAT_CONVERSIONS_MAX);
        assert_eq!((repeat.beyond, repeat.orders()), (3, REPEAT_CONVERSIONS_MAX as u64 + 3));
        assert_eq!(repeat.orders_with(entry(1000, 1)), repeat.orders());
        repeat.remove(entry(REPEAT_CONVERSIONS_MAX as u64 + 1, 1));
        assert_eq!(repeat.beyond, 2);
    }

    #[test]
    fn a_set_is_of_one_kind_of_conversion_and_one_day() {
        let scope = Scope::of(1, 2, 5 * DAY_MS);
        let key = scope.place(Common::Address, 7);
        assert_eq!(Scope::of(1, 2, 6 * DAY_MS - 1).place(Common::Address, 7), key);
        let others = [
            Scope::of(1, 2, 6 * DAY_MS).place(Common::Address, 7),
            Scope::of(1, 3, 5 * DAY_MS).place(Common::Address, 7),
            Scope::of(2, 2, 5 * DAY_MS).place(Common::Address, 7),
            scope.place(Common::Network, 7),
            scope.place(Common::Address, 8),
        ];
        assert!(others.iter().all(|other| *other != key));
    }
}
