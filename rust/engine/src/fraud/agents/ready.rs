//! Classes of user agents met lately, kept ready.
//!
//! Whole user agents are compared, so what is ready never changes an answer.

use std::sync::{Mutex, PoisonError};

use super::Class;
use crate::limits::AGENTS_READY_MAX;

/// A multiplier whose bits are well mixed (that of `splitmix64`).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

type Place = Option<(Box<str>, Class)>;

/// Classes by user agent, each at the one place that its hash says.
#[derive(Default)]
pub(super) struct Ready {
    places: Mutex<Vec<Place>>,
}

impl Ready {
    /// The class of a user agent, made by `classify` unless it is ready.
    pub(super) fn class(&self, agent: &str, classify: impl FnOnce(&str) -> Class) -> Class {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.is_empty() {
            places.resize(AGENTS_READY_MAX, None);
        }
        let at = usize::try_from(hash(agent) >> 32).unwrap_or(0) % AGENTS_READY_MAX;
        let Some(place) = places.get_mut(at) else { return classify(agent) };
        match place {
            Some((ready, class)) if **ready == *agent => *class,
            _ => {
                let class = classify(agent);
                *place = Some((agent.into(), class));
                class
            }
        }
    }
}

fn hash(text: &str) -> u64 {
    let fold = |hash: u64, bits: u64| (hash ^ bits).wrapping_mul(MIX).rotate_left(29);
    let words = text.as_bytes().chunks_exact(8);
    let rest = words.remainder().iter().fold(0, |bits, byte| (bits << 8) | u64::from(*byte));
    let words = words.filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes));
    fold(words.fold(text.len() as u64, fold), rest).wrapping_mul(MIX)
}
