//! A world of clicks with whole clients, and what became of each click in the end.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use std::collections::BTreeMap;

use headwater_engine::identity::{Identifier, IdentifierType};
use headwater_engine::limits::Limits;
use headwater_engine::record::{
    encode_frame, Body, Click, Client, Identifiers, Network, PageView, Params, Record, Request,
    Trust,
};
use headwater_engine::{Engine, Id, Options, Outcomes};

use crate::common::{id, read, Result as Outcome, Value, DAY, T0};

pub const HOUR: u64 = 3_600_000;
pub const MINUTE: u64 = 60_000;
pub const TEST: u64 = 1;
pub const PREFETCH: u64 = 16;
pub const SOFT: u64 = 32;
pub const HONEYPOT: u64 = 256;
pub const NEW: u64 = 512;

/// A click in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub event: u64,
    pub brand: u64,
    pub at_ms: u64,
    pub program: u64,
    pub partner: u64,
    pub link: u64,
    pub flags: u64,
    pub visitor: Option<u64>,
    pub device: Option<u64>,
    pub address: Option<u64>,
    /// The network of the address.
    pub net: u64,
    /// The version of the browser.
    pub agent: u64,
    pub is_activated: bool,
}

impl Default for Touch {
    fn default() -> Self {
        Self {
            event: 0,
            brand: 1,
            at_ms: T0,
            program: 1,
            partner: 1,
            link: 1,
            flags: 0,
            visitor: None,
            device: None,
            address: None,
            net: 1,
            agent: 1,
            is_activated: false,
        }
    }
}

/// The digest of an address under the key of a day.
fn digest(address: u64, day: u64) -> u64 {
    ((address << 20) | (day % (1 << 20))).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

pub fn agent(version: u64) -> String {
    let chromium = 100 + version % 40;
    let build = version / 40;
    format!(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/{chromium}.0.{build}.0 Safari/537.36"
    )
}

impl Touch {
    pub fn record(&self) -> Vec<u8> {
        let day = self.at_ms / DAY;
        let visitor = self.visitor.map(|number| identifier(IdentifierType::Visitor, number));
        let device = self.device.map(|number| identifier(IdentifierType::Device, number));
        let ids: Vec<Identifier> = visitor.into_iter().chain(device).collect();
        let mut buffer = Vec::new();
        let network = Network {
            address: self.address.map(|address| digest(address, day)),
            address_before: self.address.map(|address| digest(address, day - 1)),
            ..Network::default()
        };
        let request = Request {
            http_version: 20,
            is_secure: true,
            fetch_dest: Some("document"),
            fetch_mode: Some("navigate"),
            fetch_site: Some("cross-site"),
            fetch_user: self.is_activated.then_some("?1"),
            accept_language: Some("de"),
            ..Request::default()
        };
        let prefix = format!("10.{}.{}.0/24", self.net / 256, self.net % 256);
        let agent = agent(self.agent);
        let body = Click {
            program: self.program,
            partner: self.partner,
            link: self.link,
            flags: self.flags,
            identifiers: Identifiers::encode(&ids, &mut buffer),
            params: Params::NONE,
            client: Client {
                address_prefix: self.address.map(|_| prefix.as_str()),
                user_agent: Some(&agent),
                referrer: Some("https://blog.example/"),
                network: Some(network),
                request: self.is_activated.then_some(request),
            },
        };
        self.head(Body::Click(body))
    }

    fn head(&self, body: Body<'_>) -> Vec<u8> {
        let (event_id, brand, accept_ms) = (id(self.event), self.brand, self.at_ms);
        let trust = Trust::Browser;
        Record { event_id, brand, accept_ms, claim_ms: None, trust, source: 1, body }.encode()
    }

    /// The same visitor sees a page.
    pub fn page(&self, url: &str, click: Option<u64>) -> Vec<u8> {
        let named = click.map(|click| identifier(IdentifierType::Click, click));
        let visitor = self.visitor.map(|visitor| identifier(IdentifierType::Visitor, visitor));
        let ids: Vec<_> = visitor.into_iter().chain(named).collect();
        let mut buffer = Vec::new();
        self.head(Body::PageView(PageView {
            program: self.program,
            url: Some(url),
            flags: 0,
            identifiers: Identifiers::encode(&ids, &mut buffer),
            client: Client::NONE,
        }))
    }
}

fn identifier(kind: IdentifierType, number: u64) -> Identifier {
    Identifier { kind, digest: id(number) }
}

/// What became of a click.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    pub verdict: String,
    pub counted: String,
    pub is_unique: bool,
    pub score: u64,
    pub codes: Vec<u64>,
}

impl End {
    /// Of verdict, counted, unique, score, raw score and findings.
    fn of(row: &[Value]) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let fraud = read_array(row[5].as_slice().unwrap());
        let codes = fraud[4].as_array().unwrap().iter();
        Self {
            verdict: text(&row[0]),
            counted: text(&row[1]),
            is_unique: row[2].as_u64().unwrap() == 1,
            score: row[3].as_u64().unwrap(),
            codes: codes.map(|code| code[0].as_u64().unwrap()).collect(),
        }
    }

    /// What must not depend on the order in which clicks came.
    pub fn decision(&self) -> (String, String, bool, u64) {
        (self.verdict.clone(), self.counted.clone(), self.is_unique, self.score)
    }
}

fn read_array(mut bytes: &[u8]) -> Vec<Value> {
    rmpv::decode::read_value(&mut bytes).unwrap().as_array().unwrap().clone()
}

/// An engine, and what became of each click.
pub struct Clicks {
    pub engine: Engine,
    pub ends: BTreeMap<Id, End>,
    pub first: BTreeMap<Id, End>,
    pub revisions: BTreeMap<Id, u64>,
    pub causes: Vec<String>,
    pub ms: u64,
    pub stream: u64,
    pub sequence: u64,
}

impl Default for Clicks {
    fn default() -> Self {
        Self::with(Limits::default())
    }
}

impl Clicks {
    pub fn with(limits: Limits) -> Self {
        Self {
            engine: Engine::new(0, Options { limits, panic_on: None }),
            ends: BTreeMap::new(),
            first: BTreeMap::new(),
            revisions: BTreeMap::new(),
            causes: Vec::new(),
            ms: T0,
            stream: 0,
            sequence: 1,
        }
    }

    /// Applies records in a frame, now.
    pub fn push(&mut self, records: &[Vec<u8>]) -> &mut Self {
        for records in records.chunks(500) {
            self.push_read(records);
        }
        self
    }

    /// The same of a few; the outcomes.
    pub fn push_read(&mut self, records: &[Vec<u8>]) -> Outcome {
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let frame = encode_frame(0, 7, self.sequence, &records).unwrap();
        self.sequence += records.len() as u64;
        self.stream += 1;
        let mut outcomes = Outcomes::new();
        self.engine.apply((self.ms, self.stream), &frame, &mut outcomes).unwrap();
        let outcomes = read(&self.engine.encode_outcomes(&outcomes));
        self.take(&outcomes);
        outcomes
    }

    fn take(&mut self, outcomes: &Outcome) {
        for row in outcomes.rows("clicks") {
            let end = End::of(&row[10..16]);
            self.first.insert(id_of(&row[0]), end.clone());
            self.ends.insert(id_of(&row[0]), end);
        }
        for row in outcomes.rows("decision_revised") {
            let click = id_of(&row[0]);
            let revision = self.revisions.entry(click).or_default();
            *revision += 1;
            assert_eq!(row[3].as_u64(), Some(*revision), "revisions count up by one");
            let end = End::of(&row[4..10]);
            let before = self.ends.insert(click, end.clone()).expect("a click before its revision");
            assert_ne!(before.decision(), end.decision(), "a revision that changes nothing");
            self.causes.push(row[10].as_str().unwrap().to_owned());
        }
    }

    /// Each click at its own time.
    pub fn run(&mut self, visits: &[Touch]) -> &mut Self {
        for visit in visits {
            self.ms = self.ms.max(visit.at_ms);
            self.push(&[visit.record()]);
        }
        self
    }

    /// Time passes until everything is settled.
    pub fn settle(&mut self) -> &mut Self {
        for _ in 0..80 {
            self.ms += HOUR;
            let tick = Touch { at_ms: self.ms, event: 1 << 40, ..Touch::default() };
            let tick = tick.head(Body::Tick);
            self.push(&[tick]);
        }
        self
    }

    pub fn end(&self, event: u64) -> &End {
        &self.ends[&id(event)]
    }

    /// How many of some clicks ended so.
    #[allow(clippy::float_arithmetic, reason = "a share to compare in a test")]
    pub fn share(&self, visits: &[Touch], is_so: impl Fn(&End) -> bool) -> f64 {
        let so = visits.iter().filter(|visit| is_so(self.end(visit.event))).count();
        so as f64 / visits.len() as f64
    }
}

fn id_of(value: &Value) -> Id {
    value.as_slice().unwrap().try_into().unwrap()
}
