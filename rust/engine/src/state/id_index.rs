//! From a 16-byte id to the number of its row, in about seven bytes of a cache line.
//!
//! Linear hashing: the table grows by one bucket at a time, so no insertion ever waits for a
//! rehash. A bucket is one cache line of 12 rows with a byte of each one's hash; what does not
//! fit goes to a chained bucket. The rows themselves hold the ids and settle doubts.

use super::arena::Arena;
use super::chunks::{at, Chunks, Fields, Row};

const BUCKET_ROWS: usize = 12;
/// Rows of a bucket, on the mean, before the table grows by one bucket. Buckets not yet split
/// hold up to twice as many, and one in twenty rows is chained.
const BUCKET_ROWS_MEAN: usize = 7;
const NONE: u32 = u32::MAX;

/// A cache line of the table.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Bucket {
    rows: [u32; BUCKET_ROWS],
    tags: [u8; BUCKET_ROWS],
    next: u32,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { rows: [NONE; BUCKET_ROWS], tags: [0; BUCKET_ROWS], next: NONE }
    }
}

impl Row for Bucket {
    const BYTES: usize = 64;

    fn write(&self, out: &mut Vec<u8>) {
        for row in self.rows {
            row.write(out);
        }
        out.extend_from_slice(&self.tags);
        self.next.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut rows = [NONE; BUCKET_ROWS];
        for row in &mut rows {
            *row = fields.u32()?;
        }
        Some(Self { rows, tags: fields.take()?, next: fields.u32()? })
    }
}

/// The index; the caller holds the ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdIndex {
    pub(crate) buckets: Chunks<Bucket>,
    pub(crate) chained: Arena<Bucket>,
    pub(crate) len: usize,
}

fn tag_of(hash: u64) -> u8 {
    let [.., tag] = hash.to_le_bytes();
    tag
}

impl IdIndex {
    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.bytes() + self.chained.bytes()
    }

    /// How many rows are indexed.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads the cache line that a search for `hash` begins with, and returns something of it:
    /// a search of many ids reads all their lines first, so that their misses overlap.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) -> u32 {
        self.buckets.get(self.address(hash)).map_or(0, |bucket| bucket.next)
    }

    /// The row that has this hash and of which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        let mut bucket = self.buckets.get(self.address(hash))?;
        // A damaged snapshot must not make a search endless.
        for _ in 0..=self.chained.rows.len() {
            let mut same = bucket.places_of(tag);
            while same != 0 {
                let row = bucket.rows.get(at(same.trailing_zeros() / 8)).copied().unwrap_or(NONE);
                if row != NONE && is_it(row) {
                    return Some(row);
                }
                same &= same - 1;
            }
            bucket = self.chained.get(bucket.next)?;
        }
        None
    }

    /// The first row whose hash seems to be this one, unseen: what a search is likely to look at.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        let bucket = self.buckets.get(self.address(hash))?;
        let same = bucket.places_of(tag_of(hash));
        bucket.rows.get(at(same.trailing_zeros() / 8)).copied().filter(|row| *row != NONE)
    }

    /// Adds a row that is not there. `hash_of` gives the hash of any row that is.
    pub(crate) fn insert(&mut self, hash: u64, row: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len >= self.buckets.len() * BUCKET_ROWS_MEAN {
            self.grow(hash_of);
        }
        self.place(self.address(hash), tag_of(hash), row);
        self.len += 1;
    }

    /// Has a row stand where another of the same hash stands.
    pub(crate) fn replace(&mut self, hash: u64, before: u32, after: u32) {
        let address = self.address(hash);
        let Some(bucket) = self.buckets.get_mut(address) else { return };
        let mut next = bucket.next;
        let mut is_done = bucket.replace(before, after);
        // A damaged snapshot must not make a search endless.
        for _ in 0..=self.chained.rows.len() {
            let Some(bucket) = self.chained.get_mut(next).filter(|_| !is_done) else { return };
            is_done = bucket.replace(before, after);
            next = bucket.next;
        }
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, hash: u64, row: u32) {
        let address = self.address(hash);
        // As a rule nothing is chained, and nothing moves.
        let whole = self.buckets.get_mut(address).filter(|bucket| bucket.next == NONE);
        if let Some(bucket) = whole {
            self.len -= usize::from(bucket.replace(row, NONE));
            return;
        }
        let mut rows = self.take_all(address);
        let before = rows.len();
        rows.retain(|(_, other)| *other != row);
        self.len -= before - rows.len();
        for (tag, other) in rows {
            self.place(address, tag, other);
        }
    }

    #[inline]
    fn address(&self, hash: u64) -> usize {
        let buckets = self.buckets.len();
        let mask = buckets.next_power_of_two().wrapping_sub(1);
        let [a, b, c, d, e, f, g, _] = hash.to_le_bytes();
        let bits = u64::from_le_bytes([a, b, c, d, e, f, g, 0]);
        let wide = usize::try_from(bits & mask as u64).unwrap_or(0);
        if wide < buckets {
            wide
        } else {
            wide & (mask >> 1)
        }
    }

    fn place(&mut self, address: usize, tag: u8, row: u32) {
        let Some(bucket) = self.buckets.get_mut(address) else { return };
        if bucket.put(tag, row) {
            return;
        }
        let first = bucket.next;
        if let Some(true) = self.chained.get_mut(first).map(|bucket| bucket.put(tag, row)) {
            return;
        }
        // The newest chained bucket comes first, so only that one can have room.
        let mut new = Bucket { next: first, ..Bucket::default() };
        new.put(tag, row);
        let next = self.chained.insert(new);
        if let Some(bucket) = self.buckets.get_mut(address) {
            bucket.next = next;
        }
    }

    /// Empties a bucket and its chain; what was in them, in a fixed order.
    fn take_all(&mut self, address: usize) -> Vec<(u8, u32)> {
        let mut rows = Vec::with_capacity(2 * BUCKET_ROWS);
        let Some(bucket) = self.buckets.get(address).copied() else { return rows };
        self.buckets.set(address, Bucket::default());
        rows.extend(bucket.filled());
        let mut next = bucket.next;
        while let Some(bucket) = self.chained.get(next).copied() {
            rows.extend(bucket.filled());
            self.chained.remove(next);
            next = bucket.next;
        }
        rows
    }

    /// Adds one bucket and moves to it what belongs there.
    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let new = self.buckets.push(Bucket::default());
        if new == 0 {
            return;
        }
        let source = new & ((new + 1).next_power_of_two().wrapping_sub(1) >> 1);
        for (tag, row) in self.take_all(source) {
            self.place(self.address(hash_of(row)), tag, row);
        }
    }
}

impl Bucket {
    /// A bit in the byte of each place whose tag is `tag`, and perhaps in some others above one.
    #[inline]
    fn places_of(&self, tag: u8) -> u128 {
        const ONES: u128 = u128::from_le_bytes([1; 16]);
        const TOPS: u128 = ONES << 7;
        const USED: u128 = (1 << (8 * BUCKET_ROWS)) - 1;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.tags;
        let tags = u128::from_le_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
        let differs = tags ^ (ONES * u128::from(tag));
        differs.wrapping_sub(ONES) & !differs & TOPS & USED
    }

    /// Puts a row in the place of another; whether that was there.
    fn replace(&mut self, before: u32, after: u32) -> bool {
        let place = self.rows.iter_mut().find(|row| **row == before);
        place.map(|row| *row = after).is_some()
    }

    fn put(&mut self, tag: u8, row: u32) -> bool {
        let Some(free) = self.rows.iter().position(|other| *other == NONE) else { return false };
        if let (Some(place), Some(mark)) = (self.rows.get_mut(free), self.tags.get_mut(free)) {
            *place = row;
            *mark = tag;
        }
        true
    }

    fn filled(self) -> impl Iterator<Item = (u8, u32)> {
        self.tags.into_iter().zip(self.rows).filter(|(_, row)| *row != NONE)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn hash(key: u16, spread: u64) -> u64 {
        (u64::from(key) % spread).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    proptest! {
        /// With few different hashes every bucket chains; with many the table grows.
        #[test]
        fn agrees_with_an_ordinary_map(
            steps in prop::collection::vec((any::<bool>(), 0_u16..600), 0..1500),
            spread in prop::sample::select(vec![1_u64, 3, 40, 65_536]),
        ) {
            let mut index = IdIndex::default();
            let mut keys: Vec<u16> = Vec::new();
            let mut model: BTreeMap<u16, u32> = BTreeMap::new();
            for (insert, key) in steps {
                let found = index.find(hash(key, spread), |row| keys[at(row)] == key);
                prop_assert_eq!(found, model.get(&key).copied());
                if insert && found.is_none() {
                    let row = u32::try_from(keys.len()).unwrap();
                    keys.push(key);
                    index.insert(hash(key, spread), row, |row| hash(keys[at(row)], spread));
                    model.insert(key, row);
                } else if let (false, Some(row)) = (insert, found) {
                    index.remove(hash(key, spread), row);
                    model.remove(&key);
                }
                prop_assert_eq!(index.len(), model.len());
            }
        }
    }
}
