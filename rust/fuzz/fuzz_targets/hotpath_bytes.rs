//! Arbitrary bytes to the hot lane: never a panic, and what is taken is requests by the letter.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    bodies::hotpath_bytes(data);
});
