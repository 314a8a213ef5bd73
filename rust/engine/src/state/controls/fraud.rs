//! The rules of fraud scoring in force for a partner of a program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Controls, Enrolment, Value, Versions};
use crate::fraud::hosts::domain;
use crate::fraud::{Layer, Ruleset};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{FRAUD_LIST_MAX, PARTNER_IDENTIFIERS_MAX, RULESETS_READY_MAX};
use crate::msgpack::Reader;

/// What an enrolment says of its partner that few say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartnerTerms {
    /// Its layer of the rules.
    pub fraud: Layer,
    /// The partner's own identifiers, sorted.
    pub identity: Vec<Identifier>,
}

impl PartnerTerms {
    /// What a value says; `None` when it says nothing of the kind.
    pub(super) fn of(value: &Value<'_>) -> Option<Arc<Self>> {
        let fraud = value.fraud.map(Layer::read).unwrap_or_default();
        let identity = value.identity.and_then(read_identity).unwrap_or_default();
        let is_empty = fraud.is_empty() && identity.is_empty();
        (!is_empty).then(|| Arc::new(Self { fraud, identity }))
    }
}

/// The domains of the program's own site that a value names.
pub(super) fn sites(value: &Value<'_>) -> Vec<String> {
    let mut sites: Vec<String> = value.destination_url.and_then(domain).into_iter().collect();
    let mut reader = Reader::new(value.deep_link_hosts.unwrap_or_default());
    for _ in 0..reader.array_max(FRAUD_LIST_MAX).unwrap_or(0) {
        let Ok(entry) = reader.value() else { break };
        sites.extend(Reader::new(entry).str().ok().and_then(domain));
    }
    sites.sort_unstable();
    sites.dedup();
    sites
}

fn read_identity(member: &[u8]) -> Option<Vec<Identifier>> {
    let mut reader = Reader::new(member);
    let mut identity = Vec::new();
    for _ in 0..reader.array_max(usize::MAX).ok()?.min(PARTNER_IDENTIFIERS_MAX) {
        identity.extend(read_identifier(reader.value().ok()?));
    }
    identity.sort_unstable();
    identity.dedup();
    Some(identity)
}

fn read_identifier(entry: &[u8]) -> Option<Identifier> {
    let mut reader = Reader::new(entry);
    reader.array_of(2).ok()?;
    let kind = IdentifierType::from_number(reader.uint().ok()?).ok()?;
    Some(Identifier { kind, digest: reader.id().ok()? })
}

/// Rules in force, by program and partner; partner 0 stands for all that have no terms of their
/// own. Made from the rest of the configuration when first asked for, so it is no part of it: it is
/// neither compared nor copied.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<Rulesets>);

/// Rules in force over one layer of the network.
#[derive(Debug, Default)]
struct Rulesets {
    network: Arc<Layer>,
    by_partner: BTreeMap<(u64, u64), Arc<Ruleset>>,
}

impl Clone for Ready {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Ready {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Ready {}

impl Ready {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn get(
        &self,
        network: &Arc<Layer>,
        key: (u64, u64),
        make: impl FnOnce() -> Ruleset,
    ) -> Arc<Ruleset> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = ready.by_partner.len() > RULESETS_READY_MAX;
        if is_full || !Arc::ptr_eq(&ready.network, network) {
            *ready = Rulesets { network: Arc::clone(network), by_partner: BTreeMap::new() };
        }
        Arc::clone(ready.by_partner.entry(key).or_insert_with(|| Arc::new(make())))
    }
}

impl Controls {
    /// The rules in force for a partner of a program as of a revision, over the network's layer.
    /// An unknown program or enrolment says nothing.
    pub fn ruleset(
        &self,
        program: u64,
        partner: u64,
        network: &Arc<Layer>,
        revision: u64,
    ) -> Arc<Ruleset> {
        let has_terms = self.with_terms.contains(&(program, partner));
        let partner = if has_terms { partner } else { 0 };
        let make = || {
            let none = Layer::default();
            let program_terms = super::at(&self.programs, &program, revision);
            let own = self.terms(program, partner, revision);
            let of_program = program_terms.map_or(&none, |program| &program.fraud);
            let of_partner = own.map_or(&none, |own| &own.fraud);
            let sites = program_terms.map_or(&[][..], |program| &program.sites);
            Ruleset::of_program([network, of_program, of_partner], sites)
        };
        if revision < self.revision && !self.is_unchanged(program, partner, revision) {
            return Arc::new(make());
        }
        self.ready.get(network, (program, partner), make)
    }

    /// The identifiers that are known as a partner's own, as of a revision, sorted.
    pub fn partner_identity(&self, program: u64, partner: u64, revision: u64) -> &[Identifier] {
        self.terms(program, partner, revision).map_or(&[], |terms| &terms.identity)
    }

    fn terms(&self, program: u64, partner: u64, revision: u64) -> Option<&PartnerTerms> {
        if !self.with_terms.contains(&(program, partner)) {
            return None;
        }
        super::at(&self.enrolments, &(program, partner), revision)?.terms.as_deref()
    }

    /// Whether a program and an enrolment are now what they were as of a revision.
    fn is_unchanged(&self, program: u64, partner: u64, revision: u64) -> bool {
        let is_of_then = |revision_now: u64| revision_now <= revision;
        let enrolment = self.enrolments.get(&(program, partner)).and_then(Versions::now);
        let program = self.programs.get(&program).and_then(Versions::now);
        program.is_none_or(|now| is_of_then(now.revision))
            && enrolment.is_none_or(|now| is_of_then(now.revision))
    }
}

/// Whether any version of an enrolment that is kept has terms of its own.
pub(super) fn have_terms(versions: &Versions<Enrolment>) -> bool {
    versions.all().iter().any(|enrolment| enrolment.terms.is_some())
}
