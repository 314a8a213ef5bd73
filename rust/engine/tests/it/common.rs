//! Records, frames and outcomes for tests, built and read by an independent MessagePack
//! implementation.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use std::collections::BTreeMap;

use headwater_engine::limits::Limits;
use headwater_engine::record::encode_frame;
use headwater_engine::{Engine, Id, Options, Outcomes};
pub use rmpv::Value;

pub const T0: u64 = 1_750_000_000_000;
pub const DAY: u64 = 86_400_000;
pub const SERVER: u64 = 1;
pub const BROWSER: u64 = 2;
pub const CUSTOMER: u64 = 1;
pub const EMAIL: u64 = 3;
pub const DEVICE: u64 = 5;
pub const CLICK: u64 = 6;
pub const VISITOR: u64 = 8;
pub const CONSENT_DENIED: u64 = 2;

/// An id or digest made of a number.
pub fn id(number: u64) -> Id {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

pub fn bin(id: Id) -> Value {
    Value::Binary(id.to_vec())
}

pub fn pack(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

pub fn array(values: impl Into<Vec<Value>>) -> Value {
    Value::Array(values.into())
}

pub fn optional(value: Option<impl Into<Value>>) -> Value {
    value.map_or(Value::Nil, Into::into)
}

pub fn identifiers(list: &[(u64, u64)]) -> Value {
    let one = |(kind, number): &(u64, u64)| array([Value::from(*kind), bin(id(*number))]);
    Value::Array(list.iter().map(one).collect())
}

/// The user agent of an ordinary browser.
pub const BROWSER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
    (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";

fn client() -> Value {
    Client::default().value()
}

/// What is kept of a caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// Digest of the address.
    pub address: Option<u64>,
    /// The truncated address.
    pub prefix: Option<&'static str>,
    pub country: Option<&'static str>,
    /// `Sec-Fetch-Dest` of a request; without it no request is kept.
    pub fetch_dest: Option<&'static str>,
    pub agent: Option<&'static str>,
    /// The version of the address lists.
    pub lists: Option<&'static str>,
}

impl Client {
    fn value(self) -> Value {
        let address = self.address.map(|address| Value::Binary(address.to_le_bytes().to_vec()));
        let is_known = self.address.is_some() || self.country.is_some() || self.lists.is_some();
        let (address, country) = (optional(address), optional(self.country));
        let lists = optional(self.lists);
        let network = array([address, Value::Nil, 0.into(), country, lists]);
        let request = |dest: &str| {
            let mut fields = vec![Value::from(20), true.into(), dest.into()];
            fields.resize(12, Value::Nil);
            Value::Array(fields)
        };
        array([
            optional(self.prefix),
            self.agent.unwrap_or(BROWSER_AGENT).into(),
            Value::Nil,
            optional(is_known.then_some(network)),
            optional(self.fetch_dest.map(request)),
        ])
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub event: u64,
    pub brand: u64,
    pub accept_ms: u64,
    pub claim_ms: Option<u64>,
    pub trust: u64,
    pub source: u64,
}

pub fn head(event: u64, accept_ms: u64) -> Head {
    Head { event, brand: 1, accept_ms, claim_ms: None, trust: SERVER, source: 4 }
}

impl Head {
    pub fn browser(self) -> Self {
        Self { trust: BROWSER, ..self }
    }

    pub fn claim(self, claim_ms: u64) -> Self {
        Self { claim_ms: Some(claim_ms), ..self }
    }

    pub fn brand(self, brand: u64) -> Self {
        Self { brand, ..self }
    }

    pub fn record(self, kind: u64, body: Value) -> Vec<u8> {
        pack(&array([
            Value::from(kind),
            bin(id(self.event)),
            Value::from(self.brand),
            Value::from(self.accept_ms),
            optional(self.claim_ms),
            Value::from(self.trust),
            Value::from(self.source),
            body,
        ]))
    }

    /// A click of program 1.
    pub fn click(self, partner: u64, list: &[(u64, u64)]) -> Vec<u8> {
        self.click_in(1, partner, 0, list)
    }

    pub fn click_in(self, program: u64, partner: u64, flags: u64, list: &[(u64, u64)]) -> Vec<u8> {
        self.visit(&Visit { program, partner, flags, list: list.to_vec(), ..Visit::default() })
    }

    pub fn visit(self, visit: &Visit) -> Vec<u8> {
        let body = [
            Value::from(visit.program),
            Value::from(visit.partner),
            Value::from(9),
            Value::from(visit.flags),
            identifiers(&visit.list),
            Value::Map(vec![(Value::from("sub1"), Value::from(visit.sub))]),
            visit.client.value(),
        ];
        self.record(1, array(body))
    }

    pub fn identify(self, list: &[(u64, u64)]) -> Vec<u8> {
        self.identify_with(0, list)
    }

    pub fn identify_with(self, flags: u64, list: &[(u64, u64)]) -> Vec<u8> {
        self.record(3, array([Value::from(1), Value::from(flags), identifiers(list), client()]))
    }

    pub fn sale(self, sale: &Sale) -> Vec<u8> {
        self.record(4, sale.body())
    }

    pub fn control(
        self,
        object: &str,
        number: u64,
        revision: u64,
        value: &[(&str, Value)],
    ) -> Vec<u8> {
        let value = value.iter().map(|(k, v)| (Value::from(*k), v.clone())).collect();
        let body = [object.into(), number.into(), revision.into(), Value::Map(value)];
        self.record(5, array(body))
    }

    pub fn program(self, window_ms: u64, revision: u64) -> Vec<u8> {
        self.control("program", 1, revision, &[("window_ms", window_ms.into())])
    }

    pub fn enrolment(self, partner: u64, status: &str, revision: u64) -> Vec<u8> {
        let value = [("program", 1.into()), ("partner", partner.into()), ("status", status.into())];
        self.control("enrolment", 100 + partner, revision, &value)
    }

    pub fn tick(self) -> Vec<u8> {
        self.record(8, array([]))
    }
}

/// A click.
#[derive(Clone, Debug)]
pub struct Visit {
    pub program: u64,
    pub partner: u64,
    pub flags: u64,
    pub list: Vec<(u64, u64)>,
    pub sub: &'static str,
    pub client: Client,
}

impl Default for Visit {
    fn default() -> Self {
        let (list, client) = (Vec::new(), Client::default());
        Self { program: 1, partner: 3, flags: 0, list, sub: "x", client }
    }
}

/// A report of a conversion.
#[derive(Clone, Debug, Default)]
pub struct Sale {
    pub order: u64,
    pub flags: u64,
    pub click: Option<u64>,
    pub list: Vec<(u64, u64)>,
    pub amount: i64,
    pub promo: Option<&'static str>,
    pub item: Option<&'static str>,
    pub refused: Option<&'static str>,
    pub client: Client,
    pub started_ms: Option<u64>,
    /// The program and the event type, unless they are 1 and 2.
    pub kind: Option<(u64, u64)>,
}

pub fn sale(order: u64) -> Sale {
    Sale { order, amount: 1000, ..Sale::default() }
}

impl Sale {
    pub fn by(mut self, kind: u64, number: u64) -> Self {
        self.list.push((kind, number));
        self
    }

    pub fn click(self, click: u64) -> Self {
        Self { click: Some(click), ..self }
    }

    pub fn amount(self, amount: i64) -> Self {
        Self { amount, ..self }
    }

    fn body(&self) -> Value {
        let item = |sku: &str| {
            array([sku.into(), Value::Nil, Value::Nil, Value::from(1), Value::from(500)])
        };
        let money =
            [Value::from(self.amount), "EUR".into(), Value::Nil, Value::from(19), Value::Nil];
        let (program, event_type) = self.kind.unwrap_or((1, 2));
        array([
            bin(id(50_000 + self.order)),
            Value::from(program),
            Value::from(event_type),
            Value::from(format!("A-{}", self.order)),
            Value::from("main"),
            Value::from(self.flags),
            self.click.map_or(Value::Nil, |click| bin(id(click))),
            identifiers(&self.list),
            array(money),
            optional(self.promo),
            Value::Nil,
            Value::Array(self.item.into_iter().map(item).collect()),
            Value::Map(vec![]),
            self.client.value(),
            optional(self.refused),
            optional(self.started_ms),
        ])
    }
}

/// The outcomes of a call, by table.
#[derive(Clone, Debug, PartialEq)]
pub struct Result {
    pub tables: BTreeMap<String, Value>,
}

pub fn read(bytes: &[u8]) -> Result {
    let mut rest = bytes;
    let value = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    let entries = value.as_map().unwrap().iter();
    let tables = entries.map(|(k, v)| (k.as_str().unwrap().to_owned(), v.clone())).collect();
    Result { tables }
}

impl Result {
    pub fn rows(&self, table: &str) -> Vec<Vec<Value>> {
        let rows = self.tables[table].as_array().unwrap();
        rows.iter().map(|row| row.as_array().unwrap().clone()).collect()
    }

    pub fn number(&self, name: &str) -> u64 {
        self.tables[name].as_u64().unwrap()
    }

    /// Status, reason, credited partner and revision of the last conversions row.
    pub fn decision(&self) -> (String, Option<String>, Option<u64>, u64) {
        decision_of(self.rows("conversions").last().expect("a conversions row"))
    }

    /// The outcome of the last report.
    pub fn effect(&self) -> String {
        self.rows("reports").last().unwrap()[6].as_str().unwrap().to_owned()
    }

    /// The explanation of the last conversions row.
    pub fn explain(&self) -> BTreeMap<String, Value> {
        let rows = self.rows("conversions");
        read(rows.last().unwrap()[15].as_slice().unwrap()).tables
    }
}

pub fn decision_of(row: &[Value]) -> (String, Option<String>, Option<u64>, u64) {
    let credit = row[14].as_array().unwrap().first();
    (
        row[8].as_str().unwrap().to_owned(),
        row[9].as_str().map(str::to_owned),
        credit.map(|credit| credit[0].as_u64().unwrap()),
        row[13].as_u64().unwrap(),
    )
}

/// An engine fed record by record, each in a frame of its own.
pub struct World {
    pub engine: Engine,
    pub ms: u64,
    pub stream_seq: u64,
    pub sequence: u64,
}

impl Default for World {
    fn default() -> Self {
        Self::with(Limits::default())
    }
}

impl World {
    pub fn with(limits: Limits) -> Self {
        let options = Options { limits, panic_on: None };
        Self { engine: Engine::new(0, options), ms: T0, stream_seq: 0, sequence: 1 }
    }

    /// Moves the log's time; later records are accepted at it.
    pub fn at(&mut self, ms: u64) -> &mut Self {
        self.ms = ms;
        self
    }

    pub fn push(&mut self, record: Vec<u8>) -> Result {
        self.push_all(&[record])
    }

    pub fn push_all(&mut self, records: &[Vec<u8>]) -> Result {
        let bytes = frame(11, self.sequence, records);
        self.sequence += records.len() as u64;
        self.push_frame(&bytes)
    }

    pub fn push_frame(&mut self, frame: &[u8]) -> Result {
        self.stream_seq += 1;
        let mut outcomes = Outcomes::new();
        self.engine.apply((self.ms, self.stream_seq), frame, &mut outcomes).unwrap();
        read(&self.engine.encode_outcomes(&outcomes))
    }
}

pub fn frame(producer: u64, first_sequence: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    encode_frame(0, producer, first_sequence, &records).unwrap()
}
