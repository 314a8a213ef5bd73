//! What a rival partner could try with a browser: nothing of it moves a credit that servers'
//! evidence gives, whichever of the two comes first.

use headwater_engine::limits::{NEIGHBOURS_MAX, NODE_CLICKS_MAX, ORDER_IDENTIFIERS_MAX};

use crate::common::*;
use crate::stories::*;

/// The rival's own cookie.
const DEN: (u64, u64) = (VISITOR, 66);

/// Alice came by an honest partner's click, as servers saw.
fn honest() -> Story {
    honest_under("last_auth")
}

fn honest_under(on_conflict: &str) -> Story {
    let mut story = Story::under(on_conflict);
    story.click(HONEST, &[LAPTOP]);
    story.seen(&[ALICE, LAPTOP]);
    story.seen(&[ALICE, MAIL]);
    story.ms(60_000);
    story
}

fn by(order: u64, list: &[(u64, u64)]) -> Sale {
    Sale { list: list.to_vec(), ..sale(order) }
}

/// All that servers can name of Alice leads to the honest partner.
fn assert_unmoved(story: &mut Story) {
    for start in [ALICE, MAIL, LAPTOP] {
        assert_eq!(story.ms(1000).buys(&[start]), Ok(HONEST), "{start:?}");
    }
}

#[test]
fn claiming_a_leaked_address_with_a_newer_click_earns_nothing() {
    for claimed in [MAIL, ALICE] {
        let mut story = honest();
        story.browser_click(RIVAL, &[DEN]);
        story.browser_seen(&[claimed, DEN]);
        story.ms(1000).browser_click(RIVAL, &[DEN, claimed]);
        assert_unmoved(&mut story);
    }
}

#[test]
fn a_click_that_claims_a_leaked_address_and_no_cookie_earns_nothing() {
    for claimed in [MAIL, ALICE] {
        let mut story = honest();
        story.browser_click(RIVAL, &[claimed]);
        assert_unmoved(&mut story);
    }
}

#[test]
fn a_click_that_claims_a_leaked_address_does_not_become_its_by_a_later_login() {
    let mut story = honest();
    story.browser_click(RIVAL, &[MAIL, DEN]);
    story.days(1).seen(&[MAIL, TABLET]);
    assert_unmoved(&mut story);
}

#[test]
fn fifty_fake_links_make_no_hub_of_a_victim() {
    let mut story = honest();
    for n in 0..2 * NEIGHBOURS_MAX as u64 {
        story.browser_seen(&[ALICE, (VISITOR, 1000 + n)]);
        story.browser_seen(&[MAIL, (VISITOR, 2000 + n)]);
        story.browser_seen(&[(CUSTOMER, 3000 + n), LAPTOP]);
    }
    assert_unmoved(&mut story);
}

#[test]
fn a_flood_of_newer_links_lets_no_servers_link_go() {
    let mut story = honest();
    for n in 0..4 * NEIGHBOURS_MAX as u64 {
        for victim in [ALICE, MAIL, LAPTOP] {
            story.ms(1).browser_seen(&[victim, (CLICK, 5000 + n)]);
            story.browser_seen(&[victim, (7, 5000 + n)]);
        }
    }
    assert_unmoved(&mut story);
}

#[test]
fn a_login_faked_in_a_victims_cookie_contests_nothing() {
    for on_conflict in ["last_auth", "isolate"] {
        let mut story = honest_under(on_conflict);
        story.browser_seen(&[BOB, LAPTOP]);
        story.browser_seen(&[BOB, DEN]);
        story.browser_click(RIVAL, &[DEN]);
        assert_unmoved(&mut story);
    }
}

#[test]
fn a_thicket_of_fake_links_hides_nothing_behind_it() {
    let mut story = honest();
    for n in 0..40 {
        story.ms(1).browser_seen(&[MAIL, (VISITOR, 1000 + n)]);
        story.browser_seen(&[(VISITOR, 1000 + n), (CLICK, 2000 + n)]);
        story.browser_seen(&[(VISITOR, 1000 + n), (CLICK, 3000 + n)]);
    }
    assert_unmoved(&mut story);
}

/// The last decision on order 1, reported by a browser and by Alice's server in either order.
fn decided(story: impl Fn() -> Story, guess: &Sale, real: &Sale) -> Vec<(Option<u64>, bool)> {
    let both = [false, true].map(|is_guess_first| {
        let mut story = story();
        let mut last = None;
        for is_guess in [is_guess_first, !is_guess_first] {
            story.ms(1000);
            let result = if is_guess { story.browser_sale(guess) } else { story.sale(real) };
            last = result.rows("conversions").last().map(|row| decision_of(row).2).or(last);
        }
        (last.expect("a decision"), is_guess_first)
    });
    both.to_vec()
}

const UNMOVED: [(Option<u64>, bool); 2] = [(Some(HONEST), false), (Some(HONEST), true)];

/// Alice's story, and a rival's click of a known number.
fn with_rival() -> Story {
    let mut story = honest();
    story.browser_click(RIVAL, &[DEN]);
    story.promo_code(RIVAL, "RIVAL");
    story
}

#[test]
fn a_guessed_order_moves_nothing_by_any_evidence_of_the_guess() {
    let rival_click = with_rival().browser_click(RIVAL, &[]) - 2;
    for guess in [
        by(1, &[DEN]),
        sale(1).click(rival_click),
        Sale { promo: Some("RIVAL"), ..by(1, &[DEN]) },
        Sale { promo: Some("RIVAL"), ..by(1, &[LAPTOP]) },
        Sale { flags: CONSENT_DENIED, ..sale(1) },
        Sale { flags: CONSENT_DENIED, ..sale(1).click(rival_click) },
        by(1, &[BOB]),
    ] {
        for real in [by(1, &[ALICE]), by(1, &[MAIL]), by(1, &[LAPTOP])] {
            assert_eq!(decided(with_rival, &guess, &real), UNMOVED, "{guess:?} {real:?}");
        }
    }
}

#[test]
fn a_guess_that_fills_an_orders_identifiers_leaves_room_for_the_servers() {
    let many: Vec<(u64, u64)> =
        (0..ORDER_IDENTIFIERS_MAX as u64).map(|n| (CUSTOMER, 900 + n)).collect();
    assert_eq!(decided(with_rival, &by(1, &many), &by(1, &[LAPTOP])), UNMOVED);
}

#[test]
fn an_order_guessed_before_the_honest_click_does_not_shut_that_click_out() {
    let mut story = Story::new();
    story.browser_click(RIVAL, &[DEN]);
    let guessed = story.ms(1000).browser_sale(&by(1, &[DEN]));
    assert_eq!(credit_of(&guessed), Ok(RIVAL));
    story.days(1).click(HONEST, &[LAPTOP]);
    story.seen(&[ALICE, LAPTOP]);
    let real = story.ms(60_000).sale(&by(1, &[ALICE]));
    assert_eq!(credit_of(&real), Ok(HONEST));
}

#[test]
fn a_guess_dated_before_the_honest_click_does_not_shut_that_click_out() {
    let mut story = with_rival();
    let long_ago_ms = story.world.ms - 20 * DAY;
    story.browser_sale_of(long_ago_ms, &by(1, &[DEN]));
    let real = story.ms(1000).sale(&by(1, &[ALICE]));
    assert_eq!(credit_of(&real), Ok(HONEST));
}

#[test]
fn a_guess_after_the_servers_report_does_not_date_it() {
    let mut story = with_rival();
    assert_eq!(credit_of(&story.sale(&by(1, &[ALICE]))), Ok(HONEST));
    let long_ago_ms = story.world.ms - 20 * DAY;
    let guess = story.ms(1000).browser_sale_of(long_ago_ms, &by(1, &[DEN]));
    assert!(guess.rows("conversions").iter().all(|row| decision_of(row).2 == Some(HONEST)));
}

#[test]
fn clicks_dated_ahead_of_the_honest_one_are_not_reached_by_servers_links() {
    let mut story = honest();
    story.browser_seen(&[ALICE, DEN]);
    let ahead_ms = story.world.ms + 200_000;
    let record = story.late(0, Some(ahead_ms)).browser().click(RIVAL, &[DEN]);
    story.world.push(record);
    story.ms(250_000);
    assert_unmoved(&mut story);
}

#[test]
fn late_links_of_a_browser_revise_nothing() {
    let mut story = honest();
    story.browser_click(RIVAL, &[DEN]);
    let order = story.ms(60_000).sale(&by(1, &[ALICE]));
    assert_eq!(credit_of(&order), Ok(HONEST));
    let record = story.ms(1000).late(30_000, None).browser().identify(&[ALICE, DEN]);
    assert_eq!(story.world.push(record).rows("conversions").len(), 0);
    let record = story.ms(1000).late(30_000, None).browser().click(RIVAL, &[DEN, MAIL]);
    assert_eq!(story.world.push(record).rows("conversions").len(), 0);
}

#[test]
fn an_address_stuffed_with_clicks_lets_none_of_its_own_go() {
    let mut story = Story::new();
    story.click(HONEST, &[MAIL]);
    story.seen(&[ALICE, MAIL]);
    for _ in 0..2 * NODE_CLICKS_MAX {
        story.ms(1).browser_click(RIVAL, &[MAIL]);
    }
    for start in [ALICE, MAIL] {
        assert_eq!(story.ms(1000).buys(&[start]), Ok(HONEST), "{start:?}");
    }
}

/// An order by Alice's address, and then her click, accepted before it and late to arrive; fake
/// evidence comes before or between the two. What the late click revises.
fn revised_by_late_click(
    fake: impl Fn(&mut Story),
    is_fake_first: bool,
) -> Vec<(Value, Option<u64>)> {
    let mut story = Story::new();
    story.seen(&[ALICE, LAPTOP]);
    story.seen(&[ALICE, MAIL]);
    if is_fake_first {
        fake(&mut story);
    }
    let order = story.ms(60_000).sale(&by(1, &[MAIL]));
    assert_eq!(credit_of(&order), nobody("no_touch"));
    if !is_fake_first {
        fake(&mut story);
    }
    let record = story.ms(1000).late(30_000, None).click(HONEST, &[LAPTOP]);
    let rows = story.world.push(record).rows("conversions");
    rows.iter().map(|row| (row[0].clone(), decision_of(row).2)).collect()
}

#[test]
fn a_thicket_of_fake_links_keeps_no_late_click_from_its_order() {
    let thicket = |story: &mut Story| {
        for n in 0..40 {
            let fake = (VISITOR, 1000 + n);
            story.browser_seen(&[LAPTOP, fake]);
            for leaf in 0..10 {
                story.browser_seen(&[fake, (CLICK, 10_000 + 10 * n + leaf)]);
            }
        }
    };
    for is_fake_first in [true, false] {
        let revised = revised_by_late_click(thicket, is_fake_first);
        assert_eq!(revised, [(bin(id(50_001)), Some(HONEST))], "{is_fake_first}");
    }
}

#[test]
fn a_heap_of_guessed_orders_keeps_no_late_click_from_a_real_one() {
    let heap = |story: &mut Story| {
        for n in 0..100 {
            story.browser_sale(&by(1000 + n, &[MAIL]));
        }
    };
    for is_fake_first in [true, false] {
        let revised = revised_by_late_click(heap, is_fake_first);
        assert!(revised.contains(&(bin(id(50_001)), Some(HONEST))), "{is_fake_first}");
    }
}
