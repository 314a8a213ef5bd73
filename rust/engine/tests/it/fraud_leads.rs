//! Leads that have something in common: an address, a browser, a customer.

use std::collections::BTreeMap;

use headwater_engine::{Engine, Options};
use proptest::prelude::*;

use crate::common::*;
use crate::fraud_conversions::*;

const TEST: u64 = 1;

/// A lead: its day, address, browser, contact and network.
type Lead = (u64, u64, u64, u64, u64);

/// Sends leads one after another; what was said of each in the end.
fn leads(world: &mut World, leads: &[Sale]) -> Vec<Judged> {
    let now = world.ms;
    let send = |(lead, event): (&Sale, u64)| {
        world.push(head(event, now).sale(&Sale { kind: Some(LEAD), ..lead.clone() }))
    };
    let results: Vec<Result> = leads.iter().zip(1000..).map(send).collect();
    leads.iter().map(|lead| last_of(&results, lead.order)).collect()
}

fn quarters(of: &[Judged], code: &str) -> Vec<u64> {
    of.iter().map(|judged| judged.quarters(code)).collect()
}

#[test]
fn leads_from_one_address_count_from_the_third_on_and_the_earlier_ones_again() {
    let from_one = |count: u64| -> Vec<Sale> {
        (1..=count).map(|n| Sale { client: at_address(9), ..sale(n) }).collect()
    };
    for (count, expected) in [(2, 0), (3, 1), (5, 1), (6, 2), (7, 2), (8, 3), (9, 3), (10, 4)] {
        let all = leads(&mut ruled(&[]), &from_one(count));
        let every = vec![expected; usize::try_from(count).unwrap()];
        assert_eq!(quarters(&all, "DUPLICATE_IP_CONVERSION"), every);
    }
    let all = leads(&mut ruled(&[]), &from_one(10));
    assert_eq!((all[0].verdict.as_str(), all[0].score), ("review", 50));
    let code = all[9].code("DUPLICATE_IP_CONVERSION").unwrap();
    assert_eq!((code.observed, code.threshold), (10, 3));
}

#[test]
fn leads_from_one_network_count_for_less_and_later() {
    let client = |n: u64| Client { prefix: Some("203.0.113.0/24"), ..at_address(n) };
    for (count, score) in [(4, 0), (5, 7), (20, 30)] {
        let list: Vec<Sale> = (1..=count).map(|n| Sale { client: client(n), ..sale(n) }).collect();
        let all = leads(&mut ruled(&[]), &list);
        assert!(all.iter().all(|lead| lead.score == score), "{count}: {}", all[0].score);
    }
}

#[test]
fn two_leads_of_one_browser_device_or_address_count_on_the_same_day() {
    for (kind, code, score) in [
        (VISITOR, "DUPLICATE_DEVICE", 70),
        (DEVICE, "DUPLICATE_DEVICE", 70),
        (EMAIL, "LEAD_VELOCITY", 80),
        (4, "LEAD_VELOCITY", 80),
        (CUSTOMER, "", 0),
    ] {
        let all = leads(&mut ruled(&[]), &[sale(1).by(kind, 4), sale(2).by(kind, 4)]);
        for lead in &all {
            assert_eq!((lead.score, lead.code(code).is_some()), (score, score > 0), "{code}");
        }
    }
    let mut world = ruled(&[]);
    leads(&mut world, &[sale(1).by(EMAIL, 4)]);
    let next_day = (T0 / DAY + 1) * DAY;
    let later = world
        .at(next_day)
        .push(head(2, next_day).sale(&Sale { kind: Some(LEAD), ..sale(2).by(EMAIL, 4) }));
    assert_eq!(later.rows("conversions").len(), 1, "the one of the day before is left alone");
    assert_eq!(last(&later).score, 0);
}

#[test]
fn sales_tests_and_other_brands_are_compared_with_no_lead() {
    let lead = |order| Sale { kind: Some(LEAD), ..sale(order).by(EMAIL, 4) };
    let others = [
        head(2, T0).sale(&sale(2).by(EMAIL, 4)),
        head(2, T0).sale(&Sale { flags: TEST, ..lead(2) }),
        head(2, T0).sale(&Sale { kind: Some((1, 8)), ..lead(2) }),
        head(2, T0).brand(2).sale(&lead(2)),
    ];
    for (other, which) in others.into_iter().zip(0..) {
        let mut world = ruled(&[]);
        let kind = [("program", 1.into()), ("kind", "lead".into())];
        world.push(head(93, T0).control("event_type", 8, 2, &kind));
        world.push(head(94, T0).brand(2).control("event_type", LEAD.1, 3, &kind));
        world.push(other);
        let sold = last_of(&[world.push(head(1, T0).sale(&lead(1)))], 1);
        assert_eq!(sold.codes, vec![], "{which}");
    }
}

#[test]
fn a_test_order_is_scored_and_changes_no_other() {
    let mut world = ruled(&[]);
    leads(&mut world, &[sale(1).by(EMAIL, 4)]);
    let test = Sale { kind: Some(LEAD), flags: TEST, ..sale(2).by(EMAIL, 4) };
    let result = world.push(head(2, T0).sale(&test));
    assert_eq!((result.rows("conversions").len(), last(&result).score), (1, 80));
}

#[test]
fn an_order_that_turns_out_to_be_of_another_day_leaves_the_others_as_they_were() {
    let mut world = ruled(&[]);
    let all = leads(&mut world, &[sale(1).by(EMAIL, 4)]);
    assert_eq!(all[0].score, 0);
    let lead = Sale { kind: Some(LEAD), ..sale(2).by(EMAIL, 4) };
    let both = world.push(head(2, T0).browser().sale(&lead));
    assert_eq!(last_of(&[both], 1).score, 80);
    // The server dates the order.
    let result = world.push(head(3, T0).claim(T0 - 2 * DAY).sale(&lead));
    let first = last_of(std::slice::from_ref(&result), 1);
    assert_eq!((first.score, first.verdict.as_str(), first.revision), (0, "accept", 3));
    assert_eq!(last_of(&[result], 2).score, 0);
}

#[test]
fn an_order_is_never_decided_again_after_an_erasure_of_what_it_rests_on() {
    let mut world = ruled(&[]);
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    let lead = |order| Sale { kind: Some(LEAD), ..sale(order).by(VISITOR, 4).by(EMAIL, 5) };
    world.push(head(1, T0).sale(&lead(1)));
    let body = ["identifier".into(), false.into(), false.into(), identifiers(&[(EMAIL, 5)])];
    world.push(head(2, T0).record(7, array(body)));
    let second = world.push(head(3, T0).sale(&Sale { kind: Some(LEAD), ..sale(2).by(EMAIL, 5) }));
    assert_eq!(second.rows("conversions").len(), 1);
    assert_eq!(last(&second).code("LEAD_VELOCITY"), None, "the first is no longer known by it");
}

/// Leads as they may come: each with an address, a network, a browser and a contact of few.
fn crowd() -> impl Strategy<Value = Vec<Lead>> {
    prop::collection::vec((0..2_u64, 0..4_u64, 0..5_u64, 0..6_u64, 0..3_u64), 1..40)
}

fn lead_of(
    order: u64,
    (day, address, visitor, email, network): (u64, u64, u64, u64, u64),
) -> Vec<u8> {
    let prefix = ["203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"];
    let prefix = Some(prefix[usize::try_from(network).unwrap()]);
    let client = Client { prefix, ..at_address(address) };
    let lead = Sale { kind: Some(LEAD), client, ..sale(order).by(VISITOR, visitor) };
    let lead = if email < 3 { lead.by(EMAIL, email) } else { lead };
    head(2000 + order, T0).claim(T0 - day * DAY).sale(&lead)
}

/// What is said of each order in the end.
fn finally(world: &mut World, records: &[Vec<u8>]) -> BTreeMap<u64, Said> {
    let mut said = BTreeMap::new();
    for record in records {
        for row in world.push(record.clone()).rows("conversions") {
            said.insert(order_of(&row), judged(&row).said());
        }
    }
    said
}

/// The same by the rules applied to all leads at once.
fn oracle(leads: &[Lead]) -> Vec<u64> {
    let ramp = |count: u64, low: u64, high: u64| match count {
        _ if count < low => 0,
        _ => (1 + 3 * (count - low) / (high - low).max(1)).min(4),
    };
    leads
        .iter()
        .map(|lead| {
            let alike = |is: &dyn Fn(&Lead) -> bool| {
                leads.iter().filter(|other| other.0 == lead.0 && is(other)).count() as u64
            };
            let address = 50 * ramp(alike(&|other| other.1 == lead.1), 3, 10);
            let network = 30 * ramp(alike(&|other| other.4 == lead.4), 5, 20);
            let device = if alike(&|other| other.2 == lead.2) > 1 { 280 } else { 0 };
            let is_contact = lead.3 < 3 && alike(&|other| other.3 == lead.3) > 1;
            let contact = if is_contact { 320 } else { 0 };
            // Of one family the strongest; in hundredths, to the nearest, halves up.
            let most = address.max(network).max(device).max(contact);
            (most * 100 + 200) / 400
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_the_order_of_arrival_leads_end_with_what_the_rules_say(
        leads in crowd(),
        seed in any::<u64>(),
        restart in any::<prop::sample::Index>(),
    ) {
        let mut records: Vec<Vec<u8>> =
            leads.iter().zip(0..).map(|(lead, order)| lead_of(order, *lead)).collect();
        let mut world = ruled(&[]);
        let straight = finally(&mut world, &records);
        let scores: Vec<u64> = straight.values().map(|said| said.1).collect();
        let expected = oracle(&leads);
        for (score, expected) in scores.iter().zip(&expected) {
            // Three fifths of a quarter are no whole number of the fixed point.
            prop_assert!(score.abs_diff(*expected) <= 1, "{:?} {:?}", scores, expected);
        }
        records.sort_by_key(|record| {
            let sum = record.iter().fold(seed, |sum, byte| sum.rotate_left(7) ^ u64::from(*byte));
            sum.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let mut other = ruled(&[]);
        let (first, rest) = records.split_at(restart.index(records.len()));
        let mut shuffled = finally(&mut other, first);
        let bytes = other.engine.view().to_bytes();
        other.engine = Engine::restore(0, &bytes, Options::default()).unwrap();
        prop_assert_eq!(other.engine.view().to_bytes(), bytes);
        shuffled.extend(finally(&mut other, rest));
        prop_assert_eq!(straight, shuffled);
    }
}
