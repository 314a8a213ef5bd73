//! Decisions over one visitor's touches, against an oracle that applies the rules one by one.

use std::collections::{BTreeMap, BTreeSet};

use headwater_engine::attribution::models::Touch;
use headwater_engine::attribution::rules::Model;
use proptest::prelude::*;

use crate::attribution_shared::{candidates, credits, world, Credits};
use crate::common::*;
use crate::models::{oracle, HALF_LIFE_MS};

const CLASSES: [&str; 4] = ["exclusive_coupon", "click", "soft_click", "impression"];
const WINDOW_MS: u64 = 20 * HALF_LIFE_MS;
const SOFT_WINDOW_MS: u64 = 10 * HALF_LIFE_MS;
const IMPRESSION_WINDOW_MS: u64 = 15 * HALF_LIFE_MS;
const PAUSED: u64 = 4;

#[derive(Clone, Debug)]
struct Setting {
    model: Model,
    classes: Vec<usize>,
    latest: Option<bool>,
    named_wins: bool,
    named: Option<u64>,
    owner: Option<u64>,
    /// Partner, class and age in half-lives; the ids count from 100.
    touches: Vec<(u64, usize, u64)>,
}

fn settings() -> impl Strategy<Value = Setting> {
    let model = prop::sample::select(Model::ALL.to_vec());
    let classes = prop::sample::subsequence(vec![0, 1, 2, 3], 1..=4).prop_shuffle();
    let named = prop_oneof![2 => Just(None), 1 => (100..110_u64).prop_map(Some)];
    let owner = prop_oneof![2 => Just(None), 1 => (1..6_u64).prop_map(Some)];
    let touches = prop::collection::vec((1..6_u64, 1..4_usize, 0..24_u64), 0..12);
    let choices = (any::<Option<bool>>(), any::<bool>());
    (model, classes, choices, named, owner, touches).prop_map(
        |(model, classes, (latest, named_wins), named, owner, touches)| Setting {
            model,
            classes,
            latest,
            named_wins,
            named,
            owner,
            touches,
        },
    )
}

/// A touch that may earn, as the oracle sees it: time, id (none of a coupon), partner, class.
type Eligible = (u64, Option<u64>, u64, usize);

impl Setting {
    fn eligible(&self, sold_ms: u64) -> Vec<Eligible> {
        let window = [0, WINDOW_MS, SOFT_WINDOW_MS, IMPRESSION_WINDOW_MS];
        let coupon = self.owner.map(|owner| (sold_ms, None, owner, 0));
        let touches = (100..).zip(&self.touches);
        touches
            .filter(|(_, (_, class, age))| age * HALF_LIFE_MS < window[*class])
            .map(|(id, (partner, class, age))| {
                (sold_ms - age * HALF_LIFE_MS, Some(id), *partner, *class)
            })
            .chain(coupon)
            .filter(|(_, _, partner, _)| *partner != PAUSED)
            .collect()
    }

    fn decide(&self, sold_ms: u64) -> Credits {
        let eligible = self.eligible(sold_ms);
        let rank = |class: usize| self.classes.iter().position(|other| *other == class);
        let mut chosen: Vec<Eligible> =
            eligible.iter().copied().filter(|touch| rank(touch.3).is_some()).collect();
        let named = self.named.filter(|_| self.named_wins);
        if chosen.iter().any(|touch| touch.1.is_some() && touch.1 == named) {
            chosen.retain(|touch| touch.1 == named);
        }
        let best = chosen.iter().filter_map(|touch| rank(touch.3)).min();
        chosen.retain(|touch| rank(touch.3) == best);
        chosen.sort_unstable();
        let splits = !matches!(self.model, Model::LastClick | Model::FirstClick);
        if self.latest.unwrap_or(splits) {
            let latest: BTreeMap<u64, Eligible> = chosen.iter().map(|t| (t.2, *t)).collect();
            let latest: BTreeSet<Eligible> = latest.into_values().collect();
            chosen.retain(|touch| latest.contains(touch));
        }
        if chosen.is_empty() {
            return Vec::new();
        }
        let touch = |t: &Eligible| Touch { touch_ms: t.0, click_id: t.1.map(id) };
        let ordered: Vec<Touch> = chosen.iter().map(touch).collect();
        let shares = oracle(self.model, [400_000, 200_000, 400_000], &ordered);
        let kept = |touch: &Eligible| {
            let own = eligible.iter().filter(|other| other.2 == touch.2 && other.1.is_some());
            touch.1.or_else(|| own.max().and_then(|other| other.1))
        };
        let credit = |(touch, share): (&Eligible, u64)| (touch.2, kept(touch), share);
        chosen.iter().zip(shares).map(credit).filter(|credit| credit.2 > 0).collect()
    }

    fn terms(&self) -> Vec<(&'static str, Value)> {
        let classes = self.classes.iter().map(|class| Value::from(CLASSES[*class])).collect();
        let mut terms = vec![
            ("model", self.model.code().into()),
            ("half_life_ms", HALF_LIFE_MS.into()),
            ("class_order", Value::Array(classes)),
            ("window_ms", WINDOW_MS.into()),
            ("soft_click_window_ms", SOFT_WINDOW_MS.into()),
            ("impression_window_ms", IMPRESSION_WINDOW_MS.into()),
            ("explicit_click", if self.named_wins { "wins" } else { "candidate" }.into()),
        ];
        terms.extend(self.latest.map(|latest| ("per_partner_latest", latest.into())));
        terms
    }

    fn run(&self) -> Result {
        let sold_ms = T0;
        let mut world = world(&self.terms());
        world.push(head(91, T0).enrolment(PAUSED, "paused", 1));
        let value =
            |owner: u64| [("program", 1.into()), ("partner", owner.into()), ("code", "TEN".into())];
        if let Some(owner) = self.owner {
            world.push(head(92, T0).control("promo_code", 1, 1, &value(owner)));
        }
        for (event, (partner, class, age)) in (100..).zip(&self.touches) {
            let flags = [0, 0, 32, 64][*class];
            let at = head(event, T0).claim(sold_ms - age * HALF_LIFE_MS);
            world.push(at.click_in(1, *partner, flags, &[(VISITOR, 4)]));
        }
        let by = Sale { click: self.named, promo: Some("ten"), ..sale(1).by(VISITOR, 4) };
        world.push(head(1, T0).sale(&by))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn decisions_agree_with_the_rules_applied_one_by_one(setting in settings()) {
        let result = setting.run();
        let got = credits(&result);
        prop_assert_eq!(&got, &setting.decide(T0));
        let total: u64 = got.iter().map(|credit| credit.2).sum();
        prop_assert_eq!(total, if got.is_empty() { 0 } else { 1_000_000 });
        let shown = candidates(&result);
        let shared: u64 = shown.iter().map(|candidate| candidate.3).sum();
        prop_assert_eq!(shared, total);
        for (_, _, outcome, share) in shown {
            prop_assert_eq!(outcome == "credited", share > 0);
        }
    }
}
