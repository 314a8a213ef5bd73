//! What an adversary, or a day on which everything ends, costs.

use headwater_engine::identity::graph::{Moment, Observation};
use headwater_engine::identity::Identifier;
use headwater_engine::limits::Limits;
use headwater_engine::record::Trust;
use headwater_engine::state::brand::{Brand, Found};
use headwater_engine::state::clicks::Click;

use crate::tools::{cpu_timed, longest, micros, millis, rate, say, timed, Ballast};
use crate::workload::{click_id, DAY_MS, START_MS, WINDOW_MS};
use crate::worst_graphs::{clique, customers_meet, hubs_around, visitor, Builder};

const MILLION: usize = 1_000_000;
const REPEATS: usize = 200;

/// Median and longest time of one lookup, cold, and what it found.
fn ask(name: &str, brand: &Brand, start: Identifier) {
    let mut ballast = Ballast::new();
    let mut found = Found::default();
    let now_ms = START_MS + DAY_MS;
    let at = Moment { occurred_ms: now_ms, known_ms: now_ms };
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        ballast.flush();
        let (taken, ()) = timed(|| {
            let rows = brand.read_ahead(&[start]);
            brand.touches(&[start], &rows, at, WINDOW_MS, &mut found);
        });
        times.push(micros(taken));
    }
    times.sort_by(f64::total_cmp);
    say(
        name,
        &format!(
            "{:.0} µs, longest {:.0} µs, {} touches",
            times[REPEATS / 2],
            times[REPEATS - 1],
            found.touches.len()
        ),
    );
}

fn crowd() {
    let mut made = Builder::default();
    let (all, most) = longest(MILLION, |number| {
        made.link(visitor(0), visitor(1 + number), Trust::Server);
    });
    say("one identifier with a million links: observations", &rate(MILLION, all));
    say("  longest", &format!("{:.0} µs", micros(most)));
    ask("  a lookup that starts at it", &made.brand, visitor(0));
    ask("  a lookup that starts beside it", &made.brand, visitor(7));
    let (taken, _) = timed(|| made.brand.graph.erase(&visitor(0)));
    say("  erasing it", &format!("{:.0} µs", micros(taken)));
}

fn chain() {
    let mut made = Builder::default();
    let (all, most) = longest(MILLION, |number| {
        made.link(visitor(number), visitor(1 + number), Trust::Server);
    });
    say("a chain of a million: observations", &rate(MILLION, all));
    say("  longest", &format!("{:.0} µs", micros(most)));
    ask("  a lookup in its middle", &made.brand, visitor(MILLION / 2));
}

fn add_clicks(brand: &mut Brand, count: usize, limits: &Limits) -> (f64, String) {
    let (all, most) = longest(count, |number| {
        let touch_ms = START_MS + number as u64;
        let id = click_id(touch_ms, number);
        let own = visitor(number / 4);
        let alone = [own].into_iter();
        brand.observe(&Observation::new(id, touch_ms, touch_ms, Trust::Server, alone));
        let click =
            Click { id, program: 1, partner: 1, touch_ms, accept_ms: touch_ms, ..Click::default() };
        brand.add_click(&click, Trust::Server, Some(&own), touch_ms, limits);
    });
    (micros(most), rate(count, all))
}

/// More clicks than a brand may have.
fn clicks_at_the_bound(identifiers: usize) {
    let limits = Limits { clicks_live_max: identifiers, ..Limits::default() };
    let mut brand = Brand::default();
    let (most, all) = add_clicks(&mut brand, identifiers * 3 / 2, &limits);
    say("half as many clicks again as a brand may have", &format!("{all}, longest {most:.0} µs"));
    say("  live", &format!("{}", brand.clicks.len()));
}

/// All that was seen on one day ends on one day.
fn all_expires(identifiers: usize) {
    let mut made = Builder::default();
    for number in 0..identifiers {
        made.link(visitor(number), visitor(number ^ 1), Trust::Server);
    }
    let mut brand = made.brand;
    add_clicks(
        &mut brand,
        identifiers,
        &Limits { clicks_live_max: identifiers, ..Limits::default() },
    );
    let view = brand.clone();
    let (mut steps, mut first, mut most) = (0, 0.0, 0.0_f64);
    let mut now_ms = START_MS + 500 * DAY_MS;
    let (all, ()) = cpu_timed(|| {
        // Identifiers that clicks were under are looked at again a week later.
        for _ in 0..2 {
            let mut before = usize::MAX;
            while before != brand.graph.len() + brand.clicks.len() {
                before = brand.graph.len() + brand.clicks.len();
                let (taken, ()) = timed(|| brand.sweep(now_ms, &Limits::default()));
                first = if steps == 0 { millis(taken) } else { first };
                most = most.max(millis(taken));
                steps += 1;
            }
            now_ms += 8 * DAY_MS;
        }
    });
    let seconds = all.as_secs_f64();
    say(
        "all expires at once, beside a view: sweeps",
        &format!("{steps}, first {first:.2} ms, longest {most:.2} ms, all {seconds:.1} s"),
    );
    say("  left", &format!("{} identifiers", brand.graph.len()));
    drop(view);
}

/// Every case in turn.
pub fn run(identifiers: usize) {
    println!("\nAt the worst");
    let (made, start) = clique();
    ask("a clique of 49 under both trusts, 64 clicks each", &made.brand, start);
    let (made, start) = customers_meet();
    ask("64 members, 48 links each, eight customers", &made.brand, start);
    let (made, start) = hubs_around();
    ask("64 members, all other neighbours hubs", &made.brand, start);
    drop(made);
    crowd();
    chain();
    clicks_at_the_bound(identifiers);
    all_expires(identifiers);
}
