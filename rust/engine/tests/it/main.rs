//! Tests of the engine from outside, in one binary.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod attribution;
mod bounds;
mod common;
mod frames;
mod orders;
mod replay;
mod snapshots;
