//! One connection.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags};

use crate::places::Place;

/// A connection that the ordinary lane goes on with.
#[derive(Debug)]
pub struct Handed {
    /// Its socket.
    pub socket: OwnedFd,
    /// The address at the other end, to be told to [`crate::Listener::release`] in the end.
    pub peer: String,
    /// What is left to be written, before anything else.
    pub unsent: Vec<u8>,
    /// The connection ends when that is written.
    pub is_last: bool,
    /// What was read and is not answered.
    pub unread: Vec<u8>,
}

/// What became of an attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Bytes(usize),
    Nothing,
    End,
}

#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    pub(crate) address: IpAddr,
    /// Since when nothing came, if nothing did.
    pub(crate) since_ms: u64,
    /// Nothing was ever answered.
    pub(crate) is_silent: bool,
    /// The answer waits until its record is safe. Nothing is read meanwhile.
    pub(crate) is_waiting: bool,
    /// It is to be served in this turn or a later one.
    pub(crate) is_queued: bool,
    pub(crate) answer: Vec<u8>,
    pub(crate) is_last: bool,
    /// Read, and not the answered request's.
    pub(crate) held: Vec<u8>,
    /// Epoll has said that there is more to read, and will not say so again.
    pub(crate) is_readable: bool,
    /// The peer sends no more.
    has_ended: bool,
    is_watched: bool,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd, address: IpAddr, now_ms: u64) -> Self {
        Self {
            socket,
            address,
            since_ms: now_ms,
            is_silent: true,
            is_waiting: false,
            is_queued: false,
            answer: Vec::new(),
            is_last: false,
            held: Vec::new(),
            is_readable: false,
            has_ended: false,
            is_watched: false,
        }
    }

    /// Notes what epoll says; whether the connection is over.
    pub(crate) fn note(&mut self, flags: epoll::EventFlags) -> bool {
        use epoll::EventFlags as Flags;
        self.is_readable = true;
        self.has_ended |= flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR);
        // Whoever sends no more while an answer waits has left, as with the ordinary lane.
        self.has_ended && self.is_waiting && self.is_empty()
    }

    fn is_empty(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match net::recv(&self.socket, &mut [0; 1], flags) {
            Ok((_, taken)) => taken == 0,
            Err(error) => !matches!(error, Errno::AGAIN | Errno::INTR),
        }
    }

    pub(crate) fn read(&mut self, room: &mut [u8]) -> Found {
        let size = room.len();
        loop {
            return match net::recv(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => Found::End,
                Ok((_, taken)) => {
                    // Less than there was room for: the socket is empty, and tells when it is not.
                    self.is_readable = taken == size || self.has_ended;
                    Found::Bytes(taken)
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    self.is_readable = false;
                    Found::Nothing
                }
                Err(_) => Found::End,
            };
        }
    }

    /// Hear of what comes from now on, once each time.
    pub(crate) fn watch(&mut self, poll: impl AsFd, place: Place) -> rustix::io::Result<()> {
        if self.is_watched {
            return Ok(());
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(poll, &self.socket, epoll::EventData::new_u64(place.to_u64()), flags)?;
        self.is_watched = true;
        Ok(())
    }

    /// Write the answer; what the socket does not take of it. `None`: the peer is gone.
    pub(crate) fn write(&mut self) -> Option<Vec<u8>> {
        let mut answer = std::mem::take(&mut self.answer);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match net::send(&self.socket, &answer, flags) {
            Ok(sent) if sent >= answer.len() => Some(Vec::new()),
            Ok(sent) => Some(answer.split_off(sent)),
            Err(Errno::AGAIN | Errno::INTR) => Some(answer),
            Err(_) => None,
        }
    }

    /// Give the socket away.
    pub(crate) fn hand(self, poll: impl AsFd, unsent: Vec<u8>, unread: Vec<u8>) -> Handed {
        if self.is_watched {
            // The socket lives on: closing it is not what takes it off the list.
            let _ = epoll::delete(poll, &self.socket);
        }
        let peer = self.address.to_string();
        Handed { socket: self.socket, peer, unsent, is_last: self.is_last, unread }
    }
}
