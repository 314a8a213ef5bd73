//! Links as the edge has worked them out: which of them a request is for, and where it leads.

use std::collections::HashMap;
use std::sync::Arc;

use headwater_engine::limits::HOT_LINKS_MAX;

/// What a click fills into a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The click's id.
    ClickId,
    /// Unix seconds.
    Timestamp,
    /// The parameter of the click of this name.
    Parameter(String),
}

/// A piece of a destination: text, then perhaps a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Leaves as it is.
    pub text: String,
    /// What follows it.
    pub token: Option<Token>,
}

/// A link that is served now, with all that does not depend on the visit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The link's number.
    pub number: u64,
    /// The program's number.
    pub program: u64,
    /// The partner's number.
    pub partner: u64,
    /// The brand's number.
    pub brand: u64,
    /// The brand's lane of the log.
    pub partition: u16,
    /// Bits every click of the link carries.
    pub flags: u64,
    /// From this moment on the link is the ordinary lane's, milliseconds.
    pub expires_ms: Option<u64>,
    /// Consent counts as denied when nothing is said.
    pub is_denied: bool,
    /// Registrable domain of the destination.
    pub site: String,
    /// How long the visitor's cookie lives, seconds.
    pub cookie_age_s: u64,
    /// The destination up to where parameters are added.
    pub head: Vec<Part>,
    /// What stands between the head and the first parameter added.
    pub joint: String,
    /// The destination's fragment.
    pub tail: Vec<Part>,
    /// The parameter of the click's id; `None` where the destination places it itself.
    pub click_param: Option<String>,
    /// Parameters that are handed on: the name in the request, and in the destination.
    pub forward: Vec<(String, String)>,
}

/// The links that share a code, each with its host.
type Namesakes = Vec<(Box<str>, Arc<Link>)>;

/// Links by code and host. The host is a tracking domain's, or empty.
#[derive(Debug, Default)]
pub(crate) struct Links {
    by_code: HashMap<Box<str>, Namesakes>,
    codes: HashMap<u64, Box<str>>,
    held: usize,
    /// The code asked for last, in lower case.
    code: String,
}

impl Links {
    /// The link held for a host and a code in any case.
    pub(crate) fn get(&mut self, host: &str, code: &str) -> Option<Arc<Link>> {
        self.code.clear();
        self.code.extend(code.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
        let hosts = self.by_code.get(self.code.as_str())?;
        hosts.iter().find(|(other, _)| **other == *host).map(|(_, link)| Arc::clone(link))
    }

    /// Holds a link on a host under the code that was asked for last, where none is held.
    pub(crate) fn hold(&mut self, host: &str, link: Link) -> Arc<Link> {
        if self.held >= HOT_LINKS_MAX {
            self.clear();
        }
        let link = Arc::new(link);
        let code: Box<str> = self.code.as_str().into();
        self.codes.insert(link.number, code.clone());
        self.by_code.entry(code).or_default().push((host.into(), Arc::clone(&link)));
        self.held += 1;
        link
    }

    /// Forgets whatever is held under the code of a link, and under `code`, in lower case.
    pub(crate) fn forget(&mut self, number: u64, code: Option<&str>) {
        let former = self.codes.remove(&number);
        for code in [former.as_deref(), code].into_iter().flatten() {
            self.held -= self.by_code.remove(code).map_or(0, |hosts| hosts.len());
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_code.clear();
        self.codes.clear();
        self.held = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: u64) -> Link {
        Link { number, ..Link::default() }
    }

    #[test]
    fn a_link_is_found_in_any_case_on_its_own_host() {
        let mut links = Links::default();
        assert!(links.get("go.example", "AbC").is_none());
        links.hold("go.example", link(3));
        assert_eq!(links.get("go.example", "aBc").map(|link| link.number), Some(3));
        assert!(links.get("", "abc").is_none());
    }

    #[test]
    fn a_change_of_a_link_is_a_change_of_its_former_and_its_new_code() {
        let mut links = Links::default();
        for (host, code, number) in
            [("", "a", 1), ("go.example", "b", 2), ("", "b", 3), ("", "c", 4)]
        {
            assert!(links.get(host, code).is_none());
            links.hold(host, link(number));
        }
        links.forget(1, Some("b"));
        assert!(links.get("", "a").is_none());
        assert!(links.get("", "b").is_none());
        assert!(links.get("go.example", "b").is_none());
        assert!(links.get("", "c").is_some());
        assert_eq!(links.held, 1);
    }

    #[test]
    fn at_the_bound_all_links_are_made_ready_anew() {
        let mut links = Links::default();
        for number in 0..HOT_LINKS_MAX as u64 {
            assert!(links.get("", &number.to_string()).is_none());
            links.hold("", link(number));
        }
        assert_eq!(links.held, HOT_LINKS_MAX);
        assert!(links.get("", "one-more").is_none());
        links.hold("", link(0));
        assert_eq!(links.held, 1);
    }
}
