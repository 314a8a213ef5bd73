//! Sends requests as they fall due, however long the answers to earlier ones take, and measures
//! each from the moment it was due. `respond` is the trivial server its own ceiling is found with.
#![forbid(unsafe_code)]

mod arguments;
mod connection;
mod drive;
mod json;
mod requests;
mod respond;
mod response;
mod schedule;
mod tally;

use std::process::ExitCode;

use arguments::{Arguments, Fault};

fn run() -> Result<(), Fault> {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("drive") => drive::drive(&Arguments::parse(words)?),
        Some("respond") => respond::respond(words.next().as_deref() == Some("pixel")),
        _ => Err(Fault("say what to do: drive, respond".to_owned())),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("generator: {fault}");
            ExitCode::FAILURE
        }
    }
}
