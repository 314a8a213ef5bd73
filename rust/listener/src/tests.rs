//! Real sockets of this machine, and a lane that takes every line but one.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use headwater_engine::limits::{HOT_ACCEPTS_MAX, HOT_READ_BYTES, HOT_SERVED_MAX};
use headwater_hotpath::{Kind, Ranges, Taken};

use crate::listener::line;
use crate::{Bounds, Handed, Listener, Turn};

const HEAD_MS: u64 = 5000;
const KEEP_ALIVE_MS: u64 = 75_000;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Server {
    listener: Listener,
    port: u16,
    /// The lane's answer to a line.
    answer: String,
    offered: Vec<usize>,
}

/// Takes one line of the form `partition\n`; `!` at its end closes. Others are not its own.
fn take(data: &[u8], answer: &str) -> Option<Taken> {
    let end = data.iter().position(|&byte| byte == b'\n')? + 1;
    let line = std::str::from_utf8(&data[..end]).ok()?;
    Some(Taken {
        bytes: end,
        answer: answer.into(),
        kind: Kind::Click,
        partition: line.trim_end_matches(['!', '\n']).parse().ok()?,
        record: line.into(),
        is_last: line.ends_with("!\n"),
    })
}

fn bounds(connections_max: usize, per_address_max: usize) -> Bounds {
    Bounds { connections_max, per_address_max, head_ms: HEAD_MS, keep_alive_ms: KEEP_ALIVE_MS }
}

impl Server {
    fn new(per_address_max: usize) -> Self {
        Self::bound(Ranges::default(), bounds(usize::MAX, per_address_max))
    }

    fn bound(proxies: Ranges, bounds: Bounds) -> Self {
        let mut listener = Listener::new(proxies, bounds).unwrap();
        let port = listener.listen(SocketAddr::new(LOCAL, 0), 512).unwrap();
        Self { listener, port, answer: "done\n".to_owned(), offered: Vec::new() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((LOCAL, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    fn turn(&mut self, now_ms: u64) -> Turn {
        let Self { listener, answer, offered, .. } = self;
        let mut offer = |data: &[u8], _: IpAddr| {
            offered.push(data.len());
            take(data, answer)
        };
        listener.turn(now_ms, &mut offer).unwrap()
    }

    /// Turns until something has come of one.
    fn until(&mut self, is_it: impl Fn(&Turn) -> bool) -> Turn {
        let began = Instant::now();
        loop {
            let turn = self.turn(0);
            if is_it(&turn) {
                return turn;
            }
            assert!(began.elapsed() < Duration::from_secs(5), "nothing came");
        }
    }

    fn batches(&mut self) -> Vec<(u64, u16, usize)> {
        let turn = self.until(|turn| !turn.batches.is_empty());
        let batches = turn.batches.iter();
        batches.map(|batch| (batch.number, batch.partition, batch.records.len())).collect()
    }

    fn handed(&mut self) -> Handed {
        self.until(|turn| !turn.handed.is_empty()).handed.remove(0)
    }
}

fn heard(stream: &mut TcpStream) -> String {
    let mut room = [0; 100];
    let taken = stream.read(&mut room).unwrap();
    String::from_utf8(room[..taken].to_vec()).unwrap()
}

fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let is_silent = stream.peek(&mut [0; 1]).is_err();
    stream.set_nonblocking(false).unwrap();
    is_silent
}

#[test]
fn an_answer_leaves_when_its_batch_is_done() {
    let mut server = Server::new(9);
    let mut streams = [server.connect(), server.connect()];
    streams[0].write_all(b"1\n").unwrap();
    streams[1].write_all(b"2\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(server.batches(), [(1, 1, 1), (2, 2, 1)]);
    assert_eq!(server.listener.pending(), 2);
    server.listener.answer(2, 0);
    assert!(is_silent(&streams[0]));
    assert_eq!(heard(&mut streams[1]), "done\n");
    server.listener.answer(1, 0);
    assert_eq!(heard(&mut streams[0]), "done\n");
    assert_eq!(server.listener.pending(), 0);
}

#[test]
fn a_batch_has_the_records_of_all_connections_and_each_hears_of_it() {
    let mut server = Server::new(9);
    let mut streams: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"7\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    let batches = server.batches();
    assert_eq!(batches, [(1, 7, 3)]);
    assert!(!server.listener.answer(1, 0));
    assert!(streams.iter_mut().all(|stream| heard(stream) == "done\n"));
}

#[test]
fn nothing_is_read_while_an_answer_waits_and_then_the_rest_is() {
    let mut server = Server::new(9);
    let mut stream = server.connect();
    stream.write_all(b"1\n2\n").unwrap();
    assert_eq!(server.batches(), [(1, 1, 1)]);
    stream.write_all(b"3\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let turn = server.turn(0);
    assert!(turn.batches.is_empty());
    for number in 1..=2 {
        assert!(server.listener.answer(number, 0), "there is more");
        assert_eq!(heard(&mut stream), "done\n");
        assert_eq!(server.batches().len(), 1);
    }
    assert!(!server.listener.answer(3, 0));
}

#[test]
fn no_more_is_held_than_one_read_takes() {
    let mut server = Server::new(9);
    let mut stream = server.connect();
    let line = b"1\n".repeat(HOT_READ_BYTES);
    std::thread::scope(|scope| {
        scope.spawn(|| stream.write_all(&line));
        assert_eq!(server.batches(), [(1, 1, 1)]);
        std::thread::sleep(Duration::from_millis(50));
        assert!(server.turn(0).batches.is_empty());
        assert_eq!(server.offered.len(), 1);
        assert!(server.offered[0] <= HOT_READ_BYTES);
        server.listener.close_all();
    });
}

#[test]
fn what_is_not_the_lanes_is_handed_over_with_all_that_was_read() {
    let mut server = Server::new(9);
    let mut stream = server.connect();
    stream.write_all(b"1\nPOST").unwrap();
    server.batches();
    server.listener.answer(1, 0);
    let handed = server.handed();
    assert_eq!((handed.unread.as_slice(), handed.unsent.len()), (b"POST".as_slice(), 0));
    assert_eq!((handed.peer.as_str(), handed.is_last), ("127.0.0.1", false));
    assert_eq!(heard(&mut stream), "done\n");
    let mut socket = TcpStream::from(handed.socket);
    socket.write_all(b"more").unwrap();
    assert_eq!(heard(&mut stream), "more");
}

#[test]
fn what_a_slow_reader_does_not_take_is_handed_over() {
    let mut server = Server::new(9);
    server.answer = "x".repeat(32 << 20);
    let mut stream = server.connect();
    stream.write_all(b"1!\n").unwrap();
    server.batches();
    assert!(server.listener.answer(1, 0), "a turn is wanted");
    let handed = server.handed();
    assert!(handed.is_last && handed.unread.is_empty());
    assert!((1..32 << 20).contains(&handed.unsent.len()));
}

#[test]
fn the_last_answer_closes() {
    let mut server = Server::new(9);
    let mut stream = server.connect();
    stream.write_all(b"1!\n").unwrap();
    server.batches();
    server.listener.answer(1, 0);
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all, "done\n");
}

#[test]
fn a_connection_that_is_gone_is_passed_over_though_its_place_is_taken_again() {
    let mut server = Server::new(9);
    let mut first = server.connect();
    first.write_all(b"1\n").unwrap();
    server.batches();
    first.shutdown(Shutdown::Both).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    server.turn(0);
    assert_eq!(server.listener.pending(), 0);
    let mut second = server.connect();
    second.write_all(b"1\n").unwrap();
    server.batches();
    server.listener.answer(1, 0);
    assert!(is_silent(&second));
    server.listener.answer(2, 0);
    assert_eq!(heard(&mut second), "done\n");
}

#[test]
fn connections_that_send_nothing_and_idle_ones_expire() {
    let mut server = Server::new(9);
    let mut silent = server.connect();
    let mut idle = server.connect();
    idle.write_all(b"1\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    server.batches();
    server.listener.expire(HEAD_MS);
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    // One that waits is not idle, for however long.
    server.listener.expire(u64::MAX - 1);
    assert_eq!(server.listener.pending(), 1);
    server.listener.answer(1, 1000);
    assert_eq!(heard(&mut idle), "done\n");
    server.listener.expire(1000 + KEEP_ALIVE_MS - 1);
    assert!(is_silent(&idle));
    server.listener.expire(1000 + KEEP_ALIVE_MS);
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
}

/// Two connections are admitted, and no more until one ends.
fn admits_two(mut server: Server) {
    let streams: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    assert_eq!(server.until(|turn| turn.refused > 0).refused, 1);
    assert_eq!(streams[2].peek(&mut [0; 1]).unwrap(), 0);
    // One that is handed over still counts until it is told to have ended.
    (&streams[0]).write_all(b"x\n").unwrap();
    let _handed = server.handed();
    let _refused = server.connect();
    assert_eq!(server.until(|turn| turn.refused > 0).refused, 1);
    server.listener.release(LOCAL);
    server.connect().write_all(b"1\n").unwrap();
    assert_eq!(server.batches().len(), 1);
}

#[test]
fn one_address_has_so_many_connections_and_no_more_until_one_ends() {
    admits_two(Server::new(2));
}

#[test]
fn trusted_proxies_have_any_number() {
    let any = [0, u32::MAX].map(u32::to_ne_bytes).concat();
    let mut server = Server::bound(Ranges::new(&any, &[]), bounds(9, 0));
    server.connect().write_all(b"1\n").unwrap();
    assert_eq!(server.batches().len(), 1);
}

#[test]
fn a_turn_takes_so_many_connections_and_events_and_the_next_the_rest() {
    let mut server = Server::new(usize::MAX);
    let count = HOT_SERVED_MAX + 10;
    let mut streams = Vec::new();
    let mut taken = 0;
    for _ in 0..count {
        let mut stream = server.connect();
        stream.write_all(b"1\n").unwrap();
        streams.push(stream);
    }
    while taken < count {
        let records = server.turn(0).batches.iter().map(|batch| batch.records.len()).sum::<usize>();
        assert!(records <= HOT_ACCEPTS_MAX);
        taken += records;
    }
    for number in 1..=count as u64 {
        server.listener.answer(number, 0);
    }
    for stream in &mut streams {
        assert_eq!(heard(stream), "done\n");
        stream.write_all(b"1\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let of_turn = |turn: Turn| turn.batches.iter().map(|batch| batch.records.len()).sum::<usize>();
    assert_eq!(of_turn(server.turn(0)), HOT_SERVED_MAX);
    assert_eq!(of_turn(server.turn(0)), count - HOT_SERVED_MAX);
}

#[test]
fn however_much_each_has_sent_they_are_served_in_turn() {
    let mut server = Server::new(usize::MAX);
    let mut streams: Vec<TcpStream> = (0..HOT_SERVED_MAX).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&b"1\n".repeat(50)).unwrap();
    }
    let mut served = 0;
    while served < streams.len() {
        served += server.turn(0).batches.iter().map(|batch| batch.records.len()).sum::<usize>();
    }
    // One that comes last waits for one request of each of them.
    let mut last = server.connect();
    last.write_all(b"2\n").unwrap();
    for number in 1..=streams.len() as u64 {
        server.listener.answer(number, 0);
    }
    let turn = server.turn(0);
    assert_eq!(turn.batches.iter().map(|batch| batch.records.len()).sum::<usize>(), HOT_SERVED_MAX);
    assert!(turn.is_unfinished);
    let turn = server.turn(0);
    let of_partition: Vec<_> =
        turn.batches.iter().map(|batch| (batch.partition, batch.records.len())).collect();
    assert_eq!(of_partition, [(2, 1)]);
    assert!(!turn.is_unfinished);
}

#[test]
fn a_panic_of_the_lane_is_nobody_elses() {
    let mut server = Server::new(9);
    let mut streams = [server.connect(), server.connect()];
    for stream in &mut streams {
        stream.write_all(b"1\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    let turn = || server.listener.turn(0, &mut |_, _| unreachable!("a fault of the lane"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(turn)).is_err());
    assert_eq!(server.batches(), [(1, 1, 1)]);
    server.listener.answer(1, 0);
    assert_eq!(heard(&mut streams[1]), "done\n");
}

#[test]
fn all_addresses_together_have_so_many_connections() {
    let any = [0, u32::MAX].map(u32::to_ne_bytes).concat();
    admits_two(Server::bound(Ranges::new(&any, &[]), bounds(2, 9)));
}

#[test]
fn idle_connections_expire_sooner_where_there_are_many() {
    let mut server = Server::bound(Ranges::default(), bounds(4, 9));
    let mut streams: Vec<TcpStream> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"1\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(server.batches(), [(1, 1, 2)]);
    server.listener.answer(1, 0);
    assert!(streams.iter_mut().all(|stream| heard(stream) == "done\n"));
    server.listener.expire(HEAD_MS);
    assert!(streams.iter().all(is_silent));
    let third = server.connect();
    std::thread::sleep(Duration::from_millis(20));
    server.turn(HEAD_MS);
    server.listener.expire(HEAD_MS);
    assert!(streams.iter_mut().all(|stream| stream.read(&mut [0; 1]).unwrap() == 0));
    assert!(is_silent(&third));
}

#[test]
fn connections_are_counted_of_an_address_or_of_a_network_of_ipv6() {
    let line_of = |text: &str| line(text.parse().unwrap()).to_string();
    assert_eq!(line_of("203.0.113.9"), "203.0.113.9");
    assert_eq!(line_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
}

#[test]
fn out_of_descriptors_it_stops_taking_connections_and_begins_again() {
    let mut server = Server::new(9);
    server.listener.listen(SocketAddr::new(LOCAL, 0), 512).unwrap();
    // Each of two sockets finds that none is left, in the same turn.
    server.listener.stop_accepting();
    server.listener.stop_accepting();
    let mut stream = server.connect();
    stream.write_all(b"1\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(server.turn(0).batches.is_empty());
    server.listener.expire(0);
    assert_eq!(server.batches(), [(1, 1, 1)]);
    server.listener.stop_accepting();
    server.listener.expire(0);
    server.listener.answer(1, 0);
    assert_eq!(heard(&mut stream), "done\n");
}

#[test]
fn draining_answers_what_waits_and_closes_all() {
    let mut server = Server::new(9);
    let mut idle = server.connect();
    let mut waits = server.connect();
    waits.write_all(b"1\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    server.batches();
    server.listener.drain();
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    assert!(TcpStream::connect((LOCAL, server.port)).is_err());
    assert_eq!(server.listener.pending(), 1);
    server.listener.answer(1, 0);
    let mut all = String::new();
    waits.read_to_string(&mut all).unwrap();
    assert_eq!(all, "done\n");
}
