//! What one click's own record says: no other click is looked at.

use super::agents::{Browser, Class, Kind, System};
use super::hosts::{host_of, is_within};
use super::rules::Ruleset;
use super::score::Findings;
use super::shared::Shared;
use super::signals::{Signal, ONE};
use crate::record::{flags, network_flags, Click, Network, Record, Request, Trust, SOURCE_TAG};

/// Of a weight of 50, a part that is worth 35.
const SEVEN_TENTHS: u32 = ONE / 10 * 7 + ONE % 10 * 7 / 10;
/// Of a weight of 55, the part that is worth 20.
const MOBILE_DIFFERS: u32 = ONE / 55 * 20 + ONE % 55 * 20 / 55;
/// Of a weight of 55, the part that is worth 15.
const SYSTEM_DIFFERS: u32 = ONE / 55 * 15 + ONE % 55 * 15 / 55;
/// Of a weight of 60, the part that is worth 35.
const OTHER_SITE: u32 = ONE / 12 * 7 + ONE % 12 * 7 / 12;
/// What a missing referrer adds to what only ranks: most browsers send one.
const NO_REFERRER_PPM: u32 = 640;
/// Chromium has sent `Sec-Fetch` fields in every version and view since long before this one.
const FETCH_FIELDS_FROM: u16 = 90;
/// The class that is all that is kept of a program's user agent without consent.
const BOT_CLASS: &str = "bot";

/// Parts of [`Signal::RequestAnomaly`], as bits of what was observed.
const NO_LANGUAGE: u64 = 1;
const NO_FETCH_FIELDS: u64 = 2;
const OLD_PROTOCOL: u64 = 4;
/// Parts of [`Signal::AgentMismatch`], as bits of what was observed.
const VERSION_PART: u64 = 1;
const MOBILE_PART: u64 = 2;
const SYSTEM_PART: u64 = 4;

/// What a page loads for itself, as `Sec-Fetch-Dest` names it.
const PARTS_OF_PAGES: [&str; 11] = [
    "audio",
    "font",
    "image",
    "manifest",
    "paintworklet",
    "audioworklet",
    "script",
    "style",
    "track",
    "video",
    "xslt",
];
/// What a page shows inside itself.
const FRAMES: [&str; 5] = ["embed", "fencedframe", "frame", "iframe", "object"];
/// The beginning of `Accept` of what a page loads for itself.
const PART_TYPES: [&str; 4] = ["audio/", "image/", "text/css", "video/"];

/// Search engines whose country is part of the name, and those of one name.
const SEARCH_NAMES: [&str; 3] = ["google.", "yandex.", "search.yahoo."];
const SEARCH_DOMAINS: [&str; 17] = [
    "ask.com",
    "baidu.com",
    "bing.com",
    "duckduckgo.com",
    "ecosia.org",
    "googleadservices.com",
    "googlesyndication.com",
    "naver.com",
    "qwant.com",
    "search.aol.com",
    "search.brave.com",
    "search.yahoo.com",
    "seznam.cz",
    "so.com",
    "sogou.com",
    "startpage.com",
    "swisscows.com",
];

/// What is told by how a browser went to the link.
const VISITS: [Signal; 3] = [Signal::ImageClick, Signal::ForcedClick, Signal::NoUserActivation];

/// Adds what a click's record says to `out`.
pub fn findings(
    record: &Record<'_>,
    click: &Click<'_>,
    rules: &Ruleset,
    shared: &Shared,
    out: &mut Findings,
) {
    let is_by_server = record.trust == Trust::Server;
    let class = agent(click, is_by_server, shared, out);
    network(click, rules, out);
    if click.flags & flags::PREFETCH != 0 {
        out.flag(Signal::Prefetch, ONE);
    }
    if click.flags & flags::HONEYPOT != 0 {
        out.flag(Signal::Honeypot, ONE);
    }
    match &click.client.request {
        Some(request) => {
            let is_prefetch = click.flags & flags::PREFETCH != 0;
            if record.source == SOURCE_TAG {
                // The landing page itself reports the visit: nobody goes to the link.
                for signal in VISITS {
                    out.absent(signal);
                }
            } else {
                navigation(request, class, is_prefetch, out);
            }
            let browser = class.filter(|class| class.kind == Kind::Browser && !class.is_listed);
            anomaly(request, browser, out);
            hints(request, browser, out);
        }
        None => {
            for signal in VISITS.into_iter().chain([Signal::RequestAnomaly, Signal::AgentMismatch])
            {
                out.absent(signal);
            }
        }
    }
    if click.params.iter().any(|(_, value)| is_placeholder(value)) {
        out.flag(Signal::MacroUnexpanded, ONE);
    }
    source(click, rules, out);
}

/// The user agent, and what it is: `None` when all that is kept is a word.
fn agent(
    click: &Click<'_>,
    is_by_server: bool,
    shared: &Shared,
    out: &mut Findings,
) -> Option<Class> {
    let user_agent = click.client.user_agent;
    let fields = click.client.network.map_or(0, |network| network.flags);
    if fields & network_flags::CRAWLER_FAKE != 0 {
        out.flag(Signal::FakeCrawler, ONE);
    } else if fields & network_flags::CRAWLERS_LOADED == 0 {
        out.absent(Signal::FakeCrawler);
    }
    if fields & network_flags::CRAWLER_VERIFIED != 0 {
        out.flag(Signal::KnownCrawler, ONE);
    }
    if click.flags & flags::CONSENT_DENIED != 0 {
        out.absent(Signal::KnownCrawler);
        out.absent(Signal::UnknownBrowser);
        match user_agent {
            Some(BOT_CLASS) => out.flag(Signal::NonBrowserAgent, ONE),
            Some(_) => {}
            None => out.absent(Signal::NonBrowserAgent),
        }
        return None;
    }
    if user_agent.is_none() && is_by_server {
        // A server that reports a click need not say what its visitor browses with.
        out.absent(Signal::KnownCrawler);
        out.absent(Signal::NonBrowserAgent);
        out.absent(Signal::UnknownBrowser);
        return None;
    }
    let class = shared.bots.class_of(user_agent.unwrap_or_default());
    if class.is_listed {
        out.flag(Signal::KnownCrawler, ONE);
    } else if shared.bots.version().is_none() {
        out.absent(Signal::KnownCrawler);
    }
    match class.kind {
        // Of a server's report it may be the server's own name, not the visitor's.
        Kind::NonBrowser if is_by_server => out.flag(Signal::UnknownBrowser, ONE),
        Kind::NonBrowser => out.flag(Signal::NonBrowserAgent, ONE),
        Kind::Unknown => out.flag(Signal::UnknownBrowser, ONE),
        Kind::Browser => {}
    }
    Some(class)
}

/// What lists say of the address.
fn network(click: &Click<'_>, rules: &Ruleset, out: &mut Findings) {
    let Network { flags: fields, .. } = click.client.network.unwrap_or_default();
    let has = |bits| fields & bits != 0;
    if rules.allows(click.client.address_prefix) {
        return;
    }
    if has(network_flags::DATACENTRE_STRICT) {
        out.flag(Signal::Datacentre, ONE);
    } else if has(network_flags::DATACENTRE_BROAD) {
        out.flag(Signal::Datacentre, ONE / 2);
    } else if !has(network_flags::STRICT_LOADED | network_flags::BROAD_LOADED) {
        out.absent(Signal::Datacentre);
    }
    if has(network_flags::TOR) {
        out.flag(Signal::AnonymousAddress, ONE);
    } else if has(network_flags::VPN) {
        out.flag(Signal::AnonymousAddress, ONE / 2);
    } else if !has(network_flags::VPN_LOADED | network_flags::TOR_LOADED) {
        out.absent(Signal::AnonymousAddress);
    }
}

/// Whether somebody went to the link: what browsers say of that, no page can change.
fn navigation(request: &Request<'_>, class: Option<Class>, is_prefetch: bool, out: &mut Findings) {
    let Request { fetch_dest, fetch_mode, fetch_user, accept, .. } = *request;
    let is_old_explorer =
        class.is_some_and(|class| class.agent.family == Browser::InternetExplorer);
    let is_part = match (fetch_dest, accept) {
        (Some(dest), _) => PARTS_OF_PAGES.contains(&dest),
        // Internet Explorer asks for pages as others ask for images.
        (None, Some(accept)) => {
            !is_old_explorer && PART_TYPES.iter().any(|start| accept.starts_with(start))
        }
        (None, None) => {
            out.absent(Signal::ImageClick);
            false
        }
    };
    if is_part {
        out.flag(Signal::ImageClick, ONE);
        return;
    }
    if fetch_dest.is_none() && fetch_mode.is_none() {
        out.absent(Signal::ForcedClick);
        out.absent(Signal::NoUserActivation);
        return;
    }
    if is_prefetch {
        return;
    }
    let is_navigation = fetch_mode.is_none_or(|mode| mode == "navigate");
    if !is_navigation || fetch_dest.is_some_and(|dest| FRAMES.contains(&dest)) {
        out.flag(Signal::ForcedClick, ONE);
    } else if !says_who_acted(class) {
        out.absent(Signal::NoUserActivation);
    } else if fetch_user.is_none() {
        out.flag(Signal::NoUserActivation, ONE);
    }
}

/// Whether a browser says that somebody tapped or clicked: Chromium and Firefox do.
fn says_who_acted(class: Option<Class>) -> bool {
    class.is_some_and(|Class { agent, .. }| {
        let is_firefox = agent.family == Browser::Firefox && agent.system != System::Ios;
        agent.chromium >= FETCH_FIELDS_FROM || is_firefox
    })
}

/// What this browser always sends and did not.
fn anomaly(request: &Request<'_>, browser: Option<Class>, out: &mut Findings) {
    let Some(Class { agent, .. }) = browser else {
        out.absent(Signal::RequestAnomaly);
        return;
    };
    let Request { fetch_dest, fetch_mode, fetch_site, fetch_user, .. } = *request;
    let has_fetch_fields =
        [fetch_dest, fetch_mode, fetch_site, fetch_user].iter().any(Option::is_some);
    let (mut severity, mut parts) = (0, 0);
    if request.accept_language.is_none() {
        (severity, parts) = (SEVEN_TENTHS, NO_LANGUAGE);
    }
    if agent.chromium >= FETCH_FIELDS_FROM && request.is_secure && !has_fetch_fields {
        (severity, parts) = (SEVEN_TENTHS, parts | NO_FETCH_FIELDS);
    }
    // Old proxies speak it for everybody: it says something only of who lacks something else.
    if request.http_version == 10 && severity > 0 {
        (severity, parts) = (ONE, parts | OLD_PROTOCOL);
    }
    if severity > 0 {
        out.add(Signal::RequestAnomaly, severity, parts, 1);
    }
}

/// Whether client hints name the browser that the user agent names.
fn hints(request: &Request<'_>, browser: Option<Class>, out: &mut Findings) {
    let Request { agent_brands, agent_mobile, agent_platform, .. } = *request;
    let agent = browser.map(|class| class.agent).filter(|agent| agent.chromium > 0);
    let has_hints = agent_brands.is_some() || agent_mobile.is_some() || agent_platform.is_some();
    let Some(agent) = agent.filter(|_| has_hints) else {
        out.absent(Signal::AgentMismatch);
        return;
    };
    let (mut severity, mut parts) = (0, 0);
    let hinted = agent_platform.and_then(system_of);
    if hinted.is_some_and(|system| system != agent.system) {
        (severity, parts) = (SYSTEM_DIFFERS, SYSTEM_PART);
    }
    let is_mobile = match agent_mobile {
        Some("?1") => true,
        Some("?0") => false,
        _ => agent.is_mobile,
    };
    if is_mobile != agent.is_mobile {
        (severity, parts) = (MOBILE_DIFFERS, parts | MOBILE_PART);
    }
    let major = agent_brands.and_then(chromium_of);
    if major.is_some_and(|major| major != agent.chromium) {
        (severity, parts) = (ONE, parts | VERSION_PART);
    }
    if severity > 0 {
        out.add(Signal::AgentMismatch, severity, parts, 1);
    }
}

/// The system that `Sec-CH-UA-Platform` names, if it is one that user agents tell apart.
fn system_of(platform: &str) -> Option<System> {
    match platform.trim_matches('"') {
        "Android" => Some(System::Android),
        "Chrome OS" | "Chromium OS" => Some(System::ChromeOs),
        "iOS" => Some(System::Ios),
        "Linux" => Some(System::Linux),
        "macOS" => Some(System::Mac),
        "Windows" => Some(System::Windows),
        _ => None,
    }
}

/// Chromium's major version in `Sec-CH-UA`.
fn chromium_of(brands: &str) -> Option<u16> {
    let (_, rest) = brands.split_once("\"Chromium\"")?;
    let (_, rest) = rest.split_once('"')?;
    rest.split(['"', '.']).next()?.parse().ok()
}

/// Where the click came from.
fn source(click: &Click<'_>, rules: &Ruleset, out: &mut Findings) {
    let host = click.client.referrer.and_then(host_of);
    if host.is_none() {
        out.lean(NO_REFERRER_PPM);
    }
    let denies_sub = || {
        let mut subs = click.params.iter().filter(|(name, _)| *name == "sub1");
        rules.has_denied_subs() && subs.any(|(_, sub)| rules.denies_sub(sub))
    };
    let is_denied = host.is_some_and(|host| rules.denies_referrer(host)) || denies_sub();
    if is_denied {
        out.flag(Signal::Blacklisted, ONE);
    } else if rules.has_denied_referrers() && host.is_none() {
        out.absent(Signal::Blacklisted);
    }
    match (rules.referrers(), host) {
        (Some(declared), Some(host)) => {
            if rules.is_own_site(host) {
                out.flag(Signal::ReferrerMismatch, ONE);
            } else if !declared.iter().any(|domain| is_within(host, domain)) {
                out.flag(Signal::ReferrerMismatch, OTHER_SITE);
            }
        }
        _ => out.absent(Signal::ReferrerMismatch),
    }
    let is_paid = click.flags & flags::AD_CLICK_ID != 0;
    match host {
        Some(host) if is_paid && is_search_engine(host) => out.flag(Signal::BrandBidding, ONE),
        Some(_) => {}
        None => out.absent(Signal::BrandBidding),
    }
}

fn is_search_engine(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let name = host.strip_prefix("www.").unwrap_or(&host);
    let is_named = SEARCH_NAMES.iter().any(|start| name.starts_with(start));
    is_named || SEARCH_DOMAINS.iter().any(|domain| is_within(name, domain))
}

/// Whether a value is a placeholder that nobody filled in: `{clickid}`, `${SUB}`, `%%ID%%`,
/// `[sub]`, `<aff_sub>`, `__CID__`.
fn is_placeholder(value: &str) -> bool {
    let value = value.trim();
    if !value.starts_with(['{', '$', '#', '%', '[', '<', '_']) {
        return false;
    }
    let between = |start: &str, end: &str| value.strip_prefix(start)?.strip_suffix(end);
    let pairs = [
        ("{{", "}}"),
        ("${", "}"),
        ("#{", "}"),
        ("{", "}"),
        ("%%", "%%"),
        ("[", "]"),
        ("<", ">"),
        ("__", "__"),
    ];
    pairs.iter().filter_map(|(start, end)| between(start, end)).any(is_name)
}

fn is_name(text: &str) -> bool {
    let text = text.trim();
    let is_fit = |letter: char| letter.is_ascii_alphanumeric() || "_-.:".contains(letter);
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(is_fit)
}
