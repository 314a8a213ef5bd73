//! Evidence that arrives after the decisions it concerns.

use super::apply::Step;
use super::outcomes::Table;
use super::Context;
use crate::attribution::{decide_known, known_ms};
use crate::identity::graph::{Moment, Traversal, Walk};
use crate::identity::Identifier;
use crate::limits::{
    ACCEPT_AHEAD_MAX_MS, HOPS_MAX, MEMBERS_MAX, REVISITED_ORDERS_MAX, REVISITED_WORK_MAX,
};
use crate::record::{Record, Trust};
use crate::Id;

const TRUSTS: [Trust; 2] = [Trust::Server, Trust::Browser];

impl Step<'_> {
    /// Looks again at young orders that an event may concern. One that was accepted by the time
    /// evidence counts for an order has it decided again; one that only claims to have happened
    /// before is reported if it would have changed the decision.
    pub(super) fn revisit(
        &mut self,
        record: &Record<'_>,
        seen: &[Identifier],
        except: Option<Id>,
        at: Context<'_>,
    ) {
        let claims_past = at.occurred_ms.min(at.accept_ms);
        if !self.brand.waiting.is_any_since(claims_past.saturating_sub(ACCEPT_AHEAD_MAX_MS)) {
            return;
        }
        let mut work = 0;
        for conversion_id in self.concerned(seen, except, at) {
            if work >= REVISITED_WORK_MAX {
                return;
            }
            let Some(order) = self.brand.orders.get(&conversion_id) else { continue };
            if at.accept_ms <= known_ms(order) {
                work += self.revise(conversion_id, record, None);
            } else if at.occurred_ms <= order.occurred_ms {
                work += self.report_late(conversion_id, record, at);
            }
        }
    }

    /// Young orders reached from identifiers, over servers' links first: what browsers link must
    /// not fill the walk before it comes to them.
    pub(super) fn concerned(
        &mut self,
        seen: &[Identifier],
        except: Option<Id>,
        at: Context<'_>,
    ) -> Vec<Id> {
        let moment = Moment { occurred_ms: at.occurred_ms.min(at.accept_ms), known_ms: u64::MAX };
        let mut starts = seen.to_vec();
        starts.sort_unstable();
        let rows: Vec<Option<u32>> = self.brand.graph.rows_of(&starts);
        let mut found: Vec<Id> = Vec::new();
        for trust in TRUSTS {
            let rules =
                Traversal { members_max: MEMBERS_MAX, hops_max: HOPS_MAX, ..Traversal::new(trust) };
            let mut walk = Walk::default();
            let met = starts.iter().copied().zip(rows.iter().copied());
            self.brand.graph.walk(met, moment, &rules, &mut walk);
            self.work += 1 + 4 * walk.met().count();
            // Orders that servers name first: guesses must not fill the places of real ones.
            let waiting = &self.brand.waiting;
            let named_by = if trust == Trust::Server { &TRUSTS[..1] } else { &TRUSTS[..] };
            let orders = named_by.iter().flat_map(|named_by| {
                walk.met().flat_map(|(_, key)| waiting.of(&key, *named_by, self.now_ms))
            });
            let mut reached = Vec::new();
            for order in orders.filter(|id| Some(*id) != except) {
                if reached.len() >= REVISITED_ORDERS_MAX {
                    break;
                }
                if !reached.contains(&order) {
                    reached.push(order);
                }
            }
            reached.retain(|order| !found.contains(order));
            found.append(&mut reached);
        }
        found
    }

    fn report_late(&mut self, conversion_id: Id, record: &Record<'_>, at: Context<'_>) -> usize {
        let Some(order) = self.brand.orders.get(&conversion_id) else { return 0 };
        let before = decide_known(self.brand, conversion_id, order, at.accept_ms.saturating_sub(1));
        let after = decide_known(self.brand, conversion_id, order, at.accept_ms);
        let work = before.work + after.work;
        if before.credits == after.credits {
            return work;
        }
        self.outcomes.row(Table::LateEvidence, self.chain, Some(at.bytes), |row| {
            row.array(7);
            row.bin(&record.event_id);
            row.bin(&conversion_id);
            row.uint(record.brand);
            row.uint(at.accept_ms);
            row.uint(record.kind() as u64);
            row.array(after.credits.len());
            for credit in &after.credits {
                row.uint(credit.partner);
            }
        });
        work
    }
}
