//! What an identifier keeps when links are let go and identifiers erased in between: the rules of
//! keeping, step by step, where `graph_oracle` looks at a whole history at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use headwater_engine::identity::graph::Graph;
use headwater_engine::identity::Identifier;
use headwater_engine::record::Trust;
use proptest::prelude::*;

use crate::graph_oracle::{expiry_ms, Seen, Tie, KEPT_MAX};
use crate::graph_worlds::*;

/// A link, and which of its ends keep it.
#[derive(Clone, Debug)]
struct Kept {
    tie: Tie,
    by: BTreeSet<Identifier>,
}

#[derive(Default)]
struct Keeper {
    known: BTreeSet<Identifier>,
    links: BTreeMap<(Identifier, Identifier, Trust), Kept>,
}

impl Keeper {
    fn see(&mut self, seen: &Seen) {
        self.known.extend(seen.linkable());
        for (one, other) in seen.pairs() {
            let new = Tie {
                first_known_ms: seen.accept_ms,
                last_ms: seen.at_ms,
                event_id: seen.event_id,
            };
            let place = (one, other, seen.trust);
            let kept = Kept { tie: new, by: BTreeSet::new() };
            let tie = &mut self.links.entry(place).or_insert(kept).tie;
            tie.first_known_ms = tie.first_known_ms.min(new.first_known_ms);
            let rank = |tie: &Tie| (tie.last_ms, Reverse(tie.event_id));
            if rank(&new) > rank(tie) {
                (tie.last_ms, tie.event_id) = (new.last_ms, new.event_id);
            }
            for end in [one, other] {
                self.links.get_mut(&place).unwrap().by.insert(end);
                let let_go = self.kept_by(end, seen.trust).into_iter().skip(KEPT_MAX);
                for (to, _) in let_go.collect::<Vec<_>>() {
                    let place = (end.min(to), end.max(to), seen.trust);
                    self.links.get_mut(&place).unwrap().by.remove(&end);
                }
            }
            self.links.retain(|_, kept| !kept.by.is_empty());
        }
    }

    fn erase(&mut self, key: Identifier) {
        self.known.remove(&key);
        self.links.retain(|(one, other, _), _| *one != key && *other != key);
    }

    /// The ends an identifier keeps for a trust, the best first.
    fn kept_by(&self, key: Identifier, trust: Trust) -> Vec<(Identifier, Kept)> {
        let of = |((one, other, of), kept): (&(Identifier, Identifier, Trust), &Kept)| {
            let to = if *one == key { *other } else { *one };
            (*of == trust && kept.by.contains(&key)).then(|| (to, kept.clone()))
        };
        let mut ends: Vec<(Identifier, Kept)> = self.links.iter().filter_map(of).collect();
        ends.sort_by_key(|(to, kept)| (Reverse(expiry_ms(key, *to, kept.tie.last_ms)), *to));
        ends
    }
}

proptest! {
    #[test]
    fn links_let_go_and_identifiers_erased_leave_what_the_rules_of_keeping_say(
        history in crowded_history(),
        erased in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..20),
    ) {
        let (mut graph, mut keeper) = (Graph::default(), Keeper::default());
        let keys = keys_of(&history);
        for (at, seen) in history.iter().enumerate() {
            graph.observe(&observation(seen));
            keeper.see(seen);
            for (_, which) in erased.iter().filter(|(when, _)| when.index(history.len()) == at) {
                let key = *which.get(&keys);
                prop_assert_eq!(graph.erase(&key), keeper.known.contains(&key));
                keeper.erase(key);
            }
        }
        for key in keys {
            let expected: Vec<_> = [Trust::Server, Trust::Browser]
                .into_iter()
                .flat_map(|trust| {
                    let kept = keeper.kept_by(key, trust).into_iter();
                    kept.map(move |end| (trust, end)).collect::<Vec<_>>()
                })
                .map(|(trust, (to, kept))| (to, trust, kept.tie, kept.by.contains(&to)))
                .collect();
            let links = graph.links_of(&key).into_iter().map(|link| {
                let tie = Tie {
                    first_known_ms: link.first_known_ms,
                    last_ms: link.last_ms,
                    event_id: link.event_id,
                };
                (link.to, link.trust, tie, link.is_there)
            });
            prop_assert_eq!(links.collect::<Vec<_>>(), expected);
        }
        prop_assert_eq!(graph.len(), keeper.known.len());
    }
}
