//! The bodies of the kinds, borrowed from the record's bytes.

use super::{flags, Kind};
use crate::error::Error;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{RECORD_IDENTIFIERS_MAX, RECORD_ITEMS_MAX, RECORD_PARAMS_MAX, TIME_MS_MAX};
use crate::msgpack::Reader;
use crate::Id;

/// A list of identifiers, checked, still in wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identifiers<'a>(pub(crate) &'a [u8]);

impl<'a> Identifiers<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let start = reader.at();
        for _ in 0..reader.array_max(RECORD_IDENTIFIERS_MAX)? {
            read_identifier(reader)?;
        }
        Ok(Self(reader.since(start)))
    }

    /// The identifiers in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = Identifier> + 'a {
        let mut reader = Reader::new(self.0);
        let count = reader.array_max(RECORD_IDENTIFIERS_MAX).unwrap_or(0);
        (0..count).filter_map(move |_| read_identifier(&mut reader).ok())
    }
}

fn read_identifier(reader: &mut Reader<'_>) -> Result<Identifier, Error> {
    reader.array_of(2)?;
    let kind = IdentifierType::from_number(reader.uint()?)?;
    Ok(Identifier { kind, digest: reader.id()? })
}

/// A map of strings, checked, still in wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params<'a>(pub(crate) &'a [u8]);

impl<'a> Params<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let start = reader.at();
        for _ in 0..reader.map_max(RECORD_PARAMS_MAX)? {
            reader.str()?;
            reader.str()?;
        }
        Ok(Self(reader.since(start)))
    }

    /// Names and values in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        let mut reader = Reader::new(self.0);
        let count = reader.map_max(RECORD_PARAMS_MAX).unwrap_or(0);
        (0..count).map_while(move |_| reader.str().ok().zip(reader.str().ok()))
    }
}

/// What the edge knows of an address; the address itself stays there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network<'a> {
    /// Digest of the address (IPv4, or the /64 of IPv6) under the key of the day of acceptance.
    pub address: Option<u64>,
    /// The same under the key of the day before.
    pub address_before: Option<u64>,
    /// Bits of [`network_flags`](super::network_flags): what the lists say, and which there are.
    pub flags: u64,
    /// ISO 3166 code of the country.
    pub country: Option<&'a str>,
    /// Version of the lists in force at the edge.
    pub lists: Option<&'a str>,
}

impl<'a> Network<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.array_of(super::fields::NETWORK.len())?;
        Ok(Self {
            address: reader.optional(Reader::digest8)?,
            address_before: reader.optional(Reader::digest8)?,
            flags: reader.uint_max(super::network_flags::MAX)?,
            country: reader.optional(Reader::str)?,
            lists: reader.optional(Reader::str)?,
        })
    }
}

/// What the edge keeps of a browser's request: header fields, cut to a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// 10, 11 or 20; 0 when not known.
    pub http_version: u64,
    /// Whether the browser came over TLS.
    pub is_secure: bool,
    /// `Sec-Fetch-Dest`.
    pub fetch_dest: Option<&'a str>,
    /// `Sec-Fetch-Mode`.
    pub fetch_mode: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Sec-Fetch-User`.
    pub fetch_user: Option<&'a str>,
    /// `Sec-Purpose`, or one of its forerunners.
    pub purpose: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// The first language of `Accept-Language`.
    pub accept_language: Option<&'a str>,
    /// `Sec-CH-UA`.
    pub agent_brands: Option<&'a str>,
    /// `Sec-CH-UA-Mobile`.
    pub agent_mobile: Option<&'a str>,
    /// `Sec-CH-UA-Platform`.
    pub agent_platform: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.array_of(super::fields::REQUEST.len())?;
        Ok(Self {
            http_version: reader.uint_max(99)?,
            is_secure: reader.bool()?,
            fetch_dest: reader.optional(Reader::str)?,
            fetch_mode: reader.optional(Reader::str)?,
            fetch_site: reader.optional(Reader::str)?,
            fetch_user: reader.optional(Reader::str)?,
            purpose: reader.optional(Reader::str)?,
            accept: reader.optional(Reader::str)?,
            accept_language: reader.optional(Reader::str)?,
            agent_brands: reader.optional(Reader::str)?,
            agent_mobile: reader.optional(Reader::str)?,
            agent_platform: reader.optional(Reader::str)?,
        })
    }
}

/// What is kept of a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client<'a> {
    /// The /24 or /48 of the address.
    pub address_prefix: Option<&'a str>,
    /// The user agent; of a caller who denied consent its class alone.
    pub user_agent: Option<&'a str>,
    /// The referrer.
    pub referrer: Option<&'a str>,
    /// What is known of the address.
    pub network: Option<Network<'a>>,
    /// What is kept of the request; of a server's report there is none.
    pub request: Option<Request<'a>>,
}

impl<'a> Client<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.array_of(super::fields::CLIENT.len())?;
        Ok(Self {
            address_prefix: reader.optional(Reader::str)?,
            user_agent: reader.optional(Reader::str)?,
            referrer: reader.optional(Reader::str)?,
            network: reader.optional(Network::read)?,
            request: reader.optional(Request::read)?,
        })
    }
}

/// Items of an order, each `[sku, name, category, quantity, subtotal_minor]`, in wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items<'a>(pub(crate) &'a [u8]);

impl<'a> Items<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let start = reader.at();
        for _ in 0..reader.array_max(RECORD_ITEMS_MAX)? {
            reader.array_of(5)?;
            for _ in 0..3 {
                reader.optional(Reader::str)?;
            }
            reader.uint()?;
            reader.optional(Reader::int)?;
        }
        Ok(Self(reader.since(start)))
    }
}

/// Amounts in minor units of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money<'a> {
    /// The amount of the order.
    pub amount_minor: i64,
    /// ISO 4217 code; may be empty in a refused report.
    pub currency: &'a str,
    /// The discount, when reported.
    pub discount_minor: Option<i64>,
    /// The tax, when reported.
    pub tax_minor: Option<i64>,
    /// The shipping, when reported.
    pub shipping_minor: Option<i64>,
}

impl<'a> Money<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.array_of(5)?;
        Ok(Self {
            amount_minor: reader.int()?,
            currency: reader.str()?,
            discount_minor: reader.optional(Reader::int)?,
            tax_minor: reader.optional(Reader::int)?,
            shipping_minor: reader.optional(Reader::int)?,
        })
    }
}

/// A visit to a link; the record's event id is the click id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click<'a> {
    /// The program's number.
    pub program: u64,
    /// The partner's number.
    pub partner: u64,
    /// The link's number, 0 for none.
    pub link: u64,
    /// Bits of [`flags`].
    pub flags: u64,
    /// What recognises the visitor.
    pub identifiers: Identifiers<'a>,
    /// Sub ids and forwarded parameters.
    pub params: Params<'a>,
    /// Truncated address, user agent, referrer.
    pub client: Client<'a>,
}

/// A page seen by the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageView<'a> {
    /// The program's number.
    pub program: u64,
    /// The page's address.
    pub url: Option<&'a str>,
    /// Bits of [`flags`].
    pub flags: u64,
    /// What recognises the visitor.
    pub identifiers: Identifiers<'a>,
    /// Truncated address, user agent, referrer.
    pub client: Client<'a>,
}

/// Identifiers seen together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identify<'a> {
    /// The program's number.
    pub program: u64,
    /// Bits of [`flags`].
    pub flags: u64,
    /// The identifiers.
    pub identifiers: Identifiers<'a>,
    /// Truncated address, user agent, referrer.
    pub client: Client<'a>,
}

/// A report of a lead, a sale or a custom event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion<'a> {
    /// The conversion's id, the same for every report of one order.
    pub conversion_id: Id,
    /// The program's number.
    pub program: u64,
    /// The event type's number.
    pub event_type: u64,
    /// The brand's order number.
    pub order_id: Option<&'a str>,
    /// The part of the order, `main` unless it is an upsell.
    pub line: &'a str,
    /// Bits of [`flags`].
    pub flags: u64,
    /// A click the report names.
    pub click_id: Option<Id>,
    /// What recognises the customer.
    pub identifiers: Identifiers<'a>,
    /// Amounts.
    pub money: Money<'a>,
    /// A promotion code used.
    pub promo_code: Option<&'a str>,
    /// `new` or `existing`, as the brand says.
    pub customer_status: Option<&'a str>,
    /// What was bought.
    pub items: Items<'a>,
    /// Further properties.
    pub params: Params<'a>,
    /// Truncated address, user agent, referrer.
    pub client: Client<'a>,
    /// Why the edge refused it; such a report decides nothing.
    pub refused: Option<&'a str>,
    /// When the customer began what ended in it (a checkout, a form), milliseconds.
    pub started_ms: Option<u64>,
}

/// A change of configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// The kind of object: `program`, `event_type`, `enrolment`, or one the engine only notes.
    pub object: &'a str,
    /// The object's number.
    pub number: u64,
    /// The revision; the largest wins.
    pub revision: u64,
    /// A MessagePack map, or nil when the object was deleted.
    pub value: &'a [u8],
}

/// A manager's decision, carried for the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What was decided.
    pub action: &'a str,
    /// What it was decided about.
    pub subject: Id,
    /// Particulars.
    pub params: Params<'a>,
}

/// Identifiers to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure<'a> {
    /// `identifier` or `person`.
    pub scope: &'a str,
    /// Whether it only asks what would be forgotten.
    pub dry_run: bool,
    /// Whether what belongs to another customer as well is forgotten too.
    pub force: bool,
    /// The identifiers.
    pub identifiers: Identifiers<'a>,
}

/// What a record's kind adds to its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Kind 1.
    Click(Click<'a>),
    /// Kind 2.
    PageView(PageView<'a>),
    /// Kind 3.
    Identify(Identify<'a>),
    /// Kind 4; boxed because it is three times the size of the others.
    Conversion(Box<Conversion<'a>>),
    /// Kind 5.
    Control(Control<'a>),
    /// Kind 6.
    Decision(Decision<'a>),
    /// Kind 7.
    Erasure(Erasure<'a>),
    /// Kind 8.
    Tick,
}

impl<'a> Body<'a> {
    /// The kind this is the body of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Click(_) => Kind::Click,
            Self::PageView(_) => Kind::PageView,
            Self::Identify(_) => Kind::Identify,
            Self::Conversion(_) => Kind::Conversion,
            Self::Control(_) => Kind::Control,
            Self::Decision(_) => Kind::Decision,
            Self::Erasure(_) => Kind::Erasure,
            Self::Tick => Kind::Tick,
        }
    }

    pub(super) fn read(kind: Kind, reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.array_of(super::fields::of(kind).len())?;
        match kind {
            Kind::Click => read_click(reader),
            Kind::PageView => read_page_view(reader),
            Kind::Identify => read_identify(reader),
            Kind::Conversion => read_conversion(reader),
            Kind::Control => read_control(reader),
            Kind::Decision => Ok(Self::Decision(Decision {
                action: reader.str()?,
                subject: reader.id()?,
                params: Params::read(reader)?,
            })),
            Kind::Erasure => Ok(Self::Erasure(Erasure {
                scope: reader.str()?,
                dry_run: reader.bool()?,
                force: reader.bool()?,
                identifiers: Identifiers::read(reader)?,
            })),
            Kind::Tick => Ok(Self::Tick),
        }
    }
}

fn read_click<'a>(reader: &mut Reader<'a>) -> Result<Body<'a>, Error> {
    Ok(Body::Click(Click {
        program: reader.number()?,
        partner: reader.number()?,
        link: reader.number()?,
        flags: reader.uint_max(flags::MAX)?,
        identifiers: Identifiers::read(reader)?,
        params: Params::read(reader)?,
        client: Client::read(reader)?,
    }))
}

fn read_page_view<'a>(reader: &mut Reader<'a>) -> Result<Body<'a>, Error> {
    Ok(Body::PageView(PageView {
        program: reader.number()?,
        url: reader.optional(Reader::str)?,
        flags: reader.uint_max(flags::MAX)?,
        identifiers: Identifiers::read(reader)?,
        client: Client::read(reader)?,
    }))
}

fn read_identify<'a>(reader: &mut Reader<'a>) -> Result<Body<'a>, Error> {
    Ok(Body::Identify(Identify {
        program: reader.number()?,
        flags: reader.uint_max(flags::MAX)?,
        identifiers: Identifiers::read(reader)?,
        client: Client::read(reader)?,
    }))
}

fn read_conversion<'a>(reader: &mut Reader<'a>) -> Result<Body<'a>, Error> {
    Ok(Body::Conversion(Box::new(Conversion {
        conversion_id: reader.id()?,
        program: reader.number()?,
        event_type: reader.number()?,
        order_id: reader.optional(Reader::str)?,
        line: reader.str()?,
        flags: reader.uint_max(flags::MAX)?,
        click_id: reader.optional(Reader::id)?,
        identifiers: Identifiers::read(reader)?,
        money: Money::read(reader)?,
        promo_code: reader.optional(Reader::str)?,
        customer_status: reader.optional(Reader::str)?,
        items: Items::read(reader)?,
        params: Params::read(reader)?,
        client: Client::read(reader)?,
        refused: reader.optional(Reader::str)?,
        started_ms: reader.optional(|reader| reader.uint_max(TIME_MS_MAX))?,
    })))
}

fn read_control<'a>(reader: &mut Reader<'a>) -> Result<Body<'a>, Error> {
    let object = reader.str()?;
    let number = reader.number()?;
    let revision = reader.number()?;
    let value = reader.value()?;
    let is_map = matches!(value.first(), Some(0x80..=0x8f | 0xde | 0xdf | 0xc0));
    if !is_map {
        return Err(Error::Frame("wrong_type"));
    }
    Ok(Body::Control(Control { object, number, revision, value }))
}
