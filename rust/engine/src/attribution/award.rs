//! Who has the credit, of the touches that may earn.

use std::collections::{BTreeMap, BTreeSet};

use super::candidate::{Candidate, CandidateOutcome};
use super::models::{shares, Touch};
use super::rules::{Rules, TouchClass};
use super::Credit;
use crate::limits::CREDITS_MAX;
use crate::Id;

/// Gives the credit to a click that was named, or to touches of the best class by the model, and
/// says of every candidate what became of it. Candidates come in the order of explanations, the
/// newest first; credits leave the earliest first.
pub(super) fn award(
    rules: &Rules,
    named_clicks: &[Id],
    candidates: &mut [Candidate],
) -> Vec<Credit> {
    let clicks = latest_clicks(candidates);
    let eligible: Vec<&mut Candidate> =
        candidates.iter_mut().filter(|candidate| candidate.is_eligible()).collect();
    let rank = |candidate: &Candidate| rules.class_order.rank(candidate.class);
    let lost = CandidateOutcome::OutrankedByClass;
    let ranked = keep(eligible, lost, |candidate| rank(candidate).is_some());
    let mut contenders = match winner_by_name(rules, named_clicks, &ranked) {
        Some(winner) => keep(ranked, CandidateOutcome::OutrankedByNamedClick, |candidate| {
            candidate.is_named() && candidate.click_id == Some(winner)
        }),
        None => {
            let best = ranked.iter().filter_map(|candidate| rank(candidate)).min();
            keep(ranked, lost, |candidate| rank(candidate) == best)
        }
    };
    if rules.counts_latest_of_partner() {
        let mut partners = BTreeSet::new();
        let is_latest = |candidate: &Candidate| partners.insert(candidate.partner);
        contenders = keep(contenders, CandidateOutcome::Superseded, is_latest);
    }
    if rules.model.is_split() {
        let mut places = 0..CREDITS_MAX;
        let has_room = |_: &Candidate| places.next().is_some();
        contenders = keep(contenders, CandidateOutcome::Older, has_room);
    }
    share_out(rules, contenders, &clicks)
}

/// Of each partner the latest click that may earn by itself.
fn latest_clicks(candidates: &[Candidate]) -> BTreeMap<u64, Id> {
    let mut latest = BTreeMap::new();
    let is_click = |c: &&Candidate| c.is_eligible() && c.class != TouchClass::ExclusiveCoupon;
    for candidate in candidates.iter().filter(is_click) {
        if let Some(click_id) = candidate.click_id {
            latest.entry(candidate.partner).or_insert(click_id);
        }
    }
    latest
}

/// The first click named, the server's before the browser's, that may earn.
fn winner_by_name(rules: &Rules, named_clicks: &[Id], ranked: &[&mut Candidate]) -> Option<Id> {
    let may_win = |id: &&Id| ranked.iter().any(|c| c.is_named() && c.click_id == Some(**id));
    named_clicks.iter().filter(|_| rules.named_click_wins).find(may_win).copied()
}

/// Drops those for which `stays` does not hold, for the reason given.
fn keep<'a>(
    candidates: Vec<&'a mut Candidate>,
    lost: CandidateOutcome,
    mut stays: impl FnMut(&Candidate) -> bool,
) -> Vec<&'a mut Candidate> {
    let sort = |candidate: &'a mut Candidate| {
        if stays(candidate) {
            return Some(candidate);
        }
        candidate.outcome = lost;
        None
    };
    candidates.into_iter().filter_map(sort).collect()
}

/// Divides the conversion among the contenders, the newest first. A touch whose share is less
/// than one part has no credit.
fn share_out(
    rules: &Rules,
    contenders: Vec<&mut Candidate>,
    clicks: &BTreeMap<u64, Id>,
) -> Vec<Credit> {
    let touch = |c: &&mut Candidate| Touch { touch_ms: c.touch_ms, click_id: c.click_id };
    let touches: Vec<Touch> = contenders.iter().map(touch).collect();
    let mut credits = Vec::new();
    for (candidate, share_ppm) in contenders.into_iter().zip(shares(rules, &touches)) {
        if share_ppm == 0 {
            candidate.outcome = match credits.is_empty() {
                true => CandidateOutcome::Newer,
                false => CandidateOutcome::Older,
            };
            continue;
        }
        if candidate.class == TouchClass::ExclusiveCoupon {
            candidate.click_id = clicks.get(&candidate.partner).copied();
        }
        let Candidate { partner, click_id, .. } = *candidate;
        candidate.outcome = CandidateOutcome::Credited;
        candidate.share_ppm = share_ppm;
        credits.push(Credit { partner, click_id, share_ppm });
    }
    credits.reverse();
    credits
}
