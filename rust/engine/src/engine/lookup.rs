//! Lookups in bulk: all clicks of a visitor in a window, for many visitors at a time.

use super::Engine;
use crate::error::Error;
use crate::identity::graph::{Moment, Walk};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::LOOKUP_IDENTIFIERS_MAX;
use crate::state::brand::Brand;
use crate::Id;

/// One question.
#[derive(Clone, Debug)]
struct Lookup {
    at_ms: u64,
    starts: Vec<Identifier>,
}

impl Engine {
    /// For each lookup the clicks of the brand in `(at - window, at]` that belong to its
    /// identifiers, over all links and all programs, the newest first.
    ///
    /// `lookups` is their concatenation, each the time in milliseconds (u64, little endian), the
    /// count of its identifiers (u8), and for each its type (u8) and digest (16 bytes). The answer
    /// is for each lookup the count of its clicks (u32, little endian) and their ids.
    ///
    /// # Errors
    /// [`Error::Identifier`] when the bytes are not whole lookups.
    pub fn touches(&self, brand: u64, lookups: &[u8], window_ms: u64) -> Result<Vec<u8>, Error> {
        let lookups = read(lookups)?;
        let none = Brand::default();
        let brand = self.brands.get(&brand).unwrap_or(&none);
        brand.prefetch(lookups.iter().flat_map(|lookup| &lookup.starts));
        let mut out = Vec::with_capacity(lookups.len() * 64);
        let (mut walk, mut touches) = (Walk::default(), Vec::new());
        for Lookup { at_ms, starts } in &lookups {
            let at = Moment { occurred_ms: *at_ms, known_ms: *at_ms };
            brand.touches(starts, at, window_ms, &mut walk, &mut touches);
            let count = u32::try_from(touches.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&count.to_le_bytes());
            for (_, id) in &touches {
                out.extend_from_slice(id);
            }
        }
        Ok(out)
    }
}

fn read(mut bytes: &[u8]) -> Result<Vec<Lookup>, Error> {
    const TRUNCATED: Error = Error::Identifier("truncated_lookup");
    let mut lookups = Vec::new();
    while !bytes.is_empty() {
        let (at_ms, rest) = bytes.split_first_chunk().ok_or(TRUNCATED)?;
        let (count, mut rest) = rest.split_first().ok_or(TRUNCATED)?;
        if usize::from(*count) > LOOKUP_IDENTIFIERS_MAX {
            return Err(Error::Identifier("too_many_identifiers"));
        }
        let mut starts = Vec::with_capacity(usize::from(*count));
        for _ in 0..*count {
            let (kind, after) = rest.split_first().ok_or(TRUNCATED)?;
            let (digest, after) = after.split_first_chunk::<16>().ok_or(TRUNCATED)?;
            let kind = IdentifierType::from_number(u64::from(*kind))
                .map_err(|_| Error::Identifier("unknown_identifier_type"))?;
            starts.push(Identifier { kind, digest: Id::from(*digest) });
            rest = after;
        }
        starts.sort_unstable();
        lookups.push(Lookup { at_ms: u64::from_le_bytes(*at_ms), starts });
        bytes = rest;
    }
    Ok(lookups)
}
