//! Sections of rows: the graph and the clicks, raw.

use std::collections::BTreeMap;

use super::bytes::{Input, Output, Rising};
use crate::error::Error;
use crate::identity::graph::Store;
use crate::state::arena::{Arena, Lists};
use crate::state::chunks::{Chunks, Row};
use crate::state::clicks::ClickStore;
use crate::state::id_index::IdIndex;
use crate::state::recent::Recent;

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write_graph(out: &mut Output, graph: &Store) {
    out.u64(graph.seed);
    write_index_of_digests(out, &graph.index);
    write_arena(out, &graph.nodes);
    write_arena(out, &graph.links);
    write_lists(out, &graph.ends);
    write_lists(out, &graph.clicks);
    out.count(graph.let_go.len());
    for (row, count) in &graph.let_go {
        out.u64(u64::from(*row));
        out.u64(u64::from(*count));
    }
}

pub(super) fn read_graph(input: &mut Input<'_>) -> Result<Store, Error> {
    Ok(Store {
        seed: input.u64()?,
        index: read_index(input)?,
        nodes: read_arena(input)?,
        links: read_arena(input)?,
        ends: read_lists(input)?,
        clicks: read_lists(input)?,
        let_go: read_counts(input)?,
        ..Store::default()
    })
}

fn read_counts(input: &mut Input<'_>) -> Result<BTreeMap<u32, u32>, Error> {
    let (mut counts, mut rows) = (BTreeMap::new(), Rising::new());
    for _ in 0..input.count()? {
        let (row, count) = (rows.next(input.u64()?)?, input.u64()?);
        let row = u32::try_from(row).map_err(|_| DAMAGED)?;
        counts.insert(row, u32::try_from(count).map_err(|_| DAMAGED)?);
    }
    Ok(counts)
}

pub(super) fn write_clicks(out: &mut Output, clicks: &ClickStore) {
    write_index(out, &clicks.index);
    write_arena(out, &clicks.rows);
    out.count(clicks.pairs.len());
    for (program, partner) in &clicks.pairs {
        out.u64(*program);
        out.u64(*partner);
    }
}

pub(super) fn read_clicks(input: &mut Input<'_>) -> Result<ClickStore, Error> {
    let (index, rows) = (read_index(input)?, read_arena(input)?);
    let pairs = (0..input.count()?).map(|_| Ok((input.u64()?, input.u64()?)));
    Ok(ClickStore { index, rows, pairs: pairs.collect::<Result<_, Error>>()? })
}

pub(super) fn write_recent(out: &mut Output, recent: &Recent) {
    write_index(out, &recent.index);
    write_arena(out, &recent.rows);
    out.u64(u64::from(recent.oldest));
    out.u64(u64::from(recent.newest));
}

pub(super) fn read_recent(input: &mut Input<'_>) -> Result<Recent, Error> {
    let (index, rows) = (read_index(input)?, read_arena(input)?);
    let mut end = || u32::try_from(input.u64()?).map_err(|_| DAMAGED);
    Ok(Recent { index, rows, oldest: end()?, newest: end()? })
}

/// An index in which what was erased has left its mark: who came after it stands elsewhere.
pub(super) fn write_index_of_digests(out: &mut Output, index: &IdIndex) {
    if out.comparable_ms.is_none() {
        write_index(out, index);
    } else {
        out.count(index.len());
    }
}

pub(super) fn write_index(out: &mut Output, index: &IdIndex) {
    out.count(index.len());
    write_chunks(out, &index.buckets);
    write_arena(out, &index.chained);
}

pub(super) fn read_index(input: &mut Input<'_>) -> Result<IdIndex, Error> {
    let len = input.count()?;
    Ok(IdIndex { buckets: read_chunks(input)?, chained: read_arena(input)?, len })
}

pub(super) fn write_arena<T: Row>(out: &mut Output, arena: &Arena<T>) {
    write_chunks(out, &arena.rows);
    write_chunks(out, &arena.free);
}

pub(super) fn read_arena<T: Row>(input: &mut Input<'_>) -> Result<Arena<T>, Error> {
    let (rows, free) = (read_chunks(input)?, read_chunks::<u32>(input)?);
    if free.len() > rows.len() {
        return Err(DAMAGED);
    }
    Ok(Arena { rows, free })
}

fn write_lists<T: Row>(out: &mut Output, lists: &Lists<T>) {
    for class in &lists.classes {
        write_chunks(out, &class.items);
        write_chunks(out, &class.free);
    }
}

fn read_lists<T: Row>(input: &mut Input<'_>) -> Result<Lists<T>, Error> {
    let mut lists = Lists::default();
    for class in &mut lists.classes {
        class.items = read_chunks(input)?;
        class.free = read_chunks(input)?;
    }
    Ok(lists)
}

pub(super) fn write_chunks<T: Row>(out: &mut Output, chunks: &Chunks<T>) {
    out.section(|out| chunks.write(&mut out.bytes));
}

pub(super) fn read_chunks<T: Row>(input: &mut Input<'_>) -> Result<Chunks<T>, Error> {
    let count = input.count()?;
    Chunks::read(input.take(count)?)
}
