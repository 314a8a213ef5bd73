//! Digests found in bytes, and replaced by others of the same length: how an erasure is carried
//! into what was written before it.

use std::collections::BTreeSet;

use super::frame::checksum_of;
use crate::Id;

const DIGEST_BYTES: usize = size_of::<Id>();

/// A set of digests to look for.
#[derive(Debug)]
pub struct Digests {
    /// By the first two bytes, whether one begins so: nearly every place is passed over by it.
    begins: Vec<bool>,
    all: BTreeSet<Id>,
}

impl Digests {
    /// A set that holds `digests`.
    pub fn new(digests: impl IntoIterator<Item = Id>) -> Self {
        let all: BTreeSet<Id> = digests.into_iter().collect();
        let mut begins = vec![false; 1 << 16];
        for digest in &all {
            if let Some(begin) = begin_of(digest).and_then(|at| begins.get_mut(at)) {
                *begin = true;
            }
        }
        Self { begins, all }
    }

    /// Those of the set that stand in `bytes`, anywhere.
    pub fn among(&self, bytes: &[u8]) -> BTreeSet<Id> {
        let begins = |place: &&[u8]| {
            begin_of(place).and_then(|at| self.begins.get(at)).copied().unwrap_or_default()
        };
        let places = bytes.windows(DIGEST_BYTES).filter(begins);
        places.filter_map(|place| self.all.get(place)).copied().collect()
    }
}

fn begin_of(bytes: &[u8]) -> Option<usize> {
    let [first, second, ..] = bytes else { return None };
    Some(usize::from(u16::from_le_bytes([*first, *second])))
}

/// A frame with digests replaced, each former by its latter. A checksum that was right is right
/// again; one that was wrong stays wrong.
pub fn replace_in_frame(frame: &[u8], pairs: &[(Id, Id)]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let mut at = 0;
    while let Some(place) = bytes.get_mut(at..at + DIGEST_BYTES) {
        let pair = pairs.iter().find(|(former, _)| former.as_slice() == place);
        if let Some((_, latter)) = pair {
            place.copy_from_slice(latter);
        }
        at += if pair.is_some() { DIGEST_BYTES } else { 1 };
    }
    let is_right = checksum_of(frame).is_some_and(|(written, right)| written == right);
    if let Some((_, right)) = checksum_of(&bytes).filter(|_| is_right) {
        super::frame::write_checksum(&mut bytes, right);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::frame::{encode_frame, frame_header};

    /// A tick, whose event id is a place for a digest.
    fn tick(event_id: Id) -> Vec<u8> {
        let mut record = vec![0x98, 8, 0xc4, 16];
        record.extend_from_slice(&event_id);
        record.extend_from_slice(&[0, 0, 0xc0, 1, 7, 0x90]);
        record
    }

    proptest! {
        #[test]
        fn a_digest_is_found_wherever_it_stands(
            before in prop::collection::vec(any::<u8>(), 0..40),
            digest: Id,
            other: Id,
            after in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let held = [before.as_slice(), &digest, &after].concat();
            let digests = Digests::new([digest, other]);
            let is_there = |id: &Id| held.windows(16).any(|place| place == id);
            prop_assert!(digests.among(&held).contains(&digest));
            prop_assert_eq!(digests.among(&held).contains(&other), is_there(&other));
            prop_assert!(digests.among(&digest[1..]).is_empty());
        }

        #[test]
        fn a_frame_is_as_good_as_before(former: Id, latter: Id, is_damaged: bool) {
            let mut frame = encode_frame(3, 4, 5, &[&tick([9; 16]), &tick(former)]).unwrap();
            if is_damaged {
                frame[28] ^= 1;
            }
            let changed = replace_in_frame(&frame, &[(former, latter)]);
            prop_assert_eq!(frame_header(&changed).is_ok(), !is_damaged);
            let back = replace_in_frame(&changed, &[(latter, former)]);
            prop_assert!(is_damaged || back == frame);
            prop_assert_eq!(changed.len(), frame.len());
            prop_assert!(Digests::new([latter]).among(&changed).contains(&latter));
        }
    }

    #[test]
    fn what_is_no_frame_stays_as_long() {
        for length in 0..40 {
            let bytes = vec![7; length];
            assert_eq!(replace_in_frame(&bytes, &[([1; 16], [2; 16])]), bytes);
        }
    }
}
