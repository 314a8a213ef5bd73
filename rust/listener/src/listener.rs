//! Listening sockets, their connections, and the turns in which these are served.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use headwater_engine::limits::{HOT_ACCEPTS_MAX, HOT_EVENTS_MAX, HOT_READ_BYTES};
use headwater_hotpath::{Kind, Ranges, Taken};
use rustix::event::{epoll, Timespec};
use rustix::io::Errno;
use rustix::net::{self, ipproto, sockopt, AddressFamily, SocketFlags, SocketType};

use crate::connection::{Connection, Found, Handed};
use crate::places::{Place, Places};

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Records of one turn and kind for one partition: when all are safe, [`Listener::answer`] is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its number; never used again.
    pub number: u64,
    /// Where the records belong.
    pub partition: u16,
    /// What their requests came to.
    pub kind: Kind,
    /// The records.
    pub records: Vec<Vec<u8>>,
}

/// What came of a turn.
#[derive(Debug, Default)]
pub struct Turn {
    /// Records to be made safe.
    pub batches: Vec<Batch>,
    /// Connections for the ordinary lane.
    pub handed: Vec<Handed>,
    /// Connections beyond what one address may have.
    pub refused: usize,
    /// Another turn is wanted, though nothing may have come.
    pub is_unfinished: bool,
}

/// What is asked of the bytes at the start of a request, with the peer's address.
type Offer<'a> = dyn FnMut(&[u8], &str) -> Option<Taken> + 'a;

/// What a turn is given, and what has come of it so far.
struct Work<'a, 'b> {
    now_ms: u64,
    offer: &'a mut Offer<'b>,
    turn: Turn,
}

/// Sockets that listen, and the connections that came by them.
#[derive(Debug)]
pub struct Listener {
    poll: OwnedFd,
    sockets: Vec<OwnedFd>,
    /// There was no descriptor left for a new connection: those wait in the kernel.
    is_short: bool,
    is_draining: bool,
    proxies: Ranges,
    connections_per_address_max: usize,
    head_ms: u64,
    keep_alive_ms: u64,
    by_address: HashMap<IpAddr, usize>,
    places: Places,
    /// Whose answers wait for a batch.
    waiting: HashMap<u64, Vec<Place>>,
    batches: u64,
    /// Answered, with more to read.
    again: Vec<Place>,
    handed: Vec<Handed>,
    room: Vec<u8>,
}

impl Listener {
    /// One that listens to nothing yet. Addresses in `proxies` may have any number of connections,
    /// others `connections_per_address_max`. A connection on which nothing was sent is closed
    /// after `head_ms`, an idle one after `keep_alive_ms`.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new(
        proxies: Ranges,
        connections_per_address_max: usize,
        head_ms: u64,
        keep_alive_ms: u64,
    ) -> io::Result<Self> {
        Ok(Self {
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sockets: Vec::new(),
            is_short: false,
            is_draining: false,
            proxies,
            connections_per_address_max,
            head_ms,
            keep_alive_ms,
            by_address: HashMap::new(),
            places: Places::default(),
            waiting: HashMap::new(),
            batches: 0,
            again: Vec::new(),
            handed: Vec::new(),
            room: vec![0; HOT_READ_BYTES],
        })
    }

    /// Listens on an address, beside other processes that do; the port it got.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn listen(&mut self, address: SocketAddr, backlog: i32) -> io::Result<u16> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        // Connections inherit these.
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        net::bind(&socket, &address)?;
        net::listen(&socket, backlog)?;
        let bound = SocketAddr::try_from(net::getsockname(&socket)?)?;
        self.watch_socket(&socket, self.sockets.len())?;
        self.sockets.push(socket);
        Ok(bound.port())
    }

    fn watch_socket(&self, socket: impl AsFd, number: usize) -> rustix::io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.poll, socket, data, epoll::EventFlags::IN)
    }

    /// Takes new connections, reads what has come, and offers it. A connection whose bytes are
    /// taken is not read again until it is answered.
    ///
    /// # Errors
    /// When the kernel fails to tell what has come.
    pub fn turn(&mut self, now_ms: u64, offer: &mut Offer<'_>) -> io::Result<Turn> {
        let mut events = [const { MaybeUninit::uninit() }; HOT_EVENTS_MAX];
        let events = match epoll::wait(&self.poll, &mut events, Some(&AT_ONCE)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => &mut [],
            Err(error) => return Err(error.into()),
        };
        let mut work = Work { now_ms, offer, turn: Turn::default() };
        let mut room = std::mem::take(&mut self.room);
        for place in std::mem::take(&mut self.again) {
            self.go_on(place, &mut room, &mut work);
        }
        for event in events {
            let number = event.data.u64();
            match usize::try_from(number) {
                Ok(socket) if socket < self.sockets.len() => {
                    self.accept(socket, &mut room, &mut work);
                }
                _ => {
                    let place = Place::from_u64(number);
                    self.hear(place, event.flags, &mut room, &mut work);
                }
            }
        }
        self.room = room;
        let mut turn = work.turn;
        turn.handed.append(&mut self.handed);
        turn.is_unfinished = !self.again.is_empty();
        Ok(turn)
    }

    fn accept(&mut self, socket: usize, room: &mut [u8], work: &mut Work<'_, '_>) {
        for _ in 0..HOT_ACCEPTS_MAX {
            let Some(listening) = self.sockets.get(socket) else { break };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (accepted, address) = match net::acceptfrom_with(listening, flags) {
                Ok((accepted, address)) => (accepted, address),
                Err(Errno::AGAIN) => break,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.stop_accepting();
                    break;
                }
                // Of the connection, which is gone already.
                Err(_) => continue,
            };
            let Some(address) = address.and_then(|address| SocketAddr::try_from(address).ok())
            else {
                continue;
            };
            if !self.admit(address.ip()) {
                work.turn.refused += 1;
                continue;
            }
            let due_ms = work.now_ms.saturating_add(self.head_ms);
            let connection = Connection::new(accepted, address.ip(), due_ms);
            match self.places.add(connection) {
                // Where there is much to do the request is there before its connection is taken.
                Some(place) => self.read(place, room, work),
                None => self.release(address.ip()),
            }
        }
    }

    fn admit(&mut self, address: IpAddr) -> bool {
        let count = self.by_address.entry(address).or_default();
        let is_admitted =
            *count < self.connections_per_address_max || self.proxies.hold(address.to_canonical());
        if is_admitted {
            *count += 1;
        }
        is_admitted
    }

    /// A connection of this address, handed over before, has ended.
    pub fn release(&mut self, address: IpAddr) {
        if let Some(count) = self.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    pub(crate) fn stop_accepting(&mut self) {
        self.is_short = true;
        for socket in &self.sockets {
            // Of one that is not watched, as another has stopped it, there is nothing to stop.
            let _ = epoll::delete(&self.poll, socket);
        }
    }

    /// What epoll says of a connection.
    fn hear(
        &mut self,
        place: Place,
        flags: epoll::EventFlags,
        room: &mut [u8],
        work: &mut Work<'_, '_>,
    ) {
        let Some(connection) = self.places.get_mut(place) else { return };
        if connection.note(flags) {
            self.close(place);
        } else if connection.waits == 0 && connection.held.is_empty() {
            self.read(place, room, work);
        }
    }

    /// After an answer: what was read with the requests before, or what has come meanwhile.
    fn go_on(&mut self, place: Place, room: &mut [u8], work: &mut Work<'_, '_>) {
        let Some(connection) = self.places.get_mut(place) else { return };
        let held = std::mem::take(&mut connection.held);
        if held.is_empty() {
            self.read(place, room, work);
        } else {
            self.offer(place, &held, work);
        }
    }

    fn read(&mut self, place: Place, room: &mut [u8], work: &mut Work<'_, '_>) {
        let Some(connection) = self.places.get_mut(place) else { return };
        match connection.read(room) {
            Found::Bytes(taken) => {
                let data = room.get(..taken).unwrap_or_default();
                self.offer(place, data, work);
            }
            Found::Nothing => self.watch(place),
            Found::End => self.close(place),
        }
    }

    fn watch(&mut self, place: Place) {
        let Some(connection) = self.places.get_mut(place) else { return };
        if connection.watch(&self.poll, place).is_err() {
            self.close(place);
        }
    }

    fn offer(&mut self, place: Place, data: &[u8], work: &mut Work<'_, '_>) {
        let Some(connection) = self.places.get_mut(place) else { return };
        let Some(taken) = (work.offer)(data, &connection.peer) else {
            self.hand(place, Vec::new(), data.to_vec());
            return;
        };
        connection.held = data.get(taken.bytes..).unwrap_or_default().to_vec();
        connection.answer = taken.answer;
        connection.is_last = taken.is_last;
        let kind = taken.kind;
        for (partition, record) in taken.records {
            let is_its = |batch: &&mut Batch| (batch.partition, batch.kind) == (partition, kind);
            let batch = match work.turn.batches.iter_mut().find(is_its) {
                Some(batch) => batch,
                None => {
                    self.batches += 1;
                    work.turn.batches.push(Batch {
                        number: self.batches,
                        partition,
                        kind,
                        records: Vec::new(),
                    });
                    self.waiting.insert(self.batches, Vec::new());
                    let Some(batch) = work.turn.batches.last_mut() else { continue };
                    batch
                }
            };
            batch.records.push(record);
            let Some(waiting) = self.waiting.get_mut(&batch.number) else { continue };
            if waiting.last() != Some(&place) {
                waiting.push(place);
                connection.waits += 1;
            }
        }
        if !connection.is_last {
            self.watch(place);
        }
        if self.places.get_mut(place).is_some_and(|connection| connection.waits == 0) {
            self.write(place, work.now_ms);
        }
    }

    /// A batch is safe, or given up: the answers that waited for nothing else leave. Whether a
    /// turn is wanted, though nothing may have come.
    pub fn answer(&mut self, number: u64, now_ms: u64) -> bool {
        for place in self.waiting.remove(&number).unwrap_or_default() {
            let Some(connection) = self.places.get_mut(place) else { continue };
            connection.waits = connection.waits.saturating_sub(1);
            if connection.waits == 0 {
                self.write(place, now_ms);
            }
        }
        !self.again.is_empty() || !self.handed.is_empty()
    }

    fn write(&mut self, place: Place, now_ms: u64) {
        let due_ms = now_ms.saturating_add(self.keep_alive_ms);
        let Some(connection) = self.places.get_mut(place) else { return };
        let Some(unsent) = connection.write() else {
            self.close(place);
            return;
        };
        if !unsent.is_empty() {
            let held = std::mem::take(&mut connection.held);
            self.hand(place, unsent, held);
        } else if connection.is_last || self.is_draining {
            self.close(place);
        } else {
            connection.due_ms = due_ms;
            if connection.is_readable || !connection.held.is_empty() {
                self.again.push(place);
            }
        }
    }

    fn hand(&mut self, place: Place, unsent: Vec<u8>, unread: Vec<u8>) {
        if let Some(connection) = self.places.remove(place) {
            self.handed.push(connection.hand(&self.poll, unsent, unread));
        }
    }

    fn close(&mut self, place: Place) {
        if let Some(connection) = self.places.remove(place) {
            self.release(connection.address);
        }
    }

    /// Closes connections that were idle for too long, and takes new ones again where there was
    /// no descriptor for them. To be called from time to time.
    pub fn expire(&mut self, now_ms: u64) {
        self.close_where(|connection| connection.waits == 0 && connection.due_ms <= now_ms);
        if self.is_short {
            self.is_short = false;
            for (number, socket) in self.sockets.iter().enumerate() {
                let watched = self.watch_socket(socket, number);
                self.is_short |= !matches!(watched, Ok(()) | Err(Errno::EXIST));
            }
        }
    }

    fn close_where(&mut self, is_due: impl Fn(&Connection) -> bool) {
        let due = self.places.iter().filter(|(_, connection)| is_due(connection));
        let due: Vec<Place> = due.map(|(place, _)| place).collect();
        for place in due {
            self.close(place);
        }
    }

    /// Takes no more connections and no more requests; connections close, each with its answer.
    pub fn drain(&mut self) {
        self.is_draining = true;
        self.sockets.clear();
        self.close_where(|connection| connection.waits == 0);
    }

    /// Connections whose answers wait.
    pub fn pending(&self) -> usize {
        self.places.iter().filter(|(_, connection)| connection.waits > 0).count()
    }

    /// Closes every connection.
    pub fn close_all(&mut self) {
        self.close_where(|_| true);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
