//! What is the same for all brands: the list of crawlers, and the network's rules.

use headwater_engine::fraud::agents::BotList;
use headwater_engine::fraud::shared::Shared;
use headwater_engine::limits::Limits;
use headwater_engine::record::Control;
use headwater_engine::{Engine, Options};

use crate::common::*;

/// A part of a list of crawlers.
pub(crate) fn chunk(
    version: &str,
    at: u64,
    chunks: u64,
    patterns: &[&str],
) -> Vec<(&'static str, Value)> {
    let patterns: Vec<Value> = patterns.iter().map(|text| Value::from(*text)).collect();
    vec![
        ("version", version.into()),
        ("chunk", at.into()),
        ("chunks", chunks.into()),
        ("patterns", array(patterns)),
    ]
}

/// What a layer says of one rule.
pub(crate) fn rule(code: &str, members: &[(&str, Value)]) -> Value {
    let members = members.iter().map(|(name, value)| (Value::from(*name), value.clone()));
    Value::Map(vec![(Value::from(code), Value::Map(members.collect()))])
}

fn apply(shared: &mut Shared, object: &str, revision: u64, value: &[(&str, Value)]) -> bool {
    let value = value.iter().map(|(name, value)| (Value::from(*name), value.clone()));
    let value = pack(&Value::Map(value.collect()));
    shared.apply(&Control { object, number: 0, revision, value: &value })
}

fn list(shared: &mut Shared, revision: u64, value: &[(&str, Value)]) -> bool {
    apply(shared, "bot_list", revision, value)
}

#[test]
fn a_list_is_in_force_when_all_its_parts_have_come_in_any_order() {
    let mut shared = Shared::default();
    assert_eq!(shared.bots.version(), None);
    assert!(list(&mut shared, 2, &chunk("v1", 1, 2, &["Beta"])));
    assert_eq!(shared.bots.version(), None);
    assert!(list(&mut shared, 1, &chunk("v1", 0, 2, &["Alpha"])));
    assert_eq!(shared.bots.version(), Some("v1"));
    assert_eq!(shared.bots.patterns(), ["Alpha", "Beta"]);
    assert!(shared.bots.matches("xAlpha") && !shared.bots.matches("alpha"));
}

#[test]
fn the_old_list_stays_in_force_until_the_new_one_is_whole() {
    let mut shared = Shared::default();
    list(&mut shared, 1, &chunk("v1", 0, 1, &["Alpha"]));
    list(&mut shared, 3, &chunk("v2", 1, 2, &["Gamma"]));
    assert_eq!(shared.bots.version(), Some("v1"));
    list(&mut shared, 2, &chunk("v2", 0, 2, &["Beta"]));
    assert_eq!(shared.bots.version(), Some("v2"));
    list(&mut shared, 4, &chunk("v3", 0, 1, &[]));
    assert_eq!(shared.bots.version(), None, "a list without patterns is none");
}

#[test]
fn of_two_changes_of_one_part_the_larger_revision_counts() {
    let mut shared = Shared::default();
    assert!(list(&mut shared, 5, &chunk("v2", 0, 1, &["Beta"])));
    let newest = shared.clone();
    assert!(!list(&mut shared, 5, &chunk("v2", 0, 1, &["Beta"])));
    assert!(!list(&mut shared, 4, &chunk("v1", 0, 1, &["Alpha"])));
    assert_eq!(shared, newest);
    let rules = |weight: u64| [("rules", rule("CADENCE", &[("weight", weight.into())]))];
    assert!(apply(&mut shared, "fraud_rules", 2, &rules(10)));
    let newest = shared.clone();
    assert!(!apply(&mut shared, "fraud_rules", 2, &rules(20)));
    assert!(!apply(&mut shared, "fraud_rules", 1, &rules(20)));
    assert_eq!(shared, newest);
    assert!(!shared.network.is_empty());
    assert!(apply(&mut shared, "fraud_rules", 3, &[]));
    assert!(shared.network.is_empty());
}

#[test]
fn what_is_no_part_of_a_list_changes_nothing() {
    let mut shared = Shared::default();
    let whole = chunk("v1", 0, 1, &["Alpha"]);
    for left_out in 1..4 {
        let mut value = whole.clone();
        value.remove(left_out);
        assert!(list(&mut shared, 1, &value));
    }
    for (at, chunks) in [(1, 1), (0, 0), (256, 257), (u64::MAX, u64::MAX)] {
        assert!(list(&mut shared, 1, &chunk("v1", at, chunks, &["Alpha"])));
    }
    assert_eq!(shared, Shared::default());
}

#[test]
fn the_engine_tells_all_brands_and_makes_none() {
    let mut world = World::default();
    let value = chunk("v1", 0, 1, &["Examplebot"]);
    let record = head(1, T0).brand(0).control("bot_list", 1024, 3, &value);
    let outcome = world.push(record.clone());
    let row = [0.into(), "bot_list".into(), Value::from(1024), Value::from(3)];
    assert_eq!(outcome.rows("controls").len(), 1);
    assert_eq!(outcome.rows("controls")[0][..4], row);
    assert_eq!(world.push(record).number("duplicates"), 1);
    assert_eq!(world.engine.stats()["brands"], 0);
    assert_eq!(world.engine.stats()["bot_patterns"], 1);
    world.push(head(2, T0).brand(1).control("bot_list", 1, 9, &value));
    assert_eq!(world.engine.stats()["brands"], 1, "a brand's own is no business of the others");
    assert_eq!(world.engine.stats()["bot_patterns"], 1);
}

#[test]
fn a_change_for_all_brands_is_taken_at_the_bound_of_brands() {
    let limits = Limits { brands_max: 1, ..Limits::default() };
    let mut world = World::with(limits);
    world.push(head(1, T0).program(DAY, 1));
    let value = chunk("v1", 0, 1, &["Examplebot"]);
    let outcome = world.push(head(2, T0).brand(0).control("bot_list", 0, 1, &value));
    assert_eq!(outcome.rows("controls").len(), 1);
    let outcome = world.push(head(3, T0).brand(0).program(DAY, 1));
    assert_eq!(outcome.rows("quarantined").len(), 1);
}

#[test]
fn a_snapshot_keeps_the_list_in_force_and_the_parts_on_their_way() {
    let mut world = World::default();
    let rules = rule("CADENCE", &[("weight", 10.into()), ("mode", "shadow".into())]);
    world.push(head(1, T0).brand(0).control("fraud_rules", 0, 7, &[("rules", rules.clone())]));
    world.push(head(2, T0).brand(0).control("bot_list", 0, 1, &chunk("v1", 0, 1, &["Al+pha"])));
    world.push(head(3, T0).brand(0).control("bot_list", 0, 2, &chunk("v2", 0, 2, &["Beta"])));
    let own = [
        ("destination_url", "https://shop.example/".into()),
        ("fraud", Value::Map(vec![("rules".into(), rules)])),
    ];
    world.push(head(4, T0).control("program", 1, 1, &own));
    let mine = [
        ("program", 1.into()),
        ("partner", 3.into()),
        ("fraud", Value::Map(vec![("review_from".into(), 30.into())])),
        ("identity", identifiers(&[(EMAIL, 5), (VISITOR, 6)])),
    ];
    world.push(head(5, T0).control("enrolment", 9, 2, &mine));
    let bytes = world.engine.view().to_bytes();
    let mut again =
        World { engine: Engine::restore(0, &bytes, Options::default()).unwrap(), ..world };
    assert_eq!(again.engine.view().to_bytes(), bytes);
    let old = head(6, T0).brand(0).control("fraud_rules", 0, 7, &[]);
    assert_eq!(again.push(old).number("duplicates"), 1);
    again.push(head(7, T0).brand(0).control("bot_list", 1, 3, &chunk("v2", 1, 2, &["C", "D"])));
    assert_eq!(again.engine.stats()["bot_patterns"], 3);
}

#[test]
fn patterns_past_the_bounds_are_skipped_and_counted() {
    let many: Vec<String> = (0..8200).map(|n| format!("Bot{n:05}")).collect();
    let compiled = BotList::compile("v", many);
    assert_eq!(compiled.skipped(), 8);
    assert!(compiled.matches("Bot08191") && !compiled.matches("Bot08192"));
    let long: Vec<String> = (0..6).map(|n| format!("Bot{n}{}", "x".repeat(100_000))).collect();
    assert_eq!(BotList::compile("v", long).skipped(), 1);
}
