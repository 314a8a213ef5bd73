//! Identifiers: their types, their normal forms, their digests, and who was seen with whom.

mod block;
pub mod digest;
pub mod graph;
mod normalise;
mod phone;

use crate::error::Error;
use crate::limits::DAY_MS;
use crate::state::cow::mix;
use crate::Id;

/// The types of identifier, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentifierType {
    /// The brand's own customer number: the only type of which a person has one.
    Customer = 1,
    /// The brand's profile of a visitor that is not logged in.
    Profile = 2,
    /// An e-mail address.
    Email = 3,
    /// A telephone number.
    Phone = 4,
    /// A device's advertising or vendor id.
    Device = 5,
    /// A click; its digest is the click id itself.
    Click = 6,
    /// Another system's click id.
    ExternalClick = 7,
    /// A first-party cookie.
    Visitor = 8,
}

impl IdentifierType {
    /// Every type, the strongest first.
    pub const ALL: [Self; 8] = [
        Self::Customer,
        Self::Profile,
        Self::Email,
        Self::Phone,
        Self::Device,
        Self::Click,
        Self::ExternalClick,
        Self::Visitor,
    ];

    pub(crate) fn from_number(number: u64) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| *kind as u64 == number)
            .ok_or(Error::Frame("unknown_identifier_type"))
    }

    /// How long, in milliseconds, a link that involves this type is believed after it was last
    /// seen: what the field's systems keep. A click's own window is shorter and tested apart.
    pub fn lifetime_ms(self) -> u64 {
        match self {
            Self::Customer | Self::Profile | Self::Email | Self::Phone | Self::Click => {
                400 * DAY_MS
            }
            Self::Device => 180 * DAY_MS,
            Self::ExternalClick | Self::Visitor => 90 * DAY_MS,
        }
    }

    /// Whether the type names a person rather than a browser, a device or a click.
    pub fn is_person(self) -> bool {
        self <= Self::Phone
    }
}

/// A typed, digested value that recognises a visitor. Ordered by strength, then digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier {
    /// The type.
    pub kind: IdentifierType,
    /// The keyed digest of the value; of a click, the click id.
    pub digest: Id,
}

impl Identifier {
    /// Where the identifier belongs in an index of a seed.
    #[inline]
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        mix(&self.digest, seed ^ (self.kind as u64) << 56)
    }
}
