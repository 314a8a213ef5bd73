//! What the clicks of a source have come to, and what that says of its other clicks.

use headwater_engine::fraud::sources::tally::{Pair, EPOCH_DAYS};
use headwater_engine::fraud::sources::{
    Event, Part, SourceKey, Sources, Tally, Timing, Timings, Totals,
};
use headwater_engine::fraud::{Findings, Ruleset, Signal, ONE};
use headwater_engine::limits::{SOURCES_MAX, SOURCE_EPOCHS, SOURCE_SUBS_MAX};
use proptest::prelude::*;

use crate::common::*;

const HOUR: u64 = 3_600_000;
const MINUTE: u64 = 60_000;
/// A midnight, and half a day later, by when its clicks have had their time.
const DAWN: u64 = 20_260 * DAY;
const NOON: u64 = DAWN + 12 * HOUR;
const ONE_COUNT: u64 = 256;

fn source(partner: u64) -> SourceKey {
    SourceKey::new(1, partner, Some("x"))
}

/// A brand whose partner 1 has 2000 clicks and 100 conversions, so many after so many minutes.
struct Brand {
    sources: Sources,
}

impl Brand {
    fn new(minutes: &[(u64, u64)]) -> Self {
        let mut brand = Self { sources: Sources::default() };
        brand.clicks(1, 2000);
        for (count, minutes) in minutes {
            brand.conversions(1, *count, minutes * MINUTE);
        }
        brand
    }

    /// The usual: a fifth later than an hour.
    fn usual() -> Self {
        Self::new(&[(5, 1), (15, 2), (20, 6), (20, 20), (20, 45), (20, 100)])
    }

    fn clicks(&mut self, partner: u64, count: u64) {
        for _ in 0..count {
            self.sources.note_click(source(partner), DAWN);
        }
    }

    fn conversions(&mut self, partner: u64, count: u64, after_ms: u64) {
        for _ in 0..count {
            self.sources.note_conversion(source(partner), DAWN, Some(Timing::of(after_ms)), true);
        }
    }

    /// What is found of a partner's source half a day later.
    fn found(&mut self, partner: u64) -> Findings {
        self.sources.note_click(source(99), NOON);
        let rules = Ruleset::default();
        let mut found = Findings::new(&rules);
        self.sources.judge(source(partner), &rules).add_to(&rules, &mut found);
        found
    }

    /// Severity in quarters, what was seen and from where on it counts.
    fn of(&mut self, partner: u64, signal: Signal) -> Option<(u32, u64, u64)> {
        let found = self.found(partner);
        let finding = found.list.iter().find(|finding| finding.signal == signal);
        finding.map(|it| (it.severity / (ONE / 4), it.observed, it.threshold))
    }
}

#[test]
fn a_flood_has_very_many_clicks_and_fewer_conversions_than_chance_leaves_a_fifth_of_the_rate() {
    // A fifth of one in twenty of a thousand is ten: fewer than three, and half of the times when
    // it is three, come in 0.7 %; with four it is 2 %, of twelve 0.5 %.
    for (clicks, conversions, expected) in [
        (1000, 3, Some((2, 1000, 1000))),
        (1000, 4, None),
        (999, 3, None),
        (1200, 4, Some((2, 1200, 1000))),
        (5000, 30, Some((2, 5000, 1000))),
        (5000, 39, None),
    ] {
        let mut brand = Brand::usual();
        brand.clicks(2, clicks);
        brand.conversions(2, conversions, 20 * MINUTE);
        assert_eq!(brand.of(2, Signal::ClickFlooding), expected, "{conversions} of {clicks}");
    }
}

#[test]
fn clicks_that_may_yet_convert_accuse_nobody() {
    let mut brand = Brand::usual();
    for _ in 0..3000 {
        brand.sources.note_click(source(2), NOON - 1);
    }
    assert_eq!(brand.of(2, Signal::ClickFlooding), None);
    assert_eq!(brand.of(2, Signal::SourceQuality), None);
    brand.sources.note_click(source(99), NOON + 6 * HOUR);
    assert!(brand.of(2, Signal::ClickFlooding).is_some());
}

#[test]
fn without_others_to_compare_with_nothing_is_said() {
    let mut brand = Brand::new(&[(19, 2)]);
    brand.clicks(2, 5000);
    let found = brand.found(2);
    assert!(found.list.is_empty());
    for signal in [Signal::ClickFlooding, Signal::SourceQuality, Signal::RateTooHigh] {
        assert_ne!(found.not_evaluated & signal.bit(), 0);
    }
    let mut alone = Brand::usual();
    assert!(alone.found(1).list.is_empty());
}

#[test]
fn conversions_at_random_times_are_told_from_a_handful_that_came_late() {
    // Of the others a fifth comes late: four standard deviations of 30 are 34 points more, of a
    // hundred 23, of a thousand 17, where 20 points are asked for.
    for (late, soon, is_flat) in [
        (17, 13, true),
        (16, 14, false),
        (17, 12, false),
        (44, 56, true),
        (43, 57, false),
        (406, 594, true),
        (405, 595, false),
    ] {
        let mut brand = Brand::usual();
        brand.clicks(2, 8000);
        brand.conversions(2, late, 5 * HOUR);
        brand.conversions(2, soon, 10 * MINUTE);
        let expected = is_flat.then_some((4, late + soon, 30));
        assert_eq!(brand.of(2, Signal::FlatTiming), expected, "{late} of {}", late + soon);
    }
}

#[test]
fn an_hour_is_not_late_and_a_millisecond_more_is() {
    for (after_ms, is_flat) in [(HOUR, false), (HOUR + 1, true)] {
        let mut brand = Brand::usual();
        brand.clicks(2, 500);
        brand.conversions(2, 40, after_ms);
        assert_eq!(brand.of(2, Signal::FlatTiming).is_some(), is_flat);
    }
}

#[test]
fn a_flood_with_conversions_at_random_times_is_graver() {
    let mut brand = Brand::usual();
    brand.clicks(2, 8000);
    brand.conversions(2, 30, 5 * HOUR);
    assert_eq!(brand.of(2, Signal::ClickFlooding), Some((4, 8000, 1000)));
    assert_eq!(brand.of(2, Signal::FlatTiming), Some((4, 30, 30)));
}

#[test]
fn conversions_that_all_take_the_same_time_are_no_peoples() {
    for (count, spread, expected) in
        [(20, false, Some((4, 20, 20))), (19, false, None), (40, true, None)]
    {
        let mut brand = Brand::usual();
        brand.clicks(2, 500);
        for n in 0..count {
            let minutes = if spread { [1, 3, 10, 90][usize::try_from(n).unwrap() % 4] } else { 7 };
            brand.conversions(2, 1, minutes * MINUTE);
        }
        assert_eq!(brand.of(2, Signal::NarrowTiming), expected);
    }
}

#[test]
fn a_rate_that_no_honest_source_has_needs_fifty_conversions_and_more_than_15_percent() {
    for (clicks, conversions, expected) in [
        (333, 50, Some((4, 150_150, 150_000))),
        (334, 50, None),
        (100, 49, None),
        (100, 50, Some((4, 500_000, 150_000))),
    ] {
        let mut brand = Brand::usual();
        brand.clicks(2, clicks);
        brand.conversions(2, conversions, 20 * MINUTE);
        assert_eq!(brand.of(2, Signal::RateTooHigh), expected, "{conversions} of {clicks}");
    }
    let mut all_convert = Brand::usual();
    for (partner, conversions) in [(1, 300), (2, 60)] {
        all_convert.conversions(partner, conversions, 20 * MINUTE);
    }
    all_convert.clicks(2, 300);
    assert_eq!(all_convert.of(2, Signal::RateTooHigh), None, "a program where a fifth converts");
}

#[test]
fn a_poor_source_is_told_by_how_many_times_it_is_below_the_others() {
    // Four conversions are the doubt: none of 80 clicks are half the rate, of 1520 a twentieth.
    for (clicks, conversions, expected) in [
        (79, 0, None),
        (80, 0, Some((1, 200, 200))),
        (264, 0, Some((1, 429, 200))),
        (267, 0, Some((2, 433, 200))),
        (800, 0, Some((3, 1100, 200))),
        (1519, 0, Some((3, 1999, 200))),
        (1520, 0, Some((4, 2000, 200))),
        (800, 40, None),
    ] {
        let mut brand = Brand::usual();
        brand.clicks(2, clicks);
        brand.conversions(2, conversions, 20 * MINUTE);
        assert_eq!(brand.of(2, Signal::SourceQuality), expected, "{conversions} of {clicks}");
    }
}

#[test]
fn what_a_partners_other_sources_are_worth_stands_in_for_what_is_not_known_of_one() {
    let quality = |sibling_conversions: u64| {
        let mut brand = Brand::usual();
        let sibling = SourceKey::new(1, 2, Some("other"));
        for _ in 0..1000 {
            brand.sources.note_click(sibling, DAWN);
        }
        for _ in 0..sibling_conversions {
            brand.sources.note_conversion(sibling, DAWN, None, true);
        }
        brand.clicks(2, 40);
        brand.of(2, Signal::SourceQuality)
    };
    assert_eq!(quality(50), None);
    assert!(quality(0).is_some_and(|(quarters, ..)| quarters >= 3));
}

#[test]
fn sources_rank_by_their_rate_also_where_nothing_is_said_against_them() {
    let leaning = |clicks, conversions| {
        let mut brand = Brand::usual();
        brand.clicks(2, clicks);
        brand.conversions(2, conversions, 20 * MINUTE);
        brand.found(2).leaning
    };
    let ranked = [
        leaning(100, 20),
        leaning(100, 5),
        leaning(10, 0),
        leaning(40, 0),
        leaning(100, 0),
        leaning(1000, 1),
        leaning(1000, 0),
    ];
    assert!(ranked.is_sorted_by(|better, worse| better < worse), "{ranked:?}");
    assert!((1270..1290).contains(&ranked[1]), "as the brand does: {ranked:?}");
    assert_eq!(Brand { sources: Sources::default() }.found(2).leaning, 1280);
}

#[test]
fn nothing_of_one_program_or_partner_is_another_s() {
    let mut brand = Brand::usual();
    brand.clicks(2, 5000);
    let rules = Ruleset::default();
    for other in [SourceKey::new(2, 2, Some("x")), source(3)] {
        let mut found = Findings::new(&rules);
        brand.found(2);
        brand.sources.judge(other, &rules).add_to(&rules, &mut found);
        assert!(found.list.is_empty());
    }
}

#[test]
fn a_partner_keeps_its_newest_sources_and_takes_nobody_elses_place() {
    let mut brand = Brand::usual();
    let sub = |n: usize| SourceKey { program: 1, partner: 3, sub: u16::try_from(n).unwrap() };
    let rules = Ruleset::default();
    let is_known = |brand: &Brand, source: SourceKey| {
        let mut found = Findings::new(&rules);
        brand.sources.judge(source, &rules).add_to(&rules, &mut found);
        found.list.iter().any(|finding| finding.signal == Signal::RateTooHigh)
    };
    for known in [source(2), sub(1), sub(2)] {
        for _ in 0..60 {
            brand.sources.note_click(known, DAWN);
            brand.sources.note_conversion(known, DAWN, None, true);
        }
    }
    for n in 2..=SOURCE_SUBS_MAX {
        brand.sources.note_click(sub(n), NOON);
    }
    assert!([source(2), sub(1), sub(2)].iter().all(|known| is_known(&brand, *known)));
    brand.sources.note_click(sub(SOURCE_SUBS_MAX + 1), NOON);
    assert_eq!(brand.sources.len(), 2 + 2 * 2 + 1 + SOURCE_SUBS_MAX);
    assert!(!is_known(&brand, sub(1)), "the oldest is forgotten");
    assert!(is_known(&brand, sub(2)) && is_known(&brand, source(2)));
    const { assert!(SOURCE_SUBS_MAX * 16 < SOURCES_MAX) };
}

/// Something that happens to a source: quarter of a day, whether a click, seconds later.
type Happening = (u32, bool, Option<u64>);

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let part = prop_oneof![3 => 81_000..81_010_u32, 1 => 80_500..81_500_u32];
    let after = prop::option::of(prop::sample::select(vec![0_u64, 1, 5, 40, 3600, 3601, 90_000]));
    prop::collection::vec((part, any::<bool>(), after), 0..60)
}

fn event(happening: &Happening) -> Event {
    match happening {
        (_, true, _) => Event::Click,
        (_, false, after) => Event::Conversion(after.map(|seconds| Timing::of(seconds * 1000))),
    }
}

/// The same counts from the whole history at once.
fn naive(history: &[Happening], now: u32) -> (Totals, Timings) {
    const WEIGHTS: [u64; 14] =
        [256, 269, 283, 297, 312, 328, 345, 362, 380, 400, 420, 441, 464, 487];
    let newest = history.iter().map(|happening| happening.0).max().unwrap_or(0);
    let epoch = |part: u32| part / 4 / EPOCH_DAYS;
    let weight = |part: u32| WEIGHTS[(part / 4 % EPOCH_DAYS) as usize];
    let counts = epoch(newest) as usize;
    let kept = |happening: &&Happening| counts - (epoch(happening.0) as usize) < SOURCE_EPOCHS;
    // Sums of one kind by epoch, faded each as a whole; young parts each apart.
    let total = |is_meant: &dyn Fn(&Happening) -> bool, group: &dyn Fn(u32) -> u32| -> u64 {
        let mut sums = std::collections::BTreeMap::new();
        for happening in history.iter().filter(kept).filter(|happening| is_meant(happening)) {
            let key = (epoch(happening.0), group(happening.0));
            *sums.entry(key).or_insert(0) += weight(happening.0);
        }
        let faded =
            |((of, _), sum): (&(u32, u32), &u64)| ((sum << 8) >> (epoch(now) - of)) / weight(now);
        sums.iter().map(faded).sum()
    };
    let young = |part: u32| if part + 2 > newest { part } else { 0 };
    let whole = |_| 0;
    let is_settled = |part: u32| part + 2 <= newest || part + 2 <= now;
    let timing = |happening: &Happening| match (happening.1, happening.2) {
        (false, Some(seconds)) => Some(seconds),
        _ => None,
    };
    let bucket = |seconds: u64| (0..15).find(|n| seconds < 1 << n).unwrap_or(15);
    let totals = Totals {
        settled: Pair {
            clicks: total(&|it| it.1 && is_settled(it.0), &young),
            conversions: total(&|it| !it.1 && is_settled(it.0), &young),
        },
        all: Pair { clicks: total(&|it| it.1, &young), conversions: total(&|it| !it.1, &young) },
    };
    let is_in = |it: &Happening, place| timing(it).is_some_and(|seconds| bucket(seconds) == place);
    let timings = Timings {
        buckets: std::array::from_fn(|place| total(&|it| is_in(it, place), &whole)),
        over_hour: total(&|it| timing(it).is_some_and(|seconds| seconds > 3600), &whole),
    };
    (totals, timings)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn counts_are_those_of_the_whole_history_whatever_the_order(
        history in happenings(),
        taken_back in happenings(),
        seed in any::<u64>(),
        later in 0..300_u32,
    ) {
        let mut steps: Vec<(Happening, bool)> = history.iter().map(|it| (*it, true)).collect();
        steps.sort_by_key(|((part, is_click, after), _)| {
            let mixed = seed ^ u64::from(*part) ^ after.unwrap_or(7) << 20 ^ u64::from(*is_click);
            mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
        });
        // What is taken back has been counted before, and is not newer than what stays.
        let newest = history.iter().map(|happening| happening.0).max().unwrap_or(0);
        let gone = taken_back.iter().filter(|happening| happening.0 <= newest);
        let gone: Vec<Happening> = gone.copied().collect();
        let put = gone.iter().map(|it| (*it, true));
        let steps: Vec<(Happening, bool)> =
            put.chain(steps).chain(gone.iter().map(|it| (*it, false))).collect();
        let mut tally = Tally::default();
        for (happening, is_in) in &steps {
            tally.note(Part(happening.0), event(happening), *is_in);
        }
        let now = newest.max(tally.newest.0) + later;
        let (at, timings) = (tally.at(Part(now)), tally.timings_at(Part(now)));
        prop_assert_eq!((at, timings), naive(&history, now));
    }
}

#[test]
fn what_happened_a_half_life_ago_counts_half() {
    let mut tally = Tally::default();
    for _ in 0..1000 {
        tally.note(Part(81_000), Event::Click, true);
    }
    for (days, left) in [(0, 1000), (1, 951), (7, 707), (14, 500), (28, 250), (56, 62), (70, 31)] {
        let clicks = tally.at(Part(81_000 + 4 * days)).all.clicks;
        assert!(clicks.abs_diff(left * ONE_COUNT) < 3 * ONE_COUNT, "{days}: {clicks}");
    }
}
