//! Persons, partners and what they do, for the scenarios and the attacks.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use crate::common::*;

pub const ALICE: (u64, u64) = (CUSTOMER, 1);
pub const BOB: (u64, u64) = (CUSTOMER, 2);
pub const MAIL: (u64, u64) = (EMAIL, 30);
pub const LAPTOP: (u64, u64) = (VISITOR, 40);
pub const TABLET: (u64, u64) = (VISITOR, 41);

/// The partner who brought the visitor, and one who would like to have.
pub const HONEST: u64 = 3;
pub const RIVAL: u64 = 8;

/// A world in which things happen one after the other, each to an event of its own.
pub struct Story {
    pub world: World,
    next_event: u64,
}

impl Story {
    pub fn new() -> Self {
        Self { world: World::default(), next_event: 1000 }
    }

    /// A story under a policy of its program for two persons who meet.
    pub fn under(on_conflict: &str) -> Self {
        let mut story = Self::new();
        story.program(1, &[("on_conflict", on_conflict.into())]);
        story
    }

    pub fn days(&mut self, days: u64) -> &mut Self {
        self.world.ms += days * DAY;
        self
    }

    pub fn ms(&mut self, ms: u64) -> &mut Self {
        self.world.ms += ms;
        self
    }

    fn head(&mut self) -> Head {
        self.next_event += 1;
        head(self.next_event, self.world.ms)
    }

    pub fn program(&mut self, revision: u64, value: &[(&str, Value)]) -> Result {
        let record = self.head().control("program", 1, revision, value);
        self.world.push(record)
    }

    pub fn promo_code(&mut self, partner: u64, code: &str) -> Result {
        let value = [
            ("program", 1.into()),
            ("partner", partner.into()),
            ("code", code.into()),
            ("status", "active".into()),
        ];
        let record = self.head().control("promo_code", partner, 1, &value);
        self.world.push(record)
    }

    /// Identifiers seen together by a server; a login, say.
    pub fn seen(&mut self, list: &[(u64, u64)]) -> Result {
        let record = self.head().identify(list);
        self.world.push(record)
    }

    pub fn browser_seen(&mut self, list: &[(u64, u64)]) -> Result {
        let record = self.head().browser().identify(list);
        self.world.push(record)
    }

    /// A click; returns its number.
    pub fn click(&mut self, partner: u64, list: &[(u64, u64)]) -> u64 {
        let record = self.head().click(partner, list);
        self.world.push(record);
        self.next_event
    }

    pub fn browser_click(&mut self, partner: u64, list: &[(u64, u64)]) -> u64 {
        let record = self.head().browser().click(partner, list);
        self.world.push(record);
        self.next_event
    }

    pub fn sale(&mut self, sale: &Sale) -> Result {
        let record = self.head().sale(sale);
        self.world.push(record)
    }

    pub fn browser_sale(&mut self, sale: &Sale) -> Result {
        let record = self.head().browser().sale(sale);
        self.world.push(record)
    }

    /// A report by a browser that says when it happened.
    pub fn browser_sale_of(&mut self, claim_ms: u64, sale: &Sale) -> Result {
        let record = self.head().browser().claim(claim_ms).sale(sale);
        self.world.push(record)
    }

    /// A record that was accepted some time ago, and claims a time of its own.
    pub fn late(&mut self, ago_ms: u64, claim_ms: Option<u64>) -> Head {
        let ms = self.world.ms;
        let at = self.head();
        Head { accept_ms: ms - ago_ms, claim_ms, ..at }
    }

    pub fn erase(&mut self, list: &[(u64, u64)]) -> Result {
        let body = ["identifier".into(), false.into(), false.into(), identifiers(list)];
        let record = self.head().record(7, array(body));
        self.world.push(record)
    }

    /// Who has the credit of a new order by these identifiers, or why nobody has.
    pub fn buys(&mut self, list: &[(u64, u64)]) -> std::result::Result<u64, String> {
        let result = self.order(list);
        credit_of(&result)
    }

    /// A new order by these identifiers.
    pub fn order(&mut self, list: &[(u64, u64)]) -> Result {
        self.next_event += 1;
        let order = self.next_event;
        self.sale(&Sale { list: list.to_vec(), ..sale(order) })
    }
}

/// The partner a decision credits, or its reason to credit none.
pub fn credit_of(result: &Result) -> std::result::Result<u64, String> {
    let (_, reason, partner, _) = result.decision();
    partner.ok_or_else(|| reason.expect("a reason where there is no credit"))
}

pub fn nobody(reason: &str) -> std::result::Result<u64, String> {
    Err(reason.to_owned())
}

/// An identifier as explanations write it.
pub fn end((kind, number): (u64, u64)) -> Value {
    array([Value::from(kind), bin(id(number))])
}

/// The identifiers that an explanation names as hubs.
pub fn hubs(result: &Result) -> Vec<Value> {
    result.explain()["hubs"].as_array().unwrap().clone()
}

/// The links that an explanation names as cut: both ends.
pub fn cut(result: &Result) -> Vec<(Value, Value)> {
    let cut = result.explain()["cut"].clone();
    cut.as_array().unwrap().iter().map(|hop| (hop["from"].clone(), hop["to"].clone())).collect()
}

/// The ends of the credited candidate's path, from the first to the last.
pub fn path(result: &Result) -> Vec<Value> {
    let explain = result.explain();
    let candidates = explain["candidates"].as_array().unwrap();
    let credited = candidates.iter().find(|candidate| candidate["outcome"] == "credited".into());
    let path = credited.expect("a credited candidate")["path"].as_array().unwrap().clone();
    let first = path.first().map(|hop| hop["from"].clone());
    first.into_iter().chain(path.iter().map(|hop| hop["to"].clone())).collect()
}
