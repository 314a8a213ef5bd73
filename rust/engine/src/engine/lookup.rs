//! Lookups in bulk: all clicks of a visitor in a window, for many visitors at a time.

use super::Engine;
use crate::error::Error;
use crate::identity::graph::Moment;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::LOOKUP_IDENTIFIERS_MAX;
use crate::state::brand::{Brand, Found};

/// Lookups whose cache lines are read ahead together: enough for their misses to overlap, few
/// enough for the nearer caches to hold them.
const LOOKUPS_AHEAD: usize = 32;

/// Questions, one after another.
#[derive(Clone, Debug, Default)]
struct Lookups {
    /// Of each its time, and where its identifiers end.
    times: Vec<(u64, usize)>,
    starts: Vec<Identifier>,
}

impl Engine {
    /// For each lookup the clicks of the brand in `(at - window, at]` that belong to its
    /// identifiers, over all links and all programs, the newest first.
    ///
    /// `lookups` is their concatenation, each the time in milliseconds (u64, little endian), the
    /// count of its identifiers (u8), and for each its type (u8) and digest (16 bytes). The answer
    /// is for each lookup the count of its clicks and their numbers (u32 each, little endian), the
    /// newest first to the second; [`Engine::click_ids`] tells their ids.
    ///
    /// # Errors
    /// [`Error::Identifier`] when the bytes are not whole lookups.
    pub fn touches(&self, brand: u64, lookups: &[u8], window_ms: u64) -> Result<Vec<u8>, Error> {
        let lookups = Lookups::read(lookups)?;
        let none = Brand::default();
        let brand = self.brands.get(&brand).unwrap_or(&none);
        let mut out = Vec::with_capacity(lookups.times.len() * 64);
        let mut found = Found::default();
        let mut first = 0;
        for part in lookups.times.chunks(LOOKUPS_AHEAD) {
            let last = part.last().map_or(first, |(_, end)| *end);
            let mut starts = lookups.starts.get(first..last).unwrap_or_default();
            let ahead = brand.read_ahead(starts);
            let mut rows = ahead.as_slice();
            for (at_ms, end) in part {
                let at = Moment { occurred_ms: *at_ms, known_ms: *at_ms };
                let (own_starts, other_starts) = starts.split_at(*end - first);
                let (own_rows, other_rows) = rows.split_at(*end - first);
                brand.touches(own_starts, own_rows, at, window_ms, &mut found);
                let count = u32::try_from(found.touches.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&count.to_le_bytes());
                for (_, number) in &found.touches {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                (starts, rows, first) = (other_starts, other_rows, *end);
            }
        }
        Ok(out)
    }
}

impl Engine {
    /// The ids of live clicks, 16 bytes each, by their numbers (u32, little endian); zeros for a
    /// number that no click has. A number is good until the engine moves on.
    ///
    /// # Errors
    /// [`Error::Identifier`] when the bytes are not whole numbers.
    pub fn click_ids(&self, brand: u64, numbers: &[u8]) -> Result<Vec<u8>, Error> {
        let numbers = numbers.chunks_exact(size_of::<u32>());
        if !numbers.remainder().is_empty() {
            return Err(Error::Identifier("truncated_lookup"));
        }
        let clicks = self.brands.get(&brand).map(|brand| &brand.clicks);
        let id_of = |number: &[u8]| {
            let number = u32::from_le_bytes(number.try_into().ok()?);
            clicks?.touch(number).map(|(_, id)| id)
        };
        Ok(numbers.flat_map(|number| id_of(number).unwrap_or_default()).collect())
    }
}

impl Lookups {
    fn read(mut bytes: &[u8]) -> Result<Self, Error> {
        const TRUNCATED: Error = Error::Identifier("truncated_lookup");
        let mut lookups = Self::default();
        while !bytes.is_empty() {
            let (at_ms, rest) = bytes.split_first_chunk().ok_or(TRUNCATED)?;
            let (count, mut rest) = rest.split_first().ok_or(TRUNCATED)?;
            if usize::from(*count) > LOOKUP_IDENTIFIERS_MAX {
                return Err(Error::Identifier("too_many_identifiers"));
            }
            let first = lookups.starts.len();
            for _ in 0..*count {
                let (kind, after) = rest.split_first().ok_or(TRUNCATED)?;
                let (digest, after) = after.split_first_chunk::<16>().ok_or(TRUNCATED)?;
                let kind = IdentifierType::from_number(u64::from(*kind))
                    .map_err(|_| Error::Identifier("unknown_identifier_type"))?;
                lookups.starts.push(Identifier { kind, digest: *digest });
                rest = after;
            }
            lookups.starts.get_mut(first..).unwrap_or_default().sort_unstable();
            lookups.times.push((u64::from_le_bytes(*at_ms), lookups.starts.len()));
            bytes = rest;
        }
        Ok(lookups)
    }
}
