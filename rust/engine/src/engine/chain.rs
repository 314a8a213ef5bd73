//! The chain digest: one value that two engines share only if they took the same frames, in
//! the same order, to the same outcomes.
//!
//! Per frame: BLAKE2b-256, personalised `hw-chain-v1`, over the previous digest, the stream id
//! (milliseconds, sequence; 8 bytes little endian each), the frame's length (8 bytes) and bytes,
//! then for every outcome row the number of its table (one byte) and its MessagePack fields but
//! the record itself, which is part of the frame; then for every record dropped as a duplicate
//! the byte 0xfe. A skipped frame has the byte 0xff and the reason instead. Nothing depends on
//! how frames are grouped into calls.

const PERSON: &[u8; 16] = b"hw-chain-v1\0\0\0\0\0";
const DUPLICATE: u8 = 0xfe;
const SKIPPED: u8 = 0xff;

/// A chain digest.
pub type Digest = [u8; 32];

/// The digest of one frame in the making.
#[derive(Debug)]
pub(super) struct Chain(blake2b_simd::State);

impl Chain {
    pub(super) fn new(previous: &Digest, (ms, sequence): (u64, u64), frame: &[u8]) -> Self {
        let mut state = blake2b_simd::Params::new().hash_length(32).personal(PERSON).to_state();
        state.update(previous);
        state.update(&ms.to_le_bytes());
        state.update(&sequence.to_le_bytes());
        state.update(&(frame.len() as u64).to_le_bytes());
        state.update(frame);
        Self(state)
    }

    pub(super) fn row(&mut self, table: u8, fields: &[u8]) {
        self.0.update(&[table]);
        self.0.update(fields);
    }

    pub(super) fn duplicate(&mut self) {
        self.0.update(&[DUPLICATE]);
    }

    pub(super) fn skip(&mut self, reason: &str) {
        self.0.update(&[SKIPPED]);
        self.0.update(reason.as_bytes());
    }

    pub(super) fn finish(self) -> Digest {
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(self.0.finalize().as_bytes()) {
            *to = *from;
        }
        digest
    }
}
