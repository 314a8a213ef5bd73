//! Sequences of valid records: never a panic, and a snapshot at any moment restores.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::engine_records(data));
