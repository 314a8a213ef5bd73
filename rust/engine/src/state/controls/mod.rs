//! The configuration the engine decides by: programs, event types, enrolments and promo codes.
//!
//! Of two changes of one object the one with the larger revision wins, whatever the order in
//! which they arrive.

mod promo;

use std::collections::{BTreeMap, BTreeSet};

pub use promo::{promo_key, Owner, PromoCode};

use crate::attribution::rules::{for_members, window, Rules, TouchClass};
use crate::identity::digest::plain_digest;
use crate::limits::Limits;
use crate::msgpack::Reader;
use crate::record::Control;
use crate::Id;

/// Stands in a digest of configuration for what is not there.
const ABSENT: Id = [0; 16];

/// A program in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Revision of the change in force.
    pub revision: u64,
    /// What its touches earn.
    pub rules: Rules,
    /// Digest of the value in force.
    pub digest: Id,
}

/// An event type in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType {
    /// Revision of the change in force.
    pub revision: u64,
    /// Its program's number; `None` once it is deleted.
    pub program: Option<u64>,
    /// Its own click window in milliseconds.
    pub window_ms: Option<u64>,
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
    pub programs: BTreeMap<u64, Program>,
    /// Enrolments by program and partner.
    pub enrolments: BTreeMap<(u64, u64), Enrolment>,
    event_types: BTreeMap<u64, EventType>,
    promo_codes: BTreeMap<u64, PromoCode>,
    /// Program, window and number of each event type with a window of its own.
    event_windows: BTreeSet<(u64, u64, u64)>,
    /// Places of the promo codes that are not deleted.
    codes: BTreeSet<promo::Place>,
}

#[derive(Default)]
struct Value<'a> {
    window_ms: Option<u64>,
    program: Option<u64>,
    partner: Option<u64>,
    status: Option<&'a str>,
    code: Option<&'a str>,
}

impl<'a> Value<'a> {
    /// Reads the members the engine knows; members of another type count as missing.
    fn read(bytes: &'a [u8]) -> Self {
        let mut value = Self::default();
        for_members(bytes, |name, member| {
            let mut reader = Reader::new(member);
            match name {
                "window_ms" => value.window_ms = window(reader),
                "program" => value.program = reader.uint().ok(),
                "partner" => value.partner = reader.uint().ok(),
                "status" => value.status = reader.str().ok(),
                "code" => value.code = reader.str().ok(),
                _ => {}
            }
        });
        value
    }

    fn is_active(&self) -> bool {
        self.status.is_none_or(|status| status == "active")
    }
}

impl Controls {
    /// Takes a change in; returns whether it is the newest of its object and was applied.
    /// Objects of other kinds are always taken, for nothing is kept of them.
    pub fn apply(&mut self, control: &Control<'_>, limits: &Limits) -> bool {
        let Control { object, number, revision, value: bytes } = *control;
        let digest = plain_digest(&[bytes]);
        let value = Value::read(bytes);
        match object {
            "program" => {
                let old = self.programs.get(&number).map(|old| old.revision);
                let is_taken = is_newer(old, revision, self.programs.len(), limits.programs_max);
                if is_taken {
                    let program = Program { revision, rules: Rules::read(bytes), digest };
                    self.programs.insert(number, program);
                }
                is_taken
            }
            "event_type" => {
                let Value { program, window_ms, .. } = value;
                let kind = EventType { revision, program, window_ms, digest };
                let old = self.event_types.get(&number).map(|old| old.revision);
                is_newer(old, revision, self.event_types.len(), limits.programs_max)
                    && self.put_event_type(number, kind)
            }
            "enrolment" => {
                let active = value.is_active() && value.program.is_some();
                let enrolment = Enrolment { number, revision, active, digest };
                self.enrol(value.program.zip(value.partner), enrolment, limits.enrolments_max)
            }
            "promo_code" => {
                let code = PromoCode { revision, owner: value.owner(), digest };
                let old = self.promo_codes.get(&number).map(|old| old.revision);
                is_newer(old, revision, self.promo_codes.len(), limits.promo_codes_max)
                    && self.put_promo_code(number, code)
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
        let old = self.enrolments.get(&pair).map(|old| old.revision);
        let is_taken = is_newer(old, new.revision, self.enrolments.len(), entries_max);
        if is_taken {
            self.enrolments.insert(pair, new);
        }
        is_taken
    }

    /// Event types by number.
    pub fn event_types(&self) -> &BTreeMap<u64, EventType> {
        &self.event_types
    }

    /// Promo codes by number, deleted ones included.
    pub fn promo_codes(&self) -> &BTreeMap<u64, PromoCode> {
        &self.promo_codes
    }

    /// Puts an event type in the place of its number's former one; returns true.
    pub(crate) fn put_event_type(&mut self, number: u64, new: EventType) -> bool {
        let place = |kind: EventType| kind.program.zip(kind.window_ms).map(|(p, w)| (p, w, number));
        if let Some(old) = self.event_types.insert(number, new.clone()).and_then(place) {
            self.event_windows.remove(&old);
        }
        self.event_windows.extend(place(new));
        true
    }

    /// Puts a promo code in the place of its number's former one; returns true.
    pub(crate) fn put_promo_code(&mut self, number: u64, new: PromoCode) -> bool {
        let place = new.place(number);
        let old = self.promo_codes.insert(number, new);
        if let Some(old) = old.and_then(|old| old.place(number)) {
            self.codes.remove(&old);
        }
        self.codes.extend(place);
        true
    }

    /// The rules of a program; the defaults when it is not known.
    pub fn rules(&self, program: u64) -> Rules {
        self.programs.get(&program).map_or_else(Rules::default, |program| program.rules)
    }

    /// The click window of an event type's own, in milliseconds.
    pub fn event_window_ms(&self, event_type: u64) -> Option<u64> {
        self.event_types.get(&event_type)?.window_ms
    }

    /// The longest window in which any touch may earn in a program, over all its event types, in
    /// milliseconds: clicks are kept that long, and a grace.
    pub fn longest_window_ms(&self, program: u64) -> u64 {
        let rules = self.rules(program);
        let windows = self.event_windows.range((program, 0, 0)..=(program, u64::MAX, u64::MAX));
        let longest_ms = windows.last().map(|(_, window_ms, _)| *window_ms);
        let of_classes = [TouchClass::Click, TouchClass::SoftClick, TouchClass::Impression]
            .map(|class| rules.window_ms(class, None).max(rules.window_ms(class, longest_ms)));
        of_classes.into_iter().max().unwrap_or_default()
    }

    /// Whether a partner's clicks may earn credit; an unknown enrolment may.
    pub fn is_active(&self, program: u64, partner: u64) -> bool {
        self.enrolments.get(&(program, partner)).is_none_or(|enrolment| enrolment.active)
    }

    /// The promo code of a program by [`promo_key`]: of several the active one of the largest
    /// revision. `None` when none is active.
    pub fn promo_code(&self, program: u64, key: &Id) -> Option<&PromoCode> {
        let (first, last) = promo::places(program, *key);
        let number = self.codes.range(first..=last).last()?.number;
        self.promo_codes.get(&number)
    }

    /// Digest of the values in force for a decision: the program's, the event type's, those
    /// of the promo codes used, and the enrolments of the partners that were candidates.
    pub fn config_hash(
        &self,
        program: u64,
        event_type: u64,
        promo_codes: &[&PromoCode],
        partners: &[u64],
    ) -> Id {
        let terms = self.programs.get(&program).map_or(&ABSENT, |program| &program.digest);
        let kind = self.event_types.get(&event_type).map_or(&ABSENT, |kind| &kind.digest);
        let mut parts: Vec<&[u8]> = vec![terms, kind];
        parts.extend(promo_codes.iter().map(|code| code.digest.as_slice()));
        parts.push(&ABSENT);
        for partner in partners {
            let enrolment = self.enrolments.get(&(program, *partner));
            parts.push(enrolment.map_or(&ABSENT, |enrolment| &enrolment.digest));
        }
        plain_digest(&parts)
    }
}

/// Whether a change of an object is to be taken: the newest, or the first within the bound.
fn is_newer(old: Option<u64>, revision: u64, entries: usize, entries_max: usize) -> bool {
    match old {
        Some(old) => revision > old,
        None => entries < entries_max,
    }
}
