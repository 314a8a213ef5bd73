//! What happens between people, devices and partners, told to the whole engine.

use headwater_engine::limits::NEIGHBOURS_MAX;

use crate::common::*;
use crate::stories::*;

/// Alice's login, a click, then Bob's login, all on one laptop.
fn shared_laptop(on_conflict: &str) -> Story {
    let mut story = Story::under(on_conflict);
    story.seen(&[ALICE, LAPTOP]);
    story.days(1).click(HONEST, &[LAPTOP]);
    story.days(1).seen(&[BOB, LAPTOP]);
    story.days(1);
    story
}

#[test]
fn a_shared_laptop_is_the_last_logins() {
    let mut story = shared_laptop("last_auth");
    assert_eq!(story.buys(&[BOB]), Ok(HONEST));
    let alice = story.order(&[ALICE]);
    assert_eq!(credit_of(&alice), nobody("no_touch"));
    assert_eq!(cut(&alice), [(end(ALICE), end(LAPTOP))]);
    assert_eq!(story.buys(&[LAPTOP]), Ok(HONEST));
}

#[test]
fn a_shared_laptop_isolated_is_nobodys() {
    let mut story = shared_laptop("isolate");
    for person in [ALICE, BOB] {
        let order = story.order(&[person]);
        assert_eq!(credit_of(&order), nobody("no_touch"));
        assert_eq!(cut(&order), [(end(ALICE), end(LAPTOP)), (end(BOB), end(LAPTOP))]);
    }
    let cookie_alone = story.order(&[LAPTOP]);
    assert_eq!((credit_of(&cookie_alone), cut(&cookie_alone).len()), (Ok(HONEST), 2));
}

#[test]
fn an_address_given_by_two_customers_stays_with_the_newest_and_parts_nobody() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    story.click(5, &[TABLET]);
    story.seen(&[ALICE, LAPTOP]);
    story.seen(&[BOB, TABLET]);
    story.days(1).seen(&[ALICE, MAIL]);
    story.days(1).seen(&[BOB, MAIL]);
    assert_eq!(story.buys(&[ALICE]), Ok(HONEST));
    assert_eq!(story.buys(&[BOB]), Ok(5));
    let by_mail = story.order(&[MAIL]);
    assert_eq!((credit_of(&by_mail), path(&by_mail)[1].clone()), (Ok(5), end(BOB)));
    assert_eq!(cut(&by_mail), [(end(ALICE), end(MAIL))]);
}

#[test]
fn an_address_given_by_too_many_customers_is_a_hub_and_parts_nobody() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    story.seen(&[ALICE, LAPTOP]);
    for n in 0..=NEIGHBOURS_MAX as u64 {
        story.seen(&[(CUSTOMER, 100 + n), MAIL]);
    }
    story.seen(&[ALICE, MAIL]);
    assert_eq!(story.buys(&[MAIL]), nobody("hub"));
    let alice = story.order(&[ALICE]);
    assert_eq!((credit_of(&alice), hubs(&alice)), (Ok(HONEST), vec![end(MAIL)]));
}

#[test]
fn a_kiosk_with_two_thousand_logins_is_a_hub_for_the_first_and_the_last_of_them() {
    let mut story = Story::new();
    let kiosk = LAPTOP;
    let login = |n: u64| (CUSTOMER, 1000 + n);
    story.click(HONEST, &[kiosk]);
    for n in 0..2000 {
        story.ms(60_000).seen(&[login(n), kiosk]);
    }
    for start in [kiosk, login(0), login(1000), login(1999)] {
        let order = story.order(&[start]);
        assert_eq!(credit_of(&order), nobody("hub"), "{start:?}");
        assert_eq!(hubs(&order), [end(kiosk)]);
    }
}

#[test]
fn two_persons_who_log_in_in_turn_own_the_cookie_in_turn() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    for turn in 0..6 {
        let (now, other) = if turn % 2 == 0 { (ALICE, BOB) } else { (BOB, ALICE) };
        story.days(1).seen(&[now, LAPTOP]);
        assert_eq!(story.buys(&[now]), Ok(HONEST), "turn {turn}");
        let known = if turn == 0 { "no_identifier_known" } else { "no_touch" };
        assert_eq!(story.buys(&[other]), nobody(known), "turn {turn}");
    }
}

#[test]
fn an_event_with_two_customers_links_neither() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    story.seen(&[ALICE, BOB, LAPTOP]);
    assert_eq!(story.buys(&[ALICE]), nobody("no_identifier_known"));
    story.seen(&[BOB, LAPTOP]);
    let both = story.order(&[ALICE, BOB]);
    assert_eq!(credit_of(&both), nobody("no_touch"));
    assert_eq!(cut(&both), [(end(ALICE), end(BOB))]);
}

#[test]
fn a_postback_with_a_click_id_alone_needs_no_graph() {
    let mut story = Story::new();
    let click = story.click(HONEST, &[]);
    let order = story.days(1).sale(&sale(1).click(click));
    assert_eq!((credit_of(&order), path(&order).len()), (Ok(HONEST), 2));
}

#[test]
fn a_lost_cookie_is_found_again_through_the_customer() {
    let mut story = Story::new();
    let click = story.click(HONEST, &[LAPTOP]);
    story.seen(&[ALICE, LAPTOP]);
    story.days(8).seen(&[ALICE, TABLET]);
    let order = story.order(&[TABLET]);
    assert_eq!(credit_of(&order), Ok(HONEST));
    assert_eq!(path(&order), [end(TABLET), end(ALICE), end(LAPTOP), end((CLICK, click))]);
}

#[test]
fn a_household_with_one_telephone_remains_two_persons() {
    let phone = (4, 77);
    let mut story = Story::new();
    story.seen(&[ALICE, LAPTOP, phone]);
    story.seen(&[BOB, TABLET]);
    story.click(HONEST, &[LAPTOP]);
    story.click(5, &[TABLET]);
    story.days(1).seen(&[BOB, phone]);
    assert_eq!(story.buys(&[ALICE]), Ok(HONEST));
    assert_eq!(story.buys(&[BOB]), Ok(5));
    assert_eq!(story.buys(&[phone]), Ok(5));
}

#[test]
fn erasing_the_address_that_joins_two_cookies_parts_them() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    story.seen(&[MAIL, LAPTOP]);
    story.seen(&[MAIL, TABLET]);
    assert_eq!(story.buys(&[TABLET]), Ok(HONEST));
    story.erase(&[MAIL]);
    assert_eq!(story.buys(&[TABLET]), nobody("no_touch"));
    assert_eq!(story.buys(&[MAIL]), nobody("no_identifier_known"));
    assert_eq!(story.buys(&[LAPTOP]), Ok(HONEST));
}

#[test]
fn a_hub_heals_as_its_links_age() {
    let device = (DEVICE, 9);
    let mut story = Story::new();
    for n in 0..=NEIGHBOURS_MAX as u64 {
        story.seen(&[(CUSTOMER, 100 + n), device]);
    }
    story.days(179).seen(&[ALICE, device]);
    story.click(HONEST, &[LAPTOP]);
    story.seen(&[ALICE, LAPTOP]);
    assert_eq!(story.buys(&[device]), nobody("hub"));
    assert_eq!(story.days(1).buys(&[device]), Ok(HONEST));
}

#[test]
fn a_click_accepted_before_the_conversion_that_arrives_after_it_revises_the_decision() {
    let mut story = Story::new();
    story.seen(&[ALICE, LAPTOP]);
    let order = story.ms(60_000).sale(&Sale { list: vec![ALICE], ..sale(1) });
    assert_eq!(credit_of(&order), nobody("no_touch"));
    let record = story.ms(60_000).late(90_000, None).click(HONEST, &[LAPTOP]);
    let late = story.world.push(record);
    assert_eq!(late.decision(), ("attributed".into(), None, Some(HONEST), 2));
    assert_eq!(late.rows("late_evidence").len(), 0);
}

#[test]
fn a_link_accepted_before_the_conversion_that_arrives_after_it_revises_the_decision() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    let order = story.ms(60_000).sale(&Sale { list: vec![ALICE], ..sale(1) });
    assert_eq!(credit_of(&order), nobody("no_identifier_known"));
    let record = story.ms(60_000).late(90_000, None).identify(&[ALICE, LAPTOP]);
    let late = story.world.push(record);
    assert_eq!(late.decision(), ("attributed".into(), None, Some(HONEST), 2));
}

#[test]
fn a_click_accepted_after_the_conversion_that_claims_to_be_earlier_is_reported_and_earns_nothing() {
    let mut story = Story::new();
    story.seen(&[ALICE, LAPTOP]);
    story.click(HONEST, &[LAPTOP]);
    let order = story.days(1).sale(&Sale { list: vec![ALICE], ..sale(1) });
    assert_eq!(credit_of(&order), Ok(HONEST));
    let earlier_ms = story.world.ms - 60_000;
    let record = story.ms(60_000).late(0, Some(earlier_ms)).click(RIVAL, &[LAPTOP]);
    let late = story.world.push(record);
    assert_eq!(late.rows("conversions").len(), 0);
    let rows = late.rows("late_evidence");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][1], bin(id(50_001)));
    assert_eq!(rows[0][5], array([Value::from(RIVAL)]));
}

fn with_code(order: u64, code: &'static str) -> Sale {
    Sale { list: vec![LAPTOP], promo: Some(code), ..sale(order) }
}

fn credits(result: &Result) -> Value {
    result.rows("conversions").last().unwrap()[14].clone()
}

fn whole(partner: u64, click: Option<u64>) -> Value {
    let click = click.map_or(Value::Nil, |click| bin(id(click)));
    array([array([Value::from(partner), click, Value::from(1_000_000)])])
}

#[test]
fn a_coupons_owner_who_also_has_the_click_keeps_the_click() {
    let mut story = Story::new();
    story.promo_code(HONEST, "TEN");
    let click = story.click(HONEST, &[LAPTOP]);
    let order = story.days(1).sale(&with_code(1, "ten"));
    assert_eq!(credits(&order), whole(HONEST, Some(click)));
}

#[test]
fn a_coupon_outranks_a_click_of_another_partner() {
    let mut story = Story::new();
    story.promo_code(5, "TEN");
    story.click(HONEST, &[LAPTOP]);
    assert_eq!(credits(&story.sale(&with_code(1, "TEN"))), whole(5, None));
    assert_eq!(credit_of(&story.sale(&with_code(2, "ELEVEN"))), Ok(HONEST));
}

#[test]
fn the_window_in_force_at_the_decision_counts() {
    for (before, after, expected) in
        [(30 * DAY, DAY, nobody("outside_window")), (DAY, 30 * DAY, Ok(HONEST))]
    {
        let mut story = Story::new();
        story.program(1, &[("window_ms", before.into())]);
        story.click(HONEST, &[LAPTOP]);
        story.days(1).program(2, &[("window_ms", after.into())]);
        assert_eq!(story.days(1).buys(&[LAPTOP]), expected);
    }
}

/// Decided again, an order knows what was known when it was first reported, and nothing later.
#[test]
fn a_login_after_the_order_moves_nothing_when_the_order_is_decided_again() {
    let mut story = Story::new();
    story.seen(&[BOB, LAPTOP]);
    story.days(1).seen(&[ALICE, LAPTOP]);
    story.click(HONEST, &[LAPTOP]);
    let order = story.ms(60_000).sale(&Sale { list: vec![ALICE], ..sale(1) });
    assert_eq!(credit_of(&order), Ok(HONEST));
    story.ms(60_000).seen(&[BOB, LAPTOP]);
    let again = story.ms(60_000).browser_sale(&Sale { list: vec![ALICE], ..sale(1) });
    assert!(again.rows("conversions").iter().all(|row| decision_of(row).2 == Some(HONEST)));
}

#[test]
fn what_is_erased_takes_no_credit_from_an_order_that_is_reported_again() {
    for erased in [(VISITOR, 4), (CUSTOMER, 5)] {
        let mut story = Story::new();
        story.click(3, &[(VISITOR, 4)]);
        story.seen(&[(CUSTOMER, 5), (VISITOR, 4)]);
        let first = story.sale(&sale(1).by(CUSTOMER, 5));
        assert_eq!(credit_of(&first), Ok(3));
        story.erase(&[erased]);
        let again = story.sale(&sale(1).by(CUSTOMER, 5).by(EMAIL, 6));
        assert_eq!(again.rows("conversions").len(), 0, "{erased:?}");
    }
}
