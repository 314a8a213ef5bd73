//! One connection: the request it carries, and what it has received.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;

use rustix::event::epoll;
use rustix::net::{self, ipproto, sockopt, AddressFamily, SocketFlags, SocketType};

use crate::arguments::Fault;
use crate::schedule::Due;

/// Addresses of this machine that short connections come from, in turn: each has its own ports.
const SOURCES: u8 = 32;
const RECEIVED_BYTES_MAX: usize = 64 * 1024;

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) due: Due,
    pub(crate) sent_ns: u64,
}

/// A socket, and at most one request on it.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) flight: Option<Flight>,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Ended,
}

impl Connection {
    /// A connection that is being made. `number` chooses the source address, if any.
    pub(crate) fn open(target: SocketAddr, number: Option<u64>) -> Result<Self, Fault> {
        let family = match target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let (Some(number), SocketAddr::V4(_)) = (number, target) {
            let last = 1 + (number % u64::from(SOURCES)) as u8;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0))?;
        }
        match net::connect(&socket, &target) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            stream: TcpStream::from(socket),
            flight: None,
            unsent: Vec::new(),
            received: Vec::new(),
        })
    }

    /// Hear of everything that happens to it, once, under this number.
    pub(crate) fn watch(&self, poll: impl AsFd, number: usize) -> Result<(), Fault> {
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(poll, &self.stream, epoll::EventData::new_u64(number as u64), flags)?;
        Ok(())
    }

    /// Take a request and send what the socket takes of it.
    pub(crate) fn send(&mut self, flight: Flight, bytes: &[u8]) -> std::io::Result<()> {
        self.flight = Some(flight);
        let taken = match self.stream.write(bytes) {
            Ok(taken) => taken,
            Err(error) if is_later(&error) => 0,
            Err(error) => return Err(error),
        };
        self.unsent.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Send what is left.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(taken) => drop(self.unsent.drain(..taken)),
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Read all there is; with `is_ending` up to the end that the server has announced.
    pub(crate) fn receive(
        &mut self,
        room: &mut [u8],
        is_ending: bool,
    ) -> std::io::Result<Progress> {
        loop {
            match self.stream.read(room) {
                Ok(0) => return Ok(Progress::Ended),
                Ok(taken) => {
                    self.received.extend_from_slice(room.get(..taken).unwrap_or_default());
                    if self.received.len() > RECEIVED_BYTES_MAX {
                        return Err(ErrorKind::InvalidData.into());
                    }
                    // Less than there was room for: the socket is empty, and tells when it is not.
                    if taken < room.len() && !is_ending {
                        return Ok(Progress::More);
                    }
                }
                Err(error) if is_later(&error) => return Ok(Progress::More),
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Forget an answer that was dealt with; what is behind it was never asked for.
    pub(crate) fn forget(&mut self, length: usize) -> bool {
        let is_all = self.received.len() == length;
        self.received.clear();
        is_all
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}
