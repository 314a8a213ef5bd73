//! The configuration in a brand's section: programs, event types, enrolments, promo codes, terms.

use std::sync::Arc;

use super::bytes::{Input, Output, Rising};
use super::section::{read_identifier, read_list, write_identifier};
use crate::attribution::rules::{ClassOrder, Model, Rules, TouchClass};
use crate::error::Error;
use crate::fraud::Layer;
use crate::identity::graph::OnConflict;
use crate::state::controls::{
    Controls, Enrolment, EventType, Owner, PartnerTerms, Program, PromoCode, Revised, Span, Terms,
    Versions,
};

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write_controls(out: &mut Output, controls: &Controls) {
    out.u64(controls.revision);
    out.count(controls.programs.len());
    for (number, versions) in &controls.programs {
        out.u64(*number);
        write_versions(out, versions, |out, program| {
            write_rules(out, &program.rules);
            write_layer(out, &program.fraud);
            write_strings(out, &program.sites);
            out.raw(&program.digest);
        });
    }
    out.count(controls.event_types().len());
    for (number, versions) in controls.event_types() {
        out.u64(*number);
        write_versions(out, versions, |out, kind| {
            out.optional(kind.program, Output::u64);
            out.optional(kind.window_ms, Output::u64);
            out.u8(u8::from(kind.is_lead));
            out.raw(&kind.digest);
        });
    }
    out.count(controls.enrolments.len());
    for ((program, partner), versions) in &controls.enrolments {
        out.u64(*program);
        out.u64(*partner);
        write_versions(out, versions, |out, enrolment| {
            out.u64(enrolment.number);
            out.u8(u8::from(enrolment.active));
            out.optional(enrolment.terms.as_deref(), write_terms);
            out.raw(&enrolment.digest);
        });
    }
    out.count(controls.promo_codes().len());
    for (number, versions) in controls.promo_codes() {
        out.u64(*number);
        write_versions(out, versions, |out, code| {
            out.optional(code.owner.as_ref(), write_owner);
            out.raw(&code.digest);
        });
    }
    out.count(controls.terms.all().len());
    for (number, versions) in controls.terms.all() {
        out.u64(*number);
        write_versions(out, versions, |out, terms| {
            out.optional(terms.span, write_span);
            out.optional(terms.window_ms, Output::u64);
            out.count(terms.event_windows_ms.len());
            for (event_type, window_ms) in &terms.event_windows_ms {
                out.u64(*event_type);
                out.u64(*window_ms);
            }
            out.raw(&terms.digest);
        });
    }
}

pub(super) fn read_controls(input: &mut Input<'_>) -> Result<Controls, Error> {
    let mut controls = Controls::default();
    controls.revision = input.u64()?;
    let mut numbers = Rising::new();
    for _ in 0..input.count()? {
        let number = numbers.next(input.u64()?)?;
        let versions = read_versions(input, |input, revision| {
            let (rules, fraud) = (read_rules(input)?, read_layer(input)?);
            let sites = read_strings(input)?;
            Ok(Program { revision, rules, fraud, sites, digest: input.array()? })
        })?;
        controls.programs.insert(number, versions);
    }
    let mut numbers = Rising::new();
    for _ in 0..input.count()? {
        let number = numbers.next(input.u64()?)?;
        let versions = read_versions(input, |input, revision| {
            let program = input.optional(Input::u64)?;
            let window_ms = input.optional(Input::u64)?;
            let is_lead = read_bool(input)?;
            Ok(EventType { revision, program, window_ms, is_lead, digest: input.array()? })
        })?;
        controls.restore_event_type(number, versions);
    }
    let mut pairs = Rising::new();
    for _ in 0..input.count()? {
        let pair = pairs.next((input.u64()?, input.u64()?))?;
        let versions = read_versions(input, |input, revision| {
            let (number, active) = (input.u64()?, read_bool(input)?);
            let terms = input.optional(read_terms)?.map(Arc::new);
            Ok(Enrolment { number, revision, active, terms, digest: input.array()? })
        })?;
        controls.restore_enrolment(pair, versions);
    }
    let mut numbers = Rising::new();
    for _ in 0..input.count()? {
        let number = numbers.next(input.u64()?)?;
        let versions = read_versions(input, |input, revision| {
            let owner = input.optional(read_owner)?;
            Ok(PromoCode { revision, owner, digest: input.array()? })
        })?;
        controls.restore_promo_code(number, versions);
    }
    let mut numbers = Rising::new();
    for _ in 0..input.count()? {
        let number = numbers.next(input.u64()?)?;
        controls.terms.restore(number, read_versions(input, read_contract)?);
    }
    Ok(controls)
}

fn read_contract(input: &mut Input<'_>, revision: u64) -> Result<Terms, Error> {
    let span = input.optional(read_span)?;
    let window_ms = input.optional(Input::u64)?;
    let mut numbers = Rising::new();
    let mut event_windows_ms = Vec::new();
    for _ in 0..input.count()? {
        event_windows_ms.push((numbers.next(input.u64()?)?, input.u64()?));
    }
    Ok(Terms { revision, span, window_ms, event_windows_ms, digest: input.array()? })
}

fn write_span(out: &mut Output, span: Span) {
    out.u64(span.program);
    out.u64(span.partner);
    out.u64(span.from_ms);
    out.optional(span.until_ms, Output::u64);
}

fn read_span(input: &mut Input<'_>) -> Result<Span, Error> {
    Ok(Span {
        program: input.u64()?,
        partner: input.u64()?,
        from_ms: input.u64()?,
        until_ms: input.optional(Input::u64)?,
    })
}

/// A layer is written in its own language: a map of one form.
pub(super) fn write_layer(out: &mut Output, layer: &Layer) {
    let bytes = layer.to_bytes();
    out.count(bytes.len());
    out.raw(&bytes);
}

pub(super) fn read_layer(input: &mut Input<'_>) -> Result<Layer, Error> {
    let count = input.count()?;
    let bytes = input.take(count)?;
    let layer = Layer::read(bytes);
    if layer.to_bytes() != bytes {
        return Err(DAMAGED);
    }
    Ok(layer)
}

pub(super) fn write_strings(out: &mut Output, strings: &[String]) {
    out.count(strings.len());
    for text in strings {
        out.str(text);
    }
}

pub(super) fn read_strings(input: &mut Input<'_>) -> Result<Vec<String>, Error> {
    (0..input.count()?).map(|_| input.str().map(str::to_owned)).collect()
}

fn write_terms(out: &mut Output, terms: &PartnerTerms) {
    write_layer(out, &terms.fraud);
    out.count(terms.identity.len());
    for identifier in &terms.identity {
        write_identifier(out, *identifier);
    }
}

fn read_terms(input: &mut Input<'_>) -> Result<PartnerTerms, Error> {
    let fraud = read_layer(input)?;
    let identity = read_list(input, read_identifier)?;
    Ok(PartnerTerms { fraud, identity })
}

fn write_versions<T: Revised>(
    out: &mut Output,
    versions: &Versions<T>,
    write_one: impl Fn(&mut Output, &T),
) {
    out.u8(u8::from(versions.is_cut()));
    out.count(versions.all().len());
    for version in versions.all() {
        out.u64(version.revision());
        write_one(out, version);
    }
}

fn read_versions<T: Revised>(
    input: &mut Input<'_>,
    read_one: impl Fn(&mut Input<'_>, u64) -> Result<T, Error>,
) -> Result<Versions<T>, Error> {
    let is_cut = read_bool(input)?;
    let mut versions = Vec::new();
    for _ in 0..input.count()? {
        let revision = input.u64()?;
        versions.push(read_one(input, revision)?);
    }
    Versions::of(versions, is_cut).ok_or(DAMAGED)
}

fn write_owner(out: &mut Output, owner: &Owner) {
    out.u64(owner.program);
    out.u64(owner.partner);
    out.raw(&owner.key);
    out.u8(u8::from(owner.active));
}

fn read_owner(input: &mut Input<'_>) -> Result<Owner, Error> {
    Ok(Owner {
        program: input.u64()?,
        partner: input.u64()?,
        key: input.array()?,
        active: read_bool(input)?,
    })
}

fn write_rules(out: &mut Output, rules: &Rules) {
    out.u8(rules.model as u8);
    for part in rules.position_ppm {
        out.u64(part);
    }
    out.u64(rules.half_life_ms);
    let classes = rules.class_order.as_slice();
    out.count(classes.len());
    for class in classes {
        out.u8(*class as u8);
    }
    out.u64(rules.click_window_ms);
    out.optional(rules.soft_click_window_ms, Output::u64);
    out.u64(rules.impression_window_ms);
    out.u8(u8::from(rules.named_click_wins));
    out.optional(rules.per_partner_latest, |out, value| out.u8(u8::from(value)));
    out.u8(match rules.on_conflict {
        OnConflict::LastAuth => 1,
        OnConflict::Isolate => 2,
    });
    for bound in [rules.members_max, rules.hops_max, rules.neighbours_max] {
        out.count(bound);
    }
}

fn read_rules(input: &mut Input<'_>) -> Result<Rules, Error> {
    Ok(Rules {
        model: read_choice(input, &Model::ALL, |model| model as u8)?,
        position_ppm: [input.u64()?, input.u64()?, input.u64()?],
        half_life_ms: input.u64()?,
        class_order: read_class_order(input)?,
        click_window_ms: input.u64()?,
        soft_click_window_ms: input.optional(Input::u64)?,
        impression_window_ms: input.u64()?,
        named_click_wins: read_bool(input)?,
        per_partner_latest: input.optional(read_bool)?,
        on_conflict: match input.u8()? {
            1 => OnConflict::LastAuth,
            2 => OnConflict::Isolate,
            _ => return Err(DAMAGED),
        },
        members_max: read_size(input)?,
        hops_max: read_size(input)?,
        neighbours_max: read_size(input)?,
    })
}

fn read_class_order(input: &mut Input<'_>) -> Result<ClassOrder, Error> {
    let read_class =
        |input: &mut Input<'_>| read_choice(input, &TouchClass::ALL, |class| class as u8);
    let count = input.count()?;
    let classes: Result<Vec<TouchClass>, Error> = (0..count).map(|_| read_class(input)).collect();
    ClassOrder::new(&classes?).ok_or(DAMAGED)
}

fn read_choice<T: Copy>(input: &mut Input<'_>, all: &[T], number: fn(T) -> u8) -> Result<T, Error> {
    let wanted = input.u8()?;
    all.iter().copied().find(|one| number(*one) == wanted).ok_or(DAMAGED)
}

pub(super) fn read_bool(input: &mut Input<'_>) -> Result<bool, Error> {
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DAMAGED),
    }
}

/// A size of a walk: small, and not bounded by what is left of the bytes.
fn read_size(input: &mut Input<'_>) -> Result<usize, Error> {
    usize::try_from(input.u64()?).map_err(|_| DAMAGED)
}
