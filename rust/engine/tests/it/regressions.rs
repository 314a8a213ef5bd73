//! What careful readers found once, each held by a test.

use headwater_engine::limits::{Limits, NEIGHBOURS_MAX};
use headwater_engine::{Engine, Options, Outcomes};

use crate::common::*;
use crate::stories::*;

fn by(order: u64, list: &[(u64, u64)]) -> Sale {
    Sale { list: list.to_vec(), ..sale(order) }
}

/// What the engine and one restored from its snapshot make of the same record.
fn both(story: &mut Story, record: Vec<u8>) -> (Result, Result) {
    both_with(story, record, Limits::default())
}

fn both_with(story: &mut Story, record: Vec<u8>, limits: Limits) -> (Result, Result) {
    let bytes = story.world.engine.view().to_bytes();
    let options = Options { limits, panic_on: None };
    let mut other = Engine::restore(0, &bytes, options).unwrap();
    let frame = frame(11, story.world.sequence, &[record]);
    story.world.sequence += 1;
    let mut outcomes = Outcomes::new();
    other.apply((story.world.ms, story.world.stream_seq + 1), &frame, &mut outcomes).unwrap();
    let restored = read(&other.encode_outcomes(&outcomes));
    (story.world.push_frame(&frame), restored)
}

/// A browser adds an identifier to an order that servers credit: `waiting` is not told, and an
/// engine restored from a snapshot is.
#[test]
fn a_browsers_identifier_of_an_order_servers_credit_waits_after_a_restart_only() {
    let mut story = Story::new();
    story.seen(&[BOB, LAPTOP]);
    story.days(1).click(HONEST, &[LAPTOP]);
    story.seen(&[ALICE, LAPTOP]);
    story.ms(60_000).sale(&by(1, &[ALICE]));
    story.browser_sale(&by(1, &[(VISITOR, 900)]));
    // What moves the order when it is looked at again: somebody else's newer login, later.
    story.ms(10_000).seen(&[BOB, LAPTOP]);
    story.ms(10_000);
    // Accepted before the order, arriving now, and about the browser's identifier alone.
    let record = story.late(70_000, None).identify(&[(VISITOR, 900), (DEVICE, 901)]);
    let (old, restored) = both(&mut story, record);
    assert_eq!(old.rows("conversions").len(), restored.rows("conversions").len());
}

/// An order waits by the click it names; an erasure of the click and of another identifier takes
/// it out of `waiting`, and a restart puts it back.
#[test]
fn an_erased_click_that_an_order_names_waits_again_after_a_restart() {
    let mut story = Story::new();
    let click = story.click(HONEST, &[LAPTOP]);
    story.ms(60_000);
    story.sale(&by(1, &[(VISITOR, 900)]).click(click));
    story.erase(&[(CLICK, click), (VISITOR, 900)]);
    let record = story.ms(1000).late(30_000, None).identify(&[(CLICK, click), LAPTOP]);
    let (old, restored) = both(&mut story, record);
    assert_eq!(old.rows("conversions").len(), restored.rows("conversions").len());
}

/// More orders fall due at once than one sweep takes: those left wait on, but not after a restart.
#[test]
fn orders_past_their_day_wait_on_until_they_are_swept_but_not_after_a_restart() {
    let mut story = Story::new();
    story.seen(&[ALICE, LAPTOP]);
    for order in 1..=200 {
        story.sale(&by(order, &[ALICE]));
    }
    let claim_ms = story.world.ms - 1000;
    let tick = story.ms(DAY + 5000).late(0, None).tick();
    story.world.push(tick);
    let record = story.late(0, Some(claim_ms)).click(RIVAL, &[LAPTOP]);
    let (old, restored) = both(&mut story, record);
    assert_eq!(old.rows("late_evidence").len(), restored.rows("late_evidence").len());
}

/// Orders evicted at `orders_max` stay in `waiting` and take the places of those that are there.
#[test]
fn orders_evicted_at_the_bound_take_places_until_a_restart() {
    let limits = Limits { orders_max: 70, ..Limits::default() };
    let mut story = Story::new();
    story.world = World::with(limits);
    story.seen(&[ALICE, LAPTOP]);
    for order in 1..=140 {
        story.ms(1).sale(&by(order, &[ALICE]));
    }
    let record = story.ms(1000).late(1500, None).click(HONEST, &[LAPTOP]);
    let (old, restored) = both_with(&mut story, record, limits);
    assert_eq!(old.rows("conversions").len(), restored.rows("conversions").len());
}

/// A click of an event that links nothing is still its visitor's, also when it arrives late.
#[test]
fn a_late_click_that_links_nothing_revises_its_visitors_order() {
    for list in
        [vec![ALICE, BOB, LAPTOP], (0..8).map(|n| (7, 70 + n)).chain([LAPTOP]).collect::<Vec<_>>()]
    {
        let mut story = Story::new();
        story.seen(&[LAPTOP]);
        story.ms(60_000).sale(&by(1, &[LAPTOP]));
        let record = story.ms(60_000).late(90_000, None).click(HONEST, &list);
        let late = story.world.push(record);
        // A new order, at the same time, has it.
        assert_eq!(story.buys(&[LAPTOP]), Ok(HONEST));
        assert_eq!(late.rows("conversions").len(), 1, "{} identifiers", list.len());
    }
}

/// As `a_heap_of_guessed_orders_keeps_no_late_click_from_a_real_one`, but for the real order's
/// number, which there happens to sort before the guesses.
#[test]
fn a_heap_of_guesses_keeps_no_late_click_from_an_order_of_a_larger_number() {
    let mut story = Story::new();
    story.seen(&[ALICE, LAPTOP]);
    story.seen(&[ALICE, MAIL]);
    story.ms(60_000).sale(&by(5000, &[MAIL]));
    for n in 0..100 {
        story.browser_sale(&by(1000 + n, &[MAIL]));
    }
    let record = story.ms(1000).late(30_000, None).click(HONEST, &[LAPTOP]);
    let rows = story.world.push(record).rows("conversions");
    assert!(rows.iter().any(|row| row[0] == bin(id(55_000))));
}

/// The order's own report makes its cookie a hub: the decision sees that at once, and no event of
/// the next two seconds changes it, for none is evidence.
#[test]
fn an_orders_own_report_is_no_late_evidence_against_it() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    for n in 0..NEIGHBOURS_MAX as u64 {
        story.seen(&[(EMAIL, 700 + n), LAPTOP]);
    }
    let order = story.ms(60_000).sale(&by(1, &[ALICE, LAPTOP]));
    assert_eq!(credit_of(&order), nobody("hub"));
    // The thank-you page, a second later.
    let page = story.ms(1000).browser_seen(&[ALICE]);
    assert_eq!(page.rows("conversions").len(), 0, "{:?}", page.decision());
}

/// The same under `isolate`: the own link of mail and cookie makes both contested at once.
#[test]
fn an_orders_own_report_contests_nothing() {
    let mut story = Story::under("isolate");
    story.click(HONEST, &[TABLET]);
    story.click(RIVAL, &[LAPTOP]);
    story.seen(&[ALICE, TABLET]);
    story.seen(&[ALICE, MAIL]);
    story.seen(&[BOB, LAPTOP]);
    let order = story.ms(60_000).sale(&by(1, &[MAIL, LAPTOP]));
    let before = credit_of(&order);
    let page = story.ms(1000).browser_seen(&[LAPTOP]);
    assert_eq!(page.rows("conversions").len(), 0, "{before:?} -> {:?}", page.decision());
}

/// The server's report dates the order, and nobody is told.
#[test]
fn an_order_dated_anew_says_so() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    let guessed_ms = story.world.ms + DAY;
    story.days(20).browser_sale_of(guessed_ms, &by(1, &[LAPTOP]));
    let real = story.ms(1000).sale(&by(1, &[LAPTOP]));
    let rows = real.rows("conversions");
    assert_eq!(rows.len(), 1, "the ledger still has the guessed time");
    assert_eq!(rows[0][7].as_u64(), Some(story.world.ms));
}

/// A pixel marks somebody's order as a test, which keeps it out of pay.
#[test]
fn a_browser_does_not_make_a_servers_order_a_test() {
    let mut story = Story::new();
    story.click(HONEST, &[LAPTOP]);
    story.sale(&by(1, &[LAPTOP]));
    let pixel = story.ms(1000).browser_sale(&Sale { flags: 1, ..sale(1) });
    let flags: Vec<_> = pixel.rows("conversions").iter().map(|row| row[12].as_u64()).collect();
    assert_eq!(flags, []);
}

fn erase_person(story: &mut Story, force: bool, list: &[(u64, u64)]) -> Result {
    let body = ["person".into(), false.into(), force.into(), identifiers(list)];
    let record = story.late(0, None).record(7, array(body));
    story.world.push(record)
}

fn holds(engine: &Engine, (_, number): (u64, u64)) -> usize {
    let digest = id(number);
    engine.view().to_bytes().windows(16).filter(|bytes| *bytes == digest).count()
}

#[test]
fn a_person_erased_by_an_address_that_is_a_hub_is_forgotten() {
    let mut story = Story::new();
    let mail = (EMAIL, 0xabcd_0001);
    for n in 0..=NEIGHBOURS_MAX as u64 {
        story.seen(&[(CUSTOMER, 700 + n), mail]);
    }
    story.sale(&by(1, &[mail]));
    erase_person(&mut story, true, &[mail]);
    assert_eq!(holds(&story.world.engine, mail), 0);
}

#[test]
fn every_customer_that_an_erasure_names_is_forgotten() {
    let mut story = Story::new();
    let (one, two) = ((CUSTOMER, 0xabcd_0001), (CUSTOMER, 0xabcd_0002));
    story.seen(&[one, LAPTOP]);
    story.seen(&[two, TABLET]);
    erase_person(&mut story, true, &[one, two]);
    assert_eq!((holds(&story.world.engine, one), holds(&story.world.engine, two)), (0, 0));
}

#[test]
fn a_named_identifier_that_is_shared_is_forgotten() {
    let mut story = Story::new();
    let mail = (EMAIL, 0xabcd_0001);
    story.seen(&[BOB, mail]);
    story.days(1).seen(&[ALICE, mail]);
    erase_person(&mut story, false, &[mail]);
    assert_eq!(holds(&story.world.engine, mail), 0);
}

#[test]
fn an_erased_click_id_is_not_kept_by_the_orders_that_name_it() {
    let mut story = Story::new();
    let click = story.click(HONEST, &[LAPTOP]);
    story.sale(&by(1, &[LAPTOP]).click(click));
    story.erase(&[(CLICK, click)]);
    let bytes = story.world.engine.view().to_bytes();
    let digest = id(click);
    let count = bytes.windows(16).filter(|bytes| *bytes == digest).count();
    // Once in `gone`, which must tell a repeat of the click; the links' event ids went with it.
    assert_eq!(count, 1);
}

/// A person with more identifiers than a walk meets.
#[test]
fn an_erasure_of_a_person_that_stops_short_says_so() {
    let mut story = Story::new();
    for n in 0..40 {
        story.seen(&[ALICE, (EMAIL, 700 + n)]);
        story.seen(&[(EMAIL, 700 + n), (VISITOR, 800 + n)]);
    }
    let result = erase_person(&mut story, true, &[ALICE]);
    let row = &result.rows("erasures")[0];
    let told = read(row[5].as_slice().unwrap()).tables;
    let count = told["identifiers"].as_array().unwrap().len();
    assert!(count == 81 || told.contains_key("truncated"), "{count} of 81, keys {:?}", told.keys());
}

/// Nothing of an erased identifier is left in any section, whatever it was in.
#[test]
fn no_section_holds_an_erased_digest() {
    let mut story = Story::new();
    let base = 0x1234_5678_9000;
    let keys: Vec<(u64, u64)> = (0..60)
        .map(|n| ([1, 2, 3, 4, 5, 7, 8][usize::try_from(n).unwrap() % 7], base + n))
        .collect();
    for (n, key) in keys.iter().enumerate() {
        for other in keys.iter().skip(n + 1) {
            if key.0 != 1 || other.0 != 1 {
                story.ms(1).seen(&[*key, *other]);
            }
        }
        for _ in 0..(n % 5) {
            story.click(HONEST, &[*key]);
        }
        story.sale(&by(n as u64, &[*key]));
        story.browser_sale(&by(n as u64, &[*key, keys[(n + 1) % 60]]));
    }
    for key in keys {
        assert!(holds(&story.world.engine, key) > 0);
        story.erase(&[key]);
        assert_eq!(holds(&story.world.engine, key), 0, "{key:?}");
    }
}

/// Browsers link customers and cookies crosswise; every order explains every link that is cut.
#[test]
fn an_explanation_has_a_bound() {
    let mut story = Story::new();
    for customer in 0..31 {
        for cookie in 0..31 {
            story.ms(1).browser_seen(&[(CUSTOMER, 100 + customer), (VISITOR, 200 + cookie)]);
        }
    }
    let order = story.ms(60_000).browser_sale(&by(1, &[(VISITOR, 200)]));
    let bytes = order.rows("conversions")[0][15].as_slice().unwrap().len();
    assert!(bytes <= 32 * 1024, "{bytes} bytes of explanation for one pixel");
}
