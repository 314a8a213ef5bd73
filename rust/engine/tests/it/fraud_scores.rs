//! Scores: the laws they obey, and a plain computation with whole numbers of any size.

use headwater_engine::fraud::rules::{Change, Layer};
use headwater_engine::fraud::score::{combine, encode, Scored, LEANING_MAX_PPM};
use headwater_engine::fraud::signals::{Hardness, Stage};
use headwater_engine::fraud::{Findings, Mode, Ruleset, Signal, Verdict, ONE};
use proptest::prelude::*;

use crate::common::*;

/// Whole numbers of any size, the lowest digits first: enough of arithmetic for exact fractions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Big(Vec<u32>);

impl Big {
    fn times(&self, factor: u64) -> Self {
        let factor = u128::from(factor);
        let (mut digits, mut carry) = (Vec::new(), 0_u128);
        for digit in &self.0 {
            carry += u128::from(*digit) * factor;
            digits.push((carry & 0xffff_ffff) as u32);
            carry >>= 32;
        }
        while carry > 0 {
            digits.push((carry & 0xffff_ffff) as u32);
            carry >>= 32;
        }
        Self(digits)
    }

    fn plus(&self, other: &Self) -> Self {
        let (mut digits, mut carry) = (Vec::new(), 0_u64);
        for at in 0..self.0.len().max(other.0.len()) {
            let digit = |of: &Self| u64::from(of.0.get(at).copied().unwrap_or(0));
            carry += digit(self) + digit(other);
            digits.push((carry & 0xffff_ffff) as u32);
            carry >>= 32;
        }
        digits.push(carry as u32);
        Self(digits)
    }

    fn is_at_most(&self, other: &Self) -> bool {
        let digits = |of: &Self| {
            let mut digits = of.0.clone();
            digits.resize(64, 0);
            digits.reverse();
            digits
        };
        digits(self) <= digits(other)
    }
}

const CERTAIN: u64 = 100 * ONE as u64;

type Hit = (Signal, u32, bool);

/// The score as the rules say it, in exact fractions: of every `CERTAIN` to the power of seven
/// families, how much is left when nothing of it is so.
fn score_exactly(hits: &[Hit], rules: &Ruleset) -> u8 {
    let counts = |hit: &&Hit| matches!(rules.rule(hit.0).mode, Mode::Score | Mode::Enforce);
    let value = |hit: &Hit| u64::from(rules.rule(hit.0).weight) * u64::from(hit.1);
    let is_of_source = |hit: &Hit| hit.0.line().stage == Stage::Source;
    let left = |hits: &[Hit]| {
        (1..=7_u8).fold(Big(vec![1]), |left, family| {
            let of_family = hits.iter().filter(|hit| hit.0.line().family as u8 == family);
            left.times(CERTAIN - of_family.map(value).max().unwrap_or(0))
        })
    };
    let hits: Vec<Hit> = hits.iter().filter(counts).copied().collect();
    let others: Vec<Hit> = hits.iter().filter(|hit| !is_of_source(hit)).copied().collect();
    let whole = (0..7).fold(Big(vec![100]), |whole, _| whole.times(CERTAIN));
    let mut none = left(&hits).times(100);
    let is_backed = others.iter().any(|hit| value(hit) * 10 >= CERTAIN * 3);
    let bound = left(&others).times(40);
    if !is_backed && none.is_at_most(&bound) {
        none = bound;
    }
    // The largest score that is at most 100 * (1 - none / whole) + 1 / 2.
    let is_reached = |score: &u64| {
        let wanted = whole.times(2 * score).plus(&none.times(200));
        wanted.is_at_most(&whole.times(201))
    };
    (0..=100).rev().find(is_reached).unwrap_or(0) as u8
}

fn score(hits: &[Hit], rules: &Ruleset) -> Scored {
    let mut findings = Findings::new(rules);
    for (signal, severity, _) in hits {
        findings.add(*signal, *severity, 1, 1);
    }
    combine(&findings, rules)
}

fn rules(changes: &[(Signal, Mode, u8)]) -> Ruleset {
    let change = |(signal, mode, weight): &(Signal, Mode, u8)| {
        let change = Change { mode: Some(*mode), weight: Some(*weight), ..Change::default() };
        (*signal, change)
    };
    let layer = Layer { rules: changes.iter().map(change).collect(), ..Layer::default() };
    Ruleset::of([&Layer::default(), &layer, &Layer::default()])
}

fn a_signal() -> impl Strategy<Value = Signal> {
    prop::sample::select(Signal::ALL)
}

fn a_soft_signal() -> impl Strategy<Value = Signal> {
    let is_soft =
        |signal: &Signal| matches!(signal.line().hardness, Hardness::Soft | Hardness::Counts);
    let soft: Vec<Signal> = Signal::ALL.iter().copied().filter(is_soft).collect();
    prop::sample::select(soft)
}

fn a_severity() -> impl Strategy<Value = u32> {
    prop_oneof![(0..=4_u32).prop_map(|quarters| quarters * (ONE / 4)), 0..=ONE]
}

fn a_mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(&Mode::ALL[..])
}

fn hits_of(signal: impl Strategy<Value = Signal>) -> impl Strategy<Value = Vec<Hit>> {
    let hits = prop::collection::btree_map(signal, a_severity(), 0..8);
    hits.prop_map(|hits| hits.into_iter().map(|(signal, much)| (signal, much, false)).collect())
}

fn some_rules() -> impl Strategy<Value = Ruleset> {
    let change = (a_signal(), a_mode(), 0..=100_u8);
    prop::collection::vec(change, 0..12).prop_map(|changes| rules(&changes))
}

/// Rules that enforce nothing.
fn lenient_rules() -> impl Strategy<Value = Ruleset> {
    let modes = prop::sample::select(&[Mode::Off, Mode::Shadow, Mode::Score][..]);
    let change = (a_signal(), modes, 0..=100_u8);
    prop::collection::vec(change, 0..12).prop_map(|changes| rules(&changes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_score_is_that_of_exact_fractions(
        hits in hits_of(a_soft_signal()),
        rules in lenient_rules(),
    ) {
        prop_assert_eq!(score(&hits, &rules).score, score_exactly(&hits, &rules));
    }

    #[test]
    fn a_graver_finding_never_lowers_a_score(
        hits in hits_of(a_signal()),
        rules in some_rules(),
        signal in a_signal(),
        severity in a_severity(),
    ) {
        let before = score(&hits, &rules);
        let mut more = hits.clone();
        more.push((signal, severity, false));
        let after = score(&more, &rules);
        prop_assert!(after.score >= before.score);
        prop_assert!(after.verdict >= before.verdict);
        prop_assert!(after.raw_ppm >= before.raw_ppm);
    }

    #[test]
    fn points_sum_to_the_score(hits in hits_of(a_signal()), rules in some_rules()) {
        let scored = score(&hits, &rules);
        let points: u32 = scored.codes.iter().map(|code| u32::from(code.points)).sum();
        prop_assert_eq!(points, u32::from(scored.score));
    }

    #[test]
    fn the_order_of_findings_does_not_matter(
        hits in hits_of(a_signal()).prop_shuffle(),
        again in hits_of(a_signal()),
        rules in some_rules(),
    ) {
        let all = [hits.clone(), again.clone()].concat();
        let other = [again, hits].concat();
        prop_assert_eq!(score(&all, &rules), score(&other, &rules));
    }

    #[test]
    fn what_is_off_or_a_shadow_changes_nothing(
        hits in hits_of(a_signal()),
        signal in a_signal(),
        severity in a_severity(),
        mode in prop::sample::select(&[Mode::Off, Mode::Shadow][..]),
    ) {
        let rules = rules(&[(signal, mode, 100)]);
        let mut more = hits.clone();
        more.push((signal, severity, false));
        let without: Vec<Hit> = hits.into_iter().filter(|hit| hit.0 != signal).collect();
        let (plain, shown) = (score(&without, &rules), score(&more, &rules));
        prop_assert_eq!((plain.verdict, plain.score), (shown.verdict, shown.score));
        prop_assert_eq!(plain.raw_ppm, shown.raw_ppm);
        let of_signal = shown.codes.iter().find(|code| code.finding.signal == signal);
        match mode {
            Mode::Off => prop_assert_eq!(of_signal, None),
            _ => prop_assert_eq!(of_signal.map(|code| code.points), Some(0)),
        }
    }

    #[test]
    fn soft_evidence_alone_is_at_most_for_review(
        hits in hits_of(a_soft_signal()),
        rules in lenient_rules(),
    ) {
        let scored = score(&hits, &rules);
        let expected =
            if scored.score >= rules.review_from { Verdict::Review } else { Verdict::Accept };
        prop_assert_eq!(scored.verdict, expected);
    }

    #[test]
    fn a_leaning_ranks_and_decides_nothing(
        hits in hits_of(a_signal()),
        rules in some_rules(),
        ppm in 0..20_000_u32,
    ) {
        let mut findings = Findings::new(&rules);
        for (signal, severity, _) in hits {
            findings.add(signal, severity, 1, 1);
        }
        let plain = combine(&findings, &rules);
        findings.lean(ppm);
        let leaning = combine(&findings, &rules);
        prop_assert_eq!((plain.verdict, plain.score), (leaning.verdict, leaning.score));
        prop_assert_eq!(leaning.raw_ppm - plain.raw_ppm, ppm.min(LEANING_MAX_PPM));
    }
}

fn of(hits: &[(Signal, u32)]) -> Scored {
    let hits: Vec<Hit> = hits.iter().map(|(signal, much)| (*signal, *much, false)).collect();
    score(&hits, &Ruleset::default())
}

#[test]
fn nothing_found_is_accepted_without_a_score() {
    assert_eq!(of(&[]), Scored::default());
}

#[test]
fn one_signal_gives_its_weight_times_its_severity() {
    let scored = of(&[(Signal::Datacentre, ONE)]);
    assert_eq!((scored.score, scored.verdict), (60, Verdict::Review));
    let scored = of(&[(Signal::Datacentre, ONE / 2)]);
    assert_eq!((scored.score, scored.verdict), (30, Verdict::Accept));
    assert_eq!(scored.raw_ppm, 300_000);
}

#[test]
fn of_one_family_only_the_strongest_counts_and_has_points() {
    let scored = of(&[(Signal::AnonymousAddress, ONE), (Signal::Datacentre, ONE)]);
    assert_eq!(scored.score, 60);
    let points: Vec<(Signal, u8)> =
        scored.codes.iter().map(|code| (code.finding.signal, code.points)).collect();
    assert_eq!(points, [(Signal::Datacentre, 60), (Signal::AnonymousAddress, 0)]);
}

#[test]
fn families_combine_as_chances_that_are_independent() {
    // 1 - 0.4 * 0.5 = 0.8
    let scored = of(&[(Signal::Datacentre, ONE), (Signal::AddressVelocity, ONE)]);
    assert_eq!(scored.score, 80);
    assert_eq!(scored.verdict, Verdict::Review);
}

#[test]
fn the_company_of_its_source_alone_never_gives_more_than_sixty() {
    let source = [(Signal::ClickFlooding, ONE), (Signal::FlatTiming, ONE)];
    assert_eq!(of(&source).score, 60);
    let mut backed = source.to_vec();
    backed.push((Signal::Datacentre, ONE / 2));
    assert_eq!(of(&backed).score, 94, "1 - 0.2 * 0.4 * 0.7 = 0.944");
    let weak = [source[0], source[1], (Signal::NoUserActivation, ONE)];
    assert_eq!(of(&weak).score, 64, "1 - 0.4 * 0.9 = 0.64");
}

#[test]
fn a_hard_hit_decides_whatever_else_there_is_and_has_the_points() {
    let scored = of(&[(Signal::Datacentre, ONE), (Signal::ImageClick, ONE)]);
    assert_eq!((scored.verdict, scored.score, scored.raw_ppm), (Verdict::Reject, 100, 1_000_000));
    assert_eq!(scored.codes[0].finding.signal, Signal::ImageClick);
    assert_eq!([scored.codes[0].points, scored.codes[1].points], [100, 0]);
    let both = of(&[(Signal::ImageClick, ONE), (Signal::KnownCrawler, ONE)]);
    assert_eq!(both.verdict, Verdict::Filtered);
    assert_eq!([both.codes[0].points, both.codes[1].points], [50, 50]);
}

#[test]
fn an_enforced_rule_rejects_at_full_severity_alone() {
    let rules = rules(&[(Signal::ForcedClick, Mode::Enforce, 80)]);
    let verdict = |severity| score(&[(Signal::ForcedClick, severity, false)], &rules).verdict;
    assert_eq!(verdict(ONE), Verdict::Reject);
    assert_eq!(verdict(ONE - 1), Verdict::Review);
}

#[test]
fn what_a_conversion_inherits_is_four_fifths_and_never_hard() {
    let rules = Ruleset::default();
    let click = of(&[(Signal::Datacentre, ONE), (Signal::ImageClick, ONE)]);
    let mut findings = Findings::new(&rules);
    for code in &click.codes {
        findings.inherit(&code.finding);
    }
    findings.add(Signal::GeoMismatch, ONE, 1, 1);
    let scored = combine(&findings, &rules);
    assert_eq!(scored.verdict, Verdict::Review);
    let inherited = scored.codes.iter().filter(|code| code.finding.is_inherited);
    assert!(inherited.clone().all(|code| code.finding.severity == ONE / 5 * 4));
    assert_eq!(inherited.count(), 2);
}

#[test]
fn the_bytes_say_all_of_it() {
    let rules = Ruleset::default();
    let mut findings = Findings::new(&rules);
    findings.add(Signal::Datacentre, ONE / 2, 1, 1);
    findings.absent(Signal::Datacentre);
    findings.absent(Signal::ImageClick);
    findings.absent(Signal::BrandBidding);
    let scored = combine(&findings, &rules);
    let bytes = encode(&scored, &findings, &rules, Some("v1"), None);
    let value = rmpv::decode::read_value(&mut bytes.as_slice()).unwrap();
    let code = [15.into(), false.into(), 2.into(), 60.into(), 32_768.into(), 30.into()];
    let code = [&code[..], &[Value::from(1), Value::from(1)]].concat();
    let expected = array([
        bin(*rules.hash()),
        Value::from("v1"),
        Value::Nil,
        Value::from(1 << 6),
        array([array(code)]),
    ]);
    assert_eq!(value, expected, "what is off or found is not missing");
}
