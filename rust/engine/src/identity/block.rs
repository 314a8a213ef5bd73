//! Values that many visitors share by mistake, and that therefore link nobody.

use crate::limits::IDENTIFIER_BYTES_MAX;

/// Words that stand for "no value" in somebody's code.
pub(super) const WORDS: [&str; 8] =
    ["", "null", "none", "anonymous", "invalid", "-1", "undefined", "nan"];

/// A run of one character this long is a placeholder; shorter ones are ordinary numbers.
const RUN_CHARACTERS_MIN: usize = 3;

/// Whether a trimmed value is blocked: a word of [`WORDS`] in any case, only zeros and hyphens,
/// one character over and over, or over the largest size.
pub(super) fn is_blocked(value: &str) -> bool {
    value.len() > IDENTIFIER_BYTES_MAX
        || value.bytes().all(|byte| byte == b'0' || byte == b'-')
        || WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
        || is_run(value)
}

fn is_run(value: &str) -> bool {
    let mut characters = value.chars();
    let first = characters.next();
    value.chars().count() >= RUN_CHARACTERS_MIN
        && characters.all(|character| Some(character) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_many_share_are_blocked_and_ordinary_ones_are_not() {
        for value in ["", "0", "000", "-", "0-0", "null", "NULL", "None", "NaN", "-1", "aaa"] {
            assert!(is_blocked(value), "{value}");
        }
        for value in ["1", "11", "7", "a", "ab", "aab", "nobody", "00a", "-2"] {
            assert!(!is_blocked(value), "{value}");
        }
    }

    #[test]
    fn a_value_is_blocked_only_above_its_largest_size() {
        let value = "ab".repeat(IDENTIFIER_BYTES_MAX / 2);
        assert!(!is_blocked(&value));
        assert!(is_blocked(&format!("{value}c")));
    }
}
