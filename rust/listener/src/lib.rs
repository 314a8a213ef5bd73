//! The connections of the hot lane: taken, read, offered to it, and answered when it is told to.
//!
//! A connection stays here for as long as all that comes on it is the hot lane's and the peer reads
//! its answers. With the first bytes that are not, or that are not taken from us, the socket is
//! handed over, with all that was read of it and all it is still owed, to the ordinary lane.
//!
//! Nothing here waits: `turn` does what can be done now, and the event loop of the process watches
//! `Listener`'s descriptor to know when there is more. The crate reads no clock: times are handed
//! to it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod connection;
mod listener;
mod places;
mod records;
#[cfg(test)]
mod tests;

pub use connection::Handed;
pub use listener::{Batch, Bounds, Listener, Turn};
pub use records::Records;
