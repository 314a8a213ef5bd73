//! What the counts of a source say of its clicks.

use super::math::{are_so_few_rare, are_so_many_rare, log2, Odds, COUNT_BITS, LOG_BITS};
use super::tally::{Pair, Part, Tally, Timings, Totals};
use crate::fraud::rules::{Rule, Ruleset};
use crate::fraud::score::Findings;
use crate::fraud::{Signal, ONE};

/// One event, in the fixed point of counts.
const COUNTED: u64 = 1 << COUNT_BITS;
/// Settled conversions of other sources below which a rate of theirs is no measure.
const BASELINE_CONVERSIONS_MIN: u64 = 20 * COUNTED;
/// The prior of a rate, as conversions expected: how many it takes to be believed.
const PRIOR_CONVERSIONS: u64 = 4 * COUNTED;
/// The same for the order of sources, which accuses nobody.
const RANK_PRIOR_CONVERSIONS: u64 = COUNTED;
/// A flood converts at less than a fifth of the others' rate.
const FLOOD_RATE_DIVISOR: u64 = 5;
/// Conversions a source must have before its rate can be too high.
const HIGH_RATE_CONVERSIONS_MIN: u64 = 50;
/// How much larger a share of late conversions must be, in parts per million.
const FLAT_SHARE_GAP_PPM: u64 = 200_000;
/// Standard deviations it must be larger by, squared.
const FLAT_DEVIATION_SQUARED: u128 = 16;
/// A spread of timings is narrow below this many percent of the others'.
const NARROW_PERCENT: u64 = 35;
/// The part of `leaning` that is the source's: the middle says that it converts as the brand does.
pub(super) const LEANING_MAX: u32 = 2560;
/// How far one doubling of the rate moves it.
const LEANING_DOUBLING: u64 = 160;
const PPM: u64 = 1_000_000;

/// The counts of a source and of all it is a part of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts<'a> {
    /// When they are looked at.
    pub(super) now: Part,
    /// The source: one sub id of a partner in a program.
    pub(super) source: &'a Tally,
    /// The partner in the program.
    pub(super) partner: &'a Tally,
    /// The program.
    pub(super) program: &'a Tally,
    /// The brand.
    pub(super) brand: &'a Tally,
}

/// One finding: severity, and what was seen; it counts from the rule's `low` on.
type Found = (u32, u64);
/// What a comparison gives: nothing to compare with, nothing found, or a finding.
type Compared = Option<Option<Found>>;

/// The signals of sources, in the order of their numbers.
pub(crate) const SIGNALS: [Signal; 5] = [
    Signal::ClickFlooding,
    Signal::FlatTiming,
    Signal::NarrowTiming,
    Signal::RateTooHigh,
    Signal::SourceQuality,
];

/// What a source was found to be; each signal by its place in [`SIGNALS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Severities in quarters, four bits each.
    pub(crate) quarters: u32,
    /// Bits of the signals that could not be looked at.
    pub(crate) absent: u8,
    /// Its part of what ranks and decides nothing.
    pub(crate) leaning: u16,
    /// What was seen, in the signals' units.
    pub(crate) observed: [u64; SIGNALS.len()],
}

impl Judgement {
    /// The severity of the signal at a place, in quarters.
    pub(crate) fn quarters_at(&self, place: u32) -> u32 {
        (self.quarters >> (4 * place)) & 15
    }

    /// Whether a signal was found.
    pub(crate) fn is_found(&self, signal: Signal) -> bool {
        let mut found = SIGNALS.into_iter().zip(0..);
        found.any(|(other, place)| other == signal && self.quarters_at(place) > 0)
    }

    /// The first signal whose severity is not that of another judgement.
    pub(crate) fn turned_from(&self, other: &Self) -> Option<Signal> {
        let mut signals = SIGNALS.into_iter().zip(0..);
        let turned = signals.find(|(_, at)| self.quarters_at(*at) != other.quarters_at(*at));
        turned.map(|(signal, _)| signal)
    }

    /// Adds it to the findings of a click of the source; `rules` are those it was made by.
    pub fn add_to(&self, rules: &Ruleset, out: &mut Findings) {
        for ((signal, observed), place) in SIGNALS.into_iter().zip(self.observed).zip(0..) {
            let severity = self.quarters_at(place) * (ONE / 4);
            if severity > 0 {
                out.add(signal, severity, observed, rules.rule(signal).low);
            }
            if self.absent >> place & 1 == 1 {
                out.absent(signal);
            }
        }
        if rules.is_on(Signal::SourceQuality) {
            out.lean(u32::from(self.leaning));
        }
    }
}

/// What the counts say of the source.
pub(super) fn judge(counts: &Counts<'_>, rules: &Ruleset) -> Judgement {
    let now = counts.now;
    let (source, partner) = (counts.source.at(now), counts.partner.at(now));
    let (program, brand) = (counts.program.at(now), counts.brand.at(now));
    let others = program.without(&source);
    let siblings = partner.without(&source);
    let rule = |signal| rules.rule(signal);
    let (flat, narrow) = timing(counts, rules);
    let is_flat = matches!(flat, Some(Some(_)));
    let found = [
        flood(&source, &others, is_flat, &rule(Signal::ClickFlooding)),
        flat,
        narrow,
        high_rate(&source, &others, &rule(Signal::RateTooHigh)),
        quality(&source, &siblings, &others, &rule(Signal::SourceQuality)),
    ];
    let chain = [program.all.without(partner.all), siblings.all, source.all];
    let leaning = u16::try_from(leaning(brand.all, chain)).unwrap_or(u16::MAX);
    let mut judged = Judgement { leaning, ..Judgement::default() };
    for (((found, signal), observed), place) in
        found.into_iter().zip(SIGNALS).zip(&mut judged.observed).zip(0..)
    {
        match found {
            _ if !rules.is_on(signal) => {}
            Some(Some((severity, seen))) => {
                judged.quarters |= (severity / (ONE / 4)) << (4 * place);
                *observed = seen;
            }
            Some(None) => {}
            None => judged.absent |= 1 << place,
        }
    }
    judged
}

/// What the timings say: whether they are flat, and whether they are narrow.
fn timing(counts: &Counts<'_>, rules: &Ruleset) -> (Compared, Compared) {
    let (flat, narrow) = (rules.rule(Signal::FlatTiming), rules.rule(Signal::NarrowTiming));
    let source = counts.source.timings_at(counts.now);
    let count = source.count() >> COUNT_BITS;
    if count < flat.low.min(narrow.low) {
        return (Some(None), Some(None));
    }
    let others = counts.program.timings_at(counts.now).without(&source);
    if others.count() < BASELINE_CONVERSIONS_MIN {
        return (None, None);
    }
    (Some(flat_timing(&source, &others, &flat)), narrow_timing(&source, &others, &narrow))
}

/// Whether the others' rate is a measure.
fn is_baseline(others: &Totals) -> bool {
    others.settled.conversions >= BASELINE_CONVERSIONS_MIN && others.settled.clicks > 0
}

/// Conversions that some clicks would bring at a rate.
fn expected(clicks: u64, rate: Pair) -> u64 {
    let product = u128::from(clicks) * u128::from(rate.conversions);
    u64::try_from(product / u128::from(rate.clicks.max(1))).unwrap_or(u64::MAX)
}

/// Very many clicks, next to no conversions.
fn flood(source: &Totals, others: &Totals, is_flat: bool, rule: &Rule) -> Compared {
    if !is_baseline(others) {
        return None;
    }
    let Pair { clicks, conversions } = source.settled;
    let mean = expected(clicks, others.settled) / FLOOD_RATE_DIVISOR;
    let is_flood = clicks >> COUNT_BITS >= rule.low.max(1)
        && are_so_few_rare(conversions, mean, Odds::HUNDREDTH);
    let severity = if is_flat { ONE } else { ONE / 2 };
    Some(is_flood.then_some((severity, clicks >> COUNT_BITS)))
}

/// Conversions at random times: too many of them late.
fn flat_timing(source: &Timings, others: &Timings, rule: &Rule) -> Option<Found> {
    let (count, baseline) = (source.count(), others.count());
    // One conversion more on either side: no share is known to be nothing or everything.
    let usual = (others.over_hour + COUNTED) * PPM / (baseline + 2 * COUNTED);
    let share = source.over_hour * PPM / count.max(1);
    let gap = share.min(PPM).saturating_sub(usual);
    let variance = u128::from(usual) * u128::from(PPM.saturating_sub(usual));
    let (n, m) = (u128::from(count), u128::from(baseline));
    let squared = (u128::from(gap) * u128::from(gap)).saturating_mul(n * m);
    let allowed = (FLAT_DEVIATION_SQUARED * variance * u128::from(COUNTED)).saturating_mul(n + m);
    let is_flat = count >> COUNT_BITS >= rule.low && gap >= FLAT_SHARE_GAP_PPM && squared > allowed;
    is_flat.then_some((ONE, count >> COUNT_BITS))
}

/// Conversions that all take the same time.
fn narrow_timing(source: &Timings, others: &Timings, rule: &Rule) -> Compared {
    let usual = others.quartile_gap();
    if usual == 0 {
        return None;
    }
    let count = source.count() >> COUNT_BITS;
    let is_narrow = count >= rule.low && source.quartile_gap() * 100 < usual * NARROW_PERCENT;
    Some(is_narrow.then_some((ONE, count)))
}

/// A rate that no honest source has.
fn high_rate(source: &Totals, others: &Totals, rule: &Rule) -> Compared {
    if !is_baseline(others) {
        return None;
    }
    let Pair { clicks, conversions } = source.all;
    let rate_ppm = expected(PPM, source.all);
    let mean = expected(clicks, others.all);
    let is_high = conversions >> COUNT_BITS >= HIGH_RATE_CONVERSIONS_MIN
        && rate_ppm > rule.low
        && are_so_many_rare(conversions, mean, Odds::MILLIONTH);
    Some(is_high.then_some((ONE, rate_ppm)))
}

/// A rate far below the program's, after doubt has pulled it towards the partner's, and that
/// towards the program's.
fn quality(source: &Totals, siblings: &Totals, others: &Totals, rule: &Rule) -> Compared {
    if !is_baseline(others) {
        return None;
    }
    let prior = PRIOR_CONVERSIONS;
    let partner = relative_rate(siblings.settled, others.settled, EQUAL, prior);
    let rate = relative_rate(source.settled, others.settled, partner, prior);
    let ratio = (EQUAL * 100).checked_div(rate).unwrap_or(u64::MAX);
    let severity = log_ramp(ratio, rule);
    Some((severity > 0).then_some((severity, ratio)))
}

/// A rate as large as the one it is compared with.
const EQUAL: u64 = 1 << LOG_BITS;

/// How a rate compares with a baseline, shrunk towards `prior_rate` by a prior worth so many
/// expected conversions; [`EQUAL`] for the same.
fn relative_rate(counts: Pair, baseline: Pair, prior_rate: u64, prior: u64) -> u64 {
    let prior_seen = u128::from(prior) * u128::from(prior_rate);
    let seen = (u128::from(counts.conversions) << LOG_BITS) + prior_seen;
    let expected = u128::from(expected(counts.clicks, baseline)) + u128::from(prior);
    u64::try_from(seen / expected).unwrap_or(u64::MAX).max(1)
}

/// Severity by quarters of the way from `low` to `high` in logarithms.
fn log_ramp(observed: u64, rule: &Rule) -> u32 {
    if observed < rule.low {
        return 0;
    }
    let way = log2(rule.high).saturating_sub(log2(rule.low));
    let gone = log2(observed).saturating_sub(log2(rule.low));
    let steps = (3 * gone).checked_div(way).map_or(4, |thirds| (1 + thirds).min(4));
    u32::try_from(steps).unwrap_or(4) * (ONE / 4)
}

/// The order of sources: how the source's rate compares with the brand's, what it is a part of
/// standing in for what is not known of it: the program without the partner, the partner without
/// the source, the source. From 0 for the best to [`LEANING_MAX`].
fn leaning(brand: Pair, chain: [Pair; 3]) -> u32 {
    if brand.conversions < BASELINE_CONVERSIONS_MIN {
        return LEANING_MAX / 2;
    }
    let rate = chain
        .into_iter()
        .fold(EQUAL, |parent, own| relative_rate(own, brand, parent, RANK_PRIOR_CONVERSIONS));
    let step = |log: u64| u32::try_from((log * LEANING_DOUBLING) >> LOG_BITS).unwrap_or(u32::MAX);
    let (zero, log) = (log2(EQUAL), log2(rate));
    if log > zero {
        (LEANING_MAX / 2).saturating_sub(step(log - zero))
    } else {
        (LEANING_MAX / 2).saturating_add(step(zero - log)).min(LEANING_MAX)
    }
}
