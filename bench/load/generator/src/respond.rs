//! The trivial server: one fixed answer to whatever ends in an empty line. What the generator
//! reaches against it is the least that it can do.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use memchr::memmem;
use rustix::event::epoll;

use crate::arguments::Fault;

const REDIRECT: &[u8] =
    b"HTTP/1.1 302 Found\r\nCache-Control: no-store\r\nX-Robots-Tag: noindex\r\n\
Referrer-Policy: no-referrer-when-downgrade\r\nServer: respond\r\nContent-Length: 0\r\n\
Location: https://shop.example/landing?click_id=clk_00000000000000000000000000\r\n\
Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
const PIXEL: &[u8] = b"HTTP/1.1 200 OK\r\nServer: respond\r\nContent-Type: image/gif\r\n\
Content-Length: 43\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n\
GIF89a\x01\x00\x01\x00\x80\x01\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x01\x00,\x00\x00\
\x00\x00\x01\x00\x01\x00\x00\x02\x02L\x01\x00;";
const LISTENER: u64 = u64::MAX;

/// Serves on a free port of 127.0.0.1, whose number it prints, until it is killed.
pub(crate) fn respond(is_pixel: bool) -> Result<(), Fault> {
    let answer = if is_pixel { PIXEL } else { REDIRECT };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    println!("ready {}", listener.local_addr()?.port());
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(LISTENER);
    epoll::add(&poll, &listener, data, epoll::EventFlags::IN)?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(512);
    let mut room = vec![0u8; 16 * 1024];
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                accept(&listener, &poll, &mut streams)?;
            } else if let Some(slot) = streams.get_mut(event.data.u64() as usize) {
                if slot.as_mut().is_some_and(|stream| is_over(stream, &mut room, answer)) {
                    *slot = None;
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &impl std::os::fd::AsFd,
    streams: &mut Vec<Option<TcpStream>>,
) -> Result<(), Fault> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let place = streams.iter().position(Option::is_none).unwrap_or(streams.len());
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(poll, &stream, data, epoll::EventFlags::IN)?;
        match streams.get_mut(place) {
            Some(slot) => *slot = Some(stream),
            None => streams.push(Some(stream)),
        }
    }
}

/// Answers what has come; whether the connection is at its end.
fn is_over(stream: &mut TcpStream, room: &mut [u8], answer: &[u8]) -> bool {
    let taken = match stream.read(room) {
        Ok(0) => return true,
        Ok(taken) => taken,
        Err(error) => return error.kind() != ErrorKind::WouldBlock,
    };
    let bytes = room.get(..taken).unwrap_or_default();
    // A head that comes in parts ends with this all the same; its first part is not answered.
    if !bytes.ends_with(b"\r\n\r\n") {
        return false;
    }
    let closes = memmem::find(bytes, b"Connection: close").is_some();
    stream.write_all(answer).is_err() || closes
}
