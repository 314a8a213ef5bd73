//! The normal form of each type of identifier: what makes two spellings one value.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::block::{is_blocked, WORDS};
use super::phone::international;
use super::IdentifierType;
use crate::error::Error;
use crate::limits::EMAIL_BYTES_MAX;

/// The names under which callers give identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdentifierName {
    Customer,
    Profile,
    Email,
    EmailSha256,
    EmailSha1,
    Phone,
    PhoneSha256,
    Device,
    ExternalClick,
    Visitor,
}

impl IdentifierName {
    pub(super) fn parse(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "customer_id" => Self::Customer,
            "profile_id" => Self::Profile,
            "email" => Self::Email,
            "email_sha256" => Self::EmailSha256,
            "email_sha1" => Self::EmailSha1,
            "phone" => Self::Phone,
            "phone_sha256" => Self::PhoneSha256,
            "device_id" => Self::Device,
            "external_click_id" => Self::ExternalClick,
            "visitor_id" => Self::Visitor,
            _ => return Err(Error::Identifier("unknown_identifier_type")),
        })
    }

    pub(super) fn kind(self) -> IdentifierType {
        match self {
            Self::Customer => IdentifierType::Customer,
            Self::Profile => IdentifierType::Profile,
            Self::Email | Self::EmailSha256 | Self::EmailSha1 => IdentifierType::Email,
            Self::Phone | Self::PhoneSha256 => IdentifierType::Phone,
            Self::Device => IdentifierType::Device,
            Self::ExternalClick => IdentifierType::ExternalClick,
            Self::Visitor => IdentifierType::Visitor,
        }
    }
}

/// The normal form of a value; `None` when the value is blocked.
///
/// Everything is trimmed. Addresses are lower-cased and, like telephone numbers in E.164 form,
/// taken as the lower-case hexadecimal SHA-256, so that a caller who hashes meets one who does
/// not. A SHA-1 of an address can meet only another SHA-1. Device ids in UUID form are
/// lower-cased, for platforms disagree; all other values keep their case.
pub(super) fn normal_form<'a>(
    name: IdentifierName,
    value: &'a str,
    default_country: Option<&str>,
) -> Result<Option<Cow<'a, str>>, Error> {
    let value = value.trim();
    if is_blocked(value) {
        return Ok(None);
    }
    match name {
        IdentifierName::Customer if looks_like_email(value) => {
            Err(Error::Identifier("pii_in_customer_id"))
        }
        IdentifierName::Email => email(value).map(|address| Some(sha256_hex(&address).into())),
        IdentifierName::Phone => {
            international(value, default_country).map(|number| Some(sha256_hex(&number).into()))
        }
        IdentifierName::EmailSha256 => hex(value, 64, "invalid_email_sha256"),
        IdentifierName::PhoneSha256 => hex(value, 64, "invalid_phone_sha256"),
        IdentifierName::EmailSha1 => hex(value, 40, "invalid_email_sha1"),
        IdentifierName::Device if is_uuid(value) => Ok(Some(value.to_ascii_lowercase().into())),
        IdentifierName::Customer
        | IdentifierName::Profile
        | IdentifierName::Device
        | IdentifierName::ExternalClick
        | IdentifierName::Visitor => Ok(Some(value.into())),
    }
}

fn looks_like_email(value: &str) -> bool {
    value.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !value.contains(char::is_whitespace)
    })
}

fn email(value: &str) -> Result<String, Error> {
    const INVALID: Error = Error::Identifier("invalid_email");
    let address = value.to_lowercase();
    let (local, domain) = address.rsplit_once('@').ok_or(INVALID)?;
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c == '-' || c.is_alphanumeric())
    };
    let is_valid = address.len() <= EMAIL_BYTES_MAX
        && !local.is_empty()
        && local.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '@' && c != ',')
        && domain.contains('.')
        && domain.split('.').all(is_label);
    if is_valid {
        Ok(address)
    } else {
        Err(INVALID)
    }
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn hex<'a>(value: &str, digits: usize, code: &'static str) -> Result<Option<Cow<'a, str>>, Error> {
    if value.len() != digits || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::Identifier(code));
    }
    let value = value.to_ascii_lowercase();
    let is_hash_of_nothing = digits == 64 && WORDS.iter().any(|word| sha256_hex(word) == value);
    Ok((!is_hash_of_nothing).then_some(value.into()))
}

fn sha256_hex(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).map(hex_digit).collect()
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form<'a>(name: &str, value: &'a str) -> Result<Option<Cow<'a, str>>, Error> {
        normal_form(IdentifierName::parse(name)?, value, Some("DE"))
    }

    #[test]
    fn a_raw_address_and_its_hash_are_one_value() {
        let raw = form("email", " Ada@Example.ORG ").unwrap();
        assert_eq!(raw, form("email_sha256", &sha256_hex("ada@example.org")).unwrap());
        assert_eq!(
            raw,
            form("email_sha256", &sha256_hex("ada@example.org").to_uppercase()).unwrap()
        );
    }

    #[test]
    fn a_raw_number_and_its_hash_are_one_value() {
        let raw = form("phone", "030 12345678").unwrap();
        assert_eq!(raw, form("phone_sha256", &sha256_hex("+493012345678")).unwrap());
    }

    #[test]
    fn malformed_values_are_refused_with_their_code() {
        for (name, value, code) in [
            ("email", "a@b", "invalid_email"),
            ("email", "a b@c.example", "invalid_email"),
            ("email", "@c.example", "invalid_email"),
            ("email", "a@c..example", "invalid_email"),
            ("email", "no-at.example", "invalid_email"),
            ("email_sha256", "abc", "invalid_email_sha256"),
            ("email_sha1", "xyz", "invalid_email_sha1"),
            ("phone", "call me", "invalid_phone"),
            ("phone_sha256", "abc", "invalid_phone_sha256"),
            ("customer_id", "a@b.example", "pii_in_customer_id"),
            ("shoe_size", "43", "unknown_identifier_type"),
        ] {
            assert_eq!(form(name, value), Err(Error::Identifier(code)), "{name}={value}");
        }
    }

    #[test]
    fn an_address_is_refused_only_above_its_largest_size() {
        let domain = "@example.org";
        let local = "ab".repeat((EMAIL_BYTES_MAX - domain.len()) / 2);
        assert!(form("email", &format!("{local}{domain}")).is_ok());
        assert!(form("email", &format!("{local}x{domain}")).is_err());
    }

    #[test]
    fn hashes_of_blocked_words_are_blocked() {
        assert_eq!(form("email_sha256", &sha256_hex("")), Ok(None));
        assert_eq!(form("phone_sha256", &sha256_hex("null")), Ok(None));
        assert_eq!(form("email_sha256", &"0".repeat(64)), Ok(None));
    }

    #[test]
    fn only_device_ids_in_uuid_form_lose_their_case() {
        let lower = "abcdef01-2345-6789-abcd-ef0123456789";
        assert_eq!(form("device_id", &lower.to_uppercase()).unwrap().as_deref(), Some(lower));
        assert_eq!(form("device_id", "Dev-1").unwrap().as_deref(), Some("Dev-1"));
        assert_eq!(form("visitor_id", " AbC ").unwrap().as_deref(), Some("AbC"));
    }
}
