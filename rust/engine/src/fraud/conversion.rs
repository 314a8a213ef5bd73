//! The signals of a conversion.
//!
//! What servers' evidence decides is scored on servers' reports alone: no browser moves it.

use std::sync::Arc;

use super::facts::Facts;
use super::repeats::{Common, Entry, Key, Memberships, Scope};
use super::rules::{Rule, Ruleset};
use super::score::Findings;
use super::{Mode, Signal, ONE};
use crate::attribution::rules::TouchClass;
use crate::identity::Identifier;
use crate::record::{flags, Trust};
use crate::state::brand::{Brand, Gone};
use crate::state::clicks::Click;
use crate::state::orders::{Evidence, Order};
use crate::Id;

/// How much later than the start of a checkout a click may be: the clocks of browser and server.
const STARTED_SKEW_MS: u64 = 2000;
/// How the ramp for a network compares with that for an address, as fractions.
const NETWORK_LOW: (u64, u64) = (5, 3);
const NETWORK_HIGH: u64 = 2;
/// What a network counts for where an address counts for all, in fifths.
const NETWORK_FIFTHS: u32 = 3;
/// In place of a partner, for the rules of a program alone.
pub const NO_PARTNER: u64 = 0;

/// A touch that has, or would have, credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credited {
    /// The click; of a promo code the owner's own, if there is one.
    pub click_id: Option<Id>,
    /// The partner's number.
    pub partner: u64,
    /// When it happened.
    pub touch_ms: u64,
    /// What it is.
    pub class: TouchClass,
    /// The part of the conversion.
    pub share_ppm: u64,
}

/// An order about to be scored.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its brand.
    pub brand: &'a Brand,
    /// Its id.
    pub conversion_id: Id,
    /// The order.
    pub order: &'a Order,
    /// Whose reports it was decided on.
    pub reports: Trust,
    /// What they say.
    pub evidence: &'a Evidence,
    /// Until when evidence counts.
    pub known_ms: u64,
    /// Who has the credit, the earliest first.
    pub credited: &'a [Credited],
    /// Whom the walk met.
    pub members: &'a [Identifier],
    /// Whether a click was refused because it came after the start of the checkout.
    pub is_injected: bool,
}

/// The touch with the largest part, of equals the latest.
pub fn main_of(credited: &[Credited]) -> Option<&Credited> {
    credited.iter().max_by_key(|credit| credit.share_ppm)
}

/// Whether a click came after the customer had begun what ended in the conversion. A click after
/// the conversion itself tells of a clock that is wrong, and of nothing else.
pub fn is_injected(brand: &Brand, order: &Order, reports: Trust, click: &Click) -> bool {
    let started_ms = order.facts(reports).started_ms;
    let is_after = |started_ms: u64| click.touch_ms > started_ms.saturating_add(STARTED_SKEW_MS);
    if click.touch_ms > order.occurred_ms || !started_ms.is_some_and(is_after) {
        return false;
    }
    let rules = brand.ruleset(order.program, click.partner, order.config_revision);
    matches!(rules.rule(Signal::ClickInjection).mode, Mode::Score | Mode::Enforce)
}

/// Whether the rules in force for a conversion refuse a click for what was found of it.
pub fn is_refused(brand: &Brand, order: &Order, click: &Click) -> bool {
    let Some(found) = brand.fraud.scores.of(&click.id) else { return false };
    let full = found.iter().filter(|finding| finding.severity >= ONE);
    let signals: Vec<Signal> = full.map(|finding| finding.signal).collect();
    if signals.is_empty() {
        return false;
    }
    let rules = brand.ruleset(order.program, click.partner, order.config_revision);
    signals.iter().any(|signal| rules.rule(*signal).mode == Mode::Enforce)
}

/// The sets an order belongs to: those of leads that are no tests, by all its reports.
pub fn memberships(brand: &Brand, conversion_id: Id, order: &Order) -> Memberships {
    let scope = Scope::of(order.program, order.event_type, order.occurred_ms);
    let entry = Entry::new(conversion_id, order.order_id.as_deref());
    let due_ms = scope.due_ms();
    if order.flags & flags::TEST != 0 || !is_lead(brand, order) {
        return Memberships { due_ms, entry, keys: Vec::new() };
    }
    let facts = order.facts(Trust::Browser);
    let identifiers = order.evidence(Trust::Browser).identifiers;
    let mut keys: Vec<Key> = place_keys(scope, &facts).into_iter().flatten().collect();
    keys.extend(identifiers.into_iter().filter_map(|key| scope.identifier(key)));
    keys.sort_unstable();
    keys.dedup();
    Memberships { due_ms, entry, keys }
}

fn place_keys(scope: Scope, facts: &Facts) -> [Option<Key>; 2] {
    [
        facts.address.map(|address| scope.place(Common::Address, address)),
        facts.network.map(|network| scope.place(Common::Network, network)),
    ]
}

fn is_lead(brand: &Brand, order: &Order) -> bool {
    brand.controls.is_lead(order.event_type, order.config_revision)
}

/// How grave it is that so many orders have something in common.
pub fn severity(rules: &Ruleset, common: Common, orders: u64) -> u32 {
    if common != Common::Network {
        return rules.severity(common.signal(), orders);
    }
    let (low, high) = network_ramp(rules);
    let Some(beyond) = orders.checked_sub(low) else { return 0 };
    let steps = (3 * beyond).checked_div(high.saturating_sub(low)).map_or(4, |x| (1 + x).min(4));
    let severity = u32::try_from(steps).unwrap_or(4) * (ONE / 4);
    severity / 5 * NETWORK_FIFTHS
}

fn network_ramp(rules: &Ruleset) -> (u64, u64) {
    let Rule { low, high, .. } = rules.rule(Signal::DuplicateAddress);
    let (times, of) = NETWORK_LOW;
    (low.saturating_mul(times).div_ceil(of), high.saturating_mul(NETWORK_HIGH))
}

/// Everything that is to be said of a conversion, and the rules it is said by.
pub fn findings(subject: &Subject<'_>) -> (Findings, Arc<Ruleset>) {
    let Subject { brand, order, .. } = *subject;
    let main = main_of(subject.credited);
    let partner = main.map_or(NO_PARTNER, |credit| credit.partner);
    let rules = brand.ruleset(order.program, partner, order.config_revision);
    let mut out = Findings::new(&rules);
    subject.add_inherited(&mut out);
    subject.add_report(&mut out);
    if let Some(main) = main {
        subject.add_country(main, &mut out);
        subject.add_haste(main, &rules, &mut out);
        subject.add_self_referral(&mut out);
    }
    if is_lead(brand, order) {
        subject.add_repeats(&rules, &mut out);
    }
    (out, rules)
}

impl Subject<'_> {
    fn facts(&self) -> Facts {
        self.order.facts(self.reports)
    }

    /// The findings of the clicks that have the credit.
    fn add_inherited(&self, out: &mut Findings) {
        let clicks = self.credited.iter().filter(|credit| is_click(credit));
        for click_id in clicks.filter_map(|credit| credit.click_id) {
            for finding in self.brand.fraud.scores.of(&click_id).unwrap_or_default() {
                out.inherit(finding);
            }
        }
    }

    /// What is odd about the report alone.
    fn add_report(&self, out: &mut Findings) {
        let facts = self.facts();
        if facts.flags & flags::EMAIL_LOOKED_UP == 0 {
            out.absent(Signal::DisposableEmail);
        } else if facts.flags & flags::DISPOSABLE_EMAIL != 0 {
            out.flag(Signal::DisposableEmail, ONE);
        }
        if facts.started_ms.is_none() {
            out.absent(Signal::ClickInjection);
        } else if self.is_injected && self.credited.is_empty() {
            out.flag(Signal::ClickInjection, ONE);
        }
        if self.is_forced() {
            // Somebody is credited by other evidence: a person should look at the report.
            let severity = if self.credited.is_empty() { ONE } else { ONE / 2 };
            out.flag(Signal::ForcedReport, severity);
        }
    }

    /// Whether a system names a click that was never made, has expired, or is another program's.
    fn is_forced(&self) -> bool {
        let order = self.order;
        let browser = order.browser.as_ref().filter(|_| self.reports == Trust::Browser);
        let sides = [(order.server.as_ref(), Trust::Server), (browser, Trust::Browser)];
        sides.into_iter().any(|(content, trust)| {
            let named = content.filter(|content| content.facts.is_by_system(trust));
            named.and_then(|content| content.click_id).is_some_and(|id| self.is_false(&id))
        })
    }

    fn is_false(&self, click_id: &Id) -> bool {
        let Subject { brand, order, known_ms, .. } = *self;
        let Some(click) = brand.click(click_id) else {
            return matches!(brand.gone.get(click_id), Some(Gone::Expired) | None);
        };
        let window_ms = brand.controls.window_ms(
            (order.program, click.partner),
            order.event_type,
            TouchClass::of_click(click.flags),
            order.occurred_ms,
            order.config_revision,
        );
        click.program != order.program
            || click.accept_ms > known_ms
            || click.touch_ms.saturating_add(window_ms) <= order.occurred_ms
    }

    fn add_country(&self, main: &Credited, out: &mut Findings) {
        let click = main.click_id.filter(|_| is_click(main)).and_then(|id| self.brand.click(&id));
        let clicked = click.map_or(0, |click| click.country);
        let bought = self.facts().country;
        if clicked == 0 || bought == 0 {
            out.absent(Signal::GeoMismatch);
        } else if clicked != bought {
            out.flag(Signal::GeoMismatch, ONE);
        }
    }

    /// The time from click to conversion; none where the clocks do not agree.
    fn add_haste(&self, main: &Credited, rules: &Ruleset, out: &mut Findings) {
        match self.order.occurred_ms.checked_sub(main.touch_ms).filter(|_| is_click(main)) {
            Some(after_ms) => out.observe(rules, Signal::TooShort, after_ms),
            None => out.absent(Signal::TooShort),
        }
    }

    fn add_self_referral(&self, out: &mut Findings) {
        let Order { program, config_revision, .. } = *self.order;
        let mut is_any_known = false;
        for credit in self.credited {
            let own =
                self.brand.controls.partner_identity(program, credit.partner, config_revision);
            is_any_known |= !own.is_empty();
            if own.iter().any(|key| self.members.contains(key)) {
                out.flag(Signal::SelfReferral, ONE);
            }
        }
        if !is_any_known {
            out.absent(Signal::SelfReferral);
        }
    }

    /// What it has in common with other leads of its day.
    fn add_repeats(&self, rules: &Ruleset, out: &mut Findings) {
        let order = self.order;
        let scope = Scope::of(order.program, order.event_type, order.occurred_ms);
        let entry = Entry::new(self.conversion_id, order.order_id.as_deref());
        let mut facts = self.facts();
        // Many people share it: how many leads come from it says nothing.
        let fraud = &self.brand.fraud;
        facts.address = facts.address.filter(|of| !fraud.is_crowd(*of, order.accept_ms));
        let places = place_keys(scope, &facts).into_iter().flatten();
        let identifiers = self.evidence.identifiers.iter();
        let keys = places.chain(identifiers.filter_map(|key| scope.identifier(*key)));
        let mut looked_at = 0;
        for key in keys {
            looked_at |= key.common.signal().bit();
            let orders = self.brand.fraud.repeats.orders_with(&key, entry);
            let severity = severity(rules, key.common, orders);
            if severity > 0 {
                let low = rules.rule(key.common.signal()).low;
                let is_network = key.common == Common::Network;
                let threshold = if is_network { network_ramp(rules).0 } else { low };
                out.add(key.common.signal(), severity, orders, threshold);
            }
        }
        for signal in [Signal::DuplicateAddress, Signal::DuplicateDevice, Signal::LeadVelocity] {
            if looked_at & signal.bit() == 0 {
                out.absent(signal);
            }
        }
    }
}

fn is_click(credit: &Credited) -> bool {
    credit.class != TouchClass::ExclusiveCoupon
}
