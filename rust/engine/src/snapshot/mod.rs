//! Snapshots: the state as bytes, the same bytes for the same state.
//!
//! Little endian: magic `HWSNAP\0\0`, version u16, partition u16, position (two u64), engine
//! time u64, chain digest (32 bytes), producers, then the brands in order of their numbers, each
//! a section with its length, and a CRC-32C of everything before it: it tells damage, and the
//! ledger's manifest has a digest of the whole file. Graph and clicks are written as the rows they
//! are, numbers and free rows included; every other list is sorted. What follows from the rest
//! (orders of expiry) is left out and rebuilt.

mod bytes;
mod controls;
mod evidence;
mod fraud;
mod rows;
mod section;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{Digest, Position};
use crate::error::Error;
use crate::fraud::repeats::{Repeat, Repeats};
use crate::fraud::sources::{SourceStore, Sources};
use crate::fraud::state::Fraud;
use crate::fraud::Shared;
use crate::identity::graph::{Graph, Store};
use crate::limits::TIME_MS_MAX;
use crate::state::brand::{Brand, Gone};
use crate::state::clicks::{ClickStore, Clicks};
use crate::state::controls::Controls;
use crate::state::cow::CowMap;
use crate::state::due::{Due, DueMap};
use crate::state::orders::Order;
use crate::state::producers::{Producer, Producers};
use crate::state::ranges::Ranges;
use crate::state::recent::Recent;
use crate::state::resting::Resting;
use crate::state::waiting::Waiting;
use crate::Id;

use bytes::{Input, Output, Rising};

const MAGIC: [u8; 8] = *b"HWSNAP\0\0";
/// The version this build writes and reads.
pub const VERSION: u16 = 6;
const CHECKSUM_BYTES: usize = 4;

/// What a snapshot holds of one brand, shared with the engine until it changes.
#[derive(Clone, Debug)]
pub struct BrandView {
    controls: Arc<Controls>,
    clicks: ClickStore,
    gone: CowMap<Id, Due<Gone>>,
    orders: CowMap<Id, Due<Order>>,
    recent: Recent,
    graph: Store,
    fraud: Fraud,
    sources: SourceStore,
    repeats: CowMap<Id, Due<Repeat>>,
}

impl From<&Brand> for BrandView {
    fn from(brand: &Brand) -> Self {
        Self {
            controls: Arc::clone(&brand.controls),
            clicks: brand.clicks.store().clone(),
            gone: brand.gone.entries().clone(),
            orders: brand.orders.entries().clone(),
            recent: brand.recent.clone(),
            graph: brand.graph.store().clone(),
            fraud: brand.fraud.of_clicks(),
            sources: brand.fraud.sources.store().clone(),
            repeats: brand.fraud.repeats.entries().clone(),
        }
    }
}

impl BrandView {
    pub(crate) fn into_brand(self, now_ms: u64, shared: &Arc<Shared>) -> Brand {
        let orders = self.orders.sorted().into_iter().map(|(id, due)| (id, &due.value));
        let waiting = Waiting::of_orders(orders.clone(), now_ms);
        let resting = Resting::of_orders(orders, now_ms);
        let fraud = Fraud {
            sources: Sources::from_store(self.sources),
            repeats: Repeats::from_entries(self.repeats),
            ..self.fraud
        };
        Brand {
            waiting,
            resting,
            fraud,
            controls: self.controls,
            clicks: Clicks::from_store(self.clicks),
            gone: DueMap::from_entries(self.gone),
            orders: DueMap::from_entries(self.orders),
            recent: self.recent,
            graph: Graph::from_store(self.graph),
            shared: Arc::clone(shared),
        }
    }
}

/// The state at one position, unaffected by what the engine does afterwards.
#[derive(Clone, Debug)]
pub struct SnapshotView {
    pub(crate) partition: u16,
    pub(crate) position: Position,
    pub(crate) time_ms: u64,
    pub(crate) digest: Digest,
    pub(crate) producers: Producers,
    pub(crate) shared: Arc<Shared>,
    pub(crate) brands: BTreeMap<u64, BrandView>,
}

impl SnapshotView {
    /// The snapshot's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(None)
    }

    /// The same without what erased digests leave behind: the places of others in the indexes of
    /// identifiers and counters, and the counters of days that are over. Equal for states that go
    /// on alike.
    pub fn to_comparable_bytes(&self) -> Vec<u8> {
        self.write(Some(self.time_ms))
    }

    fn write(&self, comparable_ms: Option<u64>) -> Vec<u8> {
        let size = self
            .brands
            .values()
            .map(|brand| brand.graph.bytes() + brand.clicks.bytes() + brand.fraud.bytes());
        let mut out = Output { bytes: Vec::with_capacity(size.sum()), comparable_ms };
        out.raw(&MAGIC);
        out.u16(VERSION);
        out.u16(self.partition);
        out.u64(self.position.0);
        out.u64(self.position.1);
        out.u64(self.time_ms);
        out.raw(&self.digest);
        out.count(self.producers.by_number.len());
        for (number, producer) in &self.producers.by_number {
            write_producer(&mut out, *number, producer);
        }
        out.section(|out| shared::write(out, &self.shared));
        out.count(self.brands.len());
        for (number, brand) in &self.brands {
            out.u64(*number);
            out.section(|out| section::write(out, brand));
        }
        let checksum = crc32c::crc32c(&out.bytes);
        out.raw(&checksum.to_le_bytes());
        out.bytes
    }
}

fn write_producer(out: &mut Output, number: u64, producer: &Producer) {
    out.u64(number);
    out.u64(producer.last_ms);
    out.count(producer.ranges.as_slice().len());
    for (first, last) in producer.ranges.as_slice() {
        out.u64(*first);
        out.u64(*last);
    }
}

/// Reads a snapshot.
///
/// # Errors
/// [`Error::Snapshot`]: `damaged`, `unknown_version` or `wrong_partition`.
pub fn decode(partition: u16, bytes: &[u8]) -> Result<SnapshotView, Error> {
    let damaged = Error::Snapshot("damaged");
    let (content, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(damaged.clone())?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
        return Err(damaged);
    }
    let mut input = Input::new(content);
    if input.array()? != MAGIC {
        return Err(damaged);
    }
    if input.u16()? != VERSION {
        return Err(Error::Snapshot("unknown_version"));
    }
    if input.u16()? != partition {
        return Err(Error::Snapshot("wrong_partition"));
    }
    let position = (input.u64()?, input.u64()?);
    let time_ms = input.u64()?;
    if time_ms > TIME_MS_MAX || position.0 > time_ms {
        return Err(damaged);
    }
    let digest = input.array()?;
    let (mut producers, mut numbers) = (Producers::default(), Rising::new());
    for _ in 0..input.count()? {
        let (number, producer) = read_producer(&mut input)?;
        producers.by_number.insert(numbers.next(number)?, producer);
    }
    let shared = Arc::new(input.section(shared::read)?);
    let (mut brands, mut numbers) = (BTreeMap::new(), Rising::new());
    for _ in 0..input.count()? {
        let number = numbers.next(input.u64()?)?;
        brands.insert(number, input.section(section::read)?);
    }
    input.finish()?;
    Ok(SnapshotView { partition, position, time_ms, digest, producers, shared, brands })
}

fn read_producer(input: &mut Input<'_>) -> Result<(u64, Producer), Error> {
    let number = input.u64()?;
    let last_ms = input.u64()?;
    let mut ranges = Vec::new();
    for _ in 0..input.count()? {
        ranges.push((input.u64()?, input.u64()?));
    }
    let ranges = Ranges::from_sorted(ranges).ok_or(Error::Snapshot("damaged"))?;
    Ok((number, Producer { ranges, last_ms }))
}
