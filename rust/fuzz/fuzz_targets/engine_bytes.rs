//! Entries of arbitrary bytes: never a panic, positions rise, snapshots restore.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::engine_bytes(data));
