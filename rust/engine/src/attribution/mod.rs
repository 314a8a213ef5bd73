//! Who a conversion is credited to, in what shares, and why.
//!
//! A decision is a function of the question and the brand's state; it changes nothing. The rules
//! are those of `docs/identity.md`.

mod award;
mod candidate;
mod decide;
pub(crate) mod explain;
pub mod models;
pub mod rules;

use crate::fraud::facts::Basis;
use crate::fraud::Scored;
use crate::identity::graph::Moment;
use crate::limits::ACCEPT_AHEAD_MAX_MS;
use crate::record::Trust;
use crate::state::brand::Brand;
use crate::state::orders::{Evidence, Order};
use crate::Id;

pub use candidate::CandidateOutcome;
use decide::Case;
pub use rules::SHARE_PPM;

/// Why a conversion is credited to nobody, the most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Consent was denied, and the click id named, if any, is not one to credit.
    ConsentDenied,
    /// The touches that would have earned were refused as not genuine, or the conversion is.
    FraudRejected,
    /// The only touches in their window are of partners no longer in the program.
    PartnerInactive,
    /// The only touches are older than their window.
    OutsideWindow,
    /// The click named was dropped because the brand had too many.
    ClickEvicted,
    /// The click named was never seen in this program.
    ClickUnknown,
    /// An identifier is shared by too many to say whose it is.
    Hub,
    /// The identifiers are known, and no touch that may earn was made under them by then.
    NoTouch,
    /// None of the identifiers has been seen before.
    NoIdentifierKnown,
}

impl Reason {
    /// Every reason, the most specific first.
    pub const ALL: [Self; 9] = [
        Self::ConsentDenied,
        Self::FraudRejected,
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
            Self::FraudRejected => "fraud_rejected",
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

/// A part of a conversion that a partner is credited with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The partner's number.
    pub partner: u64,
    /// The click; of a promo code the latest click of its owner, if there is one.
    pub click_id: Option<Id>,
    /// The part, of [`SHARE_PPM`]; at least 1.
    pub share_ppm: u64,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who has the credit, by the time of their touches, the earliest first; the shares sum to
    /// [`SHARE_PPM`] unless there is none.
    pub credits: Vec<Credit>,
    /// Why there is none.
    pub reason: Option<Reason>,
    /// Whether the credit rests on what servers reported alone.
    pub is_by_servers: bool,
    /// How many identifiers and touches were looked at.
    pub work: usize,
    /// The explanation, a MessagePack map.
    pub explain: Vec<u8>,
    /// Digest of the configuration in force.
    pub config_hash: Id,
    /// Whether it would have been credited, and is not because it is not genuine.
    pub is_rejected: bool,
    /// What came of scoring it.
    pub scored: Scored,
    /// What stands of that in the outcomes; see [`crate::fraud::score::encode`].
    pub fraud: Vec<u8>,
    /// What it rests on.
    pub basis: Basis,
}

impl Decision {
    /// `attributed`, `unattributed` or `rejected`.
    pub fn status(&self) -> &'static str {
        match (self.is_rejected, self.credits.is_empty()) {
            (true, _) => "rejected",
            (false, true) => "unattributed",
            (false, false) => "attributed",
        }
    }
}

/// The evidence of one attempt at a decision: whose reports, and whose links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass<'a> {
    reports: Trust,
    links: Trust,
    evidence: &'a Evidence,
}

/// The attempts at a decision, in order, the last apart: servers' reports before anyone's, and of
/// each servers' links before all. One that cannot differ from an earlier one is left out.
fn passes<'a>(server: &'a Evidence, all: &'a Evidence) -> (Vec<Pass<'a>>, Pass<'a>) {
    let mut passes: Vec<Pass<'a>> = Vec::with_capacity(4);
    for (reports, evidence) in [(Trust::Server, server), (Trust::Browser, all)] {
        if evidence.is_empty() && !all.is_empty() {
            continue;
        }
        for links in [Trust::Server, Trust::Browser] {
            let is_same = |other: &Pass<'a>| {
                let same_links = other.links == links || !evidence.names_anything();
                other.evidence == evidence && same_links
            };
            if !passes.iter().any(is_same) {
                passes.push(Pass { reports, links, evidence });
            }
        }
    }
    let widest = Pass { reports: Trust::Browser, links: Trust::Browser, evidence: all };
    let last = passes.pop().unwrap_or(widest);
    (passes, last)
}

/// Decides an order at the time it happened, by what is known of all its reports, and by the
/// clicks and links that were accepted by the time its first report was, give or take what the
/// clocks of one site differ.
pub fn decide(brand: &Brand, conversion_id: Id, order: &Order) -> Decision {
    decide_known(brand, conversion_id, order, known_ms(order))
}

/// Until when evidence counts for an order, by the time it was accepted: until its first report
/// was, and as much longer as the clocks of one site may differ.
pub fn known_ms(order: &Order) -> u64 {
    order.accept_ms.saturating_add(ACCEPT_AHEAD_MAX_MS)
}

/// The decision that would be made if clicks and links accepted by `known_ms` counted.
pub fn decide_known(brand: &Brand, conversion_id: Id, order: &Order, known_ms: u64) -> Decision {
    let moment = Moment { occurred_ms: order.occurred_ms, known_ms };
    let (server, all) = (order.evidence(Trust::Server), order.evidence(Trust::Browser));
    let (passes, last) = passes(&server, &all);
    let mut work = 0;
    for pass in passes {
        let case = Case::decide(brand, order, pass, moment);
        if !case.credits.is_empty() {
            // What only browsers' evidence leads to is shown, and earns nothing.
            let wider = Case::find(brand, order, last, moment);
            return case.finish(conversion_id, Some(&wider), work);
        }
        work += case.work();
    }
    Case::decide(brand, order, last, moment).finish(conversion_id, None, work)
}
