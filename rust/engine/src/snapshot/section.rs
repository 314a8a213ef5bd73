//! The section of one brand.

use std::sync::Arc;

use super::bytes::{Input, Output};
use super::BrandView;
use crate::error::Error;
use crate::identity::index::{Link, Node, NodeClick};
use crate::identity::{Identifier, IdentifierType};
use crate::record::Trust;
use crate::state::brand::{Gone, LiveClick};
use crate::state::controls::{Controls, Enrolment, Terms};
use crate::state::cow::{CowKey, CowMap};
use crate::state::due::Due;
use crate::state::orders::{Content, Order};
use crate::Id;

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write(out: &mut Output, brand: &BrandView) {
    write_controls(out, &brand.controls);
    write_due(out, &brand.clicks, |out, click| {
        out.u64(click.program);
        out.u64(click.partner);
        out.u64(click.touch_ms);
    });
    write_due(out, &brand.gone, |out, why| out.u8(*why as u8));
    write_due(out, &brand.orders, write_order);
    write_due(out, &brand.recent, |_, ()| {});
    let nodes = brand.nodes.sorted();
    out.count(nodes.len());
    for (key, node) in nodes {
        write_identifier(out, *key);
        write_node(out, node);
    }
}

pub(super) fn read(input: &mut Input<'_>) -> Result<BrandView, Error> {
    Ok(BrandView {
        controls: Arc::new(read_controls(input)?),
        clicks: read_due(input, |input| {
            Ok(LiveClick { program: input.u64()?, partner: input.u64()?, touch_ms: input.u64()? })
        })?,
        gone: read_due(input, |input| match input.u8()? {
            1 => Ok(Gone::Expired),
            2 => Ok(Gone::Evicted),
            _ => Err(DAMAGED),
        })?,
        orders: read_due(input, read_order)?,
        recent: read_due(input, |_| Ok(()))?,
        nodes: read_map(input, read_identifier, read_node)?,
    })
}

fn read_map<K: CowKey, V: Clone>(
    input: &mut Input<'_>,
    read_key: fn(&mut Input<'_>) -> Result<K, Error>,
    read_value: impl Fn(&mut Input<'_>) -> Result<V, Error>,
) -> Result<CowMap<K, V>, Error> {
    let mut map = CowMap::default();
    for _ in 0..input.count()? {
        let key = read_key(input)?;
        map.insert(key, read_value(input)?);
    }
    Ok(map)
}

fn write_due<V: Clone>(
    out: &mut Output,
    map: &CowMap<Id, Due<V>>,
    write_value: impl Fn(&mut Output, &V),
) {
    let entries = map.sorted();
    out.count(entries.len());
    for (id, due) in entries {
        out.raw(id);
        out.u64(due.due_ms);
        write_value(out, &due.value);
    }
}

fn read_due<V: Clone>(
    input: &mut Input<'_>,
    read_value: impl Fn(&mut Input<'_>) -> Result<V, Error>,
) -> Result<CowMap<Id, Due<V>>, Error> {
    read_map(
        input,
        |input| input.array(),
        |input| Ok(Due { due_ms: input.u64()?, value: read_value(input)? }),
    )
}

fn write_identifier(out: &mut Output, key: Identifier) {
    out.u8(key.kind as u8);
    out.raw(&key.digest);
}

fn read_identifier(input: &mut Input<'_>) -> Result<Identifier, Error> {
    let kind = IdentifierType::from_number(u64::from(input.u8()?)).map_err(|_| DAMAGED)?;
    Ok(Identifier { kind, digest: input.array()? })
}

fn write_terms(out: &mut Output, number: u64, terms: &Terms) {
    out.u64(number);
    out.u64(terms.revision);
    out.u64(terms.window_ms);
    out.raw(&terms.digest);
}

fn read_terms(input: &mut Input<'_>) -> Result<(u64, Terms), Error> {
    let number = input.u64()?;
    let (revision, window_ms) = (input.u64()?, input.u64()?);
    Ok((number, Terms { revision, window_ms, digest: input.array()? }))
}

fn write_controls(out: &mut Output, controls: &Controls) {
    for terms_by_number in [&controls.programs, &controls.event_types] {
        out.count(terms_by_number.len());
        for (number, terms) in terms_by_number {
            write_terms(out, *number, terms);
        }
    }
    out.count(controls.enrolments.len());
    for ((program, partner), enrolment) in &controls.enrolments {
        out.u64(*program);
        out.u64(*partner);
        out.u64(enrolment.number);
        out.u64(enrolment.revision);
        out.u8(u8::from(enrolment.active));
        out.raw(&enrolment.digest);
    }
}

fn read_controls(input: &mut Input<'_>) -> Result<Controls, Error> {
    let mut controls = Controls::default();
    for terms_by_number in [&mut controls.programs, &mut controls.event_types] {
        for _ in 0..input.count()? {
            let (number, terms) = read_terms(input)?;
            terms_by_number.insert(number, terms);
        }
    }
    for _ in 0..input.count()? {
        let pair = (input.u64()?, input.u64()?);
        let enrolment = Enrolment {
            number: input.u64()?,
            revision: input.u64()?,
            active: input.u8()? == 1,
            digest: input.array()?,
        };
        controls.enrolments.insert(pair, enrolment);
    }
    Ok(controls)
}

fn write_content(out: &mut Output, content: &Content) {
    out.raw(&content.digest);
    out.u64(content.amount_minor.cast_unsigned());
    out.str(&content.currency);
    out.optional(content.click_id, |out, id| out.raw(&id));
    out.count(content.identifiers.len());
    for identifier in &content.identifiers {
        write_identifier(out, *identifier);
    }
}

fn read_content(input: &mut Input<'_>) -> Result<Content, Error> {
    Ok(Content {
        digest: input.array()?,
        amount_minor: input.u64()?.cast_signed(),
        currency: input.str()?.into(),
        click_id: input.optional(Input::array)?,
        identifiers: read_list(input, read_identifier)?,
    })
}

fn write_order(out: &mut Output, order: &Order) {
    out.u64(order.program);
    out.u64(order.event_type);
    out.optional(order.order_id.as_deref(), Output::str);
    out.str(&order.line);
    out.u64(order.accept_ms);
    out.u64(order.occurred_ms);
    out.u64(order.flags);
    out.optional(order.server.as_ref(), write_content);
    out.optional(order.browser.as_ref(), write_content);
    out.u64(order.revision);
    out.raw(&order.decision);
}

fn read_order(input: &mut Input<'_>) -> Result<Order, Error> {
    Ok(Order {
        program: input.u64()?,
        event_type: input.u64()?,
        order_id: input.optional(|input| input.str().map(Into::into))?,
        line: input.str()?.into(),
        accept_ms: input.u64()?,
        occurred_ms: input.u64()?,
        flags: input.u64()?,
        server: input.optional(read_content)?,
        browser: input.optional(read_content)?,
        revision: input.u64()?,
        decision: input.array()?,
    })
}

fn read_list<T>(
    input: &mut Input<'_>,
    read_one: fn(&mut Input<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let count = input.count()?;
    (0..count).map(|_| read_one(input)).collect()
}

fn write_node(out: &mut Output, node: &Node) {
    out.u64(node.first_ms);
    out.u64(node.last_ms);
    out.count(node.links.len());
    for link in &node.links {
        write_identifier(out, link.to);
        out.u8(link.trust as u8);
        out.u64(link.first_ms);
        out.u64(link.last_ms);
        out.raw(&link.event_id);
    }
    out.count(node.clicks.len());
    for click in &node.clicks {
        out.u64(click.touch_ms);
        out.raw(&click.click_id);
    }
}

fn read_node(input: &mut Input<'_>) -> Result<Node, Error> {
    Ok(Node {
        first_ms: input.u64()?,
        last_ms: input.u64()?,
        links: read_list(input, read_link)?,
        clicks: read_list(input, |input| {
            Ok(NodeClick { touch_ms: input.u64()?, click_id: input.array()? })
        })?,
    })
}

fn read_link(input: &mut Input<'_>) -> Result<Link, Error> {
    Ok(Link {
        to: read_identifier(input)?,
        trust: Trust::from_number(u64::from(input.u8()?)).map_err(|_| DAMAGED)?,
        first_ms: input.u64()?,
        last_ms: input.u64()?,
        event_id: input.array()?,
    })
}
