//! What speaks against a conversion, what its clicks pass on to it, and what comes of that.

use headwater_engine::fraud::{Signal, ONE};

use crate::common::*;

const DISPOSABLE: u64 = 1024;
const LOOKED_UP: u64 = 2048;
const POSTBACK: u64 = 5;
pub(crate) const HOUR: u64 = 3_600_000;
const QUARTER: u64 = ONE as u64 / 4;
/// The program and event type of leads.
pub(crate) const LEAD: (u64, u64) = (1, 7);

/// One code of a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) code: &'static str,
    pub(crate) is_inherited: bool,
    pub(crate) severity: u64,
    pub(crate) points: u64,
    pub(crate) observed: u64,
    pub(crate) threshold: u64,
}

/// Verdict, score and the codes with what they weigh.
pub(crate) type Said = (String, u64, Vec<(&'static str, u64)>);

/// A row of `conversions`, as far as these tests read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) partner: Option<u64>,
    pub(crate) revision: u64,
    pub(crate) verdict: String,
    pub(crate) score: u64,
    pub(crate) codes: Vec<Code>,
    pub(crate) not_evaluated: u64,
}

pub(crate) fn judged(row: &[Value]) -> Judged {
    let (status, reason, partner, revision) = decision_of(row);
    let fraud = rmpv::decode::read_value(&mut row[20].as_slice().unwrap()).unwrap();
    let code = |code: &Value| {
        let number = |at: usize| code[at].as_u64().unwrap();
        Code {
            code: Signal::from_number(number(0)).unwrap().line().code,
            is_inherited: code[1].as_bool().unwrap(),
            severity: number(4),
            points: number(5),
            observed: number(6),
            threshold: number(7),
        }
    };
    Judged {
        status,
        reason,
        partner,
        revision,
        verdict: row[17].as_str().unwrap().to_owned(),
        score: row[18].as_u64().unwrap(),
        codes: fraud[4].as_array().unwrap().iter().map(code).collect(),
        not_evaluated: fraud[3].as_u64().unwrap(),
    }
}

impl Judged {
    pub(crate) fn code(&self, code: &str) -> Option<&Code> {
        self.codes.iter().find(|found| found.code == code)
    }

    /// The severity of a code in quarters, 0 without it.
    pub(crate) fn quarters(&self, code: &str) -> u64 {
        self.code(code).map_or(0, |found| found.severity / QUARTER)
    }

    pub(crate) fn is_evaluated(&self, signal: Signal) -> bool {
        self.not_evaluated & signal.bit() == 0
    }

    pub(crate) fn said(&self) -> Said {
        let codes = self.codes.iter().map(|code| (code.code, code.severity)).collect();
        (self.verdict.clone(), self.score, codes)
    }
}

pub(crate) fn last(result: &Result) -> Judged {
    judged(result.rows("conversions").last().unwrap())
}

pub(crate) fn order_of(row: &[Value]) -> u64 {
    let number = row[0].as_slice().unwrap()[8..].try_into().unwrap();
    u64::from_be_bytes(number) - 50_000
}

/// The last decision of an order among some results.
pub(crate) fn last_of(results: &[Result], order: u64) -> Judged {
    let mut rows =
        results.iter().rev().flat_map(|result| result.rows("conversions").into_iter().rev());
    judged(&rows.find(|row| order_of(row) == order).expect("a decision"))
}

pub(crate) fn outcomes(result: &Result) -> Vec<(u64, String)> {
    crate::attribution_shared::outcomes(result)
}

pub(crate) fn named(list: &[(u64, &str)]) -> Vec<(u64, String)> {
    crate::attribution_shared::named(list)
}

/// A map of rules, each with one member changed.
pub(crate) fn rules(rules: &[(&str, &str, Value)]) -> (&'static str, Value) {
    let rule = |(code, member, value): &(&str, &str, Value)| {
        ((*code).into(), Value::Map(vec![((*member).into(), value.clone())]))
    };
    let rules = Value::Map(rules.iter().map(rule).collect());
    ("fraud", Value::Map(vec![("rules".into(), rules)]))
}

/// Program 1 with some rules, and event type 7 of it for leads.
pub(crate) fn ruled(changes: &[(&str, &str, Value)]) -> World {
    let mut world = World::default();
    world.push(head(90, T0).control("program", 1, 1, &[rules(changes)]));
    let lead = [("program", 1.into()), ("kind", "lead".into())];
    world.push(head(91, T0).control("event_type", LEAD.1, 1, &lead));
    world
}

/// A click of partner 3 by visitor 4 at `T0`.
pub(crate) fn clicked() -> World {
    let mut world = ruled(&[]);
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world
}

pub(crate) fn by_visitor() -> Sale {
    sale(1).by(VISITOR, 4)
}

pub(crate) fn from(country: &'static str) -> Client {
    Client { country: Some(country), ..Client::default() }
}

pub(crate) fn at_address(address: u64) -> Client {
    Client { address: Some(address), ..Client::default() }
}

/// Sells an hour after the last click.
pub(crate) fn sell(world: &mut World, sale: &Sale) -> Judged {
    let now = world.ms + HOUR;
    last(&world.at(now).push(head(1, now).sale(sale)))
}

#[test]
fn an_ordinary_conversion_has_nothing_against_it() {
    let sold = sell(&mut clicked(), &by_visitor());
    assert_eq!((sold.status.as_str(), sold.partner), ("attributed", Some(3)));
    assert_eq!((sold.verdict.as_str(), sold.score, sold.codes), ("accept", 0, vec![]));
}

#[test]
fn countries_that_differ_count_where_both_are_known() {
    for (clicked, bought, points) in
        [(Some("DE"), Some("DE"), 0), (Some("DE"), Some("FR"), 25), (None, Some("FR"), 0)]
    {
        let client = clicked.map(from).unwrap_or_default();
        let mut world = ruled(&[]);
        let visit = Visit { list: vec![(VISITOR, 4)], client, ..Visit::default() };
        world.push(head(100, T0).visit(&visit));
        let client = bought.map(from).unwrap_or_default();
        let sold = sell(&mut world, &Sale { client, ..by_visitor() });
        assert_eq!((sold.verdict.as_str(), sold.score), ("accept", points), "{clicked:?}");
        assert_eq!(sold.is_evaluated(Signal::GeoMismatch), clicked.is_some());
    }
}

#[test]
fn a_conversion_right_after_the_click_counts_the_more_the_sooner() {
    for (after_ms, quarters, score) in [
        (10_001, 0, 0),
        (10_000, 1, 20),
        (7_334, 1, 20),
        (7_333, 2, 40),
        (4_666, 3, 60),
        (2_001, 3, 60),
        (2_000, 4, 80),
        (0, 4, 80),
    ] {
        let mut world = clicked();
        let now = T0 + after_ms;
        let sold = last(&world.at(now).push(head(1, now).sale(&by_visitor())));
        assert_eq!((sold.quarters("CTIT_TOO_SHORT"), sold.score), (quarters, score), "{after_ms}");
        assert_eq!(sold.status, "attributed", "soft evidence takes nothing away");
    }
}

#[test]
fn a_clock_that_is_behind_is_not_held_against_anybody() {
    let mut world = clicked();
    let sold = last(&world.push(head(1, T0).claim(T0 - 1000).sale(&sale(1).click(100))));
    assert_eq!((sold.partner, sold.score), (Some(3), 0));
    assert!(!sold.is_evaluated(Signal::TooShort));
}

#[test]
fn a_coupon_is_used_with_the_conversion_and_is_never_too_soon() {
    let mut world = ruled(&[]);
    let owner = [("program", 1.into()), ("partner", 8.into()), ("code", "TEN".into())];
    world.push(head(92, T0).control("promo_code", 1, 1, &owner));
    let sold = last(&world.push(head(1, T0).sale(&Sale { promo: Some("ten"), ..sale(1) })));
    assert_eq!((sold.partner, sold.score), (Some(8), 0));
    assert!(!sold.is_evaluated(Signal::TooShort));
}

/// Partner 3 clicks at `T0`, partner 5 ten minutes later.
fn hijacked() -> World {
    let mut world = clicked();
    let now = T0 + 600_000;
    world.at(now).push(head(101, now).click(5, &[(VISITOR, 4)]));
    world
}

fn started(before_click_ms: u64) -> Sale {
    Sale { started_ms: Some(T0 + 600_000 - before_click_ms), ..by_visitor() }
}

#[test]
fn a_click_after_the_checkout_has_begun_earns_nothing_and_the_credit_falls_to_the_one_before() {
    for (before_ms, partner, seen) in [
        (2000, 5, [(5, "credited"), (3, "older")]),
        (2001, 3, [(5, "fraud_rejected"), (3, "credited")]),
    ] {
        let mut world = hijacked();
        let now = world.ms + HOUR;
        let result = world.at(now).push(head(1, now).sale(&started(before_ms)));
        let sold = last(&result);
        assert_eq!((sold.partner, sold.verdict.as_str()), (Some(partner), "accept"), "{before_ms}");
        assert_eq!(outcomes(&result), named(&seen));
    }
}

#[test]
fn without_another_click_it_is_said_why_nobody_has_the_credit() {
    let mut world = clicked();
    let sold = sell(&mut world, &Sale { started_ms: Some(T0 - 2001), ..by_visitor() });
    assert_eq!(
        (sold.status.as_str(), sold.reason.as_deref()),
        ("unattributed", Some("fraud_rejected"))
    );
    assert_eq!((sold.verdict.as_str(), sold.score), ("reject", 100));
    assert_eq!(sold.codes[0].code, "CLICK_INJECTION");
    let mut world = clicked();
    let sold = sell(&mut world, &Sale { started_ms: Some(T0 - 2000), ..by_visitor() });
    assert_eq!((sold.partner, sold.verdict.as_str()), (Some(3), "accept"));
}

#[test]
fn a_program_that_does_not_look_at_the_checkout_credits_the_last_click() {
    for mode in ["off", "shadow"] {
        let mut world = hijacked();
        let now = world.ms;
        let terms = [rules(&[("CLICK_INJECTION", "mode", mode.into())])];
        world.push(head(93, now).control("program", 1, 2, &terms));
        assert_eq!(sell(&mut world, &started(HOUR)).partner, Some(5));
    }
}

#[test]
fn what_a_browser_tells_of_the_checkout_moves_no_credit_of_a_servers_report() {
    let tell = |first_is_server: bool| {
        let mut world = hijacked();
        let now = world.ms + HOUR;
        let server = head(1, now).sale(&by_visitor());
        let browser = head(2, now).browser().sale(&started(HOUR));
        let reports = if first_is_server { [server, browser] } else { [browser, server] };
        let results: Vec<Result> =
            reports.into_iter().map(|report| world.at(now).push(report)).collect();
        last_of(&results, 1).partner
    };
    assert_eq!((tell(true), tell(false)), (Some(5), Some(5)));
}

#[test]
fn a_throw_away_address_counts_where_it_was_looked_up() {
    for (flags, score, is_evaluated) in
        [(DISPOSABLE | LOOKED_UP, 50, true), (LOOKED_UP, 0, true), (0, 0, false)]
    {
        let sold = sell(&mut clicked(), &Sale { flags, ..by_visitor() });
        assert_eq!(sold.score, score);
        assert_eq!(sold.is_evaluated(Signal::DisposableEmail), is_evaluated);
    }
}

/// A world where click 100 is the program's, 101 another's, 102 older than the window.
fn false_clicks() -> World {
    let mut world = ruled(&[]);
    world.push(head(100, T0).click(3, &[(VISITOR, 4)]));
    world.push(head(101, T0).click_in(2, 5, 0, &[]));
    world.push(head(102, T0).claim(T0 - 31 * DAY).click(5, &[]));
    world
}

#[test]
fn a_server_that_names_a_click_that_is_not_one_is_not_believed() {
    for (click, reason) in
        [(9999, "click_unknown"), (101, "click_unknown"), (102, "outside_window")]
    {
        let sold = sell(&mut false_clicks(), &sale(1).click(click));
        assert_eq!(sold.status, "unattributed");
        assert_eq!(sold.reason.as_deref(), Some(reason));
        assert_eq!((sold.verdict.as_str(), sold.score), ("reject", 100), "{click}");
        assert_eq!(sold.codes[0].code, "S2S_FORCED");
    }
    let sold = sell(&mut false_clicks(), &sale(1).click(100));
    assert_eq!((sold.verdict.as_str(), sold.codes.len()), ("accept", 0));
}

#[test]
fn where_other_evidence_credits_somebody_a_person_looks_at_it() {
    for click in [9999, 101, 102] {
        let sold = sell(&mut false_clicks(), &by_visitor().click(click));
        assert_eq!((sold.status.as_str(), sold.partner), ("attributed", Some(3)));
        assert_eq!((sold.verdict.as_str(), sold.score), ("review", 50), "{click}");
        assert_eq!(sold.quarters("S2S_FORCED"), 2);
    }
}

#[test]
fn a_browser_may_name_what_it_likes_and_a_partners_postback_may_not() {
    for (source, verdict) in [(2, "accept"), (POSTBACK, "reject")] {
        let mut world = false_clicks();
        let at = Head { source, ..head(1, T0).browser() };
        let sold = last(&world.push(at.sale(&sale(1).click(9999))));
        assert_eq!((sold.verdict.as_str(), sold.status.as_str()), (verdict, "unattributed"));
    }
}

#[test]
fn a_report_that_came_before_its_click_is_believed_once_the_click_is_there() {
    let mut world = ruled(&[]);
    let early = last(&world.push(head(1, T0).sale(&sale(1).click(100))));
    assert_eq!(early.verdict, "reject");
    let late = last(&world.push(head(100, T0).claim(T0 - HOUR).click(3, &[])));
    assert_eq!((late.partner, late.verdict.as_str(), late.revision), (Some(3), "accept", 2));
}

#[test]
fn a_partner_that_buys_from_itself_is_looked_at() {
    let own = array([array([CUSTOMER.into(), bin(id(77))])]);
    let enrol = |world: &mut World| {
        let value = [("program", 1.into()), ("partner", 3.into()), ("identity", own.clone())];
        world.push(head(95, T0).control("enrolment", 103, 2, &value));
    };
    for (customer, score) in [(77, 60), (78, 0)] {
        let mut world = clicked();
        enrol(&mut world);
        let sold = sell(&mut world, &by_visitor().by(CUSTOMER, customer));
        assert_eq!((sold.partner, sold.score), (Some(3), score));
        assert!(sold.is_evaluated(Signal::SelfReferral));
    }
    assert!(!sell(&mut clicked(), &by_visitor()).is_evaluated(Signal::SelfReferral));
}

#[test]
fn a_decision_names_the_rules_and_the_lists_in_force() {
    let mut world = ruled(&[]);
    let chunk = [
        ("version", Value::from("bots-7")),
        ("chunk", 0.into()),
        ("chunks", 1.into()),
        ("patterns", Value::Array(vec!["somebot".into()])),
    ];
    world.push(head(80, T0).brand(0).control("bot_list", 0, 1, &chunk));
    let client = |lists| Client { lists: Some(lists), ..Client::default() };
    let list = vec![(VISITOR, 4)];
    let visit = Visit { list, client: client("lists-1"), ..Visit::default() };
    let clicked = world.push(head(100, T0).visit(&visit));
    let sold = Sale { client: client("lists-2"), ..by_visitor() };
    let sold = world.push(head(101, T0).sale(&sold));
    for (row, at, lists) in
        [(&clicked.rows("clicks")[0], 15, "lists-1"), (&sold.rows("conversions")[0], 20, "lists-2")]
    {
        let fraud = rmpv::decode::read_value(&mut row[at].as_slice().unwrap()).unwrap();
        assert_eq!(fraud[0].as_slice().map(<[u8]>::len), Some(16));
        assert_eq!((fraud[1].as_str(), fraud[2].as_str()), (Some("bots-7"), Some(lists)));
    }
}
