//! What the targets do, shared with the engine's own tests.
#![allow(dead_code, reason = "the tests use more of the helpers")]

#[path = "../../engine/tests/it/common.rs"]
mod common;
#[path = "../../engine/tests/it/fuzz_bodies.rs"]
mod fuzz_bodies;

pub use fuzz_bodies::{engine_bytes, engine_records, snapshot_bytes, snapshot_changed};
