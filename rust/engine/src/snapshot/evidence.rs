//! The parts of a brand's section that hold sources and sets of conversions.

use super::bytes::{Input, Output};
use super::fraud::{read_fifo, read_u32, write_fifo};
use super::rows::{read_arena, read_index, write_arena, write_index};
use super::section::{read_due, read_list, write_due};
use crate::error::Error;
use crate::fraud::facts::{Basis, Counting, Facts};
use crate::fraud::repeats::{Entry, Repeat};
use crate::fraud::sources::{Level, Part, SourceKey, SourceStore};
use crate::state::chunks::Row;
use crate::state::cow::CowMap;
use crate::state::due::Due;
use crate::Id;

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write_sources(out: &mut Output, sources: &SourceStore) {
    write_index(out, &sources.index);
    write_arena(out, &sources.rows);
    write_fifo(out, &sources.clicks);
    write_fifo(out, &sources.swept);
    let (engine, brand) = sources.round;
    out.u64(u64::from(engine.0));
    out.u64(u64::from(brand.0));
    out.optional(sources.judged_to, |out, (part, level)| {
        out.u64(u64::from(part.0));
        level.write(&mut out.bytes);
    });
}

pub(super) fn read_sources(input: &mut Input<'_>) -> Result<SourceStore, Error> {
    Ok(SourceStore {
        index: read_index(input)?,
        rows: read_arena(input)?,
        clicks: read_fifo(input)?,
        swept: read_fifo(input)?,
        round: (Part(read_u32(input)?), Part(read_u32(input)?)),
        judged_to: input.optional(|input| {
            let part = Part(read_u32(input)?);
            Ok((part, Level::read(input.take(Level::BYTES)?).ok_or(DAMAGED)?))
        })?,
    })
}

pub(super) fn write_repeats(out: &mut Output, repeats: &CowMap<Id, Due<Repeat>>) {
    write_due(out, repeats, |out, repeat| {
        out.count(repeat.entries.len());
        for entry in &repeat.entries {
            out.u64(entry.order);
            out.raw(&entry.conversion_id);
        }
        out.u64(repeat.beyond);
    });
}

pub(super) fn read_repeats(input: &mut Input<'_>) -> Result<CowMap<Id, Due<Repeat>>, Error> {
    read_due(input, |input| {
        let entries: Vec<Entry> = read_list(input, |input| {
            Ok(Entry { order: input.u64()?, conversion_id: input.array()? })
        })?;
        if !entries.is_sorted_by(|a, b| a < b) {
            return Err(DAMAGED);
        }
        Ok(Repeat { entries, beyond: input.u64()? })
    })
}

pub(super) fn write_facts(out: &mut Output, facts: &Facts) {
    out.u64(facts.source);
    out.optional(facts.address, Output::u64);
    out.optional(facts.network, Output::u64);
    out.u16(facts.country);
    out.optional(facts.started_ms, Output::u64);
    out.u16(facts.lists);
    out.u64(facts.flags);
}

pub(super) fn read_facts(input: &mut Input<'_>) -> Result<Facts, Error> {
    Ok(Facts {
        source: input.u64()?,
        address: input.optional(Input::u64)?,
        network: input.optional(Input::u64)?,
        country: input.u16()?,
        started_ms: input.optional(Input::u64)?,
        lists: input.u16()?,
        flags: input.u64()?,
    })
}

pub(super) fn write_basis(out: &mut Output, basis: &Basis) {
    out.optional(basis.partner, Output::u64);
    out.count(basis.clicks.len());
    for click_id in &basis.clicks {
        out.raw(click_id);
    }
    out.optional(basis.counting, |out, counting| {
        out.u64(counting.source.program);
        out.u64(counting.source.partner);
        out.u16(counting.source.sub);
        out.u64(counting.touch_ms);
        out.optional(counting.after_ms, Output::u64);
    });
}

pub(super) fn read_basis(input: &mut Input<'_>) -> Result<Basis, Error> {
    Ok(Basis {
        partner: input.optional(Input::u64)?,
        clicks: read_list(input, |input| input.array())?,
        counting: input.optional(|input| {
            let (program, partner, sub) = (input.u64()?, input.u64()?, input.u16()?);
            let source = SourceKey { program, partner, sub };
            let (touch_ms, after_ms) = (input.u64()?, input.optional(Input::u64)?);
            Ok(Counting { source, touch_ms, after_ms })
        })?,
    })
}
