//! The head of a request, when it is plainly one for a link.
//!
//! `httparse` finds the parts. What parsers are known to differ in is then refused: bare line
//! feeds, bytes beyond printable ASCII, empty values, a name that comes twice, and every header
//! that changes how a request is framed. None of it is wrong; it is the ordinary lane's.

use headwater_engine::limits::{HOT_HEADERS_MAX, HOT_HEAD_BYTES_MAX};
use memchr::memchr_iter;

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
    let mut others: &[httparse::Header<'_>] = request.headers;
    while let [before @ .., header] = others {
        let is_kept = head.take(header)?;
        if !is_kept && before.iter().any(|other| other.name.eq_ignore_ascii_case(header.name)) {
            return None;
        }
        others = before;
    }
    (!head.host.is_empty()).then_some(head)
}

/// Whether every line ends in a carriage return and a line feed, and neither stands elsewhere.
fn ends_are_plain(head: &[u8]) -> bool {
    let mut feeds = 0;
    for at in memchr_iter(b'\n', head) {
        if at.checked_sub(1).and_then(|before| head.get(before)) != Some(&b'\r') {
            return false;
        }
        feeds += 1;
    }
    memchr_iter(b'\r', head).count() == feeds
}

/// The characters of a query (RFC 3986, 3.4); the mark of a fragment is none of them.
fn is_of_query(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'&'..=b'/')
        || matches!(byte, b':' | b';' | b'=' | b'?' | b'@' | b'_' | b'~' | b'%' | b'!' | b'$')
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

impl<'a> Head<'a> {
    /// Notes a header; whether it is kept, or `None` for one that makes the request not plain. Of
    /// one that is kept another is noticed.
    fn take(&mut self, header: &httparse::Header<'a>) -> Option<bool> {
        let value = printable(header.value)?;
        let mut buffer = [0; NAME_BYTES_MAX];
        let Some(name) = buffer.get_mut(..header.name.len()) else {
            // Longer than any that is looked at.
            return Some(false);
        };
        name.copy_from_slice(header.name.as_bytes());
        name.make_ascii_lowercase();
        let kept = match &*name {
            b"host" if self.host.is_empty() && value.bytes().all(is_of_host) => {
                self.host = value;
                return Some(true);
            }
            b"host" => return None,
            b"connection" => {
                self.is_last = asks_to_close(value)?;
                return Some(false);
            }
            b"cookie" => &mut self.cookie,
            b"user-agent" => &mut self.user_agent,
            b"referer" => &mut self.referrer,
            b"x-forwarded-for" => &mut self.forwarded_for,
            b"x-forwarded-proto" => &mut self.forwarded_proto,
            b"sec-fetch-dest" => &mut self.fetch_dest,
            b"sec-fetch-mode" => &mut self.fetch_mode,
            b"sec-fetch-site" => &mut self.fetch_site,
            b"sec-fetch-user" => &mut self.fetch_user,
            b"accept" => &mut self.accept,
            b"accept-language" => &mut self.accept_language,
            b"sec-ch-ua" => &mut self.agent_brands,
            b"sec-ch-ua-mobile" => &mut self.agent_mobile,
            b"sec-ch-ua-platform" => &mut self.agent_platform,
            b"sec-gpc" if value != "1" => return Some(false),
            // How the request is framed, or asked to be; consent; a fetch ahead.
            b"content-length" | b"transfer-encoding" | b"content-encoding" | b"trailer"
            | b"expect" | b"upgrade" | b"proxy-connection" | b"http2-settings" | b"sec-gpc"
            | b"sec-purpose" | b"purpose" | b"x-purpose" | b"x-moz" => return None,
            _ if name.starts_with(b"sec-websocket") => return None,
            _ => return Some(false),
        };
        kept.replace(value).is_none().then_some(true)
    }
}

fn printable(value: &[u8]) -> Option<&str> {
    // Without a way out before the end the loop is one of vectors.
    let is_printable = value.iter().fold(true, |is, byte| is & (0x20..=0x7e).contains(byte));
    if value.is_empty() || !is_printable {
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
    fn a_query_and_a_host_have_the_characters_of_theirs() {
        let of = |is_one: fn(u8) -> bool| (0..=255).filter(|byte| is_one(*byte)).count();
        let (of_query, of_host) = ("-._~%!$&'()*+,;=:@/?", "-._:[]");
        assert!(of_query.bytes().all(is_of_query) && of_host.bytes().all(is_of_host));
        assert!((0..=255).filter(u8::is_ascii_alphanumeric).all(is_of_query));
        assert_eq!((of(is_of_query), of(is_of_host)), (62 + of_query.len(), 62 + of_host.len()));
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
