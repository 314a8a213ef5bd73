//! Tests of the hot lane from outside, in one binary.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod fuzz_bodies;
mod fuzz_smoke;
