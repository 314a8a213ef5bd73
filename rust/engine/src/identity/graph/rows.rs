//! Rows of the graph: identifiers, links, and the ends of links.

use crate::identity::{Identifier, IdentifierType};
use crate::limits::DAY_MS;
use crate::record::Trust;
use crate::state::brand::Gone;
use crate::state::chunks::{Fields, Ms6, Row};
use crate::Id;

/// Ends of links kept in the identifier's own row; nine identifiers in ten have no more.
pub(super) const INLINE_ENDS: usize = 2;

/// One end of a link, at the identifier that keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// The neighbour's row.
    pub(super) to: u32,
    /// The link's row.
    pub(super) link: u32,
}

impl Row for End {
    const BYTES: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        self.to.write(out);
        self.link.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { to: fields.u32()?, link: fields.u32()? })
    }
}

const KIND_MASK: u8 = 0x0f;

/// A click under an identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Under {
    /// The second in which it happened: enough to pass over most clicks outside a window unread.
    pub(crate) touch_s: u32,
    /// Its row.
    pub(crate) click: u32,
}

impl Row for Under {
    const BYTES: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        self.touch_s.write(out);
        self.click.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { touch_s: fields.u32()?, click: fields.u32()? })
    }
}

/// What a row of an identifier is in use for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Use {
    /// Free, to be given out again.
    #[default]
    Free = 0,
    /// An identifier.
    Known = 1,
    /// One that has been forgotten, while ends of links at its neighbours still name the row.
    Forgotten = 2,
}

/// An identifier, its first ends of links, and where the rest is: 52 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Node {
    pub(super) digest: Id,
    pub(super) inline: [End; INLINE_ENDS],
    /// Place of the list of ends, when there are more than fit here.
    pub(super) ends: u32,
    /// The only click, or the place of the list of clicks.
    pub(super) clicks: u32,
    /// Smallest accept time, in whole seconds.
    pub(super) first_known_s: u32,
    /// The last day on which it was seen.
    pub(super) last_day: u16,
    /// The day on which to look whether it has expired.
    pub(super) check_day: u16,
    /// The type in the low half; in the high half whether clicks under it were lost, and how.
    pub(super) kind_and_lost: u8,
    pub(super) usage: Use,
    pub(super) ends_len: u8,
    pub(super) clicks_len: u8,
}

impl Node {
    pub(super) fn new(key: Identifier) -> Self {
        let kind_and_lost = key.kind as u8;
        Self { digest: key.digest, kind_and_lost, usage: Use::Known, ..Self::default() }
    }

    #[inline]
    pub(super) fn kind(&self) -> IdentifierType {
        let number = u64::from(self.kind_and_lost & KIND_MASK);
        IdentifierType::from_number(number).unwrap_or(IdentifierType::Visitor)
    }

    #[inline]
    pub(super) fn is(&self, key: &Identifier) -> bool {
        self.digest == key.digest && self.kind_and_lost & KIND_MASK == key.kind as u8
    }

    /// Notes that a click under it is no longer live.
    pub(super) fn note_lost(&mut self, why: Gone) {
        self.kind_and_lost |= (why as u8) << KIND_MASK.count_ones();
    }

    /// Whether a click under it is no longer live for one of two reasons.
    pub(super) fn has_lost(&self, why: Gone) -> bool {
        self.kind_and_lost >> KIND_MASK.count_ones() & (why as u8) != 0
    }

    pub(super) fn key(&self) -> Identifier {
        Identifier { kind: self.kind(), digest: self.digest }
    }
}

impl Row for Node {
    const BYTES: usize = 52;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest);
        for end in self.inline {
            end.write(out);
        }
        for number in [self.ends, self.clicks, self.first_known_s] {
            number.write(out);
        }
        out.extend_from_slice(&self.last_day.to_le_bytes());
        out.extend_from_slice(&self.check_day.to_le_bytes());
        out.extend_from_slice(&[
            self.kind_and_lost,
            self.usage as u8,
            self.ends_len,
            self.clicks_len,
        ]);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut node = Self { digest: fields.take()?, ..Self::default() };
        for end in &mut node.inline {
            *end = End { to: fields.u32()?, link: fields.u32()? };
        }
        node.ends = fields.u32()?;
        node.clicks = fields.u32()?;
        node.first_known_s = fields.u32()?;
        node.last_day = u16::from_le_bytes(fields.take()?);
        node.check_day = u16::from_le_bytes(fields.take()?);
        let [kind_and_lost, usage, ends_len, clicks_len] = fields.take()?;
        node.usage = match usage {
            0 => Use::Free,
            1 => Use::Known,
            2 => Use::Forgotten,
            _ => return None,
        };
        if node.usage == Use::Known {
            IdentifierType::from_number(u64::from(kind_and_lost & KIND_MASK)).ok()?;
        }
        node.kind_and_lost = kind_and_lost;
        (node.ends_len, node.clicks_len) = (ends_len, clicks_len);
        Some(node)
    }
}

/// A link, shared by its two ends: 32 bytes, never over two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(32))]
pub(crate) struct LinkRow {
    pub(super) event_id: Id,
    pub(super) first_known: Ms6,
    pub(super) last: Ms6,
    /// 0 for a free row.
    trust: u8,
    /// Whether the end at the smaller row, and at the larger row, is kept.
    kept: [bool; 2],
}

impl LinkRow {
    pub(super) fn new(trust: Trust, event_id: Id, accept_ms: u64, at_ms: u64) -> Self {
        Self {
            event_id,
            first_known: Ms6::new(accept_ms),
            last: Ms6::new(at_ms),
            trust: trust as u8,
            kept: [false; 2],
        }
    }

    /// Something of the row, for whoever only wants it read.
    pub(super) fn first_byte(&self) -> u8 {
        let [first, ..] = self.event_id;
        first
    }

    pub(super) fn trust(&self) -> Trust {
        if self.trust == Trust::Server as u8 {
            Trust::Server
        } else {
            Trust::Browser
        }
    }

    /// Whether the end at `own`, of a link from `own` to `to`, is kept.
    pub(super) fn is_kept(&self, own: u32, to: u32) -> bool {
        let [smaller, larger] = self.kept;
        if own < to {
            smaller
        } else {
            larger
        }
    }

    /// Whether both ends are kept.
    pub(super) fn is_there(&self) -> bool {
        self.kept == [true, true]
    }

    pub(super) fn set_kept(&mut self, own: u32, to: u32, kept: bool) {
        let [smaller, larger] = &mut self.kept;
        *(if own < to { smaller } else { larger }) = kept;
    }

    /// Takes a further sighting in. Commutative, and the same sighting again changes nothing.
    pub(super) fn see(&mut self, event_id: Id, accept_ms: u64, at_ms: u64) {
        if accept_ms < self.first_known.get() {
            self.first_known = Ms6::new(accept_ms);
        }
        let last_ms = self.last.get();
        if at_ms > last_ms || (at_ms == last_ms && event_id < self.event_id) {
            self.last = Ms6::new(at_ms);
            self.event_id = event_id;
        }
    }
}

impl Row for LinkRow {
    const BYTES: usize = 31;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event_id);
        out.extend_from_slice(self.first_known.bytes());
        out.extend_from_slice(self.last.bytes());
        let [smaller, larger] = self.kept;
        out.extend_from_slice(&[self.trust, u8::from(smaller), u8::from(larger)]);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut row = Self {
            event_id: fields.take()?,
            first_known: fields.ms()?,
            last: fields.ms()?,
            ..Self::default()
        };
        let [trust, smaller @ 0..=1, larger @ 0..=1] = fields.take()? else { return None };
        if trust > Trust::Browser as u8 {
            return None;
        }
        row.trust = trust;
        row.kept = [smaller == 1, larger == 1];
        Some(row)
    }
}

/// The day a time lies in; the largest day stands for all later ones.
pub(super) fn day_of(ms: u64) -> u16 {
    u16::try_from(ms / DAY_MS).unwrap_or(u16::MAX)
}
