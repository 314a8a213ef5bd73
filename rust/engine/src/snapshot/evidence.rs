//! The parts of a brand's section that hold sources and sets of conversions.

use super::bytes::{Input, Output, Rising};
use super::section::{read_due, read_list, write_due};
use crate::error::Error;
use crate::fraud::facts::{Basis, Counting, Facts};
use crate::fraud::repeats::{Entry, Repeat};
use crate::fraud::sources::tally::{Epoch, Pair};
use crate::fraud::sources::{Level, Part, Source, SourceKey, Tally};
use crate::state::cow::CowMap;
use crate::state::due::Due;
use crate::Id;

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write_sources(out: &mut Output, sources: &CowMap<Level, Source>) {
    let entries = sources.sorted();
    out.count(entries.len());
    for (level, source) in entries {
        out.u64(level.program);
        out.u64(level.partner);
        out.u64(u64::from(level.sub));
        write_tally(out, &source.tally);
        out.count(source.recent.len());
        for (touch_ms, click_id) in &source.recent {
            out.u64(*touch_ms);
            out.raw(click_id);
        }
        out.u64(u64::from(source.judged));
        out.u64(u64::from(source.judged_at.0));
    }
}

pub(super) fn read_sources(input: &mut Input<'_>) -> Result<CowMap<Level, Source>, Error> {
    let (mut sources, mut levels) = (CowMap::default(), Rising::new());
    for _ in 0..input.count()? {
        let (program, partner, sub) = (input.u64()?, input.u64()?, read_u32(input)?);
        let level = levels.next(Level { program, partner, sub })?;
        let tally = read_tally(input)?;
        let recent: Vec<(u64, Id)> = read_list(input, |input| Ok((input.u64()?, input.array()?)))?;
        if !recent.is_sorted_by(|a, b| a < b) {
            return Err(DAMAGED);
        }
        let (judged, judged_at) = (read_u32(input)?, Part(read_u32(input)?));
        sources.insert(level, Source { tally, recent: recent.into(), judged, judged_at });
    }
    Ok(sources)
}

fn read_u32(input: &mut Input<'_>) -> Result<u32, Error> {
    u32::try_from(input.u64()?).map_err(|_| DAMAGED)
}

fn write_pair(out: &mut Output, pair: &Pair) {
    out.u64(pair.clicks);
    out.u64(pair.conversions);
}

fn read_pair(input: &mut Input<'_>) -> Result<Pair, Error> {
    Ok(Pair { clicks: input.u64()?, conversions: input.u64()? })
}

fn write_tally(out: &mut Output, tally: &Tally) {
    out.u64(u64::from(tally.newest.0));
    for pair in &tally.young {
        write_pair(out, pair);
    }
    for epoch in &tally.epochs {
        write_pair(out, &epoch.settled);
        for count in epoch.timing.iter().chain([&epoch.over_hour]) {
            out.raw(&count.to_le_bytes());
        }
    }
}

fn read_tally(input: &mut Input<'_>) -> Result<Tally, Error> {
    let mut tally = Tally { newest: Part(read_u32(input)?), ..Tally::default() };
    for pair in &mut tally.young {
        *pair = read_pair(input)?;
    }
    for epoch in &mut tally.epochs {
        let Epoch { settled, timing, over_hour } = epoch;
        *settled = read_pair(input)?;
        for count in timing.iter_mut().chain([over_hour]) {
            *count = u32::from_le_bytes(input.array()?);
        }
    }
    Ok(tally)
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
    out.u64(facts.flags);
}

pub(super) fn read_facts(input: &mut Input<'_>) -> Result<Facts, Error> {
    Ok(Facts {
        source: input.u64()?,
        address: input.optional(Input::u64)?,
        network: input.optional(Input::u64)?,
        country: input.u16()?,
        started_ms: input.optional(Input::u64)?,
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
