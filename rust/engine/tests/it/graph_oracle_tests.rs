//! The oracle itself, on histories whose answers follow from the rules by hand.

use std::collections::BTreeSet;

use headwater_engine::identity::{Identifier, IdentifierType as Type};
use headwater_engine::record::Trust;

use crate::common::{id, DAY, T0};
use crate::graph_oracle::*;
use crate::graph_worlds::{graph_of, key};

const ALICE: (Type, u64) = (Type::Customer, 1);
const BOB: (Type, u64) = (Type::Customer, 2);
const LAPTOP: (Type, u64) = (Type::Visitor, 3);
const MAIL: (Type, u64) = (Type::Email, 4);

fn of((kind, number): (Type, u64)) -> Identifier {
    key(kind, number)
}

fn seen(event: u64, at_ms: u64, trust: Trust, keys: &[(Type, u64)]) -> Seen {
    let identifiers = keys.iter().copied().map(of).collect();
    Seen { event_id: id(event), accept_ms: T0 + at_ms, at_ms: T0 + at_ms, trust, identifiers }
}

fn oracle(events: &[(u64, &[(Type, u64)])]) -> Oracle {
    let mut oracle = Oracle::default();
    for (event, (at_ms, keys)) in events.iter().enumerate() {
        oracle.see(seen(event as u64, *at_ms, Trust::Server, keys));
    }
    oracle
}

fn ask(starts: &[(Type, u64)]) -> Question {
    Question {
        starts: starts.iter().copied().map(of).collect(),
        occurred_ms: T0 + 10 * DAY,
        known_ms: T0 + 10 * DAY,
        trust: Trust::Browser,
        members_max: 64,
        hops_max: 8,
        neighbours_max: 48,
        is_isolating: false,
    }
}

fn members(answer: &Answer) -> BTreeSet<Identifier> {
    answer.members.iter().map(|(key, _)| *key).collect()
}

fn all(keys: &[(Type, u64)]) -> BTreeSet<Identifier> {
    keys.iter().copied().map(of).collect()
}

#[test]
fn an_event_links_its_strongest_identifier_to_the_others_and_each_digest_of_an_address() {
    let pairs = |trust, keys: &[(Type, u64)]| seen(1, 0, trust, keys).pairs();
    let star = [(of(ALICE), of(MAIL)), (of(ALICE), of(LAPTOP))];
    assert_eq!(pairs(Trust::Server, &[LAPTOP, MAIL, ALICE]), star);
    assert_eq!(pairs(Trust::Browser, &[LAPTOP, MAIL, ALICE]), star[1..]);
    assert_eq!(pairs(Trust::Server, &[ALICE, BOB, LAPTOP]), []);
    assert_eq!(pairs(Trust::Browser, &[(Type::Device, 1), LAPTOP]), []);
    let other = (Type::Email, 5);
    let both = [(of(MAIL), of(other)), (of(MAIL), of(LAPTOP)), (of(other), of(LAPTOP))];
    assert_eq!(pairs(Trust::Server, &[LAPTOP, other, MAIL]), both);
}

#[test]
fn of_many_identifiers_the_eight_strongest_are_linked() {
    let many: Vec<(Type, u64)> = (0..12).map(|n| (Type::Visitor, n)).chain([ALICE]).collect();
    let linked = seen(1, 0, Trust::Server, &many).linkable();
    assert_eq!((linked.len(), linked[0], linked[7]), (8, of(ALICE), of((Type::Visitor, 6))));
}

#[test]
fn a_link_is_live_from_when_it_was_known_to_the_end_of_the_shorter_life() {
    let oracle = oracle(&[(DAY, &[ALICE, LAPTOP])]);
    let reached = |occurred_ms: u64, known_ms: u64| {
        let question =
            Question { occurred_ms: T0 + occurred_ms, known_ms: T0 + known_ms, ..ask(&[ALICE]) };
        oracle.answer(&question).members.len()
    };
    assert_eq!(reached(DAY, DAY - 1), 1);
    assert_eq!(reached(0, DAY), 2);
    assert_eq!(reached(91 * DAY - 1, 91 * DAY), 2);
    assert_eq!(reached(91 * DAY, 91 * DAY), 1);
}

#[test]
fn the_newest_login_owns_a_shared_cookie() {
    let oracle = oracle(&[(DAY, &[ALICE, LAPTOP]), (2 * DAY, &[BOB, LAPTOP])]);
    let bob = oracle.answer(&ask(&[BOB]));
    assert_eq!(members(&bob), all(&[BOB, LAPTOP]));
    let alice = oracle.answer(&ask(&[ALICE]));
    assert_eq!(members(&alice), all(&[ALICE]));
    let cut = Step {
        from: of(ALICE),
        to: of(LAPTOP),
        trust: Trust::Server,
        at_ms: T0 + DAY,
        event_id: id(0),
    };
    assert_eq!(alice.cut, BTreeSet::from([cut]));
    assert_eq!(members(&oracle.answer(&ask(&[LAPTOP]))), all(&[BOB, LAPTOP]));
}

#[test]
fn isolated_a_shared_cookie_is_nobodys() {
    let phone = (Type::Phone, 5);
    let oracle =
        oracle(&[(DAY, &[ALICE, LAPTOP]), (2 * DAY, &[BOB, LAPTOP]), (DAY, &[BOB, phone])]);
    let isolated =
        |starts: &[(Type, u64)]| oracle.answer(&Question { is_isolating: true, ..ask(starts) });
    assert_eq!(members(&isolated(&[BOB])), all(&[BOB, phone]));
    assert_eq!(isolated(&[BOB]).cut.len(), 2);
    assert_eq!(members(&isolated(&[LAPTOP])), all(&[LAPTOP]));
    assert_eq!(members(&isolated(&[BOB, LAPTOP])), all(&[BOB, phone]));
    assert_eq!(members(&isolated(&[phone])), all(&[BOB, phone]));
}

#[test]
fn isolated_two_that_meet_half_way_are_both_contested() {
    let (mine, yours) = ((Type::Visitor, 11), (Type::Visitor, 12));
    let oracle = oracle(&[(DAY, &[ALICE, mine]), (DAY, &[BOB, yours]), (2 * DAY, &[mine, yours])]);
    let isolated =
        |starts: &[(Type, u64)]| oracle.answer(&Question { is_isolating: true, ..ask(starts) });
    assert_eq!(members(&isolated(&[ALICE])), all(&[ALICE]));
    assert_eq!(members(&isolated(&[mine])), all(&[mine]));
    assert_eq!(isolated(&[ALICE]).cut.len(), 3);
    assert_eq!(members(&oracle.answer(&ask(&[ALICE]))), all(&[ALICE, mine, yours]));
}

#[test]
fn isolated_a_contested_start_says_not_whose_the_others_are() {
    let (phone, nobodys) = ((Type::Phone, 5), (Type::Profile, 6));
    let oracle = oracle(&[
        (DAY, &[ALICE, MAIL]),
        (DAY, &[BOB, phone]),
        (DAY, &[MAIL, phone]),
        (DAY, &[BOB, LAPTOP]),
    ]);
    let question = Question { is_isolating: true, ..ask(&[nobodys, MAIL, LAPTOP]) };
    let answer = oracle.answer(&question);
    assert_eq!(members(&answer), all(&[nobodys, LAPTOP, BOB]));
    let seen = oracle.history.iter().filter_map(|entry| match entry {
        Entry::Seen(seen) => Some(seen),
        Entry::Erased(_) => None,
    });
    assert_eq!(crate::graph_worlds::answer(&graph_of(seen), &question), answer);
}

#[test]
fn a_hub_is_named_and_neither_read_nor_crossed() {
    let mut oracle = oracle(&[(DAY, &[ALICE, LAPTOP])]);
    for n in 1..=48 {
        oracle.see(seen(n, 2 * DAY, Trust::Server, &[(Type::Customer, 100 + n), LAPTOP]));
    }
    let alice = oracle.answer(&ask(&[ALICE]));
    assert_eq!((members(&alice), alice.hubs), (all(&[ALICE]), all(&[LAPTOP])));
    let start = oracle.answer(&ask(&[LAPTOP, MAIL]));
    assert_eq!((members(&start), start.hubs), (all(&[MAIL]), all(&[LAPTOP])));
    let healed = Question { occurred_ms: T0 + 91 * DAY, known_ms: T0 + 91 * DAY, ..ask(&[LAPTOP]) };
    assert!(oracle.answer(&healed).hubs.is_empty());
}

#[test]
fn browsers_alone_make_no_hub_for_servers() {
    let mut oracle = oracle(&[(DAY, &[ALICE, LAPTOP])]);
    for n in 1..=60 {
        let event = seen(n, 2 * DAY, Trust::Browser, &[ALICE, (Type::Visitor, 100 + n)]);
        oracle.see(event);
    }
    let alice = oracle.answer(&ask(&[ALICE]));
    assert_eq!((members(&alice), alice.hubs), (all(&[ALICE, LAPTOP]), all(&[ALICE])));
    let servers = oracle.answer(&Question { trust: Trust::Server, ..ask(&[ALICE]) });
    assert_eq!((members(&servers), servers.hubs), (all(&[ALICE, LAPTOP]), all(&[])));
    let laptop = oracle.answer(&ask(&[LAPTOP]));
    assert_eq!((members(&laptop), laptop.hubs), (all(&[ALICE, LAPTOP]), all(&[ALICE])));
    let flooder = oracle.answer(&ask(&[(Type::Visitor, 101)]));
    assert_eq!(flooder.hubs, all(&[ALICE]));
    assert_eq!(flooder.members.len(), 1);
}

#[test]
fn an_identifier_keeps_the_49_that_live_longest_and_of_equals_the_smallest() {
    let mut oracle = Oracle::default();
    for n in 0..60 {
        oracle.see(seen(n, DAY, Trust::Server, &[LAPTOP, (Type::Customer, 100 + n)]));
    }
    oracle.see(seen(90, DAY + 1, Trust::Server, &[LAPTOP, (Type::Customer, 999)]));
    let world = oracle.world();
    let kept = world.kept(of(LAPTOP), Trust::Server);
    assert_eq!(kept.len(), KEPT_MAX);
    assert_eq!(kept[0].0, of((Type::Customer, 999)));
    assert_eq!(kept[48].0, of((Type::Customer, 147)));
    assert!(!world.keeps(of(LAPTOP), of((Type::Customer, 148)), Trust::Server));
    assert!(world.keeps(of((Type::Customer, 148)), of(LAPTOP), Trust::Server));
}

#[test]
fn erasing_the_bridge_parts_two_cookies_until_they_meet_again() {
    let other = (Type::Visitor, 9);
    let mut oracle = oracle(&[(DAY, &[MAIL, LAPTOP]), (DAY, &[MAIL, other])]);
    assert_eq!(oracle.answer(&ask(&[LAPTOP])).members.len(), 3);
    oracle.erase(of(MAIL));
    assert_eq!(members(&oracle.answer(&ask(&[LAPTOP]))), all(&[LAPTOP]));
    assert!(!oracle.answer(&ask(&[MAIL])).is_known);
    oracle.see(seen(7, 3 * DAY, Trust::Server, &[MAIL, LAPTOP]));
    assert_eq!(members(&oracle.answer(&ask(&[LAPTOP]))), all(&[LAPTOP, MAIL]));
}

#[test]
fn a_walk_is_bounded_in_members_and_in_steps() {
    let chain = |n: u64| (Type::Visitor, n);
    let mut oracle = Oracle::default();
    for n in 0..20 {
        oracle.see(seen(n, DAY, Trust::Server, &[chain(n), chain(n + 1)]));
    }
    let walk = oracle.answer(&ask(&[chain(0)]));
    assert_eq!((walk.members.len(), walk.is_truncated, walk.is_cut_short), (9, false, true));
    let few = oracle.answer(&Question { members_max: 5, ..ask(&[chain(0)]) });
    assert_eq!((few.members.len(), few.is_truncated), (5, true));
    let just = oracle.answer(&Question { members_max: 21, hops_max: 20, ..ask(&[chain(0)]) });
    assert_eq!((just.members.len(), just.is_truncated, just.is_cut_short), (21, false, false));
}

#[test]
fn a_second_customer_of_a_question_is_left_out_and_named() {
    let answer = oracle(&[(DAY, &[BOB, LAPTOP])]).answer(&ask(&[ALICE, BOB]));
    assert_eq!((members(&answer), answer.is_known), (all(&[ALICE]), true));
    let cut = answer.cut.first().unwrap();
    assert_eq!((cut.from, cut.to, cut.event_id), (of(ALICE), of(BOB), [0; 16]));
}
