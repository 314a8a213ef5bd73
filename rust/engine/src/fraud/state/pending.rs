//! Clicks that later evidence may still change: what is needed to score them again.

use super::fifo::{Fifo, NONE};
use super::tallies::{fold, hour_of, Kind};
use crate::state::chunks::{Fields, Ms6, Row};
use crate::Id;

/// Chains of the pending clicks of one counter, by their place in [`Pending::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Chain {
    /// Of an address in an hour.
    AddressHour = 0,
    /// Of an address in a day.
    AddressDay = 1,
    /// Of a network in an hour.
    NetHour = 2,
    /// Of a partner's kind of browser in an hour.
    SliceHour = 3,
}

/// The client that a visitor id makes.
pub(crate) const BY_VISITOR: usize = 0;
/// The client that a device id makes; without one, that of yesterday's digest of the address.
pub(crate) const BY_DEVICE: usize = 1;
/// The client that an address and a user agent make.
pub(crate) const BY_ADDRESS: usize = 2;
/// Clients that one click can have.
pub(crate) const CLIENTS: usize = 3;

/// Facts of a pending click, as bits.
pub(crate) mod facts {
    /// The browser fetched it ahead of time.
    pub(crate) const PREFETCH: u16 = 1;
    /// The browser says that a tap, click or key led to it.
    pub(crate) const ACTIVATED: u16 = 2;
    /// Its link is one that nobody can see.
    pub(crate) const HONEYPOT: u16 = 4;
    /// The browser returned its visitor id.
    pub(crate) const RETURNED: u16 = 8;
    /// Its second client is a device id, and not yesterday's digest of the address.
    pub(crate) const DEVICE_ID: u16 = 16;
    /// Something named it: it was gone to.
    pub(crate) const NAMED: u16 = 32;
    /// Excused from the signals of networks and velocity.
    pub(crate) const ALLOWED: u16 = 64;
    /// It is among the clicks of its first client; the next two bits of the others.
    pub(crate) const CHAINED: u16 = 128;
}

/// A click's place among those of one client, in order of time; the client 0 is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) client: u64,
    pub(crate) earlier: u32,
    pub(crate) later: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { client: 0, earlier: NONE, later: NONE }
    }
}

/// One of the aligned stretches of time in which one click of a client is the first at a partner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) number: u64,
    pub(crate) window_ms: u64,
    pub(crate) begin_ms: u64,
    pub(crate) until_ms: u64,
}

/// A pending click.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending {
    /// The click; zeros once it is forgotten.
    pub(crate) id: Id,
    /// The address, under the digest of the day the click happened on; 0 when not known.
    pub(crate) address: u64,
    /// The network; 0 when not known.
    pub(crate) net: u64,
    /// The kind of browser.
    pub(crate) slice: u64,
    /// Signals that could not be looked at.
    pub(crate) not_evaluated: u64,
    pub(crate) links: [Link; CLIENTS],
    /// Earlier clicks of the same counters, see [`Chain`].
    pub(crate) next: [u32; 4],
    /// The place of its program and partner.
    pub(crate) pair: u32,
    /// Of the link, a hash.
    pub(crate) link: u32,
    /// Seconds of the window in which one click of a client is the first at its partner.
    pub(crate) window_s: u32,
    /// Second of engine time from which it is settled.
    pub(crate) settled_s: u32,
    /// When it happened, as the counters take it.
    pub(crate) touch: Ms6,
    /// Bits of [`facts`].
    pub(crate) facts: u16,
    /// What its request alone adds to the order below all thresholds.
    pub(crate) leaning: u16,
    /// Which version of the address lists it was looked up in.
    pub(crate) lists: u16,
    /// The bit of its user agent.
    pub(crate) agent: u8,
}

impl Row for Pending {
    const BYTES: usize = 16 + 4 * 8 + CLIENTS * 16 + 16 + 16 + 6 + 4 + 3;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        for number in [self.address, self.net, self.slice, self.not_evaluated] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for link in self.links {
            out.extend_from_slice(&link.client.to_le_bytes());
            link.earlier.write(out);
            link.later.write(out);
        }
        let numbers = [self.pair, self.link, self.window_s, self.settled_s];
        for number in self.next.into_iter().chain(numbers) {
            number.write(out);
        }
        out.extend_from_slice(self.touch.bytes());
        out.extend_from_slice(&self.facts.to_le_bytes());
        out.extend_from_slice(&self.leaning.to_le_bytes());
        out.extend_from_slice(&self.lists.to_le_bytes());
        out.push(self.agent);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let id = fields.take()?;
        let (address, net) = (fields.u64()?, fields.u64()?);
        let (slice, not_evaluated) = (fields.u64()?, fields.u64()?);
        let mut links = [Link::default(); CLIENTS];
        for link in &mut links {
            let (client, earlier, later) = (fields.u64()?, fields.u32()?, fields.u32()?);
            *link = Link { client, earlier, later };
        }
        let mut next = [NONE; 4];
        for row in &mut next {
            *row = fields.u32()?;
        }
        let (pair, link) = (fields.u32()?, fields.u32()?);
        let (window_s, settled_s) = (fields.u32()?, fields.u32()?);
        let (touch, facts, leaning) = (fields.ms()?, fields.u16()?, fields.u16()?);
        let lists = fields.u16()?;
        let [agent @ 0..=63] = fields.take()? else { return None };
        Some(Self {
            id,
            address,
            net,
            slice,
            not_evaluated,
            links,
            next,
            pair,
            link,
            window_s,
            settled_s,
            touch,
            facts,
            leaning,
            lists,
            agent,
        })
    }
}

impl Pending {
    /// When it happened, as the counters take it.
    #[inline]
    pub(crate) fn touch_ms(&self) -> u64 {
        self.touch.get()
    }

    /// The order of clicks of one client.
    #[inline]
    pub(crate) fn order(&self) -> (u64, Id) {
        (self.touch_ms(), self.id)
    }

    /// Whether a fact holds.
    #[inline]
    pub(crate) fn is(&self, fact: u16) -> bool {
        self.facts & fact != 0
    }

    /// Its place among the clicks of its client of a number.
    #[inline]
    pub(crate) fn link_of(&self, client: usize) -> Link {
        self.links.get(client).copied().unwrap_or_default()
    }

    /// The number of a client that is its.
    #[inline]
    pub(crate) fn client_at(&self, entity: u64) -> Option<usize> {
        self.links.iter().position(|link| link.client == entity)
    }

    /// Its place among the clicks of a client.
    #[inline]
    pub(crate) fn link_for(&self, entity: u64) -> Link {
        self.client_at(entity).map_or_else(Link::default, |client| self.link_of(client))
    }

    /// The entity of the counters of devices.
    pub(crate) fn device(&self) -> Option<u64> {
        let by = |client| self.link_of(client).client;
        if self.is(facts::DEVICE_ID) {
            Some(by(BY_DEVICE))
        } else {
            Some(by(BY_VISITOR)).filter(|client| *client != 0 && self.is(facts::RETURNED))
        }
    }

    /// Whether it is among the clicks of its client of a number.
    pub(crate) fn is_chained(&self, client: usize) -> bool {
        self.is(facts::CHAINED << client)
    }

    /// Whether it can be the first of a client of a number, which is not yesterday's digest.
    pub(crate) fn may_be_first_of(&self, client: usize) -> bool {
        let is_before_today = client == BY_DEVICE && self.is_by_address(client);
        self.link_of(client).client != 0 && !is_before_today
    }

    /// Whether it counts for who is first: of what is fetched ahead only what something names. What
    /// is gone to is followed by a click that does.
    pub(crate) fn is_entered(&self) -> bool {
        !self.is(facts::PREFETCH) || self.is(facts::NAMED)
    }

    /// The window it may be the first of.
    pub(crate) fn window(&self) -> Window {
        let window_ms = u64::from(self.window_s.max(60)) * 1000;
        let number = self.touch_ms() / window_ms;
        let begin_ms = number * window_ms;
        Window { number, window_ms, begin_ms, until_ms: begin_ms.saturating_add(window_ms) }
    }

    /// Whether a client is made of an address, which a crowd may share.
    pub(crate) fn is_by_address(&self, client: usize) -> bool {
        client == BY_ADDRESS || client == BY_DEVICE && !self.is(facts::DEVICE_ID)
    }

    /// The kind of browser at the partner.
    pub(crate) fn own_slice(&self) -> u64 {
        fold(u64::from(self.pair), self.slice)
    }
}

/// A stretch of clicks to be scored again, bit by bit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// The event that gave rise to it.
    pub(crate) event_id: Id,
    /// The click that is next.
    pub(crate) at: u32,
    /// Clicks before this time are not concerned.
    pub(crate) since: Ms6,
    /// Which chain leads on: that of [`Chain`], from 4 on of a client to earlier ones; [`ALONE`].
    pub(crate) chain: u8,
    /// The number of the signal that changed.
    pub(crate) signal: u8,
}

/// An hour of a network, or of a partner's kind of browser, whose comparison is made once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) entity: u64,
    /// Counted from 1970.
    pub(crate) hour: u32,
    pub(crate) is_net: bool,
}

impl Closing {
    pub(crate) fn new(kind: Kind, entity: u64, at_ms: u64) -> Self {
        let hour = u32::try_from(hour_of(at_ms)).unwrap_or(u32::MAX);
        Self { entity, hour, is_net: kind == Kind::Net }
    }
}

impl Row for Closing {
    const BYTES: usize = 13;

    fn write(&self, out: &mut Vec<u8>) {
        self.entity.write(out);
        self.hour.write(out);
        out.push(u8::from(self.is_net));
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (entity, hour) = (fields.u64()?, fields.u32()?);
        let [is_net @ 0..=1] = fields.take()? else { return None };
        Some(Self { entity, hour, is_net: is_net == 1 })
    }
}

/// The chain of one click.
pub(crate) const ALONE: u8 = 255;
/// The first number of the chains of clients.
pub(crate) const OF_CLIENTS: u8 = 4;

impl Row for Work {
    const BYTES: usize = 28;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event_id);
        self.at.write(out);
        out.extend_from_slice(self.since.bytes());
        out.extend_from_slice(&[self.chain, self.signal]);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (event_id, at, since) = (fields.take()?, fields.u32()?, fields.ms()?);
        let [chain, signal] = fields.take()?;
        Some(Self { event_id, at, since, chain, signal })
    }
}

impl Work {
    /// Steps to the next click of the chain, from one that is there.
    pub(crate) fn step(&mut self, pending: &Fifo<Pending>) {
        let Some(click) = pending.get(self.at) else {
            self.at = NONE;
            return;
        };
        match self.chain {
            ALONE => self.at = NONE,
            chain @ OF_CLIENTS.. => {
                let link = click.link_of(usize::from(chain - OF_CLIENTS));
                self.at = link.earlier;
                // A client may have another place among those of the next click.
                let client = pending.get(self.at).and_then(|next| next.client_at(link.client));
                match client.and_then(|client| u8::try_from(client).ok()) {
                    Some(client) => self.chain = OF_CLIENTS + client,
                    None => self.at = NONE,
                }
            }
            chain => self.at = click.next.get(usize::from(chain)).copied().unwrap_or(NONE),
        }
    }

    /// Whether clicks come in order of time: the first that is too old is the last.
    pub(crate) fn is_sorted(&self) -> bool {
        self.chain >= OF_CLIENTS
    }
}
