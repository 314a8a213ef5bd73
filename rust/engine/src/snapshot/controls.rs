//! The configuration in a brand's section: programs, event types, enrolments and promo codes.

use super::bytes::{Input, Output};
use crate::attribution::rules::{ClassOrder, Model, Rules, TouchClass};
use crate::error::Error;
use crate::identity::graph::OnConflict;
use crate::state::controls::{Controls, Enrolment, EventType, Owner, Program, PromoCode};

const DAMAGED: Error = Error::Snapshot("damaged");

pub(super) fn write_controls(out: &mut Output, controls: &Controls) {
    out.count(controls.programs.len());
    for (number, program) in &controls.programs {
        out.u64(*number);
        out.u64(program.revision);
        write_rules(out, &program.rules);
        out.raw(&program.digest);
    }
    out.count(controls.event_types().len());
    for (number, kind) in controls.event_types() {
        out.u64(*number);
        out.u64(kind.revision);
        out.optional(kind.program, Output::u64);
        out.optional(kind.window_ms, Output::u64);
        out.raw(&kind.digest);
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
    out.count(controls.promo_codes().len());
    for (number, code) in controls.promo_codes() {
        out.u64(*number);
        out.u64(code.revision);
        out.optional(code.owner.as_ref(), |out, owner| {
            out.u64(owner.program);
            out.u64(owner.partner);
            out.raw(&owner.key);
            out.u8(u8::from(owner.active));
        });
        out.raw(&code.digest);
    }
}

pub(super) fn read_controls(input: &mut Input<'_>) -> Result<Controls, Error> {
    let mut controls = Controls::default();
    for _ in 0..input.count()? {
        let (number, revision) = (input.u64()?, input.u64()?);
        let rules = read_rules(input)?;
        controls.programs.insert(number, Program { revision, rules, digest: input.array()? });
    }
    for _ in 0..input.count()? {
        let number = input.u64()?;
        let kind = EventType {
            revision: input.u64()?,
            program: input.optional(Input::u64)?,
            window_ms: input.optional(Input::u64)?,
            digest: input.array()?,
        };
        controls.put_event_type(number, kind);
    }
    for _ in 0..input.count()? {
        let pair = (input.u64()?, input.u64()?);
        let enrolment = Enrolment {
            number: input.u64()?,
            revision: input.u64()?,
            active: read_bool(input)?,
            digest: input.array()?,
        };
        controls.enrolments.insert(pair, enrolment);
    }
    for _ in 0..input.count()? {
        let (number, revision) = (input.u64()?, input.u64()?);
        let owner = input.optional(read_owner)?;
        controls.put_promo_code(number, PromoCode { revision, owner, digest: input.array()? });
    }
    Ok(controls)
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

fn read_bool(input: &mut Input<'_>) -> Result<bool, Error> {
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
