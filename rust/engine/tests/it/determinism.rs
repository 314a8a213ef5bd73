//! Months of simulated time with tiny limits; engines restored at random points must go on
//! as the one that saw everything.

use headwater_engine::limits::Limits;
use headwater_engine::{Engine, Options, Outcomes};

use crate::common::*;

/// Worlds of a kind, and frames of each.
const SEEDS: u64 = 2;
const STEPS: u64 = 700;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
    fn one<T: Clone>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()].clone()
    }
    fn in_(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Which parts of the world are on.
#[derive(Clone, Copy)]
struct Mix {
    erasures: bool,
    few_orders: bool,
    storms: bool,
    browser_repeats: bool,
    people: u64,
}

fn list(rng: &mut Rng, mix: Mix) -> Vec<(u64, u64)> {
    let count = if rng.in_(12) { 10 } else { 1 + rng.below(3) };
    (0..count)
        .map(|_| {
            let kind = rng.one(&[1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 8]);
            let number =
                if kind == CLICK { 10_000 + rng.below(400) } else { rng.below(mix.people) };
            (kind, number)
        })
        .collect()
}

struct Live {
    engine: Engine,
    since: u64,
}

fn record(rng: &mut Rng, mix: Mix, now: u64, next: &mut u64) -> Vec<u8> {
    *next += 1;
    let event = if rng.in_(20) { next.saturating_sub(rng.below(30)) } else { *next };
    let back = rng.one(&[0, 0, 0, 0, 500, 1500, 60_000, DAY / 3, DAY, 2 * DAY]);
    let accept = now - back + rng.one(&[0, 0, 0, 1500, 3000]);
    let claim = rng.one(&[
        None,
        None,
        None,
        Some(0),
        Some(60_000),
        Some(DAY),
        Some(20 * DAY),
        Some(100 * DAY),
    ]);
    let mut at = head(event, accept);
    at.claim_ms = claim.map(|ms| accept - ms + if rng.in_(3) { 2 * 60_000 } else { 0 });
    at.trust = 1 + rng.below(2);
    at.brand = rng.one(&[1, 1, 1, 1, 1, 2]);
    match rng.below(40) {
        0..=9 => {
            let program = rng.one(&[1, 1, 1, 2]);
            let flags = rng.one(&[0, 0, 0, 32, 64, 2]);
            let partner = rng.below(4);
            let list = list(rng, mix);
            at.click_in(program, partner, flags, &list)
        }
        10..=19 => {
            let list = list(rng, mix);
            at.identify_with(rng.one(&[0, 0, 0, 0, 2]), &list)
        }
        20..=31 => sale_record(rng, mix, at, *next),
        32..=33 => control_record(rng, at, *next),
        34..=35 if mix.erasures => {
            let scope = rng.one(&["identifier", "person"]);
            let (dry, force) = (rng.in_(4), rng.in_(2));
            let list = list(rng, mix);
            at.record(7, array([scope.into(), dry.into(), force.into(), identifiers(&list)]))
        }
        _ => at.tick(),
    }
}

fn sale_record(rng: &mut Rng, mix: Mix, mut at: Head, next: u64) -> Vec<u8> {
    let order = if rng.in_(2) { rng.below(60) } else { next };
    let lately = next.saturating_sub(rng.below(60));
    let click = rng.one(&[None, None, None, Some(lately)]);
    let list = list(rng, mix);
    let flags = rng.one(&[0, 0, 0, 0, 0, 1, CONSENT_DENIED]);
    if !mix.browser_repeats {
        at.trust = SERVER;
    }
    at.sale(&Sale { flags, click, list, promo: None, ..sale(order) })
}

fn control_record(rng: &mut Rng, at: Head, revision: u64) -> Vec<u8> {
    match rng.below(4) {
        0 => at.program(rng.one(&[DAY, 5 * DAY, 30 * DAY]), revision),
        1 => at.enrolment(rng.below(4), rng.one(&["active", "active", "paused"]), revision),
        2 => {
            let terms = [
                ("on_conflict", rng.one(&["last_auth", "isolate"]).into()),
                ("model", rng.one(&["linear", "last_click", "time_decay"]).into()),
                ("neighbours_max", rng.one(&[3_u64, 48]).into()),
            ];
            at.control("program", 1, revision, &terms)
        }
        _ => {
            let window = ("window_ms", rng.one(&[DAY, 10 * DAY]).into());
            at.control("event_type", 2, revision, &[("program", 1.into()), window])
        }
    }
}

/// A log in the making.
struct Log {
    rng: Rng,
    mix: Mix,
    ms: u64,
    stream: u64,
    sequence: u64,
    next: u64,
}

impl Log {
    /// The next entry: now and then days pass, now and then a storm gathers.
    fn entry(&mut self) -> Vec<u8> {
        let Self { rng, mix, .. } = self;
        self.ms += rng.one(&[0, 0, 1, 300, 1000, 1000, 60_000, 3_600_000]);
        if rng.in_(60) {
            self.ms += rng.one(&[DAY, DAY + 5000, 3 * DAY, 9 * DAY, 31 * DAY, 91 * DAY]);
        }
        let is_storm = mix.storms && rng.in_(60);
        let count = if is_storm { 150 } else { 1 + rng.below(3) };
        let what = rng.below(3);
        let hub = rng.one(&[(VISITOR, 0), (CUSTOMER, 1), (EMAIL, 2)]);
        let mut records = Vec::new();
        for n in 0..count {
            if !is_storm {
                records.push(record(rng, *mix, self.ms, &mut self.next));
                continue;
            }
            self.next += 1;
            let at = head(self.next, self.ms);
            records.push(match what {
                0 => at.identify(&[hub, (VISITOR, 1000 + n)]),
                1 => at.sale(&sale(self.next).by(hub.0, hub.1)),
                _ => at.click(n % 4, &[hub]),
            });
        }
        let bytes = frame(rng.below(3), self.sequence, &records);
        self.sequence += records.len() as u64 + rng.below(2);
        self.stream += 1;
        bytes
    }

    fn apply(&self, engine: &mut Engine, bytes: &[u8]) -> Vec<u8> {
        let mut outcomes = Outcomes::new();
        engine.apply((self.ms, self.stream), bytes, &mut outcomes).unwrap();
        engine.encode_outcomes(&outcomes)
    }
}

fn small_limits(mix: Mix) -> Limits {
    Limits {
        clicks_live_max: 40,
        clicks_gone_max: 20,
        orders_max: if mix.few_orders { 25 } else { 100_000 },
        recent_events_max: 60,
        producers_max: 2,
        producer_ranges_max: 3,
        brands_max: 3,
        programs_max: 2,
        enrolments_max: 3,
        ..Limits::default()
    }
}

/// The tables in which outcomes differ.
fn differing(expected: &[u8], got: &[u8]) -> Vec<String> {
    let (a, b) = (read(expected), read(got));
    let tables = a.tables.iter().filter(|(name, rows)| b.tables[*name] != **rows);
    tables.map(|(name, _)| name.clone()).collect()
}

/// Runs a world; says at which step which engine first differed, and in what.
fn run(seed: u64, steps: u64, mix: Mix) -> std::result::Result<(), String> {
    let options = Options { limits: small_limits(mix), panic_on: None };
    let rng = Rng(seed);
    let mut log = Log { rng, mix, ms: T0, stream: 0, sequence: 1, next: 20_000 };
    let mut first = Engine::new(0, options);
    let mut others: Vec<Live> = Vec::new();
    for step in 0..steps {
        let bytes = log.entry();
        let expected = log.apply(&mut first, &bytes);
        let state = (step % 16 == 0).then(|| first.view().to_bytes());
        for Live { engine, since } in &mut others {
            let got = log.apply(engine, &bytes);
            let at = format!("seed {seed} step {step} restored at {since}");
            if got != expected {
                return Err(format!("{at}: outcomes differ: {:?}", differing(&expected, &got)));
            }
            if engine.chain_digest() != first.chain_digest() {
                return Err(format!("{at}: chains differ"));
            }
            if state.as_ref().is_some_and(|state| engine.view().to_bytes() != *state) {
                return Err(format!("{at}: snapshots differ"));
            }
        }
        if log.rng.in_(25) {
            let bytes = first.view().to_bytes();
            let engine = Engine::restore(0, &bytes, options).unwrap();
            assert!(engine.view().to_bytes() == bytes, "restored to other bytes");
            if others.len() == 3 {
                others.remove(usize::try_from(log.rng.below(3)).unwrap());
            }
            others.push(Live { engine, since: step });
        }
    }
    Ok(())
}

fn many(mix: Mix) {
    let failed: Vec<String> = (1..=SEEDS).filter_map(|seed| run(seed, STEPS, mix).err()).collect();
    assert!(
        failed.is_empty(),
        "{} of {SEEDS}: {:#?}",
        failed.len(),
        &failed[..failed.len().min(6)]
    );
}

const QUIET: Mix =
    Mix { erasures: false, few_orders: false, storms: false, browser_repeats: false, people: 6 };

#[test]
fn a_quiet_world_goes_on_after_a_restart_as_without_one() {
    many(QUIET);
}

#[test]
fn so_does_one_with_erasures() {
    many(Mix { erasures: true, ..QUIET });
}

#[test]
fn so_does_one_with_few_orders() {
    many(Mix { few_orders: true, ..QUIET });
}

#[test]
fn so_does_one_with_storms() {
    many(Mix { storms: true, ..QUIET });
}

#[test]
fn so_does_one_with_browsers_repeats() {
    many(Mix { browser_repeats: true, ..QUIET });
}

#[test]
fn so_does_one_with_everything() {
    many(Mix { erasures: true, few_orders: true, storms: true, browser_repeats: true, people: 6 });
}

#[test]
fn so_does_one_with_everything_and_many_people() {
    many(Mix { erasures: true, few_orders: true, storms: true, browser_repeats: true, people: 60 });
}
