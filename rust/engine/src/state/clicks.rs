//! The live clicks of a brand: rows in the order they came, an index of their ids, and the order
//! in which they expire.

use std::collections::{BTreeMap, BTreeSet};

use super::arena::Arena;
use super::chunks::{Fields, Ms6, Number, Row};
use super::cow::CowKey;
use super::id_index::IdIndex;
use crate::fraud::{Counted, Verdict};
use crate::record::{flags, Trust};
use crate::Id;

/// Of a click that is under no identifier.
pub(crate) const NOBODY: u32 = u32::MAX;

/// A click that may still earn credit or explain why not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Click {
    /// The click id.
    pub id: Id,
    /// The program's number.
    pub program: u64,
    /// The partner's number.
    pub partner: u64,
    /// When it happened, milliseconds.
    pub touch_ms: u64,
    /// When it was accepted, milliseconds.
    pub accept_ms: u64,
    /// [`flags::SOFT_CLICK`] and [`flags::IMPRESSION`], as the record has them.
    pub flags: u64,
    /// Two letters of the country it came from, the first in the upper byte; 0 when not known.
    pub country: u16,
    /// Sixteen bits of the digest of its first sub id; 0 without one.
    pub sub: u16,
    /// What came of scoring it.
    pub verdict: Verdict,
    /// How it is counted.
    pub counted: Counted,
    /// Whether it is its visitor's first of its partner in a while.
    pub is_unique: bool,
}

/// What is known of a click's worth, which later evidence may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What came of scoring it.
    pub verdict: Verdict,
    /// How it is counted.
    pub counted: Counted,
    /// Whether it is its visitor's first of its partner in a while.
    pub is_unique: bool,
}

/// A click in 46 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClickRow {
    id: Id,
    touch: Ms6,
    accept: Ms6,
    /// Place of its program and partner.
    pair: Number,
    /// Second from which it is no longer live.
    due_s: Number,
    /// The row of the identifier it is under.
    owner: Number,
    country: u16,
    sub: u16,
    /// From the lowest bit: class of touch (2), verdict (2), counted (2), unique (1), whether it
    /// is counted for its source (1).
    bits: u8,
    /// Who vouches for its tie to the identifier it is under; 0 for a free row.
    trust: u8,
}

const VERDICTS: [Verdict; 4] =
    [Verdict::Accept, Verdict::Review, Verdict::Reject, Verdict::Filtered];
const COUNTED: [Counted; 4] =
    [Counted::Counted, Counted::Duplicate, Counted::Prefetch, Counted::Test];
const CLASS_BITS: u8 = 3;
const STANDING_BITS: u8 = 0x7c;
const UNIQUE_BIT: u8 = 0x40;
const IN_SOURCE_BIT: u8 = 0x80;

/// The record's flags that say what class of touch it is, moved to the lowest bits.
const CLASS_SHIFT: u32 = flags::SOFT_CLICK.trailing_zeros();
const CLASS_MASK: u64 = flags::SOFT_CLICK | flags::IMPRESSION;

impl Row for ClickRow {
    const BYTES: usize = 46;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(self.touch.bytes());
        out.extend_from_slice(self.accept.bytes());
        for number in [self.pair, self.due_s, self.owner] {
            out.extend_from_slice(number.bytes());
        }
        out.extend_from_slice(&self.country.to_le_bytes());
        out.extend_from_slice(&self.sub.to_le_bytes());
        out.extend_from_slice(&[self.bits, self.trust]);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (id, touch, accept) = (fields.take()?, fields.ms()?, fields.ms()?);
        let (pair, due_s, owner) = (fields.number()?, fields.number()?, fields.number()?);
        let (country, sub) = (fields.u16()?, fields.u16()?);
        let [bits, trust @ 0..=2] = fields.take()? else { return None };
        Some(Self { id, touch, accept, pair, due_s, owner, country, sub, bits, trust })
    }
}

impl ClickRow {
    /// The order of clicks under one identifier.
    fn order(&self) -> (u64, Id) {
        (self.touch.get(), self.id)
    }

    fn is_used(&self) -> bool {
        self.trust != 0
    }

    /// The row of the identifier it is under.
    pub(crate) fn owner(&self) -> u32 {
        self.owner.get()
    }

    /// Second from which it is no longer live.
    pub(crate) fn due_s(&self) -> u32 {
        self.due_s.get()
    }

    /// What is known of its worth.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            verdict: VERDICTS.get(usize::from(self.bits >> 2 & 3)).copied().unwrap_or_default(),
            counted: COUNTED.get(usize::from(self.bits >> 4 & 3)).copied().unwrap_or_default(),
            is_unique: self.bits & UNIQUE_BIT != 0,
        }
    }

    /// Whether it is counted for its source.
    pub(crate) fn is_in_source(&self) -> bool {
        self.bits & IN_SOURCE_BIT != 0
    }

    /// Who vouches for its tie to the identifier it is under.
    pub(crate) fn trust(&self) -> Trust {
        Trust::from_number(u64::from(self.trust)).unwrap_or(Trust::Browser)
    }
}

/// What a snapshot takes of the clicks.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClickStore {
    pub(crate) index: IdIndex,
    pub(crate) rows: Arena<ClickRow>,
    /// Programs and partners, in the order in which they were first seen together.
    pub(crate) pairs: Vec<(u64, u64)>,
}

impl ClickStore {
    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.rows.bytes()
    }
}

/// The live clicks.
#[derive(Clone, Debug, Default)]
pub struct Clicks {
    store: ClickStore,
    place_of: BTreeMap<(u64, u64), u32>,
    order: BTreeSet<(u32, u32)>,
}

impl Clicks {
    /// Rebuilds what follows from what a snapshot holds.
    pub(crate) fn from_store(store: ClickStore) -> Self {
        let place_of = store.pairs.iter().copied().zip(0..).collect();
        let mut order = Vec::with_capacity(store.rows.len());
        for (row, number) in store.rows.rows.iter().zip(0..) {
            if row.is_used() {
                order.push((row.due_s.get(), number));
            }
        }
        Self { store, place_of, order: order.into_iter().collect() }
    }

    pub(crate) fn store(&self) -> &ClickStore {
        &self.store
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.store.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory taken.
    pub fn bytes(&self) -> usize {
        /// A node of the standard library's tree holds 6 to 11 entries and some 16 bytes more.
        const ORDER_ENTRY_BYTES: usize = 16;
        self.store.bytes() + self.order.len() * ORDER_ENTRY_BYTES
    }

    /// The row of a click id.
    pub(crate) fn find(&self, id: &Id) -> Option<u32> {
        self.store
            .index
            .find(id.spread(), |row| self.store.rows.get(row).is_some_and(|click| click.id == *id))
    }

    /// Reads the cache line a look for an id begins with.
    #[inline]
    pub(crate) fn prefetch(&self, id: &Id) -> u32 {
        self.store.index.touch(id.spread())
    }

    /// A click by its id.
    pub fn get(&self, id: &Id) -> Option<Click> {
        self.at(self.find(id)?)
    }

    /// A click by its row.
    pub(crate) fn at(&self, row: u32) -> Option<Click> {
        let click = self.store.rows.get(row).filter(|click| click.is_used())?;
        let (program, partner) = self.pair_at(click.pair.get())?;
        let Standing { verdict, counted, is_unique } = click.standing();
        Some(Click {
            id: click.id,
            program,
            partner,
            touch_ms: click.touch.get(),
            accept_ms: click.accept.get(),
            flags: u64::from(click.bits & CLASS_BITS) << CLASS_SHIFT,
            country: click.country,
            sub: click.sub,
            verdict,
            counted,
            is_unique,
        })
    }

    /// Program and partner by their place.
    pub(crate) fn pair_at(&self, pair: u32) -> Option<(u64, u64)> {
        self.store.pairs.get(super::chunks::at(pair)).copied()
    }

    /// The place of a row's program and partner.
    pub(crate) fn pair_of(&self, row: u32) -> u32 {
        self.store.rows.get(row).map_or(u32::MAX, |click| click.pair.get())
    }

    /// Says what a click is worth.
    pub(crate) fn set_standing(&mut self, row: u32, standing: Standing) {
        let Standing { verdict, counted, is_unique } = standing;
        let bits = (verdict as u8) << 2 | (counted as u8) << 4 | u8::from(is_unique) << 6;
        if let Some(click) = self.store.rows.get_mut(row) {
            click.bits = click.bits & !STANDING_BITS | bits;
        }
    }

    /// Says whether a click is counted for its source.
    pub(crate) fn set_in_source(&mut self, row: u32, is_in: bool) {
        if let Some(click) = self.store.rows.get_mut(row) {
            click.bits = click.bits & !IN_SOURCE_BIT | if is_in { IN_SOURCE_BIT } else { 0 };
        }
    }

    /// The row itself, for whoever needs only what is in it.
    pub(crate) fn row(&self, row: u32) -> Option<&ClickRow> {
        self.store.rows.get(row)
    }

    /// Whether one click comes before another under an identifier.
    pub(crate) fn is_before(&self, one: u32, other: u32) -> bool {
        let order = |row| self.store.rows.get(row).map(ClickRow::order);
        order(one) < order(other)
    }

    /// Adds a click that is not there, live until `due_ms`; its row.
    pub(crate) fn insert(&mut self, click: &Click, trust: Trust, due_ms: u64) -> u32 {
        let due_s = u32::try_from(due_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        let class = (click.flags & CLASS_MASK) >> CLASS_SHIFT;
        let row = ClickRow {
            id: click.id,
            touch: Ms6::new(click.touch_ms),
            accept: Ms6::new(click.accept_ms),
            pair: Number::new(self.pair(click.program, click.partner)),
            due_s: Number::new(due_s),
            owner: Number::new(NOBODY),
            country: click.country,
            sub: click.sub,
            bits: u8::try_from(class).unwrap_or(0),
            trust: trust as u8,
        };
        let number = self.store.rows.insert(row);
        let rows = &self.store.rows;
        let hash_of = |row| rows.get(row).map_or(0, |click| click.id.spread());
        self.store.index.insert(click.id.spread(), number, hash_of);
        self.order.insert((due_s, number));
        let Click { verdict, counted, is_unique, .. } = *click;
        self.set_standing(number, Standing { verdict, counted, is_unique });
        number
    }

    fn pair(&mut self, program: u64, partner: u64) -> u32 {
        let ClickStore { pairs, .. } = &mut self.store;
        *self.place_of.entry((program, partner)).or_insert_with(|| {
            pairs.push((program, partner));
            super::chunks::number(pairs.len() - 1)
        })
    }

    /// Says under which identifier a click is.
    pub(crate) fn set_owner(&mut self, row: u32, owner: u32) {
        if let Some(click) = self.store.rows.get_mut(row) {
            click.owner = Number::new(owner);
        }
    }

    /// The click that expires first.
    pub(crate) fn first_due(&self) -> Option<u32> {
        self.order.first().map(|(_, row)| *row)
    }

    /// The click that expires first, if it has by `now_ms`.
    pub(crate) fn due(&self, now_ms: u64) -> Option<u32> {
        let (due_s, row) = self.order.first()?;
        (u64::from(*due_s) * 1000 <= now_ms).then_some(*row)
    }

    /// Takes a click out; its id.
    pub(crate) fn remove(&mut self, row: u32) -> Option<Id> {
        let click = *self.store.rows.get(row).filter(|click| click.is_used())?;
        self.order.remove(&(click.due_s.get(), row));
        self.store.index.remove(click.id.spread(), row);
        self.store.rows.remove(row);
        Some(click.id)
    }

    /// When a click happened and its id.
    pub(crate) fn touch(&self, row: u32) -> Option<(u64, Id)> {
        self.store.rows.get(row).map(ClickRow::order)
    }
}
