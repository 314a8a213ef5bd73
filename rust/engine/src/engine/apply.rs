//! One record applied to its brand, by kind.

use std::sync::Arc;

use super::chain::Chain;
use super::click_rows::ClickRow;
use super::outcomes::{Outcomes, Table};
use super::score::Decided;
use super::Context;
use crate::fraud::facts::country_code;
use crate::fraud::sources::SourceKey;
use crate::fraud::Shared;
use crate::fraud::{Counted, Verdict};
use crate::identity::graph::Observation;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::Limits;
use crate::msgpack::Writer;
use crate::record::{flags, Body, Click, Control, Record, Trust};
use crate::state::brand::Brand;
use crate::state::clicks;

/// One record on its way into a brand.
pub(super) struct Step<'a> {
    pub(super) brand: &'a mut Brand,
    pub(super) now_ms: u64,
    pub(super) limits: &'a Limits,
    pub(super) shared: &'a Shared,
    pub(super) chain: &'a mut Chain,
    pub(super) outcomes: &'a mut Outcomes,
    /// Identifiers, links and touches that were looked at, about, for clicks scored again.
    pub(super) work: usize,
}

impl Step<'_> {
    pub(super) fn apply(&mut self, record: &Record<'_>, at: Context<'_>) {
        if self.is_repeat(record) {
            self.outcomes.duplicate(self.chain);
            return;
        }
        match &record.body {
            Body::Click(click) => self.click(record, click, at),
            Body::PageView(page) => {
                self.see_page(record, page, at);
                let seen = self.observe(record, page.flags, page.identifiers.iter(), at);
                self.revisit(record, &seen, None, at);
                self.observation_row(record, page.program, at);
            }
            Body::Identify(identify) => {
                let seen = self.observe(record, identify.flags, identify.identifiers.iter(), at);
                self.revisit(record, &seen, None, at);
                self.observation_row(record, identify.program, at);
            }
            Body::Conversion(report) => self.report(record, report, at),
            Body::Control(control) => self.control(record, control, at),
            Body::Decision(_) => self.other(record, at),
            Body::Erasure(erasure) => self.erase(record, erasure, at),
            Body::Tick => self.outcomes.tick(),
        }
        self.score_again(record, at);
        self.settle_sources(record, at);
    }

    /// Whether the event has been applied before, by its id. Controls have revisions instead.
    fn is_repeat(&mut self, record: &Record<'_>) -> bool {
        match record.body {
            Body::Click(_) => self.brand.knows_click(&record.event_id),
            Body::Control(_) | Body::Tick => false,
            _ => !self.brand.note_event(record.event_id, self.now_ms, self.limits),
        }
    }

    /// Takes in who was seen with whom, unless consent was denied; whom it was.
    pub(super) fn observe(
        &mut self,
        record: &Record<'_>,
        flag_bits: u64,
        identifiers: impl Iterator<Item = Identifier>,
        at: Context<'_>,
    ) -> Vec<Identifier> {
        if flag_bits & flags::CONSENT_DENIED != 0 {
            return Vec::new();
        }
        let seen = observation(record, identifiers, at);
        for key in seen.identifiers.iter().filter(|key| key.kind == IdentifierType::Click) {
            self.promote_named(&key.digest, record, at);
        }
        self.brand.observe(&seen);
        seen.identifiers
    }

    fn click(&mut self, record: &Record<'_>, click: &Click<'_>, at: Context<'_>) {
        let touch_ms = at.occurred_ms;
        let sub1 = click.params.iter().find(|(name, _)| *name == "sub1").map(|(_, value)| value);
        let source = SourceKey::new(click.program, click.partner, sub1);
        let live = clicks::Click {
            id: record.event_id,
            program: click.program,
            partner: click.partner,
            touch_ms,
            accept_ms: at.accept_ms,
            flags: click.flags,
            country: country_code(click.client.network.and_then(|network| network.country)),
            sub: source.sub,
            verdict: Verdict::Accept,
            counted: Counted::Counted,
            is_unique: false,
        };
        let may_identify = click.flags & flags::CONSENT_DENIED == 0;
        let identifiers = || click.identifiers.iter().filter(|_| may_identify);
        let seen = observation(record, identifiers(), at);
        self.brand.observe(&seen);
        // An event that may link nothing is still its visitor's.
        let visitor = identifiers().find(|key| key.kind == IdentifierType::Visitor);
        // Of a browser's click only what its own request carried: whoever knows the hash of an
        // address could otherwise put clicks under it.
        let may_hold = |key: &&Identifier| {
            record.trust == Trust::Server || key.kind == IdentifierType::ExternalClick
        };
        let under = visitor.or_else(|| seen.identifiers.iter().find(may_hold).copied());
        self.brand.add_click(&live, record.trust, under.as_ref(), self.now_ms, self.limits);
        let Decided { standing, score, raw_ppm, fraud } =
            self.score_click(record, click, &live, at);
        let own = Identifier { kind: IdentifierType::Click, digest: record.event_id };
        let keys = seen.identifiers.iter().copied();
        let mut touched: Vec<Identifier> = keys.chain(under).chain([own]).collect();
        touched.sort_unstable();
        touched.dedup();
        self.revisit(record, &touched, None, at);
        let row = ClickRow {
            click_id: &record.event_id,
            brand: record.brand,
            program: click.program,
            partner: click.partner,
            link: click.link,
            accept_ms: at.accept_ms,
            touch_ms,
            trust: record.trust as u64,
            source: record.source,
            flags: click.flags,
            verdict: standing.verdict.code(),
            counted: standing.counted.code(),
            is_unique: u64::from(standing.is_unique),
            score: u64::from(score),
            raw_ppm: u64::from(raw_ppm),
            fraud: &fraud,
            record: at.bytes,
        };
        let write = |fields: &mut Writer| row.write_fields(fields);
        self.outcomes.row(Table::Clicks, self.chain, Some(row.record), write);
    }

    fn observation_row(&mut self, record: &Record<'_>, program: u64, at: Context<'_>) {
        self.outcomes.row(Table::Observations, self.chain, Some(at.bytes), |row| {
            row.array(8);
            row.bin(&record.event_id);
            row.uint(record.kind() as u64);
            row.uint(record.brand);
            row.uint(program);
            row.uint(at.accept_ms);
            row.uint(record.trust as u64);
            row.uint(record.source);
        });
    }

    fn control(&mut self, record: &Record<'_>, control: &Control<'_>, at: Context<'_>) {
        if !Arc::make_mut(&mut self.brand.controls).apply(control, self.limits) {
            self.outcomes.duplicate(self.chain);
            return;
        }
        control_row(record.brand, control, at.bytes, self.chain, self.outcomes);
    }

    fn other(&mut self, record: &Record<'_>, at: Context<'_>) {
        self.outcomes.row(Table::Others, self.chain, Some(at.bytes), |row| {
            row.array(5);
            row.bin(&record.event_id);
            row.uint(record.kind() as u64);
            row.uint(record.brand);
            row.uint(at.accept_ms);
        });
    }
}

/// Says that a change of the configuration is in force.
pub(super) fn control_row(
    brand: u64,
    control: &Control<'_>,
    bytes: &[u8],
    chain: &mut Chain,
    outcomes: &mut Outcomes,
) {
    outcomes.row(Table::Controls, chain, Some(bytes), |row| {
        row.array(5);
        row.uint(brand);
        row.str(control.object);
        row.uint(control.number);
        row.uint(control.revision);
    });
}

fn observation(
    record: &Record<'_>,
    identifiers: impl Iterator<Item = Identifier>,
    at: Context<'_>,
) -> Observation {
    let Context { accept_ms, occurred_ms, .. } = at;
    Observation::new(record.event_id, accept_ms, occurred_ms, record.trust, identifiers)
}

/// Writes an optional string.
pub(super) fn optional_str(row: &mut Writer, value: Option<&str>) {
    row.optional(value, Writer::str);
}
