//! Telephone numbers in international form (E.164).

use crate::error::Error;
use crate::limits::{PHONE_DIGITS_MAX, PHONE_DIGITS_MIN};

/// A country: ISO 3166 code, calling code, and the trunk prefix that is dialled at home and left
/// out abroad (empty where there is none, as in Italy, or where it is part of the number).
type Country = (&'static str, &'static str, &'static str);

/// A number as `+` and digits. One that starts with neither `+` nor `00` is taken to be a
/// number of `default_country`.
pub(super) fn international(value: &str, default_country: Option<&str>) -> Result<String, Error> {
    const INVALID: Error = Error::Identifier("invalid_phone");
    let mut digits = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '0'..='9' => digits.push(character),
            '+' if digits.is_empty() => {}
            ' ' | '\u{a0}' | '-' | '.' | '(' | ')' | '/' => {}
            _ => return Err(INVALID),
        }
    }
    let plus_signs = value.matches('+').count();
    if plus_signs > 1 {
        return Err(INVALID);
    }
    let number = if plus_signs == 1 {
        // "+49 (0)30": the trunk prefix in brackets is a habit of print, never dialled.
        if value.contains("(0)") {
            digits = value.replacen("(0)", "", 1).chars().filter(char::is_ascii_digit).collect();
        }
        digits
    } else if let Some(rest) = digits.strip_prefix("00") {
        rest.to_owned()
    } else {
        national(&digits, default_country)?
    };
    let is_valid =
        (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&number.len()) && !number.starts_with('0');
    if is_valid {
        Ok(format!("+{number}"))
    } else {
        Err(INVALID)
    }
}

fn national(digits: &str, default_country: Option<&str>) -> Result<String, Error> {
    let country = default_country.ok_or(Error::Identifier("phone_country_missing"))?;
    let (_, calling_code, trunk) = COUNTRIES
        .iter()
        .find(|(code, ..)| code.eq_ignore_ascii_case(country))
        .ok_or(Error::Identifier("phone_country_unknown"))?;
    let significant = digits.strip_prefix(trunk).unwrap_or(digits);
    Ok(format!("{calling_code}{significant}"))
}

#[rustfmt::skip]
const COUNTRIES: [Country; 245] = [
    ("AC", "247", ""), ("AD", "376", ""), ("AE", "971", "0"), ("AF", "93", "0"),
    ("AG", "1", "1"), ("AI", "1", "1"), ("AL", "355", "0"), ("AM", "374", "0"),
    ("AO", "244", ""), ("AR", "54", "0"), ("AS", "1", "1"), ("AT", "43", "0"),
    ("AU", "61", "0"), ("AW", "297", ""), ("AX", "358", "0"), ("AZ", "994", "0"),
    ("BA", "387", "0"), ("BB", "1", "1"), ("BD", "880", "0"), ("BE", "32", "0"),
    ("BF", "226", ""), ("BG", "359", "0"), ("BH", "973", ""), ("BI", "257", ""),
    ("BJ", "229", ""), ("BL", "590", "0"), ("BM", "1", "1"), ("BN", "673", ""),
    ("BO", "591", "0"), ("BQ", "599", ""), ("BR", "55", "0"), ("BS", "1", "1"),
    ("BT", "975", ""), ("BW", "267", ""), ("BY", "375", "8"), ("BZ", "501", ""),
    ("CA", "1", "1"), ("CC", "61", "0"), ("CD", "243", "0"), ("CF", "236", ""),
    ("CG", "242", ""), ("CH", "41", "0"), ("CI", "225", ""), ("CK", "682", ""),
    ("CL", "56", ""), ("CM", "237", ""), ("CN", "86", "0"), ("CO", "57", "0"),
    ("CR", "506", ""), ("CU", "53", "0"), ("CV", "238", ""), ("CW", "599", ""),
    ("CX", "61", "0"), ("CY", "357", ""), ("CZ", "420", ""), ("DE", "49", "0"),
    ("DJ", "253", ""), ("DK", "45", ""), ("DM", "1", "1"), ("DO", "1", "1"),
    ("DZ", "213", "0"), ("EC", "593", "0"), ("EE", "372", ""), ("EG", "20", "0"),
    ("EH", "212", "0"), ("ER", "291", "0"), ("ES", "34", ""), ("ET", "251", "0"),
    ("FI", "358", "0"), ("FJ", "679", ""), ("FK", "500", ""), ("FM", "691", ""),
    ("FO", "298", ""), ("FR", "33", "0"), ("GA", "241", ""), ("GB", "44", "0"),
    ("GD", "1", "1"), ("GE", "995", "0"), ("GF", "594", "0"), ("GG", "44", "0"),
    ("GH", "233", "0"), ("GI", "350", ""), ("GL", "299", ""), ("GM", "220", ""),
    ("GN", "224", ""), ("GP", "590", "0"), ("GQ", "240", ""), ("GR", "30", ""),
    ("GT", "502", ""), ("GU", "1", "1"), ("GW", "245", ""), ("GY", "592", ""),
    ("HK", "852", ""), ("HN", "504", ""), ("HR", "385", "0"), ("HT", "509", ""),
    ("HU", "36", "06"), ("ID", "62", "0"), ("IE", "353", "0"), ("IL", "972", "0"),
    ("IM", "44", "0"), ("IN", "91", "0"), ("IO", "246", ""), ("IQ", "964", "0"),
    ("IR", "98", "0"), ("IS", "354", ""), ("IT", "39", ""), ("JE", "44", "0"),
    ("JM", "1", "1"), ("JO", "962", "0"), ("JP", "81", "0"), ("KE", "254", "0"),
    ("KG", "996", "0"), ("KH", "855", "0"), ("KI", "686", ""), ("KM", "269", ""),
    ("KN", "1", "1"), ("KP", "850", "0"), ("KR", "82", "0"), ("KW", "965", ""),
    ("KY", "1", "1"), ("KZ", "7", "8"), ("LA", "856", "0"), ("LB", "961", "0"),
    ("LC", "1", "1"), ("LI", "423", "0"), ("LK", "94", "0"), ("LR", "231", "0"),
    ("LS", "266", ""), ("LT", "370", "0"), ("LU", "352", ""), ("LV", "371", ""),
    ("LY", "218", "0"), ("MA", "212", "0"), ("MC", "377", "0"), ("MD", "373", "0"),
    ("ME", "382", "0"), ("MF", "590", "0"), ("MG", "261", "0"), ("MH", "692", "1"),
    ("MK", "389", "0"), ("ML", "223", ""), ("MM", "95", "0"), ("MN", "976", "0"),
    ("MO", "853", ""), ("MP", "1", "1"), ("MQ", "596", "0"), ("MR", "222", ""),
    ("MS", "1", "1"), ("MT", "356", ""), ("MU", "230", ""), ("MV", "960", ""),
    ("MW", "265", "0"), ("MX", "52", ""), ("MY", "60", "0"), ("MZ", "258", ""),
    ("NA", "264", "0"), ("NC", "687", ""), ("NE", "227", ""), ("NF", "672", ""),
    ("NG", "234", "0"), ("NI", "505", ""), ("NL", "31", "0"), ("NO", "47", ""),
    ("NP", "977", "0"), ("NR", "674", ""), ("NU", "683", ""), ("NZ", "64", "0"),
    ("OM", "968", ""), ("PA", "507", ""), ("PE", "51", "0"), ("PF", "689", ""),
    ("PG", "675", ""), ("PH", "63", "0"), ("PK", "92", "0"), ("PL", "48", ""),
    ("PM", "508", "0"), ("PR", "1", "1"), ("PS", "970", "0"), ("PT", "351", ""),
    ("PW", "680", ""), ("PY", "595", "0"), ("QA", "974", ""), ("RE", "262", "0"),
    ("RO", "40", "0"), ("RS", "381", "0"), ("RU", "7", "8"), ("RW", "250", "0"),
    ("SA", "966", "0"), ("SB", "677", ""), ("SC", "248", ""), ("SD", "249", "0"),
    ("SE", "46", "0"), ("SG", "65", ""), ("SH", "290", ""), ("SI", "386", "0"),
    ("SJ", "47", ""), ("SK", "421", "0"), ("SL", "232", "0"), ("SM", "378", ""),
    ("SN", "221", ""), ("SO", "252", "0"), ("SR", "597", ""), ("SS", "211", "0"),
    ("ST", "239", ""), ("SV", "503", ""), ("SX", "1", "1"), ("SY", "963", "0"),
    ("SZ", "268", ""), ("TA", "290", ""), ("TC", "1", "1"), ("TD", "235", ""),
    ("TG", "228", ""), ("TH", "66", "0"), ("TJ", "992", ""), ("TK", "690", ""),
    ("TL", "670", ""), ("TM", "993", "8"), ("TN", "216", ""), ("TO", "676", ""),
    ("TR", "90", "0"), ("TT", "1", "1"), ("TV", "688", ""), ("TW", "886", "0"),
    ("TZ", "255", "0"), ("UA", "380", "0"), ("UG", "256", "0"), ("US", "1", "1"),
    ("UY", "598", "0"), ("UZ", "998", ""), ("VA", "39", ""), ("VC", "1", "1"),
    ("VE", "58", "0"), ("VG", "1", "1"), ("VI", "1", "1"), ("VN", "84", "0"),
    ("VU", "678", ""), ("WF", "681", ""), ("WS", "685", ""), ("XK", "383", "0"),
    ("YE", "967", "0"), ("YT", "262", "0"), ("ZA", "27", "0"), ("ZM", "260", "0"),
    ("ZW", "263", "0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_meet() {
        for value in ["+49 30 1234567", "0049301234567", "030 / 123 45 67", "+49 (0)30 1234567"] {
            assert_eq!(international(value, Some("de")).as_deref(), Ok("+49301234567"), "{value}");
        }
        assert_eq!(international("(212) 555-0100", Some("US")).as_deref(), Ok("+12125550100"));
        assert_eq!(international("1-212-555-0100", Some("US")).as_deref(), Ok("+12125550100"));
        assert_eq!(international("06 1234 5678", Some("IT")).as_deref(), Ok("+390612345678"));
    }

    #[test]
    fn a_number_without_country_needs_the_default() {
        assert_eq!(
            international("030 1234567", None),
            Err(Error::Identifier("phone_country_missing"))
        );
        assert_eq!(
            international("030 1234567", Some("XX")),
            Err(Error::Identifier("phone_country_unknown"))
        );
    }

    #[test]
    fn digits_are_bounded_on_both_sides() {
        assert!(international("+1234567", None).is_ok());
        assert!(international("+123456", None).is_err());
        assert!(international("+123456789012345", None).is_ok());
        assert!(international("+1234567890123456", None).is_err());
        assert!(international("++491234567", None).is_err());
        assert!(international("+0491234567", None).is_err());
    }
}
