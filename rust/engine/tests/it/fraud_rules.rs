//! Layers of rules: how they are read, how they lie over each other, and what is in force when.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_engine::fraud::rules::{Change, Layer, Rule};
use headwater_engine::fraud::signals::Unit;
use headwater_engine::fraud::{Mode, Ruleset, Signal, ONE};
use headwater_engine::limits::{Limits, FRAUD_LIST_MAX, RULESETS_READY_MAX};
use headwater_engine::record::Control;
use headwater_engine::state::controls::Controls;
use proptest::prelude::*;

use crate::common::*;

fn map(members: &[(&str, Value)]) -> Value {
    Value::Map(members.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect())
}

fn strings(list: &[&str]) -> Value {
    array(list.iter().map(|text| Value::from(*text)).collect::<Vec<_>>())
}

fn layer(members: &[(&str, Value)]) -> Layer {
    Layer::read(&pack(&map(members)))
}

fn rule(code: &str, members: &[(&str, Value)]) -> (&'static str, Value) {
    ("rules", map(&[(code, map(members))]))
}

const NONE: Layer = Layer {
    review_from: None,
    unique_window_s: None,
    rules: BTreeMap::new(),
    referrers: None,
    allow_prefixes: None,
    deny_referrers: None,
    deny_subs: None,
    checkout_paths: None,
};

#[test]
fn without_layers_the_table_is_in_force() {
    let rules = Ruleset::default();
    for signal in Signal::ALL {
        let line = signal.line();
        let Rule { mode, weight, low, high } = rules.rule(*signal);
        assert_eq!((mode, weight, low, high), (line.mode, line.weight, line.low, line.high));
        assert_eq!(rules.is_on(*signal), mode != Mode::Off);
    }
    assert_eq!((rules.review_from, rules.unique_window_ms), (40, DAY));
    assert_eq!(rules.referrers(), None);
    assert!(!rules.allows(Some("203.0.113.0/24")));
}

#[test]
fn every_member_is_read() {
    let read = layer(&[
        ("review_from", 55.into()),
        ("unique_window_seconds", 3600.into()),
        rule(
            "IP_VELOCITY",
            &[
                ("mode", "shadow".into()),
                ("weight", 7.into()),
                ("low", 5.into()),
                ("high", 9.into()),
            ],
        ),
        ("referrers", strings(&["b.example", "https://A.example/page", "b.example"])),
        ("allow", map(&[("prefixes", strings(&["203.0.113.9/24"]))])),
        ("deny", map(&[("referrers", strings(&["*.bad.example"])), ("subs", strings(&["x1"]))])),
        ("checkout_paths", strings(&["/Pay/", "/kasse"])),
    ]);
    let rules = Ruleset::of([&NONE, &read, &NONE]);
    assert_eq!((rules.review_from, rules.unique_window_ms), (55, 3_600_000));
    let expected = Rule { mode: Mode::Shadow, weight: 7, low: 5, high: 9 };
    assert_eq!(rules.rule(Signal::AddressVelocity), expected);
    assert_eq!(rules.referrers().unwrap(), ["a.example", "b.example"]);
    assert!(rules.allows(Some("203.0.113.0/24")) && !rules.allows(Some("203.0.114.0/24")));
    assert!(!rules.allows(None));
    assert!(rules.denies_referrer("shop.bad.example") && !rules.denies_referrer("good.example"));
    assert!(rules.denies_sub("x1") && !rules.denies_sub("x"));
    assert!(rules.is_checkout("https://shop.example/pay/now"));
    assert!(!rules.is_checkout("https://shop.example/cart"), "a list replaces the one below it");
}

#[test]
fn what_cannot_be_is_not_read() {
    let wrong = [
        layer(&[("review_from", 0.into())]),
        layer(&[("review_from", 101.into())]),
        layer(&[("review_from", "40".into())]),
        layer(&[("unique_window_seconds", 59.into())]),
        layer(&[("unique_window_seconds", (30 * 86_400 + 1).into())]),
        layer(&[rule("NO_SUCH_CODE", &[("weight", 1.into())])]),
        layer(&[rule("IP_VELOCITY", &[("weight", 101.into()), ("mode", "loud".into())])]),
        layer(&[rule("IP_VELOCITY", &[("low", Value::from(-1))])]),
        layer(&[("rules", strings(&["IP_VELOCITY"]))]),
        layer(&[("referrers", "example.com".into()), ("allow", strings(&["::/0"]))]),
        layer(&[("more", 1.into())]),
        Layer::read(&[]),
        Layer::read(&[0xc0]),
    ];
    for layer in wrong {
        assert_eq!(layer, NONE);
        assert!(layer.is_empty());
    }
    let mixed = layer(&[("referrers", array([1.into(), Value::from("a.example"), "".into()]))]);
    assert_eq!(mixed.referrers.unwrap(), ["a.example"], "an entry that cannot be is left out");
}

#[test]
fn a_list_is_held_to_its_bound() {
    let names: Vec<String> = (0..=FRAUD_LIST_MAX).map(|n| format!("a{n:05}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let kept = layer(&[("referrers", strings(&names))]).referrers.unwrap();
    assert_eq!(kept.len(), FRAUD_LIST_MAX);
}

#[test]
fn later_layers_lie_over_earlier_ones_member_by_member() {
    let network = layer(&[
        ("review_from", 50.into()),
        rule("CADENCE", &[("mode", "enforce".into()), ("weight", 10.into())]),
        ("referrers", strings(&["network.example"])),
    ]);
    let program = layer(&[rule("CADENCE", &[("weight", 20.into()), ("low", 6.into())])]);
    let partner = layer(&[("referrers", strings(&[]))]);
    let rules = Ruleset::of([&network, &program, &partner]);
    let expected = Rule { mode: Mode::Enforce, weight: 20, low: 6, high: 8 };
    assert_eq!(rules.rule(Signal::Cadence), expected);
    assert_eq!((rules.review_from, rules.referrers().unwrap().len()), (50, 0));
}

#[test]
fn the_hash_is_of_what_is_in_force() {
    let hash = |layers: [&Layer; 3]| *Ruleset::of(layers).hash();
    let default = hash([&NONE, &NONE, &NONE]);
    let says_the_default = layer(&[("review_from", 40.into())]);
    assert_eq!(hash([&NONE, &says_the_default, &NONE]), default);
    let other = layer(&[("review_from", 41.into())]);
    assert_eq!(hash([&other, &NONE, &NONE]), hash([&NONE, &NONE, &other]));
    let changes = [
        other,
        layer(&[rule("CADENCE", &[("weight", 1.into())])]),
        layer(&[rule("CADENCE", &[("mode", "off".into())])]),
        layer(&[("referrers", strings(&[]))]),
        layer(&[("deny", map(&[("subs", strings(&["referrers"]))]))]),
        layer(&[("deny", map(&[("referrers", strings(&["subs"]))]))]),
        layer(&[("allow", map(&[("prefixes", strings(&["10.0.0.0/8"]))]))]),
        layer(&[("checkout_paths", strings(&["/pay"]))]),
    ];
    let mut hashes: Vec<_> = changes.iter().map(|layer| hash([&NONE, layer, &NONE])).collect();
    hashes.push(default);
    hashes.push(*Ruleset::of_program([&NONE; 3], &["shop.example".to_owned()]).hash());
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), changes.len() + 2);
}

#[test]
fn a_checkout_page_is_known_by_whole_parts_of_its_path() {
    let rules = Ruleset::default();
    for path in ["/cart", "/CHECKOUT/step-2", "/de/kasse", "/en-gb/basket/", "/cart?x=1", "/cart#a"]
    {
        assert!(rules.is_checkout(&format!("https://shop.example{path}")), "{path}");
    }
    for path in ["", "/", "/cartoons", "/help-pages/checkout", "/a/b/cart", "/?next=/cart"] {
        assert!(!rules.is_checkout(&format!("https://shop.example{path}")), "{path}");
    }
}

/// The ramp as it is told: where it starts a quarter, where it ends all, and in quarters between.
fn severity_slowly(signal: Signal, rule: Rule, observed: u64) -> u32 {
    let is_time = signal.line().unit == Unit::Milliseconds;
    let (low, high, observed) = (i128::from(rule.low), i128::from(rule.high), i128::from(observed));
    let (low, high, observed) =
        if is_time { (-low, -high, -observed) } else { (low, high, observed) };
    let high = high.max(low);
    let is_past = |quarter: i128| 3 * (observed - low) >= (quarter - 1) * (high - low);
    if observed < low {
        return 0;
    }
    let reached = (1..=4).rev().find(|quarter| is_past(*quarter)).unwrap();
    reached as u32 * (ONE / 4)
}

proptest! {
    #[test]
    fn a_severity_climbs_in_quarters(
        signal in prop::sample::select(Signal::ALL),
        low in prop_oneof![0..20_u64, any::<u64>()],
        high in prop_oneof![0..20_u64, any::<u64>()],
        observed in prop_oneof![0..40_u64, any::<u64>()],
    ) {
        let change = Change { low: Some(low), high: Some(high), ..Change::default() };
        let layer = Layer { rules: BTreeMap::from([(signal, change)]), ..NONE };
        let rules = Ruleset::of([&NONE, &layer, &NONE]);
        let expected = severity_slowly(signal, rules.rule(signal), observed);
        prop_assert_eq!(rules.severity(signal, observed), expected);
    }

    #[test]
    fn a_layer_is_written_and_read_to_the_same(
        review_from in prop::option::of(1..=100_u8),
        unique_window_s in prop::option::of(60..=2_592_000_u64),
        changes in prop::collection::btree_map(
            prop::sample::select(Signal::ALL),
            (prop::sample::select(&Mode::ALL[..]), 0..=100_u8, prop::option::of(any::<u64>())),
            0..5,
        ),
        referrers in prop::option::of(prop::collection::btree_set("[a-z]{1,5}\\.example", 0..4)),
        subs in prop::option::of(prop::collection::btree_set(".{0,6}", 0..4)),
        prefixes in prop::option::of(prop::collection::vec((any::<u32>(), 0..=32_u8), 0..4)),
    ) {
        let rules = changes.into_iter().map(|(signal, (mode, weight, low))| {
            (signal, Change { mode: Some(mode), weight: Some(weight), low, high: low })
        });
        let mut written = Layer { review_from, unique_window_s, rules: rules.collect(), ..NONE };
        written.referrers = referrers.map(|set| set.into_iter().collect());
        written.deny_subs = subs.map(|set| set.into_iter().collect());
        let parse = |(bits, length): (u32, u8)| {
            let text = format!("{}/{length}", std::net::Ipv4Addr::from(bits));
            headwater_engine::fraud::hosts::Prefix::parse(&text).unwrap()
        };
        written.allow_prefixes = prefixes.map(|prefixes| {
            let mut prefixes: Vec<_> = prefixes.into_iter().map(parse).collect();
            prefixes.sort_unstable();
            prefixes.dedup();
            prefixes
        });
        let bytes = written.to_bytes();
        prop_assert_eq!(&Layer::read(&bytes), &written);
        prop_assert_eq!(written.is_empty(), bytes == [0x80]);
    }
}

fn apply(controls: &mut Controls, object: &str, number: u64, revision: u64, value: &Value) -> bool {
    let value = pack(value);
    let control = Control { object, number, revision, value: &value };
    controls.apply(&control, &Limits::default())
}

fn with_review(score: u64) -> (&'static str, Value) {
    ("fraud", map(&[("review_from", score.into())]))
}

fn enrolment(partner: u64, more: &[(&str, Value)]) -> Value {
    let pair = [("program", 1.into()), ("partner", Value::from(partner))];
    map(&[&pair[..], more].concat())
}

#[test]
fn the_partner_goes_over_the_program_and_the_program_over_the_network() {
    let mut controls = Controls::default();
    let network = Arc::new(layer(&[("review_from", 70.into())]));
    let review = |controls: &Controls, partner| {
        controls.ruleset(1, partner, &network, controls.revision).review_from
    };
    assert_eq!(review(&controls, 3), 70);
    apply(&mut controls, "program", 1, 1, &map(&[with_review(60)]));
    assert_eq!(review(&controls, 3), 60);
    apply(&mut controls, "enrolment", 9, 2, &enrolment(3, &[with_review(50)]));
    assert_eq!((review(&controls, 3), review(&controls, 4)), (50, 60));
    apply(&mut controls, "program", 1, 3, &map(&[]));
    assert_eq!((review(&controls, 3), review(&controls, 4)), (50, 70));
    apply(&mut controls, "enrolment", 9, 4, &enrolment(3, &[]));
    assert_eq!(review(&controls, 3), 70);
}

#[test]
fn the_rules_are_those_of_the_revision_asked_for() {
    let mut controls = Controls::default();
    let network = Arc::new(NONE);
    apply(&mut controls, "program", 1, 1, &map(&[with_review(60)]));
    apply(&mut controls, "enrolment", 9, 2, &enrolment(3, &[with_review(50)]));
    apply(&mut controls, "program", 1, 3, &map(&[with_review(61)]));
    apply(&mut controls, "enrolment", 9, 4, &enrolment(3, &[]));
    let review = |partner, revision| controls.ruleset(1, partner, &network, revision).review_from;
    assert_eq!([1, 2, 3, 4, 9].map(|revision| review(3, revision)), [60, 50, 50, 61, 61]);
    assert_eq!([1, 2, 3, 4, 9].map(|revision| review(4, revision)), [60, 60, 61, 61, 61]);
}

#[test]
fn partners_without_terms_share_the_rules_that_are_ready() {
    let mut controls = Controls::default();
    let network = Arc::new(NONE);
    apply(&mut controls, "program", 1, 1, &map(&[with_review(60)]));
    let of = |controls: &Controls, network: &Arc<Layer>, partner| {
        controls.ruleset(1, partner, network, controls.revision)
    };
    let first = of(&controls, &network, 3);
    assert!(Arc::ptr_eq(&first, &of(&controls, &network, 4)));
    let copy = controls.clone();
    assert_eq!(copy, controls, "what is ready is not compared");
    assert_eq!(of(&copy, &network, 3), first);
    let other = Arc::new(layer(&[("unique_window_seconds", 60.into())]));
    assert_eq!(of(&controls, &other, 3).unique_window_ms, 60_000);
    assert_eq!(of(&controls, &network, 3), first);
    for program in 0..2 * RULESETS_READY_MAX as u64 {
        assert_eq!(controls.ruleset(program + 10, 1, &network, 9).review_from, 40);
    }
    assert_eq!(of(&controls, &network, 3), first);
}

#[test]
fn the_site_of_a_program_is_where_its_links_lead() {
    let mut controls = Controls::default();
    let value = map(&[
        ("destination_url", "https://www.shop.example/landing".into()),
        ("deep_link_hosts", strings(&["*.brand.example", "brand.example"])),
    ]);
    apply(&mut controls, "program", 1, 1, &value);
    let rules = controls.ruleset(1, 3, &Arc::new(NONE), 1);
    assert!(rules.is_own_site("www.shop.example") && rules.is_own_site("de.brand.example"));
    assert!(!rules.is_own_site("shop.example"));
}

#[test]
fn a_partner_s_own_identifiers_are_kept_as_of_a_revision() {
    let mut controls = Controls::default();
    let own = |list: &[(u64, u64)]| ("identity", identifiers(list));
    apply(&mut controls, "enrolment", 9, 1, &enrolment(3, &[own(&[(VISITOR, 2), (EMAIL, 1)])]));
    apply(&mut controls, "enrolment", 9, 2, &enrolment(3, &[]));
    let kinds = |revision| {
        let identity = controls.partner_identity(1, 3, revision);
        identity.iter().map(|one| one.kind as u64).collect::<Vec<_>>()
    };
    assert_eq!((kinds(1), kinds(2)), (vec![EMAIL, VISITOR], vec![]));
    assert!(controls.partner_identity(1, 4, 1).is_empty());
}
