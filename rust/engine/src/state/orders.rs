//! What is remembered of an order: enough to tell a repeat from a conflict, to merge the
//! reports of server and browser, and to decide again.

use std::collections::BTreeSet;

use crate::fraud::facts::{Basis, Facts};
use crate::identity::digest::plain_digest;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::ORDER_IDENTIFIERS_MAX;
use crate::record::{flags, Conversion, Trust};
use crate::state::controls::promo_key;
use crate::Id;

/// What one side, server or browser, said of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Digest of amount, currency, items and promotion code.
    pub digest: Id,
    /// The amount, in minor units.
    pub amount_minor: i64,
    /// The currency.
    pub currency: Box<str>,
    /// The click the report names.
    pub click_id: Option<Id>,
    /// The promotion code, as [`promo_key`] digests it.
    pub promo_code: Option<Id>,
    /// Identifiers over all reports of that side, the strongest first. They never make one
    /// report contradict another.
    pub identifiers: Vec<Identifier>,
    /// What its first report told of the customer.
    pub facts: Facts,
}

/// What a decision may rest on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The clicks that are named, the server's first.
    pub named_clicks: Vec<Id>,
    /// The promotion codes used, the server's first, as [`promo_key`] digests them.
    pub promo_codes: Vec<Id>,
    /// The identifiers, the strongest first.
    pub identifiers: Vec<Identifier>,
}

impl Evidence {
    fn of<'a>(reports: impl Iterator<Item = &'a Content>) -> Self {
        let mut evidence = Self::default();
        for report in reports {
            evidence.named_clicks.extend(report.click_id);
            evidence.promo_codes.extend(report.promo_code);
            evidence.identifiers.extend_from_slice(&report.identifiers);
        }
        evidence.named_clicks.dedup();
        evidence.promo_codes.dedup();
        evidence.identifiers.sort_unstable();
        evidence.identifiers.dedup();
        evidence
    }

    /// Whether it names anything that a walk can begin with.
    pub fn names_anything(&self) -> bool {
        !self.named_clicks.is_empty() || !self.identifiers.is_empty()
    }

    /// Whether it rests on nothing.
    pub fn is_empty(&self) -> bool {
        !self.names_anything() && self.promo_codes.is_empty()
    }
}

impl Content {
    /// The content of a report that came by a way, and whose address was looked up in a version of
    /// the lists.
    pub fn of(report: &Conversion<'_>, source: u64, lists: u16) -> Self {
        let promo_code = report.promo_code.unwrap_or_default();
        let digest = plain_digest(&[
            &report.money.amount_minor.to_le_bytes(),
            report.money.currency.as_bytes(),
            report.items.0,
            promo_code.as_bytes(),
        ]);
        Self {
            digest,
            amount_minor: report.money.amount_minor,
            currency: report.money.currency.into(),
            click_id: report.click_id,
            promo_code: report.promo_code.and_then(promo_key),
            identifiers: Vec::new(),
            facts: Facts::of(report, source, lists),
        }
    }

    /// The click the report names, as an identifier.
    fn named(&self) -> Option<Identifier> {
        self.click_id.map(|digest| Identifier { kind: IdentifierType::Click, digest })
    }

    /// Whether `later` contradicts this report. A click id may be added or left out: it is an
    /// identifier; another one is another claim.
    pub fn contradicts(&self, later: &Self) -> bool {
        let other_click = match (self.click_id, later.click_id) {
            (Some(first), Some(second)) => first != second,
            _ => false,
        };
        other_click || self.digest != later.digest
    }
}

/// One order, over all its reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The program's number.
    pub program: u64,
    /// The event type's number.
    pub event_type: u64,
    /// The brand's order number.
    pub order_id: Option<Box<str>>,
    /// The part of the order.
    pub line: Box<str>,
    /// Accept time of the first report, milliseconds.
    pub accept_ms: u64,
    /// When it happened, by the first report, milliseconds; every decision is at this time.
    pub occurred_ms: u64,
    /// The newest revision of the configuration when it was first decided: its terms count.
    pub config_revision: u64,
    /// Whether the credit rests on what servers reported alone: what a browser reports cannot move
    /// it, and is no reason to decide again.
    pub is_by_servers: bool,
    /// Whether it is never decided again: something it rests on was erased, and what it paid stays.
    pub is_final: bool,
    /// Flags over all reports.
    pub flags: u64,
    /// What the server reported.
    pub server: Option<Content>,
    /// What the browser reported.
    pub browser: Option<Content>,
    /// How often the decision changed; 1 at first.
    pub revision: u64,
    /// Digest of the decision in force.
    pub decision: Id,
    /// What the decision in force rests on.
    pub basis: Basis,
}

impl Order {
    /// The content reported with a trust.
    pub fn content(&mut self, trust: Trust) -> &mut Option<Content> {
        match trust {
            Trust::Server => &mut self.server,
            Trust::Browser => &mut self.browser,
        }
    }

    /// Whether a side that has reported before adds a click or an identifier.
    pub fn is_added_to(&self, trust: Trust, report: &Conversion<'_>) -> bool {
        let side = match trust {
            Trust::Server => &self.server,
            Trust::Browser => &self.browser,
        };
        side.as_ref().is_some_and(|known| {
            (known.click_id.is_none() && report.click_id.is_some())
                || report.identifiers.iter().any(|key| !known.identifiers.contains(&key))
        })
    }

    /// Amount in minor units and currency: the server's word first.
    pub fn money(&self) -> (i64, &str) {
        let content = self.server.as_ref().or(self.browser.as_ref());
        content.map_or((0, ""), |content| (content.amount_minor, &content.currency))
    }

    /// What servers reported of the customer, or with the trust of browsers what anyone did, the
    /// server's word first.
    pub fn facts(&self, trust: Trust) -> Facts {
        let browser = self.browser.as_ref().filter(|_| trust == Trust::Browser);
        match (&self.server, browser) {
            (Some(server), Some(browser)) => server.facts.or(&browser.facts),
            (one, other) => one.as_ref().or(other).map_or_else(Facts::default, |side| side.facts),
        }
    }

    /// What a decision may rest on: what servers reported, or with the trust of browsers what
    /// anyone did. Without consent no identifier counts; a click that is named and a code that
    /// is used are no identifiers.
    pub fn evidence(&self, trust: Trust) -> Evidence {
        let browser = self.browser.as_ref().filter(|_| trust == Trust::Browser);
        let mut evidence = Evidence::of(self.server.iter().chain(browser));
        if self.flags & flags::CONSENT_DENIED != 0 {
            evidence.identifiers.clear();
        }
        evidence
    }

    /// Adds identifiers of a report; returns whether any was new and kept.
    pub fn add_identifiers(
        &mut self,
        trust: Trust,
        identifiers: impl Iterator<Item = Identifier>,
    ) -> bool {
        let Some(content) = self.content(trust) else { return false };
        let before = content.identifiers.clone();
        content.identifiers.extend(identifiers);
        content.identifiers.sort_unstable();
        content.identifiers.dedup();
        content.identifiers.truncate(ORDER_IDENTIFIERS_MAX);
        content.identifiers != before
    }

    /// All identifiers that later evidence may reach it by, the clicks it names among them, each
    /// with whoever names it; one that both sides name comes twice.
    pub fn concerns(&self) -> Vec<(Identifier, Trust)> {
        let is_denied = self.flags & flags::CONSENT_DENIED != 0;
        let mut concerns = Vec::new();
        for (content, trust) in [(&self.server, Trust::Server), (&self.browser, Trust::Browser)] {
            let Some(content) = content else { continue };
            let identifiers = content.identifiers.iter().filter(|_| !is_denied).copied();
            concerns.extend(identifiers.chain(content.named()).map(|key| (key, trust)));
        }
        concerns
    }

    /// Whether any report names one of some identifiers, a click among them, or the decision rests
    /// on such a click.
    pub fn names(&self, identifiers: &BTreeSet<Identifier>) -> bool {
        if self.basis.clicks.iter().any(|id| identifiers.contains(&as_click(*id))) {
            return true;
        }
        let mut contents = [&self.server, &self.browser].into_iter().flatten();
        contents.any(|content| {
            content.identifiers.iter().any(|key| identifiers.contains(key))
                || content.click_id.is_some_and(|id| identifiers.contains(&as_click(id)))
        })
    }

    /// Forgets identifiers that were erased, a click that was named among them; returns whether
    /// any was there.
    pub fn forget(&mut self, is_erased: impl Fn(&Identifier) -> bool) -> bool {
        let mut forgot = false;
        for content in [&mut self.server, &mut self.browser].into_iter().flatten() {
            let before = content.identifiers.len();
            content.identifiers.retain(|identifier| !is_erased(identifier));
            let named = content.click_id;
            content.click_id = named.filter(|id| !is_erased(&as_click(*id)));
            forgot |= content.identifiers.len() < before || content.click_id != named;
        }
        let before = self.basis.clicks.len();
        self.basis.clicks.retain(|id| !is_erased(&as_click(*id)));
        forgot |= self.basis.clicks.len() < before;
        forgot
    }
}

/// A click's id as an identifier.
fn as_click(digest: Id) -> Identifier {
    Identifier { kind: IdentifierType::Click, digest }
}
