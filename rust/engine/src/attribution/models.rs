//! How the touches of one conversion share it: integers only, the same on every machine.
//!
//! A model gives each touch a weight. Weights become whole parts per million by the method of
//! the largest remainder, of equal remainders the earlier touch first, so shares always sum to
//! [`SHARE_PPM`].

use std::cmp::Reverse;

use super::rules::{Model, Rules, SHARE_PPM};
use crate::Id;

/// A touch that takes part, ordered by time, then click id; a coupon has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// When it happened, milliseconds.
    pub touch_ms: u64,
    /// The click.
    pub click_id: Option<Id>,
}

/// Bits of a half-life's fraction that count. A weight is off by less than one part in 2^39 (the
/// rest of the fraction, cut off), and two fractions that differ in these bits differ in weight by
/// far more than rounding does (below one part in 2^55), so an older touch never weighs more.
const FRACTION_BITS: u32 = 40;
/// A weight of one, as fixed point.
const ONE: u128 = 1 << 64;

/// The share of each touch in parts per million, in the order given. They sum to [`SHARE_PPM`]
/// unless there is no touch. The order given plays no part: equal touches apart, a permutation
/// of the touches permutes the shares.
pub fn shares(rules: &Rules, touches: &[Touch]) -> Vec<u64> {
    let mut ordered: Vec<(Touch, usize)> = touches.iter().copied().zip(0..).collect();
    ordered.sort_unstable();
    let weights = match rules.model {
        Model::LastClick => ends(ordered.len(), 0, 0, 1),
        Model::FirstClick => ends(ordered.len(), 1, 0, 0),
        Model::Linear => ends(ordered.len(), 1, 1, 1),
        Model::Position => by_position(ordered.len(), rules.position_ppm.map(u128::from)),
        Model::TimeDecay => by_age(&ordered, rules.half_life_ms),
    };
    let mut by_place: Vec<(usize, u64)> = Vec::with_capacity(touches.len());
    let places = ordered.iter().map(|(_, place)| *place);
    by_place.extend(places.zip(apportion(&weights)));
    by_place.sort_unstable();
    by_place.into_iter().map(|(_, share)| share).collect()
}

/// Weights of touches in order: of the first, of each in the middle, of the last. One touch
/// alone takes all.
fn ends(count: usize, first: u128, middle: u128, last: u128) -> Vec<u128> {
    let weight = |at: usize| match at {
        _ if count == 1 => 1,
        0 => first,
        _ if at + 1 == count => last,
        _ => middle,
    };
    (0..count).map(weight).collect()
}

/// The middle's part is divided evenly among those in it; instead, the ends are multiplied.
fn by_position(count: usize, [first, middle, last]: [u128; 3]) -> Vec<u128> {
    let divided = count.saturating_sub(2).max(1) as u128;
    ends(count, first * divided, middle, last * divided)
}

/// Ages are taken from the newest touch: shares are the same as from the conversion, since every
/// weight shrinks by one factor, and the newest always weighs one.
fn by_age(ordered: &[(Touch, usize)], half_life_ms: u64) -> Vec<u128> {
    let newest_ms = ordered.last().map_or(0, |(touch, _)| touch.touch_ms);
    let roots = roots();
    let weight = |(touch, _): &(Touch, usize)| {
        halved(newest_ms.saturating_sub(touch.touch_ms), half_life_ms, &roots)
    };
    ordered.iter().map(weight).collect()
}

/// `2^(-1/2), 2^(-1/4), 2^(-1/8), ...` as fractions of 2^64, each the square root of the one
/// before, rounded down. Rounding does not add up: a root halves the error it inherits.
fn roots() -> Vec<u128> {
    let root = |value: &u128| Some((value << 64).isqrt());
    std::iter::successors(root(&(ONE / 2)), root).take(FRACTION_BITS as usize).collect()
}

/// `2^(-age / half-life)` as a fraction of 2^64. The whole half-lives shift; of the rest, each
/// bit of the fraction multiplies by its root. Nothing is left after 65 half-lives.
fn halved(age_ms: u64, half_life_ms: u64, roots: &[u128]) -> u128 {
    let half_life_ms = half_life_ms.max(1);
    let whole = u32::try_from(age_ms / half_life_ms).unwrap_or(u32::MAX);
    let rest = u128::from(age_ms % half_life_ms);
    let fraction = (rest << FRACTION_BITS) / u128::from(half_life_ms);
    let bits = (0..FRACTION_BITS).rev().map(|bit| fraction >> bit & 1 == 1);
    let factors = bits.zip(roots).filter(|(is_set, _)| *is_set);
    let weight = factors.fold(ONE, |weight, (_, root)| (weight * root) >> 64);
    weight.checked_shr(whole).unwrap_or(0)
}

/// Whole parts per million in proportion to weights. Where all are zero they count as equal.
///
/// A weight is at most 2^64 and a decision has far fewer than 2^40 touches, so nothing here
/// comes near 2^128.
fn apportion(weights: &[u128]) -> Vec<u64> {
    let equal = vec![1; weights.len()];
    let total: u128 = weights.iter().sum();
    let (weights, total) =
        if total == 0 { (equal.as_slice(), equal.len() as u128) } else { (weights, total) };
    let quotas = weights.iter().map(|weight| weight * u128::from(SHARE_PPM));
    let mut shares: Vec<(u64, u128)> =
        quotas.map(|quota| (u64::try_from(quota / total).unwrap_or(0), quota % total)).collect();
    let given: u64 = shares.iter().map(|(share, _)| share).sum();
    // A stable sort: of equal remainders the earlier touch comes first.
    let mut by_remainder: Vec<&mut (u64, u128)> = shares.iter_mut().collect();
    by_remainder.sort_by_key(|(_, remainder)| Reverse(*remainder));
    let left = usize::try_from(SHARE_PPM - given).unwrap_or(0);
    for (share, _) in by_remainder.into_iter().take(left) {
        *share += 1;
    }
    shares.into_iter().map(|(share, _)| share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of any size, the least significant digit first, to the base 2^32.
    fn product(one: &[u64], other: &[u64]) -> Vec<u64> {
        let mut digits = vec![0; one.len() + other.len()];
        for (at, a) in one.iter().enumerate() {
            let mut carry = 0;
            for (shift, b) in other.iter().chain(&[0]).enumerate() {
                let place = &mut digits[at + shift];
                let value = *place + a * b + carry;
                (*place, carry) = (value & 0xffff_ffff, value >> 32);
            }
        }
        digits
    }

    fn power(base: u128, exponent: u64) -> Vec<u64> {
        let digit = |place: u32| u64::try_from((base >> (32 * place)) & 0xffff_ffff).unwrap();
        let base: Vec<u64> = (0..3).map(digit).collect();
        (0..exponent).fold(vec![1], |value, _| product(&value, &base))
    }

    /// Whether `base^exponent <= 2^bits`.
    fn is_at_most(base: u128, exponent: u64, bits: u64) -> bool {
        let digits = power(base, exponent);
        let top = digits.iter().rposition(|digit| *digit != 0).unwrap();
        let (place, bit) = (usize::try_from(bits / 32).unwrap(), bits % 32);
        let rest_is_zero = digits[..top].iter().all(|digit| *digit == 0);
        let limit = 1 << bit;
        top < place
            || (top == place && (digits[top] < limit || digits[top] == limit && rest_is_zero))
    }

    #[test]
    fn big_numbers_compare_as_they_should() {
        assert!(is_at_most(1 << 40, 3, 120) && is_at_most((1 << 40) - 1, 3, 120));
        assert!(!is_at_most((1 << 40) + 1, 3, 120));
        assert!(is_at_most(3, 5, 8) && !is_at_most(3, 5, 7));
    }

    #[test]
    fn a_weight_is_the_power_of_two_to_one_part_in_two_to_the_39() {
        let roots = roots();
        for half_life_ms in [1, 2, 3, 7, 10, 48] {
            for age_ms in 0..4 * half_life_ms {
                // w = 2^(64 - age/H), so w^H = 2^(64 H - age), exactly.
                let weight = halved(age_ms, half_life_ms, &roots);
                let bits = 64 * half_life_ms - age_ms;
                let slack = weight >> 39;
                assert!(is_at_most(weight - slack - 1, half_life_ms, bits), "{age_ms}");
                assert!(!is_at_most(weight + slack + 1, half_life_ms, bits), "{age_ms}");
            }
        }
    }

    #[test]
    fn whole_half_lives_are_exact_and_65_leave_nothing() {
        let roots = roots();
        for whole in 0..70 {
            let expected = ONE.checked_shr(whole).unwrap();
            assert_eq!(halved(u64::from(whole) * 1000, 1000, &roots), expected);
        }
        assert_eq!(halved(65 * 1000, 1000, &roots), 0);
        assert_eq!(halved(u64::MAX, 1, &roots), 0);
        assert_eq!(halved(5, 0, &roots), ONE >> 5);
        assert!(halved(u64::MAX - 1, u64::MAX, &roots) > ONE / 2);
    }

    #[test]
    fn an_older_touch_never_weighs_more() {
        let roots = roots();
        for half_life_ms in [1, 3, 1000, 604_800_000, u64::MAX] {
            let step = (half_life_ms / 5000).max(1);
            let ages = (0..20_000).map(|at| step.saturating_mul(at));
            let edges = [half_life_ms - 1, half_life_ms, half_life_ms.saturating_add(1)];
            let mut ages: Vec<u64> = ages.chain(edges).collect();
            ages.sort_unstable();
            let weights: Vec<u128> =
                ages.into_iter().map(|age| halved(age, half_life_ms, &roots)).collect();
            assert!(weights.is_sorted_by(|newer, older| newer >= older));
        }
        let (newer, older) = (halved(500, 1 << 40, &roots), halved(501, 1 << 40, &roots));
        assert!(newer > older, "one part in 2^40 of a half-life tells");
    }
}
