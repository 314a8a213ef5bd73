//! One visitor at a time: what each kind of evidence does to a click, early and late.

use crate::common::*;
use crate::fraud_world::*;

const CHECKOUT: &str = "https://shop.example/checkout/pay";

fn click(event: u64, seconds: u64) -> Touch {
    Touch {
        event,
        at_ms: T0 + 12 * HOUR + seconds * 1000,
        visitor: Some(1),
        address: Some(1),
        ..Touch::default()
    }
}

fn run(touches: &[Touch]) -> Clicks {
    let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
    clicks.run(touches).settle();
    clicks
}

#[test]
fn a_link_fetched_ahead_counts_when_the_visitor_goes_there() {
    let ahead = Touch { flags: PREFETCH, ..click(1, 0) };
    let clicks = run(&[ahead]);
    assert_eq!(clicks.end(1).counted, "prefetch");
    assert!(!clicks.end(1).is_unique);
    let clicks = run(&[ahead, click(2, 60)]);
    assert_eq!((&*clicks.end(1).counted, clicks.end(1).is_unique), ("counted", true));
    assert_eq!((&*clicks.end(2).counted, clicks.end(2).is_unique), ("duplicate", false));
    assert_eq!(clicks.causes, ["prefetch_promoted"]);
    let too_late = run(&[ahead, click(2, 301)]);
    assert_eq!(too_late.end(1).counted, "prefetch");
    assert_eq!(too_late.end(2).counted, "counted");
    let elsewhere = run(&[ahead, Touch { link: 2, ..click(2, 60) }]);
    assert_eq!(elsewhere.end(1).counted, "prefetch");
}

#[test]
fn a_page_that_names_a_click_fetched_ahead_has_it_count_before_it_comes_or_after() {
    let ahead = Touch { flags: PREFETCH, ..click(1, 0) };
    let page = Touch { event: 9, ..click(9, 30) }.page("https://shop.example/", Some(1));
    for records in [vec![ahead.record(), page.clone()], vec![page, ahead.record()]] {
        let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
        clicks.push(&records).settle();
        assert_eq!(clicks.end(1).counted, "counted");
        assert!(clicks.end(1).is_unique);
    }
}

#[test]
fn a_click_fetched_ahead_is_promoted_when_a_sale_names_it_days_later() {
    let ahead = Touch { flags: PREFETCH, ..click(1, 0) };
    let mut clicks = run(&[ahead]);
    let now = clicks.ms;
    clicks.push(&[head(77, now).sale(&sale(1).click(1))]);
    assert_eq!(clicks.end(1).counted, "counted");
    assert_eq!(clicks.causes, ["prefetch_promoted"]);
}

#[test]
fn an_earlier_click_that_comes_later_takes_over_who_is_unique() {
    let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
    clicks.push(&[click(1, 100).record()]);
    assert!(clicks.end(1).is_unique);
    clicks.push(&[click(2, 20).record()]);
    assert_eq!((clicks.end(1).is_unique, clicks.end(2).is_unique), (false, true));
    clicks.push(&[Touch { partner: 2, ..click(3, 200) }.record()]);
    assert!(clicks.end(3).is_unique, "of another partner");
}

#[test]
fn another_partners_click_a_moment_before_is_a_collision_and_a_tap_halves_it() {
    let first = Touch { partner: 2, ..click(1, 0) };
    let soon = Touch { at_ms: first.at_ms + 1_500, ..click(2, 0) };
    let clicks = run(&[first, soon]);
    assert_eq!((clicks.end(2).score, &*clicks.end(2).verdict), (80, "review"));
    assert_eq!(clicks.end(1).score, 0);
    let tapped = run(&[first, Touch { is_activated: true, ..soon }]);
    assert_eq!(tapped.end(2).score, 40);
    let other_program = run(&[Touch { program: 2, ..first }, soon]);
    assert_eq!(other_program.end(2).score, 0);
    // The same when the first of the two comes last.
    let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
    clicks.push(&[soon.record()]).push(&[first.record()]);
    assert_eq!(clicks.end(2).score, 80);
}

#[test]
fn a_click_within_ten_minutes_of_the_checkout_is_a_hijack_whichever_comes_first() {
    let page = |seconds: u64| Touch { event: 50 + seconds, ..click(1, seconds) };
    let view = page(0).page(CHECKOUT, None);
    for (seconds, score) in [(300, 70), (599, 70), (601, 0)] {
        let click = click(1, seconds).record();
        for records in [vec![view.clone(), click.clone()], vec![click, view.clone()]] {
            let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
            clicks.push(&records).settle();
            assert_eq!(clicks.end(1).score, score, "{seconds}");
        }
    }
    let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
    clicks.push(&[page(500).page(CHECKOUT, None), click(1, 300).record()]).settle();
    assert_eq!(clicks.end(1).score, 0, "seen after the click");
}

#[test]
fn who_followed_a_honeypot_is_rejected_for_a_day_before_and_after() {
    let honeypot = Touch { flags: HONEYPOT, link: 9, ..click(1, 0) };
    let before = Touch { link: 2, at_ms: honeypot.at_ms - 11 * HOUR, ..click(2, 0) };
    let after = Touch { link: 3, at_ms: honeypot.at_ms + 23 * HOUR, ..click(3, 0) };
    let later = Touch { link: 4, at_ms: honeypot.at_ms + 25 * HOUR, ..click(4, 0) };
    let other = Touch { visitor: Some(2), address: Some(2), ..click(5, 10) };
    let clicks = run(&[before, honeypot, after, later, other]);
    let verdict = |event| &*clicks.end(event).verdict;
    assert_eq!([verdict(1), verdict(2), verdict(3)], ["reject"; 3]);
    assert_eq!([verdict(4), verdict(5)], ["accept"; 2]);
    assert!(clicks.causes.iter().all(|cause| cause == "HONEYPOT"), "{:?}", clicks.causes);
}

#[test]
fn who_has_no_cookie_is_known_by_address_and_browser_over_midnight_too() {
    let midnight = (T0 / DAY + 1) * DAY;
    let fresh = |event: u64, at_ms: u64| Touch {
        event,
        at_ms,
        flags: NEW,
        visitor: Some(100 + event),
        ..click(event, 0)
    };
    let clicks = run(&[fresh(1, midnight - 2_000), fresh(2, midnight + 3_000)]);
    assert_eq!(clicks.end(2).counted, "duplicate");
    let honeypot = Touch { flags: NEW | HONEYPOT, link: 7, ..fresh(1, midnight - HOUR) };
    let next_day = Touch { link: 3, ..fresh(2, midnight + 5 * HOUR) };
    assert_eq!(run(&[honeypot, next_day]).end(2).verdict, "reject");
    let honeypot = Touch { at_ms: midnight + HOUR, ..honeypot };
    let day_before = Touch { at_ms: midnight - 5 * HOUR, ..next_day };
    assert_eq!(run(&[day_before, honeypot]).end(2).verdict, "reject");
}

#[test]
fn a_device_id_with_several_browsers_is_malformed_early_clicks_included() {
    let device = |event: u64, agent: u64| Touch {
        device: Some(1),
        visitor: None,
        address: None,
        agent,
        ..click(event, event * 900)
    };
    let clicks = run(&[device(1, 1), device(2, 2), device(3, 30), device(4, 44)]);
    for event in 1..=4 {
        assert!(clicks.end(event).codes.contains(&13), "{event}");
    }
}

#[test]
fn a_test_is_scored_and_feeds_nobody_and_neither_does_an_impression() {
    let tests: Vec<Touch> =
        (0..100).map(|n| Touch { flags: TEST + n % 2 * 31, ..click(n + 1, n * 3) }).collect();
    let clicks = run(&[&tests[..], &[click(500, 301)]].concat());
    assert_eq!(clicks.end(1).counted, "test");
    assert_eq!(clicks.end(500).decision().0, "accept");
    assert_eq!(clicks.end(500).codes, Vec::<u64>::new());
    assert!(clicks.end(500).is_unique);
}

#[test]
fn an_erased_visitor_and_click_leave_nothing_behind() {
    let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
    let many: Vec<Touch> = (0..20).map(|n| Touch { link: n, ..click(n + 1, n * 31) }).collect();
    clicks.run(&many);
    let before = clicks.engine.stats()["fraud_tallies"];
    assert_ne!(clicks.end(20).score, 0);
    let ids = identifiers(&[(VISITOR, 1), (CLICK, 20)]);
    let body = array(["identifier".into(), false.into(), false.into(), ids]);
    let now = clicks.ms;
    clicks.push(&[head(900, now).record(7, body)]);
    assert!(clicks.engine.stats()["fraud_tallies"] < before);
    clicks.push(&[Touch { address: None, ..click(30, 900) }.record()]);
    assert_eq!(clicks.end(30).score, 0, "known again from nothing");
    assert!(clicks.end(30).is_unique, "known again from nothing");
}

#[test]
fn a_revised_click_takes_the_credit_of_a_sale_with_it() {
    let mut clicks = Clicks { ms: T0 + 20 * HOUR, ..Clicks::default() };
    clicks.push(&[Touch { partner: 3, ..click(1, 0) }.record()]);
    clicks.push(&[Touch { partner: 4, link: 2, ..click(2, 600) }.record()]);
    let now = clicks.ms;
    let sold = clicks.push_read(&[head(60, now).sale(&sale(1).by(VISITOR, 1))]);
    assert_eq!(sold.decision().2, Some(4));
    let honeypot = Touch { flags: HONEYPOT, link: 9, partner: 5, ..click(3, 700) };
    let revised = clicks.push_read(&[honeypot.record()]);
    assert_eq!(revised.rows("decision_revised").len(), 2);
    let (_, _, partner, revision) = revised.decision();
    assert_eq!((partner, revision > 1), (None, true), "all of the visitor's clicks are rejected");
}

#[test]
fn who_was_there_is_known_to_the_end_of_a_long_window_and_no_longer() {
    const WINDOW: u64 = 10 * DAY;
    let begin = (T0 / WINDOW + 1) * WINDOW;
    let visit = |event: u64, at_ms: u64| Touch { at_ms, ..click(event, 0) };
    let mut clicks = Clicks { ms: begin, ..Clicks::default() };
    let seconds = Value::from(WINDOW / 1000);
    let fraud = Value::Map(vec![("unique_window_seconds".into(), seconds)]);
    clicks.push(&[head(90, begin).control("program", 1, 1, &[("fraud", fraud)])]);
    clicks.run(&[visit(1, begin + HOUR)]).settle();
    assert_eq!(clicks.engine.stats()["fraud_pending"], 0);
    let partner = Touch { partner: 2, ..visit(3, begin + 6 * DAY) };
    clicks.run(&[visit(2, begin + 5 * DAY), partner, visit(4, begin + WINDOW + HOUR)]);
    let unique = |event| clicks.end(event).is_unique;
    assert_eq!([unique(1), unique(2), unique(3), unique(4)], [true, false, true, true]);
}
