//! Which click a conversion is credited to: the last one in the window, or the one it names.
//!
//! A decision is a function of the question and the brand's state; it changes nothing.

mod explain;
mod reach;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::identity::index::Moment;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{ACCEPT_AHEAD_MAX_MS, CLAIM_SKEW_MAX_MS};
use crate::record::flags;
use crate::state::brand::{Brand, Gone, LiveClick};
use crate::state::orders::{Evidence, Order};
use crate::Id;

use reach::{Hop, Reach};

/// Shares of a conversion always add up to this many parts.
pub const SHARE_PPM: u64 = 1_000_000;

/// Why a conversion is credited to nobody, the most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Consent was denied, and the click id named, if any, is not one to credit.
    ConsentDenied,
    /// The only clicks in the window are of partners no longer in the program.
    PartnerInactive,
    /// The only clicks are older than the program's window.
    OutsideWindow,
    /// The click named was dropped because the brand had too many.
    ClickEvicted,
    /// The click named was never seen in this program.
    ClickUnknown,
    /// An identifier is shared by too many to say whose it is.
    Hub,
    /// The identifiers are known, and no click was made under them by then.
    NoTouch,
    /// None of the identifiers has been seen before.
    NoIdentifierKnown,
}

impl Reason {
    /// Every reason, the most specific first.
    pub const ALL: [Self; 8] = [
        Self::ConsentDenied,
        Self::PartnerInactive,
        Self::OutsideWindow,
        Self::ClickEvicted,
        Self::ClickUnknown,
        Self::Hub,
        Self::NoTouch,
        Self::NoIdentifierKnown,
    ];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::ConsentDenied => "consent_denied",
            Self::PartnerInactive => "partner_inactive",
            Self::OutsideWindow => "outside_window",
            Self::ClickEvicted => "click_evicted",
            Self::ClickUnknown => "click_unknown",
            Self::Hub => "hub",
            Self::NoTouch => "no_touch",
            Self::NoIdentifierKnown => "no_identifier_known",
        }
    }
}

/// What became of a candidate click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateOutcome {
    /// It has the credit.
    Credited,
    /// A later click in the window has it.
    Older,
    /// The report names another click.
    OutrankedByNamedClick,
    /// It lies at or before the start of the window.
    OutsideWindow,
    /// It was made after the conversion.
    AfterConversion,
    /// Its partner is no longer in the program.
    PartnerInactive,
    /// The report names it, and it belongs to another program.
    OtherProgram,
}

impl CandidateOutcome {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Credited => "credited",
            Self::Older => "older",
            Self::OutrankedByNamedClick => "outranked_by_named_click",
            Self::OutsideWindow => "outside_window",
            Self::AfterConversion => "after_conversion",
            Self::PartnerInactive => "partner_inactive",
            Self::OtherProgram => "other_program",
        }
    }
}

/// A click that could earn credit, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    click_id: Id,
    partner: u64,
    touch_ms: u64,
    is_named: bool,
    path: Vec<Hop>,
    outcome: CandidateOutcome,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Partner and click with the credit.
    pub credit: Option<(u64, Id)>,
    /// Why there is none.
    pub reason: Option<Reason>,
    /// The explanation, a MessagePack map.
    pub explain: Vec<u8>,
    /// Digest of the configuration in force.
    pub config_hash: Id,
}

impl Decision {
    /// `attributed` or `unattributed`.
    pub fn status(&self) -> &'static str {
        if self.credit.is_some() {
            "attributed"
        } else {
            "unattributed"
        }
    }
}

/// Decides an order at the time it happened, by what is known of all its reports. Evidence of
/// servers comes first: a browser's report counts only where that gives no credit.
pub fn decide(brand: &Brand, conversion_id: Id, order: &Order) -> Decision {
    let by_server = order
        .server_evidence()
        .map(|evidence| decide_on(brand, conversion_id, order, evidence))
        .filter(|decision| decision.credit.is_some());
    by_server.unwrap_or_else(|| decide_on(brand, conversion_id, order, order.evidence()))
}

fn decide_on(brand: &Brand, conversion_id: Id, order: &Order, evidence: Evidence) -> Decision {
    let may_identify = order.flags & flags::CONSENT_DENIED == 0;
    let starts: &[Identifier] = if may_identify { &evidence.identifiers } else { &[] };
    let mut case = Case::new(brand, order, &evidence.named_clicks);
    for click_id in &evidence.named_clicks {
        case.consider_named(conversion_id, *click_id);
    }
    let reach = Reach::new(&brand.index, starts, case.moment);
    case.consider_reached(&reach);
    let credit = case.award();
    let reason = credit.is_none().then(|| case.reason(&reach));
    let mut partners: Vec<u64> = case.candidates.iter().map(|c| c.partner).collect();
    partners.sort_unstable();
    partners.dedup();
    let config_hash = brand.controls.config_hash(order.program, order.event_type, &partners);
    let explain = explain::encode(&case.candidates, &reach, &config_hash);
    Decision { credit, reason, explain, config_hash }
}

/// One decision in the making.
struct Case<'a> {
    brand: &'a Brand,
    order: &'a Order,
    named_clicks: &'a [Id],
    moment: Moment,
    window_ms: u64,
    candidates: Vec<Candidate>,
    named_unknown: bool,
    evicted: bool,
    expired: bool,
}

impl<'a> Case<'a> {
    fn new(brand: &'a Brand, order: &'a Order, named_clicks: &'a [Id]) -> Self {
        let moment = Moment {
            occurred_ms: order.occurred_ms,
            known_ms: order.accept_ms.saturating_add(ACCEPT_AHEAD_MAX_MS),
        };
        Self {
            brand,
            order,
            named_clicks,
            moment,
            window_ms: brand.controls.window_ms(order.program),
            candidates: Vec::new(),
            named_unknown: false,
            evicted: false,
            expired: false,
        }
    }

    fn note_gone(&mut self, click_id: &Id) -> bool {
        match self.brand.gone.get(click_id) {
            Some(Gone::Evicted) => self.evicted = true,
            Some(Gone::Expired) => self.expired = true,
            None => return false,
        }
        true
    }

    fn consider_named(&mut self, conversion_id: Id, click_id: Id) {
        let Some(click) = self.brand.clicks.get(&click_id) else {
            self.named_unknown |= !self.note_gone(&click_id);
            return;
        };
        let hop = Hop {
            from: (0, conversion_id),
            to: (IdentifierType::Click as u64, click_id),
            at_ms: click.touch_ms,
            event_id: click_id,
        };
        let outcome = if click.program == self.order.program {
            self.judge(click, CLAIM_SKEW_MAX_MS)
        } else {
            self.named_unknown = true;
            CandidateOutcome::OtherProgram
        };
        self.candidates.push(Candidate {
            click_id,
            partner: click.partner,
            touch_ms: click.touch_ms,
            is_named: true,
            path: vec![hop],
            outcome,
        });
    }

    /// Whether a click could have the credit; `Older` until the last one is known.
    fn judge(&self, click: &LiveClick, skew_ms: u64) -> CandidateOutcome {
        let occurred_ms = self.order.occurred_ms;
        if click.touch_ms.saturating_add(self.window_ms) <= occurred_ms {
            CandidateOutcome::OutsideWindow
        } else if click.touch_ms > occurred_ms.saturating_add(skew_ms) {
            CandidateOutcome::AfterConversion
        } else if !self.brand.controls.is_active(self.order.program, click.partner) {
            CandidateOutcome::PartnerInactive
        } else {
            CandidateOutcome::Older
        }
    }

    fn consider_reached(&mut self, reach: &Reach) {
        let mut found: BTreeMap<Id, Candidate> = BTreeMap::new();
        for member in &reach.members {
            for (click_id, touch_ms) in reach::clicks_of(self.brand, member, self.moment) {
                let is_named = self.candidates.iter().any(|c| c.click_id == click_id);
                if is_named || found.contains_key(&click_id) {
                    continue;
                }
                let Some(click) = self.brand.clicks.get(&click_id) else {
                    let too_old = touch_ms.saturating_add(self.window_ms);
                    if too_old <= self.order.occurred_ms {
                        self.expired = true;
                    } else {
                        self.note_gone(&click_id);
                    }
                    continue;
                };
                if click.program != self.order.program {
                    continue;
                }
                let candidate = Candidate {
                    click_id,
                    partner: click.partner,
                    touch_ms: click.touch_ms,
                    is_named: false,
                    path: member.path_to(click_id, click.touch_ms),
                    outcome: self.judge(click, 0),
                };
                found.insert(click_id, candidate);
            }
        }
        self.candidates.extend(found.into_values());
        self.candidates.sort_by_key(|c| Reverse((c.touch_ms, c.click_id)));
    }

    /// Gives the credit to the first eligible click named, else to the last click.
    fn award(&mut self) -> Option<(u64, Id)> {
        let eligible = |c: &Candidate| c.outcome == CandidateOutcome::Older;
        let by_name = self.named_clicks.iter().find_map(|id| {
            self.candidates.iter().position(|c| c.is_named && c.click_id == *id && eligible(c))
        });
        let winner = by_name.or_else(|| self.candidates.iter().position(eligible))?;
        let last_touch = self.candidates.get(winner).map(|c| (c.touch_ms, c.click_id))?;
        for candidate in self.candidates.iter_mut().filter(|c| eligible(c)) {
            if (candidate.touch_ms, candidate.click_id) > last_touch {
                candidate.outcome = CandidateOutcome::OutrankedByNamedClick;
            }
        }
        let winner = self.candidates.get_mut(winner)?;
        winner.outcome = CandidateOutcome::Credited;
        Some((winner.partner, winner.click_id))
    }

    fn reason(&self, reach: &Reach) -> Reason {
        let any = |outcome| self.candidates.iter().any(|c| c.outcome == outcome);
        let holds = |reason: &Reason| match reason {
            Reason::ConsentDenied => self.order.flags & flags::CONSENT_DENIED != 0,
            Reason::PartnerInactive => any(CandidateOutcome::PartnerInactive),
            Reason::OutsideWindow => self.expired || any(CandidateOutcome::OutsideWindow),
            Reason::ClickEvicted => self.evicted,
            Reason::ClickUnknown => self.named_unknown,
            Reason::Hub => !reach.hubs.is_empty(),
            Reason::NoTouch => reach.is_known || any(CandidateOutcome::AfterConversion),
            Reason::NoIdentifierKnown => true,
        };
        Reason::ALL.into_iter().find(holds).unwrap_or(Reason::NoIdentifierKnown)
    }
}
