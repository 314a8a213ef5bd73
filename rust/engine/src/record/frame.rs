//! Frames: the unit an edge spools and appends. Little endian:
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `HWF` |
//! | 3 | version, u8, 1 |
//! | 4 | partition, u16 |
//! | 6 | count of records, u16, 1 to 1024 |
//! | 8 | producer, u64 |
//! | 16 | sequence of the first record, u64, from 1; record `i` has `first + i` |
//! | 24 | bytes of the body, u32 |
//! | 28 | CRC-32C over bytes 0 to 28, then the body |
//! | 32 | body |

use super::Record;
use crate::error::Error;
use crate::limits::{FRAME_BYTES_MAX, FRAME_RECORDS_MAX, RECORD_BYTES_MAX};
use crate::msgpack::Reader;

/// The first bytes of every frame.
pub const MAGIC: [u8; 3] = *b"HWF";
/// The version this build writes and reads.
pub const VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 32;
const CHECKED_BYTES: usize = 28;

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The lane the frame belongs to.
    pub partition: u16,
    /// Records in the body.
    pub count: u16,
    /// The process boot that wrote it.
    pub producer: u64,
    /// Sequence of the first record; the others follow.
    pub first_sequence: u64,
}

/// A frame whose every byte has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header.
    pub header: FrameHeader,
    /// The records, each with its bytes as on the wire.
    pub records: Vec<(Record<'a>, &'a [u8])>,
}

/// The version a frame claims, when it begins like one.
pub fn claimed_version(frame: &[u8]) -> Option<u8> {
    let rest = frame.strip_prefix(&MAGIC)?;
    rest.first().copied()
}

/// Reads a frame's header and checks magic, version, lengths and checksum.
///
/// # Errors
/// [`Error::UnknownVersion`] when only the version is not ours to read, else [`Error::Frame`]:
/// `malformed`, `frame_too_large` or `bad_checksum`.
pub fn frame_header(frame: &[u8]) -> Result<FrameHeader, Error> {
    let version = claimed_version(frame).ok_or(Error::Frame("malformed"))?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    if frame.len() > FRAME_BYTES_MAX {
        return Err(Error::Frame("frame_too_large"));
    }
    let body = frame.get(HEADER_BYTES..).ok_or(Error::Frame("malformed"))?;
    let header = FrameHeader {
        partition: u16::from_le_bytes(field(frame, 4)?),
        count: u16::from_le_bytes(field(frame, 6)?),
        producer: u64::from_le_bytes(field(frame, 8)?),
        first_sequence: u64::from_le_bytes(field(frame, 16)?),
    };
    if u32::from_le_bytes(field(frame, 24)?) as usize != body.len() {
        return Err(Error::Frame("malformed"));
    }
    let (written, right) = checksum_of(frame).ok_or(Error::Frame("malformed"))?;
    if written != right {
        return Err(Error::Frame("bad_checksum"));
    }
    check_sequences(usize::from(header.count), header.first_sequence)?;
    Ok(header)
}

/// The checksum a frame has and the one it ought to have; none of bytes too short for a frame.
pub(super) fn checksum_of(frame: &[u8]) -> Option<(u32, u32)> {
    let (head, body) = (frame.get(..CHECKED_BYTES)?, frame.get(HEADER_BYTES..)?);
    let written = u32::from_le_bytes(field(frame, CHECKED_BYTES).ok()?);
    Some((written, crc32c::crc32c_append(crc32c::crc32c(head), body)))
}

/// Puts a checksum into a frame.
pub(super) fn write_checksum(frame: &mut [u8], checksum: u32) {
    if let Some(field) = frame.get_mut(CHECKED_BYTES..HEADER_BYTES) {
        field.copy_from_slice(&checksum.to_le_bytes());
    }
}

fn field<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], Error> {
    frame.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or(Error::Frame("malformed"))
}

fn check_sequences(count: usize, first_sequence: u64) -> Result<(), Error> {
    if !(1..=FRAME_RECORDS_MAX).contains(&count) {
        return Err(Error::Frame("wrong_count"));
    }
    if first_sequence == 0 || first_sequence.checked_add(count as u64).is_none() {
        return Err(Error::Frame("wrong_sequence"));
    }
    Ok(())
}

/// Decodes a whole frame: the header as in [`frame_header`], then every record.
///
/// # Errors
/// As [`frame_header`], or [`Error::Frame`] with the code of the first record that is not valid.
pub fn decode_frame(frame: &[u8]) -> Result<Frame<'_>, Error> {
    let header = frame_header(frame)?;
    let body = frame.get(HEADER_BYTES..).unwrap_or_default();
    let mut reader = Reader::new(body);
    let mut records = Vec::with_capacity(usize::from(header.count));
    for _ in 0..header.count {
        let start = reader.at();
        let record = Record::read(&mut reader)?;
        records.push((record, reader.since(start)));
    }
    if !reader.is_done() {
        return Err(Error::Frame("trailing_bytes"));
    }
    Ok(Frame { header, records })
}

/// Puts records into a frame. Each is checked first, so that one bad record cannot take its
/// neighbours into quarantine.
///
/// # Errors
/// [`Error::Frame`]: `wrong_count`, `wrong_sequence`, `frame_too_large`, `record_too_large`, or
/// the code of the first record that is not valid.
pub fn encode_frame(
    partition: u16,
    producer: u64,
    first_sequence: u64,
    records: &[&[u8]],
) -> Result<Vec<u8>, Error> {
    check_sequences(records.len(), first_sequence)?;
    for record in records {
        check_record(record)?;
    }
    join_frame(partition, producer, first_sequence, records.len(), records)
}

/// Checks that bytes are one record that a frame may have.
///
/// # Errors
/// [`Error::Frame`] with the code of what is wrong.
pub fn check_record(record: &[u8]) -> Result<(), Error> {
    if record.len() > RECORD_BYTES_MAX {
        return Err(Error::Frame("record_too_large"));
    }
    Record::decode(record).map(|_| ())
}

/// Puts records that were checked into a frame: `count` in all, one or more in each part.
///
/// # Errors
/// [`Error::Frame`]: `wrong_count`, `wrong_sequence` or `frame_too_large`.
pub fn join_frame(
    partition: u16,
    producer: u64,
    first_sequence: u64,
    count: usize,
    parts: &[&[u8]],
) -> Result<Vec<u8>, Error> {
    check_sequences(count, first_sequence)?;
    let body_bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    if HEADER_BYTES + body_bytes > FRAME_BYTES_MAX {
        return Err(Error::Frame("frame_too_large"));
    }
    let count = u16::try_from(count).map_err(|_| Error::Frame("wrong_count"))?;
    let length = u32::try_from(body_bytes).map_err(|_| Error::Frame("frame_too_large"))?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + body_bytes);
    frame.extend_from_slice(&MAGIC);
    frame.push(VERSION);
    frame.extend_from_slice(&partition.to_le_bytes());
    frame.extend_from_slice(&count.to_le_bytes());
    frame.extend_from_slice(&producer.to_le_bytes());
    frame.extend_from_slice(&first_sequence.to_le_bytes());
    frame.extend_from_slice(&length.to_le_bytes());
    let head_checksum = crc32c::crc32c(&frame);
    let checksum = parts.iter().fold(head_checksum, |sum, part| crc32c::crc32c_append(sum, part));
    frame.extend_from_slice(&checksum.to_le_bytes());
    for part in parts {
        frame.extend_from_slice(part);
    }
    Ok(frame)
}
