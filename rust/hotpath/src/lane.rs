//! The lane itself: what it was told, and the request at the start of some bytes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, BuildError};
use headwater_engine::limits::HOT_SITES_MAX;

use crate::address::Ranges;
use crate::brands::{Brand, Brands};
use crate::caller::Caller;
use crate::click::Visit;
use crate::event::{Event, Events};
use crate::head::{self, Head};
use crate::id::Pool;
use crate::link::{Link, Links};
use crate::money::Currencies;
use crate::pixel;

/// Random bytes one request may use: of its click id 10, of a new visitor's id 16.
const REQUEST_RANDOM_BYTES: usize = 26;
/// Random bytes fetched at once: one system call is paid for some hundreds of requests.
const REFILL_BYTES: usize = 512 * REQUEST_RANDOM_BYTES;
const LINKS: &str = "/c/";
const PIXEL: &str = "/px.gif";

/// What never changes while the edge runs: its key, and the names and bounds of the ordinary lane.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The deployment's key of identifier digests.
    pub identity_key: Vec<u8>,
    /// The redirect's status and the headers that are always the same, from the status code on.
    pub answer_head: String,
    /// The status and all headers but the date of the pixel, from the status code on.
    pub pixel_head: String,
    /// The pixel.
    pub pixel_image: Vec<u8>,
    /// Names of what a click carries to reports, in the order of the record.
    pub parameters: Vec<String>,
    /// Names of the click ids of advertising systems.
    pub ad_click_ids: Vec<String>,
    /// Paths that are no link's on a tracking domain.
    pub reserved_paths: HashSet<String>,
    /// Bytes of a parameter's value.
    pub parameter_bytes_max: usize,
    /// Bytes kept of `User-Agent`.
    pub user_agent_bytes_max: usize,
    /// Bytes kept of `Referer`.
    pub referrer_bytes_max: usize,
    /// Bytes kept of each `Sec-Fetch-*`.
    pub fetch_bytes_max: usize,
    /// Bytes kept of `Accept`.
    pub accept_bytes_max: usize,
    /// Bytes kept of the first language of `Accept-Language`.
    pub language_bytes_max: usize,
    /// Bytes kept of `Sec-CH-UA`.
    pub agent_brands_bytes_max: usize,
    /// Bytes kept of the other hints.
    pub agent_hint_bytes_max: usize,
    /// Parameters of a query.
    pub query_parameters_max: usize,
    /// Hops of a forwarded chain.
    pub forwarded_hops_max: usize,
    /// Bytes of a `Location`.
    pub location_bytes_max: usize,
    /// Seconds a cookie may live.
    pub cookie_age_s_max: u64,
    /// Characters of a link's code.
    pub code_characters_max: usize,
    /// Bytes of a value that a report by the pixel may have.
    pub pixel_value_bytes_max: usize,
    /// Digits of an amount in minor units.
    pub amount_digits_max: usize,
    /// Decimals of the currencies there are.
    pub currencies: Currencies,
}

/// The address lists in force.
#[derive(Debug, Default)]
pub struct AddressLists {
    /// Bits that say which lists there are.
    pub loaded_flags: u64,
    /// Their version, if there are any.
    pub version: Option<String>,
    /// What holds of an address in a list: a bit, and the list.
    pub ranges: Vec<(u64, Ranges)>,
    /// Finds the names of crawlers whose addresses are known.
    pub crawlers: Option<AhoCorasick>,
    /// Whether countries are to be asked for.
    pub has_countries: bool,
}

impl AddressLists {
    /// A matcher of names in any case; `None` for none.
    ///
    /// # Errors
    /// When there are more than a matcher can hold.
    pub fn crawlers_of(names: &[String]) -> Result<Option<AhoCorasick>, BuildError> {
        if names.is_empty() {
            return Ok(None);
        }
        AhoCorasick::builder().ascii_case_insensitive(true).build(names).map(Some)
    }
}

/// The keys of address digests on one day; a day without a key has no digests.
#[derive(Clone, Debug, Default)]
pub struct DayKeys {
    /// The day since 1970, UTC.
    pub day: u64,
    /// The day's key.
    pub today: Option<Vec<u8>>,
    /// The key of the day before.
    pub before: Option<Vec<u8>>,
}

/// Whom the lane asks for what it has not been told.
pub trait Source {
    /// The link that a code (any case) names on a host, worked out; `None` when it is the ordinary
    /// lane's. The host is a tracking domain's, or empty. The answer is held.
    fn link(&mut self, host: &str, code: &str) -> Option<Link>;
    /// The event type that the codes of a program and its own name, when the pixel may report it
    /// now; `None` when it is the ordinary lane's. The answer is held.
    fn event(&mut self, program: &str, code: &str) -> Option<Event>;
    /// The registrable domain of a host. The answer is held.
    fn site(&mut self, host: &str) -> Option<String>;
    /// The country of an address; the outer `None` when it cannot be told here.
    fn country(&mut self, address: &str) -> Option<Option<String>>;
    /// Fresh random bytes; fewer when there are none to be had.
    fn random(&mut self, count: usize) -> Vec<u8>;
}

/// What a request came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A click.
    #[default]
    Click,
    /// A report by the pixel.
    Conversion,
    /// A report by the pixel that is refused for this reason, and kept.
    Rejection(&'static str),
}

impl Kind {
    /// Its name in the ordinary lane's counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Conversion => "conversion",
            Self::Rejection(_) => "rejection",
        }
    }

    /// Why a report is refused.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Rejection(reason) => Some(reason),
            Self::Click | Self::Conversion => None,
        }
    }
}

/// What one request came to.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) kind: Kind,
    pub(crate) partition: u16,
    pub(crate) record: Vec<u8>,
}

/// What was made of the request at the start of some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many bytes it had.
    pub bytes: usize,
    /// What it came to.
    pub kind: Kind,
    /// The answer, as it goes out.
    pub answer: Vec<u8>,
    /// Where the record belongs.
    pub partition: u16,
    /// The record.
    pub record: Vec<u8>,
    /// The request asks to close the connection, and nothing follows it.
    pub is_last: bool,
}

/// The hot lane of one edge process.
#[derive(Debug, Default)]
pub struct HotLane {
    pub(crate) rules: Rules,
    pub(crate) lists: AddressLists,
    pub(crate) keys: DayKeys,
    pub(crate) pool: Pool,
    /// The answer that is being written.
    pub(crate) text: String,
    proxies: Ranges,
    domains: HashSet<String>,
    links: Links,
    events: Events,
    brands: Brands,
    sites: HashMap<Box<str>, Box<str>>,
}

impl HotLane {
    /// A lane that knows nobody's links yet. Only the peers in `proxies` are believed what they
    /// say of the visitors behind them.
    pub fn new(rules: Rules, proxies: Ranges) -> Self {
        Self { rules, proxies, ..Self::default() }
    }

    /// Puts other address lists in force.
    pub fn set_lists(&mut self, lists: AddressLists) {
        self.lists = lists;
    }

    /// Puts the keys of a day in force.
    pub fn set_keys(&mut self, keys: DayKeys) {
        self.keys = keys;
        self.brands.clear();
    }

    /// Takes the hosts of tracking domains, and forgets every link.
    pub fn set_domains(&mut self, hosts: HashSet<String>) {
        self.domains = hosts;
        self.links.clear();
    }

    /// Forgets a link that changed, and what is held under its new code, in lower case.
    pub fn forget(&mut self, number: u64, code: Option<&str>) {
        self.links.forget(number, code);
    }

    /// Forgets every link and every event type.
    pub fn forget_all(&mut self) {
        self.links.clear();
        self.events.clear();
    }

    /// Takes the request at the start of `data`, if it is whole and plainly for a link or the
    /// pixel. `peer` is the address at the other end of the socket, `date` the header's value.
    pub fn take(
        &mut self,
        data: &[u8],
        peer: IpAddr,
        now_ms: u64,
        date: &str,
        source: &mut impl Source,
    ) -> Option<Taken> {
        let head = head::read(data)?;
        if head.is_last && head.bytes < data.len() {
            return None;
        }
        let mut answer = Vec::new();
        let Made { kind, partition, record } =
            self.made(&head, peer, now_ms, date, &mut answer, source)?;
        let Head { bytes, is_last, .. } = head;
        Some(Taken { bytes, kind, answer, partition, record, is_last })
    }

    /// Appends the answer to a request; `None`, and nothing appended, when it is not the lane's.
    fn made(
        &mut self,
        head: &Head<'_>,
        peer: IpAddr,
        now_ms: u64,
        date: &str,
        answer: &mut Vec<u8>,
        source: &mut impl Source,
    ) -> Option<Made> {
        let hops_max = self.rules.forwarded_hops_max;
        let caller = Caller::read(head, peer, &self.proxies, hops_max, now_ms)?;
        if self.pool.left() < REQUEST_RANDOM_BYTES {
            self.pool.fill(&source.random(REFILL_BYTES));
        }
        if head.path == PIXEL {
            return pixel::finish(self, &caller, date, answer, source);
        }
        let (domain, code) = self.named(&caller.host, head.path)?;
        let link = match self.links.get(domain, code) {
            Some(link) => link,
            None => self.links.hold(domain, source.link(domain, code)?),
        };
        Visit { caller, link }.finish(self, date, answer, source)
    }

    /// The digests of a brand.
    pub(crate) fn brand(&mut self, number: u64) -> Option<Arc<Brand>> {
        self.brands.get(number, &self.rules.identity_key, &self.keys)
    }

    /// Whether the registrable domain of a host is this one.
    pub(crate) fn is_of_site(
        &mut self,
        host: &str,
        site: &str,
        source: &mut impl Source,
    ) -> Option<bool> {
        if let Some(known) = self.sites.get(host) {
            return Some(**known == *site);
        }
        let found = source.site(host)?;
        if self.sites.len() >= HOT_SITES_MAX {
            self.sites.clear();
        }
        let is_same = found == site;
        self.sites.insert(host.into(), found.into());
        Some(is_same)
    }

    /// The event type that a report names.
    pub(crate) fn event(
        &mut self,
        program: &str,
        code: &str,
        source: &mut impl Source,
    ) -> Option<Arc<Event>> {
        match self.events.get(program, code) {
            Some(event) => Some(event),
            None => Some(self.events.hold(program, code, source.event(program, code)?)),
        }
    }

    /// The tracking domain, if it is one, and the code that a path names.
    fn named<'a>(&self, host: &'a str, path: &'a str) -> Option<(&'a str, &'a str)> {
        let domain = if self.domains.contains(host) { host } else { "" };
        let code = match path.strip_prefix(LINKS) {
            Some(code) => code,
            None if !domain.is_empty() && !self.rules.reserved_paths.contains(path) => {
                path.strip_prefix('/')?
            }
            None => return None,
        };
        let is_code = (1..=self.rules.code_characters_max).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        is_code.then_some((domain, code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows sites, and counts how often it is asked.
    #[derive(Default)]
    struct Sites(usize);

    impl Source for Sites {
        fn link(&mut self, _: &str, _: &str) -> Option<Link> {
            None
        }

        fn event(&mut self, _: &str, _: &str) -> Option<Event> {
            None
        }

        fn site(&mut self, host: &str) -> Option<String> {
            self.0 += 1;
            host.strip_prefix("go.").map(str::to_owned)
        }

        fn country(&mut self, _: &str) -> Option<Option<String>> {
            None
        }

        fn random(&mut self, _: usize) -> Vec<u8> {
            Vec::new()
        }
    }

    #[test]
    fn a_host_is_asked_for_once_and_at_the_bound_anew() {
        let mut lane = HotLane::default();
        let mut sites = Sites::default();
        for _ in 0..2 {
            assert_eq!(lane.is_of_site("go.a", "a", &mut sites), Some(true));
            assert_eq!(lane.is_of_site("go.a", "b", &mut sites), Some(false));
        }
        assert_eq!((sites.0, lane.sites.len()), (1, 1));
        assert_eq!(lane.is_of_site("unknown", "b", &mut sites), None);
        for number in 1..HOT_SITES_MAX {
            assert_eq!(lane.is_of_site(&format!("go.{number}"), "a", &mut sites), Some(false));
        }
        assert_eq!(lane.sites.len(), HOT_SITES_MAX);
        assert_eq!(lane.is_of_site("go.b", "b", &mut sites), Some(true));
        assert_eq!(lane.sites.len(), 1);
    }
}
