//! A visit to a link: its record, and the redirect.

use std::borrow::Cow;
use std::sync::Arc;

use headwater_engine::identity::{Identifier, IdentifierType};
use headwater_engine::record::{
    flags, Body, Click, Identifiers, Params, Record, Trust, SOURCE_LINK,
};

use crate::brands::Brand;
use crate::caller::Caller;
use crate::cookie;
use crate::id;
use crate::lane::{HotLane, Kind, Made, Source};
use crate::link::{Link, Part, Token};
use crate::query::{cut, decode, encode, may_be_card, Query};

const TRUNCATED: &str = "truncated";

/// A request for a link that is held.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    pub(crate) caller: Caller<'a>,
    pub(crate) link: Arc<Link>,
}

/// Names and values that a click carries to reports.
type Parameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

impl Visit<'_> {
    /// Appends the answer, and gives the record; `None`, and nothing appended, when the visit is
    /// the ordinary lane's after all.
    pub(crate) fn finish(
        &self,
        lane: &mut HotLane,
        date: &str,
        answer: &mut Vec<u8>,
        source: &mut impl Source,
    ) -> Option<Made> {
        let mut text = std::mem::take(&mut lane.text);
        text.clear();
        let made = self.made(lane, date, &mut text, source);
        if made.is_some() {
            answer.extend_from_slice(text.as_bytes());
        }
        lane.text = text;
        made
    }

    /// The same, with the answer in `text` when there is one.
    fn made(
        &self,
        lane: &mut HotLane,
        date: &str,
        text: &mut String,
        source: &mut impl Source,
    ) -> Option<Made> {
        let caller = &self.caller;
        if self.link.expires_ms.is_some_and(|expires_ms| caller.now_ms >= expires_ms) {
            return None;
        }
        let query = Query::read(caller.head.query, lane.rules.query_parameters_max)?;
        if query.has("u") || !self.has_consent(&query) || !caller.is_plain() {
            return None;
        }
        let known = caller.head.cookie.and_then(cookie::read);
        let click_id = lane.pool.event_id(caller.now_ms)?;
        let visitor = match known {
            Some(known) => Cow::Borrowed(known.visitor),
            None => Cow::Owned(written(lane.pool.take()?)),
        };
        let parameters = parameters(lane, &query)?;
        for part in ["HTTP/1.1 ", &lane.rules.answer_head, "Location: "] {
            text.push_str(part);
        }
        self.write_location(lane, &query, &parameters, click_id, text)?;
        text.push_str("\r\n");
        let now_s = caller.now_ms / 1000;
        let age_s = self.link.cookie_age_s;
        if !known.is_some_and(|known| {
            cookie::lives_on(known.until_day, now_s, age_s, lane.rules.cookie_age_s_max)
        }) {
            let is_same_site =
                caller.is_secure && lane.is_of_site(&caller.host, &self.link.site, source)?;
            cookie::write(&visitor, now_s, age_s, caller.is_secure, is_same_site, text);
        }
        let flags = self.flags(lane, &query, known.is_none());
        let record = self.record(lane, &query, &parameters, click_id, &visitor, flags, source)?;
        let close = if caller.head.is_last { "Connection: close\r\n" } else { "" };
        for part in [close, "Date: ", date, "\r\n\r\n"] {
            text.push_str(part);
        }
        Some(Made { kind: Kind::Click, partition: self.link.partition, record })
    }

    fn has_consent(&self, query: &Query<'_>) -> bool {
        match query.raw("consent") {
            Some(said) => said == "granted",
            None => !self.link.is_denied,
        }
    }

    fn flags(&self, lane: &HotLane, query: &Query<'_>, is_new: bool) -> u64 {
        let mut found = self.link.flags;
        let mut set = |bit, is_set| {
            if is_set {
                found |= bit;
            }
        };
        set(flags::TEST, query.raw("hw_test") == Some("1"));
        set(flags::QR, query.raw("qr") == Some("1"));
        set(flags::AD_CLICK_ID, lane.rules.ad_click_ids.iter().any(|name| query.has(name)));
        set(flags::NEW_VISITOR, is_new);
        found
    }

    #[allow(clippy::too_many_arguments, reason = "each is a part of the record")]
    fn record(
        &self,
        lane: &mut HotLane,
        query: &Query<'_>,
        parameters: &Parameters<'_>,
        click_id: [u8; 16],
        visitor: &str,
        flags: u64,
        source: &mut impl Source,
    ) -> Option<Vec<u8>> {
        let brand = lane.brand(self.link.brand)?;
        let known = identifiers(&brand, query, visitor)?;
        let place = self.caller.place(lane, source)?;
        let (mut known_bytes, mut pair_bytes) = (Vec::new(), Vec::new());
        let record = Record {
            event_id: click_id,
            brand: self.link.brand,
            accept_ms: self.caller.now_ms,
            claim_ms: None,
            trust: Trust::Browser,
            source: SOURCE_LINK,
            body: Body::Click(Click {
                program: self.link.program,
                partner: self.link.partner,
                link: self.link.number,
                flags,
                identifiers: Identifiers::encode(&known, &mut known_bytes),
                params: Params::encode(parameters, &mut pair_bytes),
                client: self.caller.kept(lane, &brand, &place)?,
            }),
        };
        let bytes = record.encode();
        // One record that the log does not take would take its whole frame down with it.
        Record::decode(&bytes).is_ok().then_some(bytes)
    }

    /// Appends the destination with what the visit adds to it; `None` when that is too long.
    fn write_location(
        &self,
        lane: &HotLane,
        query: &Query<'_>,
        parameters: &Parameters<'_>,
        click_id: [u8; 16],
        text: &mut String,
    ) -> Option<()> {
        let start = text.len();
        let link = &*self.link;
        let mut id_text = String::from("clk_");
        id::write(click_id, &mut id_text);
        let fill = |parts: &[Part], text: &mut String| {
            for part in parts {
                text.push_str(&part.text);
                match &part.token {
                    Some(Token::ClickId) => text.push_str(&id_text),
                    Some(Token::Timestamp) => {
                        text.push_str(&(self.caller.now_ms / 1000).to_string())
                    }
                    Some(Token::Parameter(name)) => {
                        let value = parameters.iter().find(|(other, _)| other == name);
                        encode(value.map_or("", |(_, value)| value), text);
                    }
                    None => {}
                }
            }
        };
        fill(&link.head, text);
        let mut between = link.joint.as_str();
        for (name, quoted) in &link.forward {
            if let Some(raw) = query.raw(name) {
                text.push_str(std::mem::replace(&mut between, "&"));
                text.push_str(quoted);
                text.push('=');
                encode(&decode(raw)?, text);
            }
        }
        if let Some(name) = &link.click_param {
            for part in [between, name, "=", &id_text] {
                text.push_str(part);
            }
        }
        fill(&link.tail, text);
        (text.len() - start <= lane.rules.location_bytes_max).then_some(())
    }
}

/// What recognises the visitor.
fn identifiers(brand: &Brand, query: &Query<'_>, visitor: &str) -> Option<Vec<Identifier>> {
    let mut found = Vec::with_capacity(2);
    if let Some(raw) = query.raw("external_click_id").filter(|raw| !raw.is_empty()) {
        let value = decode(raw)?;
        let digest = brand.identifiers.digest("external_click_id", &value, None);
        if let Ok(Some(digest)) = digest {
            found.push(Identifier { kind: IdentifierType::ExternalClick, digest });
        }
    }
    let digest = brand.identifiers.digest("visitor_id", visitor, None).ok()??;
    found.push(Identifier { kind: IdentifierType::Visitor, digest });
    Some(found)
}

fn written(id: [u8; 16]) -> String {
    let mut text = String::with_capacity(26);
    id::write(id, &mut text);
    text
}

/// What the click carries to reports, cut; `None` when a value cannot be judged here.
fn parameters<'a>(lane: &HotLane, query: &Query<'a>) -> Option<Parameters<'a>> {
    let mut found = Vec::new();
    let mut truncated = Vec::new();
    for name in &lane.rules.parameters {
        let Some((name, raw)) = query.pair(name).filter(|(_, raw)| !raw.is_empty()) else {
            continue;
        };
        let mut value = decode(raw)?;
        let kept_bytes = cut(&value, lane.rules.parameter_bytes_max).len();
        if kept_bytes != value.len() {
            truncated.push(name);
            value.to_mut().truncate(kept_bytes);
        }
        if may_be_card(&value) {
            return None;
        }
        found.push((name, value));
    }
    if !truncated.is_empty() {
        found.push((TRUNCATED, truncated.join(",").into()));
    }
    Some(found)
}
