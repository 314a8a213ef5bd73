//! Tests of the engine from outside, in one binary.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod attribution;
mod attribution_classes;
mod attribution_controls;
mod attribution_explained;
mod attribution_oracle;
mod attribution_shared;
mod attribution_trust;
mod bounds;
mod common;
mod frames;
mod models;
mod orders;
mod replay;
mod snapshots;
mod terms;
