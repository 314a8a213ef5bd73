//! The loop: send what is due, read what is there, sleep until the one or the other.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{epoll, Timespec};

use crate::arguments::{Arguments, Fault, Mode};
use crate::connection::{Connection, Flight, Progress};
use crate::requests::Requests;
use crate::response;
use crate::schedule::{Due, Schedule};
use crate::tally::Tally;

const EVENTS: usize = 512;
const READ_BYTES: usize = 16 * 1024;
/// A server that refuses connections is asked again after this, not at once for ever.
const PAUSE_NS: u64 = 1_000_000;
const CONNECT_S: u64 = 10;

struct Driver<'run> {
    arguments: &'run Arguments,
    poll: OwnedFd,
    requests: Requests,
    schedule: Schedule,
    tally: Tally,
    ids: Option<BufWriter<std::fs::File>>,
    connections: Vec<Option<Connection>>,
    idle: VecDeque<usize>,
    /// Places where no connection is.
    vacant: Vec<usize>,
    queue: VecDeque<Due>,
    opened: u64,
    paused_until_ns: u64,
    began: Instant,
    room: Vec<u8>,
}

/// Runs all stages, waits for the last answers, and prints what came of them.
pub(crate) fn drive(arguments: &Arguments) -> Result<(), Fault> {
    // The kernel may otherwise let a sleeper sleep 50 us longer.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let ids = arguments.ids.as_ref().map(std::fs::File::create).transpose()?.map(BufWriter::new);
    let mut driver = Driver {
        arguments,
        poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        requests: Requests::read(&arguments.requests, arguments.seed)?,
        schedule: Schedule::new(&arguments.stages, arguments.arrivals, arguments.seed),
        tally: Tally::new(&arguments.stages)?,
        ids,
        connections: (0..arguments.connections).map(|_| None).collect(),
        idle: VecDeque::new(),
        vacant: (0..arguments.connections).rev().collect(),
        queue: VecDeque::new(),
        opened: 0,
        paused_until_ns: 0,
        began: Instant::now(),
        room: vec![0; READ_BYTES],
    };
    driver.connect_all()?;
    driver.began = Instant::now();
    driver.run()?;
    let seconds = driver.began.elapsed().as_secs_f64();
    driver.give_up_the_rest()?;
    if let Some(ids) = driver.ids.as_mut() {
        ids.flush()?;
    }
    println!("{}", driver.tally.told(seconds));
    Ok(())
}

impl Driver<'_> {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Kept-alive connections are there before the clock starts.
    fn connect_all(&mut self) -> Result<(), Fault> {
        if self.arguments.mode == Mode::Close {
            return Ok(());
        }
        for _ in 0..self.arguments.connections {
            let place = self.open()?;
            self.idle.push_back(place);
        }
        let mut left = self.arguments.connections;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        while left > 0 {
            events.clear();
            self.wait(&mut events, CONNECT_S * 1_000_000_000)?;
            let is_bad = |event: &epoll::Event| {
                let flags = event.flags;
                flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP)
            };
            if events.is_empty() || events.iter().any(is_bad) {
                return Err(Fault(format!("{} takes no connection", self.arguments.target)));
            }
            left = left.saturating_sub(events.len());
        }
        Ok(())
    }

    fn open(&mut self) -> Result<usize, Fault> {
        let source = (self.arguments.mode == Mode::Close).then_some(self.opened);
        self.opened += 1;
        let connection = Connection::open(self.arguments.target, source)?;
        let place = self.vacant.pop().ok_or_else(|| Fault("no place".to_owned()))?;
        connection.watch(&self.poll, place)?;
        if let Some(slot) = self.connections.get_mut(place) {
            *slot = Some(connection);
        }
        let open = self.connections.len() - self.vacant.len();
        self.tally.peak_open = self.tally.peak_open.max(open);
        Ok(place)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, timeout_ns: u64) -> Result<(), Fault> {
        let timeout = Timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as i64,
            tv_nsec: (timeout_ns % 1_000_000_000) as i64,
        };
        match epoll::wait(&self.poll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn run(&mut self) -> Result<(), Fault> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let mut over_ns = None;
        loop {
            let now_ns = self.now_ns();
            self.dispatch(now_ns)?;
            let wake_ns = match self.schedule.next_ns() {
                Some(next_ns) => next_ns,
                None => {
                    let grace_ns = (self.arguments.grace_s * 1e9) as u64;
                    let until_ns = *over_ns.get_or_insert(now_ns + grace_ns);
                    let is_done = self.queue.is_empty() && !self.is_any_in_flight();
                    if is_done || now_ns >= until_ns {
                        return Ok(());
                    }
                    until_ns
                }
            };
            events.clear();
            self.wait(&mut events, self.sleep_ns(now_ns, wake_ns))?;
            for event in &events {
                let flags = event.flags;
                let is_ending = flags.contains(epoll::EventFlags::RDHUP);
                self.happened(event.data.u64() as usize, is_ending)?;
            }
        }
    }

    fn sleep_ns(&self, now_ns: u64, wake_ns: u64) -> u64 {
        let is_paused = now_ns < self.paused_until_ns && !self.queue.is_empty();
        let until_ns = if is_paused { wake_ns.min(self.paused_until_ns) } else { wake_ns };
        until_ns.saturating_sub(now_ns)
    }

    fn is_any_in_flight(&self) -> bool {
        self.connections.iter().flatten().any(|connection| connection.flight.is_some())
    }

    /// Everything that is due leaves, as far as there are connections.
    fn dispatch(&mut self, now_ns: u64) -> Result<(), Fault> {
        self.schedule.feed(now_ns, self.idle.len() + self.vacant.len(), &mut self.queue);
        self.tally.peak_queued = self.tally.peak_queued.max(self.queue.len());
        if now_ns < self.paused_until_ns {
            return Ok(());
        }
        while let Some(due) = self.queue.front().copied() {
            let place = match self.idle.pop_front() {
                Some(place) => place,
                None if self.vacant.is_empty() => break,
                None => match self.open() {
                    Ok(place) => place,
                    Err(_) => return self.refused(),
                },
            };
            self.queue.pop_front();
            let now_ns = self.now_ns();
            self.tally.sent(due, now_ns)?;
            let Some(Some(connection)) = self.connections.get_mut(place) else { continue };
            let flight = Flight { due, sent_ns: now_ns };
            if connection.send(flight, self.requests.draw()).is_err() {
                self.lost(place)?;
            }
        }
        Ok(())
    }

    /// No connection was to be had for the request that is due.
    fn refused(&mut self) -> Result<(), Fault> {
        if let Some(due) = self.queue.pop_front() {
            self.tally.unsent(due)?;
        }
        self.paused_until_ns = self.now_ns() + PAUSE_NS;
        Ok(())
    }

    /// A connection has something to say.
    fn happened(&mut self, place: usize, is_ending: bool) -> Result<(), Fault> {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return Ok(()) };
        if connection.flush().is_err() {
            return self.lost(place);
        }
        let Ok(read) = connection.receive(&mut self.room, is_ending) else {
            return self.lost(place);
        };
        let Ok(answer) = response::parse(connection.received()) else { return self.lost(place) };
        if let (Some(answer), Some(flight)) = (answer, connection.flight) {
            let now_ns = self.began.elapsed().as_nanos() as u64;
            let length = answer.length;
            self.tally.answered(flight.due, flight.sent_ns, now_ns, answer.status)?;
            if answer.status != self.arguments.status {
                self.tally.unexpected += 1;
            } else if let (Some(ids), Some(id)) = (self.ids.as_mut(), answer.click_id) {
                ids.write_all(id)?;
            }
            connection.flight = None;
            if !connection.forget(length) {
                return self.lost(place);
            }
            if read == Progress::More && self.arguments.mode == Mode::KeepAlive {
                self.idle.push_back(place);
            }
        }
        if read == Progress::Ended {
            return self.lost(place);
        }
        Ok(())
    }

    /// A connection is at its end; a request it still carries has failed.
    fn lost(&mut self, place: usize) -> Result<(), Fault> {
        let Some(slot) = self.connections.get_mut(place) else { return Ok(()) };
        let Some(connection) = slot.take() else { return Ok(()) };
        if let Some(flight) = connection.flight {
            self.tally.failed(flight.due)?;
            self.paused_until_ns = self.now_ns() + PAUSE_NS;
        }
        self.idle.retain(|idle| *idle != place);
        self.vacant.push(place);
        Ok(())
    }

    fn give_up_the_rest(&mut self) -> Result<(), Fault> {
        for connection in self.connections.iter().flatten() {
            if let Some(flight) = connection.flight {
                self.tally.failed(flight.due)?;
            }
        }
        while let Some(due) = self.queue.pop_front() {
            self.tally.unsent(due)?;
        }
        Ok(())
    }
}
