//! Orders decided again because of what became of a click, of its source, or of other orders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::apply::Step;
use super::Context;
use crate::attribution::decide;
use crate::fraud::conversion::{severity, NO_PARTNER};
use crate::fraud::repeats::Turn;
use crate::fraud::Ruleset;
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{FRAUD_RESCORED_MAX, REVISITED_ORDERS_MAX, REVISITED_WORK_MAX};
use crate::record::Record;
use crate::Id;

impl Step<'_> {
    /// The orders that a change of a click's verdict is to have decided again, asked before it
    /// changes: young ones that it may concern, and those of the last month whose decision rests
    /// on it. Of these only such as would still be decided as they were: what has been erased or
    /// has expired since must not take their credit away.
    pub(super) fn resting_on(&mut self, click_id: &Id, at: Context<'_>) -> Vec<Id> {
        let resting = self.brand.resting.on(click_id, self.now_ms).take(REVISITED_ORDERS_MAX);
        let mut orders: BTreeSet<Id> = resting.collect();
        let own = Identifier { kind: IdentifierType::Click, digest: *click_id };
        let mut keys = vec![own];
        keys.extend(self.brand.owner_of(click_id));
        orders.extend(self.concerned(&keys, None, at));
        let mut work = 0;
        let holds = |conversion_id: &Id| {
            let order = self.brand.orders.get(conversion_id).filter(|_| work < REVISITED_WORK_MAX);
            order.is_some_and(|order| {
                let decision = decide(self.brand, *conversion_id, order);
                work += decision.work;
                super::report::fingerprint(order, &decision) == order.decision
            })
        };
        let orders = orders.into_iter().filter(holds).collect();
        self.work += work;
        orders
    }

    /// Decides orders again, up to a bound of work.
    pub(super) fn revise_each(&mut self, orders: &[Id], record: &Record<'_>) {
        let mut work = 0;
        for conversion_id in orders {
            if work >= REVISITED_WORK_MAX {
                break;
            }
            work += self.revise(*conversion_id, record, None);
        }
        self.work += work;
    }

    /// Decides those orders again that another one has something in common with, where that is
    /// now more, or less, grave by a step.
    pub(super) fn revise_turned(&mut self, turns: &[Turn], record: &Record<'_>) {
        let mut rulesets: BTreeMap<(u64, u64, u64), Arc<Ruleset>> = BTreeMap::new();
        let mut orders = BTreeSet::new();
        for turn in turns.iter().filter(|turn| turn.before != turn.after) {
            for conversion_id in &turn.conversions {
                let Some(order) = self.brand.orders.get(conversion_id) else { continue };
                let partner = order.basis.partner.unwrap_or(NO_PARTNER);
                let key = (order.program, partner, order.config_revision);
                let rules =
                    rulesets.entry(key).or_insert_with(|| self.brand.ruleset(key.0, key.1, key.2));
                let step = |orders| severity(rules, turn.common, orders);
                if step(turn.before) != step(turn.after) {
                    orders.insert(*conversion_id);
                }
            }
        }
        let orders: Vec<Id> = orders.into_iter().collect();
        self.revise_each(&orders, record);
    }

    /// Judges sources anew, and scores the clicks of those again that are now known for something
    /// else, both up to a bound. To be called last: what follows from it waits for the next event
    /// of the source, or the next round.
    pub(super) fn settle_sources(&mut self, record: &Record<'_>, at: Context<'_>) {
        let mut sources = self.brand.fraud.sources.take_touched();
        sources.extend(self.brand.fraud.sources.next_round(self.now_ms));
        for source in sources {
            let revision = self.brand.controls.revision;
            let rules = self.brand.ruleset(source.program, source.partner, revision);
            let sources = &mut self.brand.fraud.sources;
            if let Some(signal) = sources.turn(source, &rules) {
                sources.sweep_source(source, signal, record.event_id);
            }
        }
        self.work = 0;
        for _ in 0..FRAUD_RESCORED_MAX {
            if self.work >= REVISITED_WORK_MAX || !self.brand.fraud.sources.is_sweeping() {
                break;
            }
            if let Some(due) = self.brand.fraud.sources.next_swept(self.now_ms) {
                self.rescore(&due, record, at);
            }
        }
        self.brand.fraud.sources.pass_turn();
        self.brand.fraud.sources.take_touched();
    }
}
