//! Addresses of visitors: through trusted proxies, in lists, cut and digested.

use std::net::{IpAddr, Ipv6Addr};

const PERSON: &[u8] = b"hw-address-v1";
const DIGEST_BYTES: usize = 8;
/// Bytes of an IPv6 address that tell the line (/64) and the site (/48).
const LINE_BYTES: usize = 8;
const SITE_BYTES: usize = 6;

/// A set of addresses: ranges in order that do not touch, ends included.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Ranges {
    /// First and last address of each range, in native byte order, one after the other; of IPv4 4
    /// bytes each, of IPv6 16. Bytes behind the last whole range are passed over.
    pub fn new(v4: &[u8], v6: &[u8]) -> Self {
        Self {
            v4: pairs(v4).map(|(a, b)| (u32::from_ne_bytes(a), u32::from_ne_bytes(b))).collect(),
            v6: pairs(v6).map(|(a, b)| (u128::from_ne_bytes(a), u128::from_ne_bytes(b))).collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether an address is in one of them.
    pub fn hold(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => is_in(&self.v4, address.to_bits()),
            IpAddr::V6(address) => is_in(&self.v6, address.to_bits()),
        }
    }
}

fn pairs<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = ([u8; N], [u8; N])> + '_ {
    bytes.chunks_exact(2 * N).filter_map(|pair| {
        let (first, last) = pair.split_at_checked(N)?;
        Some((first.try_into().ok()?, last.try_into().ok()?))
    })
}

fn is_in<T: Ord + Copy>(ranges: &[(T, T)], number: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= number);
    behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| number <= *last)
}

/// An address that is written plainly; an IPv4 address written in IPv6 counts as IPv4.
pub(crate) fn parse(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    Some(address.to_canonical())
}

/// The visitor's address behind `peer`, whom the deployment trusts: right to left through trusted
/// hops to the first that is not. `None` when a hop is not written plainly, or there are too many.
pub(crate) fn forwarded(chain: &str, trusted: &Ranges, hops_max: usize) -> Option<IpAddr> {
    let mut found = None;
    for (count, hop) in chain.rsplit(',').enumerate() {
        let address = parse(hop.trim_matches(' '))?;
        if count >= hops_max {
            return None;
        }
        found = Some(address);
        if !trusted.hold(address) {
            break;
        }
    }
    found
}

/// The /24 or /48 of an address, as records carry it.
pub(crate) fn prefix(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            let mut text = String::with_capacity("255.255.255.0/24".len());
            for octet in [a, b, c] {
                push_octet(octet, &mut text);
            }
            text.push_str("0/24");
            text
        }
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets.iter_mut().skip(SITE_BYTES).for_each(|octet| *octet = 0);
            format!("{}/48", Ipv6Addr::from(octets))
        }
    }
}

/// Appends a number and a point.
fn push_octet(octet: u8, text: &mut String) {
    let digits = [octet / 100, octet / 10 % 10, octet % 10];
    let zeros = usize::from(octet < 100) + usize::from(octet < 10);
    text.extend(digits.iter().skip(zeros).map(|digit| char::from(b'0' + digit)));
    text.push('.');
}

/// Digests of addresses under one day's key; of no use in another brand.
#[derive(Clone, Debug)]
pub(crate) struct Digests(blake2b_simd::State);

impl Digests {
    pub(crate) fn new(key: &[u8], brand: u64) -> Self {
        let mut state = blake2b_simd::Params::new();
        state.hash_length(DIGEST_BYTES).key(key).personal(PERSON);
        let mut state = state.to_state();
        state.update(&brand.to_le_bytes());
        Self(state)
    }

    /// The digest of an address, of IPv6 of its /64.
    pub(crate) fn of(&self, address: IpAddr) -> Option<u64> {
        let mut state = self.0.clone();
        match address {
            IpAddr::V4(address) => state.update(&address.octets()),
            IpAddr::V6(address) => state.update(address.octets().get(..LINE_BYTES)?),
        };
        let hash = state.finalize();
        Some(u64::from_le_bytes(hash.as_bytes().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ranges(v4: &[(&str, &str)], v6: &[(&str, &str)]) -> Ranges {
        let v4: Vec<u8> = v4
            .iter()
            .flat_map(|(a, b)| [a, b])
            .flat_map(|text| text.parse::<Ipv4Addr>().unwrap().to_bits().to_ne_bytes())
            .collect();
        let v6: Vec<u8> = v6
            .iter()
            .flat_map(|(a, b)| [a, b])
            .flat_map(|text| text.parse::<Ipv6Addr>().unwrap().to_bits().to_ne_bytes())
            .collect();
        Ranges::new(&v4, &v6)
    }

    fn at(text: &str) -> IpAddr {
        parse(text).unwrap()
    }

    #[test]
    fn an_address_is_in_a_range_from_its_first_to_its_last() {
        let list = ranges(
            &[("10.0.0.0", "10.0.0.255"), ("10.0.2.0", "10.0.2.0")],
            &[("fd00::", "fd00::ffff")],
        );
        for inside in ["10.0.0.0", "10.0.0.255", "10.0.2.0", "fd00::", "fd00::ffff"] {
            assert!(list.hold(at(inside)), "{inside}");
        }
        for outside in ["9.255.255.255", "10.0.1.0", "10.0.2.1", "fcff::", "fd00::1:0"] {
            assert!(!list.hold(at(outside)), "{outside}");
        }
    }

    #[test]
    fn a_chain_is_followed_through_trusted_hops_alone() {
        let trusted = ranges(&[("10.0.0.0", "10.255.255.255")], &[]);
        let of = |chain| forwarded(chain, &trusted, 3);
        assert_eq!(of("198.51.100.7"), Some(at("198.51.100.7")));
        assert_eq!(of("1.2.3.4, 198.51.100.7, 10.0.0.1"), Some(at("198.51.100.7")));
        assert_eq!(of("x, 198.51.100.7"), Some(at("198.51.100.7")));
        assert_eq!(of("10.0.0.2, 10.0.0.1"), Some(at("10.0.0.2")));
        assert_eq!(of("x, 10.0.0.1"), None);
        assert_eq!(of("198.51.100.7:80"), None);
        assert_eq!(of("1.2.3.4,10.0.0.3,10.0.0.2,10.0.0.1"), None);
    }

    #[test]
    fn a_prefix_is_written_as_the_system_writes_it() {
        for (address, text) in [
            ("203.0.113.9", "203.0.113.0/24"),
            ("255.10.9.99", "255.10.9.0/24"),
            ("100.0.99.1", "100.0.99.0/24"),
            ("::ffff:203.0.113.9", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("0:0:1:2::", "0:0:1::/48"),
            ("::1", "::/48"),
        ] {
            assert_eq!(prefix(at(address)), text);
        }
    }
}
