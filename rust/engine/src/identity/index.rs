//! Who was seen with whom: direct neighbours of an identifier, and the clicks made under it.
//!
//! Every observation links its identifiers in a star around the strongest, or, where that is an
//! e-mail address, around each of its digests. A link is kept at both ends, apart for each
//! trust. An identifier keeps its best 49 links, server's before browser's, then those that
//! live longest; with more than 48 alive it is a hub, which is neither read nor crossed, and
//! heals as its links age. What a browser says can make a hub only for what browsers say.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Identifier, IdentifierType};
use crate::limits::{
    IDENTIFIER_GRACE_MS, NEIGHBOURS_MAX, NODE_CLICKS_MAX, OBSERVATION_IDENTIFIERS_MAX,
};
use crate::record::Trust;
use crate::state::cow::CowMap;
use crate::Id;

/// One end of a link between two identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The neighbour.
    pub to: Identifier,
    /// Who vouches for it.
    pub trust: Trust,
    /// When it was first seen, milliseconds.
    pub first_ms: u64,
    /// When it was last seen, milliseconds.
    pub last_ms: u64,
    /// The event in which it was last seen.
    pub event_id: Id,
}

/// A click made under an identifier. Ordered by time, then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeClick {
    /// When it happened, milliseconds.
    pub touch_ms: u64,
    /// The click's id.
    pub click_id: Id,
}

/// What is known of one identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// When it was first seen, milliseconds.
    pub first_ms: u64,
    /// When it was last seen, milliseconds.
    pub last_ms: u64,
    /// Links, the best first.
    pub links: Vec<Link>,
    /// The newest clicks, the oldest first.
    pub clicks: Vec<NodeClick>,
}

/// The two times at which evidence is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the conversion happened: links must not have expired by then. Milliseconds.
    pub occurred_ms: u64,
    /// Until when evidence was known to the conversion. Milliseconds.
    pub known_ms: u64,
}

impl Link {
    fn expiry_ms(&self, from: IdentifierType) -> u64 {
        let lifetime_ms = from.lifetime_ms().min(self.to.kind.lifetime_ms());
        self.last_ms.saturating_add(lifetime_ms)
    }

    /// Whether the link, seen from an identifier of type `from`, holds at a moment.
    pub fn is_live(&self, from: IdentifierType, at: Moment) -> bool {
        self.first_ms <= at.known_ms && at.occurred_ms < self.expiry_ms(from)
    }
}

impl Node {
    /// The live links, those of servers only or all.
    pub fn live<'a>(
        &'a self,
        own: IdentifierType,
        at: Moment,
        trust_max: Trust,
    ) -> impl Iterator<Item = &'a Link> + 'a {
        self.links.iter().filter(move |link| link.trust <= trust_max && link.is_live(own, at))
    }

    /// Whether more neighbours are alive than an identifier of one person has.
    pub fn is_hub(&self, own: IdentifierType, at: Moment, trust_max: Trust) -> bool {
        let is_first = |link: &Link| {
            link.trust == Trust::Server
                || !self.live(own, at, Trust::Server).any(|other| other.to == link.to)
        };
        let neighbours = self.live(own, at, trust_max).filter(|link| is_first(link));
        neighbours.count() > NEIGHBOURS_MAX
    }

    /// The clicks still believed to be this identifier's at a moment, the newest first.
    pub fn live_clicks(
        &self,
        own: IdentifierType,
        at: Moment,
    ) -> impl Iterator<Item = &NodeClick> + '_ {
        let lifetime_ms = own.lifetime_ms();
        let is_live =
            move |click: &&NodeClick| at.occurred_ms < click.touch_ms.saturating_add(lifetime_ms);
        self.clicks.iter().rev().filter(is_live)
    }

    fn touch(&mut self, at_ms: u64) {
        self.first_ms = self.first_ms.min(at_ms);
        self.last_ms = self.last_ms.max(at_ms);
    }

    fn add_click(&mut self, click: NodeClick) {
        let at = self.clicks.partition_point(|other| *other < click);
        if self.clicks.get(at) != Some(&click) {
            self.clicks.insert(at, click);
        }
        let excess = self.clicks.len().saturating_sub(NODE_CLICKS_MAX);
        self.clicks.drain(..excess);
    }

    fn add_link(&mut self, own: IdentifierType, new: Link) {
        let same = |link: &&mut Link| link.to == new.to && link.trust == new.trust;
        if let Some(link) = self.links.iter_mut().find(same) {
            link.first_ms = link.first_ms.min(new.first_ms);
            let newest = (new.last_ms, Reverse(new.event_id));
            if newest > (link.last_ms, Reverse(link.event_id)) {
                link.last_ms = new.last_ms;
                link.event_id = new.event_id;
            }
        } else {
            self.links.push(new);
        }
        self.links.sort_by_key(|link| (link.trust, Reverse(link.expiry_ms(own)), link.to));
        self.links.truncate(NEIGHBOURS_MAX + 1);
    }
}

/// Identifiers seen together in one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The event.
    pub event_id: Id,
    /// When, milliseconds.
    pub at_ms: u64,
    /// Who vouches for it.
    pub trust: Trust,
    /// What may be linked, the strongest first.
    pub identifiers: Vec<Identifier>,
}

impl Observation {
    /// Takes from an event what may be linked: nothing when it names two customers, the
    /// strongest few otherwise; of a browser's event only the request's own visitor and click
    /// ids and at most one person.
    pub fn new(
        event_id: Id,
        at_ms: u64,
        trust: Trust,
        identifiers: impl Iterator<Item = Identifier>,
    ) -> Self {
        let mut identifiers: Vec<Identifier> = identifiers.collect();
        identifiers.sort_unstable();
        identifiers.dedup();
        let is_customer = |other: &&Identifier| other.kind == IdentifierType::Customer;
        if identifiers.iter().filter(is_customer).count() > 1 {
            identifiers.clear();
        }
        if trust == Trust::Browser {
            let mut persons = 0;
            identifiers.retain(|identifier| {
                persons += usize::from(identifier.kind.is_person());
                match identifier.kind {
                    IdentifierType::Device => false,
                    kind => !kind.is_person() || persons == 1,
                }
            });
        }
        identifiers.truncate(OBSERVATION_IDENTIFIERS_MAX);
        Self { event_id, at_ms, trust, identifiers }
    }

    /// How many of the strongest identifiers are linked to all that follow them. A plain address
    /// comes as two digests, of which a later caller may know either.
    fn anchors(&self) -> usize {
        let Some(strongest) = self.identifiers.first() else { return 0 };
        match strongest.kind {
            IdentifierType::Email => {
                self.identifiers.iter().filter(|other| other.kind == strongest.kind).count()
            }
            _ => 1,
        }
    }
}

/// All identifiers of a brand.
#[derive(Clone, Debug, Default)]
pub struct Index {
    nodes: CowMap<Identifier, Node>,
    /// When to look whether an identifier has expired; never later than it does.
    checks: BTreeSet<(u64, Identifier)>,
}

impl Index {
    /// Rebuilds the order of expiry from the identifiers.
    pub fn from_nodes(nodes: CowMap<Identifier, Node>) -> Self {
        let check = |(key, node): (&Identifier, &Node)| (expiry_ms(*key, node), *key);
        let checks = nodes.sorted().into_iter().map(check).collect();
        Self { nodes, checks }
    }

    /// The identifiers alone, as a snapshot takes them.
    pub fn nodes(&self) -> &CowMap<Identifier, Node> {
        &self.nodes
    }

    /// What is known of an identifier.
    pub fn get(&self, key: &Identifier) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// Takes an observation in: links its identifiers, and puts a click under each.
    pub fn observe(&mut self, observation: &Observation, click: Option<NodeClick>) {
        for key in &observation.identifiers {
            self.node(*key, observation.at_ms, |node| {
                if let Some(click) = click {
                    node.add_click(click);
                }
            });
        }
        let mut others = observation.identifiers.as_slice();
        for _ in 0..observation.anchors() {
            let Some((anchor, rest)) = others.split_first() else { return };
            for other in rest {
                self.link(*anchor, *other, observation);
                self.link(*other, *anchor, observation);
            }
            others = rest;
        }
    }

    /// Forgets an identifier and every link to it.
    pub fn erase(&mut self, key: &Identifier) {
        let Some(node) = self.nodes.remove(key) else { return };
        for link in &node.links {
            if let Some(neighbour) = self.nodes.get_mut(&link.to) {
                neighbour.links.retain(|back| back.to != *key);
            }
        }
    }

    /// Drops the identifiers that have expired by `now_ms`.
    pub fn sweep(&mut self, now_ms: u64) {
        while let Some((check_ms, key)) = self.checks.first().copied() {
            if check_ms > now_ms {
                return;
            }
            self.checks.pop_first();
            let Some(node) = self.nodes.get(&key) else { continue };
            let expiry_ms = expiry_ms(key, node);
            if expiry_ms > now_ms {
                self.checks.insert((expiry_ms, key));
            } else {
                self.nodes.remove(&key);
            }
        }
    }

    fn node(&mut self, key: Identifier, at_ms: u64, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.touch(at_ms);
            change(node);
            return;
        }
        let mut node = Node { first_ms: at_ms, last_ms: at_ms, ..Node::default() };
        change(&mut node);
        self.checks.insert((expiry_ms(key, &node), key));
        self.nodes.insert(key, node);
    }

    fn link(&mut self, from: Identifier, to: Identifier, observation: &Observation) {
        let Some(node) = self.nodes.get_mut(&from) else { return };
        let link = Link {
            to,
            trust: observation.trust,
            first_ms: observation.at_ms,
            last_ms: observation.at_ms,
            event_id: observation.event_id,
        };
        node.add_link(from.kind, link);
    }
}

fn expiry_ms(key: Identifier, node: &Node) -> u64 {
    node.last_ms.saturating_add(key.kind.lifetime_ms()).saturating_add(IDENTIFIER_GRACE_MS)
}
