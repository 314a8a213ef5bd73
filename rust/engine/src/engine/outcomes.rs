//! What came of a batch, as the MessagePack map the ledger's writer reads.

use std::collections::BTreeSet;

use super::chain::Chain;
use super::click_rows;
use crate::msgpack::Writer;
use crate::state::producers::Producers;

/// The tables of outcomes, by their names in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Clicks = 0,
    Observations = 1,
    Conversions = 2,
    Reports = 3,
    Rejections = 4,
    Controls = 5,
    Others = 6,
    Quarantined = 7,
    Erasures = 8,
    LateEvidence = 9,
    DecisionRevised = 10,
}

const TABLE_NAMES: [&str; 11] = [
    click_rows::NAME,
    "observations",
    "conversions",
    "reports",
    "rejections",
    "controls",
    "others",
    "quarantined",
    "erasures",
    "late_evidence",
    "decision_revised",
];

#[derive(Clone, Debug, Default)]
struct Rows {
    writer: Writer,
    count: usize,
}

/// Stands for a tick among the tables of the steps.
const TICK: usize = TABLE_NAMES.len();

/// Rows of one table, or ticks, that came one after another at one engine time.
#[derive(Clone, Copy, Debug)]
struct Run {
    table: usize,
    count: u64,
    time_ms: u64,
}

/// The outcomes of a batch of entries, gathered as they are applied.
#[derive(Debug, Default)]
pub struct Outcomes {
    tables: [Rows; 11],
    time_ms: u64,
    steps: Vec<Run>,
    duplicates: u64,
    ticks: u64,
    producers: BTreeSet<u64>,
}

impl Outcomes {
    /// No outcomes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the engine time of what comes next.
    pub(super) fn at(&mut self, time_ms: u64) {
        self.time_ms = time_ms;
    }

    fn step(&mut self, table: usize) {
        let time_ms = self.time_ms;
        match self.steps.last_mut() {
            Some(run) if run.table == table && run.time_ms == time_ms => run.count += 1,
            _ => self.steps.push(Run { table, count: 1, time_ms }),
        }
    }

    /// Adds a row: its fields enter the chain digest, the record, which is in the frame, not.
    pub(super) fn row(
        &mut self,
        table: Table,
        chain: &mut Chain,
        record: Option<&[u8]>,
        write_fields: impl FnOnce(&mut Writer),
    ) {
        let Some(rows) = self.tables.get_mut(table as usize) else { return };
        let start = rows.writer.bytes.len();
        write_fields(&mut rows.writer);
        chain.row(table as u8, rows.writer.bytes.get(start..).unwrap_or_default());
        if let Some(record) = record {
            rows.writer.bin(record);
        }
        rows.count += 1;
        self.step(table as usize);
    }

    pub(super) fn duplicate(&mut self, chain: &mut Chain) {
        self.duplicates += 1;
        chain.duplicate();
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.step(TICK);
    }

    pub(super) fn touch_producer(&mut self, producer: u64) {
        self.producers.insert(producer);
    }

    /// The map. The ranges are those the producers have when the batch ends.
    pub(super) fn encode(&self, producers: &Producers) -> Vec<u8> {
        let row_bytes: usize = self.tables.iter().map(|rows| rows.writer.bytes.len()).sum();
        let mut writer = Writer { bytes: Vec::with_capacity(row_bytes + 256) };
        writer.map(TABLE_NAMES.len() + 4);
        for (name, rows) in TABLE_NAMES.iter().zip(&self.tables) {
            writer.str(name);
            writer.array(rows.count);
            writer.raw(&rows.writer.bytes);
        }
        writer.str("steps");
        writer.array(self.steps.len());
        for run in &self.steps {
            writer.array(3);
            writer.uint(run.table as u64);
            writer.uint(run.count);
            writer.uint(run.time_ms);
        }
        writer.str("duplicates");
        writer.uint(self.duplicates);
        writer.str("ticks");
        writer.uint(self.ticks);
        writer.str("producers");
        writer.map(self.producers.len());
        for (producer, ranges) in producers.of(&self.producers) {
            writer.uint(producer);
            writer.array(ranges.len());
            for (first, last) in ranges {
                writer.array(2);
                writer.uint(*first);
                writer.uint(*last);
            }
        }
        writer.bytes
    }
}
