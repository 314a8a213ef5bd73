//! A click taken in: counted, put among its clients' clicks; and who must be scored again for it.

use super::distinct::distinct;
use super::fifo::NONE;
use super::pending::{
    facts, Chain, Pending, Work, ALONE, BY_DEVICE, BY_VISITOR, CLIENTS, OF_CLIENTS,
};
use super::rhythm::{self, PREFETCH_MS};
use super::tallies::{day_of, fold, hour_of, Kind, Tally};
use super::{bursts, mark_of, Fraud, CLIENT_CROWD_AGENTS};
use crate::fraud::click::{
    address_severity, agents_severity, churn_severity, device_severity, CHECKOUT_MS,
};
use crate::fraud::rules::Ruleset;
use crate::fraud::Signal;
use crate::limits::{Limits, DAY_MS, HOUR_MS, MINUTE_MS};
use crate::state::chunks::Ms6;
use crate::Id;

/// For how long after midnight an address is also looked for under the digest of the day before.
const BOTH_DIGESTS_MS: u64 = 10 * MINUTE_MS;

/// A click on its way in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intake<'a> {
    pub(crate) click: Pending,
    /// Whether the browser returned no visitor id.
    pub(crate) is_new: bool,
    /// Whether the browser says that a page of another site sent it there: any page can send its
    /// visitors through a honeypot, and must not have their other clicks rejected by that.
    pub(crate) is_sent: bool,
    /// What the address and the user agent make, whoever else the click is of: under the digest of
    /// the day, and of the day before.
    pub(crate) by_address: [u64; 2],
    /// The digest of the address for the day before.
    pub(crate) address_before: u64,
    pub(crate) rules: &'a Ruleset,
    pub(crate) now_ms: u64,
    pub(crate) limits: &'a Limits,
}

impl Intake<'_> {
    fn touch_ms(&self) -> u64 {
        self.click.touch_ms()
    }

    fn work(&self, at: u32, chain: u8, since: u64, signal: Signal) -> Work {
        let since = Ms6::new(since);
        Work { event_id: self.click.id, at, since, chain, signal: signal as u8 }
    }
}

impl Fraud {
    /// Takes a click in; its number among the pending.
    pub(crate) fn take_in(&mut self, intake: &Intake<'_>) -> u32 {
        let row = self.pending.push(intake.click);
        if self.pending.len() > intake.limits.fraud_pending_max.max(1) {
            self.settle();
        }
        if !intake.click.is(facts::ALLOWED) {
            self.take_in_address(intake, row);
            self.take_in_net(intake, row);
        }
        self.take_in_slice(intake, row);
        self.take_in_device(intake);
        for client in 0..CLIENTS {
            self.take_in_client(intake, row, client);
        }
        if intake.click.is(facts::PREFETCH) {
            self.prefetch_ms = self.prefetch_ms.max(intake.touch_ms());
        }
        if intake.click.is(facts::HONEYPOT) && !intake.is_sent {
            self.mark(intake);
        }
        row
    }

    /// Counts the click in a counter; what the counter was and is, and the row.
    fn count_in(
        &mut self,
        intake: &Intake<'_>,
        kind: Kind,
        entity: u64,
        (stretch, until_ms): (u64, u64),
    ) -> (u32, Tally, Tally) {
        let key = self.tallies.key(kind, entity, stretch);
        let rows_max = intake.limits.fraud_tallies_max;
        let row = self.tallies.enter(kind, key, until_ms, intake.now_ms, rows_max);
        let Some(tally) = self.tallies.get_mut(row) else {
            return (row, Tally::default(), Tally::default());
        };
        let before = *tally;
        // What is fetched ahead of time is in the chain and not in the count.
        if !intake.click.is(facts::PREFETCH) {
            tally.count = tally.count.saturating_add(1);
            tally.agents |= 1 << (intake.click.agent & 63);
            if kind == Kind::AddressHour && intake.is_new {
                tally.fresh = tally.fresh.saturating_add(1);
            }
        }
        (row, before, *tally)
    }

    /// Puts the click at the head of a counter's chain; who was there.
    fn chain(&mut self, tally: u32, row: u32, chain: Chain) -> u32 {
        let Some(tally) = self.tallies.get_mut(tally) else { return NONE };
        let before = std::mem::replace(&mut tally.head, row);
        let click = self.pending.get_mut(row);
        if let Some(next) = click.and_then(|click| click.next.get_mut(chain as usize)) {
            *next = before;
        }
        before
    }

    fn take_in_address(&mut self, intake: &Intake<'_>, row: u32) {
        let (address, rules) = (intake.click.address, intake.rules);
        if address == 0 {
            return;
        }
        let hour = hour(intake.touch_ms());
        let (tally, was, is) = self.count_in(intake, Kind::AddressHour, address, hour);
        let head = self.chain(tally, row, Chain::AddressHour);
        if address_severity(&was, rules, false) != address_severity(&is, rules, false) {
            let chain = Chain::AddressHour as u8;
            self.ask(intake.work(head, chain, 0, Signal::AddressVelocity));
        } else if churn_severity(&was, rules) != churn_severity(&is, rules) {
            self.ask(intake.work(head, Chain::AddressHour as u8, 0, Signal::IdChurn));
        }
        let day = day(intake.touch_ms());
        let (tally, was, is) = self.count_in(intake, Kind::AddressDay, address, day);
        if was.count == 0 && was.fresh == 0 {
            let before = day_of(intake.touch_ms()).saturating_sub(1);
            let before = self.tallies.key(Kind::AddressDay, intake.address_before, before);
            let carried =
                self.tallies.of(before).map(|tally| tally.count.saturating_add(tally.fresh));
            if let Some(tally) = self.tallies.get_mut(tally) {
                tally.fresh = carried.unwrap_or(0);
            }
        }
        let head = self.chain(tally, row, Chain::AddressDay);
        let is_crowd = |tally: &Tally| distinct(tally.agents) >= CLIENT_CROWD_AGENTS;
        let severity = |tally: &Tally| (address_severity(tally, rules, true), is_crowd(tally));
        if severity(&was) != severity(&is) {
            self.ask(intake.work(head, Chain::AddressDay as u8, 0, Signal::AddressVelocity));
        }
    }

    fn take_in_net(&mut self, intake: &Intake<'_>, row: u32) {
        let net = intake.click.net;
        if net == 0 {
            return;
        }
        self.count_in(intake, Kind::NetDay, net, day(intake.touch_ms()));
        let (tally, was, is) = self.count_in(intake, Kind::NetHour, net, hour(intake.touch_ms()));
        let head = self.chain(tally, row, Chain::NetHour);
        let low = intake.rules.rule(Signal::SubnetBurst).low.max(1);
        let is_watched = u64::from(is.count) == low && was.count != is.count;
        if is_watched {
            let key = self.tallies.key(Kind::NetHour, net, hour_of(intake.touch_ms()));
            self.close_later(intake.touch_ms(), key);
        }
        if u64::from(is.count) >= low && is_time_to_compare(is.count) {
            let burst = self.net_burst(&intake.click, intake.rules);
            self.set_step(intake, tally, head, Chain::NetHour, burst);
        }
    }

    fn take_in_slice(&mut self, intake: &Intake<'_>, row: u32) {
        let Pending { pair, slice, .. } = intake.click;
        if slice == 0 {
            return;
        }
        let partner = u64::from(pair);
        let (_, own) = intake.click.entity(Chain::SliceHour);
        let (hour, day) = (hour(intake.touch_ms()), day(intake.touch_ms()));
        self.count_in(intake, Kind::PartnerHour, partner, hour);
        self.count_in(intake, Kind::PartnerDay, partner, day);
        self.count_in(intake, Kind::SliceDay, own, day);
        self.count_in(intake, Kind::SliceDayOfAll, slice, day);
        self.count_in(intake, Kind::DayOfAll, 0, day);
        let (tally, was, is) = self.count_in(intake, Kind::SliceHour, own, hour);
        let head = self.chain(tally, row, Chain::SliceHour);
        if is.count == bursts::SLICE_CLICKS_MIN && was.count != is.count {
            let key = self.tallies.key(Kind::SliceHour, own, hour_of(intake.touch_ms()));
            self.close_later(intake.touch_ms(), key);
        }
        if is.count >= bursts::SLICE_CLICKS_MIN && is_time_to_compare(is.count) {
            let burst = self.slice_burst(&intake.click, intake.rules);
            self.set_step(intake, tally, head, Chain::SliceHour, burst);
        }
    }

    /// Takes the outcome of a comparison; if it is another than before, its clicks are scored
    /// again.
    fn set_step(
        &mut self,
        intake: &Intake<'_>,
        tally: u32,
        head: u32,
        chain: Chain,
        burst: bursts::Burst,
    ) {
        let signal = signal_of(chain);
        if self.put_step(tally, chain, burst) {
            self.ask(intake.work(head, chain as u8, 0, signal));
        }
    }

    /// Takes the outcome of a comparison; whether it is another than before.
    fn put_step(&mut self, tally: u32, chain: Chain, burst: bursts::Burst) -> bool {
        let Some(tally) = self.tallies.get_mut(tally) else { return false };
        if chain == Chain::SliceHour {
            tally.fresh = burst.observed;
        }
        std::mem::replace(&mut tally.step, burst.step) != burst.step
    }

    /// Makes the comparison of a counter of a day that is over once more.
    pub(crate) fn close(&mut self, key: u64, rules_of: impl Fn(u32) -> Option<Rules>) {
        let Some(row) = self.tallies.find(key) else { return };
        let Some(head) = self.tallies.get(row).map(|tally| tally.head) else { return };
        let Some(click) = self.pending.get(head).copied() else { return };
        let Some(rules) = rules_of(click.pair) else { return };
        let hour = hour_of(click.touch_ms());
        let is_net = self.tallies.key(Kind::NetHour, click.net, hour) == key;
        let (chain, burst) = if is_net {
            (Chain::NetHour, self.net_burst(&click, &rules))
        } else {
            (Chain::SliceHour, self.slice_burst(&click, &rules))
        };
        if self.put_step(row, chain, burst) {
            let signal = signal_of(chain) as u8;
            let chain = chain as u8;
            let since = Ms6::new(0);
            self.ask(Work { event_id: click.id, at: head, since, chain, signal });
        }
    }

    fn take_in_device(&mut self, intake: &Intake<'_>) {
        let rules = intake.rules;
        let Some(device) = intake.click.device() else { return };
        let is_id = intake.click.is(facts::DEVICE_ID);
        let client = if is_id { BY_DEVICE } else { BY_VISITOR };
        let touch_ms = intake.touch_ms();
        let (_, was, is) = self.count_in(intake, Kind::DeviceHour, device, hour(touch_ms));
        if device_severity(&was, rules, false) != device_severity(&is, rules, false) {
            let since = touch_ms - touch_ms % HOUR_MS;
            self.ask_client(intake, client, since, Signal::DeviceVelocity);
        }
        let (_, was, is) = self.count_in(intake, Kind::DeviceDay, device, day(touch_ms));
        let since = touch_ms - touch_ms % DAY_MS;
        if device_severity(&was, rules, true) != device_severity(&is, rules, true) {
            self.ask_client(intake, client, since, Signal::DeviceVelocity);
        } else if is_id && agents_severity(&was, rules) != agents_severity(&is, rules) {
            self.ask_client(intake, client, since, Signal::MalformedId);
        }
    }

    /// Has the clicks of a client of this click scored again.
    fn ask_client(&mut self, intake: &Intake<'_>, client: usize, since: u64, signal: Signal) {
        self.ask_of(intake, intake.click.link_of(client).client, since, signal);
    }

    /// Has the clicks of a client scored again, from the newest back to a time.
    fn ask_of(&mut self, intake: &Intake<'_>, entity: u64, since: u64, signal: Signal) {
        if let Some(work) = self.work_of(entity, intake.click.id, since, signal) {
            self.ask(work);
        }
    }

    fn work_of(&self, entity: u64, event_id: Id, since: u64, signal: Signal) -> Option<Work> {
        let key = rhythm::client_key(&self.tallies, entity);
        let at = self.tallies.of(key)?.head;
        let client = self.pending.get(at)?.client_at(entity)?;
        let chain = OF_CLIENTS + u8::try_from(client).ok()?;
        Some(Work { event_id, at, since: Ms6::new(since), chain, signal: signal as u8 })
    }

    fn take_in_client(&mut self, intake: &Intake<'_>, row: u32, client: usize) {
        let click = &intake.click;
        let entity = click.link_of(client).client;
        let is_before_today = client == BY_DEVICE && click.is_by_address(client);
        if entity == 0 || is_before_today && intake.touch_ms() % DAY_MS >= BOTH_DIGESTS_MS {
            return;
        }
        let key = rhythm::client_key(&self.tallies, entity);
        let (touch_ms, rows_max) = (intake.touch_ms(), intake.limits.fraud_tallies_max);
        let head = self.tallies.enter(Kind::Client, key, touch_ms, intake.now_ms, rows_max);
        rhythm::insert(&mut self.pending, &mut self.tallies, head, row, entity);
        let mut concerned: Vec<u32> = rhythm::after(&self.pending, row, entity).collect();
        if touch_ms <= self.prefetch_ms + PREFETCH_MS {
            let ahead = rhythm::before(&self.pending, row, entity).filter(|other| {
                self.pending.get(*other).is_some_and(|other| {
                    other.is(facts::PREFETCH) && rhythm::is_same_offer(other, click)
                })
            });
            concerned.extend(ahead);
        }
        for other in concerned {
            self.ask(intake.work(other, ALONE, 0, Signal::DuplicateClick));
        }
    }

    /// Enters a click for who is first of each of its clients in a window. An earlier one takes the
    /// place of a later one, which is scored again.
    pub(crate) fn enter_window(&mut self, row: u32, rules: &Ruleset, now_ms: u64, rows_max: usize) {
        let Some(click) = self.pending.get(row).copied() else { return };
        let window_ms = rules.unique_window_ms.max(MINUTE_MS);
        let stretch = click.touch_ms() / window_ms;
        let mut won = facts::ENTERED;
        for client in 0..CLIENTS {
            let entity = click.link_of(client).client;
            if entity == 0 || client == BY_DEVICE && click.is_by_address(client) {
                won |= facts::EARLIEST << client;
                continue;
            }
            let contest = fold(entity, fold(u64::from(click.pair), window_ms));
            let key = self.tallies.key(Kind::Unique, contest, stretch);
            let until_ms = (stretch + 1) * window_ms;
            let place = self.tallies.enter(Kind::Unique, key, until_ms, now_ms, rows_max);
            let Some(first) = self.tallies.get(place).copied() else { continue };
            let holder = self.pending.get(first.head).copied();
            let holder_id = holder.map_or([0; 16], |holder| holder.id);
            if first.count > 0 && (first.agents, holder_id) < click.order() {
                continue;
            }
            won |= facts::EARLIEST << client;
            if let Some(kept) = self.pending.get_mut(first.head).filter(|_| first.count > 0) {
                if let Some(lost) = kept.client_at(entity) {
                    kept.facts &= !(facts::EARLIEST << lost);
                }
                let (event_id, signal) = (click.id, Signal::DuplicateClick as u8);
                let work =
                    Work { event_id, at: first.head, chain: ALONE, signal, ..Work::default() };
                self.ask(work);
            }
            if let Some(first) = self.tallies.get_mut(place) {
                (first.count, first.agents, first.head) = (1, click.touch_ms(), row);
                first.fresh = mark_of(entity);
            }
        }
        if let Some(click) = self.pending.get_mut(row) {
            click.facts |= won;
        }
    }

    /// Marks the clients of a click that followed a link which nobody can see.
    fn mark(&mut self, intake: &Intake<'_>) {
        let touch_ms = intake.touch_ms();
        let day = day_of(touch_ms);
        let [today, before] = intake.by_address;
        let visitor = intake.click.link_of(BY_VISITOR).client;
        let id = intake.click.link_of(BY_DEVICE).client;
        let device = if intake.click.is(facts::DEVICE_ID) { id } else { 0 };
        self.tainted_day = self.tainted_day.max(day + 1);
        for (now, then) in [(visitor, visitor), (device, device), (today, before)] {
            if now != 0 {
                self.mark_day(intake, now, day, |mark| {
                    mark.count = 1;
                    mark.agents = mark.agents.max(touch_ms);
                });
                self.ask_of(intake, now, touch_ms.saturating_sub(DAY_MS), Signal::Honeypot);
            }
            if then != 0 {
                let in_day = u32::try_from(touch_ms % DAY_MS).unwrap_or(u32::MAX - 1) + 1;
                self.mark_day(intake, then, day.saturating_sub(1), |mark| {
                    mark.fresh = if mark.fresh == 0 { in_day } else { mark.fresh.min(in_day) };
                });
                if then != now {
                    self.ask_of(intake, then, touch_ms.saturating_sub(DAY_MS), Signal::Honeypot);
                }
            }
        }
    }

    fn mark_day(
        &mut self,
        intake: &Intake<'_>,
        entity: u64,
        day: u64,
        change: impl FnOnce(&mut Tally),
    ) {
        let key = self.tallies.key(Kind::Taint, entity, day);
        let rows_max = intake.limits.fraud_tallies_max;
        let until_ms = (day + 2) * DAY_MS;
        let row = self.tallies.enter(Kind::Taint, key, until_ms, intake.now_ms, rows_max);
        if let Some(mark) = self.tallies.get_mut(row) {
            change(mark);
        }
    }

    /// Notes that a visitor saw a page of a program's checkout; the visitor's clicks that followed
    /// are scored again.
    pub(crate) fn see_checkout(
        &mut self,
        (visitor, program): (u64, u64),
        seen_ms: u64,
        event_id: Id,
        now_ms: u64,
        rows_max: usize,
    ) {
        self.checkout_ms = self.checkout_ms.max(seen_ms);
        let stretch = seen_ms / CHECKOUT_MS;
        let key = self.tallies.key(Kind::Checkout, fold(visitor, program), stretch);
        let until_ms = (stretch + 1) * CHECKOUT_MS;
        let row = self.tallies.enter(Kind::Checkout, key, until_ms, now_ms, rows_max);
        if let Some(seen) = self.tallies.get_mut(row) {
            let (first, last) = if seen.count == 0 {
                (seen_ms, seen_ms)
            } else {
                let (first, last) = crate::fraud::click::first_and_last(seen);
                (first.min(seen_ms), last.max(seen_ms))
            };
            (seen.count, seen.head) = (1, mark_of(visitor));
            (seen.agents, seen.fresh) = (last, u32::try_from(last - first).unwrap_or(u32::MAX));
        }
        if let Some(work) = self.work_of(visitor, event_id, seen_ms, Signal::LateHijack) {
            self.ask(work);
        }
    }
}

/// Rules that are shared.
pub(crate) type Rules = std::sync::Arc<Ruleset>;

fn signal_of(chain: Chain) -> Signal {
    match chain {
        Chain::NetHour => Signal::SubnetBurst,
        Chain::SliceHour => Signal::SliceBurst,
        Chain::AddressHour | Chain::AddressDay => Signal::AddressVelocity,
    }
}

/// Whether a counter that has come so far is compared now: with every click while it is small, and
/// then some thirty times for each time that it doubles. When its day is over, it is once more.
fn is_time_to_compare(count: u32) -> bool {
    count.is_multiple_of((count / 16).next_power_of_two().max(1))
}

/// The hour of a time, and its end.
fn hour(ms: u64) -> (u64, u64) {
    (hour_of(ms), (hour_of(ms) + 1) * HOUR_MS)
}

/// The day of a time, and its end.
fn day(ms: u64) -> (u64, u64) {
    (day_of(ms), (day_of(ms) + 1) * DAY_MS)
}
