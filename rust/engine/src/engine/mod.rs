//! The state machine: entries of one partition's log in, outcomes out.
//!
//! Time is the log's: engine time is the largest stream millisecond seen. The position must
//! rise with every entry. A frame that is damaged is quarantined whole; one of an unknown
//! version stops the engine before anything is applied.

mod ahead;
mod apply;
mod chain;
pub mod click_rows;
mod erase;
mod late;
mod lookup;
mod outcomes;
mod report;
mod rescored;
mod score;
mod score_again;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::Error;
use crate::fraud::Shared;
use crate::identity::digest::plain_digest;
use crate::limits::{Limits, ACCEPT_AHEAD_MAX_MS, CLAIM_SKEW_MAX_MS, HOUR_MS, SPOOL_AGE_MAX_MS};
use crate::record::frame::{
    claimed_version, decode_frame, frame_header, Frame, FrameHeader, VERSION,
};
use crate::record::{Body, Control, Kind, Record};
use crate::snapshot::{self, SnapshotView};
use crate::state::brand::Brand;
use crate::state::producers::Producers;
use crate::Id;

use chain::Chain;
pub use chain::Digest;
pub use outcomes::Outcomes;
use outcomes::Table;

/// A stream id: milliseconds and sequence.
pub type Position = (u64, u64);

/// How an engine is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Bounds of its state.
    pub limits: Limits,
    /// Fault hook for tests of crash recovery: applying the event of this id panics.
    pub panic_on: Option<Id>,
}

/// The engine of one partition.
#[derive(Debug)]
pub struct Engine {
    partition: u16,
    options: Options,
    position: Position,
    time_ms: u64,
    digest: Digest,
    producers: Producers,
    shared: Arc<Shared>,
    brands: BTreeMap<u64, Brand>,
}

/// Where a record stands: when it was accepted and when it happened, and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Context<'a> {
    accept_ms: u64,
    occurred_ms: u64,
    producer: u64,
    bytes: &'a [u8],
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(partition: u16, options: Options) -> Self {
        Self {
            partition,
            options,
            position: (0, 0),
            time_ms: 0,
            digest: [0; 32],
            producers: Producers::default(),
            shared: Arc::default(),
            brands: BTreeMap::new(),
        }
    }

    /// An engine as a snapshot left it.
    ///
    /// # Errors
    /// [`Error::Snapshot`] when the bytes are damaged, of another format or another partition.
    pub fn restore(partition: u16, bytes: &[u8], options: Options) -> Result<Self, Error> {
        let state = snapshot::decode(partition, bytes)?;
        let now_ms = state.time_ms;
        let shared = state.shared;
        let brands = state.brands.into_iter();
        let brands =
            brands.map(|(number, view)| (number, view.into_brand(now_ms, &shared))).collect();
        Ok(Self {
            partition,
            options,
            position: state.position,
            time_ms: state.time_ms,
            digest: state.digest,
            producers: state.producers,
            shared,
            brands,
        })
    }

    /// The state as it is now, shared until the engine moves on. Cheap.
    pub fn view(&self) -> SnapshotView {
        SnapshotView {
            partition: self.partition,
            position: self.position,
            time_ms: self.time_ms,
            digest: self.digest,
            producers: self.producers.clone(),
            shared: Arc::clone(&self.shared),
            brands: self.brands.iter().map(|(number, brand)| (*number, brand.into())).collect(),
        }
    }

    /// The position of the newest entry applied or skipped.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Engine time, milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The chain digest up to the position.
    pub fn chain_digest(&self) -> &Digest {
        &self.digest
    }

    /// The sequences seen of a producer, as inclusive ranges.
    pub fn ranges(&self, producer: u64) -> &[(u64, u64)] {
        self.producers.ranges(producer)
    }

    /// The sequences seen of every producer that is not forgotten, as inclusive ranges.
    pub fn seen(&self) -> BTreeMap<u64, Vec<(u64, u64)>> {
        let producers = self.producers.by_number.iter();
        producers.map(|(number, producer)| (*number, producer.ranges.as_slice().to_vec())).collect()
    }

    /// Sizes of the state, by name.
    pub fn stats(&self) -> BTreeMap<&'static str, u64> {
        let sum = |size: fn(&Brand) -> usize| self.brands.values().map(size).sum::<usize>() as u64;
        BTreeMap::from([
            ("brands", self.brands.len() as u64),
            ("producers", self.producers.by_number.len() as u64),
            ("clicks_live", sum(|brand| brand.clicks.len())),
            ("clicks_bytes", sum(|brand| brand.clicks.bytes())),
            ("clicks_gone", sum(|brand| brand.gone.entries().len())),
            ("orders", sum(|brand| brand.orders.entries().len())),
            ("recent_events", sum(|brand| brand.recent.len())),
            ("identifiers", sum(|brand| brand.graph.len())),
            ("graph_bytes", sum(|brand| brand.graph.bytes())),
            ("fraud_tallies", sum(|brand| brand.fraud.tallies_len())),
            ("fraud_pending", sum(|brand| brand.fraud.pending_len())),
            ("fraud_findings", sum(|brand| brand.fraud.scores.len())),
            ("fraud_bytes", sum(|brand| brand.fraud.bytes())),
            ("programs", sum(|brand| brand.controls.programs.len())),
            ("enrolments", sum(|brand| brand.controls.enrolments.len())),
            ("bot_patterns", self.shared.bots.patterns().len() as u64),
            ("bot_patterns_skipped", self.shared.bots.skipped() as u64),
        ])
    }

    /// Checks that entries may be applied: rising positions above the engine's own, and no
    /// frame of an unknown version.
    ///
    /// # Errors
    /// [`Error::Position`] or [`Error::UnknownVersion`].
    pub fn check<'a>(
        &self,
        entries: impl IntoIterator<Item = (Position, &'a [u8])>,
    ) -> Result<(), Error> {
        let mut position = self.position;
        for (entry, frame) in entries {
            if entry <= position {
                return Err(Error::Position { entry, position });
            }
            position = entry;
            if let Some(version) = claimed_version(frame).filter(|version| *version != VERSION) {
                return Err(Error::UnknownVersion(version));
            }
        }
        Ok(())
    }

    /// Applies one entry of the log and adds what came of it to `outcomes`.
    ///
    /// # Errors
    /// As [`Engine::check`]; nothing is applied then. A damaged frame is no error: it is
    /// quarantined, which is an outcome.
    ///
    /// # Panics
    /// When the frame holds the event of [`Options::panic_on`].
    pub fn apply(
        &mut self,
        position: Position,
        frame: &[u8],
        outcomes: &mut Outcomes,
    ) -> Result<(), Error> {
        self.check([(position, frame)])?;
        self.advance(position);
        outcomes.at(self.time_ms);
        let mut chain = Chain::new(&self.digest, position, frame);
        match self.decode(frame) {
            Ok(decoded) => self.apply_frame(&decoded, &mut chain, outcomes),
            Err(reason) => {
                outcomes.row(Table::Quarantined, &mut chain, Some(frame), |row| {
                    row.array(4);
                    row.uint(position.0);
                    row.uint(position.1);
                    row.str(reason);
                });
                if let Some(header) = self.header_of(frame) {
                    self.see(header);
                    outcomes.touch_producer(header.producer);
                }
            }
        }
        self.digest = chain.finish();
        Ok(())
    }

    /// Passes over an entry that the ledger has quarantined: position, time and chain advance,
    /// its sequences count as seen, nothing is applied.
    ///
    /// # Errors
    /// [`Error::Position`].
    pub fn skip(&mut self, position: Position, frame: &[u8], reason: &str) -> Result<(), Error> {
        if position <= self.position {
            return Err(Error::Position { entry: position, position: self.position });
        }
        self.advance(position);
        let mut chain = Chain::new(&self.digest, position, frame);
        chain.skip(reason);
        self.digest = chain.finish();
        if let Some(header) = self.header_of(frame) {
            self.see(header);
        }
        Ok(())
    }

    /// Goes on from a chain digest that the log had at this position before its archive was
    /// rewritten.
    pub fn resume_chain(&mut self, digest: Digest) {
        self.digest = digest;
    }

    /// The outcomes of a batch as MessagePack; see [`Outcomes`].
    pub fn encode_outcomes(&self, outcomes: &Outcomes) -> Vec<u8> {
        outcomes.encode(&self.producers)
    }

    /// Moves position and time.
    fn advance(&mut self, position: Position) {
        self.position = position;
        let is_new_hour = position.0 / HOUR_MS > self.time_ms / HOUR_MS;
        self.time_ms = self.time_ms.max(position.0);
        if is_new_hour {
            self.producers.forget_idle(self.time_ms);
        }
    }

    /// Decodes a frame whole, or says why it must be quarantined whole.
    fn decode<'a>(&self, frame: &'a [u8]) -> Result<Frame<'a>, &'static str> {
        let decoded = decode_frame(frame).map_err(|error| match error.code() {
            "bad_checksum" => "bad_checksum",
            _ => "malformed",
        })?;
        if decoded.header.partition != self.partition {
            return Err("wrong_partition");
        }
        let is_new = |number: &u64| !self.brands.contains_key(number);
        let has_brand = |(record, _): &&(Record<'_>, &[u8])| {
            record.kind() != Kind::Tick && shared_control(record).is_none()
        };
        let events = decoded.records.iter().filter(has_brand);
        let new_brands: BTreeSet<u64> =
            events.map(|(record, _)| record.brand).filter(is_new).collect();
        if self.brands.len() + new_brands.len() > self.options.limits.brands_max {
            return Err("brands_max");
        }
        Ok(decoded)
    }

    /// The header of a frame that is set aside. Its bytes are in the ledger, so its sequences
    /// count as seen: its producer would keep it, and send it again, for ever. A frame whose
    /// checksum is wrong names nobody, and a good copy may still come.
    fn header_of(&self, frame: &[u8]) -> Option<FrameHeader> {
        frame_header(frame).ok().filter(|header| header.partition == self.partition)
    }

    /// Notes that a frame's sequences have been seen.
    fn see(&mut self, header: FrameHeader) {
        let Limits { producer_ranges_max, producers_max, .. } = self.options.limits;
        let range = (header.first_sequence, header.first_sequence + u64::from(header.count) - 1);
        let now_ms = self.time_ms;
        self.producers.insert(header.producer, range, now_ms, producer_ranges_max, producers_max);
    }

    fn apply_frame(&mut self, frame: &Frame<'_>, chain: &mut Chain, outcomes: &mut Outcomes) {
        let header = frame.header;
        self.read_ahead(frame);
        for ((record, bytes), sequence) in frame.records.iter().zip(header.first_sequence..) {
            if self.producers.contains(header.producer, sequence) {
                outcomes.duplicate(chain);
                continue;
            }
            self.apply_record(record, bytes, header.producer, chain, outcomes);
        }
        self.see(header);
        outcomes.touch_producer(header.producer);
    }

    #[allow(clippy::panic, reason = "the fault hook of crash tests")]
    fn apply_record(
        &mut self,
        record: &Record<'_>,
        bytes: &[u8],
        producer: u64,
        chain: &mut Chain,
        outcomes: &mut Outcomes,
    ) {
        if self.options.panic_on == Some(record.event_id) {
            panic!("the event named by panic_on");
        }
        if record.kind() == Kind::Tick {
            outcomes.tick();
            // A brand without traffic expires as well.
            for (number, brand) in &mut self.brands {
                brand.sweep(self.time_ms, &self.options.limits);
                let (now_ms, accept_ms) = (self.time_ms, self.time_ms);
                let at = Context { accept_ms, occurred_ms: accept_ms, producer, bytes };
                let (limits, shared) = (&self.options.limits, &*self.shared);
                let record = Record { brand: *number, ..record.clone() };
                let mut step =
                    apply::Step { brand, now_ms, limits, shared, chain, outcomes, work: 0 };
                step.score_again(&record, at);
                step.settle_sources(&record, at);
            }
            return;
        }
        if let Some(control) = shared_control(record) {
            self.apply_shared(control, bytes, chain, outcomes);
            return;
        }
        let now_ms = self.time_ms;
        let earliest_ms = now_ms.saturating_sub(SPOOL_AGE_MAX_MS);
        let accept_ms = record.accept_ms.clamp(earliest_ms, now_ms + ACCEPT_AHEAD_MAX_MS);
        let occurred_ms = match record.claim_ms {
            Some(claim_ms) if claim_ms <= accept_ms + CLAIM_SKEW_MAX_MS => claim_ms,
            _ => accept_ms,
        };
        let context = Context { accept_ms, occurred_ms, producer, bytes };
        let new = || Brand::new(seed_of(bytes), Arc::clone(&self.shared));
        let brand = self.brands.entry(record.brand).or_insert_with(new);
        brand.sweep(now_ms, &self.options.limits);
        let (limits, shared) = (&self.options.limits, &*self.shared);
        let mut step = apply::Step { brand, now_ms, limits, shared, chain, outcomes, work: 0 };
        step.apply(record, context);
    }

    /// Takes in a change of what is the same for all brands, and shows it to each.
    fn apply_shared(
        &mut self,
        control: &Control<'_>,
        bytes: &[u8],
        chain: &mut Chain,
        outcomes: &mut Outcomes,
    ) {
        if !Arc::make_mut(&mut self.shared).apply(control) {
            outcomes.duplicate(chain);
            return;
        }
        for brand in self.brands.values_mut() {
            brand.shared = Arc::clone(&self.shared);
        }
        apply::control_row(0, control, bytes, chain, outcomes);
    }
}

/// The change of what is the same for all brands that a record holds, if it holds one.
fn shared_control<'a, 'b>(record: &'a Record<'b>) -> Option<&'a Control<'b>> {
    match &record.body {
        Body::Control(control) if record.brand == 0 && Shared::takes(control.object) => {
            Some(control)
        }
        _ => None,
    }
}

/// A seed that follows from the log and that no caller knows: from the first record of a brand,
/// which its console wrote.
fn seed_of(record: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = plain_digest(&[record]);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
