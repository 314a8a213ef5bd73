//! Sources judged, and their clicks scored, again: a bounded part with each event until all are.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::rows::{Said, SourceClick, Sweep};
use super::{Level, Part, SourceKey, Sources};
use crate::fraud::signals::Signal;
use crate::fraud::state::fifo::NONE;
use crate::limits::{
    DAY_MS, SOURCES_JUDGED_MAX, SOURCE_CLICK_AGE_MAX_MS, SPOOL_AGE_MAX_MS, SWEEP_ROWS_MAX,
};
use crate::Id;

/// A click of a source that is to be scored again, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) source: SourceKey,
    /// The row that the click had.
    pub(crate) click: u32,
    pub(crate) said: Said,
    pub(crate) signal: Option<Signal>,
    pub(crate) event_id: Id,
}

impl Sources {
    /// Puts a click among those of its source, if that is counted at all; above the bound the
    /// oldest of all goes.
    pub(crate) fn add_click(
        &mut self,
        source: SourceKey,
        click: u32,
        said: Said,
        now_ms: u64,
        clicks_max: usize,
    ) {
        let until_s = now_ms.saturating_add(SOURCE_CLICK_AGE_MAX_MS) / 1000;
        let until_s = u32::try_from(until_s).unwrap_or(u32::MAX);
        let Some(earlier) = self.source(source).map(|kept| kept.newest_click) else { return };
        let newest = self.store.clicks.push(SourceClick { click, earlier, until_s, said });
        if let Some(kept) = self.source_mut(source) {
            kept.newest_click = newest;
        }
        if self.store.clicks.len() > clicks_max.max(1) {
            self.store.clicks.pop();
        }
    }

    /// Lets clicks go that are old enough, a bounded part at a time.
    pub(crate) fn sweep(&mut self, now_ms: u64) {
        for _ in 0..SWEEP_ROWS_MAX {
            let oldest = self.store.clicks.get(self.store.clicks.first());
            if oldest.is_none_or(|click| u64::from(click.until_s) * 1000 > now_ms) {
                return;
            }
            self.store.clicks.pop();
        }
    }

    /// The sources that the event being applied has touched; there is none from then on.
    pub fn take_touched(&mut self) -> BTreeSet<SourceKey> {
        std::mem::take(&mut self.touched)
    }

    /// The next sources to be judged whether anything touched them or not. Each part of a day all
    /// are whose clicks may be scored again: what they are compared with has moved, clicks that
    /// might yet have converted have not, and what was decided must not depend on which event came
    /// last.
    pub(crate) fn next_round(&mut self, now_ms: u64) -> Vec<SourceKey> {
        let round = (Part::of(now_ms), self.newest());
        if self.store.round != round {
            self.store.round = round;
            let first = Part::of(now_ms.saturating_sub(SOURCE_CLICK_AGE_MAX_MS + SPOOL_AGE_MAX_MS));
            self.store.judged_to = Some((first, Level::default()));
        }
        let Some(judged_to) = self.store.judged_to else { return Vec::new() };
        let rest = (Bound::Excluded(judged_to), Bound::Unbounded);
        let levels: Vec<(Part, Level)> =
            self.by_age.range(rest).take(SOURCES_JUDGED_MAX).copied().collect();
        self.store.judged_to = levels.last().copied();
        levels.iter().filter_map(|(_, level)| level.as_source()).collect()
    }

    /// Has all clicks of a source scored again, from the newest on. If they already are, it goes on
    /// to the oldest first: one that turns to and fro must not keep its old ones from their turn.
    pub(crate) fn sweep_source(&mut self, source: SourceKey, signal: Signal, event_id: Id) {
        let Some(kept) = self.source_mut(source) else { return };
        let (was_on, signal) = (kept.sweep.is_on, signal as u8);
        if was_on {
            kept.sweep = Sweep { is_due_again: true, signal, event_id, ..kept.sweep };
            return;
        }
        let at = kept.newest_click;
        kept.sweep = Sweep { is_on: true, is_due_again: false, at, signal, event_id };
        self.store.swept.push(source);
    }

    /// Whether clicks of any source are being scored again.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.store.swept.len() > 0
    }

    /// Goes on by one: to the next click that is to be scored again, or to the end of its source.
    pub(crate) fn next_swept(&mut self, now_ms: u64) -> Option<Due> {
        let is_young = |click: &SourceClick| u64::from(click.until_s) * 1000 > now_ms;
        let source = *self.store.swept.get(self.store.swept.first())?;
        let at = self.source(source).map_or(NONE, |kept| kept.sweep.at);
        let click = self.store.clicks.get(at).copied().filter(is_young);
        let kept = self.source_mut(source);
        if let (Some(SourceClick { click, earlier, said, .. }), Some(kept)) = (click, kept) {
            kept.sweep.at = earlier;
            let (signal, event_id) = (kept.sweep_signal(), kept.sweep.event_id);
            return Some(Due { source, click, said, signal, event_id });
        }
        if let Some(kept) = self.source_mut(source) {
            if kept.sweep.is_due_again {
                (kept.sweep.is_due_again, kept.sweep.at) = (false, kept.newest_click);
                return None;
            }
            kept.sweep = Sweep::default();
        }
        self.store.swept.pop();
        None
    }

    /// Has another source take its turn.
    pub(crate) fn pass_turn(&mut self) {
        if self.store.swept.len() > 1 {
            if let Some(source) = self.store.swept.pop() {
                self.store.swept.push(source);
            }
        }
    }
}

impl Level {
    fn as_source(self) -> Option<SourceKey> {
        let Self { program, partner, sub } = self;
        Some(SourceKey { program, partner, sub: u16::try_from(sub).ok()? })
    }
}

const _: () = assert!(SOURCE_CLICK_AGE_MAX_MS >= 2 * DAY_MS, "longer than clicks are young");

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail on the spot")]
mod tests {
    use super::*;

    const CLICKS: u32 = 10;

    fn swept() -> (Sources, SourceKey) {
        let (mut sources, source) = (Sources::default(), SourceKey::new(1, 2, None));
        for click in 0..CLICKS {
            sources.note_click(source, DAY_MS);
            sources.add_click(source, click, Said::default(), DAY_MS, 100);
        }
        sources.sweep_source(source, Signal::ClickFlooding, [1; 16]);
        (sources, source)
    }

    #[test]
    fn a_source_that_turns_with_every_step_has_all_its_clicks_scored_again() {
        let (mut sources, source) = swept();
        let mut seen = Vec::new();
        while seen.len() < CLICKS as usize {
            let due = sources.next_swept(DAY_MS).unwrap();
            seen.push(due.click);
            sources.sweep_source(source, Signal::SourceQuality, [2; 16]);
            assert!(due.event_id == [1; 16] || seen.len() > 1, "the later cause from then on");
        }
        assert_eq!(seen, (0..CLICKS).rev().collect::<Vec<_>>(), "the newest first");
        let rest = std::iter::from_fn(|| {
            sources.is_sweeping().then(|| sources.next_swept(DAY_MS).map(|due| due.click))
        });
        let rest: Vec<Option<u32>> = rest.collect();
        assert_eq!(rest.iter().flatten().count(), CLICKS as usize, "and once more in the end");
        assert_eq!(rest.len(), CLICKS as usize + 2, "an end is a step as well");
    }

    #[test]
    fn a_source_that_is_let_go_and_comes_back_is_swept_once() {
        let (mut sources, source) = swept();
        let [own, ..] = Level::chain(source);
        sources.forget(own, Part::of(DAY_MS));
        sources.note_click(source, DAY_MS);
        sources.add_click(source, 50, Said::default(), DAY_MS, 100);
        sources.sweep_source(source, Signal::ClickFlooding, [3; 16]);
        let mut seen = Vec::new();
        while sources.is_sweeping() {
            seen.extend(sources.next_swept(DAY_MS).map(|due| due.click));
        }
        assert_eq!(seen, [50]);
    }

    #[test]
    fn all_sources_are_judged_once_a_round_so_many_at_a_time() {
        let mut sources = Sources::default();
        let subs = u16::try_from(SOURCES_JUDGED_MAX).unwrap() + 6;
        for sub in 0..subs {
            sources.note_click(SourceKey { program: 1, partner: 2, sub }, 8 * DAY_MS);
        }
        let now_ms = 8 * DAY_MS;
        // The partner and the program are looked at as well.
        let rounds: Vec<Vec<SourceKey>> = (0..3).map(|_| sources.next_round(now_ms)).collect();
        assert!(rounds.iter().all(|round| round.len() <= SOURCES_JUDGED_MAX));
        let all: BTreeSet<SourceKey> = rounds.concat().into_iter().collect();
        let counts = (rounds.concat().len(), all.len());
        assert_eq!(counts, (usize::from(subs), usize::from(subs)));
        assert!(rounds[2].is_empty(), "the round is over");
        assert!(!sources.next_round(now_ms + DAY_MS).is_empty(), "and the next begins");
    }
}
