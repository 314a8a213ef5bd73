//! Small integer mathematics: how many different things a bitmap has seen, and logarithms.

/// Different things for each number of bits set, by linear counting: `-64 ln(1 - set/64)`. With
/// all bits set it is anybody's guess, and 64 is far beyond every bound it is held against. For
/// up to 16 things the standard error is some one and a half, for up to 40 some four.
const ESTIMATES: [u16; 65] = [
    0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 17, 18, 20, 21, 23, 24, 25, 27, 28, 30, 32,
    33, 35, 37, 39, 40, 42, 44, 46, 48, 51, 53, 55, 58, 60, 63, 65, 68, 71, 74, 78, 81, 85, 89, 93,
    97, 102, 107, 113, 119, 126, 133, 142, 151, 163, 177, 196, 222, 266, 512,
];

/// How many different things set the bits of a map, about.
pub(crate) fn distinct(bits: u64) -> u64 {
    ESTIMATES.get(bits.count_ones() as usize).copied().map_or(0, u64::from)
}

/// Fractional bits of logarithms.
const LOG_BITS: u32 = 16;
/// The natural logarithm of two, with [`LOG_BITS`].
const LN_2: u64 = 45_426;

/// The natural logarithm of a number above zero, with 16 fractional bits, rounded down.
pub(crate) fn ln(number: u64) -> u64 {
    let whole = number.max(1).ilog2();
    // The number between one and two, with 32 fractional bits, squared again and again.
    let mut part = if whole > 32 { number >> (whole - 32) } else { number << (32 - whole) };
    let mut log_2 = u64::from(whole);
    for _ in 0..LOG_BITS {
        let square = (u128::from(part) * u128::from(part)) >> 32;
        let is_two = square >> 33 != 0;
        let square = if is_two { square >> 1 } else { square };
        part = u64::try_from(square).unwrap_or(u64::MAX);
        log_2 = log_2 << 1 | u64::from(is_two);
    }
    (log_2 * LN_2) >> LOG_BITS
}

/// Whether `seen` events where `expected` (with 16 fractional bits) were to be expected is beyond
/// chance, to one in a million: the bound of Chernoff on the tail of a Poisson distribution.
pub(crate) fn is_beyond_chance(seen: u64, expected: u64) -> bool {
    /// `ln 10^6`, with [`LOG_BITS`].
    const LEAST: u64 = 905_417;
    let seen_wide = seen << LOG_BITS;
    if seen_wide <= expected {
        return false;
    }
    let times = ln(seen_wide).saturating_sub(ln(expected.max(1)));
    seen.saturating_mul(times).saturating_add(expected) > seen_wide.saturating_add(LEAST)
}

#[cfg(test)]
#[allow(clippy::float_arithmetic, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_that_of_linear_counting() {
        for (set, estimate) in ESTIMATES.iter().enumerate().take(64) {
            let exact = -64.0 * (1.0 - set as f64 / 64.0).ln();
            assert_eq!(u64::from(*estimate), exact.round() as u64, "{set} bits");
        }
    }

    #[test]
    fn the_estimate_is_within_its_stated_error() {
        for (count, most) in [(1, 0.0), (4, 0.5), (16, 1.6), (40, 4.2)] {
            let mut squares = 0.0;
            for trial in 0..2000_u64 {
                let bits = (0..count).fold(0, |bits, n| {
                    let hash = crate::state::cow::mix(&[n; 16], trial);
                    bits | 1 << (hash >> 58)
                });
                let error = distinct(bits) as f64 - f64::from(count);
                squares += error * error / 2000.0;
            }
            assert!(squares.sqrt() <= most, "{count}: {}", squares.sqrt());
        }
    }

    proptest! {
        #[test]
        fn logarithms_are_right_to_a_ten_thousandth(number in 1_u64..) {
            let exact = (number as f64).ln();
            let error = ln(number) as f64 / 65_536.0 - exact;
            prop_assert!(error.abs() < 0.000_5, "{error}");
        }

        #[test]
        fn chance_is_told_as_with_real_numbers(seen in 0_u64..100_000, ten in 1_u64..1_000_000) {
            let expected = ten as f64 / 10.0;
            let n = seen as f64;
            let bound = if n > expected { n * (n / expected).ln() - n + expected } else { 0.0 };
            if (bound - 13.8155).abs() > 0.01 + n * 0.001 {
                let got = is_beyond_chance(seen, (expected * 65_536.0) as u64);
                prop_assert_eq!(got, bound > 13.8155);
            }
        }
    }
}
