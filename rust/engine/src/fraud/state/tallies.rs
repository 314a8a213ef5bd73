//! Counters by kind, entity and aligned stretch of event time: what can be added up in any order.
//!
//! A row is 32 bytes, and an index entry some nine. An hour has one of its own only when its day
//! has clicks in another, see [`super::hours`]. At the bound the oldest row goes, unless it was
//! counted in since the hand last passed it; a row whose time is over goes first.

use std::collections::BTreeSet;

use crate::limits::{DAY_MS, HOUR_MS, SWEEP_ROWS_MAX};
use crate::state::chunks::{at, number, Chunks, Fields, Row};
use crate::state::id_index::IdIndex;

use super::bursts::PAST_DAYS;
use super::fifo::NONE;

/// Rows looked at for one whose time is over before a new one is added.
const EXPIRED_LOOKED_AT: usize = 2;

/// What a row counts, or holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Clicks of an address in a day.
    Address = 1,
    /// The same in an hour.
    AddressHour = 2,
    /// Clicks of a returning visitor, or of a device, in a day.
    Device = 3,
    /// The same in an hour.
    DeviceHour = 4,
    /// Clicks of a network in a day.
    Net = 5,
    /// The same in an hour.
    NetHour = 6,
    /// Clicks of a partner with one kind of browser in a day.
    Slice = 7,
    /// The same in an hour.
    SliceHour = 8,
    /// Clicks of a partner in a day.
    Partner = 9,
    /// The same in an hour.
    PartnerHour = 10,
    /// Clicks with one kind of browser in a day.
    SliceOfAll = 11,
    /// Clicks in a day.
    All = 12,
    /// When a client was first at a partner in a window that outlasts its pending clicks.
    Unique = 13,
    /// When a client followed a link that nobody can see.
    Taint = 14,
    /// When a visitor saw a page of the checkout, first and last in a stretch of time.
    Checkout = 15,
}

impl Kind {
    /// Of a kind that counts days, the kind that counts their hours.
    pub(crate) fn hourly(self) -> Option<Self> {
        match self {
            Self::Address => Some(Self::AddressHour),
            Self::Device => Some(Self::DeviceHour),
            Self::Net => Some(Self::NetHour),
            Self::Slice => Some(Self::SliceHour),
            Self::Partner => Some(Self::PartnerHour),
            _ => None,
        }
    }

    /// The last day on which a row is kept that something of a time is counted in.
    fn last_day(self, at_ms: u64) -> u16 {
        u16::try_from(day_of(at_ms)).unwrap_or(u16::MAX).saturating_add(self.days_kept())
    }

    /// Days after its own for which a row is kept: as long as a pending click can be of it, or as
    /// the past is compared with.
    fn days_kept(self) -> u16 {
        match self {
            Self::Slice | Self::Partner | Self::SliceOfAll | Self::All => LONG_DAYS,
            Self::Taint | Self::Checkout => PENDING_DAYS + 1,
            _ => PENDING_DAYS,
        }
    }
}

/// Days after its own on which clicks of a day may be pending.
const PENDING_DAYS: u16 = 3;
/// Days after its own for which a day is compared with, by clicks that are pending.
pub(crate) const LONG_DAYS: u16 = PAST_DAYS + PENDING_DAYS;
/// The hour of a day's row whose clicks were in several hours.
pub(super) const SEVERAL: u8 = 24;

/// One counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    key: u64,
    /// A bit for the user agent of each click; of kinds that do not count, a time or two.
    pub(crate) agents: u64,
    /// How many clicks.
    pub(crate) count: u32,
    /// Of addresses how many of them came of new visitors, see [`Tally::new_visitors`]; of other
    /// kinds something else.
    pub(crate) fresh: u32,
    /// The newest pending click of its chain.
    pub(crate) head: u32,
    /// The last day on which it is kept.
    pub(super) last_day: u16,
    /// From the lowest bit: kind (4), step (3), whether it was counted in since the hand passed.
    bits: u8,
    /// Of a day, the only hour of it that anything was counted in, or [`SEVERAL`].
    pub(super) hour: u8,
}

const KIND_BITS: u8 = 0x0f;
const STEP_SHIFT: u32 = 4;
const HIT: u8 = 0x80;
/// Of `fresh` of an address, the bits above those of new visitors.
const CARRIED_SHIFT: u32 = 24;
const NEW_MAX: u32 = (1 << CARRIED_SHIFT) - 1;

impl Tally {
    fn new(kind: Kind, key: u64, last_day: u16) -> Self {
        Self { key, bits: kind as u8, last_day, ..Self::default() }
    }

    /// Notes that something is counted in it, at a time.
    pub(super) fn touch(&mut self, kind: Kind, at_ms: u64) {
        self.bits |= HIT;
        self.last_day = self.last_day.max(kind.last_day(at_ms));
    }

    fn is_of(&self, kind: Kind) -> bool {
        self.bits & KIND_BITS == kind as u8
    }

    /// The severity that its comparison gave when last made, in quarters.
    pub(crate) fn step(&self) -> u8 {
        (self.bits & !HIT) >> STEP_SHIFT
    }

    /// Takes the outcome of a comparison.
    pub(crate) fn set_step(&mut self, step: u8) {
        self.bits = self.bits & (HIT | KIND_BITS) | step.min(7) << STEP_SHIFT;
    }

    /// Of an address, how many clicks came of new visitors.
    pub(crate) fn new_visitors(&self) -> u32 {
        self.fresh & NEW_MAX
    }

    /// Of an address, counts a click of a new visitor.
    pub(super) fn add_new_visitor(&mut self) {
        if self.new_visitors() < NEW_MAX {
            self.fresh += 1;
        }
    }

    /// Of an address in a day, how many clicks it brought on the days before; up to 255, which is
    /// more than ranks any higher.
    pub(crate) fn carried(&self) -> u32 {
        self.fresh >> CARRIED_SHIFT
    }

    /// Says how many clicks an address brought on the days before.
    pub(super) fn set_carried(&mut self, clicks: u32) {
        self.fresh = self.new_visitors() | clicks.min(u32::from(u8::MAX)) << CARRIED_SHIFT;
    }
}

impl Default for Tally {
    fn default() -> Self {
        let (key, agents, count, fresh, last_day, bits) = (0, 0, 0, 0, 0, 0);
        Self { key, agents, count, fresh, head: NONE, last_day, bits, hour: SEVERAL }
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
        out.extend_from_slice(&[self.bits, self.hour]);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (key, agents) = (fields.u64()?, fields.u64()?);
        let (count, fresh, head) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let last_day = fields.u16()?;
        let [bits, hour @ 0..=SEVERAL] = fields.take()? else { return None };
        Some(Self { key, agents, count, fresh, head, last_day, bits, hour })
    }
}

/// When a row is wanted, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) now_ms: u64,
    pub(crate) rows_max: usize,
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

    /// The row of a key, made if there is none, kept for some days after that of a time; and
    /// whether it was made.
    #[inline]
    pub(crate) fn enter(&mut self, kind: Kind, key: u64, at_ms: u64, room: Room) -> (u32, bool) {
        if let Some(row) = self.find(key) {
            if let Some(tally) = self.rows.get_mut(at(row)) {
                tally.touch(kind, at_ms);
            }
            return (row, false);
        }
        (self.make(kind, key, at_ms, room), true)
    }

    /// A new row for a key that has none.
    pub(super) fn make(&mut self, kind: Kind, key: u64, at_ms: u64, room: Room) -> u32 {
        self.insert(Tally::new(kind, key, kind.last_day(at_ms)), room)
    }

    /// Reads the cache line that a look for a key begins with.
    pub(crate) fn touch(&self, key: u64) -> u32 {
        self.index.touch(key)
    }

    /// Reads the row that is likely to be found, once the line of the index is there.
    pub(crate) fn touch_row(&self, key: u64) -> u32 {
        let row = self.index.guess(key).and_then(|row| self.get(row));
        row.map_or(0, |tally| tally.count)
    }

    fn insert(&mut self, tally: Tally, room: Room) -> u32 {
        let row = match self.room(room) {
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
    fn room(&mut self, Room { now_ms, rows_max }: Room) -> Option<u32> {
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
            let may_go = is_full && (tally.bits & HIT == 0 || left == 0);
            self.hand = if at(row) + 1 >= self.rows.len() { 0 } else { row + 1 };
            if is_over || may_go {
                self.index.remove(tally.key, row);
                return Some(row);
            }
            if is_full {
                self.rows.set(at(row), Tally { bits: tally.bits & !HIT, ..tally });
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
        let is_marked = |tally: &&Tally| {
            tally.is_of(Kind::Unique) && marks.contains(&tally.fresh)
                || tally.is_of(Kind::Checkout) && marks.contains(&tally.head)
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
