//! How touches share a conversion, against an oracle of exact fractions.

use headwater_engine::attribution::models::{shares, Touch};
use headwater_engine::attribution::rules::{Model, Rules, SHARE_PPM};
use proptest::prelude::*;

use crate::common::*;

pub(crate) const HALF_LIFE_MS: u64 = 1000;

fn rules(model: Model, position_ppm: [u64; 3]) -> Rules {
    Rules { model, position_ppm, half_life_ms: HALF_LIFE_MS, ..Rules::default() }
}

fn touch(touch_ms: u64, number: u64) -> Touch {
    Touch { touch_ms, click_id: Some(id(number)) }
}

fn touches(times: &[u64]) -> Vec<Touch> {
    times.iter().zip(0..).map(|(ms, number)| touch(*ms, number)).collect()
}

fn models() -> impl Strategy<Value = Model> {
    prop::sample::select(Model::ALL.to_vec())
}

fn positions() -> impl Strategy<Value = [u64; 3]> {
    let any = (0..=SHARE_PPM, 0..=SHARE_PPM).prop_map(|(a, b)| {
        let (low, high) = (a.min(b), a.max(b));
        [low, high - low, SHARE_PPM - high]
    });
    let edges = vec![[SHARE_PPM, 0, 0], [0, SHARE_PPM, 0], [0, 0, SHARE_PPM]];
    prop_oneof![4 => any, 1 => prop::sample::select(edges), 1 => Just([400_000, 200_000, 400_000])]
}

/// Times few enough that some are equal, and some far apart.
fn times() -> impl Strategy<Value = Vec<u64>> {
    let near = prop::sample::select((0..6).map(|n| T0 + 700 * n).collect::<Vec<_>>());
    prop::collection::vec(prop_oneof![5 => near, 1 => 0..2 * T0], 1..90)
}

/// Exact weights, as whole numbers, of touches in order of time.
fn weights(model: Model, [first, middle, last]: [u64; 3], ordered: &[Touch]) -> Vec<u128> {
    let count = ordered.len();
    let newest_ms = ordered[count - 1].touch_ms;
    let weight = |at: usize| -> u128 {
        let is_first = at == 0;
        let is_last = at == count - 1;
        match model {
            Model::LastClick => u128::from(is_last),
            Model::FirstClick => u128::from(is_first),
            Model::Linear => 1,
            Model::Position if count == 1 => 1,
            Model::Position if count == 2 => u128::from(if is_first { first } else { last }),
            Model::Position if is_first => u128::from(first) * (count - 2) as u128,
            Model::Position if is_last => u128::from(last) * (count - 2) as u128,
            Model::Position => u128::from(middle),
            Model::TimeDecay => {
                let ages = (newest_ms - ordered[at].touch_ms) / HALF_LIFE_MS;
                (1_u128 << 64) >> ages.min(100)
            }
        }
    };
    let weights: Vec<u128> = (0..count).map(weight).collect();
    if weights.iter().all(|weight| *weight == 0) {
        return vec![1; count];
    }
    weights
}

/// The largest remainder, by its definition: a touch has one part more than its quota's whole
/// number if fewer touches than there are parts left come before it.
pub(crate) fn oracle(model: Model, position_ppm: [u64; 3], ordered: &[Touch]) -> Vec<u64> {
    let weights = weights(model, position_ppm, ordered);
    let total: u128 = weights.iter().sum();
    let quota = |at: usize| weights[at] * u128::from(SHARE_PPM);
    let whole = |at: usize| quota(at) / total;
    let rest = |at: usize| quota(at) % total;
    let places = 0..weights.len();
    let left = u128::from(SHARE_PPM) - places.clone().map(whole).sum::<u128>();
    let share = |at: usize| {
        let before =
            |other: &usize| rest(*other) > rest(at) || (rest(*other) == rest(at) && *other < at);
        let extra = (places.clone().filter(before).count() as u128) < left;
        u64::try_from(whole(at) + u128::from(extra)).unwrap()
    };
    places.clone().map(share).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn shares_sum_to_the_whole(model in models(), position in positions(), times in times()) {
        let shares = shares(&rules(model, position), &touches(&times));
        prop_assert_eq!(shares.len(), times.len());
        prop_assert_eq!(shares.iter().sum::<u64>(), SHARE_PPM);
    }

    #[test]
    fn the_order_given_plays_no_part(
        model in models(),
        position in positions(),
        (times, places) in times().prop_flat_map(|times| {
            let places: Vec<usize> = (0..times.len()).collect();
            (Just(times), Just(places).prop_shuffle())
        }),
    ) {
        let rules = rules(model, position);
        let given = touches(&times);
        let shuffled: Vec<Touch> = places.iter().map(|place| given[*place]).collect();
        let plain = shares(&rules, &given);
        let expected: Vec<u64> = places.iter().map(|place| plain[*place]).collect();
        prop_assert_eq!(shares(&rules, &shuffled), expected);
    }

    #[test]
    fn touches_of_one_time_share_evenly(times in times()) {
        for model in [Model::Linear, Model::TimeDecay] {
            let shares = shares(&rules(model, [0; 3]), &touches(&times));
            for (at, share) in shares.iter().enumerate() {
                let alike = (0..at).filter(|o| model == Model::Linear || times[*o] == times[at]);
                for other in alike {
                    prop_assert!(share.abs_diff(shares[other]) <= 1);
                }
            }
        }
    }

    #[test]
    fn a_later_touch_never_decays_more(times in times(), half_life_ms in 1_u64..4000) {
        let rules = Rules { half_life_ms, ..rules(Model::TimeDecay, [0; 3]) };
        let mut given = touches(&times);
        given.sort_unstable();
        let shares = shares(&rules, &given);
        for (earlier, later) in shares.iter().zip(&shares[1..]) {
            // Of two that are all but alike the earlier has the odd part.
            prop_assert!(earlier <= &(later + 1));
        }
    }

    #[test]
    fn shares_are_those_of_exact_fractions(
        model in models(),
        position in positions(),
        halves in prop::collection::vec(0_u64..70, 1..40),
    ) {
        let times: Vec<u64> = halves.iter().map(|half| T0 - half * HALF_LIFE_MS).collect();
        let mut given = touches(&times);
        given.sort_unstable();
        let expected = oracle(model, position, &given);
        prop_assert_eq!(shares(&rules(model, position), &given), expected);
    }
}

#[test]
fn the_usual_cases_by_hand() {
    let of =
        |model, times: &[u64]| shares(&rules(model, [400_000, 200_000, 400_000]), &touches(times));
    assert_eq!(of(Model::LastClick, &[1, 2, 3]), [0, 0, 1_000_000]);
    assert_eq!(of(Model::FirstClick, &[1, 2, 3]), [1_000_000, 0, 0]);
    assert_eq!(of(Model::Linear, &[1, 2, 3]), [333_334, 333_333, 333_333]);
    assert_eq!(
        of(Model::Linear, &[5, 5, 5, 5, 5, 5]),
        [166_667, 166_667, 166_667, 166_667, 166_666, 166_666]
    );
    assert_eq!(of(Model::Position, &[1]), [1_000_000]);
    assert_eq!(of(Model::Position, &[1, 2]), [500_000, 500_000]);
    assert_eq!(of(Model::Position, &[1, 2, 3]), [400_000, 200_000, 400_000]);
    assert_eq!(of(Model::Position, &[1, 2, 3, 4, 5]), [400_000, 66_667, 66_667, 66_666, 400_000]);
    assert_eq!(of(Model::TimeDecay, &[0, HALF_LIFE_MS]), [333_333, 666_667]);
    // 1 : 2^(1/2), to the last part.
    assert_eq!(of(Model::TimeDecay, &[0, HALF_LIFE_MS / 2]), [414_214, 585_786]);
    assert_eq!(of(Model::TimeDecay, &[0, T0]), [0, 1_000_000]);
    assert!(of(Model::Linear, &[]).is_empty());
}

#[test]
fn two_touches_share_by_the_weights_of_the_ends() {
    let of = |position| shares(&rules(Model::Position, position), &touches(&[1, 2]));
    assert_eq!(of([600_000, 200_000, 200_000]), [750_000, 250_000]);
    assert_eq!(of([1_000_000, 0, 0]), [1_000_000, 0]);
    assert_eq!(of([0, 1_000_000, 0]), [500_000, 500_000]);
}

#[test]
fn however_old_all_touches_are_somebody_has_the_credit() {
    let rules = Rules { half_life_ms: 1, ..rules(Model::TimeDecay, [0; 3]) };
    assert_eq!(shares(&rules, &touches(&[0, 0, 1])), [250_000, 250_000, 500_000]);
}
