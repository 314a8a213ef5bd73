//! What the fuzz targets do with their bytes; `fuzz_smoke` does the same with random ones.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use std::sync::OnceLock;

use headwater_engine::limits::Limits;
use headwater_engine::record::{encode_frame, Record};
use headwater_engine::{Engine, Options, Outcomes};

use crate::common::*;

/// Frames one input may make, so that no input takes long.
const FRAMES_MAX: usize = 120;
/// Bytes of one frame made of an input's own bytes.
const CHUNK_BYTES_MAX: usize = 600;
const CHECKSUM_BYTES: usize = 4;

/// An input as a stream of choices; at its end every choice is zero.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u64 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                u64::from(*first)
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.byte() % bound
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        let at = usize::try_from(self.below(list.len() as u64)).unwrap();
        list[at]
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn identifiers(&mut self) -> Vec<(u64, u64)> {
        let count = if self.below(16) == 0 { 12 } else { self.below(4) };
        let kinds = [CUSTOMER, 2, EMAIL, EMAIL, 4, DEVICE, CLICK, 7, VISITOR, VISITOR, VISITOR];
        (0..count).map(|_| (self.one_of(&kinds), self.below(3))).collect()
    }
}

/// An engine whose bounds are met soon, and whose answers are checked as it goes.
struct Bench {
    engine: Engine,
    options: Options,
    position: (u64, u64),
    sequence: u64,
    next_event: u64,
}

impl Bench {
    fn new(choices: &mut Choices<'_>) -> Self {
        let few = Limits {
            clicks_live_max: 4,
            clicks_gone_max: 3,
            orders_max: 3,
            recent_events_max: 8,
            producers_max: 2,
            producer_ranges_max: 2,
            brands_max: 2,
            programs_max: 2,
            enrolments_max: 2,
            ..Limits::default()
        };
        let limits = if choices.below(2) == 0 { Limits::default() } else { few };
        let options = Options { limits, panic_on: None };
        Self {
            engine: Engine::new(0, options),
            options,
            position: (T0, 0),
            sequence: 1,
            next_event: 0,
        }
    }

    /// Applies an entry to the engine and to one that was restored from it: they must agree.
    fn apply(&mut self, frame: &[u8], is_restored: bool) {
        self.position.1 += 1;
        let mut twin = is_restored.then(|| {
            let bytes = self.engine.view().to_bytes();
            let twin = Engine::restore(0, &bytes, self.options).expect("its own snapshot");
            assert!(twin.view().to_bytes() == bytes, "a snapshot restores to the same bytes");
            twin
        });
        let before = self.engine.position();
        let mut outcomes = Outcomes::new();
        let applied = self.engine.apply(self.position, frame, &mut outcomes);
        let expected = if applied.is_ok() { self.position } else { before };
        assert_eq!(self.engine.position(), expected, "the position moves to the entry, or not");
        let again = self.engine.apply(expected, frame, &mut Outcomes::new());
        assert!(again.is_err() || before == (0, 0), "a position is never taken twice");
        read(&self.engine.encode_outcomes(&outcomes));
        if let Some(twin) = &mut twin {
            let mut same = Outcomes::new();
            assert_eq!(twin.apply(self.position, frame, &mut same), applied);
            assert!(twin.encode_outcomes(&same) == self.engine.encode_outcomes(&outcomes));
            assert_eq!(twin.chain_digest(), self.engine.chain_digest());
            assert!(twin.view().to_bytes() == self.engine.view().to_bytes());
        }
    }

    fn finish(&self) {
        let bytes = self.engine.view().to_bytes();
        let again = Engine::restore(0, &bytes, self.options).expect("its own snapshot");
        assert!(again.view().to_bytes() == bytes, "a snapshot restores to the same bytes");
        assert_eq!(again.position(), self.engine.position());
    }

    fn wait(&mut self, choices: &mut Choices<'_>) {
        let far = [DAY, DAY, 31 * DAY, 91 * DAY, 401 * DAY];
        let steps = [0, 0, 0, 0, 1, 1, 1000, 1000, 3000, DAY / 24, choices.one_of(&far)];
        let step_ms = choices.one_of(&steps);
        self.position = (self.position.0 + step_ms, self.position.1);
    }

    fn head(&mut self, choices: &mut Choices<'_>) -> Head {
        self.next_event += 1;
        let now = self.position.0;
        let offsets = [2500, 2500, 2500, 0, 1000, 3500, DAY / 2, DAY, 2 * DAY];
        let accept_ms = now + 2500 - choices.one_of(&offsets).min(now);
        let claim = choices.below(12);
        let back_ms = choices.one_of(&[0, 1, DAY, 30 * DAY, 400 * DAY]);
        Head {
            event: if choices.below(8) == 0 { choices.below(8) } else { self.next_event },
            brand: choices.one_of(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3]),
            accept_ms,
            claim_ms: match claim {
                0 => Some(accept_ms - back_ms),
                1 => Some(accept_ms + back_ms),
                _ => None,
            },
            trust: 1 + choices.below(2),
            source: 4,
        }
    }
}

/// Entries of arbitrary bytes, some of them in the place of a frame's records.
pub fn engine_bytes(data: &[u8]) {
    let mut choices = Choices(data);
    let mut bench = Bench::new(&mut choices);
    for _ in 0..FRAMES_MAX {
        if choices.is_over() {
            break;
        }
        let what = choices.byte();
        bench.wait(&mut choices);
        let bytes = choices.take(usize::try_from(choices.0.len() as u64 % 251).unwrap());
        let bytes = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
        let framed = encode_frame(0, what % 3, 1 + what, &[bytes]);
        match framed {
            Ok(frame) if what % 2 == 0 => bench.apply(&frame, what % 16 == 0),
            _ => bench.apply(bytes, what % 16 == 1),
        }
    }
    bench.finish();
}

/// Valid records of every kind in valid frames, now and then a damaged one.
pub fn engine_records(data: &[u8]) {
    let mut choices = Choices(data);
    let mut bench = Bench::new(&mut choices);
    for _ in 0..FRAMES_MAX {
        if choices.is_over() {
            break;
        }
        bench.wait(&mut choices);
        let records: Vec<Vec<u8>> =
            (0..=choices.below(3)).map(|_| record(&mut bench, &mut choices)).collect();
        let producer = choices.below(4);
        let first = if choices.below(8) == 0 { 1 + choices.below(9) } else { bench.sequence };
        bench.sequence += records.len() as u64;
        let mut bytes = frame(producer, first, &records);
        if choices.below(16) == 0 {
            let at = usize::try_from(choices.byte()).unwrap() % bytes.len();
            bytes[at] ^= 1 << choices.below(8);
        }
        let is_restored = choices.below(8) == 0;
        bench.apply(&bytes, is_restored);
    }
    bench.finish();
}

fn record(bench: &mut Bench, choices: &mut Choices<'_>) -> Vec<u8> {
    let at = bench.head(choices);
    let bytes = match choices.below(24) {
        0..=5 => {
            let all = [0, 0, 0, 1, CONSENT_DENIED, 16, 32, 64, 128, 256, 512, 512, 528];
            let flags = choices.one_of(&all);
            let program = choices.one_of(&[1, 1, 1, 1, 2]);
            at.click_in(program, choices.below(4), flags, &choices.identifiers())
        }
        6..=11 => at.identify_with(choices.one_of(&[0, 0, 0, 2]), &choices.identifiers()),
        12 => {
            let list = identifiers(&choices.identifiers());
            let url = choices.one_of(&["https://a.example/", "https://a.example/checkout/x"]);
            at.record(2, array([1.into(), url.into(), 0.into(), list, Value::Nil]))
        }
        13..=18 => at.sale(&report(at.event, choices)),
        19..=20 => control(at, choices),
        21 => {
            let scope = choices.one_of(&["identifier", "person"]);
            let (dry_run, force) = (choices.below(2) == 0, choices.below(2) == 0);
            let list = identifiers(&choices.identifiers());
            at.record(7, array([scope.into(), dry_run.into(), force.into(), list]))
        }
        22 => at.record(6, array(["approve".into(), bin(id(5)), Value::Map(vec![])])),
        _ => at.tick(),
    };
    let bytes = with_client(&bytes, at.accept_ms, choices);
    Record::decode(&bytes).expect("a valid record");
    bytes
}

/// The record with a client of its own, and of a conversion when the checkout began.
fn with_client(bytes: &[u8], accept_ms: u64, choices: &mut Choices<'_>) -> Vec<u8> {
    let Value::Array(mut record) = rmpv::decode::read_value(&mut &*bytes).unwrap() else {
        unreachable!("every record is an array");
    };
    let kind = record[0].as_u64().unwrap();
    let place = match kind {
        1 => 6,
        2 => 4,
        3 => 3,
        4 => 13,
        _ => return bytes.to_vec(),
    };
    let Value::Array(body) = &mut record[7] else { unreachable!("every body is an array") };
    body[place] = client(choices);
    if kind == 4 {
        body.truncate(15);
        let back_ms = choices.one_of(&[0, 1, 1999, 60_000, DAY]);
        let started_ms = accept_ms.saturating_sub(back_ms);
        body.push(optional((choices.below(3) == 0).then_some(started_ms)));
    }
    pack(&Value::Array(record))
}

fn client(choices: &mut Choices<'_>) -> Value {
    let prefixes = [None, Some("203.0.113.0/24"), Some("198.51.100.0/24"), Some("2001:db8::/48")];
    let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/141.0.0.0 Safari/537.36";
    let crawler = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let agents =
        [Some(chrome), Some(chrome), None, Some(""), Some("bot"), Some("curl/8"), Some(crawler)];
    let referrers = [None, Some("https://blog.example/x"), Some("//"), Some("\u{202e}\u{fffd}")];
    array([
        optional(choices.one_of(&prefixes)),
        optional(choices.one_of(&agents)),
        optional(choices.one_of(&referrers)),
        if choices.below(4) == 0 { Value::Nil } else { network(choices) },
        if choices.below(4) == 0 { Value::Nil } else { request(choices) },
    ])
}

/// Few addresses, so that records share them; the digest of a day is the next one's former.
fn network(choices: &mut Choices<'_>) -> Value {
    let digest = |choices: &mut Choices<'_>| match choices.below(4) {
        0 => Value::Nil,
        number => Value::Binary(number.to_be_bytes().to_vec()),
    };
    array([
        digest(choices),
        digest(choices),
        choices.one_of(&[0_u64, 0x3f00, 0x3f01, 0x3f02, 0x3f04, 0x3f10, 0x3f20, 0xffff]).into(),
        optional(choices.one_of(&[None, Some("DE"), Some("FR"), Some(""), Some("germany")])),
        optional(choices.one_of(&[None, Some("a1b2c3d4e5f6"), Some("f6e5d4c3b2a1")])),
    ])
}

fn request(choices: &mut Choices<'_>) -> Value {
    let brands = "\"Chromium\";v=\"141\", \"Not?A_Brand\";v=\"8\"";
    let texts: [&[Option<&str>]; 10] = [
        &[None, Some("document"), Some("image"), Some("iframe"), Some("empty")],
        &[None, Some("navigate"), Some("no-cors"), Some("cors")],
        &[None, Some("cross-site"), Some("none")],
        &[None, Some("?1")],
        &[None, None, None, Some("prefetch"), Some("prefetch;prerender")],
        &[None, Some("text/html"), Some("image/avif")],
        &[None, Some("de-DE"), Some("*"), Some("")],
        &[None, Some(brands), Some("\"Chromium\";v=\"9\""), Some("\"\";v=")],
        &[None, Some("?0"), Some("?1")],
        &[None, Some("\"Windows\""), Some("\"Android\"")],
    ];
    let mut fields = vec![
        Value::from(choices.one_of(&[11_u64, 11, 0, 10, 20, 99])),
        Value::from(choices.below(2) == 0),
    ];
    fields.extend(texts.iter().map(|list| optional(choices.one_of(list))));
    Value::Array(fields)
}

fn report(event: u64, choices: &mut Choices<'_>) -> Sale {
    let recent = event.saturating_sub(choices.below(16));
    Sale {
        flags: choices.one_of(&[0, 0, 0, 0, 0, 0, 1, CONSENT_DENIED, 2048, 3072]),
        click: choices.one_of(&[None, None, None, Some(recent)]),
        list: choices.identifiers(),
        amount: choices.one_of(&[1000, 1000, 1000, 0, -1]),
        promo: choices.one_of(&[None, None, Some("TEN"), Some("ten"), Some("")]),
        item: choices.one_of(&[None, Some("shoe")]),
        refused: choices.one_of(&[None, None, None, None, None, None, Some("amount_invalid")]),
        ..sale(if choices.below(4) == 0 { choices.below(4) } else { event })
    }
}

fn control(at: Head, choices: &mut Choices<'_>) -> Vec<u8> {
    let (number, revision) = (choices.below(4), choices.below(8));
    let milliseconds = |choices: &mut Choices<'_>| {
        Value::from(choices.one_of(&[0, 1, DAY, 30 * DAY, 400 * DAY, u64::MAX]))
    };
    match choices.below(4) {
        0 => {
            let partner = choices.below(4);
            let status = choices.one_of(&["active", "paused", ""]);
            at.enrolment(partner, status, revision)
        }
        1 => at.control("event_type", 2, revision, &[("window_ms", milliseconds(choices))]),
        2 => {
            let code = choices.one_of(&["TEN", " ten ", ""]);
            let value = [
                ("program", Value::from(choices.below(3))),
                ("partner", Value::from(choices.below(4))),
                ("code", code.into()),
                ("status", choices.one_of(&["active", "paused"]).into()),
            ];
            at.control("promo_code", number, revision, &value)
        }
        _ => at.control("program", number, revision, &program(choices)),
    }
}

/// Terms of a program, right and wrong ones.
fn program(choices: &mut Choices<'_>) -> Vec<(&'static str, Value)> {
    let models = ["last_click", "first_click", "linear", "position", "time_decay", "none"];
    let classes = ["exclusive_coupon", "click", "soft_click", "impression", "click"];
    let order = (0..choices.below(6)).map(|_| choices.one_of(&classes).into()).collect();
    let ppm = [0_u64, 200_000, 400_000, 1_000_000, u64::MAX];
    let position = (0..3).map(|_| choices.one_of(&ppm).into()).collect();
    let milliseconds = [0_u64, 1, DAY, 30 * DAY, 400 * DAY, u64::MAX];
    let bounds = [0_u64, 1, 2, 48, 49, 256, 257, u64::MAX];
    let all = [
        ("window_ms", Value::from(choices.one_of(&milliseconds))),
        ("model", choices.one_of(&models).into()),
        ("position_ppm", Value::Array(position)),
        ("half_life_ms", choices.one_of(&milliseconds).into()),
        ("class_order", Value::Array(order)),
        ("soft_click_window_ms", choices.one_of(&milliseconds).into()),
        ("impression_window_ms", choices.one_of(&milliseconds).into()),
        ("explicit_click", choices.one_of(&["wins", "candidate", ""]).into()),
        ("on_conflict", choices.one_of(&["last_auth", "isolate", ""]).into()),
        ("per_partner_latest", choices.one_of(&[true, false]).into()),
        ("members_max", choices.one_of(&bounds).into()),
        ("hops_max", choices.one_of(&bounds).into()),
        ("neighbours_max", choices.one_of(&bounds).into()),
    ];
    let taken = choices.byte() | choices.byte() << 8;
    let is_taken = |at: &(usize, (&str, Value))| taken >> at.0 & 1 == 1;
    all.into_iter().enumerate().filter(is_taken).map(|(_, member)| member).collect()
}

/// Arbitrary bytes as a snapshot, as they are and with the checksum they ought to have.
pub fn snapshot_bytes(data: &[u8]) {
    restore(data);
    restore(&with_checksum(data));
}

/// The content of a snapshot with something in every part of the state.
fn snapshot() -> &'static [u8] {
    static SNAPSHOT: OnceLock<Vec<u8>> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        let story: Vec<u8> =
            (0..12_000_u64).map(|n| ((n * n * 7919) >> 5).to_le_bytes()[0]).collect();
        let (mut choices, mut bench) = (Choices(&story), Bench::new(&mut Choices(&[])));
        for _ in 0..60 {
            let records: Vec<Vec<u8>> = (0..4).map(|_| record(&mut bench, &mut choices)).collect();
            let bytes = frame(1, bench.sequence, &records);
            bench.sequence += 4;
            bench.apply(&bytes, false);
        }
        let mut bytes = bench.engine.view().to_bytes();
        let whole = bytes.clone();
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        assert!(with_checksum(&bytes) == whole, "the checksum is the format's");
        bytes
    })
}

/// A real snapshot, changed and given the checksum it ought to have.
pub fn snapshot_changed(data: &[u8]) {
    let mut content = snapshot().to_vec();
    let mut choices = Choices(data);
    for _ in 0..16 {
        if choices.is_over() || content.is_empty() {
            break;
        }
        let place = choices.byte() << 16 | choices.byte() << 8 | choices.byte();
        let place = usize::try_from(place).unwrap() % content.len();
        match choices.below(8) {
            0 => content.truncate(place),
            1 => content.insert(place, 0),
            2 => drop(content.remove(place)),
            3 => content[place] = content[place].wrapping_add(1),
            _ => content[place] = choices.byte().to_le_bytes()[0],
        }
    }
    restore(&with_checksum(&content));
}

/// A real snapshot with every `stride`th byte changed, one at a time.
#[cfg(test)]
pub fn snapshot_changed_once(start: usize, stride: usize) {
    for place in (start..snapshot().len()).step_by(stride) {
        let mut content = snapshot().to_vec();
        content[place] = content[place].wrapping_add(1);
        restore(&with_checksum(&content));
    }
}

fn with_checksum(content: &[u8]) -> Vec<u8> {
    [content, &crc32c::crc32c(content).to_le_bytes()].concat()
}

/// Whatever can be restored is what was restored, and can be worked with.
fn restore(bytes: &[u8]) {
    let Ok(mut engine) = Engine::restore(0, bytes, Options::default()) else { return };
    let again = engine.view().to_bytes();
    let differs_at = again.iter().zip(bytes).position(|(left, right)| left != right);
    assert!(again == bytes, "restored to other bytes, first at {differs_at:?}");
    let (ms, sequence) = engine.position();
    let Some(ms) = ms.checked_add(1) else { return };
    let at = Head { event: 9_999, ..head(9_999, ms.min(T0 + 1000 * DAY)) };
    let list = [(CUSTOMER, 1), (EMAIL, 2), (VISITOR, 3)];
    let records = [
        at.click(3, &list),
        Head { event: 9_998, ..at }.identify(&list),
        Head { event: 9_997, ..at }.sale(&Sale { list: list.to_vec(), ..sale(9) }),
    ];
    let mut outcomes = Outcomes::new();
    engine.apply((ms, sequence), &frame(77, 1, &records), &mut outcomes).unwrap();
    engine.view().to_bytes();
}
