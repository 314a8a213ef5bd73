//! What a user agent says of who is there: a known crawler, a program, or a browser, and which.

mod generic;
mod list;
mod parse;
mod ready;
mod words;

pub use list::BotList;
pub use parse::{Agent, Browser, System};

/// What a user agent is by its form alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A browser, or an app that shows pages.
    #[default]
    Browser,
    /// It looks like a program, and a person may be behind it.
    Unknown,
    /// A program: nobody is behind it.
    NonBrowser,
}

impl Kind {
    /// What a user agent is by its form alone.
    pub fn of(user_agent: &str) -> Self {
        generic::kind_of(user_agent)
    }
}

/// All that is asked of a user agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Whether it is on the list of crawlers.
    pub is_listed: bool,
    /// What it is by its form.
    pub kind: Kind,
    /// Which browser it names.
    pub agent: Agent,
}
