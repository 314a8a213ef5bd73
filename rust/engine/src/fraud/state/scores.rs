//! What speaks against clicks, kept as long as a conversion may rest on them: it inherits it.

use std::sync::Arc;

use super::fifo::Fifo;
use crate::fraud::Finding;
use crate::limits::SWEEP_ROWS_MAX;
use crate::state::chunks::{Fields, Row};
use crate::state::cow::CowMap;
use crate::Id;

/// When the findings of a click are no longer kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) click_id: Id,
    pub(crate) until_s: u32,
}

impl Row for Kept {
    const BYTES: usize = 20;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.click_id);
        self.until_s.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { click_id: fields.take()?, until_s: fields.u32()? })
    }
}

/// The findings of one click.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// What speaks against it.
    pub findings: Arc<[Finding]>,
    /// How often its decision changed.
    pub revision: u16,
    /// Its score.
    pub score: u8,
    /// Its number among pending clicks, while it is one.
    pub row: u32,
    /// Second of engine time until which all this is kept.
    pub until_s: u32,
}

/// The findings of clicks that have any, and of those whose decision ever changed.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    pub(crate) by_click: CowMap<Id, Noted>,
    /// Clicks in the order in which they were first noted; some are forgotten.
    pub(crate) order: Fifo<Kept>,
}

impl Scores {
    /// How many clicks have any.
    pub fn len(&self) -> usize {
        self.by_click.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.by_click.is_empty()
    }

    /// The findings of a click, if there are any.
    pub fn of(&self, click_id: &Id) -> Option<&[Finding]> {
        let noted = self.by_click.get(click_id).filter(|noted| !noted.findings.is_empty())?;
        Some(&noted.findings)
    }

    /// All that is kept of a click, if anything is.
    pub fn noted(&self, click_id: &Id) -> Option<&Noted> {
        self.by_click.get(click_id)
    }

    /// Notes what is to be kept of a click; above the bound those noted first are forgotten.
    pub fn note(&mut self, click_id: Id, noted: Noted, clicks_max: usize) {
        if noted.findings.is_empty() && noted.revision == 0 {
            self.by_click.remove(&click_id);
            return;
        }
        let until_s = noted.until_s;
        if self.by_click.insert(click_id, noted).is_none() {
            self.order.push(Kept { click_id, until_s });
        }
        // What is forgotten may lie behind what is kept.
        while self.by_click.len() > clicks_max || self.order.len() > 2 * clicks_max.max(2) {
            let Some(oldest) = self.order.pop() else { break };
            self.by_click.remove(&oldest.click_id);
        }
    }

    /// Forgets the findings of a click.
    pub fn forget(&mut self, click_id: &Id) {
        self.by_click.remove(click_id);
    }

    /// Forgets findings that are old enough, a bounded part at a time.
    pub fn sweep(&mut self, now_ms: u64) {
        for _ in 0..SWEEP_ROWS_MAX {
            let oldest = self.order.get(self.order.first()).copied();
            let is_due = |kept: &Kept| u64::from(kept.until_s) * 1000 <= now_ms;
            let Some(oldest) = oldest.filter(is_due) else { return };
            self.by_click.remove(&oldest.click_id);
            self.order.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fraud::Signal;

    #[test]
    fn what_was_noted_first_is_forgotten_first_and_what_is_forgotten_leaves_nothing() {
        let finding = Finding {
            signal: Signal::Datacentre,
            severity: 1,
            observed: 1,
            threshold: 1,
            is_inherited: false,
        };
        let mut scores = Scores::default();
        let noted = |findings: &[Finding], until_s| Noted {
            findings: findings.into(),
            until_s,
            ..Noted::default()
        };
        for number in 1..=4 {
            scores.note([number; 16], noted(&[finding], u32::from(number)), 3);
        }
        assert_eq!(scores.of(&[1; 16]), None);
        assert_eq!(scores.of(&[2; 16]), Some(&[finding][..]));
        scores.sweep(2_999);
        assert_eq!(scores.len(), 2);
        scores.forget(&[4; 16]);
        scores.sweep(4_000);
        assert!(scores.is_empty());
        assert_eq!(scores.order.len(), 0);
        scores.note([5; 16], noted(&[], 9), 3);
        assert!(scores.is_empty(), "nothing to keep");
        scores.note([5; 16], Noted { revision: 1, ..noted(&[], 9) }, 3);
        assert_eq!(scores.of(&[5; 16]), None);
        assert_eq!(scores.noted(&[5; 16]).map(|noted| noted.revision), Some(1));
    }
}
