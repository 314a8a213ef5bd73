//! What the fuzz target does with its bytes; `fuzz_smoke` does the same with random ones.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use std::collections::{HashMap, HashSet};

use headwater_engine::limits::DAY_MS;
use headwater_engine::record::{Body, Record};
use headwater_hotpath::{
    AddressLists, DayKeys, Event, HotLane, Kind, Link, Part, Ranges, Rules, Source, Taken, Token,
};

const NOW_MS: u64 = 1_795_272_147_692;
const DATE: &str = "Sat, 21 Nov 2026 15:22:27 GMT";
const END: &[u8] = b"\r\n\r\n";
const IMAGE: &[u8] = b"GIF89a\x01\x00\xff;";
/// What a request is put together from, where an input does not spell it.
const PIECES: &[&[u8]] = &[
    b"GET /c/a",
    b"GET /c/tokens?",
    b"GET /own?",
    b"GET /px.gif?program=check&event=sale&",
    b"GET /px.gif?program=check&event=lead&customer_id=c&",
    b" HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"Host: go.shop.example:80\r\n",
    b"\r\n",
    b"sub1=",
    b"&color=",
    b"&order_id=",
    b"&amount=",
    b"&currency=eur",
    b"&click_id=clk_01kaf3v4n8e2yxm7q5tb9c6d0w",
    b"&event_id=0123456789abcdef",
    b"&visitor_id=4cxhb5jty243t3861wt9z4ncby.7",
    b"&device_id=",
    b"&external_click_id=",
    b"&consent=granted",
    b"%41",
    b"%C3%A9",
    b"4111111111111111",
    b"Cookie: hw_visitor=4cxhb5jty243t3861wt9z4ncby.20789\r\n",
    b"X-Forwarded-For: ",
    b"203.0.113.9, 127.0.0.1",
    b"X-Forwarded-Proto: https\r\n",
    b"User-Agent: Mozilla/5.0\r\n",
    b"Referer: https://a.example/?",
    b"Accept-Language: de-DE,de;q=0.9\r\n",
    b"Connection: close\r\n",
    b"Content-Length: 0\r\n",
];
const CLICK_HEADERS: &[&str] = &["Server", "Location", "Set-Cookie", "Connection", "Date"];
const PIXEL_HEADERS: &[&str] = &["Content-Type", "Content-Length", "Connection", "Date"];

/// Says what there is, and draws the same bytes every time.
struct Told;

impl Source for Told {
    fn link(&mut self, host: &str, code: &str) -> Option<Link> {
        let part = |text: &str, token| Part { text: text.to_owned(), token };
        let token = |name: &str| Some(Token::Parameter(name.to_owned()));
        let link = Link {
            number: 1,
            program: 2,
            partner: 3,
            brand: 4,
            partition: 5,
            site: "shop.example".to_owned(),
            cookie_age_s: 86_400,
            joint: "?".to_owned(),
            head: vec![part("https://shop.example/", None)],
            tail: vec![part("#b", None)],
            click_param: Some("click_id".to_owned()),
            forward: vec![("color".to_owned(), "color".to_owned())],
            ..Link::default()
        };
        match (host, code.to_ascii_lowercase().as_str()) {
            (_, "a") | ("go.shop.example", "own") => Some(link),
            (_, "tokens") => Some(Link {
                head: vec![
                    part("https://shop.example/", token("sub1")),
                    part("/", Some(Token::ClickId)),
                    part("?t=", Some(Token::Timestamp)),
                ],
                joint: "&".to_owned(),
                click_param: None,
                ..link
            }),
            _ => None,
        }
    }

    fn event(&mut self, program: &str, code: &str) -> Option<Event> {
        let event = Event {
            number: 1,
            program: 2,
            brand: 4,
            partition: 5,
            needs_order: code == "sale",
            is_denied: false,
            site: "shop.example".to_owned(),
            currency: "EUR".to_owned(),
        };
        (program == "check" && ["sale", "lead"].contains(&code)).then_some(event)
    }

    fn site(&mut self, host: &str) -> Option<String> {
        Some(host.strip_prefix("go.").unwrap_or(host).to_owned())
    }

    fn country(&mut self, address: &str) -> Option<Option<String>> {
        Some(address.contains('.').then(|| "DE".to_owned()))
    }

    fn random(&mut self, count: usize) -> Vec<u8> {
        vec![7; count]
    }
}

fn lane() -> HotLane {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let rules = Rules {
        identity_key: vec![1; 32],
        answer_head: "302 Found\r\nServer: headwater\r\n".to_owned(),
        pixel_head: "200 OK\r\nContent-Type: image/gif\r\nContent-Length: 10\r\n".to_owned(),
        pixel_image: IMAGE.to_vec(),
        parameters: names(&["sub1", "sub2", "utm_source"]),
        ad_click_ids: names(&["gclid"]),
        reserved_paths: HashSet::from(["/px.gif".to_owned(), "/healthz".to_owned()]),
        parameter_bytes_max: 16,
        user_agent_bytes_max: 16,
        referrer_bytes_max: 16,
        fetch_bytes_max: 8,
        accept_bytes_max: 8,
        language_bytes_max: 4,
        agent_brands_bytes_max: 8,
        agent_hint_bytes_max: 8,
        query_parameters_max: 16,
        forwarded_hops_max: 3,
        location_bytes_max: 256,
        cookie_age_s_max: 400 * 86_400,
        code_characters_max: 16,
        pixel_value_bytes_max: 40,
        amount_digits_max: 18,
        currencies: HashMap::from([("EUR".to_owned(), 2), ("JPY".to_owned(), 0)]),
    };
    let loopback = [127, 0, 0, 1_u8, 127, 0, 0, 1];
    let native: Vec<u8> = loopback
        .chunks(4)
        .flat_map(|octets| u32::from_be_bytes(octets.try_into().unwrap()).to_ne_bytes())
        .collect();
    let proxies = Ranges::new(&native, &[]);
    let mut lane = HotLane::new(rules, proxies);
    lane.set_lists(AddressLists {
        loaded_flags: 0x100,
        version: Some("v".to_owned()),
        ranges: vec![(1, Ranges::new(&native, &[]))],
        crawlers: AddressLists::crawlers_of(&names(&["Googlebot"])).unwrap(),
        has_countries: true,
    });
    lane.set_keys(DayKeys { day: NOW_MS / DAY_MS, today: Some(vec![2; 32]), before: None });
    lane.set_domains(HashSet::from(["go.shop.example".to_owned()]));
    lane
}

fn take(lane: &mut HotLane, data: &[u8], peer: &str) -> Option<Taken> {
    lane.take(data, peer.parse().ok()?, NOW_MS, DATE, &mut Told)
}

/// An input's bytes as they are, or each small one as a piece of a request.
fn spelled(data: &[u8]) -> Vec<u8> {
    let Some((how, rest)) = data.split_first() else { return Vec::new() };
    if how.is_multiple_of(2) {
        return rest.to_vec();
    }
    let piece = |byte: &u8| match PIECES.get(usize::from(*byte)) {
        Some(piece) => piece.to_vec(),
        None => vec![*byte],
    };
    rest.iter().flat_map(piece).collect()
}

/// Arbitrary bytes: never a panic, and what is taken is whole requests by the letter, whose answers
/// and records depend on nothing before or behind them. How many requests were taken.
pub fn hotpath_bytes(data: &[u8]) -> usize {
    let data = spelled(data);
    let mut lane = lane();
    let mut count = 0;
    for peer in ["127.0.0.1", "2001:db8::1"] {
        let mut rest = &data[..];
        while let Some(taken) = take(&mut lane, rest, peer) {
            let request;
            (request, rest) = rest.split_at(taken.bytes);
            check_letter(request);
            check_record(&taken);
            check_answer(&taken);
            // The same again, without what follows, and with anything else behind it.
            assert_eq!(take(&mut lane, request, peer).as_ref(), Some(&taken));
            for more in [&b"GET /healthz HTTP/1.1\r\n\r\n"[..], b"\r\n", b"G", &data] {
                // A request to close is left to the ordinary lane when something follows.
                let expected = (!taken.is_last).then_some(&taken);
                let found = take(&mut lane, &[request, more].concat(), peer);
                assert_eq!(found.as_ref(), expected);
            }
            for end in [1, request.len() / 2, request.len() - 2, request.len() - 1] {
                assert_eq!(take(&mut lane, &request[..end], peer), None);
            }
            count += 1;
        }
    }
    count
}

/// A request's end is its first empty line, and it is a plain head.
fn check_letter(request: &[u8]) {
    let end = request.windows(END.len()).position(|window| window == END).unwrap();
    assert_eq!(end + END.len(), request.len());
    check_head(std::str::from_utf8(&request[..end]).unwrap());
}

fn check_head(head: &str) {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap();
    let target = first.strip_prefix("GET /").unwrap().strip_suffix(" HTTP/1.1").unwrap();
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{first}");
    let mut names = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{line:?}");
        assert!(value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)));
        names.push(name.to_ascii_lowercase());
    }
    let count = names.len();
    assert_eq!(names.iter().filter(|name| *name == "host").count(), 1);
    for framing in ["content-length", "transfer-encoding", "upgrade", "expect", "trailer"] {
        assert!(!names.iter().any(|name| name == framing), "{framing}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a header twice");
}

fn check_record(taken: &Taken) {
    let record = Record::decode(&taken.record).unwrap();
    assert_eq!((taken.partition, record.brand, record.accept_ms), (5, 4, NOW_MS));
    assert_eq!(record.encode(), taken.record);
    match (&record.body, taken.kind) {
        (Body::Click(click), Kind::Click) => assert_eq!((click.program, click.link), (2, 1)),
        (Body::Conversion(report), Kind::Conversion) => {
            assert_eq!((report.program, report.event_type, report.refused), (2, 1, None));
            assert!(report.money.amount_minor >= 0);
        }
        (Body::Conversion(report), Kind::Rejection(reason)) => {
            assert_eq!(report.refused, Some(reason));
            assert_eq!((report.order_id, report.identifiers.iter().count()), (None, 0));
        }
        (body, kind) => unreachable!("{kind:?}: {body:?}"),
    }
}

/// The answer has the headers of its kind alone, and the image where there is to be one.
fn check_answer(taken: &Taken) {
    let (status, headers, body) = match taken.kind {
        Kind::Click => ("HTTP/1.1 302 Found", CLICK_HEADERS, &b""[..]),
        Kind::Conversion | Kind::Rejection(_) => ("HTTP/1.1 200 OK", PIXEL_HEADERS, IMAGE),
    };
    let answer = &taken.answer[..];
    let end = answer.windows(END.len()).position(|window| window == END).unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some(status));
    let names: Vec<&str> = lines.map(|line| line.split_once(": ").unwrap().0).collect();
    assert!(names.iter().all(|name| headers.contains(name)), "{head}");
    assert_eq!(names.contains(&"Connection"), taken.is_last);
    assert!(head.bytes().all(|byte| b"\r\n".contains(&byte) || (b' '..=b'~').contains(&byte)));
    assert_eq!(&answer[end + END.len()..], body);
}
