//! Amounts: decimal text to integer minor units, by the rules of the ordinary lane.

/// Decimals of the currencies there are, by their codes of ISO 4217.
pub(crate) type Currencies = std::collections::HashMap<String, u8>;

/// Minor units in a decimal text of a currency with so many decimals, or the reason why not.
///
/// Digits, and at most one point between digits.
pub(crate) fn minor_units(
    text: &str,
    decimals: u8,
    digits_max: usize,
) -> Result<i64, &'static str> {
    const INVALID: &str = "amount_invalid";
    if text.starts_with('-') {
        return Err("amount_negative");
    }
    let are_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if are_digits(fraction) => (whole, fraction),
        Some(_) => return Err(INVALID),
        None => (text, ""),
    };
    if !are_digits(whole) || text.len() > 2 * digits_max {
        return Err(INVALID);
    }
    let Some(zeros) = usize::from(decimals).checked_sub(fraction.len()) else {
        return Err("amount_precision");
    };
    let digits = format!("{whole}{fraction}{}", "0".repeat(zeros));
    let digits = digits.trim_start_matches('0');
    if digits.len() > digits_max {
        return Err(INVALID);
    }
    if digits.is_empty() {
        return Ok(0);
    }
    digits.parse().map_err(|_| INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_text_is_read_exactly() {
        for (text, decimals, minor) in [
            ("0", 2, 0),
            ("5", 2, 500),
            ("5.1", 2, 510),
            ("005.10", 2, 510),
            ("1234", 0, 1234),
            ("0.001", 3, 1),
            ("9999999999999999.99", 2, 999_999_999_999_999_999),
            ("000000000000000000000000000000000001", 0, 1),
        ] {
            assert_eq!(minor_units(text, decimals, 18), Ok(minor), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_has_its_reason() {
        for (text, reason) in [
            ("-1", "amount_negative"),
            ("-", "amount_negative"),
            ("1.234", "amount_precision"),
            ("", "amount_invalid"),
            (".5", "amount_invalid"),
            ("5.", "amount_invalid"),
            ("1.2.3", "amount_invalid"),
            ("1,5", "amount_invalid"),
            (" 1", "amount_invalid"),
            ("1e3", "amount_invalid"),
            ("+1", "amount_invalid"),
            ("1_0", "amount_invalid"),
            ("99999999999999999.99", "amount_invalid"),
            ("0000000000000000000000000000000000001", "amount_invalid"),
        ] {
            assert_eq!(minor_units(text, 2, 18), Err(reason), "{text}");
        }
    }
}
