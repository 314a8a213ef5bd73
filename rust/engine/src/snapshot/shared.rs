//! The section of what is the same for all brands.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bytes::{Input, Output, Rising};
use super::controls::{read_layer, read_strings, write_layer, write_strings};
use crate::error::Error;
use crate::fraud::agents::BotList;
use crate::fraud::shared::Chunk;
use crate::fraud::Shared;

pub(super) fn write(out: &mut Output, shared: &Shared) {
    out.u64(shared.network_revision);
    write_layer(out, &shared.network);
    out.str(shared.bots.version().unwrap_or_default());
    write_strings(out, shared.bots.patterns());
    out.count(shared.chunks.len());
    for (place, chunk) in &shared.chunks {
        out.u64(*place);
        out.u64(chunk.revision);
        out.str(&chunk.version);
        out.u64(chunk.chunks);
        write_strings(out, &chunk.patterns);
    }
}

pub(super) fn read(input: &mut Input<'_>) -> Result<Shared, Error> {
    let network_revision = input.u64()?;
    let network = Arc::new(read_layer(input)?);
    let version = input.str()?;
    let bots = Arc::new(BotList::compile(version, read_strings(input)?));
    let (mut chunks, mut places) = (BTreeMap::new(), Rising::new());
    for _ in 0..input.count()? {
        let place = places.next(input.u64()?)?;
        let chunk = Chunk {
            revision: input.u64()?,
            version: input.str()?.to_owned(),
            chunks: input.u64()?,
            patterns: read_strings(input)?,
        };
        chunks.insert(place, chunk);
    }
    Ok(Shared { bots, network, network_revision, chunks })
}
