//! Young orders by the identifiers they were decided on: whom evidence that arrives late may
//! still concern.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::Identifier;
use crate::limits::{ACCEPT_AHEAD_MAX_MS, SPOOL_AGE_MAX_MS, WAITING_ORDERS_MAX};
use crate::state::orders::Order;
use crate::Id;

/// For as long a frame can be on its way after the order it precedes.
const KEPT_MS: u64 = SPOOL_AGE_MAX_MS + 2 * ACCEPT_AHEAD_MAX_MS;

/// Orders of the last day. Follows from the orders, so a snapshot leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Identifier and order, of every identifier the order names.
    by_identifier: BTreeSet<(Identifier, Id)>,
    /// Orders by the time they were accepted.
    by_age: BTreeMap<(u64, Id), Vec<Identifier>>,
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
    pub fn add(&mut self, conversion_id: Id, accept_ms: u64, identifiers: &[Identifier]) {
        let known = self.by_age.entry((accept_ms, conversion_id)).or_default();
        for identifier in identifiers {
            if self.by_identifier.insert((*identifier, conversion_id)) {
                known.push(*identifier);
            }
        }
        if self.by_age.len() > WAITING_ORDERS_MAX {
            self.pop();
        }
    }

    /// Takes an order out that was accepted at a time.
    pub fn remove(&mut self, conversion_id: Id, accept_ms: u64) {
        for identifier in self.by_age.remove(&(accept_ms, conversion_id)).unwrap_or_default() {
            self.by_identifier.remove(&(identifier, conversion_id));
        }
    }

    /// Whether an order was accepted at or after a time.
    pub fn is_any_since(&self, accept_ms: u64) -> bool {
        self.by_age.last_key_value().is_some_and(|((newest_ms, _), _)| *newest_ms >= accept_ms)
    }

    /// The orders that name an identifier.
    pub fn of<'a>(&'a self, key: &'a Identifier) -> impl Iterator<Item = Id> + 'a {
        let range = (*key, [0; 16])..=(*key, [0xff; 16]);
        self.by_identifier.range(range).map(|(_, conversion_id)| *conversion_id)
    }

    /// Forgets an identifier.
    pub fn erase(&mut self, key: &Identifier) {
        let orders: Vec<Id> = self.of(key).collect();
        for order in orders {
            self.by_identifier.remove(&(*key, order));
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
        let Some(((_, conversion_id), identifiers)) = self.by_age.pop_first() else { return };
        for identifier in identifiers {
            self.by_identifier.remove(&(identifier, conversion_id));
        }
    }
}
