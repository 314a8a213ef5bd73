//! One attempt at a decision: what is found, what may earn, who has the credit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::award::award;
use super::candidate::{Candidate, CandidateOutcome, Origin, Verdict};
use super::rules::{Rules, TouchClass};
use super::{explain, Credit, Decision, Pass, Reason};
use crate::fraud::conversion::{self, Credited, Subject};
use crate::fraud::facts::{Basis, Counting};
use crate::fraud::score::{combine, encode, own_verdict};
use crate::fraud::sources::SourceKey;
use crate::fraud::{self, Counted, Findings, Ruleset, Scored};
use crate::identity::graph::{Moment, Resolution};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{CLAIM_SKEW_MAX_MS, CREDITS_MAX};
use crate::record::{flags, Trust};
use crate::state::brand::{Brand, Gone};
use crate::state::clicks::Click;
use crate::state::controls::PromoCode;
use crate::state::orders::{Evidence, Order};
use crate::Id;

/// An attempt at a decision, on the evidence of one pass.
pub(super) struct Case<'a> {
    brand: &'a Brand,
    order: &'a Order,
    pub(super) pass: Pass<'a>,
    moment: Moment,
    pub(super) rules: Rules,
    pub(super) resolution: Resolution,
    /// What was found, in the order of explanations.
    pub(super) candidates: Vec<Candidate>,
    /// Who has the credit, the earliest touch first.
    pub(super) credits: Vec<Credit>,
    promo_codes: Vec<&'a PromoCode>,
    /// Whether a click was refused because it came after the start of the checkout.
    is_injected: bool,
    named_unknown: bool,
    evicted: bool,
    expired: bool,
}

impl<'a> Case<'a> {
    /// Finds the candidates, and gives the credit to nobody.
    pub(super) fn find(brand: &'a Brand, order: &'a Order, pass: Pass<'a>, moment: Moment) -> Self {
        let rules = brand.controls.rules(order.program, order.config_revision);
        let starts = starts(brand, order, pass.evidence, moment.known_ms);
        let mut case = Self {
            brand,
            order,
            pass,
            moment,
            rules,
            resolution: brand.graph.resolve(&starts, moment, &rules.traversal(pass.links)),
            candidates: Vec::new(),
            credits: Vec::new(),
            promo_codes: Vec::new(),
            is_injected: false,
            named_unknown: false,
            evicted: false,
            expired: false,
        };
        case.consider_coupons();
        for click_id in &pass.evidence.named_clicks {
            case.consider_named(click_id);
        }
        case.consider_reached();
        case.candidates.sort_by_key(Candidate::place);
        case
    }

    /// Finds the candidates and gives the credit.
    pub(super) fn decide(
        brand: &'a Brand,
        order: &'a Order,
        pass: Pass<'a>,
        moment: Moment,
    ) -> Self {
        let mut case = Self::find(brand, order, pass, moment);
        case.credits = award(&case.rules, &pass.evidence.named_clicks, &mut case.candidates);
        case
    }

    /// The decision. `wider` found what only lesser evidence leads to.
    pub(super) fn finish(
        mut self,
        conversion_id: Id,
        wider: Option<&Case<'_>>,
        work_before: usize,
    ) -> Decision {
        let work = work_before + self.work() + wider.map_or(0, Case::work);
        let partners: BTreeSet<u64> = self.candidates.iter().map(|c| c.partner).collect();
        let partners: Vec<u64> = partners.into_iter().collect();
        let Order { program, event_type, config_revision, .. } = *self.order;
        let config_hash = self.brand.controls.config_hash(
            (program, event_type),
            &self.promo_codes,
            &partners,
            self.moment.occurred_ms,
            config_revision,
        );
        let (findings, ruleset, scored) = self.score(conversion_id);
        let basis = self.basis(own_verdict(&findings, &scored, &ruleset), &ruleset);
        let is_by_servers = !self.credits.is_empty() && self.pass.reports == Trust::Server;
        let is_rejected = !self.credits.is_empty() && scored.verdict >= fraud::Verdict::Reject;
        if is_rejected {
            self.reject();
        }
        let reason = self.credits.is_empty().then(|| self.reason());
        let explain = explain::encode(&self, wider, conversion_id, &config_hash);
        let lists = self.brand.fraud.lists_name(self.order.facts(self.pass.reports).lists);
        let bots = self.brand.shared.bots.version();
        let fraud = encode(&scored, &findings, &ruleset, bots, lists);
        let credits = self.credits;
        Decision {
            credits,
            reason,
            is_by_servers,
            work,
            explain,
            config_hash,
            is_rejected,
            scored,
            fraud,
            basis,
        }
    }

    /// What is to be said of the conversion, given who has the credit.
    fn score(&self, conversion_id: Id) -> (Findings, Arc<Ruleset>, Scored) {
        let members: Vec<Identifier> = self.resolution.members.iter().map(|m| m.key).collect();
        let (findings, rules) = conversion::findings(&Subject {
            brand: self.brand,
            conversion_id,
            order: self.order,
            reports: self.pass.reports,
            evidence: self.pass.evidence,
            known_ms: self.moment.known_ms,
            credited: &self.credited(),
            members: &members,
            is_injected: self.is_injected,
        });
        let mut scored = combine(&findings, &rules);
        if scored.verdict == fraud::Verdict::Accept && self.waits_for_a_click() {
            scored.verdict = fraud::Verdict::Review;
        }
        (findings, rules, scored)
    }

    /// Whether a click that has credit is under review: pay waits for it.
    fn waits_for_a_click(&self) -> bool {
        self.credits.iter().filter_map(|credit| credit.click_id).any(|id| {
            let click = self.brand.click(&id);
            click.is_some_and(|click| click.verdict == fraud::Verdict::Review)
        })
    }

    /// The touches that have the credit, the earliest first.
    fn credited(&self) -> Vec<Credited> {
        let has_credit = |c: &&Candidate| c.outcome == CandidateOutcome::Credited;
        let credited = self.candidates.iter().rev().filter(has_credit).map(|candidate| {
            let Candidate { click_id, partner, touch_ms, class, share_ppm, .. } = *candidate;
            Credited { click_id, partner, touch_ms, class, share_ppm }
        });
        credited.collect()
    }

    /// What the decision rests on, for evidence that comes later.
    fn basis(&self, own: fraud::Verdict, ruleset: &Ruleset) -> Basis {
        let credited = self.credited();
        let main = conversion::main_of(&credited);
        let rests = |c: &&Candidate| {
            matches!(c.outcome, CandidateOutcome::Credited | CandidateOutcome::FraudRejected)
        };
        let rests_on = self.candidates.iter().filter(rests).filter_map(|c| c.click_id);
        let mut clicks: Vec<Id> = rests_on.take(CREDITS_MAX).collect();
        clicks.sort_unstable();
        clicks.dedup();
        let is_test = self.order.flags & flags::TEST != 0;
        // What a person has yet to look at must not become what others are measured by.
        let counts = !is_test && own == fraud::Verdict::Accept;
        Basis {
            partner: main.map(|credit| credit.partner),
            clicks,
            counting: main.filter(|_| counts).and_then(|credit| self.counting(credit, ruleset)),
        }
    }

    /// As what it is counted for the source of its click, if nothing speaks against that but its
    /// source; a coupon has none.
    fn counting(&self, credit: &Credited, ruleset: &Ruleset) -> Option<Counting> {
        let is_click = credit.class != TouchClass::ExclusiveCoupon;
        let click = self.brand.click(&credit.click_id.filter(|_| is_click)?)?;
        let mut found = Findings::new(ruleset);
        found.list = self.brand.fraud.scores.of(&click.id).unwrap_or_default().to_vec();
        let own = own_verdict(&found, &combine(&found, ruleset), ruleset);
        let counts = own == fraud::Verdict::Accept && click.counted != Counted::Test;
        counts.then(|| Counting {
            source: SourceKey::of(&click),
            touch_ms: click.touch_ms,
            after_ms: self.order.occurred_ms.checked_sub(click.touch_ms),
        })
    }

    /// Takes the credit away from a conversion that is not genuine.
    fn reject(&mut self) {
        for candidate in &mut self.candidates {
            if candidate.outcome == CandidateOutcome::Credited {
                candidate.outcome = CandidateOutcome::FraudRejected;
                candidate.share_ppm = 0;
            }
        }
        self.credits.clear();
    }

    /// What it cost, about: identifiers met, links cut and touches found.
    pub(super) fn work(&self) -> usize {
        let Resolution { members, cut, .. } = &self.resolution;
        1 + 4 * members.len() + 4 * cut.len() + self.candidates.len()
    }

    /// The owners of the promo codes used, up to the first that may earn.
    fn consider_coupons(&mut self) {
        let Order { program, config_revision, .. } = *self.order;
        for key in &self.pass.evidence.promo_codes {
            let found = self.brand.controls.promo_code(program, key, config_revision);
            let Some((code, owner)) = found.and_then(|code| Some((code, code.owner.as_ref()?)))
            else {
                continue;
            };
            let verdict = self.verdict_of_partner(owner.partner);
            let touch_ms = self.order.occurred_ms;
            self.promo_codes.push(code);
            self.candidates.push(Candidate::coupon(owner.partner, touch_ms, verdict));
            if verdict == Verdict::Eligible {
                return;
            }
        }
    }

    fn consider_named(&mut self, click_id: &Id) {
        let Some(click) = self.brand.click(click_id) else {
            self.named_unknown |= !self.note_gone(click_id);
            return;
        };
        let verdict = if click.program == self.order.program {
            let verdict = self.judge(&click, CLAIM_SKEW_MAX_MS);
            self.examine(&click, verdict)
        } else {
            Verdict::Out(CandidateOutcome::OtherProgram, 0)
        };
        // A late click must give the reason that it gave before it arrived.
        self.named_unknown |= matches!(
            verdict,
            Verdict::Out(CandidateOutcome::OtherProgram | CandidateOutcome::Late, _)
        );
        self.candidates.push(Candidate::of_click(&click, Origin::Named, verdict));
    }

    /// Whether a click was known once; if so, why it is no longer counts as found.
    fn note_gone(&mut self, click_id: &Id) -> bool {
        match self.brand.gone.get(click_id) {
            Some(Gone::Evicted) => self.evicted = true,
            Some(Gone::Expired) => self.expired = true,
            // As if it had never been.
            Some(Gone::Erased) | None => return false,
        }
        true
    }

    fn consider_reached(&mut self) {
        let named: BTreeSet<Option<Id>> = self.candidates.iter().map(|c| c.click_id).collect();
        let mut found: BTreeMap<Id, (Click, Origin)> = BTreeMap::new();
        let mut gone = Vec::new();
        for (place, member) in self.resolution.members.iter().enumerate() {
            let key = member.key;
            if key.kind == IdentifierType::Click && self.brand.click(&key.digest).is_none() {
                gone.push(key.digest);
            }
            self.evicted |= self.brand.has_lost(member, Gone::Evicted);
            self.expired |= self.brand.has_lost(member, Gone::Expired);
            for click in self.brand.clicks_under(member) {
                let is_new = !named.contains(&Some(click.id)) && !found.contains_key(&click.id);
                if is_new && click.program == self.order.program {
                    found.insert(click.id, (click, Origin::Member(place)));
                }
            }
        }
        for click_id in gone {
            self.note_gone(&click_id);
        }
        for (click, origin) in found.into_values() {
            let verdict = self.judge(&click, 0);
            let verdict = self.examine(&click, verdict);
            self.candidates.push(Candidate::of_click(&click, origin, verdict));
        }
    }

    /// Refuses a click that may earn by its time and its partner, and is not genuine.
    fn examine(&mut self, click: &Click, verdict: Verdict) -> Verdict {
        let order = self.order;
        let refused = match (click.verdict, click.counted) {
            _ if verdict != Verdict::Eligible => return verdict,
            (fraud::Verdict::Filtered, _) => CandidateOutcome::Filtered,
            (fraud::Verdict::Reject, _) => CandidateOutcome::FraudRejected,
            (_, Counted::Prefetch) => CandidateOutcome::Prefetch,
            _ if conversion::is_refused(self.brand, order, click) => {
                CandidateOutcome::FraudRejected
            }
            _ if conversion::is_injected(self.brand, order, self.pass.reports, click) => {
                self.is_injected = true;
                CandidateOutcome::FraudRejected
            }
            _ => return verdict,
        };
        Verdict::Out(refused, 0)
    }

    /// What a click of the program is worth by itself. What arrived late is not looked into: it
    /// must not change the reason of a decision that was made without it.
    fn judge(&self, click: &Click, skew_ms: u64) -> Verdict {
        let Moment { occurred_ms, known_ms } = self.moment;
        let Order { program, event_type, config_revision, .. } = *self.order;
        let own_ms = self.brand.controls.own_window_ms(
            (program, click.partner),
            event_type,
            occurred_ms,
            config_revision,
        );
        let window_ms = self.rules.window_ms(TouchClass::of_click(click.flags), own_ms);
        let end_ms = click.touch_ms.saturating_add(window_ms);
        let latest_ms = occurred_ms.saturating_add(skew_ms);
        if click.accept_ms > known_ms {
            Verdict::Out(CandidateOutcome::Late, click.accept_ms - known_ms)
        } else if end_ms <= occurred_ms {
            Verdict::Out(CandidateOutcome::OutsideWindow, occurred_ms - end_ms + 1)
        } else if click.touch_ms > latest_ms {
            Verdict::Out(CandidateOutcome::AfterConversion, click.touch_ms - latest_ms)
        } else {
            self.verdict_of_partner(click.partner)
        }
    }

    fn verdict_of_partner(&self, partner: u64) -> Verdict {
        let Order { program, config_revision, .. } = *self.order;
        if self.brand.controls.is_active(program, partner, config_revision) {
            Verdict::Eligible
        } else {
            Verdict::Out(CandidateOutcome::PartnerInactive, 0)
        }
    }

    /// Why there is no credit. Late touches have no say.
    fn reason(&self) -> Reason {
        let any = |outcome| self.candidates.iter().any(|c| c.outcome == outcome);
        let holds = |reason: &Reason| match reason {
            Reason::ConsentDenied => self.order.flags & flags::CONSENT_DENIED != 0,
            Reason::FraudRejected => self.candidates.iter().any(|candidate| {
                candidate.outcome == CandidateOutcome::FraudRejected
                    && self.rules.class_order.rank(candidate.class).is_some()
            }),
            Reason::PartnerInactive => any(CandidateOutcome::PartnerInactive),
            Reason::OutsideWindow => self.expired || any(CandidateOutcome::OutsideWindow),
            Reason::ClickEvicted => self.evicted,
            Reason::ClickUnknown => self.named_unknown,
            Reason::Hub => !self.resolution.hubs.is_empty(),
            Reason::NoTouch => {
                self.resolution.is_known
                    || any(CandidateOutcome::AfterConversion)
                    || any(CandidateOutcome::OutrankedByClass)
                    || any(CandidateOutcome::Filtered)
                    || any(CandidateOutcome::FraudRejected)
                    || any(CandidateOutcome::Prefetch)
            }
            Reason::NoIdentifierKnown => true,
        };
        Reason::ALL.into_iter().find(holds).unwrap_or(Reason::NoIdentifierKnown)
    }

    /// Of a conversion without credit the touch that came closest, the newest of equals.
    pub(super) fn nearest_miss(&self) -> Option<&Candidate> {
        let candidates = self.candidates.iter().filter(|_| self.credits.is_empty());
        candidates.min_by_key(|candidate| candidate.nearness())
    }
}

/// The identifiers a walk begins with: those reported, the clicks named, and whom these are under.
/// Without consent a click that is named counts for itself alone; one that came late leads nowhere.
fn starts(brand: &Brand, order: &Order, evidence: &Evidence, known_ms: u64) -> Vec<Identifier> {
    let mut starts = evidence.identifiers.clone();
    if order.flags & flags::CONSENT_DENIED == 0 {
        let is_late = |id| brand.click(id).is_some_and(|click| click.accept_ms > known_ms);
        for click_id in &evidence.named_clicks {
            starts.push(Identifier { kind: IdentifierType::Click, digest: *click_id });
            starts.extend(brand.owner_of(click_id).filter(|_| !is_late(click_id)));
        }
    }
    starts
}
