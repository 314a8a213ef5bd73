//! Reports of conversions: new, repeated, merged or in conflict.

use super::apply::{optional_str, Step};
use super::outcomes::Table;
use super::Context;
use crate::attribution::{decide, Credit, Decision, Reason};
use crate::fraud::conversion::memberships;
use crate::fraud::facts::Basis;
use crate::fraud::repeats::Memberships;
use crate::fraud::Scored;
use crate::identity::digest::plain_digest;
use crate::identity::{Identifier, IdentifierType};
use crate::msgpack::Writer;
use crate::record::{flags, Conversion, Record, Trust};
use crate::state::orders::{Content, Order};
use crate::Id;

/// What a report did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Created,
    Repeat,
    Merged,
    Conflict,
}

impl Effect {
    fn code(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Repeat => "repeat",
            Self::Merged => "merged",
            Self::Conflict => "conflict",
        }
    }
}

impl Step<'_> {
    pub(super) fn report(&mut self, record: &Record<'_>, report: &Conversion<'_>, at: Context<'_>) {
        if let Some(reason) = report.refused {
            self.rejection_row(record, report, reason, at);
            return;
        }
        if let Some(click_id) = &report.click_id {
            self.promote_named(click_id, record, at);
        }
        let revision = self.brand.controls.revision;
        // Seen before it is decided, so that what is decided later sees the same links; that its
        // own report makes an identifier known says nothing.
        let was_known = seen_with(report).any(|key| self.brand.knows(&key));
        let still_holds = self.still_holds(record.trust, report);
        let seen = self.observe(record, report.flags, seen_with(report), at);
        let repeats = self.brand.repeats_of(&report.conversion_id);
        let lists = report.client.network.and_then(|network| network.lists);
        let content = Content::of(report, record.source, self.brand.fraud.lists_number(lists));
        let effect = match self.brand.orders.get_mut(&report.conversion_id) {
            None => {
                self.create(record, report, content, was_known, at);
                Effect::Created
            }
            Some(order) => {
                // A browser may guess an order before it is made: the first server dates it.
                if record.trust == Trust::Server && order.server.is_none() {
                    self.brand.waiting.remove(report.conversion_id, order.accept_ms);
                    self.brand.resting.remove(report.conversion_id, order.accept_ms);
                    (order.accept_ms, order.occurred_ms) = (at.accept_ms, at.occurred_ms);
                    order.config_revision = revision;
                }
                let flags = order.flags;
                let (effect, is_changed) = take_in(order, record, report, content);
                let can_move = record.trust == Trust::Server || !order.is_by_servers;
                let may_move = is_changed && (can_move || order.flags != flags);
                let turns = self.brand.note_repeats(&report.conversion_id, &repeats);
                if may_move && (effect != Effect::Repeat || still_holds) {
                    self.revise(report.conversion_id, record, Some(at.bytes));
                }
                self.wait_for_late(report.conversion_id);
                self.rest(report.conversion_id);
                self.revise_turned(&turns, record);
                effect
            }
        };
        self.revisit(record, &seen, Some(report.conversion_id), at);
        self.report_row(record, report.conversion_id, effect, at);
    }

    fn create(
        &mut self,
        record: &Record<'_>,
        report: &Conversion<'_>,
        content: Content,
        was_known: bool,
        at: Context<'_>,
    ) {
        let mut order = Order {
            program: report.program,
            event_type: report.event_type,
            order_id: report.order_id.map(Into::into),
            line: report.line.into(),
            accept_ms: at.accept_ms,
            occurred_ms: at.occurred_ms,
            config_revision: self.brand.controls.revision,
            is_by_servers: false,
            is_final: false,
            flags: report.flags,
            server: None,
            browser: None,
            revision: 1,
            decision: [0; 16],
            basis: Basis::default(),
        };
        *order.content(record.trust) = Some(content);
        if report.flags & flags::CONSENT_DENIED == 0 {
            order.add_identifiers(record.trust, report.identifiers.iter());
        }
        // Counted before it is decided: what comes later sees the same.
        let sets = memberships(self.brand, report.conversion_id, &order);
        let turns = self.brand.fraud.repeats.change(&Memberships::default(), &sets);
        let mut decision = decide(self.brand, report.conversion_id, &order);
        if !was_known && decision.reason == Some(Reason::NoTouch) {
            decision.reason = Some(Reason::NoIdentifierKnown);
        }
        self.adopt(&mut order, &decision);
        self.conversion_row(record, report.conversion_id, &order, &decision, Some(at.bytes));
        self.brand.add_order(report.conversion_id, order, self.now_ms, self.limits);
        self.wait_for_late(report.conversion_id);
        self.rest(report.conversion_id);
        self.revise_turned(&turns, record);
    }

    /// Puts a decision in force for an order.
    fn adopt(&mut self, order: &mut Order, decision: &Decision) {
        order.decision = fingerprint(order, decision);
        order.is_by_servers = decision.is_by_servers;
        self.brand.count_conversion(order.basis.counting, decision.basis.counting);
        order.basis = decision.basis.clone();
    }

    /// Has an order found by the clicks its decision rests on.
    fn rest(&mut self, conversion_id: Id) {
        let Some(order) = self.brand.orders.get(&conversion_id) else { return };
        self.brand.resting.put(conversion_id, order.accept_ms, &order.basis.clicks);
    }

    fn wait_for_late(&mut self, conversion_id: Id) {
        let Some(order) = self.brand.orders.get(&conversion_id) else { return };
        self.brand.waiting.add(conversion_id, order.accept_ms, &order.concerns());
    }

    /// Whether what an order rests on still gives its decision, asked of a repeat that adds to it.
    /// What was erased since, or has expired, does not: then such a repeat must not take the
    /// credit away.
    fn still_holds(&self, trust: Trust, report: &Conversion<'_>) -> bool {
        let known = self.brand.orders.get(&report.conversion_id);
        known.filter(|order| order.is_added_to(trust, report)).is_none_or(|order| {
            let decision = decide(self.brand, report.conversion_id, order);
            fingerprint(order, &decision) == order.decision
        })
    }

    /// Decides again, at the time of the first report, and says so if anything changed. `report`
    /// is the report that gave rise to it, if one did. Returns how much was looked at.
    pub(super) fn revise(
        &mut self,
        conversion_id: Id,
        record: &Record<'_>,
        report: Option<&[u8]>,
    ) -> usize {
        let Some(order) = self.brand.orders.get(&conversion_id).filter(|order| !order.is_final)
        else {
            return 0;
        };
        let decision = decide(self.brand, conversion_id, order);
        if fingerprint(order, &decision) == order.decision {
            return decision.work;
        }
        let mut order = order.clone();
        self.adopt(&mut order, &decision);
        order.revision += 1;
        self.conversion_row(record, conversion_id, &order, &decision, report);
        if let Some(kept) = self.brand.orders.get_mut(&conversion_id) {
            *kept = order;
        }
        self.rest(conversion_id);
        decision.work
    }

    fn conversion_row(
        &mut self,
        record: &Record<'_>,
        conversion_id: Id,
        order: &Order,
        decision: &Decision,
        report: Option<&[u8]>,
    ) {
        let (amount_minor, currency) = order.money();
        self.outcomes.row(Table::Conversions, self.chain, report, |row| {
            row.array(22);
            row.bin(&conversion_id);
            row.uint(record.brand);
            row.uint(order.program);
            row.uint(order.event_type);
            optional_str(row, order.order_id.as_deref());
            row.str(&order.line);
            row.uint(order.accept_ms);
            row.uint(order.occurred_ms);
            row.str(decision.status());
            optional_str(row, decision.reason.map(|reason| reason.code()));
            row.int(amount_minor);
            row.str(currency);
            row.uint(order.flags);
            row.uint(order.revision);
            write_credits(row, &decision.credits);
            row.bin(&decision.explain);
            row.bin(&decision.config_hash);
            row.str(decision.scored.verdict.code());
            row.uint(u64::from(decision.scored.score));
            row.uint(u64::from(decision.scored.raw_ppm));
            row.bin(&decision.fraud);
            if report.is_none() {
                row.bin(&[]);
            }
        });
    }

    fn report_row(
        &mut self,
        record: &Record<'_>,
        conversion_id: Id,
        effect: Effect,
        at: Context<'_>,
    ) {
        self.outcomes.row(Table::Reports, self.chain, Some(at.bytes), |row| {
            row.array(9);
            row.bin(&record.event_id);
            row.bin(&conversion_id);
            row.uint(record.brand);
            row.uint(at.accept_ms);
            row.uint(record.trust as u64);
            row.uint(record.source);
            row.str(effect.code());
            row.uint(at.producer);
        });
    }

    fn rejection_row(
        &mut self,
        record: &Record<'_>,
        report: &Conversion<'_>,
        reason: &str,
        at: Context<'_>,
    ) {
        self.outcomes.row(Table::Rejections, self.chain, Some(at.bytes), |row| {
            row.array(7);
            row.bin(&record.event_id);
            row.uint(record.brand);
            row.uint(report.program);
            row.uint(at.accept_ms);
            row.uint(record.source);
            row.str(reason);
        });
    }
}

/// Takes a further report of an order in; returns its effect, and whether the decision must be
/// looked at again. A conflicting report changes nothing.
fn take_in(
    order: &mut Order,
    record: &Record<'_>,
    report: &Conversion<'_>,
    later: Content,
) -> (Effect, bool) {
    let names_click = later.click_id.is_some();
    let (effect, adds_content) = match order.content(record.trust) {
        Some(first) if first.contradicts(&later) => return (Effect::Conflict, false),
        Some(first) => {
            let adds_click = first.click_id.is_none() && names_click;
            first.click_id = first.click_id.or(later.click_id);
            (Effect::Repeat, adds_click)
        }
        missing => {
            *missing = Some(later);
            (Effect::Merged, true)
        }
    };
    let mut adds_identifiers = false;
    if report.flags & flags::CONSENT_DENIED == 0 {
        adds_identifiers = order.add_identifiers(record.trust, report.identifiers.iter());
    }
    if effect == Effect::Merged {
        let denied = order.flags & report.flags & flags::CONSENT_DENIED;
        // Whether it is a test is the server's word: a pixel must not keep an order out of pay.
        let word = if record.trust == Trust::Server { report.flags } else { order.flags };
        order.flags = (word & !flags::CONSENT_DENIED) | denied;
    }
    (effect, adds_content || adds_identifiers)
}

/// The identifiers seen together in a report, the click it names among them.
fn seen_with<'a>(report: &Conversion<'a>) -> impl Iterator<Item = Identifier> + 'a {
    let named = report.click_id.map(|digest| Identifier { kind: IdentifierType::Click, digest });
    report.identifiers.iter().chain(named)
}

/// Writes the credits of a decision, each `[partner, click_id or nil, share_ppm]`.
fn write_credits(row: &mut Writer, credits: &[Credit]) {
    row.array(credits.len());
    for credit in credits {
        row.array(3);
        row.uint(credit.partner);
        row.optional(credit.click_id, |row, id| row.bin(&id));
        row.uint(credit.share_ppm);
    }
}

/// What of a score makes another decision. What was observed may go on rising within a step.
fn scored_print(scored: &Scored) -> Vec<u8> {
    let mut print = Writer::new();
    print.uint(scored.verdict as u64);
    print.uint(u64::from(scored.score));
    for code in &scored.codes {
        print.uint(code.finding.signal as u64);
        print.bool(code.finding.is_inherited);
        print.uint(code.mode as u64);
        print.uint(u64::from(code.finding.severity));
    }
    print.bytes
}

/// Digest of what a decision says to the outside; the explanation may differ.
pub(super) fn fingerprint(order: &Order, decision: &Decision) -> Id {
    let (amount_minor, currency) = order.money();
    let mut credits = Writer::new();
    write_credits(&mut credits, &decision.credits);
    // An order's own report makes its identifiers known: that is no news.
    let reason = match decision.reason {
        Some(Reason::NoIdentifierKnown) => Some(Reason::NoTouch),
        reason => reason,
    };
    let reason = reason.map_or("", Reason::code);
    plain_digest(&[
        reason.as_bytes(),
        &credits.bytes,
        &amount_minor.to_le_bytes(),
        currency.as_bytes(),
        &order.flags.to_le_bytes(),
        &order.accept_ms.to_le_bytes(),
        &order.occurred_ms.to_le_bytes(),
        &scored_print(&decision.scored),
    ])
}
