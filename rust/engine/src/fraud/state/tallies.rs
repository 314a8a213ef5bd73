//! Counters by kind, entity and aligned stretch of event time: what can be added up in any order.
//!
//! A row is 32 bytes, and an index entry some nine. At the bound the oldest row goes, unless it was
//! counted in since the hand last passed it; a row whose time is over goes first.

use std::collections::BTreeSet;

use crate::limits::{DAY_MS, HOUR_MS, SWEEP_ROWS_MAX};
use crate::state::chunks::{at, number, Chunks, Fields, Row};
use crate::state::id_index::IdIndex;

use super::fifo::NONE;

/// Rows looked at for one whose time is over before a new one is added.
const EXPIRED_LOOKED_AT: usize = 2;

/// What a row counts, or holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Clicks of an address in an hour.
    AddressHour = 1,
    /// Clicks of an address in a day.
    AddressDay = 2,
    /// Clicks of a returning visitor, or of a device, in an hour.
    DeviceHour = 3,
    /// The same in a day.
    DeviceDay = 4,
    /// Clicks of a network in an hour.
    NetHour = 5,
    /// Clicks of a network in a day.
    NetDay = 6,
    /// Clicks of a partner with one kind of browser in an hour.
    SliceHour = 7,
    /// Clicks of a partner in an hour.
    PartnerHour = 8,
    /// Clicks of a partner with one kind of browser in a day.
    SliceDay = 9,
    /// Clicks of a partner in a day.
    PartnerDay = 10,
    /// Clicks with one kind of browser in a day.
    SliceDayOfAll = 11,
    /// Clicks in a day.
    DayOfAll = 12,
    /// A client, and its newest pending click.
    Client = 13,
    /// When the first click of a client at a partner was, in a window, and which it was.
    Unique = 14,
    /// When a client followed a link that nobody can see.
    Taint = 15,
    /// When a visitor saw a page of the checkout, first and last in a stretch of time.
    Checkout = 16,
}

impl Kind {
    /// Days after the stretch for which a row is kept: as long as a late click can concern it, or
    /// as the past is compared with.
    fn days_kept(self) -> u64 {
        match self {
            Self::NetDay | Self::SliceDay | Self::PartnerDay => 11,
            Self::SliceDayOfAll | Self::DayOfAll => 11,
            _ => 3,
        }
    }
}

/// One counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    key: u64,
    /// A bit for the user agent of each click; of kinds that do not count, a time or two.
    pub(crate) agents: u64,
    /// How many clicks.
    pub(crate) count: u32,
    /// How many of them came of new visitors; of other kinds something else.
    pub(crate) fresh: u32,
    /// The newest pending click of its chain, or of a contest the earliest.
    pub(crate) head: u32,
    /// The last day on which it is kept.
    last_day: u16,
    kind: u8,
    /// The severity that its comparison gave when last made, in quarters.
    pub(crate) step: u8,
}

/// Set in `kind` of a row that was counted in since the hand passed.
const HIT: u8 = 0x80;

impl Default for Tally {
    fn default() -> Self {
        Self { key: 0, agents: 0, count: 0, fresh: 0, head: NONE, last_day: 0, kind: 0, step: 0 }
    }
}

impl Row for Tally {
    const BYTES: usize = 32;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.agents.to_le_bytes());
        for number in [self.count, self.fresh, self.head] {
            number.write(out);
        }
        out.extend_from_slice(&self.last_day.to_le_bytes());
        out.extend_from_slice(&[self.kind, self.step]);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (key, agents) = (fields.u64()?, fields.u64()?);
        let (count, fresh, head) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let last_day = fields.u16()?;
        let [kind, step] = fields.take()?;
        Some(Self { key, agents, count, fresh, head, last_day, kind, step })
    }
}

/// The counters of one brand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) index: IdIndex,
    pub(crate) rows: Chunks<Tally>,
    pub(crate) free: Chunks<u32>,
    /// The row that is next asked to go.
    pub(crate) hand: u32,
    /// Nothing that outsiders know: nobody can choose entities that share a bucket.
    pub(crate) seed: u64,
}

/// Mixes two numbers into one as good as random.
#[inline]
pub(crate) fn fold(one: u64, two: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    const OTHER: u64 = 0xd1b5_4a32_d192_ed03;
    let product = u128::from(one ^ ODD) * u128::from(two ^ OTHER);
    let [a, b, c, d, e, f, g, h, rest @ ..] = product.to_le_bytes();
    let folded = u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ u64::from_le_bytes(rest);
    let mixed = folded.wrapping_mul(ODD);
    mixed ^ (mixed >> 32)
}

impl Tallies {
    /// How many rows are in use.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.rows.bytes() + self.free.bytes()
    }

    /// The key of a counter.
    #[inline]
    pub(crate) fn key(&self, kind: Kind, entity: u64, stretch: u64) -> u64 {
        fold(entity ^ self.seed, fold(stretch, kind as u64))
    }

    /// The row of a key.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Option<u32> {
        self.index.find(key, |row| self.rows.get(at(row)).is_some_and(|tally| tally.key == key))
    }

    /// A counter by its key.
    pub(crate) fn of(&self, key: u64) -> Option<&Tally> {
        self.get(self.find(key)?)
    }

    /// A counter by its row.
    #[inline]
    pub(crate) fn get(&self, row: u32) -> Option<&Tally> {
        self.rows.get(at(row))
    }

    /// A counter by its row, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, row: u32) -> Option<&mut Tally> {
        self.rows.get_mut(at(row))
    }

    /// The row of a key, made if there is none, kept for some days after `until_ms`.
    #[inline]
    pub(crate) fn enter(
        &mut self,
        kind: Kind,
        key: u64,
        until_ms: u64,
        now_ms: u64,
        rows_max: usize,
    ) -> u32 {
        let last_day = until_ms / DAY_MS + kind.days_kept();
        let last_day = u16::try_from(last_day).unwrap_or(u16::MAX);
        if let Some(row) = self.find(key) {
            if let Some(tally) = self.rows.get_mut(at(row)) {
                tally.kind |= HIT;
                tally.last_day = tally.last_day.max(last_day);
            }
            return row;
        }
        let tally = Tally { key, kind: kind as u8, last_day, ..Tally::default() };
        self.insert(tally, now_ms, rows_max)
    }

    fn insert(&mut self, tally: Tally, now_ms: u64, rows_max: usize) -> u32 {
        let row = match self.room(now_ms, rows_max) {
            Some(row) => {
                self.rows.set(at(row), tally);
                row
            }
            None => number(self.rows.push(tally)),
        };
        let rows = &self.rows;
        let hash_of = |row| rows.get(at(row)).map_or(0, |tally| tally.key);
        self.index.insert(tally.key, row, hash_of);
        row
    }

    /// A row that may be written over, if there is one or must be.
    fn room(&mut self, now_ms: u64, rows_max: usize) -> Option<u32> {
        if let Some(free) = self.free.pop() {
            return Some(free);
        }
        let today = u16::try_from(now_ms / DAY_MS).unwrap_or(u16::MAX);
        let is_full = self.rows.len() >= rows_max.max(1);
        let looked_at = if is_full { SWEEP_ROWS_MAX } else { EXPIRED_LOOKED_AT };
        for left in (0..looked_at.min(self.rows.len())).rev() {
            let row = self.hand;
            let Some(tally) = self.rows.get(at(row)).copied() else {
                self.hand = 0;
                continue;
            };
            let is_over = tally.last_day < today;
            let may_go = is_full && (tally.kind & HIT == 0 || left == 0);
            self.hand = if at(row) + 1 >= self.rows.len() { 0 } else { row + 1 };
            if is_over || may_go {
                self.index.remove(tally.key, row);
                return Some(row);
            }
            if is_full {
                self.rows.set(at(row), Tally { kind: tally.kind & !HIT, ..tally });
            }
        }
        None
    }

    /// Appends the rows' bytes; of those of a day that is over only that there is one.
    pub(crate) fn write_current(&self, now_ms: u64, out: &mut Vec<u8>) {
        for tally in self.rows.iter() {
            let is_over = u64::from(tally.last_day) < day_of(now_ms);
            let over = Tally { last_day: tally.last_day, ..Tally::default() };
            if is_over { over } else { *tally }.write(out);
        }
    }

    /// Forgets a counter.
    pub(crate) fn remove(&mut self, key: u64) {
        if let Some(row) = self.find(key) {
            self.index.remove(key, row);
            self.rows.set(at(row), Tally::default());
            self.free.push(row);
        }
    }

    /// Forgets the counters that bear one of some marks, and that are not found by an entity alone.
    pub(crate) fn remove_marked(&mut self, marks: &BTreeSet<u32>) {
        let is_marked = |tally: &&Tally| match tally.kind & !HIT {
            kind if kind == Kind::Unique as u8 => marks.contains(&tally.fresh),
            kind if kind == Kind::Checkout as u8 => marks.contains(&tally.head),
            _ => false,
        };
        let keys: Vec<u64> = self.rows.iter().filter(is_marked).map(|tally| tally.key).collect();
        for key in keys {
            self.remove(key);
        }
    }
}

/// The hour that a time is in.
pub(crate) fn hour_of(ms: u64) -> u64 {
    ms / HOUR_MS
}

/// The day that a time is in.
pub(crate) fn day_of(ms: u64) -> u64 {
    ms / DAY_MS
}
