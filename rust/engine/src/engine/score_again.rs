//! Clicks scored again when later evidence changes what other clicks say of them.

use super::apply::Step;
use super::outcomes::Table;
use super::score::counts;
use super::Context;
use crate::fraud::click::is_stateful;
use crate::fraud::rules::Ruleset;
use crate::fraud::score::{self, Findings, Scored};
use crate::fraud::signals::Stage;
use crate::fraud::sources::{Due, Said, SourceKey};
use crate::fraud::state::fifo::NONE;
use crate::fraud::state::pending::{facts, Pending, Work};
use crate::fraud::state::tallies::Room;
use crate::fraud::state::{client_of, Noted};
use crate::fraud::{Counted, Finding, Signal};
use crate::identity::IdentifierType;
use crate::limits::{
    FRAUD_CLAIM_AGE_MAX_MS, FRAUD_RESCORED_MAX, REVISITED_WORK_MAX, SWEEP_ROWS_MAX,
};
use crate::record::{flags, PageView, Record};
use crate::state::clicks::{self, Standing};
use crate::Id;

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
    said: Said,
    cause: &'a str,
    cause_id: Id,
}

impl Step<'_> {
    /// Scores again what waits for it, a bounded part at a time.
    pub(super) fn score_again(&mut self, record: &Record<'_>, at: Context<'_>) {
        for _ in 0..SWEEP_ROWS_MAX {
            let Some(closing) = self.brand.fraud.closed(self.now_ms) else { break };
            let brand = &mut *self.brand;
            let revision = brand.controls.revision;
            let (clicks, controls, network) =
                (&brand.clicks, &brand.controls, &brand.shared.network);
            let rules_of = |pair: u32| {
                let (program, partner) = clicks.pair_at(pair)?;
                Some(controls.ruleset(program, partner, network, revision))
            };
            brand.fraud.close(&closing, rules_of);
        }
        self.work = 0;
        let mut left = FRAUD_RESCORED_MAX;
        while left > 0 && self.work < REVISITED_WORK_MAX {
            let Some(mut work) = self.brand.fraud.work.pop() else { return };
            while let Some(click) = self.brand.fraud.pending.get(work.at).copied() {
                if left == 0 || self.work >= REVISITED_WORK_MAX {
                    self.brand.fraud.ask(work);
                    break;
                }
                left -= 1;
                // What is settled waits for older clicks to leave.
                let is_settled = u64::from(click.settled_s) * 1000 <= self.now_ms;
                let is_concerned = click.touch_ms() >= work.since.get();
                if is_concerned && !is_settled {
                    self.score_pending(&work, &click, record, at);
                } else if work.is_sorted() && !is_concerned {
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
        let Pending { not_evaluated, leaning, lists, .. } = *click;
        let said = Said { not_evaluated, leaning, lists };
        let mut findings = said.findings(&rules);
        let is_own = |finding: &Finding| match finding.signal {
            Signal::Honeypot => click.is(facts::HONEYPOT),
            signal => !is_stateful(signal) && signal.line().stage != Stage::Source,
        };
        for finding in noted.findings.iter().filter(|finding| is_own(finding)) {
            findings.add(finding.signal, finding.severity, finding.observed, finding.threshold);
        }
        let circumstances = self.ask(pending, &rules, &noted.findings, &mut findings);
        let is = Standing {
            verdict: was.verdict,
            counted: circumstances.counted(),
            is_unique: circumstances.is_unique,
        };
        self.add_source(place, &rules, &mut findings);
        let click_id = click.id;
        let rules = &*rules;
        let again =
            Again { click_id, place, pending, was, is, findings, rules, said, cause, cause_id };
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
        let counts = counts(is, score::own_verdict(findings, &scored, rules));
        self.count_again(place, again.said, counts);
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
        self.revised_row(&again, is, &scored, revision, record);
        self.revise_each(&orders, record);
    }

    /// Counts a click for its source, or no longer.
    fn count_again(&mut self, place: u32, said: Said, is_in: bool) {
        let Some(click) = self.brand.clicks.at(place) else { return };
        let was_in = self.brand.clicks.row(place).is_some_and(clicks::ClickRow::is_in_source);
        if is_in == was_in {
            return;
        }
        self.brand.clicks.set_in_source(place, is_in);
        let (source, sources) = (SourceKey::of(&click), &mut self.brand.fraud.sources);
        if is_in {
            sources.note_click(source, click.touch_ms);
            let clicks_max = self.limits.source_clicks_max;
            sources.add_click(source, place, said, self.now_ms, clicks_max);
        } else {
            sources.drop_click(source, click.touch_ms);
        }
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
        let Again { was, findings, rules, said, .. } = again;
        let lists = self.brand.fraud.lists_name(said.lists);
        let fraud = score::encode(scored, findings, rules, version, lists);
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
            self.brand.fraud.ask_later(noted.row, record.event_id);
            self.settle_pending(noted.row, &click, cause, record, at);
            return;
        }
        let is = Standing { counted: Counted::Counted, ..was };
        self.decide_noted(place, &noted, is, Said::default(), cause, record, at);
    }

    /// Has what is known of a click's source count anew.
    pub(super) fn rescore(&mut self, due: &Due, record: &Record<'_>, at: Context<'_>) {
        // Another click may be in the row by now.
        let click = self.brand.clicks.at(due.click);
        let Some(click) = click.filter(|click| SourceKey::of(click) == due.source) else { return };
        let noted = self.brand.fraud.scores.noted(&click.id).cloned();
        let noted = noted.unwrap_or(Noted { row: NONE, ..Noted::default() });
        let cause = (due.signal.map_or("", |signal| signal.line().code), due.event_id);
        let is = click_standing(&click);
        self.decide_noted(due.click, &noted, is, due.said, cause, record, at);
    }

    /// Decides again on what was noted of a click, with what is known of its source now.
    #[allow(clippy::too_many_arguments, reason = "each says another thing")]
    fn decide_noted(
        &mut self,
        place: u32,
        noted: &Noted,
        is: Standing,
        said: Said,
        (cause, cause_id): (&str, Id),
        record: &Record<'_>,
        at: Context<'_>,
    ) {
        let Some(click) = self.brand.clicks.at(place) else { return };
        let revision = self.brand.controls.revision;
        let rules = self.brand.ruleset(click.program, click.partner, revision);
        let mut findings = said.findings(&rules);
        let is_own = |finding: &&Finding| finding.signal.line().stage != Stage::Source;
        for finding in noted.findings.iter().filter(is_own) {
            findings.add(finding.signal, finding.severity, finding.observed, finding.threshold);
        }
        self.add_source(place, &rules, &mut findings);
        let Standing { verdict, counted, is_unique } = click_standing(&click);
        let again = Again {
            click_id: click.id,
            place,
            pending: noted.row,
            was: Standing { verdict, counted, is_unique },
            is,
            findings,
            rules: &rules,
            said,
            cause,
            cause_id,
        };
        self.decide_again(again, noted, record, at);
    }

    /// Adds what is known of a click's source.
    fn add_source(&mut self, place: u32, rules: &Ruleset, findings: &mut Findings) {
        if let Some(click) = self.brand.clicks.at(place) {
            let known = self.brand.fraud.sources.known(SourceKey::of(&click), rules);
            known.add_to(rules, findings);
        }
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
        let room = Room { now_ms: self.now_ms, rows_max: self.limits.fraud_tallies_max };
        self.brand.fraud.see_checkout(whose, seen_ms, record.event_id, room);
    }
}

fn click_standing(click: &clicks::Click) -> Standing {
    let clicks::Click { verdict, counted, is_unique, .. } = *click;
    Standing { verdict, counted, is_unique }
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
