//! The workload of `bench/identity/workload.py`, made natively: same shapes, other draws.

use std::collections::BTreeSet;

use headwater_engine::identity::{Identifier, IdentifierType};
use headwater_engine::Id;

use crate::tools::{digest, Random};

pub const START_MS: u64 = 1_790_000_000_000;
pub const DAY_MS: u64 = 86_400_000;
pub const WINDOW_MS: u64 = 30 * DAY_MS;
const LINKS_SPAN_MS: u64 = 3_600_000;
const SPAN_MS: u64 = 90 * DAY_MS;
const SEED: u64 = 20_260_101;
const NODE_CLICKS_MAX: u8 = 64;

/// A click: its cookie's number and its time.
pub type Touch = (u32, u64);

/// Identifiers by number; links and clicks in the order of their time.
#[derive(Debug)]
pub struct Workload {
    pub keys: Vec<Identifier>,
    pub links: Vec<(u32, u32)>,
    pub clicks: Vec<Touch>,
    pub lookups: Vec<(u64, Vec<Identifier>)>,
}

impl Workload {
    pub fn link_ms(&self, number: usize) -> u64 {
        START_MS + number as u64 * LINKS_SPAN_MS / self.links.len() as u64
    }
}

/// The id of the event that shows a link.
pub fn link_event(number: usize) -> Id {
    digest(u64::MAX - number as u64)
}

/// The id of a click, made as the edge makes it: the time first, then what looks random.
pub fn click_id(touch_ms: u64, number: usize) -> Id {
    let mut id = digest(1 << 40 | number as u64);
    id[..6].copy_from_slice(&touch_ms.to_be_bytes()[2..]);
    id
}

pub fn key(kind: IdentifierType, number: u64) -> Identifier {
    Identifier { kind, digest: digest(number) }
}

/// Visitors' identifiers and links, before the hubs.
struct Draft {
    random: Random,
    kinds: Vec<IdentifierType>,
    first_of: Vec<u32>,
    links: Vec<(u32, u32)>,
}

impl Draft {
    fn visitor(&mut self, size: usize) {
        let first = self.kinds.len();
        self.first_of.push(first as u32);
        self.kinds.push(IdentifierType::Visitor);
        for _ in 1..size {
            let kind = self.kind(first);
            self.kinds.push(kind);
        }
        let is_star = self.random.chance() < 0.7;
        for number in first + 1..first + size {
            let from = if is_star { first } else { number - 1 };
            self.links.push((from as u32, number as u32));
        }
    }

    fn kind(&mut self, first: usize) -> IdentifierType {
        let has_customer = self.kinds[first..].contains(&IdentifierType::Customer);
        match self.random.chance() {
            drawn if drawn < 0.2 => IdentifierType::ExternalClick,
            drawn if drawn < 0.35 => IdentifierType::Email,
            drawn if drawn < 0.55 => IdentifierType::Device,
            drawn if drawn < 0.7 && !has_customer => IdentifierType::Customer,
            _ => IdentifierType::Visitor,
        }
    }

    fn households(&mut self) {
        let visitors = self.first_of.len();
        let mut met = BTreeSet::new();
        for number in 0..visitors {
            let other = self.random.below(visitors);
            if self.random.chance() < 0.03 && other != number {
                met.insert((number.min(other), number.max(other)));
            }
        }
        let pairs = met.into_iter().map(|(one, two)| (self.first_of[one], self.first_of[two]));
        self.links.extend(pairs);
    }

    fn own(&self, visitor: usize, end: usize) -> std::ops::Range<usize> {
        let after = self.first_of.get(visitor + 1).map_or(end, |first| *first as usize);
        self.first_of[visitor] as usize..after
    }

    fn hub(&mut self, kind: IdentifierType, degree: usize, end: usize) {
        let hub = self.kinds.len() as u32;
        self.kinds.push(kind);
        let mut joined = BTreeSet::new();
        while joined.len() < degree.min(self.first_of.len() / 2) {
            joined.insert(self.random.below(self.first_of.len()));
        }
        for visitor in joined {
            let own = self.own(visitor, end);
            let strongest = own.min_by_key(|number| (self.kinds[*number], *number));
            self.links.push((strongest.expect("a cookie") as u32, hub));
        }
    }
}

fn draft(identifiers: usize) -> (Draft, usize) {
    let mut draft = Draft { random: Random(SEED), kinds: vec![], first_of: vec![], links: vec![] };
    let (kiosks, junk) = ((identifiers / 10_000).max(1), (identifiers / 100_000).max(1));
    let weights: Vec<f64> = (1..=8).map(|size| f64::from(size).powf(-1.1)).collect();
    let total: f64 = weights.iter().sum();
    let end = identifiers - kiosks - junk;
    while draft.kinds.len() < end {
        let mut drawn = draft.random.chance() * total;
        let size = 1 + weights
            .iter()
            .take_while(|weight| {
                drawn -= **weight;
                drawn > 0.0
            })
            .count();
        draft.visitor(size.min(8).min(end - draft.kinds.len()));
    }
    draft.households();
    for _ in 0..kiosks {
        let degree = (50.0 / (1.0 - draft.random.chance())).min(2000.0) as usize;
        draft.hub(IdentifierType::Visitor, degree, end);
    }
    for _ in 0..junk {
        draft.hub(IdentifierType::Email, 2000, end);
    }
    for at in (1..draft.links.len()).rev() {
        let other = draft.random.below(at + 1);
        draft.links.swap(at, other);
    }
    (draft, end)
}

fn clicks(draft: &mut Draft) -> Vec<Touch> {
    let total = draft.kinds.len() * 3 / 2;
    let is_cookie = |number: &usize| draft.kinds[*number] == IdentifierType::Visitor;
    let cookies: Vec<usize> = (0..draft.kinds.len()).filter(is_cookie).collect();
    let mut sum = 0.0;
    let mut activity = Vec::with_capacity(cookies.len());
    for _ in &cookies {
        sum += (1.0 - draft.random.chance()).powf(-1.0 / 1.16).min(1000.0);
        activity.push(sum);
    }
    let mut made = vec![0u8; cookies.len()];
    let mut times: Vec<u64> = Vec::with_capacity(total);
    for _ in 0..total {
        let span = (SPAN_MS - LINKS_SPAN_MS) as usize;
        times.push(START_MS + LINKS_SPAN_MS + draft.random.below(span) as u64);
    }
    times.sort_unstable();
    let mut clicks = Vec::with_capacity(total);
    while clicks.len() < total {
        let drawn = draft.random.chance() * sum;
        let at = activity.partition_point(|before| *before <= drawn).min(cookies.len() - 1);
        if made[at] < NODE_CLICKS_MAX {
            made[at] += 1;
            clicks.push((cookies[at] as u32, times[clicks.len()]));
        }
    }
    clicks
}

/// The workload of so many identifiers; always the same.
pub fn generate(identifiers: usize, lookups: usize) -> Workload {
    let (mut draft, end) = draft(identifiers);
    let clicks = clicks(&mut draft);
    let keys: Vec<Identifier> =
        draft.kinds.iter().zip(0..).map(|(kind, number)| key(*kind, number)).collect();
    let mut asked = Vec::with_capacity(lookups);
    for _ in 0..lookups {
        let (on, _) = clicks[draft.random.below(clicks.len())];
        let visitor = draft.first_of.partition_point(|first| *first <= on) - 1;
        let own =
            if on as usize >= end { on as usize..on as usize + 1 } else { draft.own(visitor, end) };
        let mut own: Vec<usize> = own.collect();
        let wanted = (1 + draft.random.below(3)).min(own.len());
        let mut starts = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let place = draft.random.below(own.len());
            starts.push(keys[own.swap_remove(place)]);
        }
        starts.sort_unstable();
        let span = (SPAN_MS - WINDOW_MS) as usize;
        asked.push((START_MS + WINDOW_MS + draft.random.below(span) as u64, starts));
    }
    Workload { keys, links: draft.links, clicks, lookups: asked }
}
