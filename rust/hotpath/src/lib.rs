//! The hot lane of the edge: the bytes of requests for links and the pixel in, records and answers
//! out.
//!
//! What it takes is a strict subset of what the ordinary lane takes, and of that it makes the same
//! records and the same answers, byte for byte but for ids and times; a differential test of the
//! edge holds it to that. Of everything else it says that it is not its own, by `None`, and keeps
//! nothing. Framing is `httparse`'s, held to a stricter grammar here (see `head`).
//!
//! The crate reads no clock and draws no randomness: both are handed to it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod address;
mod brands;
mod caller;
mod click;
mod cookie;
mod event;
mod head;
mod id;
mod lane;
mod link;
mod money;
mod pixel;
mod query;

pub use address::Ranges;
pub use event::Event;
pub use lane::{AddressLists, DayKeys, HotLane, Kind, Rules, Source, Taken};
pub use link::{Link, Part, Token};
