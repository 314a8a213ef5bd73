//! The configuration the engine decides by: programs, event types, enrolments, promo codes, terms.
//!
//! Of two changes of one object the one with the larger revision wins, whatever the order in
//! which they arrive. Questions are asked as of a revision: what an object was is kept for a while.

mod fraud;
mod promo;
mod terms;
mod versions;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use fraud::PartnerTerms;
pub use promo::{promo_key, Owner, PromoCode};
pub use terms::{Span, Terms, TermsBook};
pub use versions::{Revised, Versions};

use crate::attribution::rules::{for_members, window, Rules, TouchClass};
use crate::fraud::Layer;
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
    /// What it says of the rules of fraud scoring.
    pub fraud: Layer,
    /// Domains of its own site, sorted.
    pub sites: Vec<String>,
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
    /// Whether it is a lead: what a person does once.
    pub is_lead: bool,
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
    /// What few enrolments say: of millions the rest take up a word.
    pub terms: Option<Arc<PartnerTerms>>,
    /// Digest of the value in force.
    pub digest: Id,
}

impl EventType {
    /// Program, window and number, if it has a window of its own.
    fn place(&self, number: u64) -> Option<(u64, u64, u64)> {
        self.program.zip(self.window_ms).map(|(program, window_ms)| (program, window_ms, number))
    }
}

impl Revised for Program {
    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Revised for EventType {
    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Revised for Enrolment {
    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Revised for PromoCode {
    fn revision(&self) -> u64 {
        self.revision
    }
}

/// All configuration of one brand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// Programs by number.
    pub programs: BTreeMap<u64, Versions<Program>>,
    /// Enrolments by program and partner.
    pub enrolments: BTreeMap<(u64, u64), Versions<Enrolment>>,
    /// The newest revision taken.
    pub revision: u64,
    /// What contracts say of windows.
    pub terms: TermsBook,
    event_types: BTreeMap<u64, Versions<EventType>>,
    promo_codes: BTreeMap<u64, Versions<PromoCode>>,
    /// Program, window and number of each event type with a window of its own.
    event_windows: BTreeSet<(u64, u64, u64)>,
    /// Places of every kept version of a promo code that may earn.
    codes: BTreeSet<promo::Place>,
    /// Program and partner of each enrolment of which a kept version has terms.
    with_terms: BTreeSet<(u64, u64)>,
    ready: fraud::Ready,
}

#[derive(Default)]
struct Value<'a> {
    window_ms: Option<u64>,
    event_windows_ms: Option<&'a [u8]>,
    from_ms: Option<u64>,
    until_ms: Option<u64>,
    program: Option<u64>,
    partner: Option<u64>,
    kind: Option<&'a str>,
    status: Option<&'a str>,
    code: Option<&'a str>,
    fraud: Option<&'a [u8]>,
    identity: Option<&'a [u8]>,
    destination_url: Option<&'a str>,
    deep_link_hosts: Option<&'a [u8]>,
}

impl<'a> Value<'a> {
    /// Reads the members the engine knows; members of another type count as missing.
    fn read(bytes: &'a [u8]) -> Self {
        let mut value = Self::default();
        for_members(bytes, |name, member| {
            let mut reader = Reader::new(member);
            match name {
                "window_ms" => value.window_ms = window(reader),
                "event_windows_ms" => value.event_windows_ms = Some(member),
                "from_ms" => value.from_ms = reader.uint().ok(),
                "until_ms" => value.until_ms = reader.uint().ok(),
                "program" => value.program = reader.uint().ok(),
                "partner" => value.partner = reader.uint().ok(),
                "status" => value.status = reader.str().ok(),
                "code" => value.code = reader.str().ok(),
                "kind" => value.kind = reader.str().ok(),
                "fraud" => value.fraud = Some(member),
                "identity" => value.identity = Some(member),
                "destination_url" => value.destination_url = reader.str().ok(),
                "deep_link_hosts" => value.deep_link_hosts = Some(member),
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
        let is_taken = match object {
            "program" => {
                let fraud = value.fraud.map(Layer::read).unwrap_or_default();
                let sites = fraud::sites(&value);
                let program = Program { revision, rules: Rules::read(bytes), fraud, sites, digest };
                is_newer(
                    self.programs.get(&number),
                    revision,
                    self.programs.len(),
                    limits.programs_max,
                ) && self.put_program(number, program)
            }
            "event_type" => {
                let Value { program, window_ms, kind, .. } = value;
                let is_lead = kind == Some("lead");
                let kind = EventType { revision, program, window_ms, is_lead, digest };
                let (old, count) = (self.event_types.get(&number), self.event_types.len());
                is_newer(old, revision, count, limits.programs_max)
                    && self.put_event_type(number, kind)
            }
            "enrolment" => {
                let active = value.is_active() && value.program.is_some();
                let terms = PartnerTerms::of(&value);
                let enrolment = Enrolment { number, revision, active, terms, digest };
                self.enrol(value.program.zip(value.partner), enrolment, limits.enrolments_max)
            }
            "promo_code" => {
                let code = PromoCode { revision, owner: value.owner(), digest };
                let (old, count) = (self.promo_codes.get(&number), self.promo_codes.len());
                is_newer(old, revision, count, limits.promo_codes_max)
                    && self.put_promo_code(number, code)
            }
            "terms" => {
                let terms = Terms::of(&value, revision, digest);
                self.terms.apply(number, terms, limits.enrolments_max)
            }
            _ => true,
        };
        if is_taken {
            self.ready.clear();
            self.revision = self.revision.max(revision);
        }
        is_taken
    }

    /// A deleted enrolment comes without its program and partner: they are looked up.
    fn enrol(&mut self, pair: Option<(u64, u64)>, new: Enrolment, entries_max: usize) -> bool {
        let by_number = || {
            let is_it =
                |old: &Versions<Enrolment>| old.now().is_some_and(|old| old.number == new.number);
            let found = self.enrolments.iter().find(|(_, old)| is_it(old));
            found.map(|(pair, _)| *pair)
        };
        let Some(pair) = pair.or_else(by_number) else { return false };
        let (old, count) = (self.enrolments.get(&pair), self.enrolments.len());
        is_newer(old, new.revision, count, entries_max) && {
            put(&mut self.enrolments, pair, new);
            self.note_terms(pair);
            true
        }
    }

    fn note_terms(&mut self, pair: (u64, u64)) {
        if self.enrolments.get(&pair).is_some_and(fraud::have_terms) {
            self.with_terms.insert(pair);
        } else {
            self.with_terms.remove(&pair);
        }
    }

    /// Puts back what a snapshot holds of an enrolment.
    pub(crate) fn restore_enrolment(&mut self, pair: (u64, u64), versions: Versions<Enrolment>) {
        self.enrolments.insert(pair, versions);
        self.note_terms(pair);
    }

    fn put_program(&mut self, number: u64, new: Program) -> bool {
        put(&mut self.programs, number, new);
        true
    }

    /// Event types by number.
    pub fn event_types(&self) -> &BTreeMap<u64, Versions<EventType>> {
        &self.event_types
    }

    /// Promo codes by number, deleted ones included.
    pub fn promo_codes(&self) -> &BTreeMap<u64, Versions<PromoCode>> {
        &self.promo_codes
    }

    fn put_event_type(&mut self, number: u64, new: EventType) -> bool {
        let former = self.event_types.get(&number).and_then(Versions::now);
        if let Some(place) = former.and_then(|former| former.place(number)) {
            self.event_windows.remove(&place);
        }
        self.event_windows.extend(new.place(number));
        put(&mut self.event_types, number, new);
        true
    }

    fn put_promo_code(&mut self, number: u64, new: PromoCode) -> bool {
        self.codes.extend(new.place(number));
        let gone = put(&mut self.promo_codes, number, new);
        if let Some(place) = gone.and_then(|gone| gone.place(number)) {
            self.codes.remove(&place);
        }
        true
    }

    /// Puts back what a snapshot holds of an event type.
    pub(crate) fn restore_event_type(&mut self, number: u64, versions: Versions<EventType>) {
        self.event_windows.extend(versions.now().and_then(|kind| kind.place(number)));
        self.event_types.insert(number, versions);
    }

    /// Puts back what a snapshot holds of a promo code.
    pub(crate) fn restore_promo_code(&mut self, number: u64, versions: Versions<PromoCode>) {
        self.codes.extend(versions.all().iter().filter_map(|code| code.place(number)));
        self.promo_codes.insert(number, versions);
    }

    /// The rules of a program as of a revision; the defaults when it is not known.
    pub fn rules(&self, program: u64, revision: u64) -> Rules {
        let found = self.programs.get(&program).and_then(|versions| versions.at(revision));
        found.map_or_else(Rules::default, |program| program.rules)
    }

    /// The click window that stands before the program's, in milliseconds, for a partner's
    /// touches and a conversion of a time: that of the partner's terms, else the event type's own.
    pub fn own_window_ms(
        &self,
        pair: (u64, u64),
        event_type: u64,
        at_ms: u64,
        revision: u64,
    ) -> Option<u64> {
        let agreed = self.terms.window_ms(pair, event_type, at_ms, revision);
        agreed.or_else(|| self.event_types.get(&event_type)?.at(revision)?.window_ms)
    }

    /// The window of a class of a partner's touches for a conversion of a time, in milliseconds.
    pub fn window_ms(
        &self,
        pair: (u64, u64),
        event_type: u64,
        class: TouchClass,
        at_ms: u64,
        revision: u64,
    ) -> u64 {
        let own_ms = self.own_window_ms(pair, event_type, at_ms, revision);
        self.rules(pair.0, revision).window_ms(class, own_ms)
    }

    /// Whether an event type is a lead as of a revision.
    pub fn is_lead(&self, event_type: u64, revision: u64) -> bool {
        at(&self.event_types, &event_type, revision).is_some_and(|kind| kind.is_lead)
    }

    /// The longest window in which any touch may earn in a program, over all its event types and
    /// terms, in milliseconds: clicks are kept that long, and a grace.
    pub fn longest_window_ms(&self, program: u64) -> u64 {
        let rules = self.rules(program, self.revision);
        let windows = self.event_windows.range((program, 0, 0)..=(program, u64::MAX, u64::MAX));
        let longest_ms = windows.last().map(|(_, window_ms, _)| *window_ms);
        let longest_ms = longest_ms.max(self.terms.longest_ms(program));
        let of_classes = [TouchClass::Click, TouchClass::SoftClick, TouchClass::Impression]
            .map(|class| rules.window_ms(class, None).max(rules.window_ms(class, longest_ms)));
        of_classes.into_iter().max().unwrap_or_default()
    }

    /// Whether a partner's clicks may earn credit as of a revision; an unknown enrolment may.
    pub fn is_active(&self, program: u64, partner: u64, revision: u64) -> bool {
        let enrolment = self.enrolments.get(&(program, partner));
        enrolment.and_then(|versions| versions.at(revision)).is_none_or(|found| found.active)
    }

    /// The promo code of a program by [`promo_key`] as of a revision: of several the active one of
    /// the largest revision. `None` when none was active.
    pub fn promo_code(&self, program: u64, key: &Id, revision: u64) -> Option<&PromoCode> {
        let (first, last) = promo::places(program, *key);
        let in_force = |place: &promo::Place| {
            let code = self.promo_codes.get(&place.number)?.at(revision)?;
            (code.place(place.number).as_ref() == Some(place)).then_some(code)
        };
        self.codes.range(first..=last).rev().find_map(in_force)
    }

    /// Digest of the values in force for a decision: the program's, the event type's, those
    /// of the promo codes used, and the enrolments of the partners that were candidates, with
    /// what their terms say of windows.
    pub fn config_hash(
        &self,
        (program, event_type): (u64, u64),
        promo_codes: &[&PromoCode],
        partners: &[u64],
        at_ms: u64,
        revision: u64,
    ) -> Id {
        let program_terms = at(&self.programs, &program, revision);
        let kind = at(&self.event_types, &event_type, revision);
        let terms = program_terms.map_or(&ABSENT, |program| &program.digest);
        let kind = kind.map_or(&ABSENT, |kind| &kind.digest);
        let mut parts: Vec<&[u8]> = vec![terms, kind];
        parts.extend(promo_codes.iter().map(|code| code.digest.as_slice()));
        parts.push(&ABSENT);
        for partner in partners {
            let enrolment = at(&self.enrolments, &(program, *partner), revision);
            parts.push(enrolment.map_or(&ABSENT, |enrolment| &enrolment.digest));
            let agreed = self.terms.in_force((program, *partner), at_ms, revision);
            parts.extend(agreed.map(|terms| terms.digest.as_slice()));
        }
        plain_digest(&parts)
    }
}

/// An object as of a revision.
fn at<'a, K: Ord, T: Revised>(
    objects: &'a BTreeMap<K, Versions<T>>,
    key: &K,
    revision: u64,
) -> Option<&'a T> {
    objects.get(key)?.at(revision)
}

/// Puts a new version of an object in force; returns one that is let go.
fn put<K: Ord, T: Revised>(objects: &mut BTreeMap<K, Versions<T>>, key: K, new: T) -> Option<T> {
    match objects.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(Versions::new(new));
            None
        }
        Entry::Occupied(mut entry) => entry.get_mut().put(new),
    }
}

/// Whether a change of an object is to be taken: the newest, or the first within the bound.
fn is_newer<T: Revised>(
    old: Option<&Versions<T>>,
    revision: u64,
    entries: usize,
    entries_max: usize,
) -> bool {
    match old.and_then(Versions::now) {
        Some(old) => revision > old.revision(),
        None => entries < entries_max,
    }
}
