//! Clicks scored, and scored again when later evidence changes what other clicks say of them.

use super::apply::Step;
use super::Context;
use crate::fraud::click::{has_effect, Circumstances, Question};
use crate::fraud::rules::Ruleset;
use crate::fraud::score::{self, Findings, Scored};
use crate::fraud::sources::{Said, SourceKey};
use crate::fraud::state::fifo::NONE;
use crate::fraud::state::intake::Intake;
use crate::fraud::state::pending::{
    facts, Link, Pending, BY_ADDRESS, BY_DEVICE, BY_VISITOR, CLIENTS,
};
use crate::fraud::state::tallies::fold;
use crate::fraud::state::{client_of, Noted};
use crate::fraud::{request, Counted, Finding, Signal, Verdict};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{DAY_MS, FRAUD_CLAIM_AGE_MAX_MS, FRAUD_PENDING_AGE_MS};
use crate::record::{flags, Click, Record};
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
        let said = Said {
            not_evaluated: findings.not_evaluated,
            leaning: u16::try_from(findings.leaning).unwrap_or(u16::MAX),
            lists: self.brand.fraud.lists_number(lists),
        };
        let source = SourceKey::of(live);
        self.brand.fraud.sources.known(source, &rules).add_to(&rules, &mut findings);
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
        if let Some(place) = place {
            if counts(standing, score::own_verdict(&findings, &scored, &rules)) {
                self.brand.clicks.set_in_source(place, true);
                self.brand.fraud.sources.note_click(source, live.touch_ms);
            }
            let clicks_max = self.limits.source_clicks_max;
            self.brand.fraud.sources.add_click(source, place, said, self.now_ms, clicks_max);
        }
        let version = self.shared.bots.version();
        let fraud = score::encode(&scored, &findings, &rules, version, lists);
        Decided { standing, score: scored.score, raw_ppm: scored.raw_ppm, fraud }
    }

    /// What is to be kept of a click's score: as long as an order that it may be credited with.
    pub(super) fn noted(&self, place: u32, findings: &Findings, scored: &Scored) -> Noted {
        let due_s = self.brand.clicks.row(place).map_or(0, clicks::ClickRow::due_s);
        let until_s = due_s.saturating_add(FINDINGS_GRACE_S);
        let findings = findings.list.as_slice().into();
        Noted { findings, score: scored.score, until_s, ..Noted::default() }
    }

    /// Takes a click in among the others, and asks what they say of it; its number among the
    /// pending.
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
        let (pending, who) = self.as_pending(record, click, place, rules, at);
        let is_new = click.flags & flags::NEW_VISITOR != 0;
        let [_, address_before] = who.addresses;
        let site = click.client.request.and_then(|request| request.fetch_site);
        let is_sent = matches!(site, Some("cross-site" | "same-site"));
        let mut intake = Intake {
            click: pending,
            is_new,
            is_sent,
            by_address: who.by_address,
            address_before,
            rules,
            now_ms,
            limits,
        };
        let lists = click.client.network.and_then(|network| network.lists);
        intake.click.lists = self.brand.fraud.lists_number(lists);
        intake.click.not_evaluated = findings.not_evaluated;
        intake.click.leaning = u16::try_from(findings.leaning).unwrap_or(u16::MAX);
        let row = self.brand.fraud.take_in(&intake);
        (self.ask(row, rules, &[], findings), row)
    }

    /// What other clicks say of a pending click.
    pub(super) fn ask(
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

    /// A click as the counters take it, and whose it is.
    fn as_pending(
        &self,
        record: &Record<'_>,
        click: &Click<'_>,
        place: u32,
        rules: &Ruleset,
        at: Context<'_>,
    ) -> (Pending, Who) {
        let earliest_ms = at.accept_ms.saturating_sub(FRAUD_CLAIM_AGE_MAX_MS);
        let touch_ms = at.occurred_ms.clamp(earliest_ms, at.accept_ms);
        let who = Who::of(record, click, touch_ms);
        let links = who.clients.map(|client| Link { client, ..Link::default() });
        let bits = [
            (
                facts::PREFETCH,
                click.flags & flags::PREFETCH != 0 && has_effect(rules, Signal::Prefetch),
            ),
            (facts::ACTIVATED, click.client.request.is_some_and(|it| it.fetch_user == Some("?1"))),
            (facts::HONEYPOT, click.flags & flags::HONEYPOT != 0),
            (facts::RETURNED, !who.is_new),
            (facts::DEVICE_ID, who.has_device),
            (facts::NAMED, self.is_named(&record.event_id)),
            (facts::ALLOWED, rules.allows(click.client.address_prefix)),
        ];
        let facts = bits.iter().filter(|(_, holds)| *holds).fold(0, |all, (bit, _)| all | bit);
        let settled_ms = touch_ms.saturating_add(FRAUD_PENDING_AGE_MS);
        let slice = self.slice(click);
        let pending = Pending {
            id: record.event_id,
            address: who.addresses[0],
            net: click.client.address_prefix.map_or(0, hash),
            slice,
            links,
            next: [NONE; 4],
            pair: self.brand.clicks.pair_of(place),
            link: low(fold(click.link, 1)),
            window_s: number(usize::try_from(rules.unique_window_ms / 1000).unwrap_or(usize::MAX)),
            settled_s: number(usize::try_from(settled_ms / 1000).unwrap_or(usize::MAX)),
            touch: Ms6::new(touch_ms),
            facts,
            agent: (who.agent >> 58) as u8,
            ..Pending::default()
        };
        (pending, who)
    }

    /// The kind of browser, 0 when that is not known.
    fn slice(&self, click: &Click<'_>) -> u64 {
        let user_agent = click.client.user_agent.filter(|_| may_identify(click));
        let class = user_agent.map(|user_agent| self.shared.bots.class_of(user_agent));
        class.map_or(0, |class| fold(class.agent.slice(), 3).max(1))
    }

    /// Whether something has named a click before it came.
    fn is_named(&self, click_id: &Id) -> bool {
        let key = Identifier { kind: IdentifierType::Click, digest: *click_id };
        self.brand.graph.contains(&key)
    }
}

/// Whether a click counts for its source, given its verdict but for what that is known for.
pub(super) fn counts(standing: Standing, own: Verdict) -> bool {
    standing.counted == Counted::Counted && matches!(own, Verdict::Accept | Verdict::Review)
}

/// How a click is counted that is apart from all others: a test, or no click at all.
fn apart(click: &Click<'_>, rules: &Ruleset) -> Circumstances {
    let is_prefetch = click.flags & flags::PREFETCH != 0 && has_effect(rules, Signal::Prefetch);
    Circumstances { is_prefetch, is_repeat: false, is_unique: !is_prefetch }
}

/// Whose a click is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    /// Its clients: the visitor; the device, or without one what follows under the digest of the
    /// day before; and what the address and the user agent make. 0 is none.
    pub(super) clients: [u64; CLIENTS],
    /// What the address and the user agent make, whoever else the click is of: under the digest of
    /// its day, and of the day before.
    pub(super) by_address: [u64; 2],
    /// The digests of the address for its day, and for the day before.
    pub(super) addresses: [u64; 2],
    /// A hash of the user agent.
    pub(super) agent: u64,
    /// Whether the browser returned no visitor id.
    pub(super) is_new: bool,
    pub(super) has_device: bool,
}

impl Who {
    pub(super) fn of(record: &Record<'_>, click: &Click<'_>, touch_ms: u64) -> Self {
        let of_kind = |kind| {
            let mut keys = click.identifiers.iter().filter(|_| may_identify(click));
            keys.find(|key| key.kind == kind).map_or(0, |key| client_of(&key))
        };
        let (visitor, device) = (of_kind(IdentifierType::Visitor), of_kind(IdentifierType::Device));
        let is_new = click.flags & flags::NEW_VISITOR != 0 || visitor == 0;
        let has_device = device != 0;
        let agent = hash(click.client.user_agent.unwrap_or_default());
        let addresses = addresses(record, click, touch_ms);
        let by = |address: u64| if address == 0 { 0 } else { fold(address, agent).max(1) };
        let by_address = addresses.map(by);
        let [today, before] = if is_new && !has_device { by_address } else { [0, 0] };
        let mut clients = [0; CLIENTS];
        let second = if has_device { device } else { before };
        for (place, client) in [(BY_VISITOR, visitor), (BY_DEVICE, second), (BY_ADDRESS, today)] {
            if let Some(own) = clients.get_mut(place) {
                *own = client;
            }
        }
        Self { clients, by_address, addresses, agent, is_new, has_device }
    }
}

/// Whether a click may be told whose it is.
fn may_identify(click: &Click<'_>) -> bool {
    click.flags & flags::CONSENT_DENIED == 0
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
pub(super) fn hash(text: &str) -> u64 {
    let words = text.as_bytes().chunks_exact(8);
    let rest = words.remainder().iter().fold(0, |bits, byte| (bits << 8) | u64::from(*byte));
    let words = words.filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes));
    let start = fold(text.len() as u64, rest);
    words.fold(start, fold).max(1)
}
