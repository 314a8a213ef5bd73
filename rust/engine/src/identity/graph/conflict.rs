//! Two customers met: which links are cut, and who still belongs to the starts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::question::{Hop, Member, OnConflict, Resolution};
use super::walk::{Question, Walk};
use crate::identity::{Identifier, IdentifierType};
use crate::record::Trust;

/// A usable link between two identifiers met, the stronger one first. Ends are places in the walk.
#[derive(Clone, Copy, Debug)]
struct Joint {
    a: usize,
    b: usize,
    link: u32,
    last_ms: u64,
    trust: Trust,
}

/// The answer to a walk that met two customers.
pub(super) fn resolve(question: &Question<'_>, walk: &Walk) -> Resolution {
    let joints = joints(question, walk);
    let (kept, cut, starts) = match question.rules.on_conflict {
        OnConflict::LastAuth => {
            let (kept, cut) = newest_first(walk, joints);
            (kept, cut, (0..walk.starts).collect())
        }
        OnConflict::Isolate => without_contested(walk, joints),
    };
    let hop = |joint: &Joint| question.hop(key(walk, joint.a), key(walk, joint.b), joint.link);
    Resolution {
        members: members(question, walk, &kept, &starts),
        cut: cut.iter().filter_map(hop).collect(),
        ..Resolution::default()
    }
}

fn key(walk: &Walk, place: usize) -> Identifier {
    const NOBODY: Identifier = Identifier { kind: IdentifierType::Visitor, digest: [0; 16] };
    walk.met.get(place).map_or(NOBODY, |met| met.key)
}

/// Every usable link among the identifiers met, once.
fn joints(question: &Question<'_>, walk: &Walk) -> Vec<Joint> {
    let mut places: Vec<(u32, usize)> =
        walk.met.iter().enumerate().filter_map(|(at, met)| Some((met.row?, at))).collect();
    places.sort_unstable();
    let place_of = |row: u32| {
        let found = places.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        places.get(found).map(|(_, place)| *place)
    };
    let hubs: BTreeSet<(u32, Trust)> = places
        .iter()
        .flat_map(|(row, _)| [(*row, Trust::Server), (*row, Trust::Browser)])
        .filter(|(row, trust)| question.is_hub(*row, *trust))
        .collect();
    let mut joints = Vec::new();
    for (place, met) in walk.met.iter().enumerate() {
        let Some((row, own)) = met.row.and_then(|row| Some((row, question.store.known(row)?)))
        else {
            continue;
        };
        for end in question.store.ends_of(row) {
            let Some(other) = place_of(end.to).filter(|other| key(walk, *other) > met.key) else {
                continue;
            };
            let Some((link, _)) = question.live(own, *end) else { continue };
            let trust = link.trust();
            let is_usable = link.is_there()
                && trust <= question.rules.trust
                && !hubs.contains(&(row, trust))
                && !hubs.contains(&(end.to, trust));
            if is_usable {
                let last_ms = link.last.get();
                joints.push(Joint { a: place, b: other, link: end.link, last_ms, trust });
            }
        }
    }
    joints
}

/// Links in the order of their weight, each taken unless it would join two customers.
fn newest_first(walk: &Walk, mut joints: Vec<Joint>) -> (Vec<Joint>, Vec<Joint>) {
    joints.sort_by_key(|joint| {
        let (a, b) = (key(walk, joint.a), key(walk, joint.b));
        (joint.trust, Reverse(joint.last_ms), a.kind as u8 + b.kind as u8, a, b)
    });
    let mut groups = Groups::new(walk);
    for start in 1..walk.starts {
        groups.join(0, start);
    }
    joints.into_iter().partition(|joint| groups.join(joint.a, joint.b))
}

/// Sets of identifiers, each with one customer at most.
struct Groups {
    group: Vec<usize>,
    customer: Vec<Option<Identifier>>,
}

impl Groups {
    fn new(walk: &Walk) -> Self {
        let is_customer = |key: &Identifier| key.kind == IdentifierType::Customer;
        Self {
            group: (0..walk.met.len()).collect(),
            customer: walk.met.iter().map(|met| Some(met.key).filter(is_customer)).collect(),
        }
    }

    fn group_of(&self, place: usize) -> usize {
        self.group.get(place).copied().unwrap_or(place)
    }

    fn customer_of(&self, group: usize) -> Option<Identifier> {
        self.customer.get(group).copied().flatten()
    }

    /// Joins two sets unless each has a customer of its own; returns whether they are one.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.group_of(a), self.group_of(b));
        if a == b {
            return true;
        }
        let (of_a, of_b) = (self.customer_of(a), self.customer_of(b));
        if of_a.is_some() && of_b.is_some() {
            return false;
        }
        for group in self.group.iter_mut().filter(|group| **group == b) {
            *group = a;
        }
        if let Some(customer) = self.customer.get_mut(a) {
            *customer = of_a.or(of_b);
        }
        true
    }
}

/// Cuts the links of identifiers that are no nearer to one customer than to another, or are
/// linked to one that belongs to another.
fn without_contested(walk: &Walk, joints: Vec<Joint>) -> (Vec<Joint>, Vec<Joint>, Vec<usize>) {
    let owners = owners(walk, &joints);
    let owner = |place: usize| owners.get(&place).copied();
    let is_customer = |place: usize| key(walk, place).kind == IdentifierType::Customer;
    let mut contested: BTreeSet<usize> = BTreeSet::new();
    for (place, found) in &owners {
        if *found == Owner::Several && !is_customer(*place) {
            contested.insert(*place);
        }
    }
    for joint in &joints {
        let customers = [owner(joint.a), owner(joint.b)];
        if matches!(customers, [Some(Owner::Customer(a)), Some(Owner::Customer(b))] if a != b) {
            contested.extend([joint.a, joint.b].into_iter().filter(|place| !is_customer(*place)));
        }
    }
    let starts = starts_left(walk.starts, &contested, owner);
    let is_kept = |joint: &Joint| !contested.contains(&joint.a) && !contested.contains(&joint.b);
    let (kept, cut) = joints.into_iter().partition(is_kept);
    (kept, cut, starts)
}

/// The starts that are joined: those of one customer and of nobody, or, where the first is
/// contested, those of no customer.
fn starts_left(
    starts: usize,
    contested: &BTreeSet<usize>,
    owner: impl Fn(usize) -> Option<Owner>,
) -> Vec<usize> {
    let customer = |start: usize| match owner(start) {
        Some(Owner::Customer(customer)) if !contested.contains(&start) => Some(customer),
        _ => None,
    };
    if contested.contains(&0) {
        return (0..starts).filter(|start| customer(*start).is_none()).collect();
    }
    let person = (0..starts).find_map(customer);
    let is_left = |start: &usize| {
        !contested.contains(start) && (customer(*start).is_none() || customer(*start) == person)
    };
    (0..starts).filter(is_left).collect()
}

/// To which customer an identifier is nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Customer(usize),
    Several,
}

fn owners(walk: &Walk, joints: &[Joint]) -> BTreeMap<usize, Owner> {
    let neighbours = neighbours(joints);
    let mut owners: BTreeMap<usize, Owner> = BTreeMap::new();
    let mut ring: Vec<usize> = Vec::new();
    for (place, met) in walk.met.iter().enumerate() {
        if met.key.kind == IdentifierType::Customer {
            owners.insert(place, Owner::Customer(place));
            ring.push(place);
        }
    }
    while !ring.is_empty() {
        let mut next: BTreeMap<usize, Owner> = BTreeMap::new();
        for place in ring {
            let Some(owner) = owners.get(&place).copied() else { continue };
            for (other, _) in neighbours.get(&place).into_iter().flatten() {
                if !owners.contains_key(other) {
                    let found = next.entry(*other).or_insert(owner);
                    if *found != owner {
                        *found = Owner::Several;
                    }
                }
            }
        }
        ring = next.keys().copied().collect();
        owners.append(&mut next);
    }
    owners
}

fn neighbours(joints: &[Joint]) -> BTreeMap<usize, Vec<(usize, Joint)>> {
    let mut neighbours: BTreeMap<usize, Vec<(usize, Joint)>> = BTreeMap::new();
    for joint in joints {
        neighbours.entry(joint.a).or_default().push((joint.b, *joint));
        neighbours.entry(joint.b).or_default().push((joint.a, *joint));
    }
    neighbours
}

/// Those still joined to the starts, met in a walk over the links kept.
fn members(question: &Question<'_>, walk: &Walk, kept: &[Joint], starts: &[usize]) -> Vec<Member> {
    let mut neighbours = neighbours(kept);
    for links in neighbours.values_mut() {
        links.sort_by_key(|(other, joint)| {
            (Reverse(joint.last_ms), key(walk, *other), joint.trust, joint.link)
        });
    }
    let mut members: Vec<Member> = Vec::new();
    let mut place_of: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::new();
    for start in starts {
        let Some(met) = walk.met.get(*start) else { continue };
        place_of.insert(*start, members.len());
        members.push(Member { key: met.key, parent: None, via: None, row: met.row });
        queue.push_back(*start);
    }
    while let Some(from) = queue.pop_front() {
        for (to, joint) in neighbours.get(&from).into_iter().flatten() {
            if place_of.contains_key(to) {
                continue;
            }
            let via: Option<Hop> = question.hop(key(walk, from), key(walk, *to), joint.link);
            place_of.insert(*to, members.len());
            let parent = place_of.get(&from).copied();
            let row = walk.met.get(*to).and_then(|met| met.row);
            members.push(Member { key: key(walk, *to), parent, via, row });
            queue.push_back(*to);
        }
    }
    members
}
