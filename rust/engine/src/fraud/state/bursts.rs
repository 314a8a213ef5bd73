//! Counters that are held against others: how busy a network is against its past, and what share
//! of a partner's clicks one kind of browser makes against its usual share.

use super::distinct::{distinct, is_beyond_chance};
use super::pending::Pending;
use super::tallies::{day_of, Kind};
use super::Fraud;
use crate::fraud::rules::Ruleset;
use crate::fraud::{Signal, ONE};

/// Days of the past that are looked at.
pub(super) const PAST_DAYS: u16 = 7;
/// Different user agents from which on an address or a network is a crowd, and no count counts.
pub(crate) const CROWD_AGENTS: u64 = 16;
/// How many times its usual number of clicks a network must make.
const NET_TIMES: u64 = 8;
/// The smallest usual number of a network, in clicks in a hundred hours.
const NET_USUAL_MIN: u64 = 250;
/// Clicks of a network's day from which on it is part of what is usual: all that it could have on
/// seven days below it are less than an eighth of the smallest usual number.
pub(super) const NET_DAY_CLICKS_MIN: u64 = 8;
/// Fewest clicks of one kind of browser that are held against its usual share.
pub(crate) const SLICE_CLICKS_MIN: u32 = 30;
/// Fewest clicks of other partners that tell the usual share.
pub(crate) const OTHERS_CLICKS_MIN: u64 = 200;
/// Fewest clicks of the partner's own past that do.
const OWN_CLICKS_MIN: u64 = 200;

/// Severity in quarters, and what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Burst {
    pub(crate) step: u8,
    pub(crate) observed: u32,
}

impl Fraud {
    fn count(&self, kind: Kind, entity: u64, day: u64) -> u64 {
        let key = self.tallies.key(kind, entity, day);
        self.tallies.of(key).map_or(0, |tally| u64::from(tally.count))
    }

    /// How a network's hour stands against its past.
    pub(crate) fn net_burst(&self, click: &Pending, rules: &Ruleset) -> Burst {
        let day = day_of(click.touch_ms());
        let tally = self.tallies.hour(Kind::Net, click.net, click.touch_ms());
        let Some(tally) = tally else { return Burst::default() };
        let count = u64::from(tally.count);
        let agents = distinct(tally.agents).max(1);
        let severity = rules.severity(Signal::SubnetBurst, count / agents);
        if severity == 0 || agents >= CROWD_AGENTS {
            return Burst::default();
        }
        let past = (1..=u64::from(PAST_DAYS)).filter_map(|ago| day.checked_sub(ago));
        let clicks = past.map(|day| self.count(Kind::Net, click.net, day));
        let clicks: u64 = clicks.filter(|clicks| *clicks >= NET_DAY_CLICKS_MIN).sum();
        let usual = (clicks * 100 / (u64::from(PAST_DAYS) * 24)).max(NET_USUAL_MIN);
        let is_burst = count * 100 >= NET_TIMES * usual;
        Burst { step: quarters(severity) * u8::from(is_burst), observed: tally.count }
    }

    /// How the share of one kind of browser in a partner's hour stands against its usual one.
    pub(crate) fn slice_burst(&self, click: &Pending, rules: &Ruleset) -> Burst {
        let none = Burst::default();
        let (touch_ms, day) = (click.touch_ms(), day_of(click.touch_ms()));
        let (partner, own) = (u64::from(click.pair), click.own_slice());
        let in_hour = |kind, entity| {
            let tally = self.tallies.hour(kind, entity, touch_ms);
            tally.map_or(0, |tally| u64::from(tally.count))
        };
        let seen = in_hour(Kind::Slice, own);
        if seen < u64::from(SLICE_CLICKS_MIN) {
            return none;
        }
        let days = |from| (from..=u64::from(PAST_DAYS)).filter_map(move |ago| day.checked_sub(ago));
        let sum = |kind, entity, from| -> u64 {
            days(from).map(|day| self.count(kind, entity, day)).sum()
        };
        let own_clicks = sum(Kind::Partner, partner, 0);
        let own_slice = sum(Kind::Slice, own, 0);
        let others = sum(Kind::All, 0, 0).saturating_sub(own_clicks);
        if others < OTHERS_CLICKS_MIN {
            return none;
        }
        let of_slice = sum(Kind::SliceOfAll, click.slice, 0).saturating_sub(own_slice);
        let hour_clicks = in_hour(Kind::Partner, partner);
        let mut expected = expected(hour_clicks, of_slice, others);
        let past_clicks = sum(Kind::Partner, partner, 1);
        if past_clicks >= OWN_CLICKS_MIN {
            let past_slice = sum(Kind::Slice, own, 1);
            expected = expected.max(self::expected(hour_clicks, past_slice, past_clicks));
        }
        let ratio = ((u128::from(seen) * 100) << 16) / u128::from(expected.max(1));
        let ratio = u32::try_from(ratio).unwrap_or(u32::MAX);
        let severity = rules.severity(Signal::SliceBurst, u64::from(ratio));
        let is_burst = is_beyond_chance(seen, expected);
        Burst { step: quarters(severity) * u8::from(is_burst), observed: ratio }
    }
}

/// How many of a number of clicks are to be expected in a slice that has a share of others, with
/// 16 fractional bits. A slice that was never seen counts as seen once.
fn expected(clicks: u64, part: u64, whole: u64) -> u64 {
    let product = (u128::from(clicks) * u128::from(part + 1)) << 16;
    u64::try_from(product / u128::from(whole + 1)).unwrap_or(u64::MAX)
}

/// A severity in quarters.
pub(crate) fn quarters(severity: u32) -> u8 {
    u8::try_from(severity / (ONE / 4)).unwrap_or(4)
}
