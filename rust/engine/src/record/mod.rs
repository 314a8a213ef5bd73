//! The wire format, version 1: frames of records.
//!
//! A frame is a 32-byte header and a body of concatenated MessagePack arrays, one per record
//! (see [`frame`]). A record is an array of eight:
//! `[kind, event_id, brand, accept_ms, claim_ms, trust, source, body]`, the body an array whose
//! fields depend on the kind (see [`body`]). [`fields`] names every field in order.

pub mod body;
mod encode;
pub mod fields;
pub mod frame;
pub mod replace;

use crate::error::Error;
use crate::limits::{RECORD_BYTES_MAX, TIME_MS_MAX};
use crate::msgpack::Reader;
use crate::Id;

pub use body::{
    Body, Click, Client, Control, Conversion, Decision, Erasure, Identifiers, Identify, Items,
    Money, Network, PageView, Params, Request,
};
pub use frame::{
    check_record, decode_frame, encode_frame, frame_header, join_frame, Frame, FrameHeader,
};

/// Bits of a body's `flags` field.
pub mod flags {
    /// A test click or a test order: scored, but kept out of reports and pay.
    pub const TEST: u64 = 1;
    /// Consent was denied or GPC was set: the record contributes no identifiers.
    pub const CONSENT_DENIED: u64 = 2;
    /// A deep link was refused and the link's own destination served.
    pub const DEEP_LINK_REFUSED: u64 = 4;
    /// The click came from a QR code.
    pub const QR: u64 = 8;
    /// The request declared itself a prefetch.
    pub const PREFETCH: u64 = 16;
    /// The visitor did not choose the touch: a pop-up, a redirect without a choice.
    pub const SOFT_CLICK: u64 = 32;
    /// The visitor saw the partner's advertisement and did not click.
    pub const IMPRESSION: u64 = 64;
    /// The visit's own query carried an advertiser's click id (`gclid`, `msclkid` and the like).
    pub const AD_CLICK_ID: u64 = 128;
    /// The link is a honeypot: nobody who sees the page can follow it.
    pub const HONEYPOT: u64 = 256;
    /// The visitor id was made for this request: the browser returned none.
    pub const NEW_VISITOR: u64 = 512;
    /// The e-mail address of the report is one of a disposable mail service.
    pub const DISPOSABLE_EMAIL: u64 = 1024;
    /// A list of disposable mail services was loaded, and the report had an address to look up.
    pub const EMAIL_LOOKED_UP: u64 = 2048;
    /// The program's links are signed, and the click's parameters are not, or not any more.
    pub const LINK_TAMPERED: u64 = 4096;
    /// The largest value of the field: room for a bit this version does not name.
    pub const MAX: u64 = 0x1fff;
}

/// Bits of a network's `flags` field: the lower say what the lists hold of the address, the upper
/// which lists there were to look in.
pub mod network_flags {
    /// In a list of networks that cloud services publish.
    pub const DATACENTRE_STRICT: u64 = 1;
    /// In a broad list of hosting networks.
    pub const DATACENTRE_BROAD: u64 = 2;
    /// In a list of VPN exits.
    pub const VPN: u64 = 4;
    /// In a list of Tor exits.
    pub const TOR: u64 = 8;
    /// The user agent names a crawler, and the address is of those its operator publishes.
    pub const CRAWLER_VERIFIED: u64 = 16;
    /// The user agent names a crawler whose operator publishes other addresses.
    pub const CRAWLER_FAKE: u64 = 32;
    /// A strict list was there.
    pub const STRICT_LOADED: u64 = 256;
    /// A broad list was there.
    pub const BROAD_LOADED: u64 = 512;
    /// A VPN list was there.
    pub const VPN_LOADED: u64 = 1024;
    /// A Tor list was there.
    pub const TOR_LOADED: u64 = 2048;
    /// A list of crawlers' addresses was there.
    pub const CRAWLERS_LOADED: u64 = 4096;
    /// A country database was there.
    pub const COUNTRY_LOADED: u64 = 8192;
    /// The largest value of the field.
    pub const MAX: u64 = 0xffff;
}

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A visit to a link.
    Click = 1,
    /// A page seen by the tag.
    PageView = 2,
    /// Identifiers seen together.
    Identify = 3,
    /// A reported lead, sale or custom event.
    Conversion = 4,
    /// A change of configuration.
    Control = 5,
    /// A manager's decision.
    Decision = 6,
    /// Identifiers to be forgotten.
    Erasure = 7,
    /// Time passing.
    Tick = 8,
}

impl Kind {
    /// Every kind, in order of its number.
    pub const ALL: [Self; 8] = [
        Self::Click,
        Self::PageView,
        Self::Identify,
        Self::Conversion,
        Self::Control,
        Self::Decision,
        Self::Erasure,
        Self::Tick,
    ];

    fn from_number(number: u64) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| *kind as u64 == number)
            .ok_or(Error::Frame("unknown_kind"))
    }

    /// The kind's name, as field tables and metrics use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::PageView => "page_view",
            Self::Identify => "identify",
            Self::Conversion => "conversion",
            Self::Control => "control",
            Self::Decision => "decision",
            Self::Erasure => "erasure",
            Self::Tick => "tick",
        }
    }
}

/// Who vouches for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// A keyed call of the brand's or Headwater's own server.
    Server = 1,
    /// A browser: anyone can send it.
    Browser = 2,
}

impl Trust {
    pub(crate) fn from_number(number: u64) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::Server),
            2 => Ok(Self::Browser),
            _ => Err(Error::Frame("unknown_trust")),
        }
    }
}

/// Number of the largest known source: 1 link, 2 pixel, 3 tag, 4 s2s, 5 postback, 6 console,
/// 7 clock.
pub const SOURCE_MAX: u64 = 7;
/// Number of the source of links.
pub const SOURCE_LINK: u64 = 1;
/// Number of the source of the pixel.
pub const SOURCE_PIXEL: u64 = 2;
/// Number of the source of the tag.
pub const SOURCE_TAG: u64 = 3;
/// Number of the source of a partner's own postback.
pub const SOURCE_POSTBACK: u64 = 5;

/// One event, borrowed from the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The event's id; of a click, the click id.
    pub event_id: Id,
    /// The brand's number; 0 for what belongs to the whole deployment.
    pub brand: u64,
    /// When the edge accepted it, milliseconds since 1970, by the edge's clock.
    pub accept_ms: u64,
    /// When it happened, as its caller says, milliseconds since 1970.
    pub claim_ms: Option<u64>,
    /// Who vouches for it.
    pub trust: Trust,
    /// By which way it came, 1 to [`SOURCE_MAX`].
    pub source: u64,
    /// What the kind adds.
    pub body: Body<'a>,
}

impl<'a> Record<'a> {
    /// Decodes one record that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`Error::Frame`] when the bytes are not one valid record of at most
    /// [`RECORD_BYTES_MAX`] bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let record = Self::read(&mut reader)?;
        if !reader.is_done() {
            return Err(Error::Frame("trailing_bytes"));
        }
        Ok(record)
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let start = reader.at();
        reader.array_of(8)?;
        let kind = Kind::from_number(reader.uint()?)?;
        let record = Self {
            event_id: reader.id()?,
            brand: reader.number()?,
            accept_ms: reader.uint_max(TIME_MS_MAX)?,
            claim_ms: reader.optional(|reader| reader.uint_max(TIME_MS_MAX))?,
            trust: Trust::from_number(reader.uint()?)?,
            source: match reader.uint()? {
                source @ 1..=SOURCE_MAX => source,
                _ => return Err(Error::Frame("unknown_source")),
            },
            body: Body::read(kind, reader)?,
        };
        if reader.at() - start > RECORD_BYTES_MAX {
            return Err(Error::Frame("record_too_large"));
        }
        Ok(record)
    }

    /// What the record tells of.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }
}
