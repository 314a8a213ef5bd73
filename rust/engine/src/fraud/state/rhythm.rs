//! The pending clicks of one client in order of time, and what their times tell.
//!
//! Everything is a question about clicks and those next to them in that order, so the answer does
//! not depend on the order in which they came.

use super::fifo::{Fifo, NONE};
use super::heads::{row_of, Heads};
use super::pending::{facts, Link, Pending};
use crate::limits::{CADENCE_GAPS_MAX, CLIENT_STEPS_MAX, CLIENT_WALK_MAX, MINUTE_MS};
use crate::state::clicks::Clicks;

/// Within how long the same click again is a duplicate.
const DUPLICATE_MS: u64 = 10_000;
/// Within how long after it was fetched ahead of time a link is gone to.
pub(crate) const PREFETCH_MS: u64 = 5 * MINUTE_MS;
/// The smallest gap that tells of a timer.
const GAP_MIN_MS: u64 = 1_000;
/// By how much equal gaps may differ, of a share of the gap.
const GAP_SHARE: u64 = 20;

/// What a client's clicks say of one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rhythm {
    /// The same click was made shortly before.
    pub(crate) is_duplicate: bool,
    /// How often it was in the minute before.
    pub(crate) repeats: u64,
    /// It goes where the browser had been ahead of time; that click counts in its place.
    pub(crate) is_navigation: bool,
    /// It was fetched ahead of time, and gone to.
    pub(crate) is_gone_to: bool,
    /// How long before it another partner's link was followed.
    pub(crate) collision_ms: Option<u64>,
    /// Equal gaps in a row, the last one before it.
    pub(crate) gaps: u64,
    /// The client had been at the partner before, in the same window.
    pub(crate) is_again: bool,
}

impl Rhythm {
    /// What two clients' clicks say together.
    pub(crate) fn and(self, other: Self) -> Self {
        let collisions = self.collision_ms.into_iter().chain(other.collision_ms);
        Self {
            is_duplicate: self.is_duplicate || other.is_duplicate,
            repeats: self.repeats.max(other.repeats),
            is_navigation: self.is_navigation || other.is_navigation,
            is_gone_to: self.is_gone_to || other.is_gone_to,
            collision_ms: collisions.min(),
            gaps: self.gaps.max(other.gaps),
            is_again: self.is_again || other.is_again,
        }
    }
}

/// Steps along a client's clicks from one of them.
pub(crate) struct Steps<'a> {
    pending: &'a Fifo<Pending>,
    entity: u64,
    next: u32,
    is_back: bool,
    left: usize,
}

impl Iterator for Steps<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let row = self.next;
        let link = self.pending.get(row).filter(|_| self.left > 0)?.link_for(self.entity);
        self.left -= 1;
        self.next = if self.is_back { link.earlier } else { link.later };
        Some(row)
    }
}

/// The clicks before one, the nearest first.
pub(crate) fn before(pending: &Fifo<Pending>, row: u32, entity: u64) -> Steps<'_> {
    let next = pending.get(row).map_or(NONE, |click| click.link_for(entity).earlier);
    Steps { pending, entity, next, is_back: true, left: CLIENT_STEPS_MAX }
}

/// The clicks after one, the nearest first.
pub(crate) fn after(pending: &Fifo<Pending>, row: u32, entity: u64) -> Steps<'_> {
    let next = pending.get(row).map_or(NONE, |click| click.link_for(entity).later);
    Steps { pending, entity, next, is_back: false, left: CLIENT_STEPS_MAX }
}

/// Whether two clicks followed the same link of the same partner.
pub(crate) fn is_same_offer(one: &Pending, other: &Pending) -> bool {
    (one.pair, one.link) == (other.pair, other.link)
}

/// How far back questions go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// For repeats, milliseconds.
    pub(crate) repeats_ms: u64,
    /// For other partners' clicks, milliseconds.
    pub(crate) collision_ms: u64,
}

/// What the clicks of one of its clients say of a click.
pub(crate) fn of(
    pending: &Fifo<Pending>,
    clicks: &Clicks,
    row: u32,
    entity: u64,
    reach: Reach,
) -> Rhythm {
    let mut rhythm = Rhythm::default();
    let Some(click) = pending.get(row) else { return rhythm };
    if click.is(facts::PREFETCH) {
        rhythm.is_gone_to = is_gone_to(pending, click, row, entity);
    }
    let program = clicks.pair_at(click.pair).map(|(program, _)| program);
    let mut gaps = Gaps::new(click.touch_ms());
    let mut may_navigate = !click.is(facts::PREFETCH);
    let begin_ms = click.window().begin_ms;
    let mut unseen = CLIENT_STEPS_MAX;
    for other in before(pending, row, entity).filter_map(|row| pending.get(row)) {
        let ago_ms = click.touch_ms() - other.touch_ms().min(click.touch_ms());
        let is_same = is_same_offer(click, other);
        let is_in_window = other.touch_ms() >= begin_ms;
        rhythm.is_again |= is_in_window && other.pair == click.pair && other.is_entered();
        unseen -= usize::from(is_in_window);
        if other.is(facts::PREFETCH) {
            rhythm.is_navigation |= is_same && may_navigate && ago_ms <= PREFETCH_MS;
            continue;
        }
        may_navigate &= !is_same;
        if is_same {
            rhythm.is_duplicate |= ago_ms <= DUPLICATE_MS;
            rhythm.repeats += u64::from(ago_ms <= reach.repeats_ms);
        }
        if other.pair == click.pair {
            gaps.take(other.touch_ms());
        } else if rhythm.collision_ms.is_none() && ago_ms <= reach.collision_ms {
            let of_other = clicks.pair_at(other.pair).map(|(program, _)| program);
            rhythm.collision_ms = Some(ago_ms).filter(|_| of_other == program);
        }
        let is_past = ago_ms > PREFETCH_MS && ago_ms > reach.repeats_ms.max(reach.collision_ms);
        if is_past && gaps.is_over && (rhythm.is_again || !is_in_window) {
            break;
        }
    }
    rhythm.gaps = gaps.count;
    // Of so many clicks in the window one before these may have been at the partner.
    rhythm.is_again |= unseen == 0;
    rhythm
}

/// Whether the link was gone to after it was fetched ahead of time, and not fetched once more.
fn is_gone_to(pending: &Fifo<Pending>, click: &Pending, row: u32, entity: u64) -> bool {
    let others = after(pending, row, entity).filter_map(|row| pending.get(row));
    let same = others.filter(|other| is_same_offer(click, other));
    let mut soon =
        same.take_while(|other| other.touch_ms().saturating_sub(click.touch_ms()) <= PREFETCH_MS);
    soon.next().is_some_and(|other| !other.is(facts::PREFETCH))
}

/// Gaps between clicks that are about equal, counted back from the last.
struct Gaps {
    last_ms: u64,
    first_gap_ms: u64,
    count: u64,
    is_over: bool,
}

impl Gaps {
    fn new(last_ms: u64) -> Self {
        Self { last_ms, first_gap_ms: 0, count: 0, is_over: false }
    }

    fn take(&mut self, before_ms: u64) {
        if self.is_over {
            return;
        }
        let gap_ms = self.last_ms.saturating_sub(before_ms);
        if self.count == 0 {
            self.first_gap_ms = gap_ms;
        }
        let slack_ms = GAP_MIN_MS.max(self.first_gap_ms / GAP_SHARE);
        let is_equal = gap_ms.abs_diff(self.first_gap_ms) <= slack_ms;
        if gap_ms < GAP_MIN_MS || !is_equal {
            self.is_over = true;
            return;
        }
        self.last_ms = before_ms;
        self.count += 1;
        self.is_over = self.count >= CADENCE_GAPS_MAX;
    }
}

/// Puts a click in its place among those of its client of a number. One that belongs further back
/// than is looked is left out, and is by itself.
pub(crate) fn insert(
    pending: &mut Fifo<Pending>,
    heads: &mut Heads,
    seed: u64,
    row: u32,
    client: usize,
) {
    let Some(click) = pending.get(row) else { return };
    let (order, entity) = (click.order(), click.link_of(client).client);
    let before = heads.entry_of(pending, seed, entity);
    let newest = before.map_or(NONE, |entry| row_of(pending, entry));
    let (mut later, mut earlier) = (NONE, newest);
    for _ in 0..CLIENT_WALK_MAX {
        let Some(other) = pending.get(earlier) else { break };
        if other.order() < order {
            break;
        }
        (later, earlier) = (earlier, other.link_for(entity).earlier);
    }
    if pending.get(earlier).is_some_and(|other| other.order() >= order) {
        return;
    }
    // What has left the queue is nobody's neighbour.
    let earlier = if pending.get(earlier).is_some() { earlier } else { NONE };
    if let Some(click) = pending.get_mut(row) {
        click.facts |= facts::CHAINED << client;
        if let Some(link) = click.links.get_mut(client) {
            (link.earlier, link.later) = (earlier, later);
        }
    }
    set(pending, earlier, entity, |link| link.later = row);
    set(pending, later, entity, |link| link.earlier = row);
    if later == NONE {
        heads.put(pending, seed, entity, before, Some(row));
    }
}

/// Takes a click out of the clicks of its client of a number.
pub(crate) fn remove(
    pending: &mut Fifo<Pending>,
    heads: &mut Heads,
    seed: u64,
    row: u32,
    client: usize,
) {
    let Some(click) = pending.get(row) else { return };
    let Link { client: entity, earlier, later } = click.link_of(client);
    if entity == 0 || !click.is_chained(client) {
        return;
    }
    set(pending, earlier, entity, |link| link.later = later);
    set(pending, later, entity, |link| link.earlier = earlier);
    if later != NONE {
        return;
    }
    let before = heads.entry_of(pending, seed, entity);
    if before.is_some_and(|entry| row_of(pending, entry) == row) {
        heads.put(pending, seed, entity, before, pending.get(earlier).map(|_| earlier));
    }
}

fn set(pending: &mut Fifo<Pending>, row: u32, entity: u64, change: impl FnOnce(&mut Link)) {
    let Some(click) = pending.get_mut(row) else { return };
    let link = click.client_at(entity).and_then(|client| click.links.get_mut(client));
    if let Some(link) = link {
        change(link);
    }
}
