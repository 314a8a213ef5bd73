//! The laws of the identity graph, over random histories.

use std::collections::BTreeSet;

use headwater_engine::identity::graph::Graph;
use headwater_engine::identity::{Identifier, IdentifierType as Type};
use headwater_engine::limits::IDENTIFIER_GRACE_MS;
use headwater_engine::record::Trust;
use headwater_engine::Id;
use proptest::prelude::*;

use crate::common::{id, T0};
use crate::graph_oracle::{Answer, Entry, Question, Seen, Step};
use crate::graph_worlds::*;

/// A link as every order of arrival must leave it.
type Known = (Identifier, Trust, u64, Id, bool);

fn links(graph: &Graph, history: &[Seen]) -> Vec<(Identifier, Vec<Known>)> {
    let of = |key: Identifier| {
        let links = graph.links_of(&key).into_iter();
        let known = links.map(|l| (l.to, l.trust, l.last_ms, l.event_id, l.is_there)).collect();
        (key, known)
    };
    keys_of(history).into_iter().map(of).collect()
}

fn answers(graph: &Graph, questions: &[Question]) -> Vec<Answer> {
    questions.iter().map(|question| answer(graph, question)).collect()
}

/// A history of either sort with itself in another order.
fn in_two_orders() -> impl Strategy<Value = (Vec<Seen>, Vec<Seen>)> {
    prop_oneof![small_history().boxed(), crowded_history().boxed()]
        .prop_flat_map(|history| (Just(history.clone()), Just(history).prop_shuffle()))
}

/// What remains of a history when an identifier is taken out of what each event linked.
fn without(history: &[Seen], erased: Identifier) -> Vec<Seen> {
    let parts = |seen: &Seen| {
        let alone = seen.linkable().into_iter().map(|key| vec![key]);
        let pairs = seen.pairs().into_iter().map(|(one, other)| vec![one, other]);
        let part = |identifiers: Vec<Identifier>| Seen { identifiers, ..seen.clone() };
        let stays = |seen: &Seen| !seen.identifiers.contains(&erased);
        alone.chain(pairs).map(part).filter(stays).collect::<Vec<_>>()
    };
    history.iter().flat_map(parts).collect()
}

/// Whether an event of the history proves a step, and is the newest to do so.
fn is_proven(history: &[Seen], step: &Step) -> bool {
    let ends = [step.from, step.to];
    let joins = |seen: &&Seen| {
        seen.trust == step.trust
            && seen.pairs().iter().any(|(one, other)| ends.contains(one) && ends.contains(other))
    };
    let last_ms = history.iter().filter(joins).map(|seen| seen.at_ms).max();
    let mut newest = history.iter().filter(|seen| seen.at_ms == step.at_ms).filter(joins);
    last_ms == Some(step.at_ms) && newest.any(|seen| seen.event_id == step.event_id)
}

fn agree(graph: &Graph, entries: &[Entry], question: &Question) -> Result<(), TestCaseError> {
    let oracle = crate::graph_oracle::Oracle { history: entries.to_vec() };
    let (found, expected) = (answer(graph, question), oracle.answer(question));
    let expected = Answer { is_cut_short: false, ..expected };
    let is_same = found == expected;
    let told = || told(entries, question);
    prop_assert!(is_same, "{}\n\nanswered: {}\n\nrules: {}", told(), said(&found), said(&expected));
    Ok(())
}

fn entries(history: &[Seen]) -> Vec<Entry> {
    history.iter().cloned().map(Entry::Seen).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_order_of_the_same_observations_gives_the_same_links_and_answers(
        (one, other) in in_two_orders(),
        questions in questions(),
    ) {
        let (left, right) = (graph_of(&one), graph_of(&other));
        prop_assert_eq!(links(&left, &one), links(&right, &one));
        prop_assert_eq!(answers(&left, &questions), answers(&right, &questions));
        prop_assert_eq!(left.len(), right.len());
    }

    #[test]
    fn an_observation_that_comes_again_changes_nothing(
        (one, other) in in_two_orders(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
        questions in early_questions(),
    ) {
        let graph = graph_of(&one);
        let repeated = again.iter().map(|at| at.get(&other));
        let twice = graph_of(one.iter().chain(repeated));
        prop_assert_eq!(links(&graph, &one), links(&twice, &one));
        let firsts = |graph: &Graph| -> Vec<u64> {
            let links = keys_of(&one).into_iter().flat_map(|key| graph.links_of(&key));
            links.map(|link| link.first_known_ms).collect()
        };
        prop_assert_eq!(firsts(&graph), firsts(&twice));
        prop_assert_eq!(answers(&graph, &questions), answers(&twice, &questions));
    }

    #[test]
    fn no_answer_holds_two_customers(
        (history, _) in in_two_orders(),
        questions in early_questions(),
    ) {
        let graph = graph_of(&history);
        for question in &questions {
            let members = answer(&graph, question).members;
            let customers = members.iter().filter(|(key, _)| key.kind == Type::Customer);
            prop_assert!(customers.count() <= 1, "{:#?}", question);
        }
    }

    #[test]
    fn whoever_is_found_finds_the_same(
        (history, _) in in_two_orders(),
        question in question(),
        start in any::<prop::sample::Index>(),
    ) {
        let (graph, oracle) = (graph_of(&history), oracle_of(&history));
        let alone = |key: Identifier| Question { starts: vec![key], ..question.clone() };
        let members = |question: &Question| -> BTreeSet<Identifier> {
            answer(&graph, question).members.into_iter().map(|(key, _)| key).collect()
        };
        let first = alone(*start.get(&keys_of(&history)));
        let found = members(&first);
        for key in &found {
            let is_bounded = [&first, &alone(*key)].into_iter().any(|question| {
                let answer = oracle.answer(question);
                answer.is_truncated || answer.is_cut_short
            });
            if !is_bounded {
                prop_assert_eq!(&found, &members(&alone(*key)));
            }
        }
    }

    #[test]
    fn erasing_leaves_the_history_without_what_was_erased(
        history in small_history(),
        questions in early_questions(),
        which in any::<prop::sample::Index>(),
    ) {
        let erased = *which.get(&keys_of(&history));
        let mut graph = graph_of(&history);
        let is_there = graph.contains(&erased);
        prop_assert_eq!(graph.erase(&erased), is_there);
        prop_assert!(!graph.contains(&erased));
        prop_assert!(!graph.erase(&erased));
        let rest = graph_of(&without(&history, erased));
        prop_assert_eq!(links(&graph, &history), links(&rest, &history));
        // A click id that was seen with the erased one alone stays known, and would not be.
        let links_of = |graph: &Graph| -> Vec<Answer> {
            let answers = answers(graph, &questions).into_iter();
            answers.map(|answer| Answer { is_known: true, ..answer }).collect()
        };
        prop_assert_eq!(links_of(&graph), links_of(&rest));
    }

    #[test]
    fn a_sweep_at_any_moment_changes_no_answer(
        (history, _) in in_two_orders(),
        sweeps in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..600), 1..6),
        questions in questions(),
    ) {
        let day = |days: u64| T0 + days * crate::common::DAY;
        let (mut swept, mut kept) = (Graph::default(), Graph::default());
        let mut last_ms = 0;
        for (at, seen) in history.iter().enumerate() {
            for (_, days) in sweeps.iter().filter(|(when, _)| when.index(history.len()) == at) {
                swept.sweep(day(*days));
                last_ms = last_ms.max(day(*days));
            }
            swept.observe(&observation(seen));
            kept.observe(&observation(seen));
        }
        for question in questions {
            for late_ms in [0, IDENTIFIER_GRACE_MS] {
                let occurred_ms = question.occurred_ms.max(last_ms.saturating_sub(late_ms));
                let question = Question { occurred_ms, ..question.clone() };
                let (swept, kept) = (answer(&swept, &question), answer(&kept, &question));
                // Whether an identifier that has died was once known is forgotten with it.
                prop_assert_eq!(Answer { is_known: kept.is_known, ..swept }, kept);
            }
        }
    }

    #[test]
    fn every_hop_names_an_event_that_proves_it(
        (history, _) in in_two_orders(),
        questions in early_questions(),
    ) {
        let graph = graph_of(&history);
        for question in &questions {
            let resolution = resolve(&graph, question);
            for member in 0..resolution.members.len() {
                let path = resolution.path(member);
                prop_assert!(path.len() <= resolution.members.len());
                let ends = path.windows(2).all(|hops| hops[0].to == hops[1].from);
                prop_assert!(ends, "each hop goes on where the one before it ends");
                let first = path.first().map_or(resolution.members[member].key, |hop| hop.from);
                prop_assert!(question.starts.contains(&first));
                for hop in &path {
                    prop_assert!(is_proven(&history, &step(hop)), "{:?}", hop);
                }
            }
            for hop in resolution.cut.iter().filter(|hop| hop.event_id != [0; 16]) {
                prop_assert!(is_proven(&history, &step(hop)), "{:?}", hop);
            }
        }
    }

    #[test]
    fn the_graph_agrees_with_the_oracle(
        history in small_history(),
        questions in early_questions(),
        erased in prop::collection::vec((any::<prop::sample::Index>(), any_key()), 0..3),
    ) {
        let (mut graph, mut log) = (Graph::default(), Vec::new());
        for (at, seen) in history.iter().enumerate() {
            graph.observe(&observation(seen));
            log.push(Entry::Seen(seen.clone()));
            for (_, key) in erased.iter().filter(|(when, _)| when.index(history.len()) == at) {
                graph.erase(key);
                log.push(Entry::Erased(*key));
            }
        }
        for question in &questions {
            agree(&graph, &log, question)?;
        }
    }

    #[test]
    fn the_graph_agrees_with_the_oracle_where_links_are_let_go(
        history in crowded_history(),
        questions in questions(),
    ) {
        let graph = graph_of(&history);
        for question in &questions {
            agree(&graph, &entries(&history), question)?;
        }
    }

    #[test]
    fn an_identifier_keeps_the_links_that_the_oracle_says(history in crowded_history()) {
        let (graph, world) = (graph_of(&history), oracle_of(&history).world());
        for key in keys_of(&history) {
            let expected: Vec<Known> = [Trust::Server, Trust::Browser]
                .into_iter()
                .flat_map(|trust| {
                    let kept = world.kept(key, trust).into_iter();
                    let known = kept.map(|(to, tie)| {
                        let is_there = world.keeps(to, key, trust);
                        (to, trust, tie.last_ms, tie.event_id, is_there)
                    });
                    known.collect::<Vec<_>>()
                })
                .collect();
            let links = graph.links_of(&key).into_iter();
            let links: Vec<Known> =
                links.map(|l| (l.to, l.trust, l.last_ms, l.event_id, l.is_there)).collect();
            prop_assert_eq!(links, expected);
            prop_assert_eq!(graph.contains(&key), world.first_known.contains_key(&key));
        }
        prop_assert_eq!(graph.len(), world.first_known.len());
    }
}

fn pair(event: u64, one: Identifier, other: Identifier) -> Seen {
    let identifiers = vec![one, other];
    Seen { event_id: id(event), accept_ms: T0, at_ms: T0, trust: Trust::Server, identifiers }
}

const CROWD: u64 = 20_000;

fn ask(start: Identifier, members_max: usize, hops_max: usize) -> Question {
    Question {
        starts: vec![start],
        occurred_ms: T0,
        known_ms: ALL_KNOWN_MS,
        trust: Trust::Browser,
        members_max,
        hops_max,
        neighbours_max: 48,
        is_isolating: false,
    }
}

#[test]
fn a_storm_around_one_identifier_is_never_walked() {
    let center = key(Type::Device, 1);
    let leaf = |n| key(Type::Visitor, 10 + n);
    let graph = graph_of(&(0..CROWD).map(|n| pair(n, center, leaf(n))).collect::<Vec<_>>());
    for start in [center, leaf(0), leaf(48), leaf(49), leaf(CROWD - 1)] {
        let answer = answer(&graph, &ask(start, 64, 8));
        assert_eq!(answer.members.len(), usize::from(start != center));
        assert_eq!(answer.hubs, BTreeSet::from([center]), "{start:?}");
    }
    assert!(graph.links_of(&center).len() <= 49);
}

#[test]
fn a_chain_is_walked_to_the_bound_and_no_further() {
    let node = |n| key(Type::Visitor, n);
    let graph = graph_of(&(0..CROWD).map(|n| pair(n, node(n), node(n + 1))).collect::<Vec<_>>());
    for (members_max, hops_max, reached, is_truncated) in [
        (64, 8, 17, false),
        (256, 16, 33, false),
        (17, 8, 17, false),
        (16, 8, 16, true),
        (1, 16, 1, true),
    ] {
        let answer = answer(&graph, &ask(node(CROWD / 2), members_max, hops_max));
        assert_eq!((answer.members.len(), answer.is_truncated), (reached, is_truncated));
        let end = crate::graph_worlds::answer(&graph, &ask(node(0), members_max, hops_max));
        assert_eq!(end.members.len(), members_max.min(hops_max + 1));
    }
}

/// Trees of 48 branches everywhere: the most a walk can be asked to look at.
#[test]
fn a_thicket_stops_the_walk_at_its_members() {
    let node = |n| key(Type::Visitor, n);
    let pairs: Vec<Seen> = (1..CROWD).map(|n| pair(n, node(n), node((n - 1) / 47))).collect();
    let graph = graph_of(&pairs);
    let answer = answer(&graph, &ask(node(0), 64, 8));
    assert_eq!((answer.members.len(), answer.is_truncated), (64, true));
    assert!(answer.hubs.is_empty());
}
