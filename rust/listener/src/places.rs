//! Connections by the number that epoll is given: a place, and the how-manieth connection at it.

use crate::connection::Connection;

/// A connection's number. Of one that is gone it names nobody, though its place is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    slot: u32,
    serial: u32,
}

impl Place {
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.slot)
    }

    pub(crate) fn from_u64(number: u64) -> Self {
        let [a, b, c, d, slot @ ..] = number.to_be_bytes();
        Self { serial: u32::from_be_bytes([a, b, c, d]), slot: u32::from_be_bytes(slot) }
    }
}

#[derive(Debug)]
struct Slot {
    serial: u32,
    connection: Option<Connection>,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Places {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
}

impl Places {
    /// A place for a connection; `None` beyond what can be numbered.
    pub(crate) fn add(&mut self, connection: Connection) -> Option<Place> {
        let number = match self.vacant.pop() {
            Some(number) => number,
            None => {
                let number = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { serial: 0, connection: None });
                number
            }
        };
        let slot = self.slots.get_mut(number as usize)?;
        // None has serial 0: those numbers are the listening sockets'.
        slot.serial = slot.serial.wrapping_add(1).max(1);
        slot.connection = Some(connection);
        Some(Place { slot: number, serial: slot.serial })
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(place.slot as usize)?;
        if slot.serial == place.serial {
            slot.connection.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Connection> {
        let slot = self.slots.get_mut(place.slot as usize)?;
        if slot.serial != place.serial {
            return None;
        }
        let connection = slot.connection.take()?;
        self.vacant.push(place.slot);
        Some(connection)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &Connection)> + '_ {
        (0..).zip(&self.slots).filter_map(|(number, slot)| {
            let place = Place { slot: number, serial: slot.serial };
            slot.connection.as_ref().map(|connection| (place, connection))
        })
    }
}
