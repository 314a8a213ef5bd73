//! Clocks, cold caches, memory, and a generator of numbers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use headwater_engine::Id;

const FLUSHED_BYTES: usize = 64 << 20;
const LINE_BYTES: usize = 64;

/// SplitMix64: small, and the same everywhere.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// From 0 up to 1.
    pub fn chance(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Sixteen bytes that only the number decides, spread like a digest.
pub fn digest(number: u64) -> Id {
    let mut random = Random(number);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random.next().to_le_bytes());
    id[8..].copy_from_slice(&random.next().to_le_bytes());
    id
}

/// Writes to every line of a buffer twice as large as the last-level cache.
#[derive(Debug)]
pub struct Ballast(Vec<u8>);

impl Ballast {
    pub fn new() -> Self {
        Self(vec![1; FLUSHED_BYTES])
    }

    pub fn flush(&mut self) {
        for line in self.0.iter_mut().step_by(LINE_BYTES) {
            *line = line.wrapping_add(1);
        }
        black_box(&self.0);
    }
}

/// Memory of the process, bytes.
pub fn resident_bytes() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: i64 = text.split(' ').nth(1).expect("resident").parse().expect("pages");
    pages * 4096
}

/// How long something takes on the clock, and what it gives.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let made = work();
    (begin.elapsed(), made)
}

/// CPU time of this thread so far: what a rate is taken by, for others use the machine as well.
pub fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split(' ').next().expect("run time").parse().expect("nanoseconds");
    Duration::from_nanos(nanos)
}

/// The CPU time that something takes, and what it gives.
pub fn cpu_timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = cpu_time();
    let made = work();
    (cpu_time() - begin, made)
}

/// Does the same many times; returns the CPU time of all and the longest on the clock.
pub fn longest(count: usize, mut work: impl FnMut(usize)) -> (Duration, Duration) {
    let begin = cpu_time();
    let mut longest = Duration::ZERO;
    for number in 0..count {
        let (taken, ()) = timed(|| work(number));
        longest = longest.max(taken);
    }
    (cpu_time() - begin, longest)
}

pub fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

pub fn millis(time: Duration) -> f64 {
    micros(time) / 1000.0
}

pub fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// A rate in millions a second, for people.
pub fn rate(count: usize, time: Duration) -> String {
    format!("{:.2} M/s", per_second(count, time) / 1e6)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a figure under its name.
pub fn say(name: &str, figure: &str) {
    println!("{name:<58} {figure}");
}
