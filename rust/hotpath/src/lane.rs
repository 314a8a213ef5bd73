//! The lane itself: what it was told, and the requests of one chunk of bytes.

use std::collections::HashSet;

use aho_corasick::{AhoCorasick, BuildError};
use headwater_engine::limits::HOT_REQUESTS_MAX;

use crate::address::{self, Ranges};
use crate::click::Visit;
use crate::head::{self, Head};
use crate::id::Pool;
use crate::link::{Link, Links};

/// Random bytes one request may use: of its click id 10, of a new visitor's id 16.
const REQUEST_RANDOM_BYTES: usize = 26;
/// Random bytes fetched at once: one system call is paid for some hundreds of requests.
const REFILL_BYTES: usize = 512 * REQUEST_RANDOM_BYTES;
const LINKS: &str = "/c/";

/// What never changes while the edge runs: its key, and the names and bounds of the ordinary lane.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The deployment's key of identifier digests.
    pub identity_key: Vec<u8>,
    /// The redirect's status and the headers that are always the same, from the status code on.
    pub answer_head: String,
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
    /// The registrable domain of a host.
    fn site(&mut self, host: &str) -> Option<String>;
    /// The country of an address; the outer `None` when it cannot be told here.
    fn country(&mut self, address: &str) -> Option<Option<String>>;
    /// Fresh random bytes; fewer when there are none to be had.
    fn random(&mut self, count: usize) -> Vec<u8>;
}

/// What was made of the first bytes of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many bytes that were; what follows is not the lane's, or not whole.
    pub bytes: usize,
    /// The answers, one after the other, as they go out.
    pub answer: String,
    /// The record of each request, with the partition it belongs to.
    pub records: Vec<(u16, Vec<u8>)>,
    /// The last request asks to close the connection, and nothing follows it.
    pub is_last: bool,
}

/// The hot lane of one edge process.
#[derive(Debug, Default)]
pub struct HotLane {
    pub(crate) rules: Rules,
    pub(crate) lists: AddressLists,
    pub(crate) keys: DayKeys,
    pub(crate) pool: Pool,
    proxies: Ranges,
    domains: HashSet<String>,
    links: Links,
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

    /// Forgets every link.
    pub fn forget_all(&mut self) {
        self.links.clear();
    }

    /// Takes the requests at the start of `data` that are plainly for links. `peer` is the address
    /// at the other end of the socket, `date` the value of the header. `None`: the first is not.
    pub fn take(
        &mut self,
        data: &[u8],
        peer: &str,
        now_ms: u64,
        date: &str,
        source: &mut impl Source,
    ) -> Option<Taken> {
        let mut taken = Taken::default();
        while taken.records.len() < HOT_REQUESTS_MAX && !taken.is_last {
            let Some(head) = data.get(taken.bytes..).and_then(head::read) else { break };
            if head.is_last && taken.bytes + head.bytes < data.len() {
                break;
            }
            let Some(visit) = self.visit(&head, peer, now_ms, source) else { break };
            let partition = visit.link.partition;
            let Some(record) = visit.finish(self, date, &mut taken.answer, source) else { break };
            taken.records.push((partition, record));
            taken.bytes += head.bytes;
            taken.is_last = head.is_last;
        }
        (taken.bytes > 0).then_some(taken)
    }

    /// Whom a request is of, and which link it is for.
    fn visit<'a>(
        &mut self,
        head: &'a Head<'a>,
        peer: &str,
        now_ms: u64,
        source: &mut impl Source,
    ) -> Option<Visit<'a>> {
        let peer = address::parse(peer)?;
        let is_proxied = !self.proxies.is_empty() && self.proxies.hold(peer);
        let address = match head.forwarded_for {
            Some(chain) if is_proxied => {
                address::forwarded(chain, &self.proxies, self.rules.forwarded_hops_max)?
            }
            _ => peer,
        };
        let is_secure = match head.forwarded_proto {
            Some("https") => is_proxied,
            Some("http") | None => false,
            Some(_) if is_proxied => return None,
            Some(_) => false,
        };
        let host = bare_host(head.host);
        let (domain, code) = self.named(&host, head.path)?;
        if self.pool.left() < REQUEST_RANDOM_BYTES {
            self.pool.fill(&source.random(REFILL_BYTES));
        }
        let link = match self.links.get(domain, code) {
            Some(link) => link,
            None => self.links.hold(domain, source.link(domain, code)?),
        };
        Some(Visit { head, host, link, address, is_proxied, is_secure, now_ms })
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

/// A host in lower case, without a port and a trailing dot.
fn bare_host(header: &str) -> String {
    let host = header.to_ascii_lowercase();
    if host.starts_with('[') {
        let inside = host.split(']').next().unwrap_or_default();
        return format!("{inside}]");
    }
    let name = host.split(':').next().unwrap_or_default();
    name.strip_suffix('.').unwrap_or(name).to_owned()
}
