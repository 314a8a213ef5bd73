//! What a user agent is by its form alone: rules of how browsers and programs name themselves.

use std::borrow::Cow;

use super::words::{
    APP_LIBRARIES, COMPATIBLE, DEVICES, DOMAIN_ENDS, ENDINGS, ENGINES, HEADLESS, LIBRARIES,
    NO_BOTS, PARTS, SYSTEMS, TRADES,
};
use super::Kind;

/// Letters of the shortest user agent a browser sends.
const LETTERS_MIN: usize = 10;

/// What a user agent is by its form alone.
pub(super) fn kind_of(user_agent: &str) -> Kind {
    let lower = user_agent.trim().to_ascii_lowercase();
    if lower.chars().count() < LETTERS_MIN || is_library(&lower) {
        Kind::NonBrowser
    } else if is_program(user_agent.trim(), &lower) {
        Kind::Unknown
    } else {
        Kind::Browser
    }
}

/// Whether it names a program that fetches pages, or drives a browser without a screen.
fn is_library(lower: &str) -> bool {
    if HEADLESS.iter().any(|name| lower.contains(name)) {
        return true;
    }
    let first = lower.split(['/', ' ', '(', ';', ',']).next().unwrap_or_default();
    // `python-requests`, `python-urllib3`, `python-httpx` and their like.
    if LIBRARIES.contains(&first) || first.starts_with("python") || first.starts_with("libwww") {
        return true;
    }
    // A page's engine is the mark of a person's app, whatever it fetches with.
    let has_engine = ENGINES.iter().any(|engine| lower.contains(engine));
    let named = lower.split([' ', '(', ')', ';', ',']).filter_map(|word| word.split_once('/'));
    let mut names = named.map(|(name, _)| name);
    !has_engine && names.any(|name| LIBRARIES.contains(&name) || name.starts_with("python-"))
}

/// Whether it names itself as programs do.
fn is_program(user_agent: &str, lower: &str) -> bool {
    if APP_LIBRARIES.iter().any(|name| lower.contains(name)) || !is_browser_like(lower) {
        return true;
    }
    let told = beside_device(user_agent);
    if words(&told).any(is_trade) || lower.contains("-user/") || lower.contains("w.x.y.z") {
        return true;
    }
    // Toolbars of Internet Explorer wrote into it what they pleased, addresses too.
    if lower.contains("msie ") || lower.contains("trident/") {
        return false;
    }
    let is_compatible = lower.contains("compatible;") || lower.contains("(compatible)");
    is_compatible && !COMPATIBLE.iter().any(|name| lower.contains(name))
        || has_address(lower)
        || has_domain(&told.to_ascii_lowercase())
        || lower.contains("like gecko;")
        || lower.contains("like gecko,")
}

/// Whether it has the look of a browser, or of an app on a device.
fn is_browser_like(lower: &str) -> bool {
    let has_one = |names: &[&str]| names.iter().any(|name| lower.contains(name));
    if lower.starts_with("mozilla/") {
        return has_one(&ENGINES);
    }
    DEVICES.iter().any(|start| lower.starts_with(start)) || has_one(&ENGINES) || has_one(&SYSTEMS)
}

/// Whether a web address or a mail address stands in it: a program says whose it is.
fn has_address(lower: &str) -> bool {
    lower.contains("http://")
        || lower.contains("https://")
        || lower.contains("www.")
        || lower.split([' ', '(', ')', ';', ',', '+', '<', '>', '[', ']']).any(is_mail_address)
}

fn is_mail_address(word: &str) -> bool {
    let Some((name, host)) = word.split_once('@') else { return false };
    let Some((_, end)) = host.rsplit_once('.') else { return false };
    let has_letters = |text: &str| text.chars().all(|letter| letter.is_ascii_alphabetic());
    !name.is_empty() && end.len() >= 2 && has_letters(end)
}

/// Whether a word is the name of a site: `example.com`, `example.com/bot`.
fn has_domain(lower: &str) -> bool {
    lower.split([' ', '(', ')', ';', ',', '+']).any(|word| {
        let host = word.split(['/', ':']).next().unwrap_or_default();
        host.rsplit_once('.').is_some_and(|(name, end)| {
            DOMAIN_ENDS.contains(&end) && name.contains(|letter: char| letter.is_ascii_alphabetic())
        })
    })
}

/// All but the part that names a telephone and its build, which may be called anything. A program
/// that hides there says so by its name or its address.
pub(super) fn beside_device(user_agent: &str) -> Cow<'_, str> {
    let all = Cow::Borrowed(user_agent);
    let Some((front, inner)) = user_agent.split_once('(') else { return all };
    if !inner.get(..20).is_some_and(|start| start.contains("Android")) {
        return all;
    }
    let mut depth = 1;
    let end = inner.char_indices().find(|(_, letter)| {
        depth += i32::from(*letter == '(');
        depth -= i32::from(*letter == ')');
        depth == 0
    });
    let device_end = end.map_or(inner.len(), |(at, _)| at);
    let (device, rest) = inner.split_at_checked(device_end).unwrap_or((inner, ""));
    let lower = device.to_ascii_lowercase();
    if lower.contains("compatible;") || has_address(&lower) || names_program(&lower) {
        return all;
    }
    Cow::Owned(format!("{front} {rest}"))
}

/// The words of a text: runs of letters, and of those with capitals inside each part too.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let runs = text.split(|letter: char| !letter.is_ascii_alphabetic());
    runs.filter(|run| run.len() > 1).flat_map(|run| std::iter::once(run).chain(parts(run)))
}

/// The parts of `LinkChecker`: each begins with a capital.
fn parts(run: &str) -> impl Iterator<Item = &str> {
    let mut rest = run;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_capital = |(_, letter): &(usize, char)| letter.is_ascii_uppercase();
        let lower = rest.char_indices().find(|(_, letter)| letter.is_ascii_lowercase());
        let from = lower.map_or(rest.len(), |(at, _)| at);
        let end = rest.char_indices().skip(from).find(is_capital).map_or(rest.len(), |(at, _)| at);
        let (part, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(part)
    })
}

fn is_trade(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    TRADES.contains(&word.as_str())
        || PARTS.iter().any(|part| word.contains(part))
        || ENDINGS.iter().any(|end| word.ends_with(end)) && !NO_BOTS.contains(&word.as_str())
}

/// Whether a part of what names the device is a program's name with its version.
fn names_program(device: &str) -> bool {
    let mut named = device.split([';', ',']).filter_map(|part| part.trim().split_once('/'));
    named.any(|(name, _)| ENDINGS.iter().any(|end| name.ends_with(end)) && !NO_BOTS.contains(&name))
}
