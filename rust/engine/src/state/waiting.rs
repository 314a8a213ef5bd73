//! Young orders by the identifiers they were decided on: whom evidence that arrives late may
//! still concern.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::Identifier;
use crate::limits::{ACCEPT_AHEAD_MAX_MS, SPOOL_AGE_MAX_MS, WAITING_ORDERS_MAX};
use crate::record::Trust;
use crate::state::orders::Order;
use crate::Id;

/// For as long a frame can be on its way after the order it precedes.
const KEPT_MS: u64 = SPOOL_AGE_MAX_MS + 2 * ACCEPT_AHEAD_MAX_MS;

/// Orders of the last day. Follows from the orders, so a snapshot leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Of every identifier an order names: who named it, and the order.
    by_identifier: BTreeSet<(Identifier, Trust, u64, Id)>,
    /// Orders by the time they were accepted.
    by_age: BTreeMap<(u64, Id), Vec<(Identifier, Trust)>>,
}

impl Waiting {
    /// What waits of all orders.
    pub fn of_orders<'a>(orders: impl Iterator<Item = (&'a Id, &'a Order)>, now_ms: u64) -> Self {
        let mut waiting = Self::default();
        for (conversion_id, order) in orders {
            if order.accept_ms.saturating_add(KEPT_MS) > now_ms {
                waiting.add(*conversion_id, order.accept_ms, &order.concerns());
            }
        }
        waiting
    }

    /// Notes identifiers of an order; at the bound the oldest order is let go.
    pub fn add(&mut self, conversion_id: Id, accept_ms: u64, identifiers: &[(Identifier, Trust)]) {
        let known = self.by_age.entry((accept_ms, conversion_id)).or_default();
        for (identifier, trust) in identifiers {
            if self.by_identifier.insert((*identifier, *trust, accept_ms, conversion_id)) {
                known.push((*identifier, *trust));
            }
        }
        if self.by_age.len() > WAITING_ORDERS_MAX {
            self.pop();
        }
    }

    /// Takes an order out that was accepted at a time.
    pub fn remove(&mut self, conversion_id: Id, accept_ms: u64) {
        let identifiers = self.by_age.remove(&(accept_ms, conversion_id)).unwrap_or_default();
        for (identifier, trust) in identifiers {
            self.by_identifier.remove(&(identifier, trust, accept_ms, conversion_id));
        }
    }

    /// Whether an order was accepted at or after a time.
    pub fn is_any_since(&self, accept_ms: u64) -> bool {
        self.by_age.last_key_value().is_some_and(|((newest_ms, _), _)| *newest_ms >= accept_ms)
    }

    /// The orders in which somebody of a trust names an identifier, the oldest first. What is due
    /// and not yet swept is passed over: an engine restored from a snapshot does not have it.
    pub fn of(
        &self,
        key: &Identifier,
        named_by: Trust,
        now_ms: u64,
    ) -> impl Iterator<Item = Id> + '_ {
        let first_ms = (now_ms + 1).saturating_sub(KEPT_MS);
        let first = (*key, named_by, first_ms, [0; 16]);
        let range = first..=(*key, named_by, u64::MAX, [0xff; 16]);
        self.by_identifier.range(range).map(|(.., conversion_id)| *conversion_id)
    }

    /// Forgets an identifier.
    pub fn erase(&mut self, key: &Identifier) {
        let first = (*key, Trust::Server, 0, [0; 16]);
        let range = first..=(*key, Trust::Browser, u64::MAX, [0xff; 16]);
        let named: Vec<_> = self.by_identifier.range(range).copied().collect();
        for entry in named {
            let (.., accept_ms, conversion_id) = entry;
            self.by_identifier.remove(&entry);
            if let Some(known) = self.by_age.get_mut(&(accept_ms, conversion_id)) {
                known.retain(|(other, _)| other != key);
            }
        }
    }

    /// Lets orders go that nothing late can concern any more.
    pub fn sweep(&mut self, now_ms: u64) {
        for _ in 0..crate::limits::SWEEP_ROWS_MAX {
            let oldest = self.by_age.first_key_value().map(|((accept_ms, _), _)| *accept_ms);
            if oldest.is_none_or(|oldest_ms| oldest_ms.saturating_add(KEPT_MS) > now_ms) {
                return;
            }
            self.pop();
        }
    }

    /// How many orders wait.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    fn pop(&mut self) {
        let oldest = self.by_age.first_key_value().map(|(oldest, _)| *oldest);
        if let Some((accept_ms, conversion_id)) = oldest {
            self.remove(conversion_id, accept_ms);
        }
    }
}
