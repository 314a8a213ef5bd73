//! What came of the requests: by stage, and by tenths of a second for plots.
//!
//! Latency counts from when a request was due. A request that waited for a free connection, or for
//! this program, waited all the same: leaving that out would hide every stall of the server.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::arguments::{Fault, Stage};
use crate::json::{list, Object};
use crate::schedule::Due;

const WINDOW_NS: u64 = 100_000_000;
/// An hour in nanoseconds is the longest that is told apart.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;
const WINDOW_DIGITS: u8 = 2;
const QUANTILES: [(&str, f64); 9] = [
    ("p10", 0.1),
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99_9", 0.999),
    ("p99_99", 0.9999),
];

/// Of these, how many waited longer is told, in milliseconds.
const LIMITS_MS: [u64; 6] = [2, 5, 20, 50, 200, 1000];

fn histogram(digits: u8) -> Result<Histogram<u64>, Fault> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, digits).map_err(|error| Fault(error.to_string()))
}

#[derive(Debug)]
struct StageTally {
    stage: Stage,
    scheduled: u64,
    answered: u64,
    failed: u64,
    latency: Histogram<u64>,
    late: Histogram<u64>,
}

#[derive(Debug)]
struct Window {
    scheduled: u64,
    /// Answers that came within it, whenever they were due.
    answered: u64,
    failed: u64,
    /// Of the requests that were due within it.
    latency: Histogram<u64>,
}

/// Counts and latencies of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    stages: Vec<StageTally>,
    windows: Vec<Window>,
    statuses: BTreeMap<u16, u64>,
    service: Histogram<u64>,
    pub(crate) unexpected: u64,
    pub(crate) peak_open: usize,
    pub(crate) peak_queued: usize,
}

impl Tally {
    pub(crate) fn new(stages: &[Stage]) -> Result<Self, Fault> {
        let stages = stages
            .iter()
            .map(|stage| {
                Ok(StageTally {
                    stage: *stage,
                    scheduled: 0,
                    answered: 0,
                    failed: 0,
                    latency: histogram(DIGITS)?,
                    late: histogram(DIGITS)?,
                })
            })
            .collect::<Result<_, Fault>>()?;
        Ok(Self {
            stages,
            windows: Vec::new(),
            statuses: BTreeMap::new(),
            service: histogram(DIGITS)?,
            unexpected: 0,
            peak_open: 0,
            peak_queued: 0,
        })
    }

    fn window(&mut self, at_ns: u64) -> Result<&mut Window, Fault> {
        let number = (at_ns / WINDOW_NS) as usize;
        while self.windows.len() <= number {
            self.windows.push(Window {
                scheduled: 0,
                answered: 0,
                failed: 0,
                latency: histogram(WINDOW_DIGITS)?,
            });
        }
        self.windows.get_mut(number).ok_or_else(|| Fault("no window".to_owned()))
    }

    /// A request is on its way.
    pub(crate) fn sent(&mut self, due: Due, now_ns: u64) -> Result<(), Fault> {
        if let Some(stage) = self.stages.get_mut(due.stage) {
            stage.scheduled += 1;
            stage.late.saturating_record(now_ns.saturating_sub(due.at_ns).max(1));
        }
        self.window(due.at_ns)?.scheduled += 1;
        Ok(())
    }

    /// Its answer is there.
    pub(crate) fn answered(
        &mut self,
        due: Due,
        sent_ns: u64,
        now_ns: u64,
        status: u16,
    ) -> Result<(), Fault> {
        let latency_ns = now_ns.saturating_sub(due.at_ns).max(1);
        if let Some(stage) = self.stages.get_mut(due.stage) {
            stage.answered += 1;
            stage.latency.saturating_record(latency_ns);
        }
        self.service.saturating_record(now_ns.saturating_sub(sent_ns).max(1));
        *self.statuses.entry(status).or_default() += 1;
        self.window(due.at_ns)?.latency.saturating_record(latency_ns);
        self.window(now_ns)?.answered += 1;
        Ok(())
    }

    /// Its connection was refused or lost, or the run ended before it.
    pub(crate) fn failed(&mut self, due: Due) -> Result<(), Fault> {
        if let Some(stage) = self.stages.get_mut(due.stage) {
            stage.failed += 1;
        }
        self.window(due.at_ns)?.failed += 1;
        Ok(())
    }

    /// There was no connection for it.
    pub(crate) fn unsent(&mut self, due: Due) -> Result<(), Fault> {
        if let Some(stage) = self.stages.get_mut(due.stage) {
            stage.scheduled += 1;
        }
        self.window(due.at_ns)?.scheduled += 1;
        self.failed(due)
    }

    /// The result, as JSON.
    pub(crate) fn told(&self, seconds: f64) -> String {
        let sum = |number: fn(&StageTally) -> u64| self.stages.iter().map(number).sum::<u64>();
        let statuses = self.statuses.iter().fold(Object::default(), |told, (status, number)| {
            told.with(&status.to_string(), number)
        });
        Object::default()
            .with("seconds", format!("{seconds:.3}"))
            .with("scheduled", sum(|stage| stage.scheduled))
            .with("answered", sum(|stage| stage.answered))
            .with("failed", sum(|stage| stage.failed))
            .with("unexpected", self.unexpected)
            .with("peak_connections", self.peak_open)
            .with("peak_queued", self.peak_queued)
            .with("statuses", statuses.end())
            .with("service_us", quantiles(&self.service))
            .with("stages", list(self.stages.iter().map(StageTally::told)))
            .with("window_ms", WINDOW_NS / 1_000_000)
            .with("windows", list(self.windows.iter().map(Window::told)))
            .end()
    }
}

impl StageTally {
    fn told(&self) -> String {
        Object::default()
            .with("rate", self.stage.rate)
            .with("seconds", self.stage.seconds)
            .with("scheduled", self.scheduled)
            .with("answered", self.answered)
            .with("failed", self.failed)
            .with("latency_us", quantiles(&self.latency))
            .with("over_ms", self.over())
            .with("late_us", quantiles(&self.late))
            .end()
    }
}

impl StageTally {
    /// How many answers took longer than each of the limits.
    fn over(&self) -> String {
        LIMITS_MS
            .iter()
            .fold(Object::default(), |told, limit_ms| {
                let above_ns = limit_ms * 1_000_000 + 1;
                let number = self.latency.count_between(above_ns, LATENCY_MAX_NS);
                told.with(&limit_ms.to_string(), number)
            })
            .end()
    }
}

impl Window {
    fn told(&self) -> String {
        Object::default()
            .with("scheduled", self.scheduled)
            .with("answered", self.answered)
            .with("failed", self.failed)
            .with("p50_us", us(self.latency.value_at_quantile(0.5)))
            .with("p99_us", us(self.latency.value_at_quantile(0.99)))
            .with("max_us", us(self.latency.max()))
            .end()
    }
}

fn us(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1000.0)
}

fn quantiles(histogram: &Histogram<u64>) -> String {
    QUANTILES
        .iter()
        .fold(
            Object::default()
                .with("count", histogram.len())
                .with("mean", format!("{:.1}", histogram.mean() / 1000.0)),
            |told, (name, share)| told.with(name, us(histogram.value_at_quantile(*share))),
        )
        .with("max", us(histogram.max()))
        .end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_connection_is_latency() {
        let stage = Stage { rate: 1.0, seconds: 1.0 };
        let mut tally = Tally::new(&[stage]).unwrap();
        let due = Due { at_ns: 1_000_000, stage: 0 };
        tally.sent(due, 51_000_000).unwrap();
        tally.answered(due, 51_000_000, 52_000_000, 302).unwrap();
        let told = tally.told(1.0);
        assert!(told.contains(r#""302":1"#));
        let latency = &told[told.find("latency_us").unwrap()..];
        let max = &latency[latency.find("max\":").unwrap() + 5..];
        let max: f64 = max[..max.find('}').unwrap()].parse().unwrap();
        assert!((50_950.0..51_100.0).contains(&max), "{max}");
        assert!(told.contains(r#""20":1,"50":1,"200":0"#), "{told}");
    }

    #[test]
    fn nothing_that_was_due_goes_uncounted() {
        let stage = Stage { rate: 1.0, seconds: 1.0 };
        let mut tally = Tally::new(&[stage]).unwrap();
        let due = Due { at_ns: 250_000_000, stage: 0 };
        tally.sent(due, 250_000_000).unwrap();
        tally.failed(due).unwrap();
        tally.unsent(due).unwrap();
        let told = tally.told(1.0);
        assert!(told.contains(r#""scheduled":2,"answered":0,"failed":2"#), "{told}");
        assert_eq!(told.matches("p99_us").count(), 3, "one for each tenth of a second so far");
    }
}
