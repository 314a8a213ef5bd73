//! The configuration the engine decides by: programs, event types and enrolments.
//!
//! Of two changes of one object the one with the larger revision wins, whatever the order in
//! which they arrive.

use std::collections::BTreeMap;

use crate::identity::digest::plain_digest;
use crate::limits::{Limits, WINDOW_DEFAULT_MS, WINDOW_MAX_MS};
use crate::msgpack::Reader;
use crate::record::Control;
use crate::Id;

/// A program or an event type in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Revision of the change in force.
    pub revision: u64,
    /// The click window in milliseconds; 0 in an event type.
    pub window_ms: u64,
    /// Digest of the value in force.
    pub digest: Id,
}

/// A partner in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The enrolment's own number.
    pub number: u64,
    /// Revision of the change in force.
    pub revision: u64,
    /// Whether its clicks may earn credit.
    pub active: bool,
    /// Digest of the value in force.
    pub digest: Id,
}

/// All configuration of one brand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// Programs by number.
    pub programs: BTreeMap<u64, Terms>,
    /// Event types by number.
    pub event_types: BTreeMap<u64, Terms>,
    /// Enrolments by program and partner.
    pub enrolments: BTreeMap<(u64, u64), Enrolment>,
}

#[derive(Default)]
struct Value<'a> {
    window_ms: Option<u64>,
    program: Option<u64>,
    partner: Option<u64>,
    status: Option<&'a str>,
}

impl<'a> Value<'a> {
    /// Reads the members the engine knows; members of another type count as missing.
    fn read(bytes: &'a [u8]) -> Self {
        let mut value = Self::default();
        let mut reader = Reader::new(bytes);
        for _ in 0..reader.map_max(usize::MAX).unwrap_or(0) {
            let (Ok(name), Ok(member)) = (reader.value(), reader.value()) else { break };
            let mut member = Reader::new(member);
            match Reader::new(name).str() {
                Ok("window_ms") => value.window_ms = member.uint().ok(),
                Ok("program") => value.program = member.uint().ok(),
                Ok("partner") => value.partner = member.uint().ok(),
                Ok("status") => value.status = member.str().ok(),
                _ => {}
            }
        }
        value
    }
}

impl Controls {
    /// Takes a change in; returns whether it is the newest of its object and was applied.
    /// Objects of other kinds are always taken, for nothing is kept of them.
    pub fn apply(&mut self, control: &Control<'_>, limits: &Limits) -> bool {
        let digest = plain_digest(&[control.value]);
        let value = Value::read(control.value);
        match control.object {
            "program" => {
                let window_ms = value.window_ms.unwrap_or(WINDOW_DEFAULT_MS).min(WINDOW_MAX_MS);
                let terms = Terms { revision: control.revision, window_ms, digest };
                replace(&mut self.programs, control.number, terms, limits.programs_max)
            }
            "event_type" => {
                let terms = Terms { revision: control.revision, window_ms: 0, digest };
                replace(&mut self.event_types, control.number, terms, limits.programs_max)
            }
            "enrolment" => {
                let active = value.status.is_none_or(|status| status == "active");
                let enrolment = Enrolment {
                    number: control.number,
                    revision: control.revision,
                    active: active && value.program.is_some(),
                    digest,
                };
                let pair = value.program.zip(value.partner);
                self.enrol(pair, enrolment, limits.enrolments_max)
            }
            _ => true,
        }
    }

    /// A deleted enrolment comes without its program and partner: they are looked up.
    fn enrol(&mut self, pair: Option<(u64, u64)>, new: Enrolment, entries_max: usize) -> bool {
        let by_number = || {
            let found = self.enrolments.iter().find(|(_, old)| old.number == new.number);
            found.map(|(pair, _)| *pair)
        };
        let Some(pair) = pair.or_else(by_number) else { return false };
        match self.enrolments.get(&pair) {
            Some(old) if old.revision >= new.revision => return false,
            None if self.enrolments.len() >= entries_max => return false,
            _ => self.enrolments.insert(pair, new),
        };
        true
    }

    /// The click window of a program, in milliseconds.
    pub fn window_ms(&self, program: u64) -> u64 {
        self.programs.get(&program).map_or(WINDOW_DEFAULT_MS, |terms| terms.window_ms)
    }

    /// Whether a partner's clicks may earn credit; an unknown enrolment may.
    pub fn is_active(&self, program: u64, partner: u64) -> bool {
        self.enrolments.get(&(program, partner)).is_none_or(|enrolment| enrolment.active)
    }

    /// Digest of the values in force for a decision: the program's, the event type's and the
    /// enrolments of the partners that were candidates.
    pub fn config_hash(&self, program: u64, event_type: u64, partners: &[u64]) -> Id {
        const ABSENT: Id = [0; 16];
        let terms = self.programs.get(&program).map_or(&ABSENT, |terms| &terms.digest);
        let kind = self.event_types.get(&event_type).map_or(&ABSENT, |terms| &terms.digest);
        let mut parts: Vec<&[u8]> = vec![terms, kind];
        for partner in partners {
            let enrolment = self.enrolments.get(&(program, *partner));
            parts.push(enrolment.map_or(&ABSENT, |enrolment| &enrolment.digest));
        }
        plain_digest(&parts)
    }
}

fn replace(map: &mut BTreeMap<u64, Terms>, number: u64, new: Terms, entries_max: usize) -> bool {
    match map.get(&number) {
        Some(old) if old.revision >= new.revision => return false,
        None if map.len() >= entries_max => return false,
        _ => map.insert(number, new),
    };
    true
}
