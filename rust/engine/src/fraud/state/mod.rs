//! What is remembered of a brand's clicks to tell genuine ones from others.
//!
//! Counters add up in any order, and the clicks of one client stand in the order of their times, so
//! that what is decided in the end does not depend on the order in which clicks came. A click stays
//! pending for two days; when a counter it is in passes a step it is scored again.

pub(crate) mod bursts;
pub(crate) mod distinct;
pub(crate) mod fifo;
pub(crate) mod heads;
pub(crate) mod hours;
pub(crate) mod intake;
pub(crate) mod pending;
pub(crate) mod rhythm;
pub(crate) mod scores;
pub(crate) mod tallies;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use scores::{Noted, Scores};

use crate::fraud::click::is_crowd;
use crate::fraud::repeats::Repeats;
use crate::fraud::sources::Sources;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{
    DAY_MS, FRAUD_CLOSE_AFTER_MS, FRAUD_CLOSING_MAX, FRAUD_LISTS_MAX, FRAUD_WORK_MAX, HOUR_MS,
    SWEEP_ROWS_MAX,
};
use crate::state::chunks::Row;
use crate::Id;

use fifo::{Fifo, NONE};
use heads::Heads;
use pending::{Closing, Link, Pending, Work, CLIENTS};
use tallies::{day_of, fold, hour_of, Kind, Room, Tallies};

impl Row for u64 {
    const BYTES: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// The number of no version of address lists; those of versions are below it.
pub(crate) const NO_LISTS: u16 = u16::MAX;
/// Days back for which an erasure looks for counters.
const ERASED_DAYS: u64 = 4;

/// What is remembered of one brand's clicks. A clone shares all that is large.
#[derive(Clone, Debug, Default)]
pub struct Fraud {
    /// What speaks against clicks.
    pub scores: Scores,
    /// What became of clicks, by their source.
    pub sources: Sources,
    /// What conversions have in common.
    pub repeats: Repeats,
    pub(crate) tallies: Tallies,
    pub(crate) pending: Fifo<Pending>,
    pub(crate) heads: Heads,
    /// Clicks to be scored again.
    pub(crate) work: Fifo<Work>,
    /// By day: the counters whose comparison is made once more when nothing late can come.
    pub(crate) closing: BTreeMap<u64, Fifo<Closing>>,
    /// Versions of the address lists, the oldest first, and its number.
    pub(crate) lists: VecDeque<Box<str>>,
    pub(crate) lists_first: u16,
    /// No honeypot's mark is of a later day.
    pub(crate) tainted_day: u64,
    /// No page of the checkout was seen at a later time.
    pub(crate) checkout_ms: u64,
    /// No link was fetched ahead at a later time.
    pub(crate) prefetch_ms: u64,
    /// No window that is kept for its first click ends at a later time.
    pub(crate) windows_ms: u64,
}

impl Fraud {
    /// Nothing remembered; `seed` is nothing that outsiders know.
    pub fn new(seed: u64) -> Self {
        let tallies = Tallies { seed, ..Tallies::default() };
        Self { tallies, ..Self::default() }
    }

    /// All but sources and sets of conversions, whose orders of age are not shared: cheap.
    pub(crate) fn of_clicks(&self) -> Self {
        Self {
            scores: self.scores.clone(),
            sources: Sources::default(),
            repeats: Repeats::default(),
            tallies: self.tallies.clone(),
            pending: self.pending.clone(),
            heads: self.heads.clone(),
            work: self.work.clone(),
            closing: self.closing.clone(),
            lists: self.lists.clone(),
            ..*self
        }
    }

    /// Bytes of memory taken, but for findings.
    pub fn bytes(&self) -> usize {
        let closing: usize = self.closing.values().map(Fifo::bytes).sum();
        self.tallies.bytes()
            + self.pending.bytes()
            + self.heads.bytes()
            + self.work.bytes()
            + self.sources.bytes()
            + closing
    }

    /// How many counters there are.
    pub fn tallies_len(&self) -> usize {
        self.tallies.len()
    }

    /// How many clicks may still be scored again.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Lets clicks go that are settled, a bounded part at a time.
    pub(crate) fn sweep(&mut self, room: Room) {
        let now_ms = room.now_ms;
        self.scores.sweep(now_ms);
        self.sources.sweep(now_ms);
        for _ in 0..SWEEP_ROWS_MAX {
            let oldest = self.pending.get(self.pending.first());
            if oldest.is_none_or(|click| u64::from(click.settled_s) * 1000 > now_ms) {
                return;
            }
            self.settle(room);
        }
    }

    /// Lets the oldest pending click go.
    fn settle(&mut self, room: Room) {
        let row = self.pending.first();
        let Some(click) = self.pending.get(row).copied() else { return };
        self.unchain(row);
        self.pending.pop();
        self.keep_window(&click, room);
    }

    /// Takes a click out of those of its clients.
    fn unchain(&mut self, row: u32) {
        for client in 0..CLIENTS {
            rhythm::remove(&mut self.pending, &mut self.heads, self.tallies.seed, row, client);
        }
    }

    /// Has clicks scored again; above the bound the oldest such wish is dropped.
    pub(crate) fn ask(&mut self, work: Work) {
        if work.at == NONE {
            return;
        }
        self.work.push(work);
        if self.work.len() > FRAUD_WORK_MAX {
            self.work.pop();
        }
    }

    /// Has a comparison made once more when nothing late can come for its day.
    pub(crate) fn close_later(&mut self, closing: Closing) {
        let day = day_of(u64::from(closing.hour) * HOUR_MS);
        let of_day = self.closing.entry(day).or_default();
        if of_day.len() < FRAUD_CLOSING_MAX {
            of_day.push(closing);
        }
    }

    /// A counter whose comparison is due.
    pub(crate) fn closed(&mut self, now_ms: u64) -> Option<Closing> {
        loop {
            let mut first = self.closing.first_entry()?;
            if (first.key() + 1) * DAY_MS + FRAUD_CLOSE_AFTER_MS > now_ms {
                return None;
            }
            match first.get_mut().pop() {
                Some(closing) => return Some(closing),
                None => first.remove(),
            };
        }
    }

    /// The number of a version of address lists.
    pub(crate) fn lists_number(&mut self, name: Option<&str>) -> u16 {
        let Some(name) = name else { return NO_LISTS };
        // As a rule it is the newest.
        let known = self.lists.iter().rposition(|known| &**known == name);
        let place = known.unwrap_or_else(|| {
            self.lists.push_back(name.into());
            if self.lists.len() > FRAUD_LISTS_MAX {
                self.lists.pop_front();
                self.lists_first = (self.lists_first + 1) % NO_LISTS;
            }
            self.lists.len() - 1
        });
        let number = (usize::from(self.lists_first) + place) % usize::from(NO_LISTS);
        u16::try_from(number).unwrap_or(NO_LISTS)
    }

    /// A version of address lists by its number, unless it is forgotten.
    pub(crate) fn lists_name(&self, number: u16) -> Option<&str> {
        if number == NO_LISTS {
            return None;
        }
        let place = if number < self.lists_first {
            number + (NO_LISTS - self.lists_first)
        } else {
            number - self.lists_first
        };
        self.lists.get(usize::from(place)).map(|name| &**name)
    }

    /// Reads what clicks are about to look for: the lines of indexes first, then the rows.
    pub(crate) fn read_ahead(&self, wanted: &Wanted) {
        let mut read: u32 = 0;
        let (seed, pending) = (self.tallies.seed, &self.pending);
        let keys = wanted.counters.iter().map(|(kind, entity, day)| {
            let key = self.tallies.key(*kind, *entity, *day);
            read = read.wrapping_add(self.tallies.touch(key));
            key
        });
        let keys: Vec<u64> = keys.collect();
        let hashes = wanted.clients.iter().map(|client| Heads::hash(seed, *client));
        let hashes: Vec<u64> = hashes.collect();
        for hash in &hashes {
            read = read.wrapping_add(self.heads.touch(*hash));
        }
        for key in keys {
            read = read.wrapping_add(self.tallies.touch_row(key));
        }
        for hash in hashes {
            read = read.wrapping_add(self.heads.touch_click(pending, hash));
        }
        std::hint::black_box(read);
    }

    /// Whether an address is shared by many on the day of a time; under the digest of that day.
    pub fn is_crowd(&self, address: u64, at_ms: u64) -> bool {
        is_crowd(self.tallies.day(Kind::Address, address, at_ms))
    }

    /// Forgets visitors, devices and clicks. Looks at every counter and every pending click, once:
    /// an erasure is rare.
    pub fn erase(&mut self, keys: &BTreeSet<Identifier>, now_ms: u64) {
        let mut marks = BTreeSet::new();
        let mut clicks = BTreeSet::new();
        for key in keys {
            match key.kind {
                IdentifierType::Visitor | IdentifierType::Device => {
                    let entity = client_of(key);
                    self.erase_client(entity, now_ms);
                    marks.insert(mark_of(entity));
                }
                IdentifierType::Click => {
                    clicks.insert(key.digest);
                }
                _ => {}
            }
        }
        if !marks.is_empty() {
            self.tallies.remove_marked(&marks);
        }
        if !clicks.is_empty() {
            self.erase_clicks(&clicks);
        }
    }

    fn erase_client(&mut self, entity: u64, now_ms: u64) {
        let seed = self.tallies.seed;
        let mut next = self.heads.find(&self.pending, seed, entity).unwrap_or(NONE);
        let entry = self.heads.entry_of(&self.pending, seed, entity);
        self.heads.put(&self.pending, seed, entity, entry, None);
        // As many as there are at most: a damaged snapshot must not make it endless.
        for _ in 0..self.pending.len() {
            let Some(click) = self.pending.get_mut(next) else { break };
            let client = click.client_at(entity);
            let Some(link) = client.and_then(|client| click.links.get_mut(client)) else { break };
            next = link.earlier;
            *link = Link::default();
        }
        let days = day_of(now_ms).saturating_sub(ERASED_DAYS)..=day_of(now_ms) + 1;
        for day in days {
            for kind in [Kind::Device, Kind::Taint] {
                self.tallies.remove(self.tallies.key(kind, entity, day));
            }
            for hour in hour_of(day * DAY_MS)..hour_of((day + 1) * DAY_MS) {
                self.tallies.remove(self.tallies.key(Kind::DeviceHour, entity, hour));
            }
        }
    }

    fn erase_clicks(&mut self, clicks: &BTreeSet<Id>) {
        for click_id in clicks {
            self.scores.forget(click_id);
        }
        let is_erased = |id: &Id| clicks.contains(id);
        self.scores.order.edit(|kept| is_erased(&kept.click_id), |kept| kept.click_id = [0; 16]);
        self.work.edit(|work| is_erased(&work.event_id), |work| work.event_id = [0; 16]);
        let erased: Vec<u32> = self.pending.numbers(|click| is_erased(&click.id));
        for row in erased {
            self.unchain(row);
            if let Some(kept) = self.pending.get_mut(row) {
                // Its counters' chains lead through it.
                let (next, settled_s) = (kept.next, kept.settled_s);
                *kept = Pending { next, settled_s, ..Pending::default() };
            }
        }
    }
}

/// What clicks are about to look for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Kind, entity and day.
    counters: Vec<(Kind, u64, u64)>,
    clients: Vec<u64>,
}

impl Wanted {
    /// Adds what is wanted of a click: of its clients, of its address under the digests of its day
    /// and of the day before, of its network and of its device, of which 0 is none.
    pub(crate) fn add(
        &mut self,
        touch_ms: u64,
        clients: &[u64; CLIENTS],
        [address, before]: [u64; 2],
        net: u64,
        device: u64,
    ) {
        let day = day_of(touch_ms);
        let counters = [
            (Kind::Address, address, day),
            (Kind::Address, before, day.saturating_sub(1)),
            (Kind::Net, net, day),
            (Kind::Device, device, day),
        ];
        self.counters.extend(counters.into_iter().filter(|(_, entity, _)| *entity != 0));
        self.clients.extend(clients.iter().copied().filter(|client| *client != 0));
    }
}

/// What a counter that cannot be found by its entity keeps of it, so that an erasure finds it.
pub(crate) fn mark_of(entity: u64) -> u32 {
    let [a, b, c, d, ..] = entity.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Different user agents of an address in a day from which on it and a user agent make no client.
pub(crate) const CLIENT_CROWD_AGENTS: u64 = 8;

/// The entity of an identifier.
pub(crate) fn client_of(key: &Identifier) -> u64 {
    let [a, b, c, d, e, f, g, h, rest @ ..] = key.digest;
    let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    fold(fold(low, u64::from_le_bytes(rest)), key.kind as u64).max(1)
}
