//! A click taken in: counted, put among its clients' clicks; and who must be scored again for it.

use super::fifo::NONE;
use super::hours::{Added, Counted};
use super::pending::{
    facts, Chain, Closing, Pending, Window, Work, ALONE, BY_DEVICE, BY_VISITOR, CLIENTS, OF_CLIENTS,
};
use super::rhythm::{self, PREFETCH_MS};
use super::tallies::{day_of, fold, Kind, Room, Tally};
use super::{bursts, mark_of, Fraud};
use crate::fraud::click::{
    address_severity, agents_severity, churn_severity, device_severity, is_crowd, CHECKOUT_MS,
};
use crate::fraud::rules::Ruleset;
use crate::fraud::Signal;
use crate::limits::{Limits, DAY_MS, FRAUD_CLAIM_AGE_MAX_MS, HOUR_MS, MINUTE_MS, SPOOL_AGE_MAX_MS};
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

    fn room(&self) -> Room {
        Room { now_ms: self.now_ms, rows_max: self.limits.fraud_tallies_max }
    }

    fn added(&self, row: u32) -> Added {
        let Self { click, is_new, .. } = *self;
        let is_counted = !click.is(facts::PREFETCH);
        let (touch_ms, agent) = (click.touch_ms(), click.agent);
        Added { touch_ms, agent, is_new, is_counted, row, room: self.room() }
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
            self.settle(intake.room());
        }
        let mut next = [NONE; 4];
        let [of_hour, of_day, of_net, of_slice] = &mut next;
        if !intake.click.is(facts::ALLOWED) {
            (*of_hour, *of_day) = self.take_in_address(intake, row);
            *of_net = self.take_in_net(intake, row);
        }
        *of_slice = self.take_in_slice(intake, row);
        if let Some(click) = self.pending.get_mut(row) {
            click.next = next;
        }
        self.take_in_device(intake, row);
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

    /// Counts the click for its address; the clicks before it in the chains of hour and day.
    fn take_in_address(&mut self, intake: &Intake<'_>, row: u32) -> (u32, u32) {
        let (address, rules) = (intake.click.address, intake.rules);
        if address == 0 {
            return (NONE, NONE);
        }
        let counted = self.tallies.count(Kind::Address, address, &intake.added(row));
        let Counted { day, hour, is_first } = counted;
        if is_first {
            self.carry(intake, day.row);
        }
        let (was, is) = (&hour.was, &hour.is);
        let head = was.head;
        if address_severity(was, rules, false) != address_severity(is, rules, false) {
            let chain = Chain::AddressHour as u8;
            self.ask(intake.work(head, chain, 0, Signal::AddressVelocity));
        } else if churn_severity(was, rules) != churn_severity(is, rules) {
            self.ask(intake.work(head, Chain::AddressHour as u8, 0, Signal::IdChurn));
        }
        let severity =
            |tally: &Tally| (address_severity(tally, rules, true), is_crowd(Some(tally)));
        if severity(&day.was) != severity(&day.is) {
            let head = day.was.head;
            self.ask(intake.work(head, Chain::AddressDay as u8, 0, Signal::AddressVelocity));
        }
        (hour.was.head, day.was.head)
    }

    /// Notes how many clicks an address brought on the days before that of a new row.
    fn carry(&mut self, intake: &Intake<'_>, row: u32) {
        let before_ms = intake.touch_ms().saturating_sub(DAY_MS);
        let before = self.tallies.day(Kind::Address, intake.address_before, before_ms);
        let carried = before.map_or(0, |tally| tally.count.saturating_add(tally.carried()));
        if let Some(tally) = self.tallies.get_mut(row).filter(|_| carried > 0) {
            tally.set_carried(carried);
        }
    }

    /// Counts the click for its network; the click before it in the hour's chain.
    fn take_in_net(&mut self, intake: &Intake<'_>, row: u32) -> u32 {
        let net = intake.click.net;
        if net == 0 {
            return NONE;
        }
        let Counted { hour, .. } = self.tallies.count(Kind::Net, net, &intake.added(row));
        let head = hour.was.head;
        let low = intake.rules.rule(Signal::SubnetBurst).low.max(1);
        let count = u64::from(hour.is.count);
        if count == low && hour.was.count != hour.is.count {
            self.close_later(Closing::new(Kind::Net, net, intake.touch_ms()));
        }
        if count >= low && is_time_to_compare(hour.is.count) {
            let burst = self.net_burst(&intake.click, intake.rules);
            self.set_step(intake, hour.row, head, Chain::NetHour, burst);
        }
        head
    }

    /// Counts the click for its partner and kind of browser; the click before it in their hour's
    /// chain.
    fn take_in_slice(&mut self, intake: &Intake<'_>, row: u32) -> u32 {
        let Pending { pair, slice, .. } = intake.click;
        if slice == 0 {
            return NONE;
        }
        let (own, added) = (intake.click.own_slice(), intake.added(row));
        self.tallies.count(Kind::Partner, u64::from(pair), &added);
        self.tallies.count_day(Kind::SliceOfAll, slice, &added);
        self.tallies.count_day(Kind::All, 0, &added);
        let Counted { hour, .. } = self.tallies.count(Kind::Slice, own, &added);
        let head = hour.was.head;
        let count = hour.is.count;
        if count == bursts::SLICE_CLICKS_MIN && hour.was.count != count {
            self.close_later(Closing::new(Kind::Slice, own, intake.touch_ms()));
        }
        if count >= bursts::SLICE_CLICKS_MIN && is_time_to_compare(count) {
            let burst = self.slice_burst(&intake.click, intake.rules);
            self.set_step(intake, hour.row, head, Chain::SliceHour, burst);
        }
        head
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
        let before = tally.step();
        tally.set_step(burst.step);
        before != burst.step
    }

    /// Makes the comparison of a counter of a day that is over once more.
    pub(crate) fn close(&mut self, closing: &Closing, rules_of: impl Fn(u32) -> Option<Rules>) {
        let begin_ms = u64::from(closing.hour) * HOUR_MS;
        let kind = if closing.is_net { Kind::Net } else { Kind::Slice };
        let Some(row) = self.tallies.hour_row(kind, closing.entity, begin_ms) else { return };
        let Some(head) = self.tallies.get(row).map(|tally| tally.head) else { return };
        let Some(click) = self.pending.get(head).copied() else { return };
        let Some(rules) = rules_of(click.pair) else { return };
        let (chain, burst) = if closing.is_net {
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

    fn take_in_device(&mut self, intake: &Intake<'_>, row: u32) {
        let rules = intake.rules;
        let Some(device) = intake.click.device() else { return };
        let is_id = intake.click.is(facts::DEVICE_ID);
        let client = if is_id { BY_DEVICE } else { BY_VISITOR };
        let touch_ms = intake.touch_ms();
        let Counted { day, hour, .. } =
            self.tallies.count(Kind::Device, device, &intake.added(row));
        if device_severity(&hour.was, rules, false) != device_severity(&hour.is, rules, false) {
            let since = touch_ms - touch_ms % HOUR_MS;
            self.ask_client(intake, client, since, Signal::DeviceVelocity);
        }
        let (was, is) = (&day.was, &day.is);
        let since = touch_ms - touch_ms % DAY_MS;
        if device_severity(was, rules, true) != device_severity(is, rules, true) {
            self.ask_client(intake, client, since, Signal::DeviceVelocity);
        } else if is_id && agents_severity(was, rules) != agents_severity(is, rules) {
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
        let at = self.heads.find(&self.pending, self.tallies.seed, entity)?;
        let client = self.pending.get(at)?.client_at(entity)?;
        let chain = OF_CLIENTS + u8::try_from(client).ok()?;
        Some(Work { event_id, at, since: Ms6::new(since), chain, signal: signal as u8 })
    }

    fn take_in_client(&mut self, intake: &Intake<'_>, row: u32, client: usize) {
        let click = &intake.click;
        let entity = click.link_of(client).client;
        let is_before_today = client == BY_DEVICE && click.is_by_address(client);
        let touch_ms = intake.touch_ms();
        if entity == 0 || is_before_today && touch_ms % DAY_MS >= BOTH_DIGESTS_MS {
            return;
        }
        rhythm::insert(&mut self.pending, &mut self.heads, self.tallies.seed, row, client);
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

    /// Has the clicks after one of its clients' scored again: it was fetched ahead of time, and
    /// counts for who is first from now on.
    pub(crate) fn ask_later(&mut self, row: u32, event_id: Id) {
        let Some(click) = self.pending.get(row).copied() else { return };
        for link in click.links.iter().filter(|link| link.client != 0) {
            let after: Vec<u32> = rhythm::after(&self.pending, row, link.client).collect();
            for at in after {
                let signal = Signal::DuplicateClick as u8;
                self.ask(Work { event_id, at, chain: ALONE, signal, ..Work::default() });
            }
        }
    }

    /// Keeps that a click which is settled was in windows that are not over: those that come may be
    /// later ones.
    pub(crate) fn keep_window(&mut self, click: &Pending, room: Room) {
        let window = click.window();
        let is_over = window.until_ms + SPOOL_AGE_MAX_MS + FRAUD_CLAIM_AGE_MAX_MS <= room.now_ms;
        if is_over || !click.is_entered() {
            return;
        }
        self.windows_ms = self.windows_ms.max(window.until_ms);
        for client in (0..CLIENTS).filter(|client| click.may_be_first_of(*client)) {
            let entity = click.link_of(client).client;
            let key = self.window_key(click, entity);
            let (row, _) = self.tallies.enter(Kind::Unique, key, window.until_ms, room);
            if let Some(first) = self.tallies.get_mut(row) {
                let is_first = first.count == 0 || click.touch_ms() < first.agents;
                if is_first {
                    (first.count, first.agents) = (1, click.touch_ms());
                }
                first.fresh = mark_of(entity);
            }
        }
    }

    /// Whether a client had been at the partner before in the same window, by a click that is
    /// settled.
    pub(crate) fn was_there(&self, click: &Pending, client: usize) -> bool {
        if click.touch_ms() >= self.windows_ms {
            return false;
        }
        let first = self.tallies.of(self.window_key(click, click.link_of(client).client));
        first.is_some_and(|first| first.agents <= click.touch_ms())
    }

    fn window_key(&self, click: &Pending, entity: u64) -> u64 {
        let Window { number, window_ms, .. } = click.window();
        let contest = fold(entity, fold(u64::from(click.pair), window_ms));
        self.tallies.key(Kind::Unique, contest, number)
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
        let (row, _) = self.tallies.enter(Kind::Taint, key, day * DAY_MS, intake.room());
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
        room: Room,
    ) {
        self.checkout_ms = self.checkout_ms.max(seen_ms);
        let stretch = seen_ms / CHECKOUT_MS;
        let key = self.tallies.key(Kind::Checkout, fold(visitor, program), stretch);
        let (row, _) = self.tallies.enter(Kind::Checkout, key, seen_ms, room);
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
