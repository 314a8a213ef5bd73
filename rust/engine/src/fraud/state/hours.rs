//! Days and their hours: a day's row stands for its hour as well until something is counted in
//! another one. Most addresses, networks and visitors are never seen in two hours of a day.

use super::bursts::NET_DAY_CLICKS_MIN;
use super::fifo::NONE;
use super::tallies::{day_of, hour_of, Kind, Room, Tallies, Tally, LONG_DAYS, SEVERAL};
use crate::limits::{DAY_MS, HOUR_MS};

/// Hours of a day.
const DAY_HOURS: u64 = DAY_MS / HOUR_MS;

/// What a click adds to counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    pub(crate) touch_ms: u64,
    /// The bit of its user agent.
    pub(crate) agent: u8,
    /// Whether the browser returned no visitor id.
    pub(crate) is_new: bool,
    /// Whether it counts: what is fetched ahead of time is in chains alone.
    pub(crate) is_counted: bool,
    /// Its number among the pending: it is the newest of the counter's chain from now on.
    pub(crate) row: u32,
    pub(crate) room: Room,
}

/// A counter's row, what it was before a click, and what it is; no row where it had to go at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turned {
    pub(crate) row: u32,
    pub(crate) was: Tally,
    pub(crate) is: Tally,
}

impl Default for Turned {
    fn default() -> Self {
        Self { row: NONE, was: Tally::default(), is: Tally::default() }
    }
}

/// A day and an hour that a click was counted in; one row may be both.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) day: Turned,
    pub(crate) hour: Turned,
    /// Whether nothing was known of the day.
    pub(crate) is_first: bool,
}

/// The counters of an hour and of its day; one row may be both.
pub(crate) type HourAndDay<'a> = (Option<&'a Tally>, Option<&'a Tally>);

impl Tallies {
    /// The counter of an entity for the day of a time.
    pub(crate) fn day(&self, kind: Kind, entity: u64, at_ms: u64) -> Option<&Tally> {
        self.of(self.key(kind, entity, day_of(at_ms)))
    }

    /// The counter of an entity for the hour of a time; `kind` is that of its day.
    pub(crate) fn hour(&self, kind: Kind, entity: u64, at_ms: u64) -> Option<&Tally> {
        self.get(self.hour_row(kind, entity, at_ms)?)
    }

    /// The row of that counter.
    pub(crate) fn hour_row(&self, kind: Kind, entity: u64, at_ms: u64) -> Option<u32> {
        let day = self.find(self.key(kind, entity, day_of(at_ms)));
        if let Some(row) = day.filter(|row| self.stands_for(*row, at_ms)) {
            return Some(row);
        }
        self.find(self.key(kind.hourly()?, entity, hour_of(at_ms)))
    }

    /// The counters of an entity for the hour and the day of a time; `kind` is that of the day.
    pub(crate) fn hour_and_day(&self, kind: Kind, entity: u64, at_ms: u64) -> HourAndDay<'_> {
        let day = self.day(kind, entity, at_ms);
        if day.is_some_and(|tally| tally.hour == hour_in_day(at_ms)) {
            return (day, day);
        }
        let hour = kind.hourly().map(|kind| self.key(kind, entity, hour_of(at_ms)));
        (hour.and_then(|key| self.of(key)), day)
    }

    fn stands_for(&self, row: u32, at_ms: u64) -> bool {
        self.get(row).is_some_and(|tally| tally.hour == hour_in_day(at_ms))
    }

    /// Counts a click for the day of an entity alone.
    pub(crate) fn count_day(&mut self, kind: Kind, entity: u64, added: &Added) {
        let key = self.key(kind, entity, day_of(added.touch_ms));
        self.count_at(kind, key, added);
    }

    /// Counts a click for the day of an entity, and for its hour.
    pub(crate) fn count(&mut self, kind: Kind, entity: u64, added: &Added) -> Counted {
        let Some(hourly) = kind.hourly() else { return Counted::default() };
        let (touch_ms, hour) = (added.touch_ms, hour_in_day(added.touch_ms));
        let key = self.key(kind, entity, day_of(touch_ms));
        let (day, is_first) = self.count_at(kind, key, added);
        if is_first || day.was.hour == hour {
            if let Some(tally) = self.get_mut(day.row).filter(|_| is_first) {
                tally.hour = hour;
            }
            return Counted { day, hour: day, is_first };
        }
        if day.was.hour != SEVERAL {
            self.split(&day, hourly, entity, added);
        }
        let own_key = self.key(hourly, entity, hour_of(touch_ms));
        let (hour, _) = self.count_at(hourly, own_key, added);
        Counted { day, hour, is_first }
    }

    /// Counts a click for a key; whether nothing was known of it.
    fn count_at(&mut self, kind: Kind, key: u64, added: &Added) -> (Turned, bool) {
        let found = self.find(key);
        let row = found.unwrap_or_else(|| self.make(kind, key, added.touch_ms, added.room));
        let Some(tally) = self.get_mut(row) else { return (Turned::default(), false) };
        let was = *tally;
        if found.is_some() {
            tally.touch(kind, added.touch_ms);
        }
        tally.head = added.row;
        if added.is_counted {
            tally.count = tally.count.saturating_add(1);
            tally.agents |= 1 << (added.agent & 63);
            if added.is_new && matches!(kind, Kind::Address | Kind::AddressHour) {
                tally.add_new_visitor();
            }
            if kind == Kind::Net && u64::from(tally.count) == NET_DAY_CLICKS_MIN {
                let day = u16::try_from(day_of(added.touch_ms)).unwrap_or(u16::MAX);
                tally.last_day = day.saturating_add(LONG_DAYS);
            }
        }
        (Turned { row, was, is: *tally }, found.is_none())
    }

    /// Gives the only hour of a day, as it was before a click of another, a row of its own.
    fn split(&mut self, day: &Turned, hourly: Kind, entity: u64, added: &Added) {
        let was = &day.was;
        if let Some(day) = self.get_mut(day.row) {
            day.hour = SEVERAL;
        }
        let begin_ms = added.touch_ms / DAY_MS * DAY_MS + u64::from(was.hour) * HOUR_MS;
        let key = self.key(hourly, entity, hour_of(begin_ms));
        let (own, _) = self.enter(hourly, key, begin_ms, added.room);
        if let Some(own) = self.get_mut(own) {
            (own.agents, own.count, own.head) = (was.agents, was.count, was.head);
            own.fresh = if hourly == Kind::AddressHour { was.new_visitors() } else { was.fresh };
            own.set_step(was.step());
        }
    }
}

fn hour_in_day(at_ms: u64) -> u8 {
    u8::try_from(hour_of(at_ms) % DAY_HOURS).unwrap_or(SEVERAL)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test should fail on the spot")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What is counted of an hour or a day.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Plain {
        count: u32,
        agents: u64,
        new: u32,
        head: u32,
    }

    fn plain(tally: Option<&Tally>) -> Plain {
        tally.map_or_else(Plain::default, |tally| Plain {
            count: tally.count,
            agents: tally.agents,
            new: tally.new_visitors(),
            head: tally.head,
        })
    }

    proptest! {
        /// Days and hours counted each by itself.
        #[test]
        fn an_hour_is_what_was_counted_in_it_whether_it_has_a_row_or_not(
            clicks in prop::collection::vec((0_u64..3, 0_u64..72, 0_u8..64, any::<bool>()), 0..200),
        ) {
            let mut tallies = Tallies::default();
            let (mut hours, mut days) = (BTreeMap::new(), BTreeMap::new());
            let room = Room { now_ms: 0, rows_max: 10_000 };
            for ((entity, hour, agent, is_new), row) in clicks.into_iter().zip(0..) {
                let touch_ms = hour * HOUR_MS + 7;
                let is_counted = agent != 3;
                let added = Added { touch_ms, agent, is_new, is_counted, row, room };
                let counted = tallies.count(Kind::Address, entity, &added);
                let day = days.entry((entity, hour / 24)).or_insert((Plain::default(), false));
                let own = hours.entry((entity, hour)).or_insert((Plain::default(), false));
                prop_assert_eq!(counted.is_first, !day.1);
                // The newest before it is the next of the chain.
                let heads = (counted.hour.was.head, counted.day.was.head);
                let head = |(of, is_there): &(Plain, bool)| if *is_there { of.head } else { NONE };
                prop_assert_eq!(heads, (head(own), head(day)));
                for (of, is_there) in [own, day] {
                    (of.head, *is_there) = (row, true);
                    if is_counted {
                        of.count += 1;
                        of.agents |= 1 << agent;
                        of.new += u32::from(is_new);
                    }
                }
            }
            for ((entity, hour), (own, _)) in &hours {
                let at_ms = hour * HOUR_MS + 99;
                let (found, day) = tallies.hour_and_day(Kind::Address, *entity, at_ms);
                prop_assert_eq!(plain(found), *own);
                let row = tallies.hour_row(Kind::Address, *entity, at_ms).unwrap();
                prop_assert_eq!(plain(tallies.get(row)), *own);
                let (expected, _) = days[&(*entity, hour / 24)];
                let day = plain(day);
                prop_assert_eq!((day.count, day.agents, day.head),
                    (expected.count, expected.agents, expected.head));
            }
            prop_assert!(tallies.len() <= hours.len() + days.len());
        }
    }

    #[test]
    fn a_day_all_in_one_hour_takes_one_row() {
        let mut tallies = Tallies::default();
        let room = Room { now_ms: 0, rows_max: 100 };
        let added = |hour: u64| Added {
            touch_ms: hour * HOUR_MS,
            agent: 1,
            is_new: false,
            is_counted: true,
            row: 0,
            room,
        };
        (0..9).for_each(|_| _ = tallies.count(Kind::Net, 5, &added(3)));
        assert_eq!(tallies.len(), 1);
        tallies.count(Kind::Net, 5, &added(4));
        assert_eq!(tallies.len(), 3);
    }
}
