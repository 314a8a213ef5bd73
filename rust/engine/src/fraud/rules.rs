//! The rules in force for a partner of a program: the defaults of the table, and over them what
//! the network, the program and the enrolment say.

use super::hosts::{is_within, path_of, Prefix};
pub use super::layer::{Change, Layer};
use super::signals::{Mode, Signal, Unit, ONE};
use crate::identity::digest::plain_digest;
use crate::limits::DAY_MS;
use crate::Id;

/// The score from which on a person should look, unless a layer says otherwise.
const REVIEW_FROM: u8 = 40;
/// Checkout pages of common shop systems.
const CHECKOUT_PATHS: [&str; 4] = ["/basket", "/cart", "/checkout", "/kasse"];
/// Room for the number of every signal: they are bits of a mask.
const NUMBERS: usize = 64;
/// Letters of a path's first part that names a language: `de`, `en-gb`, `pt_br`.
const LOCALE_BYTES_MAX: usize = 5;

/// One rule in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is to do.
    pub mode: Mode,
    /// Points it alone gives at full severity, 0 to 100.
    pub weight: u8,
    /// From where on it has a severity.
    pub low: u64,
    /// From where on its severity is full.
    pub high: u64,
}

const NO_RULE: Rule = Rule { mode: Mode::Off, weight: 0, low: 0, high: 0 };

/// All rules in force for a partner of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The score from which on a person should look.
    pub review_from: u8,
    /// For how long a visitor's further clicks of a partner are not unique, in milliseconds.
    pub unique_window_ms: u64,
    rules: [Rule; NUMBERS],
    off: u64,
    referrers: Option<Vec<String>>,
    allow_prefixes: Vec<Prefix>,
    deny_referrers: Vec<String>,
    deny_subs: Vec<String>,
    checkout_paths: Vec<String>,
    sites: Vec<String>,
    hash: Id,
}

impl Default for Ruleset {
    fn default() -> Self {
        let none = Layer::default();
        Self::of([&none, &none, &none])
    }
}

impl Ruleset {
    /// The rules that layers make, each over those before it: the network's, the program's and
    /// the enrolment's.
    pub fn of(layers: [&Layer; 3]) -> Self {
        Self::of_program(layers, &[])
    }

    /// The same, with the domains of the program's own site.
    pub fn of_program(layers: [&Layer; 3], sites: &[String]) -> Self {
        let mut merged = defaults();
        for layer in layers {
            merged = merged.under(layer);
        }
        let mut hashed = vec![merged.to_bytes()];
        hashed.extend(sites.iter().map(|site| site.clone().into_bytes()));
        let parts: Vec<&[u8]> = hashed.iter().map(Vec::as_slice).collect();
        let hash = plain_digest(&parts);
        let mut rules = [NO_RULE; NUMBERS];
        let mut off = 0;
        for (signal, change) in &merged.rules {
            let rule = rule_of(*signal, change);
            if rule.mode == Mode::Off {
                off |= signal.bit();
            }
            if let Some(place) = rules.get_mut(*signal as usize) {
                *place = rule;
            }
        }
        Self {
            review_from: merged.review_from.unwrap_or(REVIEW_FROM),
            unique_window_ms: merged.unique_window_s.map_or(DAY_MS, |seconds| 1000 * seconds),
            rules,
            off,
            referrers: merged.referrers,
            allow_prefixes: merged.allow_prefixes.unwrap_or_default(),
            deny_referrers: merged.deny_referrers.unwrap_or_default(),
            deny_subs: merged.deny_subs.unwrap_or_default(),
            checkout_paths: merged.checkout_paths.unwrap_or_default(),
            sites: sites.to_vec(),
            hash,
        }
    }

    /// The rule in force for a signal.
    pub fn rule(&self, signal: Signal) -> Rule {
        self.rules.get(signal as usize).copied().unwrap_or(NO_RULE)
    }

    /// Whether a signal is to be looked at.
    pub fn is_on(&self, signal: Signal) -> bool {
        self.off & signal.bit() == 0
    }

    /// The signals that are not to be looked at, as a mask.
    pub(super) fn off(&self) -> u64 {
        self.off
    }

    /// How grave an observation is: nothing below `low`, a quarter there, all of it at `high`, in
    /// quarters. Of times less is worse, of all else more.
    pub fn severity(&self, signal: Signal, observed: u64) -> u32 {
        let Rule { low, high, .. } = self.rule(signal);
        let (beyond, whole) = if is_falling(signal) {
            (low.checked_sub(observed), low - high.min(low))
        } else {
            (observed.checked_sub(low), high.max(low) - low)
        };
        match beyond {
            None => 0,
            Some(beyond) if beyond >= whole => ONE,
            Some(beyond) => {
                let steps = 1 + 3 * u128::from(beyond) / u128::from(whole);
                u32::try_from(steps).unwrap_or(4).min(4) * (ONE / 4)
            }
        }
    }

    /// Digest of all of it.
    pub fn hash(&self) -> &Id {
        &self.hash
    }

    /// The beginning of the digest: enough to tell rules of one partner apart, over time.
    pub(crate) fn short_hash(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.hash;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The domains of the pages that the partner has declared, if it has.
    pub fn referrers(&self) -> Option<&[String]> {
        self.referrers.as_deref()
    }

    /// Whether a host is the program's own site.
    pub fn is_own_site(&self, host: &str) -> bool {
        is_under_one(host, &self.sites)
    }

    /// Whether pages of a host are refused.
    pub fn denies_referrer(&self, host: &str) -> bool {
        is_under_one(host, &self.deny_referrers)
    }

    /// Whether a first sub id is refused.
    pub fn denies_sub(&self, sub: &str) -> bool {
        self.deny_subs.binary_search_by(|denied| denied.as_str().cmp(sub)).is_ok()
    }

    /// Whether anything is refused by its first sub id.
    pub fn has_denied_subs(&self) -> bool {
        !self.deny_subs.is_empty()
    }

    /// Whether anything is refused by the page it comes from.
    pub fn has_denied_referrers(&self) -> bool {
        !self.deny_referrers.is_empty()
    }

    /// Whether an address of this prefix is excused from the signals of networks and of velocity.
    pub fn allows(&self, address_prefix: Option<&str>) -> bool {
        if self.allow_prefixes.is_empty() {
            return false;
        }
        let prefix = address_prefix.and_then(Prefix::parse);
        prefix.is_some_and(|prefix| self.allow_prefixes.iter().any(|allow| allow.contains(&prefix)))
    }

    /// Whether a page is one of the checkout, by its path: whole parts of it from the start, or
    /// after one part that names a language.
    pub fn is_checkout(&self, url: &str) -> bool {
        let path = path_of(url);
        let begins = |path: &str| self.checkout_paths.iter().any(|start| begins_with(path, start));
        let mut parts = path.splitn(3, '/').skip(1);
        let is_locale = parts.next().is_some_and(|part| part.len() <= LOCALE_BYTES_MAX);
        let after = path.get(1..).and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
        begins(path) || is_locale && after.is_some_and(begins)
    }
}

/// Every member as it is where no layer says anything.
fn defaults() -> Layer {
    let change = |signal: &Signal| {
        let line = signal.line();
        let (mode, weight) = (Some(line.mode), Some(line.weight));
        (*signal, Change { mode, weight, low: Some(line.low), high: Some(line.high) })
    };
    Layer {
        review_from: Some(REVIEW_FROM),
        unique_window_s: Some(DAY_MS / 1000),
        rules: Signal::ALL.iter().map(change).collect(),
        checkout_paths: Some(CHECKOUT_PATHS.map(str::to_owned).to_vec()),
        ..Layer::default()
    }
}

fn rule_of(signal: Signal, change: &Change) -> Rule {
    let line = signal.line();
    Rule {
        mode: change.mode.unwrap_or(line.mode),
        weight: change.weight.unwrap_or(line.weight),
        low: change.low.unwrap_or(line.low),
        high: change.high.unwrap_or(line.high),
    }
}

/// Whether less is worse.
fn is_falling(signal: Signal) -> bool {
    signal.line().unit == Unit::Milliseconds
}

fn is_under_one(host: &str, domains: &[String]) -> bool {
    domains.iter().any(|domain| is_within(host, domain))
}

/// Whether a path begins with whole parts, which are in lower case.
fn begins_with(path: &str, start: &str) -> bool {
    let (Some(front), Some(rest)) = (path.get(..start.len()), path.get(start.len()..)) else {
        return false;
    };
    front.eq_ignore_ascii_case(start) && (rest.is_empty() || rest.starts_with('/'))
}
