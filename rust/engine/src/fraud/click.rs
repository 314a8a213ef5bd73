//! What other clicks say of a click: velocity, rhythm, bursts, marks; and how it is counted.

use super::rules::Ruleset;
use super::score::Findings;
use super::signals::{Mode, Signal, ONE};
use super::state::bursts::CROWD_AGENTS;
use super::state::distinct::distinct;
use super::state::hours::HourAndDay;
use super::state::pending::{facts, Pending, BY_VISITOR, CLIENTS};
use super::state::rhythm::{self, Reach, Rhythm};
use super::state::tallies::{day_of, fold, Kind, Tally};
use super::state::{Fraud, CLIENT_CROWD_AGENTS};
use super::{Counted, Finding};
use crate::limits::{DAY_MS, MINUTE_MS};
use crate::state::clicks::Clicks;

/// Findings that other clicks can change.
const STATEFUL: [Signal; 10] = [
    Signal::MalformedId,
    Signal::DuplicateClick,
    Signal::AddressVelocity,
    Signal::DeviceVelocity,
    Signal::SubnetBurst,
    Signal::Cadence,
    Signal::SliceBurst,
    Signal::IdChurn,
    Signal::Collision,
    Signal::LateHijack,
];

/// Of an address, a day's ramp begins at this many times an hour's, and ends at this many thirds.
const ADDRESS_DAY_LOW: u64 = 3;
const ADDRESS_DAY_HIGH_THIRDS: u64 = 10;
/// Of a device, a day's ramp is this many times an hour's.
const DEVICE_DAY: u64 = 4;
/// The longest that a page of the checkout can matter for a click that follows.
pub(crate) const CHECKOUT_MS: u64 = 10 * MINUTE_MS;
/// The longest collision that can be asked for.
const COLLISION_MAX_MS: u64 = MINUTE_MS;
/// What doubling the clicks of an address adds to the order below all thresholds, in sixteenths of
/// parts per million: those of all its days, and of the hour. The most that each adds.
const ADDRESS_DAYS_LEAN: (u32, u32) = (160, 1120);
const ADDRESS_HOUR_LEAN: (u32, u32) = (32, 256);
/// The same of a device's days and hours: a browser that returns its cookie hides nothing.
const DEVICE_LEAN: (u32, u32) = (16, 112);

/// What other clicks say of a click.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Circumstances {
    pub(crate) is_prefetch: bool,
    pub(crate) is_repeat: bool,
    pub(crate) is_unique: bool,
}

impl Circumstances {
    /// How a click is counted.
    pub(crate) fn counted(&self) -> Counted {
        match self {
            Self { is_prefetch: true, .. } => Counted::Prefetch,
            Self { is_repeat: true, .. } => Counted::Duplicate,
            _ => Counted::Counted,
        }
    }
}

/// Whether a finding is one that other clicks can change: it is made anew with every scoring.
pub(crate) fn is_stateful(signal: Signal) -> bool {
    STATEFUL.contains(&signal)
}

/// Whether a rule has an effect.
pub(crate) fn has_effect(rules: &Ruleset, signal: Signal) -> bool {
    matches!(rules.rule(signal).mode, Mode::Score | Mode::Enforce)
}

/// A severity in quarters: nothing below `low`, a quarter there, all of it at `high`.
pub(crate) fn ramp(low: u64, high: u64, observed: u64) -> u32 {
    let (Some(beyond), whole) = (observed.checked_sub(low), high.saturating_sub(low)) else {
        return 0;
    };
    if beyond >= whole {
        return ONE;
    }
    let steps = 1 + 3 * u128::from(beyond) / u128::from(whole.max(1));
    u32::try_from(steps).unwrap_or(4).min(4) * (ONE / 4)
}

/// How grave the count of an address is in an hour, or a day; a crowd is no offence.
pub(crate) fn address_severity(tally: &Tally, rules: &Ruleset, is_day: bool) -> u32 {
    let agents = distinct(tally.agents).max(1);
    if agents >= CROWD_AGENTS {
        return 0;
    }
    let rule = rules.rule(Signal::AddressVelocity);
    let (low, high) = if is_day {
        (rule.low * ADDRESS_DAY_LOW, rule.high * ADDRESS_DAY_HIGH_THIRDS / 3)
    } else {
        (rule.low, rule.high)
    };
    ramp(low * agents, high * agents, u64::from(tally.count))
}

/// How grave it is that an address brings new visitors alone.
pub(crate) fn churn_severity(tally: &Tally, rules: &Ruleset) -> u32 {
    let agents = distinct(tally.agents).max(1);
    let new = u64::from(tally.new_visitors());
    let are_new = new * 10 >= u64::from(tally.count) * 9;
    if agents >= CROWD_AGENTS || !are_new {
        return 0;
    }
    rules.severity(Signal::IdChurn, new / agents)
}

/// How grave the count of a device is in an hour, or a day.
pub(crate) fn device_severity(tally: &Tally, rules: &Ruleset, is_day: bool) -> u32 {
    let rule = rules.rule(Signal::DeviceVelocity);
    let times = if is_day { DEVICE_DAY } else { 1 };
    ramp(rule.low * times, rule.high * times, u64::from(tally.count))
}

/// How grave it is that several user agents came with one device id.
pub(crate) fn agents_severity(tally: &Tally, rules: &Ruleset) -> u32 {
    rules.severity(Signal::MalformedId, distinct(tally.agents))
}

/// How far back the rules look.
pub(crate) fn reach(rules: &Ruleset) -> Reach {
    Reach {
        repeats_ms: u64::from(Signal::DuplicateClick.line().window_s) * 1000,
        collision_ms: rules.rule(Signal::Collision).low.min(COLLISION_MAX_MS),
    }
}

/// One click that is looked at, and what is known.
pub(crate) struct Question<'a> {
    pub(crate) fraud: &'a Fraud,
    pub(crate) clicks: &'a Clicks,
    pub(crate) rules: &'a Ruleset,
    /// The number of the pending click.
    pub(crate) row: u32,
    pub(crate) click: &'a Pending,
    /// What was found before: it stands where the counter has been forgotten.
    pub(crate) before: &'a [Finding],
}

impl Question<'_> {
    /// Adds what other clicks say of the click, and tells how it is counted.
    pub(crate) fn ask(&self, out: &mut Findings) -> Circumstances {
        let click = self.click;
        let address = self.counted(Kind::Address, click.address);
        let is_crowd = is_crowd(address.1);
        let mut rhythm = Rhythm::default();
        let mut is_unique = true;
        for client in 0..CLIENTS {
            let entity = click.link_of(client).client;
            if entity == 0 || is_crowd && click.is_by_address(client) {
                continue;
            }
            let Self { fraud, clicks, rules, row, .. } = *self;
            let of = rhythm::of(&fraud.pending, clicks, row, entity, reach(rules));
            rhythm = rhythm.and(of);
            if click.may_be_first_of(client) {
                is_unique &= !of.is_again && !fraud.was_there(click, client);
                // Who has so many clicks that one has no place among them is not there first.
                is_unique &= click.is_chained(client);
            }
            self.taint(entity, out);
        }
        let was_gone_to = click.is(facts::NAMED) || rhythm.is_gone_to;
        let is_prefetch = click.is(facts::PREFETCH) && !was_gone_to;
        let is_repeat = rhythm.is_duplicate || rhythm.is_navigation;
        let is_repeat = is_repeat && has_effect(self.rules, Signal::DuplicateClick);
        if !is_prefetch {
            self.rhythm(&rhythm, is_repeat, out);
            if !click.is(facts::ALLOWED) {
                self.address(address, out);
                self.net(out);
            }
            self.device(out);
            self.slice(out);
            self.checkout(out);
        }
        let is_unique = is_unique && !is_prefetch && !is_repeat;
        Circumstances { is_prefetch, is_repeat, is_unique }
    }

    fn tally(&self, kind: Kind, entity: u64, stretch: u64) -> Option<&Tally> {
        self.fraud.tallies.of(self.fraud.tallies.key(kind, entity, stretch))
    }

    /// The counters of the click's hour and day; one row may be both.
    fn counted(&self, kind: Kind, entity: u64) -> HourAndDay<'_> {
        if entity == 0 {
            return (None, None);
        }
        self.fraud.tallies.hour_and_day(kind, entity, self.click.touch_ms())
    }

    /// Has what was found before stand.
    fn keep(&self, signal: Signal, out: &mut Findings) {
        let before = self.before.iter().filter(|finding| !finding.is_inherited);
        for finding in before.filter(|finding| finding.signal == signal) {
            out.add(signal, finding.severity, finding.observed, finding.threshold);
        }
    }

    fn rhythm(&self, rhythm: &Rhythm, is_repeat: bool, out: &mut Findings) {
        let low = |signal| self.rules.rule(signal).low;
        let grave = self.rules.severity(Signal::DuplicateClick, rhythm.repeats);
        if is_repeat || grave > 0 {
            let signal = Signal::DuplicateClick;
            out.add(signal, grave, rhythm.repeats.max(1), low(signal));
        }
        out.observe(self.rules, Signal::Cadence, rhythm.gaps);
        if let Some(ago_ms) = rhythm.collision_ms {
            let severity = self.rules.severity(Signal::Collision, ago_ms);
            // Who says that the visitor clicked says that no page did.
            let is_activated = self.click.is(facts::ACTIVATED);
            let severity = if is_activated { severity / 2 } else { severity };
            if severity > 0 {
                out.add(Signal::Collision, severity, ago_ms, low(Signal::Collision));
            }
        }
    }

    fn address(&self, (hour, day): HourAndDay<'_>, out: &mut Findings) {
        let click = self.click;
        if click.address == 0 {
            out.absent(Signal::AddressVelocity);
            out.absent(Signal::IdChurn);
            return;
        }
        let low = self.rules.rule(Signal::AddressVelocity).low;
        for (tally, is_day) in [(hour, false), (day, true)] {
            let Some(tally) = tally else {
                self.keep(Signal::AddressVelocity, out);
                continue;
            };
            let severity = address_severity(tally, self.rules, is_day);
            if severity > 0 {
                let low = if is_day { low * ADDRESS_DAY_LOW } else { low };
                out.add(Signal::AddressVelocity, severity, u64::from(tally.count), low);
            }
            if self.rules.is_on(Signal::AddressVelocity) {
                let days = (tally.count.saturating_add(tally.carried()), ADDRESS_DAYS_LEAN);
                let (count, lean) = if is_day { days } else { (tally.count, ADDRESS_HOUR_LEAN) };
                out.lean(leaning(count, lean));
            }
        }
        match hour {
            Some(tally) => {
                let severity = churn_severity(tally, self.rules);
                if severity > 0 {
                    let low = self.rules.rule(Signal::IdChurn).low;
                    let new = u64::from(tally.new_visitors());
                    out.add(Signal::IdChurn, severity, new, low);
                }
            }
            None => self.keep(Signal::IdChurn, out),
        }
    }

    fn net(&self, out: &mut Findings) {
        let click = self.click;
        if click.net == 0 {
            out.absent(Signal::SubnetBurst);
            return;
        }
        match self.fraud.tallies.hour(Kind::Net, click.net, click.touch_ms()) {
            Some(tally) if tally.step() > 0 => {
                let low = self.rules.rule(Signal::SubnetBurst).low;
                let severity = u32::from(tally.step()) * (ONE / 4);
                out.add(Signal::SubnetBurst, severity, u64::from(tally.count), low);
            }
            Some(_) => {}
            None => self.keep(Signal::SubnetBurst, out),
        }
    }

    fn slice(&self, out: &mut Findings) {
        let click = self.click;
        match self.fraud.tallies.hour(Kind::Slice, click.own_slice(), click.touch_ms()) {
            Some(tally) if tally.step() > 0 => {
                let low = self.rules.rule(Signal::SliceBurst).low;
                // Of a slice `fresh` holds how many times its usual share it had.
                let severity = u32::from(tally.step()) * (ONE / 4);
                out.add(Signal::SliceBurst, severity, u64::from(tally.fresh), low);
            }
            Some(_) => {}
            None => self.keep(Signal::SliceBurst, out),
        }
    }

    fn device(&self, out: &mut Findings) {
        let click = self.click;
        let Some(device) = click.device() else {
            out.absent(Signal::DeviceVelocity);
            return;
        };
        let low = self.rules.rule(Signal::DeviceVelocity).low;
        let (hour, day) = self.counted(Kind::Device, device);
        for (tally, is_day) in [(hour, false), (day, true)] {
            let Some(tally) = tally else {
                self.keep(Signal::DeviceVelocity, out);
                continue;
            };
            let severity = device_severity(tally, self.rules, is_day);
            if severity > 0 {
                let low = if is_day { low * DEVICE_DAY } else { low };
                out.add(Signal::DeviceVelocity, severity, u64::from(tally.count), low);
            }
            if self.rules.is_on(Signal::DeviceVelocity) {
                out.lean(leaning(tally.count, DEVICE_LEAN));
            }
        }
        match day.filter(|_| click.is(facts::DEVICE_ID)) {
            Some(tally) => out.observe(self.rules, Signal::MalformedId, distinct(tally.agents)),
            None => self.keep(Signal::MalformedId, out),
        }
    }

    /// A page of the checkout that the visitor saw shortly before.
    fn checkout(&self, out: &mut Findings) {
        let click = self.click;
        let visitor = click.link_of(BY_VISITOR).client;
        let touch_ms = click.touch_ms();
        if visitor == 0 {
            out.absent(Signal::LateHijack);
            return;
        }
        if self.fraud.checkout_ms + CHECKOUT_MS < touch_ms {
            return;
        }
        let program = self.clicks.pair_at(click.pair).map_or(0, |(program, _)| program);
        let entity = fold(visitor, program);
        let stretch = touch_ms / CHECKOUT_MS;
        let seen = |stretch: u64| self.tally(Kind::Checkout, entity, stretch).map(first_and_last);
        let now = seen(stretch).into_iter().flat_map(|(first, last)| [first, last]);
        let before = stretch.checked_sub(1).and_then(seen).map(|(_, last)| last);
        let latest = now.chain(before).filter(|seen_ms| *seen_ms <= touch_ms).max();
        if let Some(seen_ms) = latest {
            out.observe(self.rules, Signal::LateHijack, touch_ms - seen_ms);
        }
    }

    /// A mark that the click's client has followed a link which nobody can see, within a day.
    fn taint(&self, entity: u64, out: &mut Findings) {
        let click = self.click;
        let touch_ms = click.touch_ms();
        let day = day_of(touch_ms);
        if click.is(facts::HONEYPOT) || self.fraud.tainted_day + 2 < day {
            return;
        }
        let today = self.tally(Kind::Taint, entity, day);
        let is_tainted = today.is_some_and(|mark| {
            mark.count > 0 || mark.fresh != 0 && in_day_after(mark) < touch_ms % DAY_MS
        });
        let before = self.tally(Kind::Taint, entity, day.saturating_sub(1));
        let was_tainted =
            before.is_some_and(|mark| mark.count > 0 && mark.agents + DAY_MS > touch_ms);
        if is_tainted || was_tainted {
            out.flag(Signal::Honeypot, ONE);
        }
    }
}

/// Whether an address is shared by many, by its day.
pub(crate) fn is_crowd(day: Option<&Tally>) -> bool {
    day.is_some_and(|tally| distinct(tally.agents) >= CLIENT_CROWD_AGENTS)
}

/// Of a mark, when in the following day the earliest one was.
fn in_day_after(mark: &Tally) -> u64 {
    u64::from(mark.fresh) - 1
}

/// Of pages of the checkout, when the first and the last of a stretch were seen.
pub(crate) fn first_and_last(seen: &Tally) -> (u64, u64) {
    (seen.agents.saturating_sub(u64::from(seen.fresh)), seen.agents)
}

/// What a count adds to the order below all thresholds: its logarithm, in parts of which each
/// doubling is worth `doubled`, and all at most `most`.
fn leaning(count: u32, (doubled, most): (u32, u32)) -> u32 {
    let count = u64::from(count.max(1));
    let whole = count.ilog2();
    let sixteenths = ((count << 4) >> whole) & 15;
    let log = whole * 16 + u32::try_from(sixteenths).unwrap_or(0);
    (log * doubled / 16).min(most)
}
