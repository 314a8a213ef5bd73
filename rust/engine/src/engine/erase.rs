//! Identifiers and persons forgotten on request, or what that would forget.

use std::collections::BTreeSet;

use super::apply::Step;
use super::outcomes::Table;
use super::Context;
use crate::attribution::explain::{write_hops, write_identifiers};
use crate::identity::graph::{Hop, Moment, Traversal};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::ACCEPT_AHEAD_MAX_MS;
use crate::msgpack::Writer;
use crate::record::{Erasure, Record, Trust};
use crate::state::brand::Brand;

/// What an erasure forgets, or would.
#[derive(Debug, Default)]
struct Forgotten {
    identifiers: BTreeSet<Identifier>,
    /// Members kept, because another customer has them too.
    shared: BTreeSet<Identifier>,
    hubs: Vec<Identifier>,
    cut: Vec<Hop>,
    /// Whether there was more to meet.
    is_truncated: bool,
    clicks: usize,
    orders: usize,
}

impl Step<'_> {
    pub(super) fn erase(&mut self, record: &Record<'_>, erasure: &Erasure<'_>, at: Context<'_>) {
        let named: Vec<Identifier> = erasure.identifiers.iter().collect();
        let mut forgotten = match erasure.scope {
            "person" => person(self.brand, &named, erasure.force, at),
            _ => Forgotten { identifiers: named.into_iter().collect(), ..Forgotten::default() },
        };
        let orders = self.brand.orders_naming(&forgotten.identifiers);
        forgotten.orders = orders.len();
        let clicks = |brand: &Brand, key: &Identifier| brand.clicks_tied_to(key);
        forgotten.clicks = forgotten.identifiers.iter().map(|key| clicks(self.brand, key)).sum();
        if !erasure.dry_run {
            let named: Vec<Identifier> = forgotten.identifiers.iter().copied().collect();
            for order in self.concerned(&named, None, at).iter().chain(&orders) {
                self.brand.make_final(order);
            }
            for key in &forgotten.identifiers {
                self.brand.erase(key, self.now_ms, self.limits);
            }
            self.brand.fraud.erase(&forgotten.identifiers, self.now_ms);
            for order in orders {
                self.brand.forget_in_order(&order, &forgotten.identifiers);
            }
        }
        self.outcomes.row(Table::Erasures, self.chain, Some(at.bytes), |row| {
            row.array(7);
            row.bin(&record.event_id);
            row.uint(record.brand);
            row.uint(at.accept_ms);
            row.str(erasure.scope);
            row.bool(erasure.dry_run);
            row.bin(&forgotten.encode());
        });
    }
}

/// The identifiers named, and the members reached from them but for those another customer has too.
fn person(brand: &Brand, named: &[Identifier], force: bool, at: Context<'_>) -> Forgotten {
    let known_ms = at.accept_ms.saturating_add(ACCEPT_AHEAD_MAX_MS);
    let moment = Moment { occurred_ms: at.accept_ms, known_ms };
    let answer = brand.graph.resolve(named, moment, &Traversal::new(Trust::Browser));
    let named: BTreeSet<Identifier> = named.iter().copied().collect();
    let members = answer.members.iter().map(|member| member.key);
    let members: BTreeSet<Identifier> = members.chain(named.iter().copied()).collect();
    let is_foreign_customer =
        |key: &Identifier| key.kind == IdentifierType::Customer && !members.contains(key);
    let is_shared = |key: &Identifier| {
        key.kind != IdentifierType::Customer
            && brand.graph.neighbours_at(key, moment).iter().any(is_foreign_customer)
    };
    let is_kept = |key: &Identifier| !force && !named.contains(key) && is_shared(key);
    let (shared, identifiers) = members.iter().copied().partition(is_kept);
    let (hubs, cut, is_truncated) = (answer.hubs, answer.cut, answer.is_truncated);
    Forgotten { identifiers, shared, hubs, cut, is_truncated, ..Forgotten::default() }
}

impl Forgotten {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.map(7);
        writer.str("identifiers");
        write_identifiers(&mut writer, self.identifiers.iter());
        writer.str("shared");
        write_identifiers(&mut writer, self.shared.iter());
        writer.str("hubs");
        write_identifiers(&mut writer, self.hubs.iter());
        writer.str("cut");
        write_hops(&mut writer, &self.cut);
        writer.str("truncated");
        writer.bool(self.is_truncated);
        writer.str("clicks");
        writer.uint(self.clicks as u64);
        writer.str("orders");
        writer.uint(self.orders as u64);
        writer.bytes
    }
}
