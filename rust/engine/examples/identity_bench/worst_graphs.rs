//! Graphs that make one lookup as dear as the bounds let it be.

use headwater_engine::identity::graph::Observation;
use headwater_engine::identity::{Identifier, IdentifierType};
use headwater_engine::limits::{Limits, MEMBERS_DEFAULT, NEIGHBOURS_MAX, NODE_CLICKS_MAX};
use headwater_engine::record::Trust;
use headwater_engine::state::brand::Brand;
use headwater_engine::state::clicks::Click;

use crate::workload::{click_id, key, link_event, START_MS};

/// A brand under construction, every event a second after the last but links of one moment.
#[derive(Debug, Default)]
pub struct Builder {
    pub brand: Brand,
    events: usize,
    clicks: usize,
}

impl Builder {
    pub fn link(&mut self, one: Identifier, two: Identifier, trust: Trust) {
        self.events += 1;
        let at_ms = START_MS + self.events as u64 % 1000;
        let pair = [one, two].into_iter();
        self.brand.observe(&Observation::new(link_event(self.events), at_ms, at_ms, trust, pair));
    }

    pub fn both(&mut self, one: Identifier, two: Identifier) {
        self.link(one, two, Trust::Server);
        self.link(one, two, Trust::Browser);
    }

    /// As many clicks as an identifier keeps.
    pub fn clicks(&mut self, own: Identifier) {
        for _ in 0..NODE_CLICKS_MAX {
            self.clicks += 1;
            let touch_ms = START_MS + self.clicks as u64;
            let id = click_id(touch_ms, self.clicks);
            let click = Click {
                id,
                program: 1,
                partner: 1,
                touch_ms,
                accept_ms: touch_ms,
                ..Click::default()
            };
            let under = Some(&own);
            self.brand.add_click(&click, Trust::Server, under, touch_ms, &Limits::default());
        }
    }
}

pub fn visitor(number: usize) -> Identifier {
    key(IdentifierType::Visitor, number as u64)
}

/// Everybody linked to everybody, as many as may be without being hubs, under both trusts.
pub fn clique() -> (Builder, Identifier) {
    let mut made = Builder::default();
    for one in 0..=NEIGHBOURS_MAX {
        for two in 0..one {
            made.both(visitor(one), visitor(two));
        }
    }
    (0..=NEIGHBOURS_MAX).for_each(|number| made.clicks(visitor(number)));
    (made, visitor(0))
}

/// Members in a tree eight wide; what is left of their 48 neighbours is made by `others`.
fn tree(mut others: impl FnMut(&mut Builder, usize, usize)) -> (Builder, Identifier) {
    let mut made = Builder::default();
    for number in 1..MEMBERS_DEFAULT {
        made.both(visitor(number), visitor((number - 1) / 8));
    }
    for number in 0..MEMBERS_DEFAULT {
        let children = (number * 8 + 1..=number * 8 + 8).filter(|at| *at < MEMBERS_DEFAULT).count();
        others(&mut made, number, NEIGHBOURS_MAX - children - usize::from(number > 0));
    }
    (0..MEMBERS_DEFAULT).for_each(|number| made.clicks(visitor(number)));
    (made, visitor(0))
}

/// 64 members, all their further neighbours hubs, under both trusts: each is tested at each end.
pub fn hubs_around() -> (Builder, Identifier) {
    tree(|made, number, room| {
        for at in 0..room {
            let hub = visitor(1_000 + number * NEIGHBOURS_MAX + at);
            made.both(visitor(number), hub);
            for stranger in 0..=NEIGHBOURS_MAX {
                let name = 1_000_000 + (number * NEIGHBOURS_MAX + at) * 100 + stranger;
                made.both(hub, visitor(name));
            }
        }
    })
}

/// 64 members, all of them linked among each other as far as that goes, half of them customers'.
pub fn customers_meet() -> (Builder, Identifier) {
    let mut made = Builder::default();
    let name = |number: usize| {
        let kind = if number % 8 == 7 { IdentifierType::Customer } else { IdentifierType::Visitor };
        key(kind, number as u64)
    };
    for number in 0..MEMBERS_DEFAULT {
        for step in 1..=NEIGHBOURS_MAX / 2 {
            let other = (number + step) % MEMBERS_DEFAULT;
            let are_customers = number % 8 == 7 && other % 8 == 7;
            if !are_customers {
                made.both(name(number), name(other));
            }
        }
    }
    (0..MEMBERS_DEFAULT).for_each(|number| made.clicks(name(number)));
    (made, name(0))
}
