//! Rows that leave in the order they came, under numbers that go on rising.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::state::chunks::{at, number, Row};

/// Rows of a chunk are the largest power of two that fits.
const CHUNK_BYTES: usize = 16 * 1024;

/// The number of no row.
pub(crate) const NONE: u32 = u32::MAX;

/// A queue of rows; a clone shares every chunk until one side writes to it. A row's number is good
/// until it has left; four thousand million rows later it is another's.
#[derive(Clone, Debug)]
pub(crate) struct Fifo<T> {
    chunks: VecDeque<Arc<[T]>>,
    first: u32,
    len: usize,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), first: 0, len: 0 }
    }
}

impl<T: Row> Fifo<T> {
    const SHIFT: u32 = (CHUNK_BYTES / size_of::<T>()).ilog2();
    const ROWS: usize = 1 << Self::SHIFT;

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number of the oldest row.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * (Self::ROWS * size_of::<T>() + 2 * size_of::<usize>())
            + self.chunks.capacity() * size_of::<Arc<[T]>>()
    }

    /// Chunk and place in it of a row that is there.
    #[inline]
    fn place(&self, row: u32) -> Option<(usize, usize)> {
        let offset = at(row.wrapping_sub(self.first));
        if row == NONE || offset >= self.len {
            return None;
        }
        let place = offset + at(self.first) % Self::ROWS;
        Some((place / Self::ROWS, place % Self::ROWS))
    }

    /// A row by its number.
    #[inline]
    pub(crate) fn get(&self, row: u32) -> Option<&T> {
        let (chunk, place) = self.place(row)?;
        self.chunks.get(chunk)?.get(place)
    }

    /// A row by its number, to be changed. Copies the chunk if a snapshot shares it.
    #[inline]
    pub(crate) fn get_mut(&mut self, row: u32) -> Option<&mut T> {
        let (chunk, place) = self.place(row)?;
        Arc::make_mut(self.chunks.get_mut(chunk)?).get_mut(place)
    }

    /// The number that the next row gets.
    pub(crate) fn next(&self) -> u32 {
        self.first.wrapping_add(number(self.len))
    }

    /// Adds a row at the end; its number.
    pub(crate) fn push(&mut self, row: T) -> u32 {
        if self.next() == NONE {
            // No row may have the number of none: an empty one passes in its place.
            self.append(T::default());
        }
        self.append(row)
    }

    fn append(&mut self, row: T) -> u32 {
        let given = self.next();
        let place = at(self.first) % Self::ROWS + self.len;
        if place / Self::ROWS >= self.chunks.len() {
            self.chunks.push_back(vec![T::default(); Self::ROWS].into());
        }
        self.len += 1;
        let chunk = self.chunks.get_mut(place / Self::ROWS).map(Arc::make_mut);
        if let Some(place) = chunk.and_then(|chunk| chunk.get_mut(place % Self::ROWS)) {
            *place = row;
        }
        given
    }

    /// Takes the oldest row out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let chunk = self.chunks.front()?;
        let row = *chunk.get(at(self.first) % Self::ROWS).filter(|_| self.len > 0)?;
        self.first = self.first.wrapping_add(1);
        self.len -= 1;
        if at(self.first).is_multiple_of(Self::ROWS) {
            self.chunks.pop_front();
        }
        Some(row)
    }

    /// Every row, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let rows = self.chunks.iter().flat_map(|chunk| chunk.iter());
        rows.skip(at(self.first) % Self::ROWS).take(self.len)
    }

    /// The numbers of the rows of which something holds, the oldest first.
    pub(crate) fn numbers(&self, is_wanted: impl Fn(&T) -> bool) -> Vec<u32> {
        let rows = self.iter().zip(0_u32..).filter(|(row, _)| is_wanted(row));
        rows.map(|(_, offset)| self.first.wrapping_add(offset)).collect()
    }

    /// Changes the rows of which something holds.
    pub(crate) fn edit(&mut self, is_wanted: impl Fn(&T) -> bool, change: impl Fn(&mut T)) {
        for number in self.numbers(is_wanted) {
            self.get_mut(number).map(&change);
        }
    }

    /// Appends the rows' bytes, without their count.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.len * T::BYTES);
        for row in self.iter() {
            row.write(out);
        }
    }

    /// Reads rows from bytes that hold nothing else; the oldest has the number `first`.
    ///
    /// # Errors
    /// [`Error::Snapshot`] when the bytes are not whole rows, or too many for their numbers.
    pub(crate) fn read(first: u32, bytes: &[u8]) -> Result<Self, Error> {
        const DAMAGED: Error = Error::Snapshot("damaged");
        let rows = bytes.chunks_exact(T::BYTES);
        if !rows.remainder().is_empty() || rows.len() > at(u32::MAX / 2) {
            return Err(DAMAGED);
        }
        let mut fifo = Self { first, ..Self::default() };
        for row in rows {
            fifo.append(T::read(row).ok_or(DAMAGED)?);
        }
        Ok(fifo)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_queue_and_copies_keep_what_they_saw(
            steps in prop::collection::vec((0_u8..5, any::<u32>()), 0..400),
            start in prop::sample::select(vec![0_u32, 5, 4_090, u32::MAX - 40]),
            copy_at in 0_usize..400,
        ) {
            let mut fifo = Fifo::<u32> { first: start, ..Fifo::default() };
            let mut model: VecDeque<(u32, u32)> = VecDeque::new();
            let mut copy = None;
            for (step, (kind, value)) in steps.into_iter().enumerate() {
                if step == copy_at {
                    let rows: Vec<u32> = fifo.iter().copied().collect();
                    copy = Some((fifo.clone(), rows));
                }
                match kind {
                    0 => { fifo.pop(); model.pop_front(); }
                    1 if !model.is_empty() => {
                        let place = at(value) % model.len();
                        if model[place].0 == NONE {
                            continue;
                        }
                        *fifo.get_mut(model[place].0).unwrap() = value;
                        model[place].1 = value;
                    }
                    _ => {
                        let is_skipped = fifo.next() == NONE;
                        if is_skipped {
                            model.push_back((NONE, 0));
                        }
                        model.push_back((fifo.push(value), value));
                    }
                }
                prop_assert_eq!(fifo.len(), model.len());
                for (row, value) in model.iter().filter(|(row, _)| *row != NONE) {
                    prop_assert_eq!(fifo.get(*row), Some(value));
                }
                prop_assert_eq!(fifo.get(fifo.first().wrapping_sub(1)), None);
                prop_assert_eq!(fifo.get(fifo.next()), None);
            }
            let mut bytes = Vec::new();
            fifo.write(&mut bytes);
            let again = Fifo::<u32>::read(fifo.first(), &bytes).unwrap();
            prop_assert!(again.iter().eq(fifo.iter()));
            prop_assert_eq!(again.next(), fifo.next());
            if let Some((fifo, rows)) = copy {
                prop_assert!(fifo.iter().eq(rows.iter()));
            }
        }
    }
}
