//! Questions to the graph, and its answers.

use crate::identity::Identifier;
use crate::limits::{HOPS_DEFAULT, MEMBERS_DEFAULT, NEIGHBOURS_MAX};
use crate::record::Trust;
use crate::Id;

/// The two times at which evidence is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When the conversion happened: links must not have expired by then. Milliseconds.
    pub occurred_ms: u64,
    /// Until when evidence counts, by the time it was accepted. Milliseconds.
    pub known_ms: u64,
}

/// What is cut when a walk meets two customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Links are taken newest first, so the last login owns what is shared.
    #[default]
    LastAuth,
    /// What is shared belongs to nobody.
    Isolate,
}

/// How a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traversal {
    /// Whose links are walked: servers' only, or all.
    pub trust: Trust,
    /// Identifiers at which it stops.
    pub members_max: usize,
    /// Steps from its starts.
    pub hops_max: usize,
    /// Neighbours with more than which an identifier is a hub; at most 48.
    pub neighbours_max: usize,
    /// What is cut when it meets two customers.
    pub on_conflict: OnConflict,
}

impl Traversal {
    /// The walk of a program that says nothing else.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            members_max: MEMBERS_DEFAULT,
            hops_max: HOPS_DEFAULT,
            neighbours_max: NEIGHBOURS_MAX,
            on_conflict: OnConflict::default(),
        }
    }
}

/// A step along a link, with the event that proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Where it begins.
    pub from: Identifier,
    /// Where it ends.
    pub to: Identifier,
    /// When the two were last seen together, milliseconds.
    pub at_ms: u64,
    /// The event in which they were.
    pub event_id: Id,
    /// Who vouches for it.
    pub trust: Trust,
}

/// An identifier that belongs to the visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The identifier.
    pub key: Identifier,
    /// Place, among the members, of the one it was met from; none for a start.
    pub parent: Option<usize>,
    /// The step from there.
    pub via: Option<Hop>,
    /// Its row in the graph, if anything is known of it.
    pub(crate) row: Option<u32>,
}

/// A link as one of its ends keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The neighbour.
    pub to: Identifier,
    /// Who vouches for it.
    pub trust: Trust,
    /// When it first was accepted, milliseconds.
    pub first_known_ms: u64,
    /// When the two were last seen together, milliseconds.
    pub last_ms: u64,
    /// The event in which they were.
    pub event_id: Id,
    /// Whether the neighbour keeps its end as well.
    pub is_there: bool,
}

/// The answer to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The visitor's identifiers in the order they were met, the starts first.
    pub members: Vec<Member>,
    /// Identifiers with too many neighbours to be one person's, by their keys.
    pub hubs: Vec<Identifier>,
    /// Links that were cut to keep two customers apart; the stronger end first.
    pub cut: Vec<Hop>,
    /// Whether any start was known by then.
    pub is_known: bool,
    /// Whether there was more to meet.
    pub is_truncated: bool,
}

impl Resolution {
    /// The steps from a start to a member.
    pub fn path(&self, member: usize) -> Vec<Hop> {
        let mut path = Vec::new();
        let mut next = self.members.get(member);
        while let Some(Member { parent, via: Some(hop), .. }) = next {
            path.push(*hop);
            next = parent.and_then(|parent| self.members.get(parent));
        }
        path.reverse();
        path
    }
}
