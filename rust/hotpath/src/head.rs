//! The head of a request, when it is plainly one for a link.
//!
//! `httparse` finds the parts. What parsers are known to differ in is then refused: bare line
//! feeds, bytes beyond printable ASCII, empty values, a name that comes twice, and every header
//! that changes how a request is framed. None of it is wrong; it is the ordinary lane's.

use headwater_engine::limits::{HOT_HEADERS_MAX, HOT_HEAD_BYTES_MAX};

const NAME_BYTES_MAX: usize = 32;
const METHOD: &[u8] = b"GET ";
const VERSION: &[u8] = b" HTTP/1.1\r\n";

/// A whole head, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) bytes: usize,
    pub(crate) path: &'a str,
    /// What stands behind the question mark; empty without one.
    pub(crate) query: &'a str,
    pub(crate) host: &'a str,
    /// The client asks to close the connection after the answer.
    pub(crate) is_last: bool,
    pub(crate) cookie: Option<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) referrer: Option<&'a str>,
    pub(crate) forwarded_for: Option<&'a str>,
    pub(crate) forwarded_proto: Option<&'a str>,
    pub(crate) fetch_dest: Option<&'a str>,
    pub(crate) fetch_mode: Option<&'a str>,
    pub(crate) fetch_site: Option<&'a str>,
    pub(crate) fetch_user: Option<&'a str>,
    pub(crate) accept: Option<&'a str>,
    pub(crate) accept_language: Option<&'a str>,
    pub(crate) agent_brands: Option<&'a str>,
    pub(crate) agent_mobile: Option<&'a str>,
    pub(crate) agent_platform: Option<&'a str>,
}

/// The head at the start of `data`; `None` when it is not whole, or not plain.
pub(crate) fn read(data: &[u8]) -> Option<Head<'_>> {
    let data = data.get(..data.len().min(HOT_HEAD_BYTES_MAX))?;
    let mut headers = [httparse::EMPTY_HEADER; HOT_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let bytes = match request.parse(data) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        _ => return None,
    };
    let target = request.path?;
    let behind = data.strip_prefix(METHOD)?.strip_prefix(target.as_bytes())?;
    if !behind.starts_with(VERSION) || !ends_are_plain(data.get(..bytes)?) {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !query.bytes().all(is_of_query) {
        return None;
    }
    let mut head = Head { bytes, path, query, ..Head::default() };
    let mut seen = request.headers.iter();
    while let Some(header) = seen.next() {
        if seen.as_slice().iter().any(|other| other.name.eq_ignore_ascii_case(header.name)) {
            return None;
        }
        head.take(header)?;
    }
    (!head.host.is_empty()).then_some(head)
}

/// Whether every line ends in a carriage return and a line feed, and neither stands elsewhere.
fn ends_are_plain(head: &[u8]) -> bool {
    let mut before = 0;
    let mut returns = 0_usize;
    let mut feeds = 0_usize;
    for &byte in head {
        if byte == b'\n' {
            if before != b'\r' {
                return false;
            }
            feeds += 1;
        }
        returns += usize::from(byte == b'\r');
        before = byte;
    }
    returns == feeds
}

/// The characters of a query (RFC 3986, 3.4); the mark of a fragment is none of them.
fn is_of_query(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(&byte)
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)
}

impl<'a> Head<'a> {
    /// Notes a header; `None` for one that makes the request not plain.
    fn take(&mut self, header: &httparse::Header<'a>) -> Option<()> {
        let value = printable(header.value)?;
        let mut buffer = [0; NAME_BYTES_MAX];
        let Some(name) = buffer.get_mut(..header.name.len()) else {
            // Longer than any that is looked at.
            return Some(());
        };
        name.copy_from_slice(header.name.as_bytes());
        name.make_ascii_lowercase();
        match &*name {
            b"host" if value.bytes().all(is_of_host) => self.host = value,
            b"host" => return None,
            b"connection" => self.is_last = asks_to_close(value)?,
            b"cookie" => self.cookie = Some(value),
            b"user-agent" => self.user_agent = Some(value),
            b"referer" => self.referrer = Some(value),
            b"x-forwarded-for" => self.forwarded_for = Some(value),
            b"x-forwarded-proto" => self.forwarded_proto = Some(value),
            b"sec-fetch-dest" => self.fetch_dest = Some(value),
            b"sec-fetch-mode" => self.fetch_mode = Some(value),
            b"sec-fetch-site" => self.fetch_site = Some(value),
            b"sec-fetch-user" => self.fetch_user = Some(value),
            b"accept" => self.accept = Some(value),
            b"accept-language" => self.accept_language = Some(value),
            b"sec-ch-ua" => self.agent_brands = Some(value),
            b"sec-ch-ua-mobile" => self.agent_mobile = Some(value),
            b"sec-ch-ua-platform" => self.agent_platform = Some(value),
            b"sec-gpc" if value != "1" => {}
            // How the request is framed, or asked to be; consent; a fetch ahead.
            b"content-length" | b"transfer-encoding" | b"content-encoding" | b"trailer"
            | b"expect" | b"upgrade" | b"proxy-connection" | b"http2-settings" | b"sec-gpc"
            | b"sec-purpose" | b"purpose" | b"x-purpose" | b"x-moz" => return None,
            _ if name.starts_with(b"sec-websocket") => return None,
            _ => {}
        }
        Some(())
    }
}

fn printable(value: &[u8]) -> Option<&str> {
    if value.is_empty() || !value.iter().all(|byte| (0x20..=0x7e).contains(byte)) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

fn asks_to_close(connection: &str) -> Option<bool> {
    if connection.eq_ignore_ascii_case("close") {
        return Some(true);
    }
    connection.eq_ignore_ascii_case("keep-alive").then_some(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "GET /c/a?b=c HTTP/1.1\r\nHost: x\r\nCookie: d=e\r\n\r\n";

    #[test]
    fn a_plain_head_is_taken_apart() {
        let head = read(PLAIN.as_bytes()).unwrap();
        assert_eq!((head.path, head.query, head.host), ("/c/a", "b=c", "x"));
        assert_eq!((head.bytes, head.cookie, head.is_last), (PLAIN.len(), Some("d=e"), false));
    }

    #[test]
    fn no_part_of_a_head_is_one() {
        for end in 0..PLAIN.len() {
            assert_eq!(read(&PLAIN.as_bytes()[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_parsers_may_differ_in_is_not_plain() {
        for other in [
            "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "GET / HTTP/1.1\r\nHost: x\r\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\na: c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\tc\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: \u{e9}\r\n\r\n",
            "GET /?\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /?a#b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, te\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nSec-GPC: 1\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            assert_eq!(read(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn a_head_is_taken_up_to_its_bounds() {
        let of_bytes = |bytes: usize| {
            let rest = "GET / HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(bytes - rest))
        };
        assert!(read(of_bytes(HOT_HEAD_BYTES_MAX).as_bytes()).is_some());
        assert!(read(of_bytes(HOT_HEAD_BYTES_MAX + 1).as_bytes()).is_none());
        let of_headers = |count: usize| {
            let more: String = (1..count).map(|at| format!("a{at}: b\r\n")).collect();
            format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n")
        };
        assert!(read(of_headers(HOT_HEADERS_MAX).as_bytes()).is_some());
        assert!(read(of_headers(HOT_HEADERS_MAX + 1).as_bytes()).is_none());
    }

    /// A head by the letter: lines that end in CR LF, each `name: value` of plain characters.
    fn agrees(data: &[u8], head: &Head<'_>) -> bool {
        let text = std::str::from_utf8(&data[..head.bytes]).unwrap();
        let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
        let target = lines[0].strip_prefix("GET ").unwrap().strip_suffix(" HTTP/1.1").unwrap();
        let is_target = target.split('?').next() == Some(head.path) && !target.contains(' ');
        let fields: Vec<(String, &str)> = lines[1..]
            .iter()
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
            .collect();
        let hosts: Vec<_> = fields.iter().filter(|(name, _)| name == "host").collect();
        let is_framed = fields.iter().any(|(name, _)| {
            ["content-length", "transfer-encoding", "upgrade", "expect"].contains(&&**name)
        });
        is_target
            && !text.contains("\n\r\n\r\n")
            && fields.iter().all(|(name, value)| {
                !name.is_empty() && !name.contains([' ', '\t']) && !value.contains(['\r', '\n'])
            })
            && hosts.len() == 1
            && hosts[0].1 == head.host
            && !is_framed
    }

    fn any_head() -> impl Strategy<Value = Vec<u8>> {
        let pieces: &[&[u8]] = &[
            b"GET /c/abc",
            b"?sub1=x%20y&a=b",
            b" HTTP/1.1\r\n",
            b"Host: x\r\n",
            b"Content-Length: 1\r\n",
            b"User-Agent: Mozilla/5.0 (X11)\r\n",
            b"Cookie: a=b; c=d\r\n",
            b"Connection: close\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b":",
            b"\x00",
            b"\xff",
        ];
        let piece = prop::sample::select(pieces);
        let loose = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
        let changed =
            (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8).prop_map(|(at, by, how)| {
                let mut data = PLAIN.as_bytes().to_vec();
                let at = at.index(data.len());
                match how {
                    0 => data[at] = by,
                    1 => data.insert(at, by),
                    _ => drop(data.remove(at)),
                }
                data
            });
        prop_oneof![loose, changed, proptest::collection::vec(any::<u8>(), 0..200)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_taken_is_a_head_by_the_letter(data in any_head()) {
            if let Some(head) = read(&data) {
                prop_assert!(agrees(&data, &head), "{:?}", String::from_utf8_lossy(&data));
            }
        }
    }
}
