//! Fixed-width little-endian reading and writing.

use crate::error::Error;

const DAMAGED: Error = Error::Snapshot("damaged");

/// Bytes being written.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// Engine time, where only what goes on from it is to be written: not where digests have their
    /// places in indexes, and not whose the counters of days that are over were.
    pub(super) comparable_ms: Option<u64>,
}

impl Output {
    pub(super) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn count(&mut self, value: usize) {
        self.u64(value as u64);
    }

    pub(super) fn str(&mut self, value: &str) {
        self.count(value.len());
        self.raw(value.as_bytes());
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// What `write` writes, after its length.
    pub(super) fn section(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.u64(0);
        write(self);
        let length = (self.bytes.len() - start - size_of::<u64>()) as u64;
        let head = self.bytes.get_mut(start..).and_then(|rest| rest.first_chunk_mut());
        if let Some(head) = head {
            *head = length.to_le_bytes();
        }
    }
}

/// Bytes being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DAMAGED)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| DAMAGED)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things that take at least a byte each.
    pub(super) fn count(&mut self) -> Result<usize, Error> {
        let count = usize::try_from(self.u64()?).map_err(|_| DAMAGED)?;
        if count > self.rest.len() {
            return Err(DAMAGED);
        }
        Ok(count)
    }

    pub(super) fn str(&mut self) -> Result<&'a str, Error> {
        let count = self.count()?;
        std::str::from_utf8(self.take(count)?).map_err(|_| DAMAGED)
    }

    pub(super) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DAMAGED),
        }
    }

    /// What `read` reads of a section, which it must read whole.
    pub(super) fn section<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let count = self.count()?;
        let mut section = Self::new(self.take(count)?);
        let value = read(&mut section)?;
        section.finish()?;
        Ok(value)
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DAMAGED)
        }
    }
}

/// Keys that must come in their order, each once: the same state has one form only.
pub(super) struct Rising<K>(Option<K>);

impl<K: Ord + Copy> Rising<K> {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Passes a key on that comes after the one before.
    pub(super) fn next(&mut self, key: K) -> Result<K, Error> {
        if self.0.replace(key).is_some_and(|last| last >= key) {
            return Err(DAMAGED);
        }
        Ok(key)
    }
}
