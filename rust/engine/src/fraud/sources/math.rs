//! Logarithms and tails of the Poisson distribution in integers.

/// Fractional bits of every count here: counts fade, so they are no whole numbers.
pub const COUNT_BITS: u32 = 8;
/// Fractional bits of a logarithm.
pub const LOG_BITS: u32 = 16;
/// Above this mean the square-root approximation stands in for the sum: by then they agree to a
/// fraction of a percent, and the sum would take thousands of terms.
const MEAN_SUMMED_MAX: u64 = 4096 << COUNT_BITS;

/// A probability below which something counts as rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds {
    /// One in so many.
    pub one_in: u64,
    /// The same as a normal deviate, in 16 fractional bits.
    pub deviate: u64,
}

impl Odds {
    /// One in a hundred: 2.3263 standard deviations.
    pub const HUNDREDTH: Self = Self { one_in: 100, deviate: 152_460 };
    /// One in a million: 4.7534 standard deviations.
    pub const MILLIONTH: Self = Self { one_in: 1_000_000, deviate: 311_520 };
}

/// The logarithm of a number to the base two, rounded down; 0 of 0.
pub fn log2(value: u64) -> u64 {
    let Some(whole) = value.checked_ilog2() else { return 0 };
    // The mantissa, in `[1, 2)` of 2^62: each squaring gives one more bit.
    let mut mantissa = (u128::from(value) << 62) >> whole;
    let mut log = u64::from(whole);
    for _ in 0..LOG_BITS {
        mantissa = (mantissa * mantissa) >> 62;
        let bit = u64::from(mantissa >= 1 << 63);
        mantissa >>= bit;
        log = log << 1 | bit;
    }
    log
}

/// The terms of a Poisson distribution, the largest 2^64, as sums of those up to `bound` and of
/// those from `bound` on.
fn tails(mean: u64, bound: u64) -> (u128, u128, u128) {
    let mean = u128::from(mean);
    let mode = mean >> COUNT_BITS;
    let bound = u128::from(bound);
    let (mut below, mut above, mut total) = (0, 0, 0);
    let mut add = |place: u128, term: u128| {
        total += term;
        below += if place <= bound { term } else { 0 };
        above += if place >= bound { term } else { 0 };
    };
    let (mut term, mut place) = (1 << 64, mode);
    while term > 0 {
        add(place, term);
        place += 1;
        term = term * mean / (place << COUNT_BITS);
    }
    let (mut term, mut place) = (1 << 64, mode);
    while place > 0 && term > 0 {
        term = term * (place << COUNT_BITS) / mean.max(1);
        place -= 1;
        add(place, term);
    }
    (below, above, total)
}

/// Whether so few events are rare where `mean` are expected; both in [`COUNT_BITS`], a count that
/// is not whole rounded up. Of what is as likely as what was seen half counts: the tail of whole
/// numbers alone would ask for more than it says, most of all of the smallest (it comes within a
/// hair of the posterior chance of such a mean under Jeffreys' prior).
pub fn are_so_few_rare(count: u64, mean: u64, odds: Odds) -> bool {
    let count = count.div_ceil(1 << COUNT_BITS);
    if count << COUNT_BITS >= mean {
        return false;
    }
    if mean > MEAN_SUMMED_MAX {
        let half = 1 << (COUNT_BITS - 1);
        return root(mean) > root((count << COUNT_BITS) + half) + odds.deviate / 2;
    }
    let (below, above, total) = tails(mean, count);
    let seen = (below + above).saturating_sub(total);
    (below - seen / 2) * u128::from(odds.one_in) < total
}

/// Whether so many events are rare where `mean` are expected; both in [`COUNT_BITS`], a count that
/// is not whole rounded down.
pub fn are_so_many_rare(count: u64, mean: u64, odds: Odds) -> bool {
    let count = count >> COUNT_BITS;
    if count << COUNT_BITS <= mean {
        return false;
    }
    if mean > MEAN_SUMMED_MAX {
        return root(count << COUNT_BITS) > root(mean) + odds.deviate / 2;
    }
    let (_, above, total) = tails(mean, count);
    above * u128::from(odds.one_in) < total
}

/// The square root of a count, in 16 fractional bits.
fn root(count: u64) -> u64 {
    let square = u128::from(count) << (32 - COUNT_BITS);
    u64::try_from(square.isqrt()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the oracle counts in floats"
)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right_to_the_last_bit() {
        assert_eq!(log2(0), 0);
        for value in (1..5000).chain([1 << 20, (1 << 20) + 1, u64::MAX / 3, u64::MAX]) {
            let exact = (value as f64).log2() * 65536.0;
            assert!((log2(value) as f64 - exact).abs() <= 1.01, "{value}");
        }
    }

    /// The probability of fewer than `count` events and half that of `count`, and of at least
    /// `count`.
    fn oracle(count: u64, mean: f64) -> (f64, f64) {
        let mut log_term = -mean;
        let mut below = 0.0;
        for at in 0..count {
            below += log_term.exp();
            log_term += mean.ln() - ((at + 1) as f64).ln();
        }
        let last = log_term.exp();
        // From `count` on, summed upwards: the difference from one would lose small tails.
        let (mut above, mut term, mut at) = (0.0, last, count);
        while term > above * 1e-18 || (at as f64) < mean {
            above += term;
            at += 1;
            term *= mean / at as f64;
        }
        (below + last / 2.0, above)
    }

    #[test]
    fn tails_agree_with_the_sum_in_floats() {
        for mean_tenths in [1_u64, 7, 30, 46, 47, 99, 250, 1000, 5003, 20_000] {
            let mean = mean_tenths as f64 / 10.0;
            let mean_bits = (mean_tenths << COUNT_BITS) / 10;
            let mean_exact = mean_bits as f64 / 256.0;
            for step in 0..80 {
                let count = (mean * f64::from(step) / 20.0) as u64;
                let (half, above) = oracle(count, mean_exact);
                let counted = count << COUNT_BITS;
                for odds in [Odds::HUNDREDTH, Odds::MILLIONTH] {
                    let rare = 1.0 / odds.one_in as f64;
                    if (half / rare - 1.0).abs() > 1e-6 && (count as f64) < mean_exact {
                        let few = are_so_few_rare(counted, mean_bits, odds);
                        assert_eq!(few, half < rare, "{count} of {mean}");
                    }
                    if (above / rare - 1.0).abs() > 1e-6 && count as f64 > mean_exact {
                        let many = are_so_many_rare(counted, mean_bits, odds);
                        assert_eq!(many, above < rare, "{count} of {mean}");
                    }
                }
            }
        }
    }

    #[test]
    fn above_the_bound_the_square_root_takes_over_without_a_jump() {
        let bound = MEAN_SUMMED_MAX;
        let last = |mean: u64, is_rare: &dyn Fn(u64, u64) -> bool| {
            (0..8192_u64).filter(|count| is_rare(count << COUNT_BITS, mean)).count()
        };
        for odds in [Odds::HUNDREDTH, Odds::MILLIONTH] {
            let few = |count, mean| are_so_few_rare(count, mean, odds);
            let many = |count, mean| are_so_many_rare(count, mean, odds);
            assert!(last(bound, &few).abs_diff(last(bound + 1, &few)) <= 4);
            assert!(last(bound, &many).abs_diff(last(bound + 1, &many)) <= 4);
        }
    }

    #[test]
    fn nothing_expected_makes_nothing_rare_but_something() {
        assert!(!are_so_few_rare(0, 0, Odds::HUNDREDTH));
        assert!(are_so_many_rare(1 << COUNT_BITS, 0, Odds::MILLIONTH));
        assert!(!are_so_many_rare(0, 0, Odds::MILLIONTH));
    }
}
