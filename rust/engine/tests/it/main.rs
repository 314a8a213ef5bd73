//! Tests of the engine from outside, in one binary.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod attacks;
mod attribution;
mod attribution_classes;
mod attribution_controls;
mod attribution_explained;
mod attribution_oracle;
mod attribution_shared;
mod attribution_trust;
mod bounds;
mod cells;
mod common;
mod contract_windows;
mod determinism;
mod frames;
mod fraud_agents;
mod fraud_attacks;
mod fraud_bounds;
mod fraud_conversions;
mod fraud_credit;
mod fraud_floods;
mod fraud_leads;
mod fraud_order;
mod fraud_requests;
mod fraud_rules;
mod fraud_scores;
mod fraud_shared;
mod fraud_sources;
mod fraud_stories;
mod fraud_sweeps;
mod fraud_world;
mod fuzz_bodies;
mod fuzz_smoke;
mod graph_keeper;
mod graph_laws;
mod graph_oracle;
mod graph_oracle_tests;
mod graph_replay;
mod graph_worlds;
mod models;
mod orders;
mod regressions;
mod replay;
mod scenarios;
mod snapshots;
mod stories;
mod terms;
