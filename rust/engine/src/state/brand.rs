//! The state of one brand. No part of it depends on another brand's traffic.

use std::sync::Arc;

use super::controls::Controls;
use super::due::DueMap;
use super::orders::Order;
use crate::identity::index::Index;
use crate::limits::{Limits, CLICK_GRACE_MS, ORDER_AGE_MAX_MS, RECENT_EVENT_AGE_MAX_MS};
use crate::Id;

/// A click that may still earn credit or explain why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveClick {
    /// The program's number.
    pub program: u64,
    /// The partner's number.
    pub partner: u64,
    /// When it happened, milliseconds.
    pub touch_ms: u64,
}

/// Why a click is no longer live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its window and the grace after it have passed.
    Expired = 1,
    /// There were more clicks than the brand may have.
    Evicted = 2,
}

/// The state of one brand.
#[derive(Clone, Debug, Default)]
pub struct Brand {
    /// Configuration in force.
    pub controls: Arc<Controls>,
    /// Live clicks.
    pub clicks: DueMap<LiveClick>,
    /// Clicks that are no longer live, and why.
    pub gone: DueMap<Gone>,
    /// Orders.
    pub orders: DueMap<Order>,
    /// Event ids seen lately, clicks apart.
    pub recent: DueMap<()>,
    /// Who was seen with whom.
    pub index: Index,
}

impl Brand {
    /// Drops what has expired by `now_ms`.
    pub fn sweep(&mut self, now_ms: u64, limits: &Limits) {
        while let Some((click_id, _)) = self.clicks.pop_due(now_ms) {
            self.remember_gone(click_id, Gone::Expired, now_ms, limits);
        }
        while self.gone.pop_due(now_ms).is_some() {}
        while self.orders.pop_due(now_ms).is_some() {}
        while self.recent.pop_due(now_ms).is_some() {}
        self.index.sweep(now_ms);
    }

    /// Adds a click; at the bound the one that expires first is evicted.
    pub fn add_click(&mut self, click_id: Id, click: LiveClick, now_ms: u64, limits: &Limits) {
        let window_ms = self.controls.window_ms(click.program);
        let due_ms = click.touch_ms.saturating_add(window_ms).saturating_add(CLICK_GRACE_MS);
        let evicted = self.clicks.insert(click_id, due_ms, click, limits.clicks_live_max);
        if let Some((evicted_id, _)) = evicted {
            self.remember_gone(evicted_id, Gone::Evicted, now_ms, limits);
        }
    }

    /// Whether a click of this id has been taken, live or gone.
    pub fn knows_click(&self, click_id: &Id) -> bool {
        self.clicks.contains(click_id) || self.gone.contains(click_id)
    }

    /// Notes an event id; returns whether it was new.
    pub fn note_event(&mut self, event_id: Id, now_ms: u64, limits: &Limits) -> bool {
        if self.recent.contains(&event_id) {
            return false;
        }
        let due_ms = now_ms.saturating_add(RECENT_EVENT_AGE_MAX_MS);
        self.recent.insert(event_id, due_ms, (), limits.recent_events_max);
        true
    }

    /// Adds an order; at the bound the oldest is forgotten.
    pub fn add_order(&mut self, conversion_id: Id, order: Order, now_ms: u64, limits: &Limits) {
        let due_ms = now_ms.saturating_add(ORDER_AGE_MAX_MS);
        self.orders.insert(conversion_id, due_ms, order, limits.orders_max);
    }

    fn remember_gone(&mut self, click_id: Id, why: Gone, now_ms: u64, limits: &Limits) {
        let due_ms = now_ms.saturating_add(ORDER_AGE_MAX_MS);
        self.gone.insert(click_id, due_ms, why, limits.clicks_gone_max);
    }
}
