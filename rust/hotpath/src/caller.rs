//! The browser that sent a request: where it is, and what a record keeps of it.

use std::borrow::Cow;
use std::net::IpAddr;

use headwater_engine::limits::DAY_MS;
use headwater_engine::record::{Client, Network, Request};

use crate::address::{self, Digests, Ranges};
use crate::brands::Brand;
use crate::head::Head;
use crate::lane::{HotLane, Source};
use crate::query::{cut, may_be_personal};

const HTTP_1_1: u64 = 11;

/// A request, and whom it is of.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) head: &'a Head<'a>,
    /// The host that was asked, in lower case, without a port and a trailing dot.
    pub(crate) host: Cow<'a, str>,
    pub(crate) address: IpAddr,
    /// The peer is a trusted proxy.
    pub(crate) is_proxied: bool,
    /// The visitor came to the proxy over TLS.
    pub(crate) is_secure: bool,
    pub(crate) now_ms: u64,
}

/// Where a caller is, as records keep it.
#[derive(Debug)]
pub(crate) struct Place {
    prefix: String,
    country: Option<String>,
}

impl<'a> Caller<'a> {
    /// The caller behind `peer`; `None` when what a trusted proxy says of it is not plain.
    pub(crate) fn read(
        head: &'a Head<'a>,
        peer: IpAddr,
        proxies: &Ranges,
        hops_max: usize,
        now_ms: u64,
    ) -> Option<Self> {
        let peer = peer.to_canonical();
        let is_proxied = !proxies.is_empty() && proxies.hold(peer);
        let address = match head.forwarded_for {
            Some(chain) if is_proxied => address::forwarded(chain, proxies, hops_max)?,
            _ => peer,
        };
        let is_secure = match head.forwarded_proto {
            Some("https") => is_proxied,
            Some("http") | None => false,
            Some(_) if is_proxied => return None,
            Some(_) => false,
        };
        let host = bare_host(head.host);
        Some(Self { head, host, address, is_proxied, is_secure, now_ms })
    }

    /// Whether nothing is kept of the caller that would have to be judged first: pages put what
    /// was typed into their addresses, and browsers send those on.
    pub(crate) fn is_plain(&self) -> bool {
        ![self.head.user_agent, self.head.referrer].into_iter().flatten().any(may_be_personal)
    }

    /// Where the caller is; `None` when that cannot be told here.
    pub(crate) fn place(&self, lane: &HotLane, source: &mut impl Source) -> Option<Place> {
        let country = if lane.lists.has_countries {
            source.country(&self.address.to_string())?
        } else {
            None
        };
        Some(Place { prefix: address::prefix(self.address), country })
    }

    /// What a record of `brand` keeps; `None` when the keys are another day's, or the user agent
    /// names a crawler that the lists know.
    pub(crate) fn kept<'b>(
        &'b self,
        lane: &'b HotLane,
        brand: &Brand,
        place: &'b Place,
    ) -> Option<Client<'b>> {
        let (head, limits) = (self.head, &lane.rules);
        Some(Client {
            address_prefix: Some(&place.prefix),
            user_agent: head.user_agent.map(|text| cut(text, limits.user_agent_bytes_max)),
            referrer: head.referrer.map(|text| cut(text, limits.referrer_bytes_max)),
            network: Some(self.network(lane, brand, place.country.as_deref())?),
            request: Some(self.request(lane)),
        })
    }

    fn network<'b>(
        &self,
        lane: &'b HotLane,
        brand: &Brand,
        country: Option<&'b str>,
    ) -> Option<Network<'b>> {
        let lists = &lane.lists;
        if let (Some(crawlers), Some(agent)) = (&lists.crawlers, self.head.user_agent) {
            if crawlers.is_match(agent) {
                return None;
            }
        }
        if self.now_ms / DAY_MS != lane.keys.day {
            return None;
        }
        let under = |key: &Option<Digests>| key.as_ref().and_then(|key| key.of(self.address));
        let held = lists.ranges.iter().filter(|(_, ranges)| ranges.hold(self.address));
        Some(Network {
            address: under(&brand.today),
            address_before: under(&brand.before),
            flags: held.fold(lists.loaded_flags, |found, (flag, _)| found | flag),
            country,
            lists: lists.version.as_deref(),
        })
    }

    fn request(&self, lane: &HotLane) -> Request<'_> {
        let (head, limits) = (self.head, &lane.rules);
        let fetch = |text| cut(text, limits.fetch_bytes_max);
        let hint = |text| cut(text, limits.agent_hint_bytes_max);
        Request {
            // A proxy speaks its own version to us, whatever the browser spoke to it.
            http_version: if self.is_proxied { 0 } else { HTTP_1_1 },
            is_secure: self.is_secure,
            fetch_dest: head.fetch_dest.map(fetch),
            fetch_mode: head.fetch_mode.map(fetch),
            fetch_site: head.fetch_site.map(fetch),
            fetch_user: head.fetch_user.map(fetch),
            purpose: None,
            accept: head.accept.map(|text| cut(text, limits.accept_bytes_max)),
            accept_language: head.accept_language.map(|text| {
                let text = cut(text, 4 * limits.language_bytes_max);
                let first = text.split([',', ';']).next().unwrap_or_default();
                cut(first.trim_matches(' '), limits.language_bytes_max)
            }),
            agent_brands: head.agent_brands.map(|text| cut(text, limits.agent_brands_bytes_max)),
            agent_mobile: head.agent_mobile.map(hint),
            agent_platform: head.agent_platform.map(hint),
        }
    }
}

/// A host in lower case, without a port and a trailing dot.
fn bare_host(header: &str) -> Cow<'_, str> {
    if header.starts_with('[') {
        let inside = header.split(']').next().unwrap_or_default();
        return format!("{}]", inside.to_ascii_lowercase()).into();
    }
    let name = header.split(':').next().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return name.to_ascii_lowercase().into();
    }
    name.into()
}
