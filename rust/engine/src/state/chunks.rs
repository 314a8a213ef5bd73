//! Rows in chunks that are copied before they are written while a snapshot shares them.
//!
//! A chunk is some 16 KiB: copying one takes microseconds, and cloning the list of chunks, which
//! is all that a snapshot's view does, takes about a millisecond for ten million rows of one kind.

use std::sync::Arc;

use crate::error::Error;

/// Rows of a chunk are the largest power of two that fits.
const CHUNK_BYTES: usize = 16 * 1024;

/// A fixed-size row, and its bytes in a snapshot.
pub(crate) trait Row: Copy + Default {
    /// Bytes of a row in a snapshot, and very nearly in memory.
    const BYTES: usize;

    /// Appends exactly [`Row::BYTES`] bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads a row from exactly [`Row::BYTES`] bytes; `None` when no row has these.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Row for u32 {
    const BYTES: usize = 4;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// A growing array of rows; a clone shares every chunk until one side writes to it.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Arc<[T]>>,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Row> Chunks<T> {
    const SHIFT: u32 = (CHUNK_BYTES / size_of::<T>()).ilog2();
    const MASK: usize = (1 << Self::SHIFT) - 1;

    /// How many rows a chunk holds.
    pub(crate) const ROWS: usize = 1 << Self::SHIFT;

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * (Self::ROWS * size_of::<T>() + 2 * size_of::<usize>())
            + self.chunks.capacity() * size_of::<Arc<[T]>>()
    }

    /// The row at a place.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at >> Self::SHIFT)?.get(at & Self::MASK)
    }

    /// `count` rows from a place on, all in one chunk.
    #[inline]
    pub(crate) fn slice(&self, at: usize, count: usize) -> &[T] {
        let start = at & Self::MASK;
        let chunk = self.chunks.get(at >> Self::SHIFT);
        chunk.and_then(|rows| rows.get(start..start + count)).unwrap_or_default()
    }

    /// The row at a place, to be changed. Copies the chunk if a snapshot shares it.
    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(at >> Self::SHIFT)?;
        Arc::make_mut(chunk).get_mut(at & Self::MASK)
    }

    /// Replaces the row at a place that exists.
    pub(crate) fn set(&mut self, at: usize, row: T) {
        if let Some(place) = self.get_mut(at) {
            *place = row;
        }
    }

    /// Adds a row at the end; its place.
    pub(crate) fn push(&mut self, row: T) -> usize {
        let at = self.len;
        if at & Self::MASK == 0 && at >> Self::SHIFT == self.chunks.len() {
            self.chunks.push(vec![T::default(); Self::ROWS].into());
        }
        self.len += 1;
        self.set(at, row);
        at
    }

    /// Takes the last row. What it leaves behind is a default row, so that equal contents have
    /// equal bytes.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let at = self.len.checked_sub(1)?;
        let row = *self.get(at)?;
        self.set(at, T::default());
        self.len = at;
        Some(row)
    }

    /// Every row in its order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.len)
    }

    /// Appends the rows' bytes, without their count.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.len * T::BYTES);
        for row in self.iter() {
            row.write(out);
        }
    }

    /// Reads rows from bytes that hold nothing else.
    ///
    /// # Errors
    /// [`Error::Snapshot`] when the bytes are not whole rows.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Error> {
        const DAMAGED: Error = Error::Snapshot("damaged");
        let rows = bytes.chunks_exact(T::BYTES);
        if !rows.remainder().is_empty() {
            return Err(DAMAGED);
        }
        let len = rows.len();
        let mut chunks = Vec::with_capacity(len.div_ceil(Self::ROWS));
        for part in bytes.chunks(T::BYTES * Self::ROWS) {
            let mut chunk = Vec::with_capacity(Self::ROWS);
            for row in part.chunks_exact(T::BYTES) {
                chunk.push(T::read(row).ok_or(DAMAGED)?);
            }
            chunk.resize(Self::ROWS, T::default());
            chunks.push(chunk.into());
        }
        Ok(Self { chunks, len })
    }
}

/// A time of at most 48 bits of milliseconds, in six bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ms6([u8; 6]);

impl Ms6 {
    /// Takes a time; one beyond the wire's largest counts as that.
    pub(crate) fn new(ms: u64) -> Self {
        let [a, b, c, d, e, f, ..] = ms.min(crate::limits::TIME_MS_MAX).to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    /// Milliseconds.
    #[inline]
    pub(crate) fn get(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8; 6] {
        &self.0
    }
}

/// A number of 32 bits that leaves no gap before it in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Number([u8; 4]);

impl Number {
    /// Takes a number.
    pub(crate) fn new(number: u32) -> Self {
        Self(number.to_le_bytes())
    }

    /// The number.
    #[inline]
    pub(crate) fn get(self) -> u32 {
        u32::from_le_bytes(self.0)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

/// Reads fixed-size fields off the front of a row's bytes.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// The next u32, little endian.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// The next u16, little endian.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    /// The next u64, little endian.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Option<Number> {
        self.take().map(Number)
    }

    /// The next time.
    pub(crate) fn ms(&mut self) -> Option<Ms6> {
        self.take().map(Ms6)
    }
}

/// A place as an index.
#[inline]
pub(crate) fn at(number: u32) -> usize {
    number as usize
}

/// An index as a place; places end where 32 bits do, and whoever adds rows sees to that.
#[inline]
pub(crate) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_vector_and_copies_keep_what_they_saw(
            steps in prop::collection::vec((0_u8..4, any::<u32>()), 0..300),
            start in 4_000_u32..4_200,
            copy_at in 0_usize..300,
        ) {
            let mut rows = Chunks::<u32>::default();
            let mut model: Vec<u32> = (0..start).collect();
            for row in &model {
                rows.push(*row);
            }
            let mut copy = None;
            for (step, (kind, value)) in steps.into_iter().enumerate() {
                if step == copy_at {
                    copy = Some((rows.clone(), model.clone()));
                }
                match kind {
                    0 => prop_assert_eq!(rows.pop(), model.pop()),
                    1 if !model.is_empty() => {
                        let place = at(value) % model.len();
                        rows.set(place, value);
                        model[place] = value;
                    }
                    _ => prop_assert_eq!(rows.push(value), { model.push(value); model.len() - 1 }),
                }
            }
            prop_assert!(rows.iter().eq(model.iter()));
            let mut bytes = Vec::new();
            rows.write(&mut bytes);
            let again = Chunks::<u32>::read(&bytes).unwrap();
            prop_assert!(again.iter().eq(model.iter()));
            if let Some((rows, model)) = copy {
                prop_assert!(rows.iter().eq(model.iter()));
            }
        }
    }
}
