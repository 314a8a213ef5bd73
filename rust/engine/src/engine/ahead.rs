//! What the events of a frame are about to look for, read before the first is applied: reads that
//! miss the cache do not wait for each other.

use super::score::{hash, Who};
use super::Engine;
use crate::fraud::state::Wanted;
use crate::record::frame::Frame;
use crate::record::{Body, Click, Record};

impl Engine {
    /// Reads ahead for the events of a frame that are of its first brand: as a rule all are.
    pub(super) fn read_ahead(&self, frame: &Frame<'_>) {
        let Some((first, _)) = frame.records.first() else { return };
        let Some(brand) = self.brands.get(&first.brand) else { return };
        let (mut keys, mut clicks, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut wanted = Wanted::default();
        for (record, _) in frame.records.iter().filter(|(record, _)| record.brand == first.brand) {
            match &record.body {
                Body::Click(click) => {
                    clicks.push(record.event_id);
                    keys.extend(click.identifiers.iter());
                    want(record, click, &mut wanted);
                }
                Body::PageView(page) => {
                    others.push(record.event_id);
                    keys.extend(page.identifiers.iter());
                }
                Body::Identify(identify) => {
                    others.push(record.event_id);
                    keys.extend(identify.identifiers.iter());
                }
                _ => {}
            }
        }
        brand.prefetch(&keys, &clicks, &others);
        brand.fraud.read_ahead(&wanted);
    }
}

/// Adds what scoring a click looks for, of which there are many. What is wanted of one that comes
/// late is something else; it waits.
fn want(record: &Record<'_>, click: &Click<'_>, wanted: &mut Wanted) {
    let who = Who::of(record, click, record.accept_ms);
    let net = click.client.address_prefix.map_or(0, hash);
    let device = if who.is_new { 0 } else { who.clients[0] };
    wanted.add(record.accept_ms, &who.clients, who.addresses, net, device);
}
