//! Orders of the last month by the clicks their decisions rest on, so that a click whose verdict
//! changes finds them.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{RESTING_AGE_MAX_MS, RESTING_ORDERS_MAX, SWEEP_ROWS_MAX};
use crate::state::orders::Order;
use crate::Id;

/// The orders. Follows from them, so a snapshot leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resting {
    by_click: BTreeSet<(Id, u64, Id)>,
    by_age: BTreeMap<(u64, Id), Vec<Id>>,
}

impl Resting {
    /// What rests on clicks of all orders.
    pub fn of_orders<'a>(orders: impl Iterator<Item = (&'a Id, &'a Order)>, now_ms: u64) -> Self {
        let mut resting = Self::default();
        for (conversion_id, order) in orders {
            if order.accept_ms.saturating_add(RESTING_AGE_MAX_MS) > now_ms {
                resting.put(*conversion_id, order.accept_ms, &order.basis.clicks);
            }
        }
        resting
    }

    /// Says which clicks an order rests on; at the bound the oldest order is let go.
    pub fn put(&mut self, conversion_id: Id, accept_ms: u64, clicks: &[Id]) {
        self.remove(conversion_id, accept_ms);
        if clicks.is_empty() {
            return;
        }
        for click_id in clicks {
            self.by_click.insert((*click_id, accept_ms, conversion_id));
        }
        self.by_age.insert((accept_ms, conversion_id), clicks.to_vec());
        if self.by_age.len() > RESTING_ORDERS_MAX {
            self.pop();
        }
    }

    /// Takes an order out that was accepted at a time.
    pub fn remove(&mut self, conversion_id: Id, accept_ms: u64) {
        for click_id in self.by_age.remove(&(accept_ms, conversion_id)).unwrap_or_default() {
            self.by_click.remove(&(click_id, accept_ms, conversion_id));
        }
    }

    /// The orders that rest on a click, the oldest first. What is due and not yet swept is passed
    /// over: an engine restored from a snapshot does not have it.
    pub fn on(&self, click_id: &Id, now_ms: u64) -> impl Iterator<Item = Id> + '_ {
        let first_ms = (now_ms + 1).saturating_sub(RESTING_AGE_MAX_MS);
        let range = (*click_id, first_ms, [0; 16])..=(*click_id, u64::MAX, [0xff; 16]);
        self.by_click.range(range).map(|(.., conversion_id)| *conversion_id)
    }

    /// Lets orders go that are too old.
    pub fn sweep(&mut self, now_ms: u64) {
        for _ in 0..SWEEP_ROWS_MAX {
            let oldest = self.by_age.first_key_value().map(|((accept_ms, _), _)| *accept_ms);
            if oldest.is_none_or(|oldest_ms| oldest_ms.saturating_add(RESTING_AGE_MAX_MS) > now_ms)
            {
                return;
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        let oldest = self.by_age.first_key_value().map(|(oldest, _)| *oldest);
        if let Some((accept_ms, conversion_id)) = oldest {
            self.remove(conversion_id, accept_ms);
        }
    }
}
