//! What the targets do, shared with the crates' own tests.
#![allow(dead_code, reason = "the tests use more of the helpers")]

#[path = "../../engine/tests/it/common.rs"]
mod common;
#[path = "../../engine/tests/it/fuzz_bodies.rs"]
mod fuzz_bodies;
#[path = "../../hotpath/tests/it/fuzz_bodies.rs"]
mod hotpath_bodies;

pub use fuzz_bodies::{engine_bytes, engine_records, snapshot_bytes, snapshot_changed};
pub use hotpath_bodies::hotpath_bytes;
