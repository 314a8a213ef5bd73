//! The same through frames of the log: applying, looking away for a snapshot, starting again.

use std::time::Duration;

use headwater_engine::limits::FRAME_RECORDS_MAX;
use headwater_engine::record::Trust;
use headwater_engine::record::{
    encode_frame, Body, Click, Client, Control, Identifiers, Identify, Params, Record,
};
use headwater_engine::{Engine, Id, Options, Outcomes};

use crate::brand::lasting_limits;
use crate::tools::{
    cpu_time, cpu_timed, digest, longest, micros, millis, rate, resident_bytes, say, timed,
};
use crate::workload::{click_id, link_event, Workload, DAY_MS, START_MS};

const FRAME_SPAN_MS: u64 = 3_600_000;
const BATCH_FRAMES: usize = 64;
const FRAMES_BESIDE_A_VIEW: usize = 400;
const BRAND: u64 = 1;

/// Makes frames of records, and applies them in batches; only applying is timed.
struct Feed<'a> {
    engine: &'a mut Engine,
    held: Vec<Vec<u8>>,
    first_ms: u64,
    last_ms: u64,
    sequence: u64,
    entries: u64,
    frames: Vec<((u64, u64), Vec<u8>)>,
    taken: Duration,
    longest: Duration,
}

impl<'a> Feed<'a> {
    fn new(engine: &'a mut Engine, sequence: u64) -> Self {
        Self {
            engine,
            held: Vec::new(),
            first_ms: 0,
            last_ms: 0,
            sequence,
            entries: 0,
            frames: Vec::new(),
            taken: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }

    fn push(&mut self, record: &Record<'_>) {
        let is_late = record.accept_ms - self.first_ms > FRAME_SPAN_MS;
        if !self.held.is_empty() && (is_late || self.held.len() == FRAME_RECORDS_MAX) {
            self.close();
        }
        if self.held.is_empty() {
            self.first_ms = record.accept_ms;
        }
        self.last_ms = record.accept_ms;
        self.held.push(record.encode());
    }

    fn close(&mut self) {
        let records: Vec<&[u8]> = self.held.iter().map(Vec::as_slice).collect();
        let frame = encode_frame(0, 7, self.sequence, &records).unwrap();
        self.sequence += self.held.len() as u64;
        self.entries += 1;
        self.frames.push(((self.last_ms, self.sequence), frame));
        self.held.clear();
        if self.frames.len() == BATCH_FRAMES {
            self.apply();
        }
    }

    /// Applies what has gathered; outcomes are written out as the matcher has them.
    fn apply(&mut self) {
        let begin = cpu_time();
        let mut outcomes = Outcomes::new();
        for (position, frame) in self.frames.drain(..) {
            let (taken, applied) = timed(|| self.engine.apply(position, &frame, &mut outcomes));
            applied.unwrap();
            self.longest = self.longest.max(taken);
        }
        let bytes = self.engine.encode_outcomes(&outcomes);
        self.taken += cpu_time() - begin;
        drop(bytes);
    }

    fn finish(mut self) -> (Duration, Duration, u64) {
        if !self.held.is_empty() {
            self.close();
        }
        self.apply();
        (self.taken, self.longest, self.sequence)
    }
}

fn record(event_id: Id, accept_ms: u64, body: Body<'_>) -> Record<'_> {
    Record {
        event_id,
        brand: BRAND,
        accept_ms,
        claim_ms: None,
        trust: Trust::Server,
        source: 4,
        body,
    }
}

/// A program whose clicks live 120 days.
fn program() -> Vec<u8> {
    let mut value = vec![0x81, 0xa9];
    value.extend_from_slice(b"window_ms");
    value.push(0xcf);
    value.extend_from_slice(&(120 * DAY_MS).to_be_bytes());
    value
}

fn push_link(feed: &mut Feed<'_>, load: &Workload, number: usize, at_ms: u64, event: Id) {
    let (one, two) = load.links[number];
    let pair = [load.keys[one as usize], load.keys[two as usize]];
    let mut buffer = Vec::new();
    let identifiers = Identifiers::encode(&pair, &mut buffer);
    let body = Identify { program: 1, flags: 0, identifiers, client: Client::NONE };
    feed.push(&record(event, at_ms, Body::Identify(body)));
}

fn push_click(feed: &mut Feed<'_>, load: &Workload, number: usize) {
    let (on, touch_ms) = load.clicks[number];
    let mut buffer = Vec::new();
    let body = Click {
        program: 1,
        partner: 1 + number as u64 % 50,
        link: 0,
        flags: 0,
        identifiers: Identifiers::encode(&[load.keys[on as usize]], &mut buffer),
        params: Params::NONE,
        client: Client::NONE,
    };
    feed.push(&record(click_id(touch_ms, number), touch_ms, Body::Click(body)));
}

fn fill(engine: &mut Engine, load: &Workload) -> u64 {
    let value = program();
    let terms = Control { object: "program", number: 1, revision: 1, value: &value };
    let mut feed = Feed::new(engine, 1);
    feed.push(&record([9; 16], START_MS, Body::Control(terms)));
    for number in 0..load.links.len() {
        push_link(&mut feed, load, number, load.link_ms(number), link_event(number));
    }
    let (taken, longest, sequence) = feed.finish();
    say("identify records applied, outcomes written", &rate(load.links.len(), taken));
    say("longest frame", &format!("{:.1} ms", millis(longest)));
    let mut feed = Feed::new(engine, sequence);
    for number in 0..load.clicks.len() {
        push_click(&mut feed, load, number);
    }
    let (taken, longest, sequence) = feed.finish();
    say("click records applied, outcomes written", &rate(load.clicks.len(), taken));
    say("longest frame", &format!("{:.1} ms", millis(longest)));
    sequence
}

/// Full frames of links seen again, spread over the whole graph; the rate, and the longest frame.
fn stir(engine: &mut Engine, load: &Workload, sequence: u64, round: u64) -> u64 {
    let now_ms = engine.time_ms();
    let mut feed = Feed::new(engine, sequence);
    let count = (FRAMES_BESIDE_A_VIEW * FRAME_RECORDS_MAX).min(load.links.len());
    let step = (load.links.len() / count).max(1);
    for at in 0..count {
        let event = digest(round << 48 | at as u64);
        push_link(&mut feed, load, at * step, now_ms, event);
    }
    let (taken, longest, sequence) = feed.finish();
    say("  identify records all over the graph", &rate(count, taken));
    say("  longest frame of it", &format!("{:.2} ms", millis(longest)));
    sequence
}

fn snapshots(engine: &mut Engine, load: &Workload, sequence: u64) {
    say("before a view", "");
    let sequence = stir(engine, load, sequence, 1);
    let (taken, view) = timed(|| engine.view());
    say("view", &format!("{:.1} µs", micros(taken)));
    say("beside the view: what is written is copied first", "");
    let sequence = stir(engine, load, sequence, 2);
    say("once more beside it", "");
    let sequence = stir(engine, load, sequence, 3);
    let (taken, bytes) = cpu_timed(|| view.to_bytes());
    let size = bytes.len() as f64;
    say(
        "to_bytes",
        &format!(
            "{:.2} s, {:.3} GB, {:.2} GB/s",
            taken.as_secs_f64(),
            size / 1e9,
            size / 1e9 / taken.as_secs_f64()
        ),
    );
    drop(view);
    let limits = lasting_limits(load.clicks.len());
    let options = Options { limits, ..Options::default() };
    let before = resident_bytes();
    let (taken, restored) = cpu_timed(|| Engine::restore(0, &bytes, options));
    let mut restored = restored.unwrap();
    let grown = (resident_bytes() - before) as f64 / 1e9;
    say("restore", &format!("{:.2} s, the process grew by {grown:.2} GB", taken.as_secs_f64()));
    say("after the restore", "");
    stir(&mut restored, load, sequence, 4);
    let views = longest(100, |_| drop(engine.view()));
    say("a hundred views, longest", &format!("{:.1} µs", micros(views.1)));
}

/// Loads through frames, then measures snapshots.
pub fn run(workload: &Workload) {
    println!("\nThrough the engine: frames of {FRAME_RECORDS_MAX} records");
    let limits = lasting_limits(workload.clicks.len());
    let mut engine = Engine::new(0, Options { limits, ..Options::default() });
    let before = resident_bytes();
    let sequence = fill(&mut engine, workload);
    let grown = (resident_bytes() - before) as f64;
    say("the process grew", &format!("{:.2} GB", grown / 1e9));
    println!("{:?}", engine.stats());
    snapshots(&mut engine, workload, sequence);
}
