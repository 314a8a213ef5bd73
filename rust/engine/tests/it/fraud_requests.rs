//! What one click's own record says.

use headwater_engine::fraud::agents::BotList;
use headwater_engine::fraud::rules::Layer;
use headwater_engine::fraud::{request, Findings, Ruleset, Shared, Signal, ONE};
use headwater_engine::record::{flags, network_flags, Body, Record};
use std::sync::Arc;

use crate::common::*;

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
                      Gecko) Chrome/140.0.0.0 Safari/537.36";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
const LOADED: u64 = network_flags::STRICT_LOADED
    | network_flags::BROAD_LOADED
    | network_flags::VPN_LOADED
    | network_flags::TOR_LOADED
    | network_flags::CRAWLERS_LOADED;

/// A click as an ordinary browser makes it on an ordinary page; tests change one thing of it.
#[derive(Clone, Debug)]
struct Visit {
    trust: u64,
    flags: u64,
    agent: Option<&'static str>,
    referrer: Option<&'static str>,
    prefix: Option<&'static str>,
    network: Option<u64>,
    has_request: bool,
    http_version: u64,
    is_secure: bool,
    dest: Option<&'static str>,
    mode: Option<&'static str>,
    user: Option<&'static str>,
    accept: Option<&'static str>,
    language: Option<&'static str>,
    brands: Option<&'static str>,
    mobile: Option<&'static str>,
    platform: Option<&'static str>,
    params: Vec<(&'static str, &'static str)>,
}

fn visit() -> Visit {
    Visit {
        trust: BROWSER,
        flags: 0,
        agent: Some(CHROME),
        referrer: Some("https://blog.example/post"),
        prefix: Some("203.0.113.0/24"),
        network: Some(LOADED),
        has_request: true,
        http_version: 11,
        is_secure: true,
        dest: Some("document"),
        mode: Some("navigate"),
        user: Some("?1"),
        accept: Some("text/html,application/xhtml+xml"),
        language: Some("en-GB"),
        brands: Some(
            "\"Not;A=Brand\";v=\"99\", \"Google Chrome\";v=\"140\", \"Chromium\";v=\"140\"",
        ),
        mobile: Some("?0"),
        platform: Some("\"Windows\""),
        params: vec![("sub1", "summer")],
    }
}

impl Visit {
    fn record(&self) -> Vec<u8> {
        let network = self
            .network
            .map(|bits| array([Value::Nil, Value::Nil, Value::from(bits), Value::Nil, Value::Nil]));
        let fetch_site = self.mode.map(|_| "cross-site");
        let request = self.has_request.then(|| {
            array([
                self.http_version.into(),
                self.is_secure.into(),
                optional(self.dest),
                optional(self.mode),
                optional(fetch_site),
                optional(self.user),
                Value::Nil,
                optional(self.accept),
                optional(self.language),
                optional(self.brands),
                optional(self.mobile),
                optional(self.platform),
            ])
        });
        let params = self.params.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let client = [
            optional(self.prefix),
            optional(self.agent),
            optional(self.referrer),
            network.unwrap_or(Value::Nil),
            request.unwrap_or(Value::Nil),
        ];
        let body = [
            Value::from(1),
            Value::from(3),
            Value::from(9),
            Value::from(self.flags),
            identifiers(&[]),
            Value::Map(params.collect()),
            array(client),
        ];
        Head { trust: self.trust, ..head(1, T0) }.record(1, array(body))
    }

    fn findings_under(&self, rules: &Ruleset) -> Findings {
        let bytes = self.record();
        let record = Record::decode(&bytes).unwrap();
        let Body::Click(click) = &record.body else { unreachable!("a click was written") };
        let patterns = vec!["Examplebot".to_owned()];
        let mut shared = Shared::default();
        shared.bots = Arc::new(BotList::compile("v", patterns));
        let mut findings = Findings::new(rules);
        request::findings(&record, click, rules, &shared, &mut findings);
        findings
    }

    fn found(&self) -> Vec<(Signal, u32)> {
        self.found_under(&Ruleset::default())
    }

    fn found_under(&self, rules: &Ruleset) -> Vec<(Signal, u32)> {
        let list = self.findings_under(rules).list;
        list.iter().map(|finding| (finding.signal, finding.severity)).collect()
    }

    /// What was not looked at, apart from what no click is looked at for here.
    fn missing(&self) -> Vec<Signal> {
        let missing = self.findings_under(&Ruleset::default()).not_evaluated;
        let is_missing =
            |signal: &Signal| missing & signal.bit() != 0 && *signal != Signal::ReferrerMismatch;
        Signal::ALL.iter().copied().filter(is_missing).collect()
    }
}

fn rules(layer: Layer) -> Ruleset {
    let none = Layer::default();
    Ruleset::of_program([&none, &layer, &none], &["shop.example".to_owned()])
}

fn texts(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn nothing_speaks_against_an_ordinary_click() {
    let findings = visit().findings_under(&Ruleset::default());
    assert_eq!((findings.list, findings.leaning), (vec![], 0));
    assert_eq!(visit().missing(), []);
    let safari =
        Visit { agent: Some(SAFARI), brands: None, mobile: None, platform: None, ..visit() };
    assert_eq!(safari.found(), []);
    assert_eq!(safari.missing(), [Signal::NoUserActivation, Signal::AgentMismatch]);
}

#[test]
fn what_was_not_sent_is_not_evaluated() {
    let bare = Visit { network: None, has_request: false, referrer: None, ..visit() };
    assert_eq!(bare.found(), []);
    assert_eq!(
        bare.missing(),
        [
            Signal::FakeCrawler,
            Signal::ImageClick,
            Signal::ForcedClick,
            Signal::NoUserActivation,
            Signal::RequestAnomaly,
            Signal::AgentMismatch,
            Signal::Datacentre,
            Signal::AnonymousAddress,
        ]
    );
    assert!(bare.findings_under(&Ruleset::default()).leaning > 0, "no referrer");
}

#[test]
fn the_user_agent_is_judged() {
    let of = |agent| Visit { agent, ..visit() }.found();
    let known = [(Signal::KnownCrawler, ONE), (Signal::UnknownBrowser, ONE)];
    assert_eq!(of(Some("Mozilla/5.0 (compatible; Examplebot/2.1)")), known);
    assert_eq!(of(Some("curl/8.5.0")), [(Signal::NonBrowserAgent, ONE)]);
    assert_eq!(of(None), [(Signal::NonBrowserAgent, ONE)]);
    assert_eq!(of(Some("Mozilla/5.0 (compatible; Other/1)")), [(Signal::UnknownBrowser, ONE)]);
}

#[test]
fn of_a_server_s_report_the_user_agent_may_be_the_server_s() {
    let of = |agent| Visit { agent, trust: SERVER, has_request: false, ..visit() };
    assert_eq!(of(Some("curl/8.5.0")).found(), [(Signal::UnknownBrowser, ONE)]);
    assert_eq!(of(None).found(), []);
    assert!(of(None).missing().contains(&Signal::NonBrowserAgent));
}

#[test]
fn without_consent_the_user_agent_is_one_word() {
    let of = |agent| {
        let denied = flags::CONSENT_DENIED;
        Visit { agent, flags: denied, referrer: None, prefix: None, ..visit() }
    };
    assert_eq!(of(Some("bot")).found(), [(Signal::NonBrowserAgent, ONE)]);
    for word in ["mobile", "desktop"] {
        assert_eq!(of(Some(word)).found(), []);
        let missing = of(Some(word)).missing();
        for signal in [Signal::KnownCrawler, Signal::UnknownBrowser, Signal::RequestAnomaly] {
            assert!(missing.contains(&signal), "{signal:?}");
        }
    }
}

#[test]
fn crawlers_addresses_tell_the_true_from_the_false() {
    let of = |bits| Visit { network: Some(LOADED | bits), ..visit() }.found();
    assert_eq!(of(network_flags::CRAWLER_VERIFIED), [(Signal::KnownCrawler, ONE)]);
    assert_eq!(of(network_flags::CRAWLER_FAKE), [(Signal::FakeCrawler, ONE)]);
}

#[test]
fn lists_of_networks_weigh_by_how_strict_they_are() {
    let of = |bits| Visit { network: Some(LOADED | bits), ..visit() }.found();
    let both = network_flags::DATACENTRE_STRICT | network_flags::DATACENTRE_BROAD;
    assert_eq!(of(both), [(Signal::Datacentre, ONE)]);
    assert_eq!(of(network_flags::DATACENTRE_BROAD), [(Signal::Datacentre, ONE / 2)]);
    assert_eq!(of(network_flags::VPN), [(Signal::AnonymousAddress, ONE / 2)]);
    assert_eq!(of(network_flags::TOR), [(Signal::AnonymousAddress, ONE)]);
}

#[test]
fn an_address_that_is_allowed_is_not_judged_by_its_network() {
    let prefix = headwater_engine::fraud::hosts::Prefix::parse("203.0.113.0/24");
    let layer = Layer { allow_prefixes: prefix.map(|prefix| vec![prefix]), ..Layer::default() };
    let bits = LOADED | network_flags::DATACENTRE_STRICT | network_flags::TOR;
    let visit = Visit { network: Some(bits), ..visit() };
    assert_eq!(visit.found_under(&rules(layer)), []);
    assert_eq!(visit.found().len(), 2);
}

#[test]
fn a_link_loaded_as_part_of_a_page_was_not_clicked() {
    let of = |dest, mode, accept| Visit { dest, mode, accept, user: None, ..visit() }.found();
    let image = [(Signal::ImageClick, ONE)];
    let forced = [(Signal::ForcedClick, ONE)];
    assert_eq!(of(Some("image"), Some("no-cors"), Some("image/avif,*/*")), image);
    assert_eq!(of(Some("script"), Some("no-cors"), Some("*/*")), image);
    assert_eq!(of(Some("iframe"), Some("navigate"), Some("text/html")), forced);
    assert_eq!(of(Some("empty"), Some("cors"), Some("*/*")), forced);
    let old = Visit { dest: None, mode: None, user: None, is_secure: false, ..visit() };
    let by_accept = |accept, agent| {
        let hints = Visit { brands: None, mobile: None, platform: None, ..old.clone() };
        Visit { accept: Some(accept), agent: Some(agent), ..hints }.found()
    };
    assert_eq!(by_accept("image/webp,*/*", SAFARI), image);
    assert_eq!(by_accept("text/html", SAFARI), []);
    let explorer = "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)";
    assert_eq!(by_accept("image/gif, image/jpeg, application/x-ms-application", explorer), []);
}

#[test]
fn a_visit_that_nobody_asked_for_weighs_little() {
    let nobody = Visit { user: None, ..visit() };
    assert_eq!(nobody.found(), [(Signal::NoUserActivation, ONE)]);
    assert_eq!(
        Visit { agent: Some(SAFARI), brands: None, mobile: None, platform: None, ..nobody }.found(),
        []
    );
}

#[test]
fn a_prefetch_is_noted_and_not_judged_by_how_it_was_sent() {
    let fetched = Visit {
        flags: flags::PREFETCH,
        dest: Some("empty"),
        mode: Some("no-cors"),
        user: None,
        ..visit()
    };
    assert_eq!(fetched.found(), [(Signal::Prefetch, ONE)]);
}

#[test]
fn a_request_lacks_what_its_browser_always_sends() {
    let severity = |visit: Visit| match visit.found()[..] {
        [] => 0,
        [(Signal::RequestAnomaly, severity)] => severity * 50 * 10 / ONE,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(severity(Visit { language: None, ..visit() }), 349, "35 of 50, rounded down");
    let silent = Visit { dest: None, mode: None, user: None, ..visit() };
    assert_eq!(severity(silent.clone()), 349);
    assert_eq!(severity(Visit { is_secure: false, ..silent.clone() }), 0);
    assert_eq!(severity(Visit { http_version: 10, language: None, ..visit() }), 500);
    assert_eq!(severity(Visit { http_version: 20, ..visit() }), 0);
}

#[test]
fn client_hints_must_name_the_same_browser() {
    let share = |visit: Visit| match visit.found()[..] {
        [] => 0,
        [(Signal::AgentMismatch, severity)] => (severity * 55 + ONE / 2) / ONE,
        ref other => panic!("{other:?}"),
    };
    let brands = |version| Visit { brands: Some(version), ..visit() };
    assert_eq!(share(brands("\"Chromium\";v=\"139\", \"Google Chrome\";v=\"139\"")), 55);
    assert_eq!(share(brands("\"Microsoft Edge\";v=\"12\"")), 0, "no word of Chromium");
    assert_eq!(share(brands("\"Chromium\";v=\"")), 0, "cut short");
    assert_eq!(share(Visit { mobile: Some("?1"), ..visit() }), 20);
    assert_eq!(share(Visit { platform: Some("\"Linux\""), ..visit() }), 15);
    assert_eq!(share(Visit { platform: Some("\"Fuchsia\""), ..visit() }), 0);
    let none = Visit { brands: None, mobile: None, platform: None, ..visit() };
    assert_eq!(none.missing(), [Signal::AgentMismatch]);
}

#[test]
fn a_placeholder_nobody_filled_in_is_found() {
    let of = |value| Visit { params: vec![("sub2", value)], ..visit() }.found();
    for value in [
        "{clickid}",
        "{{ad.id}}",
        "${SUB_ID}",
        "#{sub}",
        "%%CACHE%%",
        "[sub]",
        "<aff_sub>",
        "__CID__",
    ] {
        assert_eq!(of(value), [(Signal::MacroUnexpanded, ONE)], "{value}");
    }
    for value in ["", "{}", "100%", "%%", "[1]", "a{b}c", "{\"a\": 1}", "__", "summer sale", "<3"] {
        assert_eq!(of(value), [], "{value}");
    }
}

#[test]
fn a_declared_partner_is_held_to_its_pages() {
    let rules = rules(Layer { referrers: texts(&["blog.example"]), ..Layer::default() });
    let of = |referrer| {
        let found = Visit { referrer, ..visit() }.found_under(&rules);
        found.first().map_or(0, |(signal, severity)| {
            assert_eq!(*signal, Signal::ReferrerMismatch);
            (severity * 60 + ONE / 2) / ONE
        })
    };
    assert_eq!(of(Some("https://blog.example/x")), 0);
    assert_eq!(of(Some("https://news.blog.example/")), 0);
    assert_eq!(of(Some("https://other.example/")), 35);
    assert_eq!(of(Some("https://www.shop.example/cart")), 60, "the program's own site");
    assert_eq!(of(None), 0);
    let missing = |visit: Visit| visit.findings_under(&rules).not_evaluated;
    assert_ne!(missing(Visit { referrer: None, ..visit() }) & Signal::ReferrerMismatch.bit(), 0);
}

#[test]
fn refused_sources_are_refused() {
    let layer = Layer {
        deny_referrers: texts(&["bad.example"]),
        deny_subs: texts(&["x1"]),
        ..Layer::default()
    };
    let rules = rules(layer);
    let refused = [(Signal::Blacklisted, ONE)];
    let of = |referrer, sub| {
        Visit { referrer, params: vec![("sub1", sub)], ..visit() }.found_under(&rules)
    };
    assert_eq!(of(Some("https://www.bad.example/"), "a"), refused);
    assert_eq!(of(Some("https://blog.example/"), "x1"), refused);
    assert_eq!(of(Some("https://notbad.example/"), "x11"), []);
}

#[test]
fn paid_search_counts_where_a_program_forbids_it() {
    use headwater_engine::fraud::rules::Change;
    use headwater_engine::fraud::Mode;
    let change = Change { mode: Some(Mode::Score), ..Change::default() };
    let layer = Layer { rules: [(Signal::BrandBidding, change)].into(), ..Layer::default() };
    let rules = rules(layer);
    let of = |referrer, flags| Visit { referrer, flags, ..visit() }.found_under(&rules);
    let found = [(Signal::BrandBidding, ONE)];
    let paid = flags::AD_CLICK_ID;
    for referrer in
        ["https://www.google.co.uk/", "https://www.bing.com/", "https://duckduckgo.com/"]
    {
        assert_eq!(of(Some(referrer), paid), found, "{referrer}");
        assert_eq!(of(Some(referrer), 0), []);
    }
    assert_eq!(of(Some("https://notgoogle.example/"), paid), []);
    let searched = Visit { referrer: Some("https://www.google.com/"), flags: paid, ..visit() };
    assert_eq!(searched.found(), [], "off unless a program says otherwise");
}

#[test]
fn a_link_no_person_can_see_is_a_honeypot() {
    assert_eq!(Visit { flags: flags::HONEYPOT, ..visit() }.found(), [(Signal::Honeypot, ONE)]);
}
