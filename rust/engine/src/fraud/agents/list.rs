//! The list of known crawlers: patterns of regular expressions, most of them plain text.

use std::fmt;

use aho_corasick::AhoCorasick;
use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};

use super::ready::Ready;
use super::{generic, Agent, Class, Kind};
use crate::limits::{AGENT_BYTES_MAX, BOT_PATTERNS_MAX, BOT_PATTERN_BYTES_MAX};

/// Bytes one pattern may take once it is compiled.
const PATTERN_SIZE_MAX: usize = 256 * 1024;
/// Bytes all patterns that are no plain text may take.
const SET_SIZE_MAX: usize = 16 * 1024 * 1024;
/// Ordinary browsers, those of widespread apps too: a pattern that matches one of them would filter
/// everybody.
const ORDINARY: [&str; 10] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
     Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
     SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36 OPR/90.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Linux; Android 16; SM-S921B Build/BP2A.250605.031; wv) AppleWebKit/537.36 \
     (KHTML, like Gecko) Version/4.0 Chrome/140.0.0.0 Mobile Safari/537.36 \
     [FB_IAB/FB4A;FBAV/520.0.0.40.100;IABMV/1;] MetaIAB Facebook",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
     Gecko) Mobile/22F76 Instagram 390.0.0.28.85 (iPhone15,2; iOS 18_5; en_US; en; scale=3.00)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
     Gecko) Mobile/22F76 [FBAN/FBIOS;FBAV/520.0.0.38.101;FBBV/756351453;FBDV/iPhone15,2]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
     Gecko) Version/18.5 Mobile/15E148 Snapchat/13.40.0.38 GSA/370.0 DuckDuckGo/7 Line/15.10.0",
    "Mozilla/5.0 (Linux; Android 14; 2201117TG Build/UKQ1.230917.001; wv) AppleWebKit/537.36 \
     (KHTML, like Gecko) Version/4.0 Chrome/140.0.0.0 Mobile Safari/537.36 Instagram 390.0.0.47.85 \
     musical_ly_2024 BytedanceWebview/d8a21c6 Pinterest/13.1 MicroMessenger/8.0.50",
];

/// A list of known crawlers, ready to be asked.
pub struct BotList {
    version: String,
    patterns: Vec<String>,
    skipped: usize,
    literals: Option<AhoCorasick>,
    expressions: Option<RegexSet>,
    ready: Ready,
}

impl BotList {
    /// Compiles a list. Patterns that are empty, wrong, too large, past the bounds, or that match
    /// ordinary browsers are skipped and counted.
    pub fn compile(version: &str, patterns: Vec<String>) -> Self {
        let (mut literals, mut expressions) = (Vec::new(), Vec::new());
        let (mut skipped, mut bytes_left) = (0, BOT_PATTERN_BYTES_MAX);
        for (number, pattern) in patterns.iter().enumerate() {
            let left = bytes_left.checked_sub(pattern.len());
            let Some(left) = left.filter(|_| number < BOT_PATTERNS_MAX) else {
                skipped += 1;
                continue;
            };
            bytes_left = left;
            match literal(pattern) {
                Some(text) if is_selective(|agent| agent.contains(&text)) => literals.push(text),
                None if is_sound(pattern) => expressions.push(pattern.as_str()),
                _ => skipped += 1,
            }
        }
        let automaton = (!literals.is_empty()).then(|| AhoCorasick::new(&literals));
        let set = (!expressions.is_empty()).then(|| {
            RegexSetBuilder::new(&expressions).unicode(false).size_limit(SET_SIZE_MAX).build()
        });
        skipped += if matches!(automaton, Some(Err(_))) { literals.len() } else { 0 };
        skipped += if matches!(set, Some(Err(_))) { expressions.len() } else { 0 };
        Self {
            version: version.to_owned(),
            skipped,
            literals: automaton.and_then(Result::ok),
            expressions: set.and_then(Result::ok),
            patterns,
            ready: Ready::default(),
        }
    }

    /// The list's version; `None` when there is no list.
    pub fn version(&self) -> Option<&str> {
        (!self.patterns.is_empty()).then_some(self.version.as_str())
    }

    /// The patterns as they came.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// How many patterns could not be used.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether a user agent is on the list.
    pub fn matches(&self, user_agent: &str) -> bool {
        let bytes = user_agent.as_bytes();
        self.literals.as_ref().is_some_and(|literals| literals.is_match(bytes))
            || self.expressions.as_ref().is_some_and(|set| set.is_match(bytes))
    }

    /// All that is asked of a user agent. Only its beginning is looked at.
    pub fn class_of(&self, user_agent: &str) -> Class {
        let mut ends = (0..=AGENT_BYTES_MAX.min(user_agent.len())).rev();
        let start = ends.find_map(|end| user_agent.get(..end)).unwrap_or_default();
        self.ready.class(start, |user_agent| self.classify(user_agent))
    }

    /// The name of a telephone or of an app may happen to be that of a crawler.
    fn classify(&self, user_agent: &str) -> Class {
        let agent = Agent::of(user_agent);
        let kind = Kind::of(user_agent);
        let is_listed = self.matches(&generic::beside_device(user_agent));
        if is_listed && kind == Kind::Browser && agent.is_page_view(user_agent) {
            return Class { is_listed: false, kind: Kind::Unknown, agent };
        }
        Class { is_listed, kind, agent }
    }
}

impl Default for BotList {
    fn default() -> Self {
        Self::compile("", Vec::new())
    }
}

impl PartialEq for BotList {
    fn eq(&self, other: &Self) -> bool {
        (&self.version, &self.patterns) == (&other.version, &other.patterns)
    }
}

impl Eq for BotList {}

impl fmt::Debug for BotList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("BotList");
        shown.field("version", &self.version).field("patterns", &self.patterns.len());
        shown.field("skipped", &self.skipped).finish_non_exhaustive()
    }
}

/// The text a pattern stands for, if it stands for one text alone.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // A backslash before a letter or a digit has a meaning of its own.
            '\\' => text.push(letters.next().filter(|next| !next.is_alphanumeric())?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return None;
            }
            other => text.push(other),
        }
    }
    Some(text)
}

fn is_sound(pattern: &str) -> bool {
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_SIZE_MAX).build();
    built.is_ok_and(|expression| {
        !expression.is_match(b"") && is_selective(|agent| expression.is_match(agent.as_bytes()))
    })
}

fn is_selective(is_match: impl Fn(&str) -> bool) -> bool {
    !ORDINARY.iter().any(|agent| is_match(agent))
}
