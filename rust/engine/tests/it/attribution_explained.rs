//! What an explanation says of the touches that earned nothing, and what came too late to count.

use headwater_engine::limits::{ACCEPT_AHEAD_MAX_MS, CANDIDATES_EXPLAINED_MAX};

use crate::attribution_shared::{credits, named, outcomes, world};
use crate::common::*;

const HOUR: u64 = 3_600_000;

/// The nearest miss of the last conversion: partner, outcome, and by how much.
fn miss(result: &Result) -> Option<(u64, String, u64)> {
    let miss = result.explain()["nearest_miss"].clone();
    let number = |name: &str| miss[name].as_u64().unwrap();
    let outcome = || miss["outcome"].as_str().unwrap().to_owned();
    (!miss.is_nil()).then(|| (number("partner"), outcome(), number("missed_by_ms")))
}

fn missed(partner: u64, outcome: &str, by_ms: u64) -> Option<(u64, String, u64)> {
    Some((partner, outcome.to_owned(), by_ms))
}

#[test]
fn the_nearest_miss_is_the_touch_that_came_closest() {
    let mut world = world(&[("window_ms", DAY.into())]);
    let now = T0 + 3 * DAY;
    world.push(head(100, T0 + 7).click(3, &[(VISITOR, 4)]));
    world.push(head(101, T0).click(4, &[(VISITOR, 4)]));
    let old = world.at(now).push(head(1, now).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(miss(&old), missed(3, "outside_window", 2 * DAY - 6));
    let later = head(102, now).claim(now + 9).click(5, &[(VISITOR, 4)]);
    world.push(later);
    let soon = world.push(head(2, now).sale(&sale(2).by(VISITOR, 4)));
    assert_eq!(miss(&soon), missed(5, "after_conversion", 9));
    world.push(head(92, now).enrolment(6, "paused", 1));
    world.push(head(103, now).click(6, &[(VISITOR, 4)]));
    let paused = world.push(head(3, now).sale(&sale(3).by(VISITOR, 4)));
    assert_eq!(miss(&paused), missed(6, "partner_inactive", 0));
    world.push(head(104, now).click(7, &[(VISITOR, 4)]));
    let credited = world.push(head(4, now).sale(&sale(4).by(VISITOR, 4)));
    assert_eq!((credited.decision().2, miss(&credited)), (Some(7), None));
}

#[test]
fn a_conversion_that_found_nothing_has_no_nearest_miss() {
    let result = world(&[]).push(head(1, T0).sale(&sale(1).by(VISITOR, 4)));
    assert_eq!(miss(&result), None);
}

#[test]
fn a_named_click_of_another_program_is_named_and_a_reached_one_is_not() {
    let mut world = world(&[]);
    world.push(head(200, T0).click_in(2, 7, 0, &[(VISITOR, 8)]));
    let by = sale(1).click(200).by(VISITOR, 8);
    let result = world.push(head(1, T0).sale(&by));
    assert_eq!(outcomes(&result), named(&[(7, "other_program")]));
    assert_eq!(miss(&result), missed(7, "other_program", 0));
    let result = world.push(head(2, T0).sale(&sale(2).by(VISITOR, 8)));
    assert!(outcomes(&result).is_empty());
}

#[test]
fn a_touch_accepted_after_the_conversion_is_late_and_earns_nothing() {
    for (after_ms, expected) in [
        (ACCEPT_AHEAD_MAX_MS, &[(4, "credited"), (3, "older")]),
        (ACCEPT_AHEAD_MAX_MS + 1, &[(4, "late"), (3, "credited")]),
    ] {
        let mut world = world(&[]);
        world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
        let sold = T0 + HOUR;
        world.at(sold).push(head(1, sold).sale(&sale(1)));
        let now = sold + after_ms;
        world.at(now).push(head(101, now).claim(sold - 5).click(4, &[(VISITOR, 4)]));
        let again = world.push(head(2, now).sale(&sale(1).by(VISITOR, 4)));
        assert_eq!(outcomes(&again), named(expected));
    }
}

#[test]
fn what_came_late_leaves_the_reason_as_it_was() {
    let mut world = world(&[]);
    world.push(head(92, T0).enrolment(3, "paused", 1));
    let first = world.push(head(1, T0).sale(&sale(1).click(100)));
    assert_eq!(first.decision().1.as_deref(), Some("click_unknown"));
    let now = T0 + HOUR;
    world.at(now).push(head(100, now).claim(T0 - 1).click(3, &[(VISITOR, 4)]));
    let other = head(2, now).browser().sale(&sale(1).amount(7).by(VISITOR, 4));
    let again = world.push(other);
    assert!(again.rows("conversions").is_empty(), "the same decision");
    let third = world.push(head(3, now).sale(&Sale { flags: 1, ..sale(2).click(100) }));
    assert_eq!(third.decision().1.as_deref(), Some("partner_inactive"));
}

#[test]
fn the_newest_candidates_are_named_and_the_rest_counted() {
    let max = CANDIDATES_EXPLAINED_MAX as u64;
    for (clicks, omitted) in [(max, 0), (max + 1, 1)] {
        let mut world = world(&[]);
        for n in 0..clicks {
            let now = T0 + n;
            world.at(now).push(head(100 + n, now).click(3, &[(VISITOR, n / 60)]));
        }
        let now = world.ms;
        let by = sale(1).by(VISITOR, 0).by(VISITOR, 1);
        let result = world.push(head(1, now).sale(&by));
        let explain = result.explain();
        assert_eq!(explain["candidates"].as_array().map(Vec::len), Some(100));
        assert_eq!(explain["candidates_omitted"].as_u64(), Some(omitted));
        let named = world.push(head(2, now).sale(&Sale { order: 2, ..by.click(100) }));
        let kept = named.explain()["candidates"].as_array().map(Vec::len);
        assert_eq!(kept, Some(100 + usize::from(omitted == 1)), "the named one is kept");
        assert_eq!(credits(&named), [(3, Some(100), 1_000_000)]);
    }
}

#[test]
fn the_newest_touch_of_each_partner_is_named_however_many_another_has() {
    let mut world = world(&[]);
    world.push(head(90, T0).click(4, &[(VISITOR, 0)]));
    for n in 1..=CANDIDATES_EXPLAINED_MAX as u64 {
        let now = T0 + n;
        world.at(now).push(head(100 + n, now).click(3, &[(VISITOR, n / 60)]));
    }
    let result = world.push(head(1, world.ms).sale(&sale(1).by(VISITOR, 0).by(VISITOR, 1)));
    let partners: Vec<u64> = result.explain()["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| candidate["partner"].as_u64().unwrap())
        .collect();
    assert_eq!((partners.len(), partners.last()), (CANDIDATES_EXPLAINED_MAX + 1, Some(&4)));
}

#[test]
fn an_explanation_has_the_members_of_its_map_and_no_others() {
    let result = world(&[]).push(head(1, T0).sale(&sale(1).by(VISITOR, 4)));
    let names: Vec<String> = result.explain().into_keys().collect();
    assert_eq!(
        names,
        [
            "candidates",
            "candidates_omitted",
            "config_hash",
            "cut",
            "cut_omitted",
            "evidence",
            "hubs",
            "hubs_omitted",
            "links",
            "members",
            "model",
            "nearest_miss",
            "truncated",
        ]
    );
}

#[test]
fn a_named_click_that_came_late_leads_to_nobody() {
    for (accept_ms, expected) in [(T0, Some(8)), (T0 + 2 * HOUR, None)] {
        let mut world = world(&[]);
        world.push(head(92, T0).enrolment(6, "paused", 1));
        world.push(head(101, T0).click(8, &[(VISITOR, 4)]));
        let click = head(100, accept_ms).claim(T0).click(6, &[(VISITOR, 4)]);
        let sold = T0 + HOUR;
        if accept_ms < sold {
            world.push(click.clone());
        }
        let first = world.at(sold).push(head(1, sold).sale(&sale(1).click(100)));
        assert_eq!(first.decision().2, expected);
        let now = T0 + 2 * HOUR;
        world.at(now).push(click);
        let browser = head(2, now).browser().sale(&sale(1).amount(7));
        assert!(world.push(browser).rows("conversions").is_empty(), "the same decision");
    }
}
