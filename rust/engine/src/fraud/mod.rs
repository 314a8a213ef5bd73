//! Whether a click or a conversion is genuine: signals, their combination, and what comes of it.
//!
//! Integer arithmetic and event time only. The rules are those of `docs/fraud.md`.

pub mod agents;
pub(crate) mod click;
pub mod conversion;
pub mod facts;
pub mod hosts;
mod layer;
pub mod repeats;
pub mod request;
pub mod rules;
pub mod score;
pub mod shared;
pub mod signals;
pub mod sources;
pub mod state;

pub use rules::{Layer, Rule, Ruleset};
pub use score::{Findings, Scored};
pub use shared::Shared;
pub use signals::{Family, Hardness, Mode, Signal, ONE};

/// What came of scoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing speaks against it, or not enough.
    #[default]
    Accept = 0,
    /// A person should look at it; pay waits.
    Review = 1,
    /// It is not genuine: it earns nothing.
    Reject = 2,
    /// Declared automation: counted gross, not net; nobody is accused.
    Filtered = 3,
}

impl Verdict {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Review => "review",
            Self::Reject => "reject",
            Self::Filtered => "filtered",
        }
    }
}

/// How a click is counted, beside its verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// It counts.
    #[default]
    Counted = 0,
    /// A repeat of another click.
    Duplicate = 1,
    /// Fetched ahead of time, and not gone to yet.
    Prefetch = 2,
    /// A test.
    Test = 3,
}

impl Counted {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Duplicate => "duplicate",
            Self::Prefetch => "prefetch",
            Self::Test => "test",
        }
    }
}

/// One signal that has something to say of one click or conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The signal.
    pub signal: Signal,
    /// How grave it is, up to [`ONE`].
    pub severity: u32,
    /// What was seen, in the signal's unit.
    pub observed: u64,
    /// From where on it counts.
    pub threshold: u64,
    /// Whether it is the credited click's and passed on to its conversion.
    pub is_inherited: bool,
}
