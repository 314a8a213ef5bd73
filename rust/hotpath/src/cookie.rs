//! The visitor cookie.

use std::fmt::Write;

const NAME: &str = "hw_visitor";
const VISITOR_CHARACTERS: usize = 26;
const DAY_DIGITS_MAX: usize = 6;
const DAY_S: u64 = 86_400;

/// A visitor whose browser sent its cookie, and the day on which the cookie ends; 0: not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known<'a> {
    pub(crate) visitor: &'a str,
    pub(crate) until_day: u64,
}

/// The first well-formed visitor cookie of a `Cookie` header.
pub(crate) fn read(header: &str) -> Option<Known<'_>> {
    header.split(';').find_map(|pair| {
        let (name, value) = pair.trim_matches(' ').split_once('=')?;
        if name != NAME {
            return None;
        }
        known(value)
    })
}

/// The visitor of a cookie's value, where it is given as an identifier; any other value stays.
pub(crate) fn visitor_of(value: &str) -> &str {
    shaped(value).map_or(value, |known| known.visitor)
}

/// One character over and over is a placeholder, which recognises nobody.
fn known(value: &str) -> Option<Known<'_>> {
    let known = shaped(value)?;
    let mut characters = known.visitor.bytes();
    let first = characters.next();
    characters.any(|character| Some(character) != first).then_some(known)
}

fn shaped(value: &str) -> Option<Known<'_>> {
    let visitor = value.get(..VISITOR_CHARACTERS)?;
    let mut characters = visitor.bytes();
    if !characters.next().is_some_and(|first| (b'0'..=b'7').contains(&first))
        || !characters.all(is_of_id)
    {
        return None;
    }
    let rest = value.get(VISITOR_CHARACTERS..)?;
    if rest.is_empty() {
        return Some(Known { visitor, until_day: 0 });
    }
    let day = rest.strip_prefix('.')?;
    if !(1..=DAY_DIGITS_MAX).contains(&day.len()) || !day.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    Some(Known { visitor, until_day: day.parse().ok()? })
}

fn is_of_id(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z') && !b"ilou".contains(&byte)
}

/// Whether a cookie that ends on `until_day` already lives `age_s` from now on, to the day.
pub(crate) fn lives_on(until_day: u64, now_s: u64, age_s: u64, age_s_max: u64) -> bool {
    (now_s + age_s) / DAY_S <= until_day && until_day <= (now_s + age_s_max) / DAY_S
}

/// Appends the header line that makes the visitor's cookie live `age_s` from now on.
pub(crate) fn write(
    visitor: &str,
    now_s: u64,
    age_s: u64,
    is_secure: bool,
    is_same_site: bool,
    answer: &mut String,
) {
    let until_day = (now_s + age_s) / DAY_S;
    let rest = match (is_secure, is_same_site) {
        (false, _) => "; SameSite=Lax",
        (true, true) => "; Secure; SameSite=Lax",
        (true, false) => "; Secure; SameSite=None",
    };
    // Writing to a String does not fail.
    let _ = write!(
        answer,
        "Set-Cookie: {NAME}={visitor}.{until_day}; Max-Age={age_s}; Path=/; HttpOnly{rest}\r\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISITOR: &str = "7zzzzzzzzzzzzzzzzzzzzzzzzz";

    #[test]
    fn the_first_well_formed_cookie_is_taken() {
        let header = format!("a=b; hw_visitor=8; hw_visitor={VISITOR}.20000; hw_visitor=x");
        assert_eq!(read(&header), Some(Known { visitor: VISITOR, until_day: 20_000 }));
        let bare = format!("hw_visitor={VISITOR}");
        assert_eq!(read(&bare), Some(Known { visitor: VISITOR, until_day: 0 }));
    }

    #[test]
    fn what_is_no_visitor_id_is_passed_over() {
        for value in [
            "8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "7zzzzzzzzzzzzzzzzzzzzzzzz",
            "7zzzzzzzzzzzzzzzzzzzzzzzzu",
            "77777777777777777777777777",
            "00000000000000000000000000.20000",
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "7zzzzzzzzzzzzzzzzzzzzzzzzz.",
            "7zzzzzzzzzzzzzzzzzzzzzzzzz.1234567",
            "7zzzzzzzzzzzzzzzzzzzzzzzzz.+1",
        ] {
            let header = format!("hw_visitor={value}; a=b");
            assert_eq!(read(&header), None, "{value}");
        }
        assert_eq!(visitor_of("77777777777777777777777777.1"), "77777777777777777777777777");
        assert_eq!(visitor_of("any.1"), "any.1");
        assert_eq!(read("xhw_visitor=1; HW_VISITOR=2"), None);
    }
}
