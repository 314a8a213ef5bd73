//! The identity graph and the clicks at the size they are made for, and at their worst.
//!
//! ```sh
//! cargo run --release --example identity_bench -- [identifiers] [part ...]
//! ```
//!
//! Parts: `brand` (the graph and the clicks alone), `engine` (the same through frames, with
//! snapshots), `worst` (what an adversary would do). All by default, of ten million identifiers.
//! Rates are per CPU second of one thread, single times on the clock, so that these want an idle
//! machine; before each round of lookups 64 MiB are written to empty the caches.
#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a program that measures: what is wrong in it should end it"
)]

mod brand;
mod engine;
mod tools;
mod workload;
mod worst;
mod worst_graphs;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let identifiers = arguments.next().map_or(10_000_000, |text| text.parse().expect("a number"));
    let parts: Vec<String> = arguments.collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if is_wanted("brand") {
        brand::run(&workload::generate(identifiers, 100_000));
    }
    if is_wanted("engine") {
        engine::run(&workload::generate(identifiers, 20_000));
    }
    if is_wanted("worst") {
        worst::run(identifiers);
    }
}
