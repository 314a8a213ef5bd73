//! Clicks summed up by all that tells them apart in reports: program, quarter hour, partner, link,
//! sub id, country, device.
//!
//! The ledger adds the sums to its rollups. They say nothing that decides.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::Error;
use crate::msgpack::{Reader, Writer};
use crate::record::{flags, Body, Record};

/// A quarter hour, in milliseconds.
pub const QUARTER_MS: u64 = 900_000;
/// Quarter hours of a day.
pub const DAY_QUARTERS: u64 = 96;
/// How many sums a cell has, in the order of the columns of the ledger's table.
pub const MEASURES: usize = 8;
/// Sums of a cell: `clicks`, `filtered`, `rejected`, `duplicates`, `uniques`, `reviewed`,
/// `prefetches`, `tests`.
pub type Sums = [i64; MEASURES];

const FIELDS: usize = 7;
// Cells of one blob: what the ledger's writer keeps at most, and a batch.
const CELLS_MAX: usize = 1 << 24;

/// What the clicks of a cell have in common. 0 or empty: none, or not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell<'a> {
    /// The program's number.
    pub program: u64,
    /// The quarter hour of UTC, numbered from 1970 on.
    pub bucket: u64,
    /// The partner's number.
    pub partner: u64,
    /// The link's number.
    pub link: u64,
    /// The first sub id.
    pub sub1: &'a str,
    /// The country of the address.
    pub country: &'a str,
    /// The kind of device; see [`device`].
    pub device: &'a str,
}

/// How a click counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// `accept`, `review`, `reject` or `filtered`.
    pub verdict: &'a str,
    /// `counted`, `duplicate`, `prefetch` or `test`.
    pub counted: &'a str,
    /// Whether it is the first of its visitor.
    pub is_unique: bool,
}

impl Standing<'_> {
    /// What `count` clicks that stand like this add to their cell.
    fn sums(self, count: i64) -> Sums {
        let when = |is_so: bool| if is_so { count } else { 0 };
        if self.counted == "test" || self.counted == "prefetch" {
            let (prefetches, tests) =
                (when(self.counted == "prefetch"), when(self.counted == "test"));
            return [0, 0, 0, 0, 0, 0, prefetches, tests];
        }
        let is_filtered = self.verdict == "filtered";
        let is_rejected = self.verdict == "reject";
        let is_duplicate = !is_filtered && !is_rejected && self.counted == "duplicate";
        let is_left = !is_filtered && !is_rejected && !is_duplicate;
        [
            count,
            when(is_filtered),
            when(is_rejected),
            when(is_duplicate),
            when(is_left && self.is_unique),
            when(is_left && self.verdict == "review"),
            0,
            0,
        ]
    }
}

/// Where a click came from and with what: link, sub id, country, device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The link's number.
    pub link: u64,
    /// The first sub id.
    pub sub1: &'a str,
    /// The country of the address.
    pub country: &'a str,
    /// The kind of device; empty without a user agent.
    pub device: &'static str,
}

impl<'a> Origin<'a> {
    /// What a click's record says of it.
    ///
    /// # Errors
    /// [`Error::Frame`] when it is not the record of a click.
    pub fn of(record: &'a [u8]) -> Result<Self, Error> {
        let Body::Click(click) = Record::decode(record)?.body else {
            return Err(Error::Frame("wrong_type"));
        };
        let sub1 = click.params.iter().find(|(name, _)| *name == "sub1");
        let country = click.client.network.and_then(|network| network.country);
        let agent = click.client.user_agent.filter(|agent| !agent.is_empty());
        Ok(Self {
            link: click.link,
            sub1: sub1.map_or("", |(_, value)| value),
            country: country.unwrap_or_default(),
            device: agent.map_or("", device),
        })
    }
}

/// Whether a touch is a click: no soft click and no impression.
pub fn is_click(flag_bits: u64) -> bool {
    flag_bits & (flags::SOFT_CLICK | flags::IMPRESSION) == 0
}

/// `ios`, `android`, `mobile` (one that is neither) or `desktop`, told by the user agent.
pub fn device(agent: &str) -> &'static str {
    const WORDS: [&str; 7] = ["iphone", "ipad", "ipod", "android", "mobile", "phone", "tablet"];
    static SEARCH: OnceLock<Option<AhoCorasick>> = OnceLock::new();
    let search = SEARCH.get_or_init(|| {
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostFirst);
        builder.build(WORDS).ok()
    });
    let Some(search) = search else { return "desktop" };
    let mut found = "desktop";
    for word in search.find_iter(agent) {
        match word.pattern().as_usize() {
            0..=2 => return "ios",
            3 => found = "android",
            _ if found == "desktop" => found = "mobile",
            _ => {}
        }
    }
    found
}

/// A partner's day of UTC in a program: program, partner, number of the day.
pub type PartnerDay = (u64, u64, u64);

/// Sums by cell, in the order in which the cells came up.
#[derive(Debug, Default)]
pub struct ClickCells {
    places: HashMap<Arc<[u8]>, usize>,
    sums: Vec<(Arc<[u8]>, Sums)>,
    key: Writer,
}

impl ClickCells {
    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Adds `count` clicks that stand alike; it may be 0, which only names the cell, or below.
    pub fn add(&mut self, cell: &Cell<'_>, standing: Standing<'_>, count: i64) {
        self.add_sums(cell, &standing.sums(count));
    }

    fn add_sums(&mut self, cell: &Cell<'_>, more: &Sums) {
        self.key.bytes.clear();
        self.key.uint(cell.program);
        self.key.uint(cell.bucket);
        self.key.uint(cell.partner);
        self.key.uint(cell.link);
        self.key.str(cell.sub1);
        self.key.str(cell.country);
        self.key.str(cell.device);
        let key = std::mem::take(&mut self.key);
        if !self.add_to(&key.bytes, more) {
            self.insert(key.bytes.as_slice().into(), more);
        }
        self.key = key;
    }

    /// Adds to a cell that is there; whether it is.
    fn add_to(&mut self, key: &[u8], more: &Sums) -> bool {
        let place = self.places.get(key).and_then(|place| self.sums.get_mut(*place));
        let Some((_, sums)) = place else { return false };
        for (sum, amount) in sums.iter_mut().zip(more) {
            *sum += amount;
        }
        true
    }

    fn insert(&mut self, key: Arc<[u8]>, sums: &Sums) {
        self.places.insert(Arc::clone(&key), self.sums.len());
        self.sums.push((key, *sums));
    }

    /// Adds the cells of others that are not all zero.
    pub fn add_all(&mut self, others: &Self) {
        for (key, more) in others.changed() {
            if !self.add_to(key, more) {
                self.insert(Arc::clone(key), more);
            }
        }
    }

    /// Those that are not all zero.
    fn changed(&self) -> impl Iterator<Item = &(Arc<[u8]>, Sums)> {
        self.sums.iter().filter(|(_, sums)| sums.iter().any(|sum| *sum != 0))
    }

    fn cells<'a>(
        entries: impl Iterator<Item = &'a (Arc<[u8]>, Sums)>,
    ) -> impl Iterator<Item = (Cell<'a>, &'a Sums)> {
        let read = |(key, sums)| read_cell(&mut Reader::new(key)).ok().map(|cell| (cell, sums));
        entries.map(|(key, sums)| (&**key, sums)).filter_map(read)
    }

    /// The cells that are not all zero, by program, quarter hour, partner and so on.
    pub fn sorted(&self) -> Vec<(Cell<'_>, &Sums)> {
        let mut found: Vec<_> = Self::cells(self.changed()).collect();
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// The programs of cells that are not all zero, each with its first quarter hour.
    pub fn programs(&self) -> BTreeMap<u64, u64> {
        let mut found = BTreeMap::new();
        for (key, _) in self.changed() {
            let mut reader = Reader::new(key);
            let (Ok(program), Ok(bucket)) = (reader.uint(), reader.uint()) else { continue };
            let first = found.entry(program).or_insert(bucket);
            *first = bucket.min(*first);
        }
        found
    }

    /// The partner's day and the sub id of each cell that has one, in the order in which the cells
    /// came up.
    pub fn sub_ids(&self) -> impl Iterator<Item = (PartnerDay, &str)> {
        self.sums.iter().filter_map(|(key, _)| {
            let mut reader = Reader::new(key);
            let (program, bucket) = (reader.uint().ok()?, reader.uint().ok()?);
            let (partner, _link) = (reader.uint().ok()?, reader.uint().ok()?);
            let sub1 = reader.str().ok().filter(|sub1| !sub1.is_empty())?;
            Some(((program, partner, bucket / DAY_QUARTERS), sub1))
        })
    }

    /// Puts the cells of some sub ids into those of another, which stands for all of them.
    pub fn sum_up(&mut self, sub_ids: &HashSet<(PartnerDay, String)>, rest: &str) {
        let mut kept = Self::default();
        for (cell, sums) in Self::cells(self.sums.iter()) {
            let day = (cell.program, cell.partner, cell.bucket / DAY_QUARTERS);
            let is_kept = !sub_ids.contains(&(day, cell.sub1.to_owned()));
            let sub1 = if is_kept { cell.sub1 } else { rest };
            kept.add_sums(&Cell { sub1, ..cell }, sums);
        }
        *self = kept;
    }

    /// The cells that are not all zero as a MessagePack array of arrays: what they have in common,
    /// then their sums.
    pub fn encode(&self) -> Vec<u8> {
        let changed: Vec<_> = self.changed().collect();
        let bytes: usize = changed.iter().map(|(key, _)| key.len() + 2 * MEASURES).sum();
        let mut writer = Writer { bytes: Vec::with_capacity(bytes + 8) };
        writer.array(changed.len());
        for (key, sums) in changed {
            writer.array(FIELDS + MEASURES);
            writer.raw(key);
            for sum in sums {
                writer.int(*sum);
            }
        }
        writer.bytes
    }

    /// Adds the cells that [`ClickCells::encode`] wrote.
    ///
    /// # Errors
    /// [`Error::Frame`] when the bytes are something else.
    pub fn merge(&mut self, encoded: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(encoded);
        for _ in 0..reader.array_max(CELLS_MAX)? {
            reader.array_of(FIELDS + MEASURES)?;
            let cell = read_cell(&mut reader)?;
            let mut more = Sums::default();
            for sum in &mut more {
                *sum = reader.int()?;
            }
            self.add_sums(&cell, &more);
        }
        if reader.is_done() {
            Ok(())
        } else {
            Err(Error::Frame("trailing_bytes"))
        }
    }
}

fn read_cell<'a>(reader: &mut Reader<'a>) -> Result<Cell<'a>, Error> {
    Ok(Cell {
        program: reader.uint()?,
        bucket: reader.uint()?,
        partner: reader.uint()?,
        link: reader.uint()?,
        sub1: reader.str()?,
        country: reader.str()?,
        device: reader.str()?,
    })
}
