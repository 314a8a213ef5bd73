//! Of each client the newest of its pending clicks: an index alone, since the clicks say whose they
//! are.

use super::fifo::Fifo;
use super::pending::Pending;
use super::tallies::fold;
use crate::state::id_index::IdIndex;

/// An entry is the number of a click, and of which of its clients it is the newest.
const CLIENT_BITS: u32 = 2;
const CLIENT_MASK: u32 = (1 << CLIENT_BITS) - 1;

/// The newest pending click of each client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heads {
    pub(crate) index: IdIndex,
}

/// The entry of a click and one of its clients. The upper bits of the number are lost: no more
/// clicks than those tell apart are pending.
fn entry(row: u32, client: usize) -> u32 {
    row << CLIENT_BITS | u32::try_from(client).unwrap_or(0) & CLIENT_MASK
}

/// The number of a click, from its entry.
pub(crate) fn row_of(pending: &Fifo<Pending>, entry: u32) -> u32 {
    let offset = (entry >> CLIENT_BITS).wrapping_sub(pending.first()) & (u32::MAX >> CLIENT_BITS);
    pending.first().wrapping_add(offset)
}

/// The client that an entry is of; 0 when its click is gone.
fn client_of(pending: &Fifo<Pending>, entry: u32) -> u64 {
    let click = pending.get(row_of(pending, entry));
    let client = usize::try_from(entry & CLIENT_MASK).unwrap_or(0);
    click.map_or(0, |click| click.link_of(client).client)
}

impl Heads {
    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes()
    }

    /// The bits by which a client is found.
    #[inline]
    pub(crate) fn hash(seed: u64, client: u64) -> u64 {
        fold(client ^ seed, 1)
    }

    /// The entry of a client, if it has pending clicks.
    pub(crate) fn entry_of(&self, pending: &Fifo<Pending>, seed: u64, client: u64) -> Option<u32> {
        let hash = Self::hash(seed, client);
        self.index.find(hash, |entry| client_of(pending, entry) == client)
    }

    /// The newest pending click of a client.
    pub(crate) fn find(&self, pending: &Fifo<Pending>, seed: u64, client: u64) -> Option<u32> {
        Some(row_of(pending, self.entry_of(pending, seed, client)?))
    }

    /// Has a click be the newest of one of its clients, or, where it is none, nothing be; `before`
    /// is the client's entry.
    pub(crate) fn put(
        &mut self,
        pending: &Fifo<Pending>,
        seed: u64,
        client: u64,
        before: Option<u32>,
        row: Option<u32>,
    ) {
        let hash = Self::hash(seed, client);
        let place = row.and_then(|row| Some((row, pending.get(row)?.client_at(client)?)));
        match (before, place.map(|(row, client)| entry(row, client))) {
            (Some(before), Some(after)) => self.index.replace(hash, before, after),
            (Some(before), None) => self.index.remove(hash, before),
            (None, Some(after)) => {
                let hash_of = |entry| Self::hash(seed, client_of(pending, entry));
                self.index.insert(hash, after, hash_of);
            }
            (None, None) => {}
        }
    }

    /// Reads what a look for a client begins with: the line of the index, and then, once all have
    /// been touched, the click that it names.
    pub(crate) fn touch(&self, hash: u64) -> u32 {
        self.index.touch(hash)
    }

    /// The second of both.
    pub(crate) fn touch_click(&self, pending: &Fifo<Pending>, hash: u64) -> u32 {
        let row = self.index.guess(hash).map(|entry| row_of(pending, entry));
        row.and_then(|row| pending.get(row)).map_or(0, |click| click.pair)
    }
}
