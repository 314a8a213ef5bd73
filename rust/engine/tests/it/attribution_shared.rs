//! Conversions that several touches share: models, and what counts of each partner.

use headwater_engine::limits::CREDITS_MAX;

use crate::common::*;

const HOUR: u64 = 3_600_000;

/// Partner, click and share of each credit of the last conversion.
pub(crate) type Credits = Vec<(u64, Option<u64>, u64)>;

pub(crate) fn credits(result: &Result) -> Credits {
    let rows = result.rows("conversions");
    let read = |credit: &Value| {
        let number = |id: &[u8]| u64::from_be_bytes(id[8..].try_into().unwrap());
        let click = credit[1].as_slice().map(number);
        (credit[0].as_u64().unwrap(), click, credit[2].as_u64().unwrap())
    };
    rows.last().unwrap()[14].as_array().unwrap().iter().map(read).collect()
}

/// Partner, class, outcome and share of each candidate.
pub(crate) fn candidates(result: &Result) -> Vec<(u64, String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let read = |candidate: &Value| {
        let number = |name: &str| candidate[name].as_u64().unwrap();
        let (class, outcome) = (text(&candidate["class"]), text(&candidate["outcome"]));
        (number("partner"), class, outcome, number("share_ppm"))
    };
    result.explain()["candidates"].as_array().unwrap().iter().map(read).collect()
}

pub(crate) fn outcomes(result: &Result) -> Vec<(u64, String)> {
    candidates(result).into_iter().map(|(partner, _, outcome, _)| (partner, outcome)).collect()
}

pub(crate) fn named(list: &[(u64, &str)]) -> Vec<(u64, String)> {
    list.iter().map(|(partner, outcome)| (*partner, (*outcome).to_owned())).collect()
}

/// A world whose program 1 has these terms.
pub(crate) fn world(terms: &[(&str, Value)]) -> World {
    let mut world = World::default();
    world.push(head(90, T0).control("program", 1, 1, terms));
    world
}

/// Clicks of partners by visitor 4, an hour apart from `T0`; the ids count from 100.
fn clicks(world: &mut World, partners: &[u64]) {
    for (n, partner) in (0..).zip(partners) {
        let now = T0 + n * HOUR;
        world.at(now).push(head(100 + n, now).click(*partner, &[(VISITOR, 4)]));
    }
}

fn sold(world: &mut World) -> Result {
    let now = world.ms;
    world.push(head(1, now).sale(&sale(1).by(VISITOR, 4)))
}

#[test]
fn each_model_shares_in_its_way() {
    let day: u64 = 24 * HOUR;
    for (model, expected) in [
        ("last_click", vec![(5, Some(102), 1_000_000)]),
        ("first_click", vec![(3, Some(100), 1_000_000)]),
        ("linear", vec![(3, Some(100), 333_334), (4, Some(101), 333_333), (5, Some(102), 333_333)]),
        (
            "position",
            vec![(3, Some(100), 400_000), (4, Some(101), 200_000), (5, Some(102), 400_000)],
        ),
        ("unheard_of", vec![(5, Some(102), 1_000_000)]),
    ] {
        let mut world = world(&[("model", model.into()), ("window_ms", day.into())]);
        clicks(&mut world, &[3, 4, 5]);
        let result = sold(&mut world);
        assert_eq!(credits(&result), expected, "{model}");
        let shown = result.explain()["model"].as_str().unwrap().to_owned();
        assert_eq!(shown, if model == "unheard_of" { "last_click" } else { model });
    }
}

#[test]
fn a_weight_halves_with_each_half_life() {
    let terms = [("model", "time_decay".into()), ("half_life_ms", HOUR.into())];
    let mut world = world(&terms);
    clicks(&mut world, &[3, 4, 5]);
    let expected = [(3, Some(100), 142_857), (4, Some(101), 285_714), (5, Some(102), 571_429)];
    assert_eq!(credits(&sold(&mut world)), expected);
}

#[test]
fn a_program_may_weigh_positions_and_the_rest_is_told_as_outranked_in_time() {
    let position = array([Value::from(0), Value::from(0), Value::from(1_000_000)]);
    let mut world = world(&[("model", "position".into()), ("position_ppm", position)]);
    clicks(&mut world, &[3, 4, 5]);
    let result = sold(&mut world);
    assert_eq!(credits(&result), [(5, Some(102), 1_000_000)]);
    let expected = named(&[(5, "credited"), (4, "older"), (3, "older")]);
    assert_eq!(outcomes(&result), expected);
}

#[test]
fn the_first_click_leaves_the_later_ones_newer() {
    let mut world = world(&[("model", "first_click".into())]);
    clicks(&mut world, &[3, 4, 3]);
    let result = sold(&mut world);
    assert_eq!(credits(&result), [(3, Some(100), 1_000_000)]);
    assert_eq!(outcomes(&result), named(&[(3, "newer"), (4, "newer"), (3, "credited")]));
}

#[test]
fn of_each_partner_the_latest_touch_shares_unless_the_program_says_otherwise() {
    for (setting, expected, first) in [
        (None, vec![(4, Some(101), 500_000), (3, Some(102), 500_000)], "superseded"),
        (
            Some(false),
            vec![(3, Some(100), 333_334), (4, Some(101), 333_333), (3, Some(102), 333_333)],
            "credited",
        ),
    ] {
        let mut terms = vec![("model", "linear".into())];
        terms.extend(setting.map(|value: bool| ("per_partner_latest", value.into())));
        let mut world = world(&terms);
        clicks(&mut world, &[3, 4, 3]);
        let result = sold(&mut world);
        assert_eq!(credits(&result), expected);
        assert_eq!(outcomes(&result)[2].1, first);
    }
    let terms = [("model", "first_click".into()), ("per_partner_latest", true.into())];
    let mut world = world(&terms);
    clicks(&mut world, &[3, 4, 3]);
    assert_eq!(credits(&sold(&mut world)), [(4, Some(101), 1_000_000)]);
}

#[test]
fn shares_in_the_explanation_are_those_credited() {
    let mut world = world(&[("model", "linear".into())]);
    clicks(&mut world, &[3, 4]);
    let result = sold(&mut world);
    let shares: Vec<u64> = candidates(&result).into_iter().map(|(_, _, _, share)| share).collect();
    assert_eq!(shares, [500_000, 500_000]);
}

#[test]
fn at_most_so_many_touches_share_and_the_newest_do() {
    let max = CREDITS_MAX as u64;
    for (clicks, older) in [(max, 0), (max + 1, 1)] {
        let mut world = world(&[("model", "linear".into())]);
        for n in 0..clicks {
            let seen = (VISITOR, n / 40);
            world.at(T0 + n).push(head(100 + n, T0 + n).click(1000 + n, &[seen]));
        }
        let now = world.ms;
        let by = sale(1).by(VISITOR, 0).by(VISITOR, 1);
        let result = world.push(head(1, now).sale(&by));
        let credits = credits(&result);
        assert_eq!(credits.len(), CREDITS_MAX);
        assert_eq!(credits[0].1, Some(100 + older));
        let olders = outcomes(&result).into_iter().filter(|(_, outcome)| outcome == "older");
        assert_eq!(olders.count() as u64, older);
    }
}

#[test]
fn a_change_of_shares_is_a_new_revision() {
    let mut world = world(&[("model", "linear".into())]);
    clicks(&mut world, &[3, 4]);
    let now = world.ms;
    world.push(head(110, now).click(7, &[(CUSTOMER, 5)]));
    sold(&mut world);
    let again = world.push(head(2, now).sale(&sale(1).by(CUSTOMER, 5)));
    assert_eq!(again.decision().3, 2);
    assert_eq!(credits(&again).len(), 3);
    let third = world.push(head(3, now).sale(&sale(1).by(CUSTOMER, 5)));
    assert!(third.rows("conversions").is_empty());
}
