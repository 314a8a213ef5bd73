//! Touches that could earn credit, and what became of them.

use std::cmp::Reverse;

use super::rules::TouchClass;
use crate::state::clicks::Click;
use crate::Id;

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateOutcome {
    /// It has credit.
    Credited,
    /// A later touch of its class has it.
    Older,
    /// An earlier touch of its class has it.
    Newer,
    /// A later touch of the same partner counts instead.
    Superseded,
    /// A touch of a better class has it, or its class never earns.
    OutrankedByClass,
    /// The report names another click.
    OutrankedByNamedClick,
    /// Only browsers' evidence leads to it, and servers' evidence gave the credit.
    BrowserEvidence,
    /// It is declared automation.
    Filtered,
    /// It is not genuine.
    FraudRejected,
    /// A browser fetched it ahead of time, and nobody is known to have gone there.
    Prefetch,
    /// Its partner is no longer in the program.
    PartnerInactive,
    /// It was accepted after the conversion was.
    Late,
    /// It was made after the conversion.
    AfterConversion,
    /// It lies at or before the start of its window.
    OutsideWindow,
    /// The report names it, and it belongs to another program.
    OtherProgram,
}

impl CandidateOutcome {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Credited => "credited",
            Self::Older => "older",
            Self::Newer => "newer",
            Self::Superseded => "superseded",
            Self::OutrankedByClass => "outranked_by_class",
            Self::OutrankedByNamedClick => "outranked_by_named_click",
            Self::BrowserEvidence => "browser_evidence",
            Self::Filtered => "filtered",
            Self::FraudRejected => "fraud_rejected",
            Self::Prefetch => "prefetch",
            Self::PartnerInactive => "partner_inactive",
            Self::Late => "late",
            Self::AfterConversion => "after_conversion",
            Self::OutsideWindow => "outside_window",
            Self::OtherProgram => "other_program",
        }
    }

    /// How near to credit this outcome is among touches of a conversion without one, the nearest
    /// first: no time would have mended the first, none of them alone the last.
    fn distance(self) -> u8 {
        match self {
            Self::Late | Self::AfterConversion | Self::OutsideWindow => 1,
            Self::OtherProgram => 2,
            _ => 0,
        }
    }
}

/// How a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// By the promo code of a report.
    Coupon,
    /// By its id in a report.
    Named,
    /// Under the member of this place in the resolution.
    Member(usize),
}

/// A touch that could earn credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The click; of a coupon that is credited, the click whose sub ids the credit keeps.
    pub(super) click_id: Option<Id>,
    pub(super) partner: u64,
    pub(super) touch_ms: u64,
    pub(super) class: TouchClass,
    pub(super) origin: Origin,
    pub(super) verdict: Verdict,
    /// What became of it; means nothing of an eligible one until the credit is given.
    pub(super) outcome: CandidateOutcome,
    pub(super) share_ppm: u64,
}

/// What a touch is worth by itself, without the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may earn.
    Eligible,
    /// It may not, for this reason, by so many milliseconds where it is a matter of time.
    Out(CandidateOutcome, u64),
}

impl Candidate {
    /// A click.
    pub(super) fn of_click(click: &Click, origin: Origin, verdict: Verdict) -> Self {
        let class = TouchClass::of_click(click.flags);
        Self::new(Some(click.id), click.partner, click.touch_ms, class, origin, verdict)
    }

    /// The use of a partner's promo code, with the conversion itself.
    pub(super) fn coupon(partner: u64, touch_ms: u64, verdict: Verdict) -> Self {
        Self::new(None, partner, touch_ms, TouchClass::ExclusiveCoupon, Origin::Coupon, verdict)
    }

    fn new(
        click_id: Option<Id>,
        partner: u64,
        touch_ms: u64,
        class: TouchClass,
        origin: Origin,
        verdict: Verdict,
    ) -> Self {
        let outcome = match verdict {
            Verdict::Out(outcome, _) => outcome,
            Verdict::Eligible => CandidateOutcome::Older,
        };
        Self { click_id, partner, touch_ms, class, origin, verdict, outcome, share_ppm: 0 }
    }

    pub(super) fn is_eligible(&self) -> bool {
        self.verdict == Verdict::Eligible
    }

    pub(super) fn is_named(&self) -> bool {
        self.origin == Origin::Named
    }

    /// By how many milliseconds it missed; 0 where it is no matter of time.
    pub(super) fn missed_by_ms(&self) -> u64 {
        match self.verdict {
            Verdict::Out(_, missed_by_ms) => missed_by_ms,
            Verdict::Eligible => 0,
        }
    }

    /// The order of explanations: coupons, then the newest first, of equals the larger id.
    pub(super) fn place(&self) -> impl Ord {
        let is_coupon = self.class == TouchClass::ExclusiveCoupon;
        Reverse((is_coupon, self.touch_ms, self.click_id, self.partner))
    }

    /// The order of nearness to credit.
    pub(super) fn nearness(&self) -> impl Ord {
        (self.outcome.distance(), self.missed_by_ms())
    }

    /// What makes it one touch, however it was found: the click, or the owner of the coupon.
    pub(super) fn touch_key(&self) -> (Option<Id>, u64) {
        match self.class {
            TouchClass::ExclusiveCoupon => (None, self.partner),
            _ => (self.click_id, 0),
        }
    }
}
