//! Records back to bytes: what the edge's own encoder must agree with.

use super::{
    Body, Click, Client, Conversion, Identifiers, Money, Network, Params, Record, Request,
};
use crate::identity::Identifier;
use crate::msgpack::Writer;

/// Room for nearly every click: growing to it would copy what is written several times.
const USUAL_BYTES: usize = 512;

impl Record<'_> {
    /// The record's bytes, every value in its shortest form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(USUAL_BYTES);
        writer.array(8);
        writer.uint(self.kind() as u64);
        writer.bin(&self.event_id);
        writer.uint(self.brand);
        writer.uint(self.accept_ms);
        writer.optional(self.claim_ms, Writer::uint);
        writer.uint(self.trust as u64);
        writer.uint(self.source);
        writer.array(super::fields::of(self.kind()).len());
        write_body(&mut writer, &self.body);
        writer.bytes
    }
}

fn write_body(writer: &mut Writer, body: &Body<'_>) {
    match body {
        Body::Click(click) => write_click(writer, click),
        Body::PageView(page) => {
            writer.uint(page.program);
            writer.optional(page.url, Writer::str);
            writer.uint(page.flags);
            writer.raw(page.identifiers.0);
            write_client(writer, &page.client);
        }
        Body::Identify(identify) => {
            writer.uint(identify.program);
            writer.uint(identify.flags);
            writer.raw(identify.identifiers.0);
            write_client(writer, &identify.client);
        }
        Body::Conversion(conversion) => write_conversion(writer, conversion),
        Body::Control(control) => {
            writer.str(control.object);
            writer.uint(control.number);
            writer.uint(control.revision);
            writer.raw(control.value);
        }
        Body::Decision(decision) => {
            writer.str(decision.action);
            writer.bin(&decision.subject);
            writer.raw(decision.params.0);
        }
        Body::Erasure(erasure) => {
            writer.str(erasure.scope);
            writer.bool(erasure.dry_run);
            writer.bool(erasure.force);
            writer.raw(erasure.identifiers.0);
        }
        Body::Tick => {}
    }
}

fn write_click(writer: &mut Writer, click: &Click<'_>) {
    writer.uint(click.program);
    writer.uint(click.partner);
    writer.uint(click.link);
    writer.uint(click.flags);
    writer.raw(click.identifiers.0);
    writer.raw(click.params.0);
    write_client(writer, &click.client);
}

fn write_conversion(writer: &mut Writer, conversion: &Conversion<'_>) {
    writer.bin(&conversion.conversion_id);
    writer.uint(conversion.program);
    writer.uint(conversion.event_type);
    writer.optional(conversion.order_id, Writer::str);
    writer.str(conversion.line);
    writer.uint(conversion.flags);
    writer.optional(conversion.click_id, |writer, id| writer.bin(&id));
    writer.raw(conversion.identifiers.0);
    write_money(writer, &conversion.money);
    writer.optional(conversion.promo_code, Writer::str);
    writer.optional(conversion.customer_status, Writer::str);
    writer.raw(conversion.items.0);
    writer.raw(conversion.params.0);
    write_client(writer, &conversion.client);
    writer.optional(conversion.refused, Writer::str);
    writer.optional(conversion.started_ms, Writer::uint);
}

fn write_client(writer: &mut Writer, client: &Client<'_>) {
    writer.array(super::fields::CLIENT.len());
    for text in [client.address_prefix, client.user_agent, client.referrer] {
        writer.optional(text, Writer::str);
    }
    writer.optional(client.network.as_ref(), write_network);
    writer.optional(client.request.as_ref(), write_request);
}

fn write_network(writer: &mut Writer, network: &Network<'_>) {
    writer.array(super::fields::NETWORK.len());
    for digest in [network.address, network.address_before] {
        writer.optional(digest, |writer, digest| writer.bin(&digest.to_le_bytes()));
    }
    writer.uint(network.flags);
    writer.optional(network.country, Writer::str);
    writer.optional(network.lists, Writer::str);
}

fn write_request(writer: &mut Writer, request: &Request<'_>) {
    writer.array(super::fields::REQUEST.len());
    writer.uint(request.http_version);
    writer.bool(request.is_secure);
    let texts = [
        request.fetch_dest,
        request.fetch_mode,
        request.fetch_site,
        request.fetch_user,
        request.purpose,
        request.accept,
        request.accept_language,
        request.agent_brands,
        request.agent_mobile,
        request.agent_platform,
    ];
    for text in texts {
        writer.optional(text, Writer::str);
    }
}

fn write_money(writer: &mut Writer, money: &Money<'_>) {
    writer.array(5);
    writer.int(money.amount_minor);
    writer.str(money.currency);
    writer.optional(money.discount_minor, Writer::int);
    writer.optional(money.tax_minor, Writer::int);
    writer.optional(money.shipping_minor, Writer::int);
}

impl<'a> Identifiers<'a> {
    /// The wire form of a list of identifiers, put into `buffer`.
    pub fn encode(list: &[Identifier], buffer: &'a mut Vec<u8>) -> Self {
        let mut writer = Writer::with_capacity(1 + 20 * list.len());
        writer.array(list.len());
        for identifier in list {
            writer.array(2);
            writer.uint(identifier.kind as u64);
            writer.bin(&identifier.digest);
        }
        *buffer = writer.bytes;
        Self(buffer)
    }

    /// No identifiers.
    pub const NONE: Identifiers<'static> = Identifiers(&[0x90]);
}

impl<'a> Params<'a> {
    /// The wire form of names and values, put into `buffer`.
    pub fn encode(list: &[(&str, impl AsRef<str>)], buffer: &'a mut Vec<u8>) -> Self {
        let bytes = list.iter().map(|(name, value)| name.len() + value.as_ref().len() + 4);
        let mut writer = Writer::with_capacity(3 + bytes.sum::<usize>());
        writer.map(list.len());
        for (name, value) in list {
            writer.str(name);
            writer.str(value.as_ref());
        }
        *buffer = writer.bytes;
        Self(buffer)
    }
}

impl Params<'_> {
    /// No parameters.
    pub const NONE: Params<'static> = Params(&[0x80]);
}

impl Client<'_> {
    /// A client of which nothing is known.
    pub const NONE: Client<'static> = Client {
        address_prefix: None,
        user_agent: None,
        referrer: None,
        network: None,
        request: None,
    };
}

impl super::Items<'_> {
    /// No items.
    pub const NONE: super::Items<'static> = super::Items(&[0x90]);
}
