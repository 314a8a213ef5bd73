//! Counts of one source that fade by whole days.
//!
//! A click, and the conversion credited to it, count on the day of the click. Within an epoch of
//! one half-life later days weigh more, by a table; a whole epoch back halves. So a sum is only
//! ever added to and taken from: it does not depend on the order in which events arrive.

use super::math::COUNT_BITS;
use crate::limits::{HOUR_MS, SOURCE_EPOCHS};

/// Milliseconds of a part of a day; a click counts for a rate when its part and the next are over.
const PART_MS: u64 = 6 * HOUR_MS;
const PARTS_OF_DAY: u32 = 4;
/// Days of an epoch, which is the half-life.
pub const EPOCH_DAYS: u32 = 14;
/// `256 * 2^(day / 14)`.
const WEIGHTS: [u32; 14] = [256, 269, 283, 297, 312, 328, 345, 362, 380, 400, 420, 441, 464, 487];
/// Parts of a day, the newest and the one before, whose clicks may yet convert.
pub(super) const YOUNG_PARTS: usize = 2;
/// Buckets of times from click to conversion: below 1 s, below 2 s, below 4 s, and so on; the
/// last from some 4.5 hours on.
pub const TIMING_BUCKETS: usize = 16;

/// A part of a day, counted from 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(pub u32);

impl Part {
    /// The part a time lies in.
    pub fn of(ms: u64) -> Self {
        Self(u32::try_from(ms / PART_MS).unwrap_or(u32::MAX))
    }

    /// How many parts a stretch of time has, its last one begun.
    #[allow(clippy::cast_possible_truncation, reason = "of constants, a few")]
    pub const fn count(ms: u64) -> u32 {
        ms.div_ceil(PART_MS) as u32
    }

    /// Whether clicks of it may yet convert when `now` is the newest.
    pub fn is_young(self, now: Self) -> bool {
        u64::from(self.0) + YOUNG_PARTS as u64 > u64::from(now.0)
    }

    fn epoch(self) -> u32 {
        self.0 / PARTS_OF_DAY / EPOCH_DAYS
    }

    fn weight(self) -> u64 {
        let day = self.0 / PARTS_OF_DAY % EPOCH_DAYS;
        let weight = usize::try_from(day).ok().and_then(|day| WEIGHTS.get(day));
        u64::from(weight.copied().unwrap_or(1))
    }
}

/// How long after its click a conversion came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    bucket: usize,
    is_over_hour: bool,
}

impl Timing {
    /// The timing of a conversion that came so much later than its click.
    pub fn of(ms: u64) -> Self {
        let bucket = (ms / 1000).checked_ilog2().map_or(0, |log| log as usize + 1);
        Self { bucket: bucket.min(TIMING_BUCKETS - 1), is_over_hour: ms > HOUR_MS }
    }
}

/// What is counted of a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The click.
    Click,
    /// The conversion credited to it, and its timing, unless the clocks do not agree.
    Conversion(Option<Timing>),
}

/// Clicks and conversions of a part of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Clicks.
    pub clicks: u64,
    /// Conversions credited to them.
    pub conversions: u64,
}

/// The weighted sums of one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Clicks and conversions that are no longer young.
    pub settled: Pair,
    /// Conversions by bucket of timing, young ones included.
    pub timing: [u32; TIMING_BUCKETS],
    /// Conversions more than an hour after the click, young ones included.
    pub over_hour: u32,
}

/// The counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The newest part of a day that anything is counted in.
    pub newest: Part,
    /// What is counted in it and in the part before.
    pub young: [Pair; YOUNG_PARTS],
    /// What is counted in its epoch and those before.
    pub epochs: [Epoch; SOURCE_EPOCHS],
}

/// What has not faded of the clicks and conversions of a tally, in [`COUNT_BITS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What has had time to convert.
    pub settled: Pair,
    /// Everything.
    pub all: Pair,
}

/// What has not faded of the timings of a tally, in [`COUNT_BITS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Conversions by bucket.
    pub buckets: [u64; TIMING_BUCKETS],
    /// Conversions more than an hour after the click.
    pub over_hour: u64,
}

/// The most that a sum is taken for: no brand has as many, and a damaged snapshot may say more.
const COUNT_MAX: u64 = 1 << 40;

/// What is left of a weighted sum after some epochs, by the weight of the day.
fn faded(sum: u64, epochs_back: u32, weight: u64) -> u64 {
    if sum == 0 {
        return 0;
    }
    let sum = sum.min(COUNT_MAX) << COUNT_BITS;
    sum.checked_shr(epochs_back).unwrap_or(0) / weight
}

/// Puts an event in, or takes it out.
fn change(count: &mut u64, amount: u64, is_in: bool) {
    *count = if is_in { count.saturating_add(amount) } else { count.saturating_sub(amount) };
}

fn change_small(count: &mut u32, amount: u64, is_in: bool) {
    let amount = u32::try_from(amount).unwrap_or(u32::MAX);
    *count = if is_in { count.saturating_add(amount) } else { count.saturating_sub(amount) };
}

impl Pair {
    fn change(&mut self, event: Event, amount: u64, is_in: bool) {
        let count = match event {
            Event::Click => &mut self.clicks,
            Event::Conversion(_) => &mut self.conversions,
        };
        change(count, amount, is_in);
    }

    fn add(&mut self, other: Self, weight: u64) {
        self.clicks = self.clicks.saturating_add(other.clicks.saturating_mul(weight));
        self.conversions =
            self.conversions.saturating_add(other.conversions.saturating_mul(weight));
    }

    fn map(self, map: impl Fn(u64) -> u64) -> Self {
        Self { clicks: map(self.clicks), conversions: map(self.conversions) }
    }

    /// What is left when another is taken out.
    pub fn without(self, other: Self) -> Self {
        Self {
            clicks: self.clicks.saturating_sub(other.clicks),
            conversions: self.conversions.saturating_sub(other.conversions),
        }
    }
}

impl Tally {
    /// Counts an event of a click made in a part of a day, or takes it back.
    pub fn note(&mut self, part: Part, event: Event, is_in: bool) {
        if part > self.newest {
            self.advance(part);
        }
        let weight = part.weight();
        let place = usize::try_from(self.newest.0 - part.0).unwrap_or(usize::MAX);
        let is_young = place < YOUNG_PARTS;
        if let Some(young) = self.young.get_mut(place) {
            young.change(event, 1, is_in);
        }
        let Some(epoch) = self.epoch_mut(part) else { return };
        if !is_young {
            epoch.settled.change(event, weight, is_in);
        }
        if let Event::Conversion(Some(timing)) = event {
            if let Some(bucket) = epoch.timing.get_mut(timing.bucket) {
                change_small(bucket, weight, is_in);
            }
            if timing.is_over_hour {
                change_small(&mut epoch.over_hour, weight, is_in);
            }
        }
    }

    fn epoch_mut(&mut self, part: Part) -> Option<&mut Epoch> {
        let back = self.newest.epoch().checked_sub(part.epoch())?;
        self.epochs.get_mut(usize::try_from(back).ok()?)
    }

    /// Moves on to a newer part of a day: what was young settles, what is too old goes.
    fn advance(&mut self, newest: Part) {
        let former = self.newest;
        let young = std::mem::take(&mut self.young);
        let gone = newest.epoch() - former.epoch();
        let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(SOURCE_EPOCHS);
        self.epochs.rotate_right(gone);
        for epoch in self.epochs.iter_mut().take(gone) {
            *epoch = Epoch::default();
        }
        self.newest = newest;
        for (pair, back) in young.into_iter().zip(0..) {
            let Some(part) = former.0.checked_sub(back).map(Part) else { continue };
            let place = usize::try_from(newest.0 - part.0).unwrap_or(usize::MAX);
            if let Some(still_young) = self.young.get_mut(place) {
                *still_young = pair;
            } else if let Some(epoch) = self.epoch_mut(part) {
                epoch.settled.add(pair, part.weight());
            }
        }
    }

    /// What has not faded of clicks and conversions by a part of a day, which is not before the
    /// newest.
    pub fn at(&self, now: Part) -> Totals {
        let (weight, epoch) = (now.weight(), now.epoch());
        let mut totals = Totals::default();
        for (sums, back) in self.epochs.iter().zip(self.epochs_back(now)..) {
            totals.settled.add(sums.settled.map(|sum| faded(sum, back, weight)), 1);
        }
        totals.all = totals.settled;
        for (pair, back) in self.young.iter().zip(0..) {
            let Some(part) = self.newest.0.checked_sub(back).map(Part) else { continue };
            let back = epoch.saturating_sub(part.epoch());
            let pair = pair.map(|count| faded(count.saturating_mul(part.weight()), back, weight));
            totals.all.add(pair, 1);
            if !part.is_young(now) {
                totals.settled.add(pair, 1);
            }
        }
        totals
    }

    /// What has not faded of the timings by a part of a day, which is not before the newest.
    pub fn timings_at(&self, now: Part) -> Timings {
        let weight = now.weight();
        let mut timings = Timings::default();
        for (sums, back) in self.epochs.iter().zip(self.epochs_back(now)..) {
            for (total, sum) in timings.buckets.iter_mut().zip(sums.timing) {
                *total += faded(sum.into(), back, weight);
            }
            timings.over_hour += faded(sums.over_hour.into(), back, weight);
        }
        timings
    }

    /// How many epochs the newest is back.
    fn epochs_back(&self, now: Part) -> u32 {
        now.epoch().saturating_sub(self.newest.epoch())
    }
}

impl Totals {
    /// What is left when a part of it is taken out.
    pub fn without(&self, other: &Self) -> Self {
        Self { settled: self.settled.without(other.settled), all: self.all.without(other.all) }
    }
}

impl Timings {
    /// What is left when a part of it is taken out.
    pub fn without(&self, other: &Self) -> Self {
        let mut buckets = self.buckets;
        for (left, taken) in buckets.iter_mut().zip(other.buckets) {
            *left = left.saturating_sub(taken);
        }
        Self { buckets, over_hour: self.over_hour.saturating_sub(other.over_hour) }
    }

    /// Conversions with a timing.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How far the quartiles of the timing lie apart, as logarithms to the base two in 8
    /// fractional bits; within a bucket conversions count as spread evenly.
    pub fn quartile_gap(&self) -> u64 {
        self.quantile(3).saturating_sub(self.quantile(1))
    }

    /// The timing that so many quarters lie below.
    fn quantile(&self, quarters: u64) -> u64 {
        let wanted = self.count().saturating_mul(quarters) / 4;
        let mut below = 0;
        for (count, bucket) in self.buckets.iter().zip(0..) {
            if below + count >= wanted && *count > 0 {
                return (bucket << 8) + ((wanted - below.min(wanted)) << 8) / count;
            }
            below += count;
        }
        0
    }
}
