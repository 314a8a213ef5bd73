//! The identifiers a conversion reaches: its own, and their direct neighbours.

use std::cmp::Reverse;

use crate::identity::index::{Index, Link, Moment, Node};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::MEMBERS_MAX;
use crate::record::Trust;
use crate::state::brand::Brand;
use crate::Id;

/// One step of a path, with the event that proves it. Ends are type and digest; type 0 is the
/// conversion itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) from: (u64, Id),
    pub(super) to: (u64, Id),
    pub(super) at_ms: u64,
    pub(super) event_id: Id,
}

/// An identifier reached, and the step that led to it unless it is the conversion's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) key: Identifier,
    via: Option<Hop>,
}

impl Member {
    /// The steps to a click made under this identifier.
    pub(super) fn path_to(&self, click_id: Id, touch_ms: u64) -> Vec<Hop> {
        let mut path: Vec<Hop> = self.via.iter().cloned().collect();
        let click = (IdentifierType::Click as u64, click_id);
        if end(self.key) != click {
            path.push(Hop { from: end(self.key), to: click, at_ms: touch_ms, event_id: click_id });
        }
        path
    }
}

fn end(key: Identifier) -> (u64, Id) {
    (key.kind as u64, key.digest)
}

/// All that is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Identifiers read, the conversion's own first.
    pub(super) members: Vec<Member>,
    /// Identifiers that are hubs, and were not read or not wholly crossed.
    pub(super) hubs: Vec<Identifier>,
    /// Whether any of the conversion's own identifiers had been seen.
    pub(super) is_known: bool,
    /// Whether there was more to reach.
    pub(super) is_truncated: bool,
}

impl Reach {
    pub(super) fn new(index: &Index, starts: &[Identifier], at: Moment) -> Self {
        let mut reach = Self::default();
        let mut crossed = Vec::new();
        for key in starts {
            let node = index.get(key).filter(|node| node.first_ms <= at.known_ms);
            reach.is_known |= node.is_some();
            if node.is_some_and(|node| node.is_hub(key.kind, at, Trust::Server)) {
                reach.hubs.push(*key);
                continue;
            }
            reach.members.push(Member { key: *key, via: None });
            crossed.extend(node.map(|node| (*key, node)));
        }
        for (key, node) in crossed {
            reach.cross(index, key, node, at);
        }
        reach.hubs.sort_unstable();
        reach.hubs.dedup();
        reach
    }

    /// Adds the neighbours of an identifier, those last seen first. Where browsers alone make
    /// it a hub, only what servers said is followed.
    fn cross(&mut self, index: &Index, key: Identifier, node: &Node, at: Moment) {
        let mut trust_max = Trust::Browser;
        if node.is_hub(key.kind, at, Trust::Browser) {
            self.hubs.push(key);
            trust_max = Trust::Server;
        }
        let mut links: Vec<&Link> = node.live(key.kind, at, trust_max).collect();
        links.sort_by_key(|link| (Reverse(link.last_ms), link.to, link.trust));
        for link in links {
            if self.members.iter().any(|member| member.key == link.to) {
                continue;
            }
            let Some(neighbour) = index.get(&link.to) else { continue };
            if neighbour.is_hub(link.to.kind, at, link.trust) {
                self.hubs.push(link.to);
                continue;
            }
            let mut back = neighbour.live(link.to.kind, at, link.trust);
            if !back.any(|other| other.to == key && other.trust == link.trust) {
                continue;
            }
            if self.members.len() >= MEMBERS_MAX {
                self.is_truncated = true;
                return;
            }
            let via = Hop {
                from: end(key),
                to: end(link.to),
                at_ms: link.last_ms,
                event_id: link.event_id,
            };
            self.members.push(Member { key: link.to, via: Some(via) });
        }
    }
}

/// The clicks to look at under a member, with the time they were made: those attached to it,
/// and, of a click id, the click itself.
pub(super) fn clicks_of(brand: &Brand, member: &Member, at: Moment) -> Vec<(Id, u64)> {
    let mut clicks = Vec::new();
    if member.key.kind == IdentifierType::Click {
        let click_id = member.key.digest;
        let touch_ms = brand.clicks.get(&click_id).map_or(u64::MAX, |click| click.touch_ms);
        clicks.push((click_id, touch_ms));
    }
    if let Some(node) = brand.index.get(&member.key) {
        let live = node.live_clicks(member.key.kind, at);
        clicks.extend(live.map(|click| (click.click_id, click.touch_ms)));
    }
    clicks
}
