//! A map whose copy is cheap: it shares everything until one side writes.
//!
//! Linear hashing over small sorted buckets, grouped in pages, each behind an `Arc`. A copy
//! clones the list of pages; the first write to a page after that clones one list of pointers,
//! and to a bucket one handful of entries. So neither a growing map nor a snapshot being
//! written ever stops the writer for more than microseconds. Iteration is in the order of the
//! keys only through [`CowMap::sorted`]; there is no other iteration.

use std::sync::Arc;

use crate::Id;

/// Entries of a bucket before the map grows by one bucket.
const BUCKET_ENTRIES_MEAN: usize = 6;
/// Buckets of a page.
const PAGE_BUCKETS: usize = 64;

/// A key that can say where it belongs.
pub trait CowKey: Copy + Ord {
    /// Bits as good as random; equal keys give equal bits.
    fn spread(&self) -> u64;
}

impl CowKey for Id {
    fn spread(&self) -> u64 {
        mix(self, 0)
    }
}

/// Mixes all bits of an id with a seed: both halves multiplied and the product folded. Ids that
/// somebody counted up spread as well as random ones; with a seed that nobody outside knows,
/// nobody can choose ids that share a bucket.
#[inline]
pub(crate) fn mix(id: &Id, seed: u64) -> u64 {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *id;
    let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let high = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
    let [one, two] = ODD;
    let product = u128::from(low ^ seed ^ one) * u128::from(high ^ seed.rotate_left(32) ^ two);
    let [q, r, s, t, u, v, w, x, rest @ ..] = product.to_le_bytes();
    let folded = u64::from_le_bytes([q, r, s, t, u, v, w, x]) ^ u64::from_le_bytes(rest);
    // The fold leaves the lowest bits of a counter's ids weak.
    let mixed = folded.wrapping_mul(one);
    mixed ^ (mixed >> 29)
}

type Bucket<K, V> = Vec<(K, V)>;
type Page<K, V> = Vec<Arc<Bucket<K, V>>>;

/// A copy-on-write map; see the module.
#[derive(Clone, Debug)]
pub struct CowMap<K, V> {
    pages: Vec<Arc<Page<K, V>>>,
    buckets: usize,
    len: usize,
}

impl<K: CowKey, V: Clone> Default for CowMap<K, V> {
    fn default() -> Self {
        Self { pages: Vec::new(), buckets: 0, len: 0 }
    }
}

impl<K: CowKey, V: Clone> CowMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let at = self.bucket_of(key);
        let bucket = self.pages.get(at / PAGE_BUCKETS)?.get(at % PAGE_BUCKETS)?;
        let found = bucket.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        bucket.get(found).map(|(_, value)| value)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key, to change it in place. Copies what a snapshot shares.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if !self.contains(key) {
            return None;
        }
        let bucket = self.bucket_mut(self.bucket_of(key))?;
        let found = bucket.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        bucket.get_mut(found).map(|(_, value)| value)
    }

    /// Puts a value, and returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.len >= self.buckets * BUCKET_ENTRIES_MEAN {
            self.grow();
        }
        let bucket = self.bucket_mut(self.bucket_of(&key))?;
        match bucket.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => bucket.get_mut(at).map(|entry| std::mem::replace(&mut entry.1, value)),
            Err(at) => {
                bucket.insert(at, (key, value));
                self.len += 1;
                None
            }
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        if !self.contains(key) {
            return None;
        }
        let bucket = self.bucket_mut(self.bucket_of(key))?;
        let at = bucket.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        let (_, value) = bucket.remove(at);
        self.len -= 1;
        Some(value)
    }

    /// Every entry, in the order of the keys. Sorts: for snapshots and rebuilding, not for
    /// the path of an event.
    pub fn sorted(&self) -> Vec<(&K, &V)> {
        let mut entries = Vec::with_capacity(self.len);
        for page in &self.pages {
            for bucket in page.iter() {
                entries.extend(bucket.iter().map(|(key, value)| (key, value)));
            }
        }
        entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
        entries
    }

    /// The keys whose values meet a condition, in order. Looks at every entry.
    pub fn keys_where(&self, is_wanted: impl Fn(&V) -> bool) -> Vec<K> {
        let buckets = self.pages.iter().flat_map(|page| page.iter());
        let entries = buckets.flat_map(|bucket| bucket.iter());
        let mut keys: Vec<K> =
            entries.filter(|(_, value)| is_wanted(value)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Address of a bucket under linear hashing: one bit more for the buckets already split.
    fn bucket_of(&self, key: &K) -> usize {
        let mask = self.buckets.next_power_of_two().saturating_sub(1);
        let wide = usize::try_from(key.spread() & mask as u64).unwrap_or(0);
        if wide < self.buckets {
            wide
        } else {
            wide & (mask >> 1)
        }
    }

    fn bucket_mut(&mut self, at: usize) -> Option<&mut Bucket<K, V>> {
        let page = Arc::make_mut(self.pages.get_mut(at / PAGE_BUCKETS)?);
        page.get_mut(at % PAGE_BUCKETS).map(Arc::make_mut)
    }

    /// Adds one bucket and moves to it what belongs there.
    fn grow(&mut self) {
        let new = self.buckets;
        if new.is_multiple_of(PAGE_BUCKETS) {
            self.pages.push(Arc::new(Vec::new()));
        }
        let mut moved = Vec::new();
        if new > 0 {
            let mask = (new + 1).next_power_of_two() - 1;
            let source = new & (mask >> 1);
            if let Some(bucket) = self.bucket_mut(source) {
                let entries = std::mem::take(bucket);
                let goes = |key: &K| key.spread() & mask as u64 == new as u64;
                let (gone, kept) = entries.into_iter().partition(|(key, _)| goes(key));
                *bucket = kept;
                moved = gone;
            }
        }
        if let Some(page) = self.pages.last_mut() {
            Arc::make_mut(page).push(Arc::new(moved));
        }
        self.buckets += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u16) -> Id {
        let mut id = [0; 16];
        id[14..].copy_from_slice(&number.to_be_bytes());
        id
    }

    proptest! {
        #[test]
        fn agrees_with_an_ordinary_map_and_copies_keep_what_they_saw(
            steps in prop::collection::vec((any::<bool>(), 0_u16..900, any::<u8>()), 0..3000),
            copy_at in 0_usize..3000,
        ) {
            let (mut map, mut model) = (CowMap::default(), BTreeMap::new());
            let mut copy = None;
            for (at, (insert, number, value)) in steps.into_iter().enumerate() {
                if at == copy_at {
                    copy = Some((map.clone(), model.clone()));
                }
                if insert {
                    prop_assert_eq!(map.insert(id(number), value), model.insert(id(number), value));
                } else {
                    prop_assert_eq!(map.remove(&id(number)), model.remove(&id(number)));
                }
                prop_assert_eq!(map.get(&id(number)), model.get(&id(number)));
                prop_assert_eq!(map.len(), model.len());
            }
            prop_assert!(map.sorted().into_iter().eq(model.iter()));
            if let Some((map, model)) = copy {
                prop_assert!(map.sorted().into_iter().eq(model.iter()));
            }
        }
    }
}
