//! Listening sockets, their connections, and the turns in which these are served.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use headwater_engine::limits::{
    HOT_ACCEPTS_MAX, HOT_CROWDED_PERCENT, HOT_READ_BYTES, HOT_SERVED_MAX,
};
use headwater_hotpath::{Kind, Ranges, Taken};
use rustix::event::{epoll, Timespec};
use rustix::io::Errno;
use rustix::net::{self, ipproto, sockopt, AddressFamily, SocketFlags, SocketType};

use crate::connection::{Connection, Found, Handed};
use crate::places::{Place, Places};
use crate::records::Records;

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
    pub records: Records,
}

/// What came of a turn.
#[derive(Debug, Default)]
pub struct Turn {
    /// Records to be made safe.
    pub batches: Vec<Batch>,
    /// Connections for the ordinary lane.
    pub handed: Vec<Handed>,
    /// Connections beyond what one address or all together may have.
    pub refused: usize,
    /// Another turn is wanted, though nothing may have come.
    pub is_unfinished: bool,
}

/// What is asked of the bytes at the start of a request, with the peer's address.
type Offer<'a> = dyn FnMut(&[u8], IpAddr) -> Option<Taken> + 'a;

/// What a turn is given, and what has come of it so far.
struct Work<'a, 'b> {
    offer: &'a mut Offer<'b>,
    turn: Turn,
}

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections of all addresses, those handed over among them.
    pub connections_max: usize,
    /// Connections of one address, but for trusted proxies'.
    pub per_address_max: usize,
    /// A connection on which nothing was sent is closed after this.
    pub head_ms: u64,
    /// An idle connection is closed after this.
    pub keep_alive_ms: u64,
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
    bounds: Bounds,
    connections: usize,
    by_line: HashMap<IpAddr, usize>,
    places: Places,
    /// Whose answers wait for a batch.
    waiting: HashMap<u64, Vec<Place>>,
    batches: u64,
    /// Connections to be served: new ones, and those with something to read.
    queue: VecDeque<Place>,
    handed: Vec<Handed>,
    room: Vec<u8>,
}

impl Listener {
    /// One that listens to nothing yet. Each address in `proxies` may have any number of
    /// connections.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new(proxies: Ranges, bounds: Bounds) -> io::Result<Self> {
        Ok(Self {
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sockets: Vec::new(),
            is_short: false,
            is_draining: false,
            proxies,
            bounds,
            connections: 0,
            by_line: HashMap::new(),
            places: Places::default(),
            waiting: HashMap::new(),
            batches: 0,
            queue: VecDeque::new(),
            handed: Vec::new(),
            room: Vec::new(),
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

    /// Takes new connections, reads what has come, and offers it, of each connection one request.
    /// One whose request is taken is not read again until that is answered. Connections are served
    /// in the order in which there was something to do for them.
    ///
    /// # Errors
    /// When the kernel fails to tell what has come.
    pub fn turn(&mut self, now_ms: u64, offer: &mut Offer<'_>) -> io::Result<Turn> {
        let mut events = [const { MaybeUninit::uninit() }; HOT_SERVED_MAX];
        let events = match epoll::wait(&self.poll, &mut events, Some(&AT_ONCE)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => &mut [],
            Err(error) => return Err(error.into()),
        };
        let mut work = Work { offer, turn: Turn::default() };
        for event in events {
            let number = event.data.u64();
            match usize::try_from(number) {
                Ok(socket) if socket < self.sockets.len() => {
                    work.turn.refused += self.accept(socket, now_ms);
                }
                _ => self.hear(Place::from_u64(number), event.flags),
            }
        }
        let mut room = std::mem::take(&mut self.room);
        // A turn that ended in a panic has not put it back.
        room.resize(HOT_READ_BYTES, 0);
        for _ in 0..HOT_SERVED_MAX {
            let Some(place) = self.queue.pop_front() else { break };
            self.serve(place, &mut room, &mut work);
        }
        self.room = room;
        let mut turn = work.turn;
        turn.handed.append(&mut self.handed);
        turn.is_unfinished = !self.queue.is_empty();
        Ok(turn)
    }

    /// Takes new connections; how many were refused.
    fn accept(&mut self, socket: usize, now_ms: u64) -> usize {
        let mut refused = 0;
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
                refused += 1;
                continue;
            }
            match self.places.add(Connection::new(accepted, address.ip(), now_ms)) {
                // Where there is much to do the request is there before its connection is taken.
                Some(place) => self.enqueue(place),
                None => self.release(address.ip()),
            }
        }
        refused
    }

    fn admit(&mut self, address: IpAddr) -> bool {
        let count = self.by_line.get(&line(address)).copied().unwrap_or_default();
        let has_room =
            count < self.bounds.per_address_max || self.proxies.hold(address.to_canonical());
        let is_admitted = has_room && self.connections < self.bounds.connections_max;
        if is_admitted {
            self.connections += 1;
            self.by_line.insert(line(address), count + 1);
        }
        is_admitted
    }

    /// A connection of this address, handed over before, has ended.
    pub fn release(&mut self, address: IpAddr) {
        let line = line(address);
        if let Some(count) = self.by_line.get_mut(&line) {
            self.connections -= 1;
            *count -= 1;
            if *count == 0 {
                self.by_line.remove(&line);
            }
        }
    }

    fn enqueue(&mut self, place: Place) {
        let Some(connection) = self.places.get_mut(place) else { return };
        if !connection.is_queued {
            connection.is_queued = true;
            self.queue.push_back(place);
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
    fn hear(&mut self, place: Place, flags: epoll::EventFlags) {
        let Some(connection) = self.places.get_mut(place) else { return };
        if connection.note(flags) {
            self.close(place);
        } else if !connection.is_waiting {
            self.enqueue(place);
        }
    }

    /// What was read with the request before, or what has come.
    fn serve(&mut self, place: Place, room: &mut [u8], work: &mut Work<'_, '_>) {
        let Some(connection) = self.places.get_mut(place) else { return };
        connection.is_queued = false;
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
        let Some(taken) = (work.offer)(data, connection.address) else {
            self.hand(place, Vec::new(), data.to_vec());
            return;
        };
        connection.held = data.get(taken.bytes..).unwrap_or_default().to_vec();
        connection.answer = taken.answer;
        connection.is_last = taken.is_last;
        connection.is_waiting = true;
        let (partition, kind) = (taken.partition, taken.kind);
        let is_its = |batch: &&mut Batch| (batch.partition, batch.kind) == (partition, kind);
        let number = match work.turn.batches.iter_mut().find(is_its) {
            Some(batch) => {
                batch.records.push(&taken.record);
                batch.number
            }
            None => {
                self.batches += 1;
                let number = self.batches;
                let mut records = Records::default();
                records.push(&taken.record);
                work.turn.batches.push(Batch { number, partition, kind, records });
                number
            }
        };
        self.waiting.entry(number).or_default().push(place);
        if !taken.is_last {
            self.watch(place);
        }
    }

    /// A batch is safe, or given up: the answers that waited for it leave. Whether a turn is
    /// wanted, though nothing may have come.
    pub fn answer(&mut self, number: u64, now_ms: u64) -> bool {
        for place in self.waiting.remove(&number).unwrap_or_default() {
            self.write(place, now_ms);
        }
        !self.queue.is_empty() || !self.handed.is_empty()
    }

    fn write(&mut self, place: Place, now_ms: u64) {
        let Some(connection) = self.places.get_mut(place) else { return };
        connection.is_waiting = false;
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
            connection.since_ms = now_ms;
            connection.is_silent = false;
            if connection.is_readable || !connection.held.is_empty() {
                self.enqueue(place);
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

    /// Closes connections that were idle for too long, sooner where there are many, and takes new
    /// ones again where there was no descriptor for them. To be called from time to time.
    pub fn expire(&mut self, now_ms: u64) {
        let Bounds { connections_max, head_ms, keep_alive_ms, .. } = self.bounds;
        let percent = self.connections.saturating_mul(100) / connections_max.max(1);
        let is_crowded = percent >= HOT_CROWDED_PERCENT;
        self.close_where(|connection| {
            let may_ms = if connection.is_silent || is_crowded { head_ms } else { keep_alive_ms };
            let is_idle = !connection.is_waiting && !connection.is_queued;
            is_idle && connection.since_ms.saturating_add(may_ms) <= now_ms
        });
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
        self.close_where(|connection| !connection.is_waiting);
    }

    /// Connections whose answers wait.
    pub fn pending(&self) -> usize {
        self.places.iter().filter(|(_, connection)| connection.is_waiting).count()
    }

    /// Closes every connection.
    pub fn close_all(&mut self) {
        self.close_where(|_| true);
    }
}

/// Whom connections are counted of: an address, of IPv6 the network that one line has.
pub(crate) fn line(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from(address.to_bits() >> 64 << 64).into(),
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
