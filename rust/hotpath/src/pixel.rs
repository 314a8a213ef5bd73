//! A report by the pixel: its record, and the image.

use std::borrow::Cow;
use std::sync::Arc;

use headwater_engine::identity::digest::conversion_digest;
use headwater_engine::identity::{Identifier, IdentifierType};
use headwater_engine::record::{
    flags, Body, Conversion, Identifiers, Items, Money, Params, Record, Trust, SOURCE_PIXEL,
};
use headwater_engine::Id;

use crate::brands::Brand;
use crate::caller::Caller;
use crate::cookie;
use crate::event::Event;
use crate::id;
use crate::lane::{HotLane, Kind, Made, Source};
use crate::money::minor_units;
use crate::query::{decode, may_be_card, Query};

const MAIN_LINE: &str = "main";
const CLICK_PREFIX: &str = "clk_";
const COOKIE_ORIGIN: &str = "cookie_origin";

/// What a report says, each value plain; a value that is empty counts as absent.
#[derive(Debug, Default)]
struct Fields<'a> {
    program: Text<'a>,
    event: Text<'a>,
    order_id: Text<'a>,
    line: Text<'a>,
    product_id: Text<'a>,
    promo_code: Text<'a>,
    currency: Text<'a>,
    amount: Text<'a>,
    discount: Text<'a>,
    tax: Text<'a>,
    shipping: Text<'a>,
    click_id: Text<'a>,
    event_id: Text<'a>,
    customer_status: Option<&'static str>,
    identifiers: Vec<(&'static str, IdentifierType, Cow<'a, str>)>,
    is_test: bool,
    is_granted: bool,
}

#[derive(Debug, Default)]
struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    fn given(&self) -> Option<&str> {
        Some(&*self.0).filter(|text| !text.is_empty())
    }
}

impl<'a> Fields<'a> {
    /// `None` for whatever would have to be judged: a parameter that is not one of these, a value
    /// beyond printable ASCII, too long, or such as a card number or an address may be.
    fn read(query: &Query<'a>, value_bytes_max: usize) -> Option<Self> {
        let mut found = Self::default();
        let mut is_test_named = false;
        for (name, raw) in query.pairs() {
            if matches!(name, "cb" | "_") {
                // There to defeat caches.
                continue;
            }
            let value = plain(raw, value_bytes_max)?;
            match name {
                "program" => found.program = Text(value),
                "event" => found.event = Text(value),
                "order_id" => found.order_id = Text(value),
                "line" => found.line = Text(value),
                "product_id" => found.product_id = Text(value),
                "promo_code" => found.promo_code = Text(value),
                "currency" => found.currency = Text(value),
                "amount" => found.amount = Text(value),
                "discount" => found.discount = Text(value),
                "tax" => found.tax = Text(value),
                "shipping" => found.shipping = Text(value),
                "click_id" => found.click_id = Text(value),
                "event_id" => found.event_id = Text(value),
                "test" | "hw_test" if !is_test_named => {
                    is_test_named = true;
                    let is_true = |word: &&str| value.eq_ignore_ascii_case(word);
                    found.is_test = ["1", "true", "yes"].iter().any(is_true);
                }
                "consent" if value == "granted" => found.is_granted = true,
                "customer_status" if !value.is_empty() => {
                    let of = |word: &&&str| value.eq_ignore_ascii_case(word);
                    found.customer_status = Some(["new", "existing"].iter().find(of)?);
                }
                "consent" | "customer_status" if value.is_empty() => {}
                _ => {
                    let (name, kind) = identifier(name)?;
                    if !value.is_empty() {
                        found.identifiers.push((name, kind, value));
                    }
                }
            }
        }
        Some(found)
    }

    /// The key under which repeats of this report meet; the outer `None` for one that is refused.
    fn idempotency_key(&self) -> Option<Option<String>> {
        let Some(event_id) = self.event_id.given() else { return Some(None) };
        let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !(16..=64).contains(&event_id.len()) || !event_id.bytes().all(is_of_key) {
            return None;
        }
        Some(Some(format!("tag\n{}\n{}\n{event_id}", self.program.0, self.event.0)))
    }
}

fn plain(raw: &str, bytes_max: usize) -> Option<Cow<'_, str>> {
    let value = decode(raw)?;
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'@' && byte != b'%';
    let is_taken = value.len() <= bytes_max && value.bytes().all(is_plain) && !may_be_card(&value);
    is_taken.then_some(value)
}

/// An identifier's name and type, of those that are digested as they came or checked by the digest.
fn identifier(name: &str) -> Option<(&'static str, IdentifierType)> {
    const KNOWN: [(&str, IdentifierType); 8] = [
        ("customer_id", IdentifierType::Customer),
        ("profile_id", IdentifierType::Profile),
        ("email_sha256", IdentifierType::Email),
        ("email_sha1", IdentifierType::Email),
        ("phone_sha256", IdentifierType::Phone),
        ("device_id", IdentifierType::Device),
        ("external_click_id", IdentifierType::ExternalClick),
        ("visitor_id", IdentifierType::Visitor),
    ];
    KNOWN.into_iter().find(|(known, _)| *known == name)
}

/// A report of an event type that is held.
#[derive(Debug)]
struct Report<'a> {
    caller: &'a Caller<'a>,
    fields: Fields<'a>,
    event: Arc<Event>,
    /// Of the visitor's cookie.
    visitor: Option<&'a str>,
}

/// What of a report may be refused.
struct Judged<'a> {
    click_id: Option<Id>,
    money: Money<'a>,
}

/// Appends the image, and gives the record of the report; `None`, and nothing appended, when the
/// report is the ordinary lane's.
pub(crate) fn finish(
    lane: &mut HotLane,
    caller: &Caller<'_>,
    date: &str,
    answer: &mut Vec<u8>,
    source: &mut impl Source,
) -> Option<Made> {
    if !caller.is_plain() {
        return None;
    }
    let query = Query::read(caller.head.query, lane.rules.query_parameters_max)?;
    let fields = Fields::read(&query, lane.rules.pixel_value_bytes_max)?;
    let event = lane.event(fields.program.given()?, fields.event.given()?, source)?;
    if event.is_denied && !fields.is_granted {
        return None;
    }
    let visitor = caller.head.cookie.and_then(cookie::read).map(|known| known.visitor);
    let report = Report { caller, fields, event, visitor };
    let made = report.made(lane, source)?;
    let close = if caller.head.is_last { "Connection: close\r\n" } else { "" };
    for part in ["HTTP/1.1 ", &lane.rules.pixel_head, "Date: ", date, "\r\n", close, "\r\n"] {
        answer.extend_from_slice(part.as_bytes());
    }
    answer.extend_from_slice(&lane.rules.pixel_image);
    Some(made)
}

impl Report<'_> {
    fn made(&self, lane: &mut HotLane, source: &mut impl Source) -> Option<Made> {
        let key = self.fields.idempotency_key()?;
        let fresh = lane.pool.event_id(self.caller.now_ms)?;
        let other = lane.pool.event_id(self.caller.now_ms)?;
        let currency = self.fields.currency.given().unwrap_or(&self.event.currency);
        let currency = currency.to_ascii_uppercase();
        let (kind, record) = match self.judged(lane, &currency) {
            Ok(judged) => {
                let ids = self.ids(lane, key.as_deref(), fresh, other)?;
                (Kind::Conversion, self.conversion(lane, ids, &judged, source)?)
            }
            Err(reason) => (Kind::Rejection(reason), self.rejection(lane, fresh, reason, source)?),
        };
        // One record that the log does not take would take its whole frame down with it.
        Record::decode(&record).is_ok().then_some(Made {
            kind,
            partition: self.event.partition,
            record,
        })
    }

    /// The first of the ordinary lane's reasons to refuse the report, or what it comes to.
    fn judged<'b>(&self, lane: &HotLane, currency: &'b str) -> Result<Judged<'b>, &'static str> {
        let fields = &self.fields;
        let click_id = fields.click_id.given();
        let is_known = !fields.identifiers.is_empty() || self.visitor.is_some();
        if !is_known && click_id.or(fields.promo_code.given()).is_none() {
            return Err("no_identifier");
        }
        let of_click = |text: &str| text.strip_prefix(CLICK_PREFIX).and_then(id::read);
        let click_id = click_id.map(|text| of_click(text).ok_or("invalid_identifier"));
        let click_id = click_id.transpose()?;
        if self.event.needs_order && fields.order_id.given().is_none() {
            return Err("order_id_required");
        }
        let rules = &lane.rules;
        let decimals = *rules.currencies.get(currency).ok_or("currency_unknown")?;
        let minor = |text: &Text<'_>| {
            let minor = |text| minor_units(text, decimals, rules.amount_digits_max);
            text.given().map(minor).transpose()
        };
        let money = Money {
            amount_minor: minor(&fields.amount)?.unwrap_or(0),
            currency,
            discount_minor: minor(&fields.discount)?,
            tax_minor: minor(&fields.tax)?,
            shipping_minor: minor(&fields.shipping)?,
        };
        Ok(Judged { click_id, money })
    }

    /// The ids of the event and of its conversion: of an order, or under a key, the same at every
    /// repeat.
    fn ids(&self, lane: &HotLane, key: Option<&str>, fresh: Id, other: Id) -> Option<(Id, Id)> {
        let identity_key = &lane.rules.identity_key;
        let brand = self.event.brand.to_string();
        let keyed = |what| match key {
            Some(key) => conversion_digest(identity_key, &[what, &brand, key]).ok().map(Some),
            None => Some(None),
        };
        let event_id = keyed("event")?.unwrap_or(fresh);
        let Some(order_id) = self.fields.order_id.given() else {
            return Some((event_id, keyed("conversion")?.unwrap_or(other)));
        };
        let line = self.fields.line.given().unwrap_or(MAIN_LINE);
        let (program, number) = (self.event.program.to_string(), self.event.number.to_string());
        let parts = [&*brand, &program, &number, order_id, line];
        Some((event_id, conversion_digest(identity_key, &parts).ok()?))
    }

    fn conversion(
        &self,
        lane: &mut HotLane,
        (event_id, conversion_id): (Id, Id),
        judged: &Judged<'_>,
        source: &mut impl Source,
    ) -> Option<Vec<u8>> {
        let fields = &self.fields;
        let brand = lane.brand(self.event.brand)?;
        let known = self.identifiers(&brand)?;
        let mut params = Vec::with_capacity(2);
        params.extend(fields.product_id.given().map(|text| ("product_id", text)));
        if self.visitor.is_some() {
            let is_own = lane.is_of_site(&self.caller.host, &self.event.site, source)?;
            params.push((COOKIE_ORIGIN, if is_own { "http" } else { "third_party" }));
        }
        let (mut known_bytes, mut param_bytes) = (Vec::new(), Vec::new());
        let place = self.caller.place(lane, source)?;
        let body = Conversion {
            conversion_id,
            program: self.event.program,
            event_type: self.event.number,
            order_id: fields.order_id.given(),
            line: fields.line.given().unwrap_or(MAIN_LINE),
            flags: if fields.is_test { flags::TEST } else { 0 },
            click_id: judged.click_id,
            identifiers: Identifiers::encode(&known, &mut known_bytes),
            money: judged.money,
            promo_code: fields.promo_code.given(),
            customer_status: fields.customer_status,
            items: Items::NONE,
            params: Params::encode(&params, &mut param_bytes),
            client: self.caller.kept(lane, &brand, &place)?,
            refused: None,
            started_ms: None,
        };
        Some(self.encoded(event_id, body))
    }

    /// The record of a report that is refused: why, for which program, from where; no values.
    fn rejection(
        &self,
        lane: &mut HotLane,
        event_id: Id,
        reason: &'static str,
        source: &mut impl Source,
    ) -> Option<Vec<u8>> {
        if self.event.is_denied {
            return None;
        }
        let place = self.caller.place(lane, source)?;
        let brand = lane.brand(self.event.brand)?;
        let mut client = self.caller.kept(lane, &brand, &place)?;
        client.referrer = None;
        let currency = &self.event.currency;
        let body = Conversion {
            conversion_id: event_id,
            program: self.event.program,
            event_type: self.event.number,
            order_id: None,
            line: MAIN_LINE,
            flags: 0,
            click_id: None,
            identifiers: Identifiers::NONE,
            money: Money {
                amount_minor: 0,
                currency,
                discount_minor: None,
                tax_minor: None,
                shipping_minor: None,
            },
            promo_code: None,
            customer_status: None,
            items: Items::NONE,
            params: Params::NONE,
            client,
            refused: Some(reason),
            started_ms: None,
        };
        Some(self.encoded(event_id, body))
    }

    fn encoded(&self, event_id: Id, body: Conversion<'_>) -> Vec<u8> {
        let record = Record {
            event_id,
            brand: self.event.brand,
            accept_ms: self.caller.now_ms,
            claim_ms: None,
            trust: Trust::Browser,
            source: SOURCE_PIXEL,
            body: Body::Conversion(Box::new(body)),
        };
        record.encode()
    }

    /// What recognises the visitor, the strongest first, each once; `None` for a value that cannot
    /// be what it is called.
    fn identifiers(&self, brand: &Brand) -> Option<Vec<Identifier>> {
        let of_fields = self.fields.identifiers.iter().map(|(name, kind, value)| {
            let value = match kind {
                IdentifierType::Visitor => cookie::visitor_of(value),
                _ => value,
            };
            (*name, *kind, value)
        });
        let of_cookie =
            self.visitor.map(|visitor| ("visitor_id", IdentifierType::Visitor, visitor));
        let mut found = Vec::with_capacity(self.fields.identifiers.len() + 1);
        for (name, kind, value) in of_fields.chain(of_cookie) {
            let digest = brand.identifiers.digest(name, value, None).ok()?;
            found.extend(digest.map(|digest| Identifier { kind, digest }));
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}
