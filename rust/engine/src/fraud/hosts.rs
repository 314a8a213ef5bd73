//! Hosts of web addresses, and prefixes of network addresses.

use core::net::IpAddr;

/// The host of a web address, as it is written there; `None` when it has none.
pub fn host_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = if host.starts_with('[') { host } else { host.split(':').next()? };
    let host = host.trim_end_matches('.');
    (!host.is_empty()).then_some(host)
}

/// The path of a web address, without query and fragment; `/` when it has none.
pub fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// Whether a host is a domain or lies under it; the domain is in lower case.
pub fn is_within(host: &str, domain: &str) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let (Some(front), Some(end)) = (host.get(..at), host.get(at..)) else { return false };
    end.eq_ignore_ascii_case(domain) && (front.is_empty() || front.ends_with('.'))
}

/// The form in which a domain is kept: lower case, without what often stands around it; `None`
/// when nothing is left.
pub fn domain(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let host = host_of(&text).unwrap_or(&text);
    let host = host.split('/').next().unwrap_or_default();
    let host = host.trim_start_matches("*.").trim_matches('.');
    (!host.is_empty()).then(|| host.to_owned())
}

/// A part of the addresses of IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    is_v6: bool,
    /// The address's bits from the left, those after `length` zero.
    bits: u128,
    length: u8,
}

impl Prefix {
    /// A prefix as it is written, `203.0.113.0/24`; an address alone is one of full length.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.trim().split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
            None => (text.trim(), None),
        };
        let (is_v6, bits, longest) = match address.parse().ok()? {
            IpAddr::V4(address) => (false, u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (true, u128::from(address), 128),
        };
        let length = length.unwrap_or(longest);
        (length <= longest).then_some(Self { is_v6, bits: bits & mask(length), length })
    }

    /// Whether all addresses of `other` are among these.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_v6 == other.is_v6
            && self.length <= other.length
            && other.bits & mask(self.length) == self.bits
    }

    /// As it is written.
    pub fn text(&self) -> String {
        let Self { is_v6, bits, length } = *self;
        let address = if is_v6 {
            IpAddr::from(bits.to_be_bytes())
        } else {
            IpAddr::from(u32::try_from(bits >> 96).unwrap_or_default().to_be_bytes())
        };
        format!("{address}/{length}")
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_from_a_web_address_alone() {
        for (url, host) in [
            ("https://Shop.example/a?b", Some("Shop.example")),
            ("http://shop.example:8080", Some("shop.example")),
            ("https://user:word@shop.example./x", Some("shop.example")),
            ("https://[2001:db8::1]:8443/x", Some("[2001:db8::1]:8443")),
            ("https://a.example\\@b.example/", Some("a.example")),
            ("android-app://com.example", None),
            ("shop.example/a", None),
            ("https:///a", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }

    #[test]
    fn a_domain_holds_itself_and_what_lies_under_it() {
        assert!(is_within("example.com", "example.com"));
        assert!(is_within("Blog.Example.com", "example.com"));
        for other in ["badexample.com", "example.com.evil.net", "com", ""] {
            assert!(!is_within(other, "example.com"), "{other}");
        }
    }

    #[test]
    fn a_domain_is_kept_in_one_form() {
        for text in ["example.com", " *.Example.com. ", "https://example.com/page", "example.com/x"]
        {
            assert_eq!(domain(text).as_deref(), Some("example.com"), "{text}");
        }
        assert_eq!(domain(" . "), None);
    }

    #[test]
    fn a_path_ends_at_the_query() {
        assert_eq!(path_of("https://shop.example/cart?x=/y#z"), "/cart");
        assert_eq!(path_of("https://shop.example"), "/");
        assert_eq!(path_of("/basket"), "/basket");
    }

    #[test]
    fn a_prefix_holds_the_narrower_ones_of_its_kind() {
        let of = |text| Prefix::parse(text).unwrap();
        assert!(of("203.0.0.0/16").contains(&of("203.0.113.0/24")));
        assert!(of("203.0.113.7/24").contains(&of("203.0.113.0/24")));
        assert!(!of("203.0.113.7/32").contains(&of("203.0.113.0/24")));
        assert!(!of("0.0.0.0/0").contains(&of("2001:db8::/48")));
        assert!(of("::/0").contains(&of("2001:db8::/48")));
        for text in ["203.0.113.0/33", "203.0.113/24", "", "::/129", "203.0.113.0/-1"] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
        for text in ["203.0.113.0/24", "2001:db8::/48", "0.0.0.0/0"] {
            assert_eq!(of(text).text(), text);
        }
    }
}
