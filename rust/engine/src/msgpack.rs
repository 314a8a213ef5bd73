//! A strict reader and a minimal writer of the part of MessagePack the wire format uses.
//!
//! The reader borrows, checks each length against what is left before using it, refuses floats
//! and extension types, and walks nested values without recursion.

use crate::error::Error;
use crate::limits::{NUMBER_MAX, VALUE_DEPTH_MAX, VALUE_ENTRIES_MAX};
use crate::Id;

const TRUNCATED: Error = Error::Frame("truncated");
const WRONG_TYPE: Error = Error::Frame("wrong_type");

/// A cursor over MessagePack bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The bytes from `start` to the cursor.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let byte = *self.bytes.get(self.at).ok_or(TRUNCATED)?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.at).copied().ok_or(TRUNCATED)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count).ok_or(TRUNCATED)?;
        let bytes = self.bytes.get(self.at..end).ok_or(TRUNCATED)?;
        self.at = end;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| TRUNCATED)
    }

    fn big_endian(&mut self, count: usize) -> Result<u64, Error> {
        Ok(self.take(count)?.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    fn length(&mut self, count: usize) -> Result<usize, Error> {
        usize::try_from(self.big_endian(count)?).map_err(|_| TRUNCATED)
    }

    /// A truth value.
    pub(crate) fn bool(&mut self) -> Result<bool, Error> {
        match self.byte()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(WRONG_TYPE),
        }
    }

    /// An unsigned integer of any width.
    pub(crate) fn uint(&mut self) -> Result<u64, Error> {
        match self.byte()? {
            small @ 0x00..=0x7f => Ok(u64::from(small)),
            0xcc => Ok(u64::from(self.byte()?)),
            0xcd => Ok(u64::from(u16::from_be_bytes(self.fixed()?))),
            0xce => Ok(u64::from(u32::from_be_bytes(self.fixed()?))),
            0xcf => Ok(u64::from_be_bytes(self.fixed()?)),
            _ => Err(WRONG_TYPE),
        }
    }

    /// An unsigned integer of at most `max`.
    pub(crate) fn uint_max(&mut self, max: u64) -> Result<u64, Error> {
        let value = self.uint()?;
        if value > max {
            return Err(Error::Frame("number_too_large"));
        }
        Ok(value)
    }

    /// A number of an object: a key of the ledger.
    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        self.uint_max(NUMBER_MAX)
    }

    /// A signed integer of any width that fits 64 bits.
    pub(crate) fn int(&mut self) -> Result<i64, Error> {
        let width = match self.peek()? {
            0xe0..=0xff => {
                return Ok(i64::from(self.byte()?.cast_signed()));
            }
            0xd0 => 1,
            0xd1 => 2,
            0xd2 => 4,
            0xd3 => 8,
            _ => {
                return i64::try_from(self.uint()?).map_err(|_| Error::Frame("number_too_large"));
            }
        };
        self.byte()?;
        let shift = 64 - 8 * width;
        Ok((self.big_endian(width)? << shift).cast_signed() >> shift)
    }

    /// Whether a nil stands here; it is passed over if so.
    pub(crate) fn nil(&mut self) -> Result<bool, Error> {
        let is_nil = self.peek()? == 0xc0;
        if is_nil {
            self.at += 1;
        }
        Ok(is_nil)
    }

    /// Nil, or what `read` reads.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.nil()? {
            return Ok(None);
        }
        read(self).map(Some)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, Error> {
        let count = match self.byte()? {
            short @ 0xa0..=0xbf => usize::from(short & 0x1f),
            0xd9 => self.length(1)?,
            0xda => self.length(2)?,
            0xdb => self.length(4)?,
            _ => return Err(WRONG_TYPE),
        };
        std::str::from_utf8(self.take(count)?).map_err(|_| Error::Frame("not_utf8"))
    }

    pub(crate) fn bin(&mut self) -> Result<&'a [u8], Error> {
        let count = match self.byte()? {
            0xc4 => self.length(1)?,
            0xc5 => self.length(2)?,
            0xc6 => self.length(4)?,
            _ => return Err(WRONG_TYPE),
        };
        self.take(count)
    }

    /// A byte string of exactly 16 bytes.
    pub(crate) fn id(&mut self) -> Result<Id, Error> {
        self.bin()?.try_into().map_err(|_| Error::Frame("wrong_length"))
    }

    /// A digest of eight bytes, as a number.
    pub(crate) fn digest8(&mut self) -> Result<u64, Error> {
        let bytes = self.bin()?.try_into().map_err(|_| Error::Frame("wrong_length"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn array(&mut self) -> Result<usize, Error> {
        let count = match self.byte()? {
            short @ 0x90..=0x9f => return Ok(usize::from(short & 0x0f)),
            0xdc => self.length(2)?,
            0xdd => self.length(4)?,
            _ => return Err(WRONG_TYPE),
        };
        Ok(count)
    }

    fn map(&mut self) -> Result<usize, Error> {
        match self.byte()? {
            short @ 0x80..=0x8f => Ok(usize::from(short & 0x0f)),
            0xde => self.length(2),
            0xdf => self.length(4),
            _ => Err(WRONG_TYPE),
        }
    }

    /// An array of exactly `count` elements.
    pub(crate) fn array_of(&mut self, count: usize) -> Result<(), Error> {
        if self.array()? != count {
            return Err(Error::Frame("wrong_length"));
        }
        Ok(())
    }

    /// An array of at most `max` elements; returns how many.
    pub(crate) fn array_max(&mut self, max: usize) -> Result<usize, Error> {
        bounded(self.array()?, max)
    }

    /// A map of at most `max` entries; returns how many.
    pub(crate) fn map_max(&mut self, max: usize) -> Result<usize, Error> {
        bounded(self.map()?, max)
    }

    /// Passes over one value of nil, booleans, integers, strings, bytes, arrays and maps.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Error> {
        let start = self.at;
        let mut open = [0_usize; VALUE_DEPTH_MAX];
        let mut depth = 0;
        let mut entries = 0;
        loop {
            let children = self.scalar_or_children()?;
            entries += children;
            if entries > VALUE_ENTRIES_MAX {
                return Err(Error::Frame("too_many_entries"));
            }
            if children > 0 {
                *open.get_mut(depth).ok_or(Error::Frame("too_deep"))? = children;
                depth += 1;
                continue;
            }
            loop {
                let Some(level) = depth.checked_sub(1) else {
                    return Ok(self.since(start));
                };
                let left = open.get_mut(level).ok_or(Error::Frame("too_deep"))?;
                *left -= 1;
                if *left > 0 {
                    break;
                }
                depth = level;
            }
        }
    }

    /// Reads one value's head: a scalar whole (0 children), or the number of values inside.
    fn scalar_or_children(&mut self) -> Result<usize, Error> {
        match self.peek()? {
            0xc0 | 0xc2 | 0xc3 => self.byte().map(|_| 0),
            0x00..=0x7f | 0xcc..=0xcf => self.uint().map(|_| 0),
            0xe0..=0xff | 0xd0..=0xd3 => self.int().map(|_| 0),
            0xa0..=0xbf | 0xd9..=0xdb => self.str().map(|_| 0),
            0xc4..=0xc6 => self.bin().map(|_| 0),
            0x90..=0x9f | 0xdc | 0xdd => self.array_max(VALUE_ENTRIES_MAX),
            0x80..=0x8f | 0xde | 0xdf => self.map_max(VALUE_ENTRIES_MAX / 2).map(|n| 2 * n),
            _ => Err(WRONG_TYPE),
        }
    }
}

fn bounded(count: usize, max: usize) -> Result<usize, Error> {
    if count > max {
        return Err(Error::Frame("too_many_entries"));
    }
    Ok(count)
}

/// Appends MessagePack, each value in its shortest form, as every common encoder does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

#[allow(clippy::cast_possible_truncation, reason = "each cast follows a test of the range")]
impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    fn head(&mut self, marker: u8, value: &[u8]) {
        self.bytes.push(marker);
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn nil(&mut self) {
        self.bytes.push(0xc0);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.push(0xc2 | u8::from(value));
    }

    pub(crate) fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.bytes.push(value as u8),
            0x80..=0xff => self.head(0xcc, &[value as u8]),
            0x100..=0xffff => self.head(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.head(0xce, &(value as u32).to_be_bytes()),
            _ => self.head(0xcf, &value.to_be_bytes()),
        }
    }

    pub(crate) fn int(&mut self, value: i64) {
        match value {
            0.. => self.uint(value.unsigned_abs()),
            -32..=-1 => self.bytes.push((value as i8).cast_unsigned()),
            -0x80..=-33 => self.head(0xd0, &(value as i8).to_be_bytes()),
            -0x8000..=-0x81 => self.head(0xd1, &(value as i16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.head(0xd2, &(value as i32).to_be_bytes()),
            _ => self.head(0xd3, &value.to_be_bytes()),
        }
    }

    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.nil(),
        }
    }

    pub(crate) fn str(&mut self, value: &str) {
        match value.len() {
            count @ 0..=31 => self.bytes.push(0xa0 | count as u8),
            count @ 32..=0xff => self.head(0xd9, &[count as u8]),
            count @ 0x100..=0xffff => self.head(0xda, &(count as u16).to_be_bytes()),
            count => self.head(0xdb, &(count as u32).to_be_bytes()),
        }
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn bin(&mut self, value: &[u8]) {
        match value.len() {
            count @ 0..=0xff => self.head(0xc4, &[count as u8]),
            count @ 0x100..=0xffff => self.head(0xc5, &(count as u16).to_be_bytes()),
            count => self.head(0xc6, &(count as u32).to_be_bytes()),
        }
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn array(&mut self, count: usize) {
        match count {
            0..=15 => self.bytes.push(0x90 | count as u8),
            16..=0xffff => self.head(0xdc, &(count as u16).to_be_bytes()),
            _ => self.head(0xdd, &(count as u32).to_be_bytes()),
        }
    }

    pub(crate) fn map(&mut self, count: usize) {
        match count {
            0..=15 => self.bytes.push(0x80 | count as u8),
            16..=0xffff => self.head(0xde, &(count as u16).to_be_bytes()),
            _ => self.head(0xdf, &(count as u32).to_be_bytes()),
        }
    }

    /// Bytes that are MessagePack already.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }
}
