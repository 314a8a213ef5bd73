//! Crowds that are innocent, and floods that are not.

use crate::common::T0;
use crate::fraud_world::*;

/// A fixed stream of numbers as good as random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// People at home, each with an address of their own, over some hours.
fn people(count: u64, hours: u64, first: u64) -> Vec<Touch> {
    let mut random = Random(first);
    let mut touches: Vec<Touch> = (0..count)
        .map(|number| Touch {
            event: first + number,
            at_ms: T0 + random.below(hours * HOUR),
            partner: 1 + random.below(5),
            link: 1 + random.below(9),
            flags: NEW,
            visitor: Some(first + number),
            address: Some(first + number),
            net: 1 + random.below(20_000),
            agent: random.below(300),
            is_activated: true,
            ..Touch::default()
        })
        .collect();
    touches.sort_by_key(|touch| touch.at_ms);
    touches
}

fn merged(lists: &[&[Touch]]) -> Vec<Touch> {
    let mut all: Vec<Touch> = lists.iter().flat_map(|list| list.iter().copied()).collect();
    all.sort_by_key(|touch| (touch.at_ms, touch.event));
    all
}

fn run(lists: &[&[Touch]]) -> Clicks {
    let mut clicks = Clicks::default();
    clicks.run(&merged(lists)).settle();
    clicks
}

fn is_clean(end: &End) -> bool {
    end.verdict == "accept" && end.counted == "counted"
}

fn is_held(end: &End) -> bool {
    end.verdict != "accept"
}

/// One carrier's address: thousands of people with hundreds of browsers, in some hours.
fn carrier(count: u64) -> Vec<Touch> {
    let mut random = Random(9);
    let mut touches = people(count, 3, 1_000_000);
    for touch in &mut touches {
        (touch.address, touch.net) = (Some(77), 77);
        // Some browsers are common, most are rare.
        let scale = 1 + random.below(400);
        touch.agent = random.below(scale);
    }
    touches
}

#[test]
fn thousands_of_people_behind_one_address_stay_accepted_early_ones_included() {
    let crowd = carrier(4_000);
    let clicks = run(&[&crowd]);
    assert!(clicks.share(&crowd, is_clean) > 0.99, "{}", clicks.share(&crowd, is_clean));
    let early = &crowd[..60];
    assert!(clicks.share(early, is_clean) > 0.9, "{}", clicks.share(early, is_clean));
    assert!(clicks.share(&crowd, |end| end.counted == "duplicate") < 0.001);
}

#[test]
fn people_at_home_stay_accepted_and_are_each_unique() {
    let people = people(3_000, 6, 1);
    let clicks = run(&[&people]);
    assert!(clicks.share(&people, is_clean) > 0.999);
    assert!(clicks.share(&people, |end| end.is_unique) > 0.999);
}

#[test]
fn a_household_that_shops_is_not_held() {
    let browser = |n: u64| Touch {
        event: n,
        at_ms: T0 + n * 7 * MINUTE + n * n % 11 * 1_000,
        partner: 1 + n % 4,
        link: n % 5,
        visitor: Some(n % 3),
        address: Some(5),
        agent: n % 3,
        ..Touch::default()
    };
    let family: Vec<Touch> = (0..12).map(browser).collect();
    let clicks = run(&[&family]);
    assert!(clicks.share(&family, is_clean) > 0.999);
}

#[test]
fn six_hundred_clicks_of_three_addresses_in_four_hours_reach_review() {
    let mut random = Random(4);
    let flood: Vec<Touch> = (0..600)
        .map(|number| Touch {
            event: 5_000_000 + number,
            at_ms: T0 + HOUR + random.below(4 * HOUR),
            flags: NEW,
            visitor: Some(5_000_000 + number),
            address: Some(900 + number % 3),
            net: 900 + number % 3,
            agent: 7 + number % 3,
            link: random.below(50),
            is_activated: true,
            ..Touch::default()
        })
        .collect();
    let people = people(3_000, 6, 1);
    let clicks = run(&[&people, &flood]);
    assert!(clicks.share(&flood, is_held) > 0.99, "{}", clicks.share(&flood, is_held));
    assert!(clicks.share(&people, is_clean) > 0.98, "{}", clicks.share(&people, is_clean));
}

#[test]
fn a_timer_is_found_whatever_it_clicks() {
    let timer: Vec<Touch> = (0..40)
        .map(|number| Touch {
            event: 5_000_000 + number,
            at_ms: T0 + number * 60_000 + number % 3 * 300,
            link: number % 7,
            visitor: Some(3),
            address: Some(900 + number),
            agent: number,
            is_activated: true,
            ..Touch::default()
        })
        .collect();
    let clicks = run(&[&timer]);
    let later = &timer[8..];
    assert!(clicks.share(later, is_held) > 0.99);
    assert!(clicks.share(later, |end| end.codes.contains(&23)) > 0.99);
}

#[test]
fn one_kind_of_browser_that_floods_a_partner_from_everywhere_is_found() {
    let mut random = Random(11);
    let botnet: Vec<Touch> = (0..1_200)
        .map(|number| Touch {
            event: 5_000_000 + number,
            at_ms: T0 + 2 * HOUR + random.below(HOUR),
            flags: NEW,
            visitor: Some(5_000_000 + number),
            address: Some(50_000 + number % 400),
            net: 50_000 + number % 400,
            agent: 17,
            link: random.below(50),
            is_activated: true,
            ..Touch::default()
        })
        .collect();
    let people = people(4_000, 6, 1);
    let clicks = run(&[&people, &botnet]);
    assert!(clicks.share(&botnet, |end| end.codes.contains(&24)) > 0.95);
    assert!(clicks.share(&botnet, is_held) > 0.95, "{}", clicks.share(&botnet, is_held));
    assert!(clicks.share(&people, is_clean) > 0.97, "{}", clicks.share(&people, is_clean));
}

#[test]
fn clicks_sent_again_are_duplicates_and_many_are_held() {
    let people = people(300, 6, 1);
    let again: Vec<Touch> = people
        .iter()
        .map(|touch| Touch {
            event: 5_000_000 + touch.event,
            at_ms: touch.at_ms + 200 + touch.event % 7_000,
            ..*touch
        })
        .collect();
    let clicks = run(&[&people, &again]);
    assert!(clicks.share(&again, |end| end.counted == "duplicate") > 0.999);
    assert!(clicks.share(&people, is_clean) > 0.999);
    let burst: Vec<Touch> = (0..30)
        .map(|number| Touch {
            event: number + 1,
            at_ms: T0 + number * 900,
            visitor: Some(4),
            address: Some(4),
            ..Touch::default()
        })
        .collect();
    let clicks = run(&[&burst]);
    assert!(clicks.share(&burst[9..], is_held) > 0.99);
    assert!(is_clean(clicks.end(1)) || clicks.end(1).counted == "counted");
}

#[test]
fn an_address_that_throws_its_cookies_away_is_found() {
    let mut random = Random(3);
    let churn: Vec<Touch> = (0..60)
        .map(|number| Touch {
            event: 1 + number,
            at_ms: T0 + random.below(HOUR / 2),
            flags: NEW,
            visitor: Some(number),
            address: Some(9),
            link: number,
            ..Touch::default()
        })
        .collect();
    let clicks = run(&[&churn]);
    assert!(clicks.share(&churn, |end| end.codes.contains(&25)) > 0.99);
    assert!(clicks.share(&churn, is_held) > 0.99);
}

#[test]
fn a_network_far_above_its_past_is_found_and_a_busy_one_is_not() {
    let mut random = Random(5);
    let week = 7 * 24;
    let mut busy: Vec<Touch> = (0..week * 30)
        .map(|number| Touch {
            event: 1 + number,
            at_ms: T0 + number * HOUR / 30,
            partner: 1 + number % 5,
            visitor: Some(number),
            flags: NEW,
            address: Some(100_000 + number),
            net: 3,
            agent: 5,
            ..Touch::default()
        })
        .collect();
    let last: Vec<Touch> = (0..60)
        .map(|number| Touch {
            event: 900_000 + number,
            at_ms: T0 + week * HOUR + random.below(HOUR / 2),
            address: Some(300_000 + number),
            visitor: Some(900_000 + number),
            net: 4,
            ..busy[0]
        })
        .collect();
    busy.extend(last.iter().map(|touch| Touch {
        event: touch.event + 1_000,
        visitor: Some(touch.event + 1_000),
        address: touch.address.map(|address| address + 1_000),
        net: 3,
        ..*touch
    }));
    let clicks = run(&[&busy, &last]);
    assert!(clicks.share(&last, |end| end.codes.contains(&22)) > 0.99);
    let same_hour = &busy[busy.len() - 60..];
    assert!(clicks.share(same_hour, |end| end.codes.contains(&22)) < 0.01);
}
