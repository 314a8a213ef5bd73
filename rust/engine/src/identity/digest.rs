//! Keyed digests: what is left of an identifier once it passes the edge.
//!
//! Identifier: BLAKE2b, 16 bytes, keyed, personalised `hw-identifier-v1`, over the brand's
//! number as 8 bytes little endian, the type's number as one byte, and the UTF-8 bytes of the
//! normal form. The brand in the input keeps one value from linking across brands.
//!
//! Conversion: BLAKE2b, 16 bytes, keyed, personalised `hw-conversion-v1`, over each part as its
//! length in bytes (4 bytes little endian) and its UTF-8 bytes.

use super::normalise::{normal_form, IdentifierName};
use crate::error::Error;
use crate::Id;

const IDENTIFIER_PERSON: &[u8; 16] = b"hw-identifier-v1";
const CONVERSION_PERSON: &[u8; 16] = b"hw-conversion-v1";
const KEY_BYTES_MIN: usize = 16;
const KEY_BYTES_MAX: usize = 64;

/// Digests of one brand's identifiers under one key, with what all begin with worked out.
#[derive(Clone, Debug)]
pub struct BrandDigests(blake2b_simd::State);

impl BrandDigests {
    /// # Errors
    /// [`Error::Identifier`] when the key has not 16 to 64 bytes.
    pub fn new(key: &[u8], brand: u64) -> Result<Self, Error> {
        check_key(key)?;
        let mut state = keyed(key, IDENTIFIER_PERSON);
        state.update(&brand.to_le_bytes());
        Ok(Self(state))
    }

    /// The digest of one identifier, or `None` when its value is one that many visitors share
    /// (empty, zeros, `null` and the like) and must link nobody.
    ///
    /// `name` is the name of a field of the interface (`customer_id`, `email_sha256`, ...);
    /// `default_country` an ISO 3166 code for telephone numbers without a country code.
    ///
    /// # Errors
    /// [`Error::Identifier`] when the value cannot be what the name says, or when the name is
    /// unknown.
    pub fn digest(
        &self,
        name: &str,
        value: &str,
        default_country: Option<&str>,
    ) -> Result<Option<Id>, Error> {
        let name = IdentifierName::parse(name)?;
        let Some(normal) = normal_form(name, value, default_country)? else {
            return Ok(None);
        };
        let mut state = self.0.clone();
        let hash = state.update(&[name.kind() as u8]).update(normal.as_bytes()).finalize();
        Ok(Some(first_16(&hash)))
    }
}

/// One digest of [`BrandDigests`].
///
/// # Errors
/// As of both its functions.
pub fn identifier_digest(
    key: &[u8],
    brand: u64,
    name: &str,
    value: &str,
    default_country: Option<&str>,
) -> Result<Option<Id>, Error> {
    BrandDigests::new(key, brand)?.digest(name, value, default_country)
}

/// The digest of the parts that make a conversion one and the same.
///
/// # Errors
/// [`Error::Identifier`] when the key has not 16 to 64 bytes or a part is over 4 GiB.
pub fn conversion_digest(key: &[u8], parts: &[&str]) -> Result<Id, Error> {
    check_key(key)?;
    let mut state = keyed(key, CONVERSION_PERSON);
    for part in parts {
        let length = u32::try_from(part.len()).map_err(|_| Error::Identifier("part_too_long"))?;
        state.update(&length.to_le_bytes());
        state.update(part.as_bytes());
    }
    Ok(first_16(&state.finalize()))
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Error::Identifier("invalid_key"));
    }
    Ok(())
}

fn keyed(key: &[u8], person: &[u8; 16]) -> blake2b_simd::State {
    blake2b_simd::Params::new().hash_length(16).key(key).personal(person).to_state()
}

/// An unkeyed 16-byte digest of parts that are already private.
pub(crate) fn plain_digest(parts: &[&[u8]]) -> Id {
    let mut state = blake2b_simd::Params::new().hash_length(16).to_state();
    for part in parts {
        state.update(&(part.len() as u64).to_le_bytes());
        state.update(part);
    }
    first_16(&state.finalize())
}

fn first_16(hash: &blake2b_simd::Hash) -> Id {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    id
}
