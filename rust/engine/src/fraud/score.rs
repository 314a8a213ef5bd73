//! From findings to a score: the strongest of each family, combined as chances that are
//! independent, and whose part of the score each signal is.
//!
//! The result depends on what was found alone, never on the order in which it was.

use std::cmp::Reverse;

use super::rules::Ruleset;
use super::signals::{Family, Hardness, Mode, Signal, Stage, ONE};
use super::{Finding, Verdict};
use crate::msgpack::Writer;

/// Weight times severity of a signal that is certain.
const CERTAIN: u64 = 100 * ONE as u64;
/// One, in the fixed point of the combination.
const UNIT_BITS: u32 = 60;
const UNIT: u64 = 1 << UNIT_BITS;
/// The chance that what is known of a source alone can give, in hundredths.
const SOURCE_ALONE_MAX: u64 = 60;
/// The weight of click evidence from which on that bound does not hold, in hundredths.
const CLICK_EVIDENCE_MIN: u64 = 30;
/// The score of a hit that needs no other.
const SCORE_MAX: u8 = 100;
/// Parts of a whole in the raw score.
const WHOLE_PPM: u64 = 1_000_000;
/// The most that leanings move the raw score: less than any point of the score.
pub const LEANING_MAX_PPM: u32 = 4_999;
/// What is passed on of a click's findings to its conversion, in fifths.
const INHERITED_FIFTHS: u32 = 4;
/// Families and one more place for each of their numbers.
const FAMILIES: usize = 8;
/// Bytes that the outcome of a score takes, about: all of them apart from names, and each code.
const HEAD_BYTES: usize = 40;
const CODE_BYTES: usize = 24;
/// Binary places of a logarithm.
const LOG_BITS: u32 = 16;

/// What was found of one click or conversion, before it is weighed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What was found, each signal once, and once more if it is inherited too.
    pub list: Vec<Finding>,
    /// Bits of the signals that could not be looked at because something was missing.
    pub not_evaluated: u64,
    /// What is too little to count, in parts per million: it ranks and decides nothing.
    pub leaning: u32,
    off: u64,
}

impl Findings {
    /// Nothing found yet, under rules.
    pub fn new(rules: &Ruleset) -> Self {
        Self { off: rules.off(), ..Self::default() }
    }

    /// Whether a signal is to be looked at.
    pub fn is_on(&self, signal: Signal) -> bool {
        self.off & signal.bit() == 0
    }

    /// Adds what a signal says, unless it is off; of two the graver stays.
    pub fn add(&mut self, signal: Signal, severity: u32, observed: u64, threshold: u64) {
        let severity = severity.min(ONE);
        self.put(Finding { signal, severity, observed, threshold, is_inherited: false });
    }

    /// Adds that something is so, with a severity.
    pub fn flag(&mut self, signal: Signal, severity: u32) {
        self.add(signal, severity, 1, 1);
    }

    /// Adds an observation if it has reached the rule's ramp.
    pub fn observe(&mut self, rules: &Ruleset, signal: Signal, observed: u64) {
        let severity = rules.severity(signal, observed);
        if severity > 0 {
            self.add(signal, severity, observed, rules.rule(signal).low);
        }
    }

    /// Adds a finding of the credited click, at four fifths of its severity.
    pub fn inherit(&mut self, finding: &Finding) {
        let severity =
            finding.severity / 5 * INHERITED_FIFTHS + finding.severity % 5 * INHERITED_FIFTHS / 5;
        self.put(Finding { severity, is_inherited: true, ..*finding });
    }

    /// Notes that what a signal looks at was not there.
    pub fn absent(&mut self, signal: Signal) {
        if self.is_on(signal) {
            self.not_evaluated |= signal.bit();
        }
    }

    /// Adds to what ranks and decides nothing.
    pub fn lean(&mut self, ppm: u32) {
        self.leaning = self.leaning.saturating_add(ppm).min(LEANING_MAX_PPM);
    }

    fn put(&mut self, new: Finding) {
        if !self.is_on(new.signal) {
            return;
        }
        let is_same =
            |old: &&mut Finding| (old.signal, old.is_inherited) == (new.signal, new.is_inherited);
        match self.list.iter_mut().find(is_same) {
            // Of equals the larger observation stays, so that the order does not matter.
            Some(old) => {
                let rank = |of: &Finding| (of.severity, of.observed, of.threshold);
                if rank(&new) > rank(old) {
                    *old = new;
                }
            }
            None => self.list.push(new),
        }
    }
}

/// A finding, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// What was found.
    pub finding: Finding,
    /// What the rule is to do.
    pub mode: Mode,
    /// The rule's weight.
    pub weight: u8,
    /// Its part of the score.
    pub points: u8,
}

impl Code {
    /// Whether it counts at all.
    fn counts(&self) -> bool {
        matches!(self.mode, Mode::Score | Mode::Enforce)
    }

    /// The chance it stands for, of [`CERTAIN`].
    fn value(&self) -> u64 {
        u64::from(self.weight.min(100)) * u64::from(self.finding.severity.min(ONE))
    }

    /// What it does by itself, whatever the score. A click's finding does not judge its conversion.
    fn verdict(&self) -> Option<Verdict> {
        let Finding { signal, severity, is_inherited, .. } = self.finding;
        if is_inherited || severity == 0 || !self.counts() {
            return None;
        }
        match signal.line().hardness {
            Hardness::Filters => Some(Verdict::Filtered),
            Hardness::Rejects if severity >= ONE => Some(Verdict::Reject),
            _ if self.mode == Mode::Enforce && severity >= ONE => Some(Verdict::Reject),
            _ => None,
        }
    }

    fn place(&self) -> (Reverse<u8>, Signal, bool) {
        (Reverse(self.points), self.finding.signal, self.finding.is_inherited)
    }
}

/// What came of scoring one click or conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scored {
    /// The verdict.
    pub verdict: Verdict,
    /// 0 to 100.
    pub score: u8,
    /// The score in parts per million, and what leans below every threshold; it ranks.
    pub raw_ppm: u32,
    /// What was found: by points, the most first, then by number, then inherited last.
    pub codes: Vec<Code>,
}

/// Weighs what was found.
pub fn combine(findings: &Findings, rules: &Ruleset) -> Scored {
    let leaning = findings.leaning.min(LEANING_MAX_PPM);
    if findings.list.is_empty() {
        return Scored { raw_ppm: leaning, ..Scored::default() };
    }
    let mut codes: Vec<Code> =
        findings.list.iter().map(|finding| code_of(finding, rules)).collect();
    codes.sort_unstable_by_key(Code::place);
    let hard = codes.iter().filter_map(Code::verdict).max();
    let chance = if hard.is_some() { UNIT } else { chance(&codes) };
    let score = share_of(chance, 100, 1 << (UNIT_BITS - 1));
    let score = u8::try_from(score).unwrap_or(SCORE_MAX).min(SCORE_MAX);
    let soft = if score >= rules.review_from { Verdict::Review } else { Verdict::Accept };
    let parts = if hard.is_some() { hard_parts(&codes) } else { soft_parts(&codes) };
    for (code, points) in codes.iter_mut().zip(largest_remainder(score, &parts)) {
        code.points = points;
    }
    codes.sort_unstable_by_key(Code::place);
    let raw_ppm = u32::try_from(share_of(chance, WHOLE_PPM, 0)).unwrap_or(u32::MAX);
    Scored { verdict: hard.unwrap_or(soft), score, raw_ppm: raw_ppm.saturating_add(leaning), codes }
}

fn code_of(finding: &Finding, rules: &Ruleset) -> Code {
    let rule = rules.rule(finding.signal);
    Code { finding: *finding, mode: rule.mode, weight: rule.weight, points: 0 }
}

/// `chance * whole`, with `addend` of [`UNIT`] added, floored.
fn share_of(chance: u64, whole: u64, addend: u64) -> u64 {
    let product = u128::from(chance) * u128::from(whole) + u128::from(addend);
    u64::try_from(product >> UNIT_BITS).unwrap_or(u64::MAX)
}

/// The chance that one of all is so, of [`UNIT`].
fn chance(codes: &[Code]) -> u64 {
    let all = combined(codes, |_| true);
    let others = |code: &Code| code.finding.signal.line().stage != Stage::Source;
    let strongest = codes.iter().filter(|code| code.counts() && others(code)).map(Code::value);
    if strongest.max().unwrap_or(0) >= CLICK_EVIDENCE_MIN * (CERTAIN / 100) {
        return all;
    }
    // Nobody is judged by the company of its source alone.
    let without = UNIT - combined(codes, others);
    let source_max = without - portion(without, 100 - SOURCE_ALONE_MAX, 100);
    all.min(UNIT - without + source_max)
}

/// The same of some: the strongest of each family, as if they were independent.
fn combined(codes: &[Code], is_meant: impl Fn(&Code) -> bool) -> u64 {
    let mut strongest = [0_u64; FAMILIES];
    for code in codes.iter().filter(|code| code.counts() && is_meant(code)) {
        if let Some(of_family) = strongest.get_mut(family(code) as usize) {
            *of_family = code.value().max(*of_family);
        }
    }
    let none = strongest.iter().fold(UNIT, |none, value| portion(none, CERTAIN - value, CERTAIN));
    UNIT - none
}

fn portion(of: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(of) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

fn family(code: &Code) -> Family {
    code.finding.signal.line().family
}

/// The hits that need no other share evenly.
fn hard_parts(codes: &[Code]) -> Vec<u64> {
    codes.iter().map(|code| u64::from(code.verdict().is_some())).collect()
}

/// The strongest of each family shares by the logarithm of the chance that it leaves.
fn soft_parts(codes: &[Code]) -> Vec<u64> {
    let is_beaten = |at: usize, code: &Code| {
        codes.iter().enumerate().any(|(other_at, other)| {
            let is_stronger = (other.value(), Reverse(other_at)) > (code.value(), Reverse(at));
            other.counts() && family(other) == family(code) && is_stronger
        })
    };
    let part = |(at, code): (usize, &Code)| {
        if !code.counts() || is_beaten(at, code) {
            return 0;
        }
        logarithm(portion(UNIT, CERTAIN - code.value(), CERTAIN))
    };
    codes.iter().enumerate().map(part).collect()
}

/// How often [`UNIT`] must be halved to give `value`, with [`LOG_BITS`] binary places.
fn logarithm(value: u64) -> u64 {
    let value = value.clamp(1, UNIT);
    let halvings = UNIT_BITS - value.ilog2();
    // The rest is 1 to 2: each squaring that passes 2 is one binary place.
    let mut rest = u128::from(value) << halvings;
    let mut places = 0;
    for _ in 0..LOG_BITS {
        rest = (rest * rest) >> UNIT_BITS;
        let is_past = rest >> (UNIT_BITS + 1) > 0;
        places = places << 1 | u64::from(is_past);
        rest >>= u32::from(is_past);
    }
    (u64::from(halvings) << LOG_BITS) - places
}

/// Shares out whole points by parts; what is left over goes to the largest fractions, of equals
/// to the first.
fn largest_remainder(score: u8, parts: &[u64]) -> Vec<u8> {
    let total: u64 = parts.iter().sum();
    if total == 0 {
        return vec![0; parts.len()];
    }
    let shares = parts.iter().map(|part| u64::from(score) * part);
    let mut points: Vec<u64> = shares.clone().map(|share| share / total).collect();
    let left = u64::from(score).saturating_sub(points.iter().sum());
    let mut order: Vec<(Reverse<u64>, usize)> =
        shares.enumerate().map(|(at, share)| (Reverse(share % total), at)).collect();
    order.sort_unstable();
    for (_, at) in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        if let Some(one) = points.get_mut(at) {
            *one += 1;
        }
    }
    points.into_iter().map(|one| u8::try_from(one).unwrap_or(SCORE_MAX)).collect()
}

/// The verdict but for what the source of the click is known for. What feeds back into that is
/// decided by it: no source is judged by what it was judged to be.
pub fn own_verdict(findings: &Findings, scored: &Scored, rules: &Ruleset) -> Verdict {
    let is_own = |finding: &&Finding| finding.signal.line().stage != Stage::Source;
    let own: Vec<Finding> = findings.list.iter().filter(is_own).copied().collect();
    if own.len() == findings.list.len() {
        return scored.verdict;
    }
    combine(&Findings { list: own, ..Findings::new(rules) }, rules).verdict
}

/// What stands of a score in the outcomes: `[config_hash, bots_version, lists, not_evaluated,
/// codes]`, each code `[number, is_inherited, mode, weight, severity, points, observed,
/// threshold]`.
pub fn encode(
    scored: &Scored,
    findings: &Findings,
    rules: &Ruleset,
    bots_version: Option<&str>,
    lists: Option<&str>,
) -> Vec<u8> {
    let names = bots_version.map_or(0, str::len) + lists.map_or(0, str::len);
    let size = HEAD_BYTES + names + CODE_BYTES * scored.codes.len();
    let mut out = Writer { bytes: Vec::with_capacity(size) };
    out.array(5);
    out.bin(rules.hash());
    out.optional(bots_version, Writer::str);
    out.optional(lists, Writer::str);
    let found = findings.list.iter().fold(0, |mask, finding| mask | finding.signal.bit());
    out.uint(findings.not_evaluated & !found);
    out.array(scored.codes.len());
    for Code { finding, mode, weight, points } in &scored.codes {
        out.array(8);
        out.uint(finding.signal as u64);
        out.bool(finding.is_inherited);
        out.uint(*mode as u64);
        out.uint(u64::from(*weight));
        out.uint(u64::from(finding.severity));
        out.uint(u64::from(*points));
        out.uint(finding.observed);
        out.uint(finding.threshold);
    }
    out.bytes
}
