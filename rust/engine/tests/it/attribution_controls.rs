//! The rules that decide survive a snapshot, and do not depend on the order of changes.

use headwater_engine::{Engine, Options};

use crate::attribution_shared::{credits, world};
use crate::common::*;

fn terms() -> Vec<(&'static str, Value)> {
    let position = array([Value::from(1), Value::from(2), Value::from(999_997)]);
    let classes = array(["impression".into(), "click".into()]);
    vec![
        ("model", "position".into()),
        ("position_ppm", position),
        ("half_life_ms", 77.into()),
        ("class_order", classes),
        ("window_ms", DAY.into()),
        ("soft_click_window_ms", 5.into()),
        ("impression_window_ms", (2 * DAY).into()),
        ("explicit_click", "candidate".into()),
        ("on_conflict", "isolate".into()),
        ("per_partner_latest", false.into()),
        ("members_max", 256.into()),
        ("hops_max", 16.into()),
        ("neighbours_max", 1.into()),
    ]
}

fn code(number: u64, revision: u64, partner: u64, text: &str) -> Vec<u8> {
    let value = [("program", 1.into()), ("partner", partner.into()), ("code", text.into())];
    head(700 + 10 * number + revision, T0).control("promo_code", number, revision, &value)
}

fn controls() -> Vec<Vec<u8>> {
    let event = [("program", 1.into()), ("window_ms", (3 * DAY).into())];
    let deleted = ["promo_code".into(), 2.into(), 2.into(), Value::Nil];
    vec![
        head(91, T0).control("program", 1, 1, &[]),
        head(92, T0).control("program", 1, 2, &terms()),
        head(93, T0).control("event_type", 2, 1, &[]),
        head(94, T0).control("event_type", 2, 2, &event),
        head(95, T0).enrolment(3, "paused", 1),
        head(96, T0).enrolment(3, "active", 2),
        code(1, 1, 3, "OLD"),
        code(1, 2, 3, "TEN"),
        code(2, 1, 3, "TEN"),
        head(97, T0).record(5, array(deleted)),
    ]
}

#[test]
fn rules_and_codes_survive_a_snapshot() {
    let mut before = World::default();
    for record in controls() {
        before.push(record);
    }
    before.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    before.push(head(101, T0).click_in(1, 4, 64, &[(VISITOR, 4)]));
    let bytes = before.engine.view().to_bytes();
    let engine = Engine::restore(0, &bytes, Options::default()).unwrap();
    assert_eq!(engine.view().to_bytes(), bytes);
    let World { ms, stream_seq, sequence, .. } = before;
    let mut after = World { engine, ms, stream_seq, sequence };
    let by = Sale { promo: Some("TEN"), ..sale(1).click(100).by(VISITOR, 4) };
    let report = || head(1, T0).sale(&by);
    let (one, other) = (before.push(report()), after.push(report()));
    assert_eq!(one, other);
    assert_eq!(credits(&one), [(4, Some(101), 1_000_000)]);
    assert_eq!(before.engine.view().to_bytes(), after.engine.view().to_bytes());
}

#[test]
fn changes_in_any_order_leave_the_same_rules() {
    let of = |order: Vec<usize>| {
        let (mut world, records) = (world(&[]), controls());
        for at in order {
            world.push(records[at].clone());
        }
        let by = Sale { promo: Some("TEN"), ..sale(1).by(VISITOR, 4) };
        world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
        let result = world.push(head(1, T0).sale(&by));
        let rows = result.rows("conversions");
        (rows[0][14].clone(), rows[0][15].clone(), rows[0][16].clone())
    };
    let count = controls().len();
    let plain = of((0..count).collect());
    assert_eq!(of((0..count).rev().collect()), plain);
    assert_eq!(of((0..count).map(|at| at ^ 1).collect()), plain);
    assert_eq!(of((0..count).map(|at| at * 7 % count).collect()), plain);
}
