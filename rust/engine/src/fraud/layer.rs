//! One layer of the configuration: what the network, a program or an enrolment says of its own.

use std::collections::BTreeMap;

use super::hosts::{domain, Prefix};
use super::signals::{Mode, Signal};
use crate::attribution::rules::for_members;
use crate::limits::{DAY_MS, FRAUD_LIST_MAX};
use crate::msgpack::{Reader, Writer};

/// The shortest time within which a visitor's clicks count as one.
const UNIQUE_WINDOW_MIN_S: u64 = 60;
/// The longest.
const UNIQUE_WINDOW_MAX_S: u64 = 30 * DAY_MS / 1000;

/// What a layer says of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What it is to do.
    pub mode: Option<Mode>,
    /// Points it alone gives at full severity.
    pub weight: Option<u8>,
    /// From where on it counts.
    pub low: Option<u64>,
    /// From where on it counts in full.
    pub high: Option<u64>,
}

/// What one layer says. Lists are sorted, and hold each entry once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// The score from which on a person should look.
    pub review_from: Option<u8>,
    /// For how long a visitor's further clicks of a partner are not unique, in seconds.
    pub unique_window_s: Option<u64>,
    /// Changes of rules.
    pub rules: BTreeMap<Signal, Change>,
    /// Domains of the pages a partner has declared.
    pub referrers: Option<Vec<String>>,
    /// Networks that signals of networks and of velocity do not count for.
    pub allow_prefixes: Option<Vec<Prefix>>,
    /// Domains that are refused.
    pub deny_referrers: Option<Vec<String>>,
    /// First sub ids that are refused.
    pub deny_subs: Option<Vec<String>>,
    /// Beginnings of the paths of checkout pages.
    pub checkout_paths: Option<Vec<String>>,
}

impl Layer {
    /// A layer from a MessagePack map. Members that are unknown, of another type or out of their
    /// range count as missing, and so do entries of lists.
    pub fn read(value: &[u8]) -> Self {
        let mut layer = Self::default();
        for_members(value, |name, member| {
            let mut reader = Reader::new(member);
            let mut uint = |range: std::ops::RangeInclusive<u64>| {
                reader.uint().ok().filter(|value| range.contains(value))
            };
            match name {
                "review_from" => {
                    layer.review_from = uint(1..=100).and_then(|score| u8::try_from(score).ok());
                }
                "unique_window_seconds" => {
                    layer.unique_window_s = uint(UNIQUE_WINDOW_MIN_S..=UNIQUE_WINDOW_MAX_S);
                }
                "rules" => layer.take_rules(member),
                "referrers" => layer.referrers = list(member, domain),
                "allow" => for_members(member, |name, member| {
                    if name == "prefixes" {
                        layer.allow_prefixes = list(member, Prefix::parse);
                    }
                }),
                "deny" => for_members(member, |name, member| match name {
                    "referrers" => layer.deny_referrers = list(member, domain),
                    "subs" => layer.deny_subs = list(member, |text| Some(text.to_owned())),
                    _ => {}
                }),
                "checkout_paths" => layer.checkout_paths = list(member, checkout_path),
                _ => {}
            }
        });
        layer
    }

    fn take_rules(&mut self, rules: &[u8]) {
        for_members(rules, |code, member| {
            let Some(signal) = Signal::from_code(code) else { return };
            let mut change = Change::default();
            for_members(member, |name, member| {
                let mut reader = Reader::new(member);
                match name {
                    "mode" => change.mode = reader.str().ok().and_then(Mode::from_code),
                    "weight" => {
                        let weight = reader.uint().ok().filter(|weight| *weight <= 100);
                        change.weight = weight.and_then(|weight| u8::try_from(weight).ok());
                    }
                    "low" => change.low = reader.uint().ok(),
                    "high" => change.high = reader.uint().ok(),
                    _ => {}
                }
            });
            if change != Change::default() {
                self.rules.insert(signal, change);
            }
        });
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What `over` says, and what this layer says where that one is silent.
    #[must_use]
    pub fn under(&self, over: &Self) -> Self {
        let mut rules = self.rules.clone();
        for (signal, new) in &over.rules {
            let old = rules.entry(*signal).or_default();
            *old = Change {
                mode: new.mode.or(old.mode),
                weight: new.weight.or(old.weight),
                low: new.low.or(old.low),
                high: new.high.or(old.high),
            };
        }
        Self {
            review_from: over.review_from.or(self.review_from),
            unique_window_s: over.unique_window_s.or(self.unique_window_s),
            rules,
            referrers: over.referrers.as_ref().or(self.referrers.as_ref()).cloned(),
            allow_prefixes: over.allow_prefixes.as_ref().or(self.allow_prefixes.as_ref()).cloned(),
            deny_referrers: over.deny_referrers.as_ref().or(self.deny_referrers.as_ref()).cloned(),
            deny_subs: over.deny_subs.as_ref().or(self.deny_subs.as_ref()).cloned(),
            checkout_paths: over.checkout_paths.as_ref().or(self.checkout_paths.as_ref()).cloned(),
        }
    }

    /// The layer as a map of the same language, in its one form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let members = [
            self.review_from.is_some(),
            self.unique_window_s.is_some(),
            !self.rules.is_empty(),
            self.referrers.is_some(),
            self.allow_prefixes.is_some(),
            self.deny_referrers.is_some() || self.deny_subs.is_some(),
            self.checkout_paths.is_some(),
        ];
        out.map(members.iter().filter(|is_there| **is_there).count());
        write_uint(&mut out, "review_from", self.review_from.map(u64::from));
        write_uint(&mut out, "unique_window_seconds", self.unique_window_s);
        if !self.rules.is_empty() {
            out.str("rules");
            out.map(self.rules.len());
            for (signal, change) in &self.rules {
                out.str(signal.line().code);
                write_change(&mut out, change);
            }
        }
        write_list(&mut out, "referrers", self.referrers.as_deref());
        if let Some(prefixes) = &self.allow_prefixes {
            let texts: Vec<String> = prefixes.iter().map(Prefix::text).collect();
            out.str("allow");
            out.map(1);
            write_list(&mut out, "prefixes", Some(&texts));
        }
        if self.deny_referrers.is_some() || self.deny_subs.is_some() {
            out.str("deny");
            let lists = [&self.deny_referrers, &self.deny_subs];
            out.map(lists.iter().filter(|list| list.is_some()).count());
            write_list(&mut out, "referrers", self.deny_referrers.as_deref());
            write_list(&mut out, "subs", self.deny_subs.as_deref());
        }
        write_list(&mut out, "checkout_paths", self.checkout_paths.as_deref());
        out.bytes
    }
}

fn write_uint(out: &mut Writer, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        out.str(name);
        out.uint(value);
    }
}

fn write_list(out: &mut Writer, name: &str, list: Option<&[String]>) {
    if let Some(list) = list {
        out.str(name);
        out.array(list.len());
        for text in list {
            out.str(text);
        }
    }
}

fn write_change(out: &mut Writer, change: &Change) {
    let Change { mode, weight, low, high } = *change;
    let members = [mode.is_some(), weight.is_some(), low.is_some(), high.is_some()];
    out.map(members.iter().filter(|is_there| **is_there).count());
    if let Some(mode) = mode {
        out.str("mode");
        out.str(mode.code());
    }
    write_uint(out, "weight", weight.map(u64::from));
    write_uint(out, "low", low);
    write_uint(out, "high", high);
}

/// The entries of a list of strings that `read` can use, sorted, each once; `None` for no list.
fn list<T: Ord>(member: &[u8], read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut reader = Reader::new(member);
    let count = reader.array_max(usize::MAX).ok()?;
    let mut entries = Vec::new();
    for _ in 0..count.min(FRAUD_LIST_MAX) {
        let entry = reader.value().ok()?;
        entries.extend(Reader::new(entry).str().ok().and_then(&read));
    }
    entries.sort_unstable();
    entries.dedup();
    Some(entries)
}

fn checkout_path(text: &str) -> Option<String> {
    let path = text.trim().trim_end_matches('/').to_ascii_lowercase();
    (path.len() > 1 && path.starts_with('/')).then_some(path)
}
