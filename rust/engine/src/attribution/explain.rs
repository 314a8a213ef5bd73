//! Explanations, as they are stored: a MessagePack map of
//! `members` (`[type, digest]` each), `candidates` (`click_id`, `partner`, `touch_ms`, `path` of
//! `{from, to, at_ms, event_id}`, `outcome`; the newest first), `candidates_omitted`, `hubs`,
//! `cut` (always empty in this engine), `truncated`, `config_hash`.

use super::reach::{Hop, Reach};
use super::Candidate;
use crate::identity::Identifier;
use crate::limits::CANDIDATES_EXPLAINED_MAX;
use crate::msgpack::Writer;
use crate::Id;

/// Encodes an explanation. Named candidates and the credited one are always kept.
pub(super) fn encode(candidates: &[Candidate], reach: &Reach, config_hash: &Id) -> Vec<u8> {
    let is_kept = |(at, candidate): &(usize, &Candidate)| {
        *at < CANDIDATES_EXPLAINED_MAX
            || candidate.is_named
            || candidate.outcome == super::CandidateOutcome::Credited
    };
    let kept: Vec<&Candidate> =
        candidates.iter().enumerate().filter(is_kept).map(|(_, candidate)| candidate).collect();
    let mut writer = Writer::new();
    writer.map(7);
    writer.str("members");
    let mut members: Vec<Identifier> = reach.members.iter().map(|member| member.key).collect();
    members.sort_unstable();
    write_identifiers(&mut writer, &members);
    writer.str("candidates");
    writer.array(kept.len());
    for candidate in &kept {
        write_candidate(&mut writer, candidate);
    }
    writer.str("candidates_omitted");
    writer.uint((candidates.len() - kept.len()) as u64);
    writer.str("hubs");
    write_identifiers(&mut writer, &reach.hubs);
    writer.str("cut");
    writer.array(0);
    writer.str("truncated");
    writer.bool(reach.is_truncated);
    writer.str("config_hash");
    writer.bin(config_hash);
    writer.bytes
}

fn write_identifiers(writer: &mut Writer, identifiers: &[Identifier]) {
    writer.array(identifiers.len());
    for identifier in identifiers {
        write_end(writer, &(identifier.kind as u64, identifier.digest));
    }
}

fn write_end(writer: &mut Writer, end: &(u64, Id)) {
    writer.array(2);
    writer.uint(end.0);
    writer.bin(&end.1);
}

fn write_candidate(writer: &mut Writer, candidate: &Candidate) {
    writer.map(5);
    writer.str("click_id");
    writer.bin(&candidate.click_id);
    writer.str("partner");
    writer.uint(candidate.partner);
    writer.str("touch_ms");
    writer.uint(candidate.touch_ms);
    writer.str("path");
    writer.array(candidate.path.len());
    for hop in &candidate.path {
        write_hop(writer, hop);
    }
    writer.str("outcome");
    writer.str(candidate.outcome.code());
}

fn write_hop(writer: &mut Writer, hop: &Hop) {
    writer.map(4);
    writer.str("from");
    write_end(writer, &hop.from);
    writer.str("to");
    write_end(writer, &hop.to);
    writer.str("at_ms");
    writer.uint(hop.at_ms);
    writer.str("event_id");
    writer.bin(&hop.event_id);
}
