//! Arbitrary bytes as a snapshot: refused, or restored to the same bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::snapshot_bytes(data));
