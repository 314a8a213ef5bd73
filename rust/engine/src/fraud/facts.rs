//! What is kept of a report for scoring, and what a decision leaves behind for later evidence.

use super::sources::SourceKey;
use super::state::NO_LISTS;
use crate::identity::digest::plain_digest;
use crate::record::{flags, Conversion, Trust, SOURCE_POSTBACK};
use crate::Id;

/// Flags of a report that say something of its customer.
const FLAGS: u64 = flags::DISPOSABLE_EMAIL | flags::EMAIL_LOOKED_UP;

/// What one side, server or browser, told of the customer of an order, in its first report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// By which way the report came.
    pub source: u64,
    /// Digest of the customer's address under the key of the day of acceptance.
    pub address: Option<u64>,
    /// Digest of the network the address is of.
    pub network: Option<u64>,
    /// Two letters of the country, as [`country_code`] has them; 0 when not known.
    pub country: u16,
    /// When the customer began what ended in the conversion, milliseconds.
    pub started_ms: Option<u64>,
    /// The number of the version of the address lists that the address was looked up in.
    pub lists: u16,
    /// [`flags::DISPOSABLE_EMAIL`] and [`flags::EMAIL_LOOKED_UP`].
    pub flags: u64,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            source: 0,
            address: None,
            network: None,
            country: 0,
            started_ms: None,
            lists: NO_LISTS,
            flags: 0,
        }
    }
}

impl Facts {
    /// What a report tells whose address was looked up in a version of the lists.
    pub fn of(report: &Conversion<'_>, source: u64, lists: u16) -> Self {
        let network = report.client.network.unwrap_or_default();
        Self {
            source,
            address: network.address,
            network: report.client.address_prefix.map(short_digest),
            country: country_code(network.country),
            started_ms: report.started_ms,
            lists,
            flags: report.flags & FLAGS,
        }
    }

    /// Whether whoever sent it had a key, or is the system of a partner.
    pub fn is_by_system(&self, trust: Trust) -> bool {
        trust == Trust::Server || self.source == SOURCE_POSTBACK
    }

    /// What it tells, and what `other` tells where it is silent.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let is_silent = |facts: &Self| facts.flags & flags::EMAIL_LOOKED_UP == 0;
        Self {
            source: self.source,
            address: self.address.or(other.address),
            network: self.network.or(other.network),
            country: if self.country == 0 { other.country } else { self.country },
            started_ms: self.started_ms.or(other.started_ms),
            lists: if self.lists == NO_LISTS { other.lists } else { self.lists },
            flags: if is_silent(self) { other.flags } else { self.flags },
        }
    }
}

fn short_digest(text: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = plain_digest(&[text.as_bytes()]);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The two letters of a country as a number, the first in the upper byte; 0 for anything else.
pub fn country_code(country: Option<&str>) -> u16 {
    match country.map(str::as_bytes) {
        Some([first, second]) => u16::from_be_bytes([*first, *second]),
        _ => 0,
    }
}

/// A conversion as it is counted for the source of its click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// The source.
    pub source: SourceKey,
    /// When the click happened.
    pub touch_ms: u64,
    /// How much later the conversion came; `None` where the clocks do not agree.
    pub after_ms: Option<u64>,
}

/// What a decision in force rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// The partner by whose rules it was scored: the one with the largest part of the credit.
    pub partner: Option<u64>,
    /// The clicks that are credited, and those that were refused for fraud.
    pub clicks: Vec<Id>,
    /// As what it is counted, if it is.
    pub counting: Option<Counting>,
}
