//! Links and their ends: made, improved, let go.

use std::cmp::Reverse;

use super::rows::{End, LinkRow, Node, INLINE_ENDS};
use super::{Graph, Link, Observation, Store, Use};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::NEIGHBOURS_MAX;
use crate::record::Trust;
use crate::state::arena::Lists;
use crate::state::chunks::at;

/// Ends kept for each trust: with the last one alive there is one neighbour too many.
const ENDS_KEPT: usize = NEIGHBOURS_MAX + 1;

/// Between when an identifier is sure to be a hub: all of its 49 links of servers are known from
/// `known_ms` on, and none dies before `until_ms`. Links only get better, so it stays true.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(super) until_ms: u64,
    pub(super) known_ms: u64,
}

/// How good a link is to the identifier that keeps its end; the worst is let go first.
type Rank = (u64, Reverse<Identifier>);

impl Graph {
    /// The links whose ends an identifier keeps: by trust, then those that live longest, then
    /// by the neighbour's key.
    pub fn links_of(&self, key: &Identifier) -> Vec<Link> {
        let Some(own) = self.store.find(key) else { return Vec::new() };
        let mut links: Vec<(Rank, Link)> = Vec::new();
        for end in self.store.ends_of(own) {
            let (Some(row), Some(node)) =
                (self.store.links.get(end.link), self.store.known(end.to))
            else {
                continue;
            };
            let link = Link {
                to: node.key(),
                trust: row.trust(),
                first_known_ms: row.first_known.get(),
                last_ms: row.last.get(),
                event_id: row.event_id,
                is_there: row.is_there(),
            };
            links.push((self.store.rank(own, *end), link));
        }
        links.sort_by_key(|(rank, link)| (link.trust, Reverse(*rank)));
        links.into_iter().map(|(_, link)| link).collect()
    }
}

impl Store {
    /// The row of an identifier that has not been forgotten.
    #[inline]
    pub(super) fn known(&self, row: u32) -> Option<&Node> {
        self.nodes.get(row).filter(|node| node.usage == Use::Known)
    }

    /// The ends an identifier keeps, in no order that matters.
    #[inline]
    pub(super) fn ends_of(&self, row: u32) -> &[End] {
        self.nodes.get(row).map_or(&[], |node| ends_in(&self.ends, node))
    }

    /// Takes in that two identifiers were seen together.
    pub(super) fn link(&mut self, a: u32, b: u32, seen: &Observation) {
        let Observation { event_id, accept_ms, at_ms, trust, .. } = *seen;
        let found = self.link_between(a, b, trust).or_else(|| self.link_between(b, a, trust));
        let Some(link) = found else {
            self.add_link(a, b, LinkRow::new(trust, event_id, accept_ms, at_ms));
            return;
        };
        let Some(known) = self.links.get(link) else { return };
        let mut row = *known;
        row.see(event_id, accept_ms, at_ms);
        if row != *known {
            self.links.rows.set(at(link), row);
        }
        if !row.is_there() {
            self.offer(a, End { to: b, link });
            self.offer(b, End { to: a, link });
        }
    }

    fn add_link(&mut self, a: u32, b: u32, row: LinkRow) {
        let trust = row.trust();
        let link = self.links.insert(row);
        let [to_b, to_a] = [End { to: b, link }, End { to: a, link }];
        if self.has_room(a, trust) && self.has_room(b, trust) {
            self.push_end(a, to_b);
            self.push_end(b, to_a);
            if let Some(row) = self.links.get_mut(link) {
                row.set_kept(a, b, true);
                row.set_kept(b, a, true);
            }
            return;
        }
        self.offer(a, to_b);
        self.offer(b, to_a);
        if self.links.get(link).is_some_and(|row| !row.is_kept(a, b) && !row.is_kept(b, a)) {
            self.links.remove(link);
        }
    }

    fn link_between(&self, own: u32, to: u32, trust: Trust) -> Option<u32> {
        let is_it = |end: &&End| {
            end.to == to && self.links.get(end.link).is_some_and(|row| row.trust() == trust)
        };
        self.ends_of(own).iter().find(is_it).map(|end| end.link)
    }

    /// The ends an identifier keeps of links of one trust.
    fn ends_of_trust(&self, own: u32, trust: Trust) -> impl Iterator<Item = &End> {
        let is_it =
            move |end: &&End| self.links.get(end.link).is_some_and(|row| row.trust() == trust);
        self.ends_of(own).iter().filter(is_it)
    }

    fn has_room(&self, own: u32, trust: Trust) -> bool {
        self.ends_of(own).len() < ENDS_KEPT || self.ends_of_trust(own, trust).count() < ENDS_KEPT
    }

    /// Has an identifier keep an end it does not keep, if there is room or a worse one to let go.
    fn offer(&mut self, own: u32, end: End) {
        let Some(row) = self.links.get(end.link) else { return };
        let trust = row.trust();
        if row.is_kept(own, end.to) {
            return;
        }
        if !self.has_room(own, trust) {
            let worst = self.ends_of_trust(own, trust).min_by_key(|end| self.rank(own, **end));
            let Some(worst) = worst.copied() else { return };
            if self.rank(own, end) <= self.rank(own, worst) {
                return;
            }
            self.drop_end(own, worst);
        }
        self.push_end(own, end);
        self.mark(own, end, true);
    }

    /// Takes an end from an identifier; a link that no end is kept of is gone.
    pub(super) fn drop_end(&mut self, own: u32, end: End) {
        let rest: Vec<End> =
            self.ends_of(own).iter().copied().filter(|other| *other != end).collect();
        self.set_ends(own, &rest);
        self.crowds.remove(&own);
        self.mark(own, end, false);
        let is_gone = |row: &LinkRow| !row.is_kept(own, end.to) && !row.is_kept(end.to, own);
        if self.links.get(end.link).is_some_and(is_gone) {
            self.links.remove(end.link);
        }
    }

    /// Notes whether an identifier keeps an end, and of how many links it has let go of a
    /// neighbour still keeps the other end.
    fn mark(&mut self, own: u32, end: End, kept: bool) {
        let Some(row) = self.links.get_mut(end.link) else { return };
        let was_kept = row.is_kept(own, end.to);
        let is_other_kept = row.is_kept(end.to, own);
        row.set_kept(own, end.to, kept);
        if was_kept == kept {
            return;
        }
        let (holder, grows) = if is_other_kept { (own, !kept) } else { (end.to, kept) };
        let count = self.let_go.entry(holder).or_default();
        *count = if grows { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.let_go.remove(&holder);
            self.free_forgotten(holder);
        }
    }

    /// How good a link is to an identifier that keeps its end. One to a forgotten identifier is
    /// the worst.
    fn rank(&self, own: u32, end: End) -> Rank {
        let last_ms = self.links.get(end.link).map_or(0, |row| row.last.get());
        let (Some(own), Some(to)) = (self.known(own), self.known(end.to)) else {
            return (0, Reverse(Identifier { kind: IdentifierType::Visitor, digest: [0xff; 16] }));
        };
        (expiry_ms(last_ms, own, to), Reverse(to.key()))
    }

    fn push_end(&mut self, own: u32, end: End) {
        let mut ends = self.ends_of(own).to_vec();
        ends.push(end);
        self.set_ends(own, &ends);
        if ends.len() >= ENDS_KEPT {
            self.note_crowd(own);
        }
    }

    /// Notes until when an identifier is sure to be a hub, if it keeps that many links.
    pub(super) fn note_crowd(&mut self, own: u32) {
        let mut crowd = Crowd { until_ms: u64::MAX, known_ms: 0 };
        let mut count = 0;
        for end in self.ends_of_trust(own, Trust::Server) {
            let (Some(link), Some(from), Some(to)) =
                (self.links.get(end.link), self.known(own), self.known(end.to))
            else {
                continue;
            };
            count += 1;
            crowd.until_ms = crowd.until_ms.min(expiry_ms(link.last.get(), from, to));
            crowd.known_ms = crowd.known_ms.max(link.first_known.get());
        }
        if count >= ENDS_KEPT {
            self.crowds.insert(own, crowd);
        }
    }

    pub(super) fn set_ends(&mut self, own: u32, ends: &[End]) {
        let Some(node) = self.nodes.get(own) else { return };
        let listed = |len: usize| if len > INLINE_ENDS { len } else { 0 };
        let (old_len, new_len) = (listed(usize::from(node.ends_len)), listed(ends.len()));
        let place = node.ends;
        let place = self.ends.replace(place, old_len, ends.get(..new_len).unwrap_or_default());
        let Some(node) = self.nodes.get_mut(own) else { return };
        node.ends = place;
        node.ends_len = u8::try_from(ends.len()).unwrap_or(u8::MAX);
        let mut inline = [End::default(); INLINE_ENDS];
        if new_len == 0 {
            for (place, end) in inline.iter_mut().zip(ends) {
                *place = *end;
            }
        }
        node.inline = inline;
    }
}

#[inline]
pub(super) fn ends_in<'a>(lists: &'a Lists<End>, node: &'a Node) -> &'a [End] {
    let len = usize::from(node.ends_len);
    if len <= INLINE_ENDS {
        node.inline.get(..len).unwrap_or_default()
    } else {
        lists.get(node.ends, len)
    }
}

/// When a link between two identifiers dies, last seen at a time.
#[inline]
pub(super) fn expiry_ms(last_ms: u64, a: &Node, b: &Node) -> u64 {
    last_ms.saturating_add(a.kind().lifetime_ms().min(b.kind().lifetime_ms()))
}
