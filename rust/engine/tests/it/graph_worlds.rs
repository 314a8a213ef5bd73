//! Random histories for the laws of the graph, and the graph and its oracle fed with them.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use headwater_engine::identity::graph::{
    Graph, Hop, Moment, Observation, OnConflict, Resolution, Traversal,
};
use headwater_engine::identity::{Identifier, IdentifierType as Type};
use headwater_engine::record::Trust;
use proptest::prelude::*;

use crate::common::{id, DAY, T0};
use crate::graph_oracle::{Answer, Entry, Oracle, Question, Seen, Step};

/// A time at which all evidence was in.
pub const ALL_KNOWN_MS: u64 = T0 + 10_000 * DAY;

/// Times that collide, and that meet each lifetime to the millisecond.
const AT_MS: [u64; 12] =
    [0, 0, 0, 1, DAY, DAY, 40 * DAY, 89 * DAY, 90 * DAY, 91 * DAY, 180 * DAY, 181 * DAY];
const ASKED_MS: [u64; 16] = [
    0,
    1,
    DAY,
    DAY,
    40 * DAY,
    90 * DAY - 1,
    90 * DAY,
    91 * DAY,
    130 * DAY - 1,
    130 * DAY,
    180 * DAY - 1,
    180 * DAY,
    181 * DAY,
    271 * DAY,
    400 * DAY - 1,
    400 * DAY,
];

pub fn key(kind: Type, number: u64) -> Identifier {
    Identifier { kind, digest: id(number) }
}

fn kind() -> impl Strategy<Value = Type> {
    prop::sample::select(vec![
        Type::Customer,
        Type::Customer,
        Type::Profile,
        Type::Email,
        Type::Email,
        Type::Phone,
        Type::Device,
        Type::Click,
        Type::ExternalClick,
        Type::Visitor,
        Type::Visitor,
        Type::Visitor,
    ])
}

/// Of a world so small that everything meets.
pub fn any_key() -> impl Strategy<Value = Identifier> {
    (kind(), 0_u64..3).prop_map(|(kind, number)| key(kind, number))
}

pub fn trust() -> impl Strategy<Value = Trust> {
    prop::sample::select(vec![Trust::Server, Trust::Browser])
}

fn seen_of(identifiers: impl Strategy<Value = Vec<Identifier>>) -> impl Strategy<Value = Seen> {
    let times = (prop::sample::select(AT_MS.to_vec()), prop::sample::select(vec![0, 0, 1, DAY]));
    (identifiers, times, trust(), any::<u32>()).prop_map(
        |(identifiers, (at_ms, delay_ms), trust, event)| Seen {
            event_id: id(u64::from(event)),
            accept_ms: T0 + at_ms + delay_ms,
            at_ms: T0 + at_ms,
            trust,
            identifiers,
        },
    )
}

fn seen() -> impl Strategy<Value = Seen> {
    let many = prop_oneof![8 => 0_usize..5, 1 => 8_usize..13];
    seen_of(many.prop_flat_map(|count| prop::collection::vec(any_key(), count)))
}

/// Events of few identifiers each, with ids of their own.
pub fn small_history() -> impl Strategy<Value = Vec<Seen>> {
    prop::collection::vec(seen(), 1..24).prop_map(with_own_events)
}

/// One identifier seen with so many others that it cannot keep them all.
fn storm() -> impl Strategy<Value = Vec<Seen>> {
    (any_key(), kind(), 40_u64..110, 0_u64..20).prop_flat_map(|(center, kind, count, first)| {
        let one = move |n| seen_of(Just(vec![center, key(kind, 100 + first + n)]));
        (0..count).map(one).collect::<Vec<_>>()
    })
}

/// A small history, crowded by one or two storms, in any order.
pub fn crowded_history() -> impl Strategy<Value = Vec<Seen>> {
    let storms = prop::collection::vec(storm(), 1..3);
    (prop::collection::vec(seen(), 1..16), storms)
        .prop_map(|(few, storms)| few.into_iter().chain(storms.into_iter().flatten()).collect())
        .prop_shuffle()
        .prop_map(with_own_events)
}

/// No two events share an id; which of them has the smaller is left to chance.
fn with_own_events(mut history: Vec<Seen>) -> Vec<Seen> {
    for (number, seen) in history.iter_mut().enumerate() {
        seen.event_id[0] = u8::try_from(number % 256).unwrap();
        let by = 1 + usize::from(seen.event_id[15] % 15);
        seen.event_id.rotate_left(by);
    }
    history
}

/// A question at a time when everything was known, with bounds that are easily met.
pub fn question() -> impl Strategy<Value = Question> {
    let starts = prop_oneof![
        3 => any_key(),
        1 => (kind(), 100_u64..140).prop_map(|(kind, number)| key(kind, number)),
    ];
    let starts = prop::collection::vec(starts, 1..4);
    let bounds = (
        prop::sample::select(vec![1_usize, 2, 4, 64, 64, 256]),
        prop::sample::select(vec![1_usize, 2, 3, 8, 8, 16]),
        prop::sample::select(vec![2_usize, 3, 4, 48, 48]),
    );
    let asked_ms = prop::sample::select(ASKED_MS.to_vec());
    (starts, bounds, asked_ms, trust(), any::<bool>()).prop_map(
        |(starts, (members_max, hops_max, neighbours_max), asked_ms, trust, is_isolating)| {
            Question {
                starts,
                occurred_ms: T0 + asked_ms,
                known_ms: ALL_KNOWN_MS,
                trust,
                members_max,
                hops_max,
                neighbours_max,
                is_isolating,
            }
        },
    )
}

pub fn questions() -> impl Strategy<Value = Vec<Question>> {
    prop::collection::vec(question(), 12)
}

/// Questions of which some do not know the newest evidence.
pub fn early_questions() -> impl Strategy<Value = Vec<Question>> {
    let known_ms = prop::sample::select(ASKED_MS.to_vec());
    let one = (question(), known_ms, any::<bool>()).prop_map(|(question, known_ms, is_early)| {
        let known_ms = if is_early { T0 + known_ms } else { ALL_KNOWN_MS };
        Question { known_ms, ..question }
    });
    prop::collection::vec(one, 12)
}

pub fn observation(seen: &Seen) -> Observation {
    let Seen { event_id, accept_ms, at_ms, trust, identifiers } = seen.clone();
    Observation::new(event_id, accept_ms, at_ms, trust, identifiers.into_iter())
}

pub fn graph_of<'a>(history: impl IntoIterator<Item = &'a Seen>) -> Graph {
    let mut graph = Graph::default();
    for seen in history {
        graph.observe(&observation(seen));
    }
    graph
}

pub fn oracle_of(history: &[Seen]) -> Oracle {
    Oracle { history: history.iter().cloned().map(Entry::Seen).collect() }
}

/// Every identifier of a history, and one that it does not hold.
pub fn keys_of(history: &[Seen]) -> Vec<Identifier> {
    let mut keys: Vec<Identifier> =
        history.iter().flat_map(|seen| seen.identifiers.iter().copied()).collect();
    keys.push(key(Type::Phone, 999));
    keys.sort_unstable();
    keys.dedup();
    keys
}

pub fn resolve(graph: &Graph, question: &Question) -> Resolution {
    let at = Moment { occurred_ms: question.occurred_ms, known_ms: question.known_ms };
    let mut rules = Traversal::new(question.trust);
    rules.members_max = question.members_max;
    rules.hops_max = question.hops_max;
    rules.neighbours_max = question.neighbours_max;
    rules.on_conflict =
        if question.is_isolating { OnConflict::Isolate } else { OnConflict::LastAuth };
    graph.resolve(&question.starts, at, &rules)
}

pub fn step(hop: &Hop) -> Step {
    Step { from: hop.from, to: hop.to, trust: hop.trust, at_ms: hop.at_ms, event_id: hop.event_id }
}

/// A resolution in the oracle's words.
pub fn in_words(resolution: &Resolution) -> Answer {
    let member = |at: usize| {
        let member = &resolution.members[at];
        let via = member.via.as_ref().map(step);
        let parent = member.parent.map(|parent| resolution.members[parent].key);
        assert_eq!(via.map(|via| via.from), parent, "a parent is where the hop comes from");
        assert!(via.is_none_or(|via| via.to == member.key), "a hop leads to its member");
        (member.key, via)
    };
    Answer {
        members: (0..resolution.members.len()).map(member).collect(),
        hubs: resolution.hubs.iter().copied().collect(),
        cut: resolution.cut.iter().map(step).collect(),
        is_known: resolution.is_known,
        is_truncated: resolution.is_truncated,
        is_cut_short: false,
    }
}

/// What a graph answers, in the oracle's words.
pub fn answer(graph: &Graph, question: &Question) -> Answer {
    in_words(&resolve(graph, question))
}

/// An answer in few words, for a failure that can be read.
pub fn said(answer: &Answer) -> String {
    let short = |key: &Identifier| format!("{:?}{}", key.kind, key.digest[15]);
    let step = |step: &Step| {
        let days = (step.at_ms - T0) / DAY;
        let (from, to) = (short(&step.from), short(&step.to));
        format!("{from}-{to} ({:?}, day {days}, {:02x?})", step.trust, &step.event_id[..4])
    };
    let member = |(key, via): &(Identifier, Option<Step>)| {
        format!("{}{}", short(key), via.map_or(String::new(), |via| format!(" by {}", step(&via))))
    };
    format!(
        "members {:#?}\nhubs {:?}\ncut {:#?}\nknown {}, truncated {}",
        answer.members.iter().map(member).collect::<Vec<_>>(),
        answer.hubs.iter().map(short).collect::<Vec<_>>(),
        answer.cut.iter().map(step).collect::<Vec<_>>(),
        answer.is_known,
        answer.is_truncated,
    )
}

/// A history and a question in few words.
pub fn told(history: &[Entry], question: &Question) -> String {
    let short = |key: &Identifier| format!("{:?}{}", key.kind, key.digest[15]);
    let day = |ms: u64| format!("{}d+{}", (ms - T0) / DAY, (ms - T0) % DAY);
    let entry = |entry: &Entry| match entry {
        Entry::Seen(seen) => format!(
            "{:02x?} {:?} at {} accepted {}: {:?}",
            &seen.event_id[..4],
            seen.trust,
            day(seen.at_ms),
            day(seen.accept_ms),
            seen.identifiers.iter().map(short).collect::<Vec<_>>(),
        ),
        Entry::Erased(key) => format!("erased {}", short(key)),
    };
    format!(
        "{:#?}\nasked {:?} at {} known {} by {:?}, members {} hops {} neighbours {} isolate {}",
        history.iter().map(entry).collect::<Vec<_>>(),
        question.starts.iter().map(short).collect::<Vec<_>>(),
        day(question.occurred_ms),
        day(question.known_ms),
        question.trust,
        question.members_max,
        question.hops_max,
        question.neighbours_max,
        question.is_isolating,
    )
}
