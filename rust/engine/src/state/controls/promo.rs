//! Promo codes that partners own.

use super::Value;
use crate::identity::digest::plain_digest;
use crate::Id;

/// Who owns a code, and where it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The program's number.
    pub program: u64,
    /// The partner's number.
    pub partner: u64,
    /// What the code is found by; see [`promo_key`].
    pub key: Id,
    /// Whether its use may earn credit.
    pub active: bool,
}

/// A promo code in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromoCode {
    /// Revision of the change in force.
    pub revision: u64,
    /// Whose it is; `None` once it is deleted.
    pub owner: Option<Owner>,
    /// Digest of the value in force.
    pub digest: Id,
}

/// Where an active code is found; of one key the last has the largest revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    program: u64,
    key: Id,
    revision: u64,
    pub(super) number: u64,
}

/// The first and the last place a key of a program can have.
pub(super) fn places(program: u64, key: Id) -> (Place, Place) {
    let first = Place { program, key, revision: 0, number: 0 };
    (first, Place { revision: u64::MAX, number: u64::MAX, ..first })
}

impl PromoCode {
    /// Where the code is found, if it is active.
    pub(super) fn place(&self, number: u64) -> Option<Place> {
        let Owner { program, key, .. } = *self.owner.as_ref().filter(|owner| owner.active)?;
        Some(Place { program, key, revision: self.revision, number })
    }
}

impl Value<'_> {
    /// The owner a value names; `None` for a deleted code or one that is not whole.
    pub(super) fn owner(&self) -> Option<Owner> {
        Some(Owner {
            program: self.program?,
            partner: self.partner?,
            key: promo_key(self.code?)?,
            active: self.is_active(),
        })
    }
}

/// What a promo code is compared by: the digest of its text without white space around it, in
/// capitals, since shoppers type it. `None` for no text. A digest has one size, whatever a
/// caller sends.
pub fn promo_key(code: &str) -> Option<Id> {
    let code = code.trim();
    (!code.is_empty()).then(|| plain_digest(&[code.to_uppercase().as_bytes()]))
}
