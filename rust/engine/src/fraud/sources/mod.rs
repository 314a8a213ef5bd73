//! Sources of clicks, and what has become of their clicks.
//!
//! A source is a partner's first sub id in a program. Clicks and the conversions credited to them
//! are counted for it, and for the partner, the program and the brand it is a part of, which are
//! its measure. What is credited counts from when it is known, for the click's day.

mod judge;
pub mod math;
pub mod tally;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::fraud::rules::Ruleset;
use crate::fraud::score::Findings;
use crate::fraud::signals::{Signal, Stage, ONE};
use crate::identity::digest::plain_digest;
use crate::limits::{SOURCES_MAX, SOURCE_RECENT_AGE_MAX_MS, SOURCE_RECENT_MAX, SOURCE_SUBS_MAX};
use crate::state::clicks::Click;
use crate::state::cow::{mix, CowKey, CowMap};
use crate::Id;
use judge::Counts;
pub use tally::{Event, Part, Tally, Timing, Timings, Totals};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl CowKey for Level {
    fn spread(&self) -> u64 {
        let mut bytes = [0; 16];
        let (low, high) = (self.program.to_le_bytes(), self.partner.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(low.into_iter().chain(high)) {
            *to = from;
        }
        mix(&bytes, u64::from(self.sub))
    }
}

/// What is kept of a level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) tally: Tally,
    /// Of a source its newest clicks that count, the oldest first.
    pub(crate) recent: VecDeque<(u64, Id)>,
    /// The severities it was last found to have, in quarters, four bits for each of its signals.
    pub(crate) judged: u32,
    /// The newest part of a day in its brand when it was.
    pub(crate) judged_at: Part,
}

impl Source {
    fn newest(&self) -> Part {
        self.tally.newest
    }

    /// Whether it was last found to have a severity.
    fn is_judged(&self, signal: Signal) -> bool {
        let place = of_sources().position(|other| other == signal).unwrap_or_default();
        (self.judged >> (4 * place)) & 15 != 0
    }
}

/// The signals of sources.
fn of_sources() -> impl Iterator<Item = Signal> {
    Signal::ALL.iter().copied().filter(|signal| signal.line().stage == Stage::Source)
}

/// The sources of a brand.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    entries: CowMap<Level, Source>,
    /// Everything but the brand by when it was last touched.
    by_age: BTreeSet<(Part, Level)>,
    /// Of each partner its sources, by when they were last touched.
    of_partner: BTreeMap<(u64, u64), BTreeSet<(Part, u32)>>,
    /// Sources that the event being applied has touched.
    touched: BTreeSet<SourceKey>,
}

impl Sources {
    /// Rebuilds what follows from what a snapshot holds.
    pub(crate) fn from_entries(entries: CowMap<Level, Source>) -> Self {
        let mut sources = Self::default();
        for (level, source) in entries.sorted() {
            sources.index(*level, source.tally.newest);
        }
        Self { entries, ..sources }
    }

    /// What a snapshot takes.
    pub(crate) fn entries(&self) -> &CowMap<Level, Source> {
        &self.entries
    }

    /// How many sources, partners and programs are counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts a click: one that counts, is no test, and is neither filtered nor rejected.
    pub fn note_click(&mut self, source: SourceKey, click_id: Id, touch_ms: u64) {
        self.note(source, touch_ms, Event::Click, true);
        let [own, ..] = Level::chain(source);
        let Some(kept) = self.entries.get_mut(&own) else { return };
        let click = (touch_ms, click_id);
        let place = kept.recent.partition_point(|other| *other < click);
        if kept.recent.get(place) == Some(&click) {
            return;
        }
        kept.recent.insert(place, click);
        let newest_ms = kept.recent.back().map_or(0, |(newest_ms, _)| *newest_ms);
        let is_old = |(ms, _): &(u64, Id)| ms.saturating_add(SOURCE_RECENT_AGE_MAX_MS) <= newest_ms;
        while kept.recent.len() > SOURCE_RECENT_MAX || kept.recent.front().is_some_and(is_old) {
            kept.recent.pop_front();
        }
    }

    /// Takes a click back that no longer counts.
    pub fn drop_click(&mut self, source: SourceKey, click_id: Id, touch_ms: u64) {
        self.note(source, touch_ms, Event::Click, false);
        self.forget_click(source, &click_id);
    }

    /// Forgets which click one was; that it was counts on.
    pub fn forget_click(&mut self, source: SourceKey, click_id: &Id) {
        let [own, ..] = Level::chain(source);
        if let Some(kept) = self.entries.get_mut(&own) {
            kept.recent.retain(|(_, other)| other != click_id);
        }
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
        let before = self.entries.get(&Level::BRAND).map_or(Part::default(), Source::newest);
        let [own, ..] = Level::chain(source);
        for level in Level::chain(source) {
            self.note_at(level, part, event, is_in);
        }
        // A click that may yet convert lowers a rate that was too high, and does nothing else.
        let is_young_click = is_in && event == Event::Click && part.is_young(before);
        let is_settled = self.entries.get(&own).is_some_and(|kept| {
            kept.judged_at == before.max(part) && !kept.is_judged(Signal::RateTooHigh)
        });
        if !is_young_click || !is_settled {
            self.touched.insert(source);
        }
    }

    fn note_at(&mut self, level: Level, part: Part, event: Event, is_in: bool) {
        if let Some(kept) = self.entries.get_mut(&level) {
            let before = kept.newest();
            kept.tally.note(part, event, is_in);
            let after = kept.newest();
            if before != after {
                self.unindex(level, before);
                self.index(level, after);
            }
        } else if is_in {
            let mut new = Source::default();
            new.tally.note(part, event, is_in);
            self.index(level, new.newest());
            self.entries.insert(level, new);
            self.make_room(level);
        }
    }

    /// At a bound the one that was touched longest ago goes; of a partner's sources one of its own.
    fn make_room(&mut self, level: Level) {
        let of_partner = self.of_partner.get(&(level.program, level.partner));
        let oldest = of_partner.filter(|subs| subs.len() > SOURCE_SUBS_MAX);
        if let Some((part, sub)) = oldest.and_then(BTreeSet::first).copied() {
            self.forget(Level { sub, ..level }, part);
        }
        if self.by_age.len() > SOURCES_MAX {
            if let Some((part, oldest)) = self.by_age.first().copied() {
                self.forget(oldest, part);
            }
        }
    }

    fn forget(&mut self, level: Level, newest: Part) {
        self.entries.remove(&level);
        self.unindex(level, newest);
    }

    fn index(&mut self, level: Level, newest: Part) {
        if level == Level::BRAND {
            return;
        }
        self.by_age.insert((newest, level));
        if level.is_source() {
            let subs = self.of_partner.entry((level.program, level.partner)).or_default();
            subs.insert((newest, level.sub));
        }
    }

    fn unindex(&mut self, level: Level, newest: Part) {
        self.by_age.remove(&(newest, level));
        let partner = (level.program, level.partner);
        if let Some(subs) = self.of_partner.get_mut(&partner) {
            subs.remove(&(newest, level.sub));
            if subs.is_empty() {
                self.of_partner.remove(&partner);
            }
        }
    }

    /// Adds what is known of a source to the findings of a click of it, and its part of the
    /// leaning.
    pub fn add_findings(&self, source: SourceKey, rules: &Ruleset, out: &mut Findings) {
        let none = Tally::default();
        let tally = |level: Level| self.entries.get(&level).map_or(&none, |kept| &kept.tally);
        let [source, partner, program, brand] = Level::chain(source).map(tally);
        let now = brand.newest;
        judge::add_findings(&Counts { now, source, partner, program, brand }, rules, out);
    }

    /// The newest clicks of a source that count, the oldest first.
    pub fn recent(&self, source: SourceKey) -> Vec<Id> {
        let [own, ..] = Level::chain(source);
        let kept = self.entries.get(&own);
        let recent = kept.into_iter().flat_map(|kept| &kept.recent);
        recent.map(|(_, click_id)| *click_id).collect()
    }

    /// The sources that the event being applied has touched; there is none from then on.
    pub fn take_touched(&mut self) -> BTreeSet<SourceKey> {
        std::mem::take(&mut self.touched)
    }

    /// Of a source the signal whose severity has changed since this was last asked, if any did.
    pub fn turned(&mut self, source: SourceKey, rules: &Ruleset) -> Option<Signal> {
        let mut found = Findings::new(rules);
        self.add_findings(source, rules, &mut found);
        let [own, ..] = Level::chain(source);
        let now = self.entries.get(&Level::BRAND)?.newest();
        let kept = self.entries.get(&own)?;
        let (mut judged, mut turned) = (0, None);
        for (signal, place) in of_sources().zip(0..) {
            let finding = found.list.iter().find(|finding| finding.signal == signal);
            let quarters = finding.map_or(0, |finding| finding.severity / (ONE / 4));
            judged |= quarters << (4 * place);
            if (kept.judged >> (4 * place)) & 15 != quarters {
                turned = turned.or(Some(signal));
            }
        }
        if turned.is_some() || kept.judged_at != now {
            let kept = self.entries.get_mut(&own)?;
            (kept.judged, kept.judged_at) = (judged, now);
        }
        turned
    }
}
