//! What is kept of a source, and of each of its clicks.

use super::judge::{Judgement, SIGNALS};
use super::tally::{Epoch, Pair, Part, Tally};
use super::{Level, SourceKey};
use crate::fraud::state::fifo::NONE;
use crate::fraud::state::NO_LISTS;
use crate::fraud::{Findings, Ruleset, Signal};
use crate::state::chunks::{Fields, Row};
use crate::Id;

/// Why the clicks of a source are being scored again, and how far that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Whether the source is among those whose clicks are.
    pub(crate) is_on: bool,
    /// Whether it has changed again since, so that all are once more.
    pub(crate) is_due_again: bool,
    /// The click that is next, by its number among those of sources.
    pub(crate) at: u32,
    /// The number of the signal that changed.
    pub(crate) signal: u8,
    /// The event that changed it.
    pub(crate) event_id: Id,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { is_on: false, is_due_again: false, at: NONE, signal: 0, event_id: [0; 16] }
    }
}

/// What is kept of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// What it is; the default of a row that is free.
    pub(crate) level: Level,
    /// The rows of what a source is a part of, where they were last.
    pub(crate) parents: [u32; 3],
    /// Of a source its newest click, by its number among those of sources.
    pub(crate) newest_click: u32,
    pub(crate) sweep: Sweep,
    pub(crate) tally: Tally,
    /// What it was last found to be.
    pub(crate) judged: Judgement,
    /// The newest part of a day in its brand when it was.
    pub(crate) judged_at: Part,
    /// By which rules: the beginning of their hash.
    pub(crate) judged_by: u64,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            level: Level::default(),
            parents: [NONE; 3],
            newest_click: NONE,
            sweep: Sweep::default(),
            tally: Tally::default(),
            judged: Judgement::default(),
            judged_at: Part::default(),
            judged_by: 0,
        }
    }
}

impl Source {
    pub(crate) fn is_used(&self) -> bool {
        self.level != Level::default()
    }

    pub(crate) fn newest(&self) -> Part {
        self.tally.newest
    }
}

const PAIR_BYTES: usize = 2 * 8;
const EPOCH_BYTES: usize = PAIR_BYTES + 4 * (super::tally::TIMING_BUCKETS + 1);
const TALLY_BYTES: usize =
    4 + PAIR_BYTES * super::tally::YOUNG_PARTS + EPOCH_BYTES * crate::limits::SOURCE_EPOCHS;
const SWEEP_BYTES: usize = 2 + 4 + 1 + 16;
const JUDGED_BYTES: usize = 4 + 1 + 2 + 8 * SIGNALS.len();

impl Row for Source {
    const BYTES: usize = 20 + 3 * 4 + 4 + SWEEP_BYTES + TALLY_BYTES + JUDGED_BYTES + 4 + 8;

    fn write(&self, out: &mut Vec<u8>) {
        self.level.write(out);
        for number in self.parents.iter().chain([&self.newest_click]) {
            number.write(out);
        }
        let Sweep { is_on, is_due_again, at, signal, event_id } = self.sweep;
        out.extend_from_slice(&[is_on, is_due_again].map(u8::from));
        at.write(out);
        out.push(signal);
        out.extend_from_slice(&event_id);
        write_tally(&self.tally, out);
        let Judgement { quarters, absent, leaning, observed } = self.judged;
        quarters.write(out);
        out.push(absent);
        out.extend_from_slice(&leaning.to_le_bytes());
        for number in observed {
            number.write(out);
        }
        self.judged_at.0.write(out);
        self.judged_by.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let level = Level::read(&fields.take::<{ Level::BYTES }>()?)?;
        let parents = [fields.u32()?, fields.u32()?, fields.u32()?];
        let newest_click = fields.u32()?;
        let [is_on @ 0..=1, is_due_again @ 0..=1] = fields.take()? else { return None };
        let (is_on, is_due_again) = (is_on == 1, is_due_again == 1);
        let at = fields.u32()?;
        let [signal] = fields.take()?;
        let sweep = Sweep { is_on, is_due_again, at, signal, event_id: fields.take()? };
        let tally = read_tally(&mut fields)?;
        let quarters = fields.u32()?;
        let [absent] = fields.take()?;
        let leaning = fields.u16()?;
        let mut observed = [0; SIGNALS.len()];
        for number in &mut observed {
            *number = fields.u64()?;
        }
        let judged = Judgement { quarters, absent, leaning, observed };
        let (judged_at, judged_by) = (Part(fields.u32()?), fields.u64()?);
        Some(Self { level, parents, newest_click, sweep, tally, judged, judged_at, judged_by })
    }
}

impl Row for Level {
    const BYTES: usize = 20;

    fn write(&self, out: &mut Vec<u8>) {
        self.program.write(out);
        self.partner.write(out);
        self.sub.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { program: fields.u64()?, partner: fields.u64()?, sub: fields.u32()? })
    }
}

impl Row for SourceKey {
    const BYTES: usize = 18;

    fn write(&self, out: &mut Vec<u8>) {
        self.program.write(out);
        self.partner.write(out);
        out.extend_from_slice(&self.sub.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { program: fields.u64()?, partner: fields.u64()?, sub: fields.u16()? })
    }
}

fn write_tally(tally: &Tally, out: &mut Vec<u8>) {
    tally.newest.0.write(out);
    let settled = tally.epochs.iter().map(|epoch| &epoch.settled);
    for pair in tally.young.iter().chain(settled) {
        pair.clicks.write(out);
        pair.conversions.write(out);
    }
    for epoch in &tally.epochs {
        for count in epoch.timing.iter().chain([&epoch.over_hour]) {
            count.write(out);
        }
    }
}

fn read_tally(fields: &mut Fields<'_>) -> Option<Tally> {
    let mut tally = Tally { newest: Part(fields.u32()?), ..Tally::default() };
    let settled = tally.epochs.iter_mut().map(|epoch| &mut epoch.settled);
    for pair in tally.young.iter_mut().chain(settled) {
        *pair = Pair { clicks: fields.u64()?, conversions: fields.u64()? };
    }
    for epoch in &mut tally.epochs {
        let Epoch { timing, over_hour, .. } = epoch;
        for count in timing.iter_mut().chain([over_hour]) {
            *count = fields.u32()?;
        }
    }
    Some(tally)
}

/// A click of a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceClick {
    /// The click's row; another click may be in it by now.
    pub(crate) click: u32,
    /// The click of the source that came before it, by its number among those of sources.
    pub(crate) earlier: u32,
    /// Second of engine time until which it may be scored again.
    pub(crate) until_s: u32,
    pub(crate) said: Said,
}

/// What was said of a click when it came, its source apart, that findings do not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    /// Signals that could not be looked at.
    pub(crate) not_evaluated: u64,
    /// What ranks and decides nothing.
    pub(crate) leaning: u16,
    /// Which version of the address lists it was looked up in.
    pub(crate) lists: u16,
}

impl Default for Said {
    fn default() -> Self {
        Self { not_evaluated: 0, leaning: 0, lists: NO_LISTS }
    }
}

impl Said {
    /// The same as findings, under rules.
    pub(crate) fn findings(&self, rules: &Ruleset) -> Findings {
        let mut findings = Findings::new(rules);
        findings.not_evaluated = self.not_evaluated;
        findings.lean(u32::from(self.leaning));
        findings
    }
}

impl Default for SourceClick {
    fn default() -> Self {
        Self { click: NONE, earlier: NONE, until_s: 0, said: Said::default() }
    }
}

impl Row for SourceClick {
    const BYTES: usize = 24;

    fn write(&self, out: &mut Vec<u8>) {
        let Said { not_evaluated, leaning, lists } = self.said;
        for number in [self.click, self.earlier, self.until_s] {
            number.write(out);
        }
        not_evaluated.write(out);
        out.extend_from_slice(&leaning.to_le_bytes());
        out.extend_from_slice(&lists.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (click, earlier, until_s) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (not_evaluated, leaning) = (fields.u64()?, fields.u16()?);
        let said = Said { not_evaluated, leaning, lists: fields.u16()? };
        Some(Self { click, earlier, until_s, said })
    }
}

impl Source {
    /// The signal for which its clicks are scored again.
    pub(crate) fn sweep_signal(&self) -> Option<Signal> {
        Signal::from_number(u64::from(self.sweep.signal))
    }
}
