//! Sources of clicks, and what has become of their clicks.
//!
//! A source is a partner's first sub id in a program. Clicks and the conversions credited to them
//! are counted for it, and for the partner, the program and the brand it is a part of, which are
//! its measure. What is credited counts from when it is known, for the click's day.

mod judge;
pub mod math;
pub(crate) mod rows;
mod sweeps;
pub mod tally;

use std::collections::{BTreeMap, BTreeSet};

use crate::fraud::rules::Ruleset;
use crate::fraud::signals::Signal;
use crate::fraud::state::fifo::{Fifo, NONE};
use crate::identity::digest::plain_digest;
use crate::limits::{SOURCES_MAX, SOURCE_SUBS_MAX, SPOOL_AGE_MAX_MS};
use crate::state::arena::Arena;
use crate::state::clicks::Click;
use crate::state::cow::mix;
use crate::state::id_index::IdIndex;
use judge::Counts;
pub use judge::Judgement;
pub(crate) use rows::Said;
use rows::{Source, SourceClick};
pub(crate) use sweeps::Due;
pub use tally::{Event, Part, Tally, Timing, Timings, Totals};

/// Parts of a day for which events may be held up.
const PARTS_LATE: u32 = Part::count(SPOOL_AGE_MAX_MS);
/// A number that no program and no partner has, for what covers all of them.
const ALL: u64 = u64::MAX;
/// A sub id's digest that stands for all of them.
const ALL_SUBS: u32 = u32::MAX;

/// A source: a partner's first sub id in a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceKey {
    /// The program's number.
    pub program: u64,
    /// The partner's number.
    pub partner: u64,
    /// 16 bits of the digest of the first sub id; 0 without one.
    pub sub: u16,
}

impl SourceKey {
    /// The source of a click with a first sub id.
    pub fn new(program: u64, partner: u64, sub1: Option<&str>) -> Self {
        Self { program, partner, sub: sub_of(sub1) }
    }

    /// The source of a click.
    pub fn of(click: &Click) -> Self {
        Self { program: click.program, partner: click.partner, sub: click.sub }
    }
}

/// What a first sub id is told apart by: 16 bits of its digest, 0 without one. It has to fit in
/// the row of every click; two of one partner's hundred sub ids meet once in thirteen partners,
/// and are then counted as one.
fn sub_of(sub: Option<&str>) -> u16 {
    let Some(sub) = sub.filter(|sub| !sub.is_empty()) else { return 0 };
    let [low, high, ..] = plain_digest(&[sub.as_bytes()]);
    u16::from_le_bytes([low, high]).max(1)
}

/// What is counted: a source, or all of a partner, a program or the brand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level {
    pub(crate) program: u64,
    pub(crate) partner: u64,
    pub(crate) sub: u32,
}

impl Level {
    const BRAND: Self = Self { program: ALL, partner: ALL, sub: ALL_SUBS };

    /// A source, then what it is a part of.
    fn chain(source: SourceKey) -> [Self; 4] {
        let SourceKey { program, partner, sub } = source;
        let own = Self { program, partner, sub: u32::from(sub) };
        let of_partner = Self { sub: ALL_SUBS, ..own };
        [own, of_partner, Self { partner: ALL, ..of_partner }, Self::BRAND]
    }

    fn is_source(self) -> bool {
        self.sub != ALL_SUBS
    }
}

/// What a snapshot takes of the sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceStore {
    pub(crate) index: IdIndex,
    pub(crate) rows: Arena<Source>,
    /// Clicks of all sources, in the order they came.
    pub(crate) clicks: Fifo<SourceClick>,
    /// Sources whose clicks are being scored again.
    pub(crate) swept: Fifo<SourceKey>,
    /// Engine time and the brand's newest part of a day when all sources were last to be judged.
    pub(crate) round: (Part, Part),
    /// The level that was judged last in that round; none when it is over.
    pub(crate) judged_to: Option<(Part, Level)>,
}

impl SourceStore {
    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.rows.bytes() + self.clicks.bytes() + self.swept.bytes()
    }
}

/// The sources of a brand.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    store: SourceStore,
    /// Everything but the brand by when it was last touched.
    by_age: BTreeSet<(Part, Level)>,
    /// Of each partner its sources, by when they were last touched.
    of_partner: BTreeMap<(u64, u64), BTreeSet<(Part, u32)>>,
    /// Sources that the event being applied has touched.
    touched: BTreeSet<SourceKey>,
}

impl Sources {
    /// Rebuilds what follows from what a snapshot holds.
    pub(crate) fn from_store(store: SourceStore) -> Self {
        let mut sources = Self::default();
        for row in store.rows.rows.iter().filter(|row| row.is_used()) {
            sources.put_by_age(row.level, row.newest());
        }
        Self { store, ..sources }
    }

    pub(crate) fn store(&self) -> &SourceStore {
        &self.store
    }

    /// How many sources, partners and programs are counted, and the brand.
    pub fn len(&self) -> usize {
        self.store.index.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory taken.
    pub fn bytes(&self) -> usize {
        /// An entry in each of both orders of age.
        const ORDER_ENTRY_BYTES: usize = 64;
        self.store.bytes() + self.by_age.len() * ORDER_ENTRY_BYTES
    }

    fn find(&self, level: Level) -> Option<u32> {
        let is_it = |row| self.store.rows.get(row).is_some_and(|kept| kept.level == level);
        self.store.index.find(level.spread(), is_it)
    }

    fn source(&self, source: SourceKey) -> Option<&Source> {
        let [own, ..] = Level::chain(source);
        self.store.rows.get(self.find(own)?)
    }

    fn source_mut(&mut self, source: SourceKey) -> Option<&mut Source> {
        let [own, ..] = Level::chain(source);
        let row = self.find(own)?;
        self.store.rows.get_mut(row)
    }

    /// Counts a click: one that counts, is no test, and is not refused by evidence of its own.
    pub fn note_click(&mut self, source: SourceKey, touch_ms: u64) {
        self.note(source, touch_ms, Event::Click, true);
    }

    /// Takes a click back that no longer counts.
    pub fn drop_click(&mut self, source: SourceKey, touch_ms: u64) {
        self.note(source, touch_ms, Event::Click, false);
    }

    /// Counts a conversion that is credited to a click of the source, or takes it back.
    pub fn note_conversion(
        &mut self,
        source: SourceKey,
        touch_ms: u64,
        timing: Option<Timing>,
        is_in: bool,
    ) {
        self.note(source, touch_ms, Event::Conversion(timing), is_in);
    }

    fn note(&mut self, source: SourceKey, touch_ms: u64, event: Event, is_in: bool) {
        let part = Part::of(touch_ms);
        let before = self.now();
        let levels = Level::chain(source);
        let rows = self.rows_of(levels, is_in);
        for row in rows {
            self.note_at(row, part, event, is_in);
        }
        for level in levels {
            self.make_room(level);
        }
        // A click that may yet convert lowers a rate that was too high, and else moves what ranks
        // and decides nothing: it is looked at now and then.
        let is_young_click = is_in && event == Event::Click && part.is_young(before);
        let [own, ..] = rows;
        let is_settled = self.store.rows.get(own).is_some_and(|kept| {
            kept.judged_at == before.max(part)
                && !kept.judged.is_found(Signal::RateTooHigh)
                && !is_time_to_judge(&kept.tally)
        });
        if !is_young_click || !is_settled {
            self.touched.insert(source);
        }
    }

    /// The rows of a source and of what it is a part of; made if they are to be.
    fn rows_of(&mut self, levels: [Level; 4], is_made: bool) -> [u32; 4] {
        let [own, upper @ ..] = levels;
        let own_row = self.enter(own, is_made);
        let known = self.store.rows.get(own_row).map_or([NONE; 3], |kept| kept.parents);
        let mut parents = known;
        for (level, row) in upper.into_iter().zip(&mut parents) {
            if self.store.rows.get(*row).is_none_or(|kept| kept.level != level) {
                *row = self.enter(level, is_made);
            }
        }
        if parents != known {
            if let Some(kept) = self.store.rows.get_mut(own_row) {
                kept.parents = parents;
            }
        }
        let [partner, program, brand] = parents;
        [own_row, partner, program, brand]
    }

    /// The row of a level; [`NONE`] if there is none and none is to be made.
    fn enter(&mut self, level: Level, is_made: bool) -> u32 {
        if let Some(row) = self.find(level) {
            return row;
        }
        if !is_made {
            return NONE;
        }
        let row = self.store.rows.insert(Source { level, ..Source::default() });
        let rows = &self.store.rows;
        let hash_of = |row| rows.get(row).map_or(0, |kept| kept.level.spread());
        self.store.index.insert(level.spread(), row, hash_of);
        self.put_by_age(level, Part::default());
        row
    }

    fn note_at(&mut self, row: u32, part: Part, event: Event, is_in: bool) {
        let Some(kept) = self.store.rows.get_mut(row) else { return };
        let (level, before) = (kept.level, kept.newest());
        kept.tally.note(part, event, is_in);
        let after = kept.newest();
        if before != after {
            self.take_by_age(level, before);
            self.put_by_age(level, after);
        }
    }

    /// At a bound the one that was touched longest ago goes; of a partner's sources one of its own.
    fn make_room(&mut self, level: Level) {
        if level.is_source() {
            let of_partner = self.of_partner.get(&(level.program, level.partner));
            let oldest = of_partner.filter(|subs| subs.len() > SOURCE_SUBS_MAX);
            if let Some((part, sub)) = oldest.and_then(BTreeSet::first).copied() {
                self.forget(Level { sub, ..level }, part);
            }
        }
        if self.by_age.len() > SOURCES_MAX {
            if let Some((part, oldest)) = self.by_age.first().copied() {
                self.forget(oldest, part);
            }
        }
    }

    fn forget(&mut self, level: Level, newest: Part) {
        if let Some(row) = self.find(level) {
            self.store.index.remove(level.spread(), row);
            self.store.rows.remove(row);
        }
        self.take_by_age(level, newest);
    }

    fn put_by_age(&mut self, level: Level, newest: Part) {
        if level == Level::BRAND {
            return;
        }
        self.by_age.insert((newest, level));
        if level.is_source() {
            let subs = self.of_partner.entry((level.program, level.partner)).or_default();
            subs.insert((newest, level.sub));
        }
    }

    fn take_by_age(&mut self, level: Level, newest: Part) {
        self.by_age.remove(&(newest, level));
        if !level.is_source() {
            return;
        }
        let partner = (level.program, level.partner);
        if let Some(subs) = self.of_partner.get_mut(&partner) {
            subs.remove(&(newest, level.sub));
            if subs.is_empty() {
                self.of_partner.remove(&partner);
            }
        }
    }

    /// The newest part of a day that anything of the brand is counted in.
    fn newest(&self) -> Part {
        let brand = self.find(Level::BRAND).and_then(|row| self.store.rows.get(row));
        brand.map_or(Part::default(), Source::newest)
    }

    /// When counts are looked at: in the newest part of a day that anything is counted in, or, when
    /// nothing more came, in the one of which nothing late can come. So clicks of a brand that has
    /// gone quiet are no longer young a day later, and one whose events are held up is not judged
    /// for what has not arrived.
    fn now(&self) -> Part {
        let (engine_time, _) = self.store.round;
        self.newest().max(Part(engine_time.0.saturating_sub(PARTS_LATE)))
    }

    /// What the counts say of a source now.
    pub fn judge(&self, source: SourceKey, rules: &Ruleset) -> Judgement {
        let none = Tally::default();
        let tally = |level| {
            let kept = self.find(level).and_then(|row| self.store.rows.get(row));
            kept.map_or(&none, |kept| &kept.tally)
        };
        let [source, partner, program, brand] = Level::chain(source).map(tally);
        let now = self.now();
        judge::judge(&Counts { now, source, partner, program, brand }, rules)
    }

    /// What a source was found to be when it was last judged, for a click of it. One that never
    /// was, or was by other rules, is judged now.
    pub(crate) fn known(&mut self, source: SourceKey, rules: &Ruleset) -> Judgement {
        if let Some(kept) = self.source(source) {
            if kept.judged_by == rules.short_hash() {
                return kept.judged;
            }
            self.touched.insert(source);
        }
        self.judge(source, rules)
    }

    /// Judges a source anew; the signal whose severity is not what it was, if there is one.
    pub(crate) fn turn(&mut self, source: SourceKey, rules: &Ruleset) -> Option<Signal> {
        let judged = self.judge(source, rules);
        let now = self.now();
        let kept = self.source_mut(source)?;
        let turned = judged.turned_from(&kept.judged);
        (kept.judged, kept.judged_at, kept.judged_by) = (judged, now, rules.short_hash());
        turned
    }
}

impl Level {
    /// Bits as good as random.
    fn spread(&self) -> u64 {
        let mut bytes = [0; 16];
        let (low, high) = (self.program.to_le_bytes(), self.partner.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(low.into_iter().chain(high)) {
            *to = from;
        }
        mix(&bytes, u64::from(self.sub))
    }
}

/// Whether a source with so many clicks that may yet convert is looked at once more: with every
/// one while they are few, then some four times for each time that they double.
fn is_time_to_judge(tally: &Tally) -> bool {
    let [newest, before] = tally.young;
    let clicks = newest.clicks.saturating_add(before.clicks);
    clicks.is_multiple_of((clicks / 8).next_power_of_two())
}
