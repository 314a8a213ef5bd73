//! The rules of the identity graph (docs/identity.md), written for clarity alone: it keeps every
//! observation for ever, and works the links out anew for each question.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use headwater_engine::identity::{Identifier, IdentifierType as Type};
use headwater_engine::record::Trust;
use headwater_engine::Id;

use crate::common::DAY;

/// Links an identifier keeps for each trust.
pub const KEPT_MAX: usize = 49;
const IDENTIFIERS_MAX: usize = 8;

/// An event, with its identifiers as it named them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub event_id: Id,
    pub accept_ms: u64,
    pub at_ms: u64,
    pub trust: Trust,
    pub identifiers: Vec<Identifier>,
}

/// What happened to a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Seen(Seen),
    Erased(Identifier),
}

/// A question and its bounds.
#[derive(Clone, Debug)]
pub struct Question {
    pub starts: Vec<Identifier>,
    pub occurred_ms: u64,
    pub known_ms: u64,
    pub trust: Trust,
    pub members_max: usize,
    pub hops_max: usize,
    pub neighbours_max: usize,
    pub is_isolating: bool,
}

/// One step of a path, or one that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub from: Identifier,
    pub to: Identifier,
    pub trust: Trust,
    pub at_ms: u64,
    pub event_id: Id,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The members in the order they were met, each but a start with the step that met it.
    pub members: Vec<(Identifier, Option<Step>)>,
    pub hubs: BTreeSet<Identifier>,
    pub cut: BTreeSet<Step>,
    pub is_known: bool,
    pub is_truncated: bool,
    /// Whether something lay further away than may be crossed.
    pub is_cut_short: bool,
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    pub first_known_ms: u64,
    pub last_ms: u64,
    pub event_id: Id,
}

/// The whole history.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub history: Vec<Entry>,
}

pub fn lifetime_ms(kind: Type) -> u64 {
    match kind {
        Type::Customer | Type::Profile | Type::Email | Type::Phone | Type::Click => 400 * DAY,
        Type::Device => 180 * DAY,
        Type::ExternalClick | Type::Visitor => 90 * DAY,
    }
}

pub fn expiry_ms(from: Identifier, to: Identifier, last_ms: u64) -> u64 {
    last_ms + lifetime_ms(from.kind).min(lifetime_ms(to.kind))
}

impl Seen {
    /// What of the event becomes known, the strongest first.
    pub fn linkable(&self) -> Vec<Identifier> {
        let named: BTreeSet<Identifier> = self.identifiers.iter().copied().collect();
        if named.iter().filter(|key| key.kind == Type::Customer).count() > 1 {
            return Vec::new();
        }
        let person = named.iter().copied().find(|key| key.kind <= Type::Phone);
        let may_stay = |key: &Identifier| match self.trust {
            Trust::Server => true,
            Trust::Browser if key.kind <= Type::Phone => Some(*key) == person,
            Trust::Browser => key.kind != Type::Device,
        };
        let taken: Vec<Identifier> =
            named.into_iter().filter(may_stay).take(IDENTIFIERS_MAX).collect();
        match taken.as_slice() {
            [only] if only.kind == Type::Click => Vec::new(),
            _ => taken,
        }
    }

    /// The pairs that the event links, the stronger of each first.
    pub fn pairs(&self) -> Vec<(Identifier, Identifier)> {
        let keys = self.linkable();
        let Some(strongest) = keys.first() else { return Vec::new() };
        let is_anchor = |key: &Identifier| {
            key == strongest || key.kind == Type::Email && key.kind == strongest.kind
        };
        let pairs = keys
            .iter()
            .enumerate()
            .flat_map(|(at, key)| keys.iter().skip(at + 1).map(move |other| (*key, *other)));
        pairs.filter(|(key, _)| is_anchor(key)).collect()
    }
}

impl Oracle {
    pub fn see(&mut self, seen: Seen) {
        self.history.push(Entry::Seen(seen));
    }

    pub fn erase(&mut self, key: Identifier) {
        self.history.push(Entry::Erased(key));
    }

    /// Who is joined to whom, of all that was seen and not erased since.
    pub fn world(&self) -> World {
        let mut world = World::default();
        for entry in &self.history {
            match entry {
                Entry::Seen(seen) => world.see(seen),
                Entry::Erased(key) => world.forget(*key),
            }
        }
        world
    }

    pub fn answer(&self, question: &Question) -> Answer {
        self.world().answer(question)
    }
}

/// Every link ever seen, without bound, and what an identifier keeps of its own.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub first_known: BTreeMap<Identifier, u64>,
    pub last: BTreeMap<Identifier, u64>,
    pub ties: BTreeMap<(Identifier, Trust), BTreeMap<Identifier, Tie>>,
}

impl World {
    fn see(&mut self, seen: &Seen) {
        for key in seen.linkable() {
            let first = self.first_known.entry(key).or_insert(u64::MAX);
            *first = seen.accept_ms.min(*first);
            let last = self.last.entry(key).or_insert(0);
            *last = seen.at_ms.max(*last);
        }
        for (one, other) in seen.pairs() {
            for (from, to) in [(one, other), (other, one)] {
                let new = Tie {
                    first_known_ms: seen.accept_ms,
                    last_ms: seen.at_ms,
                    event_id: seen.event_id,
                };
                let ties = self.ties.entry((from, seen.trust)).or_default();
                let tie = ties.entry(to).or_insert(new);
                tie.first_known_ms = tie.first_known_ms.min(new.first_known_ms);
                let rank = |tie: &Tie| (tie.last_ms, Reverse(tie.event_id));
                if rank(&new) > rank(tie) {
                    (tie.last_ms, tie.event_id) = (new.last_ms, new.event_id);
                }
            }
        }
    }

    fn forget(&mut self, key: Identifier) {
        self.first_known.remove(&key);
        self.last.remove(&key);
        self.ties.retain(|(from, _), _| *from != key);
        for ties in self.ties.values_mut() {
            ties.remove(&key);
        }
    }

    /// The best ends an identifier keeps for one trust, in their order.
    pub fn kept(&self, key: Identifier, trust: Trust) -> Vec<(Identifier, Tie)> {
        let ties = self.ties.get(&(key, trust)).into_iter().flatten();
        let mut ties: Vec<(Identifier, Tie)> = ties.map(|(to, tie)| (*to, *tie)).collect();
        ties.sort_by_key(|(to, tie)| (Reverse(expiry_ms(key, *to, tie.last_ms)), *to));
        ties.truncate(KEPT_MAX);
        ties
    }

    pub fn keeps(&self, key: Identifier, to: Identifier, trust: Trust) -> bool {
        self.kept(key, trust).iter().any(|(other, _)| *other == to)
    }
}

impl World {
    /// Answers a question: rules 1 to 5 of the walk.
    pub fn answer(&self, question: &Question) -> Answer {
        Case { world: self, question }.answer()
    }
}

/// One identifier met on a walk.
#[derive(Clone, Copy, Debug)]
struct Met {
    key: Identifier,
    via: Option<Step>,
    steps: usize,
}

#[derive(Default)]
struct Walk {
    met: Vec<Met>,
    hubs: BTreeSet<Identifier>,
    is_truncated: bool,
    is_cut_short: bool,
}

impl Walk {
    fn has(&self, key: Identifier) -> bool {
        self.met.iter().any(|met| met.key == key)
    }
}

struct Case<'a> {
    world: &'a World,
    question: &'a Question,
}

impl Case<'_> {
    /// What an identifier keeps of a trust, where it is known and unexpired at the question.
    fn own(&self, key: Identifier, trust: Trust) -> Vec<Step> {
        let kept = self.world.kept(key, trust).into_iter();
        let holds = |(to, tie): &(Identifier, Tie)| {
            tie.first_known_ms <= self.question.known_ms
                && self.question.occurred_ms < expiry_ms(key, *to, tie.last_ms)
        };
        let step = |(to, tie): (Identifier, Tie)| Step {
            from: key,
            to,
            trust,
            at_ms: tie.last_ms,
            event_id: tie.event_id,
        };
        kept.filter(holds).map(step).collect()
    }

    fn trusts(&self, worst: Trust) -> Vec<Trust> {
        [Trust::Server, Trust::Browser].into_iter().filter(|trust| *trust <= worst).collect()
    }

    fn is_hub(&self, key: Identifier, trust: Trust) -> bool {
        let trusts = self.trusts(trust).into_iter();
        let neighbours: BTreeSet<Identifier> =
            trusts.flat_map(|trust| self.own(key, trust)).map(|step| step.to).collect();
        neighbours.len() > self.question.neighbours_max
    }

    /// The links of an identifier that it may be left by, in the order they are taken; whether
    /// the neighbour keeps its end, or may be entered, is not looked at.
    fn ways(&self, key: Identifier) -> Vec<Step> {
        let trusts = self.trusts(self.question.trust).into_iter();
        let mut ways: Vec<Step> = trusts
            .filter(|trust| !self.is_hub(key, *trust))
            .flat_map(|trust| self.own(key, trust))
            .collect();
        ways.sort_by_key(|step| (Reverse(step.at_ms), step.to, step.trust));
        ways
    }

    fn is_there(&self, step: &Step) -> bool {
        self.own(step.to, step.trust).iter().any(|back| back.to == step.from)
    }

    /// Breadth first, in the order of rule 2, over the links that `may_cross`.
    fn walk(
        &self,
        starts: &[Identifier],
        hops_max: usize,
        may_cross: impl Fn(&Step) -> bool,
    ) -> Walk {
        let mut walk = Walk::default();
        for key in starts {
            walk.met.push(Met { key: *key, via: None, steps: 0 });
        }
        let mut at = 0;
        while let Some(met) = walk.met.get(at).copied() {
            at += 1;
            if met.steps < hops_max && self.is_hub(met.key, self.question.trust) {
                walk.hubs.insert(met.key);
            }
            for way in self.ways(met.key) {
                if walk.has(way.to) || !may_cross(&way) {
                    continue;
                }
                if met.steps == hops_max {
                    walk.is_cut_short = true;
                } else if self.is_hub(way.to, way.trust) {
                    walk.hubs.insert(way.to);
                } else if self.is_there(&way) {
                    if walk.met.len() >= self.question.members_max {
                        walk.is_truncated = true;
                        return walk;
                    }
                    walk.met.push(Met { key: way.to, via: Some(way), steps: met.steps + 1 });
                }
            }
        }
        walk
    }

    fn answer(&self) -> Answer {
        let named: BTreeSet<Identifier> = self.question.starts.iter().copied().collect();
        let is_known = named.iter().any(|key| {
            let first_ms = self.world.first_known.get(key);
            // Kept in whole seconds: it only tells two reasons apart.
            first_ms.is_some_and(|ms| ms / 1000 * 1000 <= self.question.known_ms)
        });
        let (mut starts, mut hubs, mut cut) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut customer = None;
        for key in named {
            let first = *customer.get_or_insert(key);
            if key.kind == Type::Customer && key != first {
                let (trust, at_ms) = (self.question.trust, self.question.occurred_ms);
                cut.insert(Step { from: first, to: key, trust, at_ms, event_id: [0; 16] });
            } else if self.is_hub(key, Trust::Server) {
                hubs.insert(key);
            } else {
                starts.push(key);
            }
        }
        let walk = self.walk(&starts, self.question.hops_max, |_| true);
        hubs.extend(&walk.hubs);
        let customers = walk.met.iter().filter(|met| met.key.kind == Type::Customer).count();
        let (met, is_truncated, is_cut_short) = (walk.met, walk.is_truncated, walk.is_cut_short);
        let members = if customers < 2 {
            met
        } else {
            let met: Vec<Identifier> = met.into_iter().map(|met| met.key).collect();
            let starts: Vec<Identifier> =
                starts.into_iter().filter(|key| met.contains(key)).collect();
            let (refused, starts) = if self.question.is_isolating {
                self.isolate(&met, &starts)
            } else {
                (self.last_auth(&met, &starts), starts)
            };
            let stays = |step: &Step| {
                met.contains(&step.to) && !refused.contains(step) && !refused.contains(&back(*step))
            };
            let again = self.walk(&starts, usize::MAX, stays);
            cut.extend(refused);
            again.met
        };
        let members = members.into_iter().map(|met| (met.key, met.via)).collect();
        Answer { members, hubs, cut, is_known, is_truncated, is_cut_short }
    }

    /// The links that a walk could cross between identifiers that were met, the smaller key
    /// first.
    fn links_among(&self, met: &[Identifier]) -> Vec<Step> {
        let ways = met.iter().flat_map(|key| self.ways(*key));
        ways.filter(|way| {
            way.from < way.to
                && met.contains(&way.to)
                && !self.is_hub(way.to, way.trust)
                && self.is_there(way)
        })
        .collect()
    }

    /// Rule 4, the newest login: what is refused.
    fn last_auth(&self, met: &[Identifier], starts: &[Identifier]) -> BTreeSet<Step> {
        let mut groups: Vec<BTreeSet<Identifier>> =
            vec![starts.iter().copied().collect::<BTreeSet<_>>()];
        let others = met.iter().filter(|key| !starts.contains(key));
        groups.extend(others.map(|key| BTreeSet::from([*key])));
        let mut links = self.links_among(met);
        links.sort_by_key(|link| {
            let strength = link.from.kind as u64 + link.to.kind as u64;
            (link.trust, Reverse(link.at_ms), strength, link.from, link.to)
        });
        let mut refused = BTreeSet::new();
        for link in links {
            let (joined, apart): (Vec<_>, Vec<_>) = groups
                .into_iter()
                .partition(|group| group.contains(&link.from) || group.contains(&link.to));
            groups = apart;
            let together: BTreeSet<Identifier> = joined.iter().flatten().copied().collect();
            if together.iter().filter(|key| key.kind == Type::Customer).count() > 1 {
                refused.insert(link);
                groups.extend(joined);
            } else {
                groups.push(together);
            }
        }
        refused
    }

    /// Rule 4, nobody's: what is cut, and the starts that still count.
    fn isolate(
        &self,
        met: &[Identifier],
        starts: &[Identifier],
    ) -> (BTreeSet<Step>, Vec<Identifier>) {
        let links = self.links_among(met);
        let near = nearest(met, &links);
        let owner = |key: &Identifier| match near.get(key).map(BTreeSet::len) {
            Some(1) => near[key].first().copied(),
            _ => None,
        };
        let contested: BTreeSet<Identifier> = met
            .iter()
            .copied()
            .filter(|key| key.kind != Type::Customer)
            .filter(|key| {
                let is_split = near.get(key).is_some_and(|nearest| nearest.len() > 1);
                let others = links.iter().filter_map(|link| {
                    (link.from == *key)
                        .then_some(link.to)
                        .or((link.to == *key).then_some(link.from))
                });
                let mut owners = others.filter_map(|other| owner(&other));
                is_split || owners.any(|other| owner(key).is_some_and(|own| own != other))
            })
            .collect();
        let is_cut = |link: &Step| contested.contains(&link.from) || contested.contains(&link.to);
        let cut = links.into_iter().filter(is_cut).collect();
        let is_nobodys = |key: &Identifier| contested.contains(key) || owner(key).is_none();
        let left = match starts.first() {
            Some(first) if contested.contains(first) => {
                starts.iter().copied().filter(is_nobodys).collect()
            }
            Some(_) => {
                // What is contested is nobody's, and says not whose the others are.
                let mut uncontested = starts.iter().filter(|key| !contested.contains(key));
                let person = uncontested.clone().find_map(owner);
                uncontested
                    .by_ref()
                    .copied()
                    .filter(|key| owner(key).is_none_or(|own| Some(own) == person))
                    .collect()
            }
            None => Vec::new(),
        };
        (cut, left)
    }
}

fn back(step: Step) -> Step {
    Step { from: step.to, to: step.from, ..step }
}

/// The customers fewest links away from each identifier that any is joined to.
fn nearest(met: &[Identifier], links: &[Step]) -> BTreeMap<Identifier, BTreeSet<Identifier>> {
    let customers = met.iter().copied().filter(|key| key.kind == Type::Customer);
    let mut near: BTreeMap<Identifier, BTreeSet<Identifier>> =
        customers.map(|key| (key, BTreeSet::from([key]))).collect();
    loop {
        let mut next: BTreeMap<Identifier, BTreeSet<Identifier>> = BTreeMap::new();
        for link in links {
            for (from, to) in [(link.from, link.to), (link.to, link.from)] {
                if let (Some(owners), false) = (near.get(&from), near.contains_key(&to)) {
                    next.entry(to).or_default().extend(owners);
                }
            }
        }
        if next.is_empty() {
            return near;
        }
        near.extend(next);
    }
}
