//! Explanations, as they are stored: a MessagePack map of
//! `members` (`[type, digest]` each), `candidates` (`click_id` or nil, `partner`, `touch_ms`,
//! `class`, `path` of `{from, to, at_ms, event_id}`, `outcome`, `share_ppm`; coupons, then the
//! newest first), `candidates_omitted`, `hubs`, `cut` (hops), `truncated`, `evidence` and `links`
//! (`server` or `browser`: the reports and the links it was decided on), `model`, `nearest_miss`
//! (`click_id`, `partner`, `touch_ms`, `outcome`, `missed_by_ms`; nil with a credit), and
//! `config_hash`.

use std::collections::BTreeSet;

use super::candidate::{Candidate, CandidateOutcome, Origin};
use super::decide::Case;
use crate::identity::graph::Hop;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{CANDIDATES_EXPLAINED_MAX, CUT_EXPLAINED_MAX};
use crate::msgpack::Writer;
use crate::record::Trust;
use crate::Id;

/// A candidate, and the case in which it was found.
struct Shown<'a> {
    candidate: Candidate,
    case: &'a Case<'a>,
}

/// One end of a step: type and digest; type 0 is the conversion itself.
type End = (u64, Id);

/// Encodes the explanation of a decided case. Named candidates and credited ones are always
/// kept, and of each partner the newest. What only `wider` evidence leads to is shown as such.
pub(super) fn encode(
    case: &Case<'_>,
    wider: Option<&Case<'_>>,
    conversion_id: Id,
    config_hash: &Id,
) -> Vec<u8> {
    let (kept, omitted) = shown(case, wider);
    let mut writer = Writer::new();
    writer.map(13);
    writer.str("members");
    let mut members: Vec<Identifier> = case.resolution.members.iter().map(|m| m.key).collect();
    members.sort_unstable();
    write_identifiers(&mut writer, members.iter());
    writer.str("candidates");
    writer.array(kept.len());
    for shown in &kept {
        write_candidate(&mut writer, shown, conversion_id);
    }
    writer.str("candidates_omitted");
    writer.uint(omitted as u64);
    writer.str("hubs");
    let (hubs, hubs_omitted) = first_of(&case.resolution.hubs);
    write_identifiers(&mut writer, hubs.iter());
    writer.str("hubs_omitted");
    writer.uint(hubs_omitted as u64);
    writer.str("cut");
    let (cut, cut_omitted) = first_of(&case.resolution.cut);
    write_hops(&mut writer, cut);
    writer.str("cut_omitted");
    writer.uint(cut_omitted as u64);
    writer.str("truncated");
    writer.bool(case.resolution.is_truncated);
    writer.str("evidence");
    writer.str(side(case.pass.reports));
    writer.str("links");
    writer.str(side(case.pass.links));
    writer.str("model");
    writer.str(case.rules.model.code());
    writer.str("nearest_miss");
    writer.optional(case.nearest_miss(), write_miss);
    writer.str("config_hash");
    writer.bin(config_hash);
    writer.bytes
}

/// As many as are named, and how many are not.
fn first_of<T>(all: &[T]) -> (&[T], usize) {
    let (named, rest) = all.split_at(all.len().min(CUT_EXPLAINED_MAX));
    (named, rest.len())
}

/// The candidates that are shown, in order, and how many are not.
fn shown<'a>(case: &'a Case<'_>, wider: Option<&'a Case<'_>>) -> (Vec<Shown<'a>>, usize) {
    let own = case.candidates.iter().map(|candidate| Shown { candidate: *candidate, case });
    let mut all: Vec<Shown<'a>> = own.collect();
    if let Some(wider) = wider {
        let known: BTreeSet<_> = case.candidates.iter().map(Candidate::touch_key).collect();
        let may_earn = |other: &&Candidate| {
            other.is_eligible() && wider.rules.class_order.rank(other.class).is_some()
        };
        let more = wider.candidates.iter().filter(may_earn);
        all.extend(more.filter(|other| !known.contains(&other.touch_key())).map(|other| Shown {
            candidate: Candidate { outcome: CandidateOutcome::BrowserEvidence, ..*other },
            case: wider,
        }));
    }
    all.sort_by_key(|shown| shown.candidate.place());
    let found = all.len();
    let mut places = 0..CANDIDATES_EXPLAINED_MAX;
    // A partner is told of its newest touch, however many touches others have.
    let mut partners: BTreeSet<u64> = BTreeSet::new();
    let mut partner_places = 0..CANDIDATES_EXPLAINED_MAX;
    all.retain(|Shown { candidate, .. }| {
        let is_credited = candidate.outcome == CandidateOutcome::Credited;
        let is_first = partners.insert(candidate.partner);
        places.next().is_some()
            || candidate.is_named()
            || is_credited
            || (is_first && partner_places.next().is_some())
    });
    let omitted = found - all.len();
    (all, omitted)
}

fn side(trust: Trust) -> &'static str {
    match trust {
        Trust::Server => "server",
        Trust::Browser => "browser",
    }
}

fn end(key: Identifier) -> End {
    (key.kind as u64, key.digest)
}

/// Writes identifiers, each `[type, digest]`.
pub(crate) fn write_identifiers<'a>(
    writer: &mut Writer,
    identifiers: impl ExactSizeIterator<Item = &'a Identifier>,
) {
    writer.array(identifiers.len());
    for identifier in identifiers {
        write_end(writer, end(*identifier));
    }
}

fn write_end(writer: &mut Writer, (kind, digest): End) {
    writer.array(2);
    writer.uint(kind);
    writer.bin(&digest);
}

fn write_candidate(writer: &mut Writer, shown: &Shown<'_>, conversion_id: Id) {
    let candidate = &shown.candidate;
    writer.map(7);
    writer.str("click_id");
    writer.optional(candidate.click_id, |writer, id| writer.bin(&id));
    writer.str("partner");
    writer.uint(candidate.partner);
    writer.str("touch_ms");
    writer.uint(candidate.touch_ms);
    writer.str("class");
    writer.str(candidate.class.code());
    writer.str("path");
    write_path(writer, shown, conversion_id);
    writer.str("outcome");
    writer.str(candidate.outcome.code());
    writer.str("share_ppm");
    writer.uint(candidate.share_ppm);
}

/// The steps to a click: from the conversion that names it, or from one of the conversion's
/// identifiers over links to the one it was made under. A coupon has none.
fn write_path(writer: &mut Writer, shown: &Shown<'_>, conversion_id: Id) {
    let click_id = shown.candidate.click_id.unwrap_or_default();
    let click = (IdentifierType::Click as u64, click_id);
    let (hops, last) = match shown.candidate.origin {
        Origin::Coupon => (Vec::new(), None),
        Origin::Named => (Vec::new(), Some((0, conversion_id))),
        Origin::Member(place) => {
            let member = shown.case.resolution.members.get(place);
            (shown.case.resolution.path(place), member.map(|member| end(member.key)))
        }
    };
    let last = last.filter(|last| *last != click);
    writer.array(hops.len() + usize::from(last.is_some()));
    for Hop { from, to, at_ms, event_id, .. } in &hops {
        write_step(writer, end(*from), end(*to), *at_ms, event_id);
    }
    if let Some(last) = last {
        write_step(writer, last, click, shown.candidate.touch_ms, &click_id);
    }
}

/// Writes steps.
pub(crate) fn write_hops(writer: &mut Writer, hops: &[Hop]) {
    writer.array(hops.len());
    for hop in hops {
        write_step(writer, end(hop.from), end(hop.to), hop.at_ms, &hop.event_id);
    }
}

fn write_step(writer: &mut Writer, from: End, to: End, at_ms: u64, event_id: &Id) {
    writer.map(4);
    writer.str("from");
    write_end(writer, from);
    writer.str("to");
    write_end(writer, to);
    writer.str("at_ms");
    writer.uint(at_ms);
    writer.str("event_id");
    writer.bin(event_id);
}

fn write_miss(writer: &mut Writer, miss: &Candidate) {
    writer.map(5);
    writer.str("click_id");
    writer.optional(miss.click_id, |writer, id| writer.bin(&id));
    writer.str("partner");
    writer.uint(miss.partner);
    writer.str("touch_ms");
    writer.uint(miss.touch_ms);
    writer.str("outcome");
    writer.str(miss.outcome.code());
    writer.str("missed_by_ms");
    writer.uint(miss.missed_by_ms());
}
