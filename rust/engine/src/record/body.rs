//! The bodies of the kinds, borrowed from the record's bytes.

use super::{flags, Kind};
use crate::error::Error;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{RECORD_IDENTIFIERS_MAX, RECORD_ITEMS_MAX, RECORD_PARAMS_MAX};
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
}

/// `[address_prefix, user_agent, referrer]`, each a string or nil, still in wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a>(pub(crate) &'a [u8]);

impl<'a> Client<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let start = reader.at();
        reader.array_of(3)?;
        for _ in 0..3 {
            reader.optional(Reader::str)?;
        }
        Ok(Self(reader.since(start)))
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
