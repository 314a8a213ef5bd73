//! A brand's graph and clicks alone, without frames, digests and outcomes.

use std::time::Instant;

use headwater_engine::identity::graph::{Moment, Observation};
use headwater_engine::identity::Identifier;
use headwater_engine::limits::Limits;
use headwater_engine::record::Trust;
use headwater_engine::state::brand::{Brand, Found};
use headwater_engine::state::clicks::Click;

use crate::tools::{
    cpu_timed, median, micros, millis, per_second, rate, resident_bytes, say, Ballast,
};
use crate::workload::{click_id, link_event, Workload, WINDOW_MS};

const ROUNDS: usize = 5;

/// A brand whose clicks stay live to the end of the workload.
pub fn lasting_limits(clicks: usize) -> Limits {
    Limits { clicks_live_max: clicks, ..Limits::default() }
}

/// The observation that shows a link.
pub fn observation(load: &Workload, number: usize) -> Observation {
    let (one, two) = load.links[number];
    let pair = [load.keys[one as usize], load.keys[two as usize]];
    let at_ms = load.link_ms(number);
    Observation::new(link_event(number), at_ms, at_ms, Trust::Server, pair.into_iter())
}

fn add_click(brand: &mut Brand, load: &Workload, number: usize, limits: &Limits) {
    let (on, touch_ms) = load.clicks[number];
    let id = click_id(touch_ms, number);
    let partner = 1 + number as u64 % 50;
    let click =
        Click { id, program: 1, partner, touch_ms, accept_ms: touch_ms, ..Click::default() };
    let own = load.keys[on as usize];
    let alone = [own].into_iter();
    brand.observe(&Observation::new(id, touch_ms, touch_ms, Trust::Server, alone));
    brand.add_click(&click, Trust::Server, Some(&own), touch_ms, limits);
}

fn load(load: &Workload) -> Brand {
    let mut brand = Brand::default();
    let limits = lasting_limits(load.clicks.len());
    let before = resident_bytes();
    let (taken, ()) = cpu_timed(|| {
        for number in 0..load.links.len() {
            brand.observe(&observation(load, number));
        }
    });
    let after_links = resident_bytes();
    say("observations, new links", &rate(load.links.len(), taken));
    let (taken, ()) = cpu_timed(|| {
        for number in 0..load.links.len() {
            brand.observe(&observation(load, number));
        }
    });
    say("observations, links seen before", &rate(load.links.len(), taken));
    let (taken, ()) = cpu_timed(|| {
        for number in 0..load.clicks.len() {
            add_click(&mut brand, load, number, &limits);
        }
    });
    say("clicks", &rate(load.clicks.len(), taken));
    let (known, clicks) = (brand.graph.len() as f64, load.clicks.len() as f64);
    let own = (brand.graph.bytes() as f64, brand.clicks.bytes() as f64);
    say("identifiers known", &format!("{known}"));
    say(
        "bytes an identifier (its links and lists of clicks in it)",
        &format!("{:.1} by its own count", own.0 / known),
    );
    say("bytes a click", &format!("{:.1} by its own count", own.1 / clicks));
    let grown = (resident_bytes() - before) as f64;
    let after = (after_links - before) as f64;
    say(
        "the process grew, links alone, and in all",
        &format!("{:.1} an identifier; {:.2} GB", after / known, grown / 1e9),
    );
    brand
}

/// Answers some lookups, so many at a time; returns how many touches there were.
fn ask(brand: &Brand, lookups: &[(u64, Vec<Identifier>)], batch: usize) -> usize {
    let mut found = Found::default();
    let mut touches = 0;
    for part in lookups.chunks(batch) {
        let starts: Vec<Identifier> = part.iter().flat_map(|(_, starts)| starts.clone()).collect();
        let rows = brand.read_ahead(&starts);
        let mut first = 0;
        for (at_ms, starts) in part {
            let at = Moment { occurred_ms: *at_ms, known_ms: *at_ms };
            let rows = &rows[first..first + starts.len()];
            brand.touches(starts, rows, at, WINDOW_MS, &mut found);
            touches += found.touches.len();
            first += starts.len();
        }
    }
    touches
}

/// Median rate over rounds of lookups, with cold caches; and how many touches there were in all.
fn rounds(brand: &Brand, load: &Workload, batch: usize) -> (f64, usize) {
    let mut ballast = Ballast::new();
    let part = load.lookups.len() / ROUNDS;
    let mut rates = Vec::new();
    let mut found = 0;
    for lookups in load.lookups.chunks_exact(part) {
        ballast.flush();
        let (taken, touches) = cpu_timed(|| ask(brand, lookups, batch));
        rates.push(per_second(lookups.len(), taken) / 1e6);
        found += touches;
    }
    (median(rates), found)
}

fn lookups(brand: &Brand, load: &Workload) {
    let mut ballast = Ballast::new();
    let part = load.lookups.len() / ROUNDS;
    for batch in [1, 16, 64, 256] {
        let (rate, found) = rounds(brand, load, batch);
        let touches = found as f64 / load.lookups.len() as f64;
        say(
            &format!("lookups, cold caches, {batch} at a time"),
            &format!("{rate:.2} M/s (median of {ROUNDS} rounds of {part}), {touches:.1} touches"),
        );
    }
    let (taken, _) = cpu_timed(|| ask(brand, &load.lookups[..part], 1));
    let (again, _) = cpu_timed(|| ask(brand, &load.lookups[..part], 1));
    say("the same once more, warm", &rate(part, taken.min(again)));
    ballast.flush();
    let mut singles: Vec<f64> = Vec::with_capacity(load.lookups.len());
    for lookup in &load.lookups {
        let begin = Instant::now();
        std::hint::black_box(ask(brand, std::slice::from_ref(lookup), 1));
        singles.push(micros(begin.elapsed()));
    }
    singles.sort_by(f64::total_cmp);
    let at = |share: f64| singles[(singles.len() as f64 * share) as usize];
    say(
        "one lookup, cold: p50, p99, p99.9, longest",
        &format!("{:.2}, {:.2}, {:.2}, {:.1} µs", at(0.5), at(0.99), at(0.999), at(0.999_999)),
    );
}

/// Loads, asks, and forgets everything again.
pub fn run(workload: &Workload) {
    println!(
        "\nThe brand alone: {} identifiers, {} links, {} clicks, {} lookups",
        workload.keys.len(),
        workload.links.len(),
        workload.clicks.len(),
        workload.lookups.len()
    );
    let brand = load(workload);
    lookups(&brand, workload);
    let mut forgotten = brand.graph.clone();
    let sample = workload.keys.len().min(200_000);
    let (taken, ()) = cpu_timed(|| {
        for key in workload.keys.iter().step_by(workload.keys.len() / sample).take(sample) {
            forgotten.erase(key);
        }
    });
    say("erasures, of a graph shared with a view", &rate(sample, taken));
    let (taken, ()) = cpu_timed(|| drop(brand));
    say("dropping all of it", &format!("{:.0} ms", millis(taken)));
}
