//! The section of one brand.

use std::sync::Arc;

use super::bytes::{Input, Output, Rising};
use super::controls::{read_bool, read_controls, write_controls};
use super::evidence::{
    read_basis, read_facts, read_repeats, read_sources, write_basis, write_facts, write_repeats,
    write_sources,
};
use super::fraud::{read_fraud, write_fraud};
use super::rows::{read_clicks, read_graph, read_recent, write_clicks, write_graph, write_recent};
use super::BrandView;
use crate::error::Error;
use crate::identity::{Identifier, IdentifierType};
use crate::state::brand::Gone;
use crate::state::cow::{CowKey, CowMap};
use crate::state::due::Due;
use crate::state::orders::{Content, Order};
use crate::Id;

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write(out: &mut Output, brand: &BrandView) {
    write_controls(out, &brand.controls);
    write_clicks(out, &brand.clicks);
    write_due(out, &brand.gone, |out, why| out.u8(*why as u8));
    write_due(out, &brand.orders, write_order);
    write_recent(out, &brand.recent);
    write_graph(out, &brand.graph);
    write_fraud(out, &brand.fraud);
    write_sources(out, &brand.sources);
    write_repeats(out, &brand.repeats);
}

pub(super) fn read(input: &mut Input<'_>) -> Result<BrandView, Error> {
    Ok(BrandView {
        controls: Arc::new(read_controls(input)?),
        clicks: read_clicks(input)?,
        gone: read_due(input, |input| match input.u8()? {
            1 => Ok(Gone::Expired),
            2 => Ok(Gone::Evicted),
            4 => Ok(Gone::Erased),
            _ => Err(DAMAGED),
        })?,
        orders: read_due(input, read_order)?,
        recent: read_recent(input)?,
        graph: read_graph(input)?,
        fraud: read_fraud(input)?,
        sources: read_sources(input)?,
        repeats: read_repeats(input)?,
    })
}

fn read_map<K: CowKey, V: Clone>(
    input: &mut Input<'_>,
    read_key: fn(&mut Input<'_>) -> Result<K, Error>,
    read_value: impl Fn(&mut Input<'_>) -> Result<V, Error>,
) -> Result<CowMap<K, V>, Error> {
    let (mut map, mut keys) = (CowMap::default(), Rising::new());
    for _ in 0..input.count()? {
        let key = keys.next(read_key(input)?)?;
        map.insert(key, read_value(input)?);
    }
    Ok(map)
}

pub(super) fn write_due<V: Clone>(
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

pub(super) fn read_due<V: Clone>(
    input: &mut Input<'_>,
    read_value: impl Fn(&mut Input<'_>) -> Result<V, Error>,
) -> Result<CowMap<Id, Due<V>>, Error> {
    read_map(
        input,
        |input| input.array(),
        |input| Ok(Due { due_ms: input.u64()?, value: read_value(input)? }),
    )
}

pub(super) fn write_identifier(out: &mut Output, key: Identifier) {
    out.u8(key.kind as u8);
    out.raw(&key.digest);
}

pub(super) fn read_identifier(input: &mut Input<'_>) -> Result<Identifier, Error> {
    let kind = IdentifierType::from_number(u64::from(input.u8()?)).map_err(|_| DAMAGED)?;
    Ok(Identifier { kind, digest: input.array()? })
}

fn write_content(out: &mut Output, content: &Content) {
    out.raw(&content.digest);
    out.u64(content.amount_minor.cast_unsigned());
    out.str(&content.currency);
    out.optional(content.click_id, |out, id| out.raw(&id));
    out.optional(content.promo_code, |out, key| out.raw(&key));
    out.count(content.identifiers.len());
    for identifier in &content.identifiers {
        write_identifier(out, *identifier);
    }
    write_facts(out, &content.facts);
}

fn read_content(input: &mut Input<'_>) -> Result<Content, Error> {
    Ok(Content {
        digest: input.array()?,
        amount_minor: input.u64()?.cast_signed(),
        currency: input.str()?.into(),
        click_id: input.optional(Input::array)?,
        promo_code: input.optional(Input::array)?,
        identifiers: read_list(input, read_identifier)?,
        facts: read_facts(input)?,
    })
}

fn write_order(out: &mut Output, order: &Order) {
    out.u64(order.program);
    out.u64(order.event_type);
    out.optional(order.order_id.as_deref(), Output::str);
    out.str(&order.line);
    out.u64(order.accept_ms);
    out.u64(order.occurred_ms);
    out.u64(order.config_revision);
    out.u8(u8::from(order.is_by_servers));
    out.u8(u8::from(order.is_final));
    out.u64(order.flags);
    out.optional(order.server.as_ref(), write_content);
    out.optional(order.browser.as_ref(), write_content);
    out.u64(order.revision);
    out.raw(&order.decision);
    write_basis(out, &order.basis);
}

fn read_order(input: &mut Input<'_>) -> Result<Order, Error> {
    Ok(Order {
        program: input.u64()?,
        event_type: input.u64()?,
        order_id: input.optional(|input| input.str().map(Into::into))?,
        line: input.str()?.into(),
        accept_ms: input.u64()?,
        occurred_ms: input.u64()?,
        config_revision: input.u64()?,
        is_by_servers: read_bool(input)?,
        is_final: read_bool(input)?,
        flags: input.u64()?,
        server: input.optional(read_content)?,
        browser: input.optional(read_content)?,
        revision: input.u64()?,
        decision: input.array()?,
        basis: read_basis(input)?,
    })
}

pub(super) fn read_list<T>(
    input: &mut Input<'_>,
    read_one: fn(&mut Input<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let count = input.count()?;
    (0..count).map(|_| read_one(input)).collect()
}
