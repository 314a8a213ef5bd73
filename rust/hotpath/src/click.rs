//! A visit to a link: its record, and the redirect.

use std::sync::Arc;

use headwater_engine::identity::digest::identifier_digest;
use headwater_engine::identity::{Identifier, IdentifierType};
use headwater_engine::record::{
    flags, Body, Click, Identifiers, Params, Record, Trust, SOURCE_LINK,
};

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
type Parameters = Vec<(String, String)>;

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
            Some(known) => known.visitor.to_owned(),
            None => written(lane.pool.take()?),
        };
        let parameters = parameters(lane, &query)?;
        let location = self.location(lane, &query, &parameters, click_id)?;
        let mut set_cookie = String::new();
        let now_s = caller.now_ms / 1000;
        let age_s = self.link.cookie_age_s;
        if !known.is_some_and(|known| {
            cookie::lives_on(known.until_day, now_s, age_s, lane.rules.cookie_age_s_max)
        }) {
            let is_same_site = caller.is_secure && source.site(&caller.host)? == self.link.site;
            cookie::write(&visitor, now_s, age_s, caller.is_secure, is_same_site, &mut set_cookie);
        }
        let flags = self.flags(lane, &query, known.is_none());
        let record = self.record(lane, &query, &parameters, click_id, &visitor, flags, source)?;
        let close = if caller.head.is_last { "Connection: close\r\n" } else { "" };
        for part in ["HTTP/1.1 ", &lane.rules.answer_head, "Location: ", &location, "\r\n"]
            .into_iter()
            .chain([&*set_cookie, close, "Date: ", date, "\r\n\r\n"])
        {
            answer.extend_from_slice(part.as_bytes());
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
        lane: &HotLane,
        query: &Query<'_>,
        parameters: &Parameters,
        click_id: [u8; 16],
        visitor: &str,
        flags: u64,
        source: &mut impl Source,
    ) -> Option<Vec<u8>> {
        let known = self.identifiers(lane, query, visitor)?;
        let pairs: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
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
                params: Params::encode(&pairs, &mut pair_bytes),
                client: self.caller.kept(lane, self.link.brand, &place)?,
            }),
        };
        let bytes = record.encode();
        // One record that the log does not take would take its whole frame down with it.
        Record::decode(&bytes).is_ok().then_some(bytes)
    }

    fn identifiers(
        &self,
        lane: &HotLane,
        query: &Query<'_>,
        visitor: &str,
    ) -> Option<Vec<Identifier>> {
        let key = &lane.rules.identity_key;
        let brand = self.link.brand;
        let mut found = Vec::with_capacity(2);
        if let Some(raw) = query.raw("external_click_id").filter(|raw| !raw.is_empty()) {
            let value = decode(raw)?;
            let digest = identifier_digest(key, brand, "external_click_id", &value, None);
            if let Ok(Some(digest)) = digest {
                found.push(Identifier { kind: IdentifierType::ExternalClick, digest });
            }
        }
        let digest = identifier_digest(key, brand, "visitor_id", visitor, None).ok()??;
        found.push(Identifier { kind: IdentifierType::Visitor, digest });
        Some(found)
    }

    /// The destination with what the visit adds to it; `None` when that is too long.
    fn location(
        &self,
        lane: &HotLane,
        query: &Query<'_>,
        parameters: &Parameters,
        click_id: [u8; 16],
    ) -> Option<String> {
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
        let mut text = String::with_capacity(256);
        fill(&link.head, &mut text);
        let mut between = link.joint.as_str();
        for (name, quoted) in &link.forward {
            if let Some(raw) = query.raw(name) {
                text.push_str(std::mem::replace(&mut between, "&"));
                text.push_str(quoted);
                text.push('=');
                encode(&decode(raw)?, &mut text);
            }
        }
        if let Some(name) = &link.click_param {
            for part in [between, name, "=", &id_text] {
                text.push_str(part);
            }
        }
        fill(&link.tail, &mut text);
        (text.len() <= lane.rules.location_bytes_max).then_some(text)
    }
}

fn written(id: [u8; 16]) -> String {
    let mut text = String::with_capacity(26);
    id::write(id, &mut text);
    text
}

/// What the click carries to reports, cut; `None` when a value cannot be judged here.
fn parameters(lane: &HotLane, query: &Query<'_>) -> Option<Parameters> {
    let mut found = Vec::new();
    let mut truncated = Vec::new();
    for name in &lane.rules.parameters {
        let Some(raw) = query.raw(name).filter(|raw| !raw.is_empty()) else { continue };
        let value = decode(raw)?;
        let kept = cut(&value, lane.rules.parameter_bytes_max);
        if may_be_card(kept) {
            return None;
        }
        if kept.len() != value.len() {
            truncated.push(name.as_str());
        }
        found.push((name.clone(), kept.to_owned()));
    }
    if !truncated.is_empty() {
        found.push((TRUNCATED.to_owned(), truncated.join(",")));
    }
    Some(found)
}
