//! What a brand's section holds of fraud scoring.

use std::collections::BTreeMap;

use super::bytes::{Input, Output, Rising};
use super::controls::read_bool;
use super::rows::{read_chunks, read_index, write_chunks, write_index_of_digests};
use crate::error::Error;
use crate::fraud::state::fifo::Fifo;
use crate::fraud::state::heads::Heads;
use crate::fraud::state::scores::{Noted, Scores};
use crate::fraud::state::tallies::Tallies;
use crate::fraud::state::Fraud;
use crate::fraud::{Finding, Signal};
use crate::state::chunks::Row;
use crate::state::cow::CowMap;

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write_fraud(out: &mut Output, fraud: &Fraud) {
    write_scores(out, &fraud.scores);
    write_index_of_digests(out, &fraud.tallies.index);
    match out.comparable_ms {
        Some(now_ms) => out.section(|out| fraud.tallies.write_current(now_ms, &mut out.bytes)),
        None => write_chunks(out, &fraud.tallies.rows),
    }
    write_chunks(out, &fraud.tallies.free);
    out.u64(u64::from(fraud.tallies.hand));
    out.u64(fraud.tallies.seed);
    write_fifo(out, &fraud.pending);
    write_index_of_digests(out, &fraud.heads.index);
    write_fifo(out, &fraud.work);
    out.count(fraud.closing.len());
    for (day, counters) in &fraud.closing {
        out.u64(*day);
        write_fifo(out, counters);
    }
    out.count(fraud.lists.len());
    for name in &fraud.lists {
        out.str(name);
    }
    out.u16(fraud.lists_first);
    for number in [fraud.tainted_day, fraud.checkout_ms, fraud.prefetch_ms, fraud.windows_ms] {
        out.u64(number);
    }
}

pub(super) fn read_fraud(input: &mut Input<'_>) -> Result<Fraud, Error> {
    let scores = read_scores(input)?;
    let tallies = Tallies {
        index: read_index(input)?,
        rows: read_chunks(input)?,
        free: read_chunks(input)?,
        hand: read_u32(input)?,
        seed: input.u64()?,
    };
    let pending = read_fifo(input)?;
    let heads = Heads { index: read_index(input)? };
    let work = read_fifo(input)?;
    let (mut closing, mut days) = (BTreeMap::new(), Rising::new());
    for _ in 0..input.count()? {
        let day = days.next(input.u64()?)?;
        closing.insert(day, read_fifo(input)?);
    }
    let names = (0..input.count()?).map(|_| Ok(input.str()?.into()));
    let lists = names.collect::<Result<_, Error>>()?;
    Ok(Fraud {
        scores,
        tallies,
        pending,
        heads,
        work,
        closing,
        lists,
        lists_first: input.u16()?,
        tainted_day: input.u64()?,
        checkout_ms: input.u64()?,
        prefetch_ms: input.u64()?,
        windows_ms: input.u64()?,
        ..Fraud::default()
    })
}

pub(super) fn read_u32(input: &mut Input<'_>) -> Result<u32, Error> {
    u32::try_from(input.u64()?).map_err(|_| DAMAGED)
}

pub(super) fn write_fifo<T: Row>(out: &mut Output, fifo: &Fifo<T>) {
    out.u64(u64::from(fifo.first()));
    out.section(|out| fifo.write(&mut out.bytes));
}

pub(super) fn read_fifo<T: Row>(input: &mut Input<'_>) -> Result<Fifo<T>, Error> {
    let first = read_u32(input)?;
    let count = input.count()?;
    Fifo::read(first, input.take(count)?)
}

fn write_scores(out: &mut Output, scores: &Scores) {
    let entries = scores.by_click.sorted();
    out.count(entries.len());
    for (click_id, noted) in entries {
        out.raw(click_id);
        out.u16(noted.revision);
        out.u8(noted.score);
        out.u64(u64::from(noted.row));
        out.u64(u64::from(noted.until_s));
        out.count(noted.findings.len());
        for finding in noted.findings.iter() {
            write_finding(out, finding);
        }
    }
    write_fifo(out, &scores.order);
}

fn read_scores(input: &mut Input<'_>) -> Result<Scores, Error> {
    let (mut by_click, mut ids) = (CowMap::default(), Rising::new());
    for _ in 0..input.count()? {
        let click_id = ids.next(input.array()?)?;
        let (revision, score) = (input.u16()?, input.u8()?);
        let (row, until_s) = (read_u32(input)?, read_u32(input)?);
        let findings: Result<Vec<Finding>, Error> =
            (0..input.count()?).map(|_| read_finding(input)).collect();
        let findings = findings?.into();
        by_click.insert(click_id, Noted { findings, revision, score, row, until_s });
    }
    Ok(Scores { by_click, order: read_fifo(input)? })
}

fn write_finding(out: &mut Output, finding: &Finding) {
    out.u8(finding.signal as u8);
    out.u64(u64::from(finding.severity));
    out.u64(finding.observed);
    out.u64(finding.threshold);
    out.u8(u8::from(finding.is_inherited));
}

fn read_finding(input: &mut Input<'_>) -> Result<Finding, Error> {
    Ok(Finding {
        signal: Signal::from_number(u64::from(input.u8()?)).ok_or(DAMAGED)?,
        severity: read_u32(input)?,
        observed: input.u64()?,
        threshold: input.u64()?,
        is_inherited: read_bool(input)?,
    })
}
