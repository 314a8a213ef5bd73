//! The deterministic core of Headwater: the wire format, identifiers, attribution and the
//! state machine that turns a log of frames into outcomes.
//!
//! The crate reads no clock, draws no randomness, does no input or output and uses no floating
//! point, so the same log gives the same outcomes, the same chain digest and the same snapshot,
//! byte for byte. Everything it keeps has a bound, named in [`limits`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod attribution;
pub mod cells;
pub mod engine;
pub mod error;
pub mod fraud;
pub mod identity;
pub mod limits;
pub mod record;
pub mod snapshot;
pub mod state;
pub mod sub_ids;

mod msgpack;

pub use engine::{Engine, Options, Outcomes};
pub use error::Error;

/// A 16-byte id: of a click, an event or a conversion, or the digest of an identifier.
pub type Id = [u8; 16];
