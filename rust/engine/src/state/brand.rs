//! The state of one brand. No part of it depends on another brand's traffic.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::clicks::{Click, ClickRow, Clicks, NOBODY};
use super::controls::Controls;
use super::due::DueMap;
use super::orders::Order;
use super::recent::Recent;
use super::resting::Resting;
use super::waiting::Waiting;
use crate::fraud::conversion::memberships;
use crate::fraud::facts::Counting;
use crate::fraud::repeats::{Memberships, Turn};
use crate::fraud::sources::Timing;
use crate::fraud::state::tallies::Room;
use crate::fraud::state::Fraud;
use crate::fraud::{Ruleset, Shared};
use crate::identity::graph::{
    seconds_of, ClicksOf, Graph, Member, Moment, Observation, Traversal, Under, Walk,
};
use crate::identity::{Identifier, IdentifierType};
use crate::limits::{Limits, CLICK_GRACE_MS, ORDER_AGE_MAX_MS, SWEEP_ROWS_MAX};
use crate::record::Trust;
use crate::Id;

/// Why a click is no longer live. The numbers are bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its window and the grace after it have passed.
    Expired = 1,
    /// There were more clicks than the brand may have.
    Evicted = 2,
    /// It was erased.
    Erased = 4,
}

/// The state of one brand.
#[derive(Clone, Debug, Default)]
pub struct Brand {
    /// Configuration in force.
    pub controls: Arc<Controls>,
    /// Live clicks.
    pub clicks: Clicks,
    /// Clicks that are no longer live, and why.
    pub gone: DueMap<Gone>,
    /// Orders.
    pub orders: DueMap<Order>,
    /// Event ids seen lately, clicks apart.
    pub recent: Recent,
    /// Who was seen with whom.
    pub graph: Graph,
    /// Young orders by the identifiers they were decided on.
    pub waiting: Waiting,
    /// Orders by the clicks their decisions rest on.
    pub resting: Resting,
    /// What tells genuine clicks from others.
    pub fraud: Fraud,
    /// What is the same for all brands.
    pub shared: Arc<Shared>,
}

impl Brand {
    /// A brand without history; `seed` is nothing that outsiders know.
    pub fn new(seed: u64, shared: Arc<Shared>) -> Self {
        Self { graph: Graph::new(seed), fraud: Fraud::new(seed), shared, ..Self::default() }
    }

    /// The rules of fraud scoring for a partner of a program, as of a revision of the brand's own
    /// configuration; the network's layer is the one in force.
    pub fn ruleset(&self, program: u64, partner: u64, revision: u64) -> Arc<Ruleset> {
        self.controls.ruleset(program, partner, &self.shared.network, revision)
    }

    /// Drops what has expired by `now_ms`, a bounded part at a time.
    pub fn sweep(&mut self, now_ms: u64, limits: &Limits) {
        for _ in 0..SWEEP_ROWS_MAX {
            let Some(row) = self.clicks.due(now_ms) else { break };
            self.remove_click(row, Gone::Expired, now_ms, limits);
        }
        pop_due(&mut self.gone, now_ms);
        self.recent.sweep(now_ms);
        pop_due(&mut self.orders, now_ms);
        self.waiting.sweep(now_ms);
        self.resting.sweep(now_ms);
        self.fraud.repeats.sweep(now_ms);
        self.graph.sweep(now_ms);
        let room = Room { now_ms, rows_max: limits.fraud_tallies_max };
        self.fraud.sweep(room);
    }

    /// Adds a click under an identifier, if there is one; at the bound the one that expires
    /// first is evicted.
    pub fn add_click(
        &mut self,
        click: &Click,
        trust: Trust,
        under: Option<&Identifier>,
        now_ms: u64,
        limits: &Limits,
    ) {
        let window_ms = self.controls.longest_window_ms(click.program);
        let due_ms = click.touch_ms.saturating_add(window_ms).saturating_add(CLICK_GRACE_MS);
        let row = self.clicks.insert(click, trust, due_ms);
        if let Some(key) = under {
            let owner = self.graph.know(key, click.accept_ms, click.touch_ms);
            self.clicks.set_owner(row, owner);
            let clicks = &self.clicks;
            let is_older = |other| clicks.is_before(other, row);
            let second_of = |click| clicks.touch(click).map_or(0, |(ms, _)| seconds_of(ms));
            if let Some(out) = self.graph.attach(owner, row, is_older, second_of) {
                self.clicks.set_owner(out, NOBODY);
            }
            self.tie(&Identifier { kind: IdentifierType::Click, digest: click.id });
        }
        if self.clicks.len() > limits.clicks_live_max {
            if let Some(first) = self.clicks.first_due() {
                self.remove_click(first, Gone::Evicted, now_ms, limits);
            }
        }
    }

    /// Takes in who was seen with whom; a click id among them is tied to whom the click is under.
    pub fn observe(&mut self, seen: &Observation) {
        self.graph.observe(seen);
        for key in seen.identifiers.iter().filter(|key| key.kind == IdentifierType::Click) {
            self.tie(key);
        }
    }

    /// Links a click id that is an identifier of the graph to the one its click is under.
    fn tie(&mut self, key: &Identifier) {
        if !self.graph.contains(key) {
            return;
        }
        let Some(row) = self.clicks.find(&key.digest) else { return };
        let (Some(click), Some(owner)) = (self.clicks.at(row), self.owner(row)) else { return };
        let trust = self.clicks.row(row).map_or(Trust::Browser, ClickRow::trust);
        let both = [*key, owner].into_iter();
        let seen = Observation::new(click.id, click.accept_ms, click.touch_ms, trust, both);
        self.graph.observe(&seen);
    }

    fn owner(&self, row: u32) -> Option<Identifier> {
        let owner = self.clicks.row(row).map(ClickRow::owner)?;
        self.graph.key_of(owner)
    }

    /// The identifier that a live click is under.
    pub fn owner_of(&self, click_id: &Id) -> Option<Identifier> {
        self.owner(self.clicks.find(click_id)?)
    }

    fn remove_click(&mut self, row: u32, why: Gone, now_ms: u64, limits: &Limits) {
        let owner = self.clicks.row(row).map(ClickRow::owner);
        if let Some(owner) = owner.filter(|owner| *owner != NOBODY) {
            self.graph.detach(owner, row, why);
        }
        if let Some(id) = self.clicks.remove(row) {
            let due_ms = now_ms.saturating_add(ORDER_AGE_MAX_MS);
            self.gone.insert(id, due_ms, why, limits.clicks_gone_max);
        }
    }

    /// A live click by its id.
    pub fn click(&self, id: &Id) -> Option<Click> {
        self.clicks.get(id)
    }

    /// The clicks under a member, and, of a click id, the click itself; the newest first.
    pub fn clicks_under(&self, member: &Member) -> Vec<Click> {
        let under = member.row.map(|row| self.graph.clicks_of(row).newest_first());
        let rows = under.into_iter().flatten();
        let mut clicks: Vec<Click> = rows.filter_map(|row| self.clicks.at(row)).collect();
        if member.key.kind == IdentifierType::Click {
            clicks.extend(self.clicks.get(&member.key.digest));
        }
        clicks.sort_unstable_by_key(|click| std::cmp::Reverse((click.touch_ms, click.id)));
        clicks.dedup();
        clicks
    }

    /// Whether a click made under a member is no longer live, for a reason.
    pub fn has_lost(&self, member: &Member, why: Gone) -> bool {
        member.row.is_some_and(|row| self.graph.has_lost(row, why))
    }

    /// Whether a click of this id has been taken, live or gone.
    pub fn knows_click(&self, click_id: &Id) -> bool {
        self.clicks.find(click_id).is_some() || self.gone.contains(click_id)
    }

    /// Forgets an identifier, and which clicks were made under it; a click id, with the click.
    /// Returns how many clicks lost their tie.
    pub fn erase(&mut self, key: &Identifier, now_ms: u64, limits: &Limits) -> usize {
        if let Some(row) = self.erased_click(key) {
            self.remove_click(row, Gone::Erased, now_ms, limits);
        }
        self.waiting.erase(key);
        let clicks = self.graph.forget(key).unwrap_or_default();
        for click in &clicks {
            self.clicks.set_owner(*click, NOBODY);
        }
        clicks.len()
    }

    /// How many clicks lose their tie when an identifier is erased.
    pub fn clicks_tied_to(&self, key: &Identifier) -> usize {
        let row = self.graph.row_of(key);
        row.map_or(0, |row| self.graph.clicks_of(row).len())
    }

    /// The orders that name one of some identifiers. Looks at every order: an erasure is rare.
    pub fn orders_naming(&self, identifiers: &BTreeSet<Identifier>) -> Vec<Id> {
        self.orders.entries().keys_where(|order| order.value.names(identifiers))
    }

    /// Has an order never decided again.
    pub fn make_final(&mut self, conversion_id: &Id) {
        if let Some(order) = self.orders.get_mut(conversion_id) {
            order.is_final = true;
        }
    }

    /// Has an order forget identifiers, and be found by them no more.
    pub fn forget_in_order(&mut self, conversion_id: &Id, identifiers: &BTreeSet<Identifier>) {
        let before = self.repeats_of(conversion_id);
        if let Some(order) = self.orders.get_mut(conversion_id) {
            order.forget(|key| identifiers.contains(key));
            self.resting.put(*conversion_id, order.accept_ms, &order.basis.clicks);
        }
        self.note_repeats(conversion_id, &before);
    }

    /// The sets of conversions with something in common that an order is in; none of an order that
    /// is not there.
    pub fn repeats_of(&self, conversion_id: &Id) -> Memberships {
        let order = self.orders.get(conversion_id);
        order.map_or_else(Memberships::default, |order| memberships(self, *conversion_id, order))
    }

    /// Moves an order from the sets it was in to those it is in now; how those have changed.
    pub fn note_repeats(&mut self, conversion_id: &Id, before: &Memberships) -> Vec<Turn> {
        let after = self.repeats_of(conversion_id);
        self.fraud.repeats.change(before, &after)
    }

    /// Counts a conversion for the source of its click no longer as it was, but as it is.
    pub fn count_conversion(&mut self, before: Option<Counting>, after: Option<Counting>) {
        if before == after {
            return;
        }
        for (counting, is_in) in [(before, false), (after, true)] {
            let Some(Counting { source, touch_ms, after_ms }) = counting else { continue };
            let timing = after_ms.map(Timing::of);
            self.fraud.sources.note_conversion(source, touch_ms, timing, is_in);
        }
    }

    fn erased_click(&self, key: &Identifier) -> Option<u32> {
        let id = Some(&key.digest).filter(|_| key.kind == IdentifierType::Click);
        id.and_then(|id| self.clicks.find(id))
    }

    /// Whether anything is known of an identifier, of a click id also the click.
    pub fn knows(&self, key: &Identifier) -> bool {
        let is_click = key.kind == IdentifierType::Click;
        self.graph.contains(key) || (is_click && self.clicks.find(&key.digest).is_some())
    }

    /// Notes an event id; returns whether it was new.
    pub fn note_event(&mut self, event_id: Id, now_ms: u64, limits: &Limits) -> bool {
        self.recent.note(event_id, now_ms, limits.recent_events_max)
    }

    /// Adds an order; at the bound the oldest is forgotten.
    pub fn add_order(&mut self, conversion_id: Id, order: Order, now_ms: u64, limits: &Limits) {
        let due_ms = now_ms.saturating_add(ORDER_AGE_MAX_MS);
        let gone = self.orders.insert(conversion_id, due_ms, order, limits.orders_max);
        if let Some((gone_id, gone)) = gone {
            self.waiting.remove(gone_id, gone.accept_ms);
            self.resting.remove(gone_id, gone.accept_ms);
        }
    }

    /// Reads what events with some ids and identifiers are about to look for.
    pub fn prefetch(&self, keys: &[Identifier], clicks: &[Id], others: &[Id]) {
        let mut read: u32 = 0;
        for id in clicks {
            read = read.wrapping_add(self.clicks.prefetch(id));
        }
        for id in others {
            read = read.wrapping_add(self.recent.touch(id));
        }
        std::hint::black_box(read);
        let rows = self.graph.rows_of(keys);
        self.graph.read_ahead(&rows, &mut Vec::new());
    }

    /// Finds the rows of many identifiers, and reads ahead what [`Brand::touches`] needs of them.
    pub fn read_ahead(&self, keys: &[Identifier]) -> Vec<Option<u32>> {
        let rows = self.graph.rows_of(keys);
        let mut single = Vec::with_capacity(rows.len());
        self.graph.read_ahead(&rows, &mut single);
        let read = single.iter().filter_map(|row| self.clicks.touch(*row));
        std::hint::black_box(read.fold(0, |read, (touch_ms, _)| read ^ touch_ms));
        rows
    }

    /// All clicks in `(at - window, at]` that belong to some identifiers, the newest first to the
    /// second, over all links: what a decision starts from, without the decision. `rows` are
    /// those of the identifiers.
    pub fn touches(
        &self,
        starts: &[Identifier],
        rows: &[Option<u32>],
        at: Moment,
        window_ms: u64,
        found: &mut Found,
    ) {
        let rules = Traversal::new(Trust::Browser);
        let Found { walk, touches } = found;
        touches.clear();
        self.graph.walk(starts.iter().copied().zip(rows.iter().copied()), at, &rules, walk);
        let window = Window::new(at.occurred_ms, window_ms);
        let mut lists = 0;
        let mut collect = |row, key| lists += usize::from(self.collect(row, key, window, touches));
        if walk.needs_cut() {
            let answer = self.graph.resolve(starts, at, &rules);
            answer.members.iter().for_each(|member| collect(member.row, member.key));
        } else {
            walk.met().for_each(|(row, key)| collect(row, key));
        }
        if lists > 1 {
            touches.sort_unstable_by(|a, b| b.cmp(a));
            touches.dedup();
        }
    }

    /// Adds the clicks of one identifier; whether there were any.
    fn collect(
        &self,
        row: Option<u32>,
        key: Identifier,
        window: Window,
        touches: &mut Vec<(u32, u32)>,
    ) -> bool {
        let before = touches.len();
        if key.kind == IdentifierType::Click {
            let own = self.clicks.find(&key.digest);
            touches.extend(own.and_then(|click| self.in_window(click, window)));
        }
        match row.map(|row| self.graph.clicks_of(row)) {
            Some(ClicksOf::One(only)) => touches.extend(self.in_window(only, window)),
            Some(many @ ClicksOf::Many(_)) => {
                let ClicksOf::Many(under) = many.between(window.after_ms, window.until_ms) else {
                    return false;
                };
                for Under { touch_s, click } in under.iter().rev() {
                    if window.surely_holds(*touch_s) {
                        touches.push((*touch_s, *click));
                    } else {
                        touches.extend(self.in_window(*click, window));
                    }
                }
            }
            None => {}
        }
        touches.len() > before
    }

    fn in_window(&self, click: u32, window: Window) -> Option<(u32, u32)> {
        let (touch_ms, _) = self.clicks.touch(click)?;
        window.holds(touch_ms).then_some((seconds_of(touch_ms), click))
    }
}

/// The times at which a click counts: `(after, until]`.
#[derive(Clone, Copy, Debug)]
struct Window {
    after_ms: u64,
    until_ms: u64,
    is_open: bool,
}

impl Window {
    fn new(until_ms: u64, window_ms: u64) -> Self {
        let after_ms = until_ms.checked_sub(window_ms);
        Self { after_ms: after_ms.unwrap_or(0), until_ms, is_open: after_ms.is_none() }
    }

    fn holds(self, touch_ms: u64) -> bool {
        touch_ms <= self.until_ms && (self.is_open || touch_ms > self.after_ms)
    }

    /// Whether all of a second counts.
    fn surely_holds(self, touch_s: u32) -> bool {
        let second_ms = u64::from(touch_s) * 1000;
        second_ms > self.after_ms && second_ms + 999 <= self.until_ms
    }
}

/// What a lookup finds; used again and again, it allocates nothing.
#[derive(Debug, Default)]
pub struct Found {
    walk: Walk,
    /// The second in which each click happened, and its number, the newest first.
    pub touches: Vec<(u32, u32)>,
}

fn pop_due<V: Clone>(map: &mut DueMap<V>, now_ms: u64) {
    for _ in 0..SWEEP_ROWS_MAX {
        if map.pop_due(now_ms).is_none() {
            return;
        }
    }
}
