//! The walk: breadth first over usable links, bounded in identifiers and in steps.

use std::cmp::Reverse;

use super::conflict;
use super::ends::{expiry_ms, Crowd};
use super::question::{Hop, Member, Moment, Resolution, Traversal};
use super::rows::{End, LinkRow, Node};
use super::{Graph, Store};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::NEIGHBOURS_MAX;
use crate::record::Trust;

/// An identifier met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) key: Identifier,
    /// Its row; none of a start that nothing is known of.
    pub(super) row: Option<u32>,
    /// The place of the one it was met from, and the link.
    pub(super) via: Option<(usize, u32)>,
    steps: usize,
}

/// A walk in the making; used again and again, it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    pub(super) met: Vec<Met>,
    pub(super) starts: usize,
    pub(super) hubs: Vec<Identifier>,
    pub(super) is_truncated: bool,
    next: Vec<(Reverse<u64>, Identifier, Trust, End)>,
    customer: Option<Identifier>,
    /// Whether a second customer was met.
    pub(super) is_conflict: bool,
    /// What was found of identifiers with many links: whether they are hubs, by row and trust.
    verdicts: Vec<(u32, Trust, bool)>,
}

impl Walk {
    fn clear(&mut self) {
        self.met.clear();
        self.hubs.clear();
        self.verdicts.clear();
        (self.starts, self.is_truncated) = (0, false);
        (self.customer, self.is_conflict) = (None, false);
    }

    fn meet(&mut self, met: Met) {
        if met.key.kind == IdentifierType::Customer {
            self.is_conflict |= self.customer.is_some_and(|customer| customer != met.key);
            self.customer = self.customer.or(Some(met.key));
        }
        self.met.push(met);
    }

    fn has_met(&self, row: u32) -> bool {
        self.met.iter().any(|met| met.row == Some(row))
    }

    /// Everything met, with its row if anything is known of it.
    pub(crate) fn met(&self) -> impl Iterator<Item = (Option<u32>, Identifier)> + '_ {
        self.met.iter().map(|met| (met.row, met.key))
    }

    /// Whether two customers were met, so that something has to be cut.
    pub(crate) fn needs_cut(&self) -> bool {
        self.is_conflict
    }
}

/// One question: the graph, the moment, and how to walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) store: &'a Store,
    pub(super) at: Moment,
    pub(super) rules: &'a Traversal,
}

impl Graph {
    /// Who belongs to the identifiers of a conversion.
    pub fn resolve(&self, starts: &[Identifier], at: Moment, rules: &Traversal) -> Resolution {
        let question = Question { store: &self.store, at, rules };
        let mut walk = Walk::default();
        let (kept, second) = one_customer(starts);
        question.walk(kept.iter().map(|key| (*key, self.store.find(key))), &mut walk);
        let is_known = kept.iter().chain(&second).any(|key| question.is_known(key));
        let mut answer = if walk.is_conflict {
            conflict::resolve(&question, &walk)
        } else {
            Resolution { members: question.members(&walk), ..Resolution::default() }
        };
        let first = kept.first();
        let refused = second.iter().filter_map(|to| Some((to, first?))).map(|(to, from)| Hop {
            from: *from,
            to: *to,
            at_ms: at.occurred_ms,
            event_id: [0; 16],
            trust: rules.trust,
        });
        answer.cut.extend(refused);
        answer.cut.sort_by_key(|hop| (hop.from, hop.to, hop.trust));
        answer.hubs = walk.hubs;
        answer.hubs.sort_unstable();
        answer.hubs.dedup();
        answer.is_known = is_known;
        answer.is_truncated = walk.is_truncated;
        answer
    }

    /// The neighbours an identifier has by live links, whoever vouches for them.
    pub(crate) fn neighbours_at(&self, key: &Identifier, at: Moment) -> Vec<Identifier> {
        let rules = Traversal::new(Trust::Browser);
        let question = Question { store: &self.store, at, rules: &rules };
        let Some((row, own)) =
            self.store.find(key).and_then(|row| Some((row, self.store.known(row)?)))
        else {
            return Vec::new();
        };
        let ends = self.store.ends_of(row).iter();
        ends.filter_map(|end| question.live(own, *end).map(|(_, to)| to.key())).collect()
    }

    /// Walks, from starts with their rows, without making an answer of it.
    pub(crate) fn walk(
        &self,
        starts: impl Iterator<Item = (Identifier, Option<u32>)>,
        at: Moment,
        rules: &Traversal,
        walk: &mut Walk,
    ) {
        Question { store: &self.store, at, rules }.walk(starts, walk);
    }
}

/// The starts in order, and the customers among them but the first.
fn one_customer(starts: &[Identifier]) -> (Vec<Identifier>, Vec<Identifier>) {
    let mut kept = starts.to_vec();
    kept.sort_unstable();
    kept.dedup();
    let customers = kept.iter().filter(|key| key.kind == IdentifierType::Customer).count();
    let second = kept.drain(1.min(customers)..customers).collect();
    (kept, second)
}

impl Question<'_> {
    fn is_known(&self, key: &Identifier) -> bool {
        let node = self.store.find(key).and_then(|row| self.store.known(row));
        node.is_some_and(|node| u64::from(node.first_known_s) * 1000 <= self.at.known_ms)
    }

    /// Meets what can be met from starts that are in order and hold one customer at most.
    pub(super) fn walk(
        &self,
        starts: impl Iterator<Item = (Identifier, Option<u32>)>,
        walk: &mut Walk,
    ) {
        walk.clear();
        for (key, row) in starts {
            if row.is_some_and(|row| self.judge(row, Trust::Server, walk)) {
                walk.hubs.push(key);
                continue;
            }
            walk.meet(Met { key, row, via: None, steps: 0 });
        }
        walk.starts = walk.met.len();
        let mut place = 0;
        while let Some(met) = walk.met.get(place).copied() {
            if let Some(row) = met.row.filter(|_| met.steps < self.rules.hops_max) {
                self.cross(row, place, met.steps + 1, walk);
            }
            if walk.is_truncated {
                return;
            }
            place += 1;
        }
    }

    /// Meets the neighbours of an identifier.
    fn cross(&self, row: u32, place: usize, steps: usize, walk: &mut Walk) {
        let Some(own) = self.store.known(row) else { return };
        let trust = self.crossed_by(row, own, walk);
        let mut next = std::mem::take(&mut walk.next);
        next.clear();
        for end in self.store.ends_of(row) {
            if walk.met.get(place).and_then(|met| met.via).is_some_and(|(_, via)| via == end.link) {
                continue;
            }
            if let Some((link, to)) = self.live(own, *end).filter(|(link, _)| link.trust() <= trust)
            {
                next.push((Reverse(link.last.get()), to.key(), link.trust(), *end));
            }
        }
        if next.len() > 1 {
            next.sort_unstable_by_key(|(last, key, trust, end)| (*last, *key, *trust, end.link));
        }
        for (_, key, trust, end) in &next {
            if walk.has_met(end.to) {
                continue;
            }
            if self.judge(end.to, *trust, walk) {
                walk.hubs.push(*key);
                continue;
            }
            if !self.store.links.get(end.link).is_some_and(LinkRow::is_there) {
                continue;
            }
            if walk.met.len() >= self.rules.members_max {
                walk.is_truncated = true;
                break;
            }
            let via = Some((place, end.link));
            walk.meet(Met { key: *key, row: Some(end.to), via, steps });
        }
        walk.next = next;
    }

    /// By whose links an identifier is crossed; it is named when browsers alone make it a hub.
    fn crossed_by(&self, row: u32, own: &Node, walk: &mut Walk) -> Trust {
        if self.rules.trust == Trust::Browser && self.judge(row, Trust::Browser, walk) {
            walk.hubs.push(own.key());
            return Trust::Server;
        }
        self.rules.trust
    }

    /// A link and the neighbour, if the link was known and had not expired.
    #[inline]
    pub(super) fn live(&self, own: &Node, end: End) -> Option<(&LinkRow, &Node)> {
        let link = self.store.links.get(end.link)?;
        let to = self.store.known(end.to)?;
        let is_live = link.first_known.get() <= self.at.known_ms
            && self.at.occurred_ms < expiry_ms(link.last.get(), own, to);
        is_live.then_some((link, to))
    }

    /// Whether an identifier is a hub, found out once in a walk.
    #[inline]
    fn judge(&self, row: u32, trust: Trust, walk: &mut Walk) -> bool {
        if !self.may_be_hub(row) {
            return false;
        }
        let known = walk.verdicts.iter().find(|(of, by, _)| *of == row && *by == trust);
        if let Some((_, _, is_hub)) = known {
            return *is_hub;
        }
        let is_hub = self.is_hub(row, trust);
        walk.verdicts.push((row, trust, is_hub));
        is_hub
    }

    fn neighbours_max(&self) -> usize {
        self.rules.neighbours_max.min(NEIGHBOURS_MAX)
    }

    #[inline]
    fn may_be_hub(&self, row: u32) -> bool {
        self.store.ends_of(row).len() > self.neighbours_max()
    }

    /// Whether an identifier has too many neighbours by links of a trust or better.
    pub(super) fn is_hub(&self, row: u32, trust: Trust) -> bool {
        let Some(own) = self.store.known(row).filter(|_| self.may_be_hub(row)) else {
            return false;
        };
        let Moment { occurred_ms, known_ms } = self.at;
        let is_sure = |crowd: &Crowd| occurred_ms < crowd.until_ms && crowd.known_ms <= known_ms;
        if self.store.crowds.get(&row).is_some_and(is_sure) {
            return true;
        }
        let mut neighbours: Vec<u32> = Vec::with_capacity(2 * (NEIGHBOURS_MAX + 1));
        for end in self.store.ends_of(row) {
            let link = self.live(own, *end).map(|(link, _)| link.trust());
            // Links of two trusts may lead to one neighbour.
            let is_new = trust == Trust::Server || !neighbours.contains(&end.to);
            if link.is_some_and(|by| by <= trust) && is_new {
                neighbours.push(end.to);
            }
            if neighbours.len() > self.neighbours_max() {
                return true;
            }
        }
        false
    }

    /// Everything met, as members.
    fn members(&self, walk: &Walk) -> Vec<Member> {
        let as_member = |met: &Met| Member {
            key: met.key,
            parent: met.via.map(|(place, _)| place),
            via: met.via.and_then(|(place, link)| {
                let from = walk.met.get(place)?.key;
                self.hop(from, met.key, link)
            }),
            row: met.row,
        };
        walk.met.iter().map(as_member).collect()
    }

    pub(super) fn hop(&self, from: Identifier, to: Identifier, link: u32) -> Option<Hop> {
        let row = self.store.links.get(link)?;
        Some(Hop { from, to, at_ms: row.last.get(), event_id: row.event_id, trust: row.trust() })
    }
}
