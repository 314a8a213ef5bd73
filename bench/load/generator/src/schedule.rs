//! When requests fall due.

use std::collections::VecDeque;

use crate::arguments::{Arrivals, Stage};

const NS_A_SECOND: f64 = 1e9;

/// Random numbers that are good enough to spread arrivals, the same from the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// xorshift64*
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`, which is small against 2^32.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (((self.next() >> 32) as usize) * bound) >> 32
    }

    /// Above 0, up to 1.
    fn share(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }
}

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) at_ns: u64,
    pub(crate) stage: usize,
}

/// The arrivals of all stages, one after the other. Times count from the start of the run.
#[derive(Debug)]
pub(crate) struct Schedule {
    stages: Vec<Stage>,
    arrivals: Arrivals,
    random: Random,
    stage: usize,
    began_ns: f64,
    next_ns: f64,
}

impl Schedule {
    pub(crate) fn new(stages: &[Stage], arrivals: Arrivals, seed: u64) -> Self {
        let mut schedule = Self {
            stages: stages.to_vec(),
            arrivals,
            random: Random::new(seed),
            stage: 0,
            began_ns: 0.0,
            next_ns: 0.0,
        };
        schedule.next_ns = schedule.gap_ns();
        schedule
    }

    fn gap_ns(&mut self) -> f64 {
        let Some(stage) = self.stages.get(self.stage) else { return f64::INFINITY };
        match self.arrivals {
            _ if stage.rate == 0.0 => 0.0,
            Arrivals::Constant => NS_A_SECOND / stage.rate,
            Arrivals::Poisson => -self.random.share().ln() / stage.rate * NS_A_SECOND,
        }
    }

    fn stage_end_ns(&self) -> f64 {
        let seconds = self.stages.get(self.stage).map_or(f64::INFINITY, |stage| stage.seconds);
        self.began_ns + seconds * NS_A_SECOND
    }

    /// Passes over stages that are over: the first arrival of the next counts from its beginning.
    fn enter_stage(&mut self, upto_ns: f64) {
        while self.stage < self.stages.len() && upto_ns >= self.stage_end_ns() {
            self.began_ns = self.stage_end_ns();
            self.stage += 1;
            self.next_ns = self.began_ns + self.gap_ns();
        }
    }

    /// Puts on the queue what is due by now; in a closed stage, one for each of the `free`
    /// connections that nothing is queued for.
    pub(crate) fn feed(&mut self, now_ns: u64, free: usize, queue: &mut VecDeque<Due>) {
        let now = now_ns as f64;
        loop {
            let Some(stage) = self.stages.get(self.stage) else { return };
            if stage.rate == 0.0 {
                if now < self.stage_end_ns() {
                    let due = Due { at_ns: now_ns, stage: self.stage };
                    queue.extend((queue.len()..free).map(|_| due));
                    return;
                }
                self.enter_stage(now);
                continue;
            }
            if self.next_ns > now && now < self.stage_end_ns() {
                return;
            }
            if self.next_ns >= self.stage_end_ns() {
                if now < self.stage_end_ns() {
                    return;
                }
                self.enter_stage(self.next_ns.min(now));
                continue;
            }
            queue.push_back(Due { at_ns: self.next_ns as u64, stage: self.stage });
            self.next_ns += self.gap_ns();
        }
    }

    /// When to look again at the latest; None when nothing will be due any more.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        let stage = self.stages.get(self.stage)?;
        let end_ns = self.stage_end_ns();
        let next_ns = if stage.rate == 0.0 { end_ns } else { self.next_ns.min(end_ns) };
        Some(next_ns as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stages: &[Stage], arrivals: Arrivals, step_ns: u64) -> Vec<Due> {
        let mut schedule = Schedule::new(stages, arrivals, 7);
        let (mut queue, mut now_ns, mut got) = (VecDeque::new(), 0, Vec::new());
        while schedule.next_ns().is_some() {
            schedule.feed(now_ns, 0, &mut queue);
            got.extend(queue.drain(..));
            now_ns += step_ns;
        }
        got
    }

    const BURST: [Stage; 3] = [
        Stage { rate: 1000.0, seconds: 1.0 },
        Stage { rate: 10_000.0, seconds: 0.5 },
        Stage { rate: 1000.0, seconds: 1.0 },
    ];

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_as_many_as_asked() {
        let got = all(&BURST, Arrivals::Constant, 1_000_000);
        for (stage, wanted) in [(0, 1000), (1, 5000), (2, 1000)] {
            let number = got.iter().filter(|due| due.stage == stage).count();
            assert!(number.abs_diff(wanted) <= 1, "stage {stage}: {number}");
        }
        assert!(got.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
        assert_eq!(got[1].at_ns - got[0].at_ns, 1_000_000);
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_vary() {
        let stage = Stage { rate: 10_000.0, seconds: 10.0 };
        let got = all(&[stage], Arrivals::Poisson, 1_000_000);
        // Five standard deviations of 100,000 arrivals.
        assert!(got.len().abs_diff(100_000) < 1600, "{}", got.len());
        let gaps: Vec<f64> =
            got.windows(2).map(|pair| (pair[1].at_ns - pair[0].at_ns) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((square.sqrt() / mean - 1.0).abs() < 0.05, "as wide as it is long");
    }

    #[test]
    fn how_often_one_looks_changes_nothing() {
        let often = all(&BURST, Arrivals::Poisson, 10_000);
        assert_eq!(often, all(&BURST, Arrivals::Poisson, 300_000_000));
    }

    #[test]
    fn a_closed_stage_fills_free_connections_until_it_is_over() {
        let stages = [Stage { rate: 0.0, seconds: 1.0 }];
        let mut schedule = Schedule::new(&stages, Arrivals::Constant, 1);
        let mut queue = VecDeque::new();
        schedule.feed(5, 3, &mut queue);
        assert_eq!(queue.len(), 3);
        schedule.feed(6, 3, &mut queue);
        assert_eq!(queue.len(), 3, "those queued have their connections");
        queue.clear();
        schedule.feed(1_000_000_000, 3, &mut queue);
        assert!(queue.is_empty());
        assert_eq!(schedule.next_ns(), None);
    }
}
