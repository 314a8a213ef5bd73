//! The contract between brand and partner, as far as it says how long a click may earn.

use std::collections::{BTreeMap, BTreeSet};

use super::{is_newer, put, Revised, Value, Versions};
use crate::attribution::rules::window;
use crate::limits::EVENT_WINDOWS_MAX;
use crate::msgpack::Reader;
use crate::Id;

/// The partner of terms that hold for all partners of a program without terms of their own.
const ALL_PARTNERS: u64 = 0;

/// For whom terms hold, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The program's number.
    pub program: u64,
    /// The partner's number; 0: all that have no terms of their own.
    pub partner: u64,
    /// Conversions that occurred from here on, in milliseconds.
    pub from_ms: u64,
    /// Conversions that occurred from here on are no longer meant; `None`: no end.
    pub until_ms: Option<u64>,
}

/// Terms in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Revision of the change in force.
    pub revision: u64,
    /// For whom and when; `None` once they are deleted.
    pub span: Option<Span>,
    /// The click window in milliseconds; `None`: that of the event type or the program.
    pub window_ms: Option<u64>,
    /// Event types with another click window, by number: sorted, in milliseconds.
    pub event_windows_ms: Vec<(u64, u64)>,
    /// Digest of the value in force.
    pub digest: Id,
}

impl Revised for Terms {
    fn revision(&self) -> u64 {
        self.revision
    }
}

/// Program, partner, begin, number.
type Place = (u64, u64, u64, u64);

impl Terms {
    /// What a value says. A number that is out of range counts as missing.
    pub(super) fn of(value: &Value<'_>, revision: u64, digest: Id) -> Self {
        let span = value.program.map(|program| Span {
            program,
            partner: value.partner.unwrap_or(ALL_PARTNERS),
            from_ms: value.from_ms.unwrap_or(0),
            until_ms: value.until_ms,
        });
        let event_windows_ms = value.event_windows_ms.and_then(read_windows).unwrap_or_default();
        Self { revision, span, window_ms: value.window_ms, event_windows_ms, digest }
    }

    fn place(&self, number: u64) -> Option<Place> {
        self.span.map(|span| (span.program, span.partner, span.from_ms, number))
    }

    fn has_windows(&self) -> bool {
        self.window_ms.is_some() || !self.event_windows_ms.is_empty()
    }

    /// The click window for an event type, in milliseconds.
    fn event_window_ms(&self, event_type: u64) -> Option<u64> {
        let found = self.event_windows_ms.iter().find(|(number, _)| *number == event_type);
        found.map(|(_, window_ms)| *window_ms).or(self.window_ms)
    }

    fn longest_ms(&self) -> Option<u64> {
        self.event_windows_ms.iter().map(|(_, window_ms)| *window_ms).chain(self.window_ms).max()
    }
}

fn read_windows(member: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut reader = Reader::new(member);
    let mut windows = Vec::new();
    for _ in 0..reader.array_max(usize::MAX).ok()?.min(EVENT_WINDOWS_MAX) {
        let mut pair = Reader::new(reader.value().ok()?);
        pair.array_of(2).ok()?;
        let number = pair.uint().ok()?;
        windows.extend(window(pair).map(|window_ms| (number, window_ms)));
    }
    windows.sort_unstable();
    windows.dedup_by_key(|(number, _)| *number);
    Some(windows)
}

/// All terms of a brand that name a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermsBook {
    by_number: BTreeMap<u64, Versions<Terms>>,
    /// Of every version that is kept.
    places: BTreeSet<Place>,
    /// Program, longest window and number of those in force.
    longest: BTreeSet<(u64, u64, u64)>,
}

impl TermsBook {
    /// Takes a change in; returns whether it is the newest of its object and was applied. Terms
    /// that never named a window are taken, and nothing is kept of them.
    pub(super) fn apply(&mut self, number: u64, new: Terms, terms_max: usize) -> bool {
        let old = self.by_number.get(&number);
        if old.is_none() && !new.has_windows() {
            return true;
        }
        if !is_newer(old, new.revision, self.by_number.len(), terms_max) {
            return false;
        }
        self.forget_longest(number);
        let gone = put(&mut self.by_number, number, new);
        self.index(number);
        if let Some(place) = gone.and_then(|gone| gone.place(number)) {
            let kept = self.by_number.get(&number);
            if !kept.is_some_and(|kept| kept.all().iter().any(|t| t.place(number) == Some(place))) {
                self.places.remove(&place);
            }
        }
        true
    }

    /// Every object that is kept, by number.
    pub fn all(&self) -> &BTreeMap<u64, Versions<Terms>> {
        &self.by_number
    }

    /// Puts back what a snapshot holds.
    pub(crate) fn restore(&mut self, number: u64, versions: Versions<Terms>) {
        self.by_number.insert(number, versions);
        self.index(number);
    }

    /// The terms of a partner for conversions of a time, as of a revision: its own before those
    /// for all, of several the latest begun.
    pub(super) fn in_force(
        &self,
        (program, partner): (u64, u64),
        at_ms: u64,
        revision: u64,
    ) -> Option<&Terms> {
        if self.by_number.is_empty() {
            return None;
        }
        [partner, ALL_PARTNERS].into_iter().find_map(|who| {
            let begun = (program, who, 0, 0)..=(program, who, at_ms, u64::MAX);
            self.places.range(begun).rev().find_map(|place| {
                let (.., number) = *place;
                let terms = self.by_number.get(&number)?.at(revision)?;
                let ends = terms.span.and_then(|span| span.until_ms);
                let is_it = terms.place(number).as_ref() == Some(place);
                (is_it && ends.is_none_or(|end_ms| at_ms < end_ms)).then_some(terms)
            })
        })
    }

    /// The click window of a partner's terms for an event type, in milliseconds.
    pub(super) fn window_ms(
        &self,
        pair: (u64, u64),
        event_type: u64,
        at_ms: u64,
        revision: u64,
    ) -> Option<u64> {
        self.in_force(pair, at_ms, revision)?.event_window_ms(event_type)
    }

    /// The longest window in any terms of a program, in milliseconds.
    pub(super) fn longest_ms(&self, program: u64) -> Option<u64> {
        let of_program = self.longest.range((program, 0, 0)..=(program, u64::MAX, u64::MAX));
        of_program.last().map(|(_, window_ms, _)| *window_ms)
    }

    fn forget_longest(&mut self, number: u64) {
        if let Some(entry) = self.longest_of(number) {
            self.longest.remove(&entry);
        }
    }

    fn longest_of(&self, number: u64) -> Option<(u64, u64, u64)> {
        let now = self.by_number.get(&number)?.now()?;
        Some((now.span?.program, now.longest_ms()?, number))
    }

    fn index(&mut self, number: u64) {
        let Some(versions) = self.by_number.get(&number) else { return };
        self.places.extend(versions.all().iter().filter_map(|terms| terms.place(number)));
        self.longest.extend(self.longest_of(number));
    }
}
