//! Clicks scored, and scored again when later evidence changes what other clicks say of them.

use super::apply::Step;
use super::outcomes::Table;
use super::Context;
use crate::fraud::click::{has_effect, is_stateful, Circumstances, Question};
use crate::fraud::rules::Ruleset;
use crate::fraud::score::{self, Findings, Scored};
use crate::fraud::sources::SourceKey;
use crate::fraud::state::fifo::NONE;
use crate::fraud::state::intake::Intake;
use crate::fraud::state::pending::{
    facts, Link, Pending, Work, BY_ADDRESS, BY_DEVICE, BY_VISITOR, CLIENTS,
};
use crate::fraud::state::tallies::fold;
use crate::fraud::state::{client_of, Noted};
use crate::fraud::{request, Counted, Finding, Signal, Verdict};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{
    DAY_MS, FRAUD_CLAIM_AGE_MAX_MS, FRAUD_PENDING_AGE_MS, FRAUD_RESCORED_MAX, SWEEP_ROWS_MAX,
};
use crate::record::{flags, Click, PageView, Record};
use crate::state::chunks::{number, Ms6};
use crate::state::clicks::{self, Standing};
use crate::Id;

/// How long findings are kept after the click: as long as an order that rests on it may be decided
/// again.
const FINDINGS_GRACE_S: u32 = 31 * 86_400;

/// What a click's outcome says of its score.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided {
    pub(super) standing: Standing,
    pub(super) score: u8,
    pub(super) raw_ppm: u32,
    pub(super) fraud: Vec<u8>,
}

/// A score that was made again, on its way out.
struct Again<'a> {
    click_id: Id,
    /// The click's row, and its number among the pending.
    place: u32,
    pending: u32,
    was: Standing,
    is: Standing,
    findings: Findings,
    rules: &'a Ruleset,
    lists: Option<String>,
    cause: &'a str,
    cause_id: Id,
}

impl Step<'_> {
    /// Scores a new click, whose row is known, and says what came of it.
    pub(super) fn score_click(
        &mut self,
        record: &Record<'_>,
        click: &Click<'_>,
        live: &clicks::Click,
        at: Context<'_>,
    ) -> Decided {
        let revision = self.brand.controls.revision;
        let rules = self.brand.ruleset(click.program, click.partner, revision);
        let mut findings = Findings::new(&rules);
        request::findings(record, click, &rules, self.shared, &mut findings);
        let is_apart = click.flags & (flags::TEST | flags::SOFT_CLICK | flags::IMPRESSION) != 0;
        let place = self.brand.clicks.find(&live.id);
        let lists = click.client.network.and_then(|network| network.lists);
        let (circumstances, row) = match place.filter(|_| !is_apart) {
            Some(place) => self.circumstances(record, click, place, &rules, &mut findings, at),
            None => (apart(click, &rules), NONE),
        };
        let source = SourceKey::of(live);
        self.brand.fraud.sources.add_findings(source, &rules, &mut findings);
        let is_test = click.flags & flags::TEST != 0;
        let counted = if is_test { Counted::Test } else { circumstances.counted() };
        let is_unique = circumstances.is_unique && !is_test;
        let scored = score::combine(&findings, &rules);
        let standing = Standing { verdict: scored.verdict, counted, is_unique };
        if let Some(place) = place {
            self.brand.clicks.set_standing(place, standing);
            if !findings.list.is_empty() {
                let noted = Noted { row, ..self.noted(place, &findings, &scored) };
                self.brand.fraud.scores.note(live.id, noted, self.limits.fraud_findings_max);
            }
        }
        if counts(standing) {
            self.brand.fraud.sources.note_click(source, live.id, live.touch_ms);
        }
        let version = self.shared.bots.version();
        let fraud = score::encode(&scored, &findings, &rules, version, lists);
        Decided { standing, score: scored.score, raw_ppm: scored.raw_ppm, fraud }
    }

    /// What is to be kept of a click's score: as long as an order that it may be credited with.
    fn noted(&self, place: u32, findings: &Findings, scored: &Scored) -> Noted {
        let due_s = self.brand.clicks.row(place).map_or(0, clicks::ClickRow::due_s);
        let until_s = due_s.saturating_add(FINDINGS_GRACE_S);
        let findings = findings.list.as_slice().into();
        Noted { findings, score: scored.score, until_s, ..Noted::default() }
    }

    /// Takes a click in among the others, and asks what they say of it; its number among the pending.
    fn circumstances(
        &mut self,
        record: &Record<'_>,
        click: &Click<'_>,
        place: u32,
        rules: &Ruleset,
        findings: &mut Findings,
        at: Context<'_>,
    ) -> (Circumstances, u32) {
        let (now_ms, limits) = (self.now_ms, self.limits);
        let (pending, by_address) = self.as_pending(record, click, place, rules, at);
        let is_new = click.flags & flags::NEW_VISITOR != 0;
        let mut intake = Intake { click: pending, is_new, by_address, rules, now_ms, limits };
        let lists = click.client.network.and_then(|network| network.lists);
        intake.click.lists = self.brand.fraud.lists_number(lists);
        intake.click.not_evaluated = findings.not_evaluated;
        intake.click.leaning = u16::try_from(findings.leaning).unwrap_or(u16::MAX);
        let row = self.brand.fraud.take_in(&intake);
        let fraud = &mut self.brand.fraud;
        if !intake.click.is(facts::PREFETCH) || intake.click.is(facts::NAMED) {
            fraud.enter_window(row, rules, now_ms, limits.fraud_tallies_max);
        }
        let mut circumstances = self.ask(row, rules, &[], findings);
        if !circumstances.is_prefetch && intake.click.is(facts::PREFETCH) {
            let fraud = &mut self.brand.fraud;
            fraud.enter_window(row, rules, now_ms, limits.fraud_tallies_max);
            circumstances = self.ask(row, rules, &[], findings);
        }
        (circumstances, row)
    }

    /// What other clicks say of a pending click.
    fn ask(
        &self,
        row: u32,
        rules: &Ruleset,
        before: &[Finding],
        out: &mut Findings,
    ) -> Circumstances {
        let (fraud, clicks) = (&self.brand.fraud, &self.brand.clicks);
        let Some(click) = fraud.pending.get(row) else { return Circumstances::default() };
        Question { fraud, clicks, rules, row, click, before }.ask(out)
    }

    /// A click as the counters take it, and what its address and user agent make, under the digest
    /// of its day and of the day before.
    fn as_pending(
        &self,
        record: &Record<'_>,
        click: &Click<'_>,
        place: u32,
        rules: &Ruleset,
        at: Context<'_>,
    ) -> (Pending, [u64; 2]) {
        let may_identify = click.flags & flags::CONSENT_DENIED == 0;
        let of_kind = |kind| {
            let mut keys = click.identifiers.iter().filter(|_| may_identify);
            keys.find(|key| key.kind == kind).map_or(0, |key| client_of(&key))
        };
        let (visitor, device) = (of_kind(IdentifierType::Visitor), of_kind(IdentifierType::Device));
        let is_new = click.flags & flags::NEW_VISITOR != 0 || visitor == 0;
        let is_returned = !is_new || device != 0;
        let earliest_ms = at.accept_ms.saturating_sub(FRAUD_CLAIM_AGE_MAX_MS);
        let touch_ms = at.occurred_ms.clamp(earliest_ms, at.accept_ms);
        let agent = hash(click.client.user_agent.unwrap_or_default());
        let [address, before] = addresses(record, click, touch_ms);
        let by = |address: u64| if address == 0 { 0 } else { fold(address, agent).max(1) };
        let by_address = [by(address), by(before)];
        let mut links = [Link::default(); CLIENTS];
        let own = |is_own: bool, client: u64| if is_own { client } else { 0 };
        let [today, yesterday] = by_address;
        let second = if device != 0 { device } else { own(!is_returned, yesterday) };
        let clients =
            [(BY_VISITOR, visitor), (BY_DEVICE, second), (BY_ADDRESS, own(!is_returned, today))];
        for (client, entity) in clients {
            if let Some(link) = links.get_mut(client) {
                link.client = entity;
            }
        }
        let bits = [
            (
                facts::PREFETCH,
                click.flags & flags::PREFETCH != 0 && has_effect(rules, Signal::Prefetch),
            ),
            (facts::ACTIVATED, click.client.request.is_some_and(|it| it.fetch_user == Some("?1"))),
            (facts::HONEYPOT, click.flags & flags::HONEYPOT != 0),
            (facts::RETURNED, !is_new),
            (facts::DEVICE_ID, device != 0),
            (facts::NAMED, self.is_named(&record.event_id)),
            (facts::ALLOWED, rules.allows(click.client.address_prefix)),
        ];
        let facts = bits.iter().filter(|(_, holds)| *holds).fold(0, |all, (bit, _)| all | bit);
        let settled_ms = self.now_ms.saturating_add(FRAUD_PENDING_AGE_MS);
        let slice = self.slice(click, may_identify);
        let pending = Pending {
            id: record.event_id,
            address,
            net: click.client.address_prefix.map_or(0, hash),
            slice,
            links,
            next: [NONE; 4],
            pair: self.brand.clicks.pair_of(place),
            link: low(fold(click.link, 1)),
            settled_s: number(usize::try_from(settled_ms / 1000).unwrap_or(usize::MAX)),
            touch: Ms6::new(touch_ms),
            facts,
            agent: (agent >> 58) as u8,
            ..Pending::default()
        };
        (pending, by_address)
    }

    /// The kind of browser, 0 when that is not known.
    fn slice(&self, click: &Click<'_>, may_identify: bool) -> u64 {
        let user_agent = click.client.user_agent.filter(|_| may_identify);
        let class = user_agent.map(|user_agent| self.shared.bots.class_of(user_agent));
        class.map_or(0, |class| fold(class.agent.slice(), 3).max(1))
    }

    /// Whether something has named a click before it came.
    fn is_named(&self, click_id: &Id) -> bool {
        let key = Identifier { kind: IdentifierType::Click, digest: *click_id };
        self.brand.graph.contains(&key)
    }
}

impl Step<'_> {
    /// Scores again what waits for it, a bounded part at a time.
    pub(super) fn score_again(&mut self, record: &Record<'_>, at: Context<'_>) {
        for _ in 0..SWEEP_ROWS_MAX {
            let Some(key) = self.brand.fraud.closed(self.now_ms) else { break };
            let brand = &mut *self.brand;
            let revision = brand.controls.revision;
            let (clicks, controls, network) =
                (&brand.clicks, &brand.controls, &brand.shared.network);
            let rules_of = |pair: u32| {
                let (program, partner) = clicks.pair_at(pair)?;
                Some(controls.ruleset(program, partner, network, revision))
            };
            brand.fraud.close(key, rules_of);
        }
        let mut left = FRAUD_RESCORED_MAX;
        while left > 0 {
            let Some(mut work) = self.brand.fraud.work.pop() else { return };
            while let Some(click) = self.brand.fraud.pending.get(work.at).copied() {
                if left == 0 {
                    self.brand.fraud.ask(work);
                    break;
                }
                left -= 1;
                let is_concerned = click.touch_ms() >= work.since.get();
                if is_concerned {
                    self.score_pending(&work, &click, record, at);
                } else if work.is_sorted() {
                    break;
                }
                work.step(&self.brand.fraud.pending);
            }
        }
    }

    fn score_pending(
        &mut self,
        work: &Work,
        click: &Pending,
        record: &Record<'_>,
        at: Context<'_>,
    ) {
        let cause = Signal::from_number(u64::from(work.signal)).map_or("", |it| it.line().code);
        self.settle_pending(work.at, click, (cause, work.event_id), record, at);
    }

    /// Scores a pending click again.
    fn settle_pending(
        &mut self,
        pending: u32,
        click: &Pending,
        (cause, cause_id): (&str, Id),
        record: &Record<'_>,
        at: Context<'_>,
    ) {
        let Some(place) = self.brand.clicks.find(&click.id) else { return };
        let Some((program, partner)) = self.brand.clicks.pair_at(click.pair) else { return };
        let Some(was) = self.brand.clicks.row(place).map(clicks::ClickRow::standing) else {
            return;
        };
        let rules = self.brand.ruleset(program, partner, self.brand.controls.revision);
        let noted = self.brand.fraud.scores.noted(&click.id).cloned().unwrap_or_default();
        let mut findings = Findings::new(&rules);
        findings.not_evaluated = click.not_evaluated;
        findings.lean(u32::from(click.leaning));
        let is_own = |finding: &Finding| match finding.signal {
            Signal::Honeypot => click.is(facts::HONEYPOT),
            signal => !is_stateful(signal),
        };
        for finding in noted.findings.iter().filter(|finding| is_own(finding)) {
            findings.add(finding.signal, finding.severity, finding.observed, finding.threshold);
        }
        let mut circumstances = self.ask(pending, &rules, &noted.findings, &mut findings);
        if !circumstances.is_prefetch && !click.is(facts::ENTERED) {
            let rows_max = self.limits.fraud_tallies_max;
            self.brand.fraud.enter_window(pending, &rules, self.now_ms, rows_max);
            circumstances = self.ask(pending, &rules, &noted.findings, &mut findings);
        }
        let is = Standing {
            verdict: was.verdict,
            counted: circumstances.counted(),
            is_unique: circumstances.is_unique,
        };
        let lists = self.brand.fraud.lists_name(click.lists).map(str::to_owned);
        let click_id = click.id;
        let rules = &*rules;
        let again =
            Again { click_id, place, pending, was, is, findings, rules, lists, cause, cause_id };
        self.decide_again(again, &noted, record, at);
    }

    /// Weighs anew what is known of a click, and says so if anything changed.
    fn decide_again(
        &mut self,
        again: Again<'_>,
        noted: &Noted,
        record: &Record<'_>,
        at: Context<'_>,
    ) {
        let Again { click_id, place, was, ref findings, rules, .. } = again;
        let scored = score::combine(findings, rules);
        let is = Standing { verdict: scored.verdict, ..again.is };
        let is_same = is == was && scored.score == noted.score;
        if is_same && is_alike(&findings.list, &noted.findings) {
            return;
        }
        let orders = self.resting_on(&click_id, at);
        let revision = noted.revision.saturating_add(u16::from(!is_same));
        let row = again.pending;
        let now = Noted { revision, row, ..self.noted(place, findings, &scored) };
        self.brand.fraud.scores.note(click_id, now, self.limits.fraud_findings_max);
        self.brand.clicks.set_standing(place, is);
        if is_same {
            // Conversions inherit findings with their gravity.
            self.revise_each(&orders, record);
            return;
        }
        if let Some(click) = self.brand.clicks.at(place) {
            let source = SourceKey::of(&click);
            let sources = &mut self.brand.fraud.sources;
            match (counts(was), counts(is)) {
                (false, true) => sources.note_click(source, click_id, click.touch_ms),
                (true, false) => sources.drop_click(source, click_id, click.touch_ms),
                _ => {}
            }
        }
        self.revised_row(&again, is, &scored, revision, record);
        self.revise_each(&orders, record);
    }

    fn revised_row(
        &mut self,
        again: &Again<'_>,
        is: Standing,
        scored: &Scored,
        revision: u16,
        record: &Record<'_>,
    ) {
        let version = self.shared.bots.version();
        let Again { was, findings, rules, lists, .. } = again;
        let fraud = score::encode(scored, findings, rules, version, lists.as_deref());
        let cause = match (was.counted, is.counted) {
            (Counted::Prefetch, Counted::Counted | Counted::Duplicate) => "prefetch_promoted",
            (one, other) if one != other => "duplicate",
            _ if was.is_unique != is.is_unique && was.verdict == is.verdict => "duplicate",
            _ => again.cause,
        };
        self.outcomes.row(Table::DecisionRevised, self.chain, None, |row| {
            row.array(12);
            row.bin(&again.click_id);
            row.uint(record.brand);
            row.uint(self.now_ms);
            row.uint(u64::from(revision));
            row.str(is.verdict.code());
            row.str(is.counted.code());
            row.uint(u64::from(is.is_unique));
            row.uint(u64::from(scored.score));
            row.uint(u64::from(scored.raw_ppm));
            row.bin(&fraud);
            row.str(cause);
            row.bin(&again.cause_id);
        });
    }

    /// Has a click that was fetched ahead of time count, because something names it.
    pub(super) fn promote_named(&mut self, click_id: &Id, record: &Record<'_>, at: Context<'_>) {
        let Some(place) = self.brand.clicks.find(click_id) else { return };
        let Some(was) = self.brand.clicks.row(place).map(clicks::ClickRow::standing) else {
            return;
        };
        if was.counted != Counted::Prefetch {
            return;
        }
        let cause = ("prefetch_promoted", record.event_id);
        let noted = self.brand.fraud.scores.noted(click_id).cloned().unwrap_or_default();
        let pending = self.brand.fraud.pending.get_mut(noted.row);
        if let Some(click) = pending.filter(|click| click.id == *click_id) {
            click.facts |= facts::NAMED;
            let click = *click;
            self.settle_pending(noted.row, &click, cause, record, at);
            return;
        }
        let is = Standing { counted: Counted::Counted, ..was };
        self.decide_noted(place, &noted, is, None, cause, record, at);
    }

    /// Has what is known of a click's source count anew.
    pub(super) fn rescore(
        &mut self,
        click_id: &Id,
        cause: &'static str,
        record: &Record<'_>,
        at: Context<'_>,
    ) {
        let Some(place) = self.brand.clicks.find(click_id) else { return };
        let Some(is) = self.brand.clicks.row(place).map(clicks::ClickRow::standing) else { return };
        let Some(source) = self.brand.clicks.at(place).map(|click| SourceKey::of(&click)) else {
            return;
        };
        let noted = self.brand.fraud.scores.noted(click_id).cloned();
        let noted = noted.unwrap_or(Noted { row: NONE, ..Noted::default() });
        let cause = (cause, record.event_id);
        self.decide_noted(place, &noted, is, Some(source), cause, record, at);
    }

    /// Decides again on what was noted of a click, with what is known of its source now.
    #[allow(clippy::too_many_arguments, reason = "each says another thing")]
    fn decide_noted(
        &mut self,
        place: u32,
        noted: &Noted,
        is: Standing,
        source: Option<SourceKey>,
        (cause, cause_id): (&str, Id),
        record: &Record<'_>,
        at: Context<'_>,
    ) {
        let Some(click) = self.brand.clicks.at(place) else { return };
        let revision = self.brand.controls.revision;
        let rules = self.brand.ruleset(click.program, click.partner, revision);
        let mut findings = Findings::new(&rules);
        let is_kept = |finding: &Finding| {
            source.is_none() || finding.signal.line().stage != crate::fraud::signals::Stage::Source
        };
        for finding in noted.findings.iter().filter(|finding| is_kept(finding)) {
            findings.add(finding.signal, finding.severity, finding.observed, finding.threshold);
        }
        if let Some(source) = source {
            self.brand.fraud.sources.add_findings(source, &rules, &mut findings);
        }
        let Standing { verdict, counted, is_unique } = click_standing(&click);
        let again = Again {
            click_id: click.id,
            place,
            pending: noted.row,
            was: Standing { verdict, counted, is_unique },
            is,
            findings,
            rules: &rules,
            lists: None,
            cause,
            cause_id,
        };
        self.decide_again(again, noted, record, at);
    }

    /// Notes a page of the checkout.
    pub(super) fn see_page(&mut self, record: &Record<'_>, page: &PageView<'_>, at: Context<'_>) {
        let Some(url) = page.url.filter(|_| page.flags & flags::CONSENT_DENIED == 0) else {
            return;
        };
        let visitor = page.identifiers.iter().find(|key| key.kind == IdentifierType::Visitor);
        let Some(visitor) = visitor else { return };
        let rules = self.brand.ruleset(page.program, 0, self.brand.controls.revision);
        if !rules.is_checkout(url) {
            return;
        }
        let earliest_ms = at.accept_ms.saturating_sub(FRAUD_CLAIM_AGE_MAX_MS);
        let seen_ms = at.occurred_ms.clamp(earliest_ms, at.accept_ms);
        let whose = (client_of(&visitor), page.program);
        let rows_max = self.limits.fraud_tallies_max;
        self.brand.fraud.see_checkout(whose, seen_ms, record.event_id, self.now_ms, rows_max);
    }
}

fn click_standing(click: &clicks::Click) -> Standing {
    let clicks::Click { verdict, counted, is_unique, .. } = *click;
    Standing { verdict, counted, is_unique }
}

/// Whether a click counts for its source.
fn counts(standing: Standing) -> bool {
    standing.counted == Counted::Counted
        && matches!(standing.verdict, Verdict::Accept | Verdict::Review)
}

/// How a click is counted that is apart from all others: a test, or no click at all.
fn apart(click: &Click<'_>, rules: &Ruleset) -> Circumstances {
    let is_prefetch = click.flags & flags::PREFETCH != 0 && has_effect(rules, Signal::Prefetch);
    Circumstances { is_prefetch, is_repeat: false, is_unique: !is_prefetch }
}

/// Whether the same was found, with the same gravity.
fn is_alike(one: &[Finding], other: &[Finding]) -> bool {
    one.len() == other.len()
        && one.iter().all(|found| {
            let is_it =
                |known: &Finding| (known.signal, known.severity) == (found.signal, found.severity);
            other.iter().any(is_it)
        })
}

/// The digests of a click's address for the day on which it happened, and for the day before; 0
/// when there is none.
fn addresses(record: &Record<'_>, click: &Click<'_>, touch_ms: u64) -> [u64; 2] {
    let network = click.client.network.unwrap_or_default();
    let (of_day, of_day_before) = (network.address, network.address_before);
    let is_of_day_before = touch_ms / DAY_MS < record.accept_ms / DAY_MS;
    let pair = if is_of_day_before { [of_day_before, None] } else { [of_day, of_day_before] };
    pair.map(|address| address.unwrap_or(0))
}

/// The lower half.
fn low(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A hash of a text; never 0.
fn hash(text: &str) -> u64 {
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let start = fold(text.len() as u64, u64::from_le_bytes(last));
    chunks.iter().fold(start, |hash, bytes| fold(hash, u64::from_le_bytes(*bytes))).max(1)
}
