//! The query of a link, as the ordinary lane reads it where the two cannot differ.

use std::borrow::Cow;

use memchr::memchr2;

/// Pairs in the order they came; names are plain, values as they came.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Query<'a> {
    /// `None` for what the ordinary lane has to judge: more than `pairs_max` pairs, a name that is
    /// encoded or comes twice.
    pub(crate) fn read(text: &'a str, pairs_max: usize) -> Option<Self> {
        let mut query = Self::default();
        if text.is_empty() {
            return Some(query);
        }
        for (count, pair) in text.split('&').enumerate() {
            if count >= pairs_max {
                return None;
            }
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.contains(['%', '+']) || query.has(name) {
                return None;
            }
            query.pairs.push((name, value));
        }
        Some(query)
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.pairs.iter().copied()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A value as it came.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.pair(name).map(|(_, value)| value)
    }

    /// A name, as it came too, and its value.
    pub(crate) fn pair(&self, name: &str) -> Option<(&'a str, &'a str)> {
        // Names of a family, as sub1 and sub2, differ in the end.
        let last = name.as_bytes().last();
        self.pairs().find(|(other, _)| other.as_bytes().last() == last && *other == name)
    }
}

/// A value decoded once, `+` as a space; `None` when it is malformed or no UTF-8.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if memchr2(b'%', b'+', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => nibble(rest.next()?)? << 4 | nibble(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Appends `value` percent-encoded, but for unreserved characters (RFC 3986, 2.3).
pub(crate) fn encode(value: &str, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
            continue;
        }
        text.push('%');
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(*DIGITS.get(usize::from(digit)).unwrap_or(&b'0')));
        }
    }
}

/// The first `bytes_max` bytes of a text, whole characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Whether a text may hold a card number. Of digits in one row, not behind a letter or a point, the
/// first digit and the check digit decide; rows with a space or a hyphen between are not looked
/// into.
pub(crate) fn may_be_card(text: &str) -> bool {
    const DIGITS_MIN: usize = 13;
    const DIGITS_MAX: usize = 19;
    if text.len() < DIGITS_MIN {
        return false;
    }
    let mut joined = 0;
    let mut rest = text.as_bytes();
    while let Some(start) = rest.iter().position(u8::is_ascii_digit) {
        let (before, row) = rest.split_at(start);
        let end = row.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(row.len());
        let (row, behind) = row.split_at(end);
        rest = behind;
        if !matches!(before, b" " | b"-") {
            joined = 0;
        }
        if before.last().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'.') {
            continue;
        }
        let is_one = joined == 0;
        joined += row.len();
        let is_issued = || matches!(row.first(), Some(b'2'..=b'6' | b'8')) && luhn(row);
        if joined >= DIGITS_MIN && (!is_one || (row.len() <= DIGITS_MAX && is_issued())) {
            return true;
        }
    }
    false
}

/// Whether a text, encoded or not, may hold a card number or an e-mail address, or cannot be read.
pub(crate) fn may_be_personal(text: &str) -> bool {
    decode(text).is_none_or(|decoded| {
        memchr2(b'@', b'%', decoded.as_bytes()).is_some() || may_be_card(&decoded)
    })
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(*byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_is_read_where_nothing_is_doubtful() {
        let query = Query::read("a=b&&c&d==%20", 64).unwrap();
        assert_eq!((query.raw("a"), query.raw("c")), (Some("b"), Some("")));
        assert_eq!((query.raw("d"), query.raw("e")), (Some("=%20"), None));
        assert!(Query::read("a=b&a=c", 64).is_none());
        assert!(Query::read("%61=b", 64).is_none());
        assert!(Query::read("a=b&c=d", 2).is_some());
        assert!(Query::read("a=b&c=d&", 2).is_none());
    }

    #[test]
    fn values_are_decoded_once_or_not_at_all() {
        assert_eq!(decode("a+b%2Bc%C3%A9%2541").as_deref(), Some("a b+c\u{e9}%41"));
        for broken in ["%", "%4", "%4g", "%ff", "%+1"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_text_is_encoded_by_its_bytes() {
        let mut text = String::new();
        encode("a-b._~ /\u{e9}", &mut text);
        assert_eq!(text, "a-b._~%20%2F%C3%A9");
    }

    #[test]
    fn a_cut_leaves_whole_characters() {
        assert_eq!(cut("a\u{e9}b", 2), "a");
        assert_eq!(cut("a\u{e9}b", 3), "a\u{e9}");
        assert_eq!(cut("ab", 2), "ab");
    }

    #[test]
    fn whatever_may_be_a_card_number_is_told() {
        for card in [
            "4111111111111111",
            "x 4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "order-4111111111111111.",
            "1 4111111111111111",
            "1-2345678901234",
        ] {
            assert!(may_be_card(card), "{card}");
        }
        for other in [
            "4111111111111112",
            "1234",
            "41111111111111111111",
            "a1b2c3d4e5f6g7h8",
            "order-1795272147692",
            "550e8400-e29b-41d4-a716-446655440000",
            "a4111111111111111",
            "0.4111111111111111",
        ] {
            assert!(!may_be_card(other), "{other}");
        }
    }

    /// Whether some part of a text is a number of a card by the letter of the ordinary lane's rule.
    fn holds_card(text: &str) -> bool {
        let bytes = text.as_bytes();
        let is_part = |from: usize, to: usize| {
            let part = &text[from..to];
            let digits = part.replace([' ', '-'], "");
            let ends_plainly = from
                .checked_sub(1)
                .is_none_or(|at| !bytes[at].is_ascii_alphanumeric() && bytes[at] != b'.')
                && bytes.get(to).is_none_or(|byte| !byte.is_ascii_alphanumeric());
            ends_plainly
                && part.split([' ', '-']).all(|row| !row.is_empty())
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && (13..=19).contains(&digits.len())
                && digits.starts_with(['2', '3', '4', '5', '6', '8'])
                && luhn(digits.as_bytes())
        };
        (0..text.len()).any(|from| (from + 1..=text.len()).any(|to| is_part(from, to)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_card_number_is_passed_over(
            text in "([ .a-]|[0-9]{1,4}|4111111111111111|5500000000000004|[ -]){1,9}"
        ) {
            prop_assert!(!holds_card(&text) || may_be_card(&text), "{text:?}");
        }
    }

    #[test]
    fn whatever_may_tell_of_a_person_is_told() {
        for personal in [
            "https://a.example/?n=%34111111111111111",
            "4111+1111+1111+1111",
            "https://a.example/?m=a@b.example",
            "?m=a%40b.example",
            "?m=a%2540b.example",
            "%zz",
        ] {
            assert!(may_be_personal(personal), "{personal}");
        }
        assert!(!may_be_personal("https://a.example/%20?n=1795272147&m=141"));
    }
}
