//! The engine against an oracle of linear scans that keeps every event it was given.

use std::collections::BTreeSet;

use headwater_engine::limits::CLICK_GRACE_MS;
use proptest::prelude::*;

use crate::common::*;

type Key = (u64, u64);

/// One step of a history; times are in hours and offsets, so that windows are met exactly.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Click { event: u64, program: u64, partner: u64, list: Vec<Key>, browser: bool },
    Identify { event: u64, list: Vec<Key>, browser: bool },
    Sale { event: u64, named: Option<u64>, list: Vec<Key>, claim_back_ms: u64, denied: bool },
    Enrolment { event: u64, partner: u64, active: bool },
}

const WINDOW_MS: u64 = 3 * DAY;

fn step(event: u64) -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![CUSTOMER, EMAIL, DEVICE, VISITOR]);
    let list = prop::collection::vec((kind, 0_u64..4), 0..4);
    let wait = prop::sample::select(vec![0, 1, DAY - 1, DAY, DAY + 1, WINDOW_MS]);
    let numbers = (0_u8..14, 0_u64..4, 0_u64..40, any::<bool>());
    (list, wait, numbers).prop_map(move |(list, wait, (what, one, event_named, flag))| match what {
        0..=2 => Step::Wait(wait),
        3..=6 => {
            let program = 1 + u64::from(one == 3);
            Step::Click { event, program, partner: one, list, browser: flag }
        }
        7..=9 => Step::Identify { event, list, browser: flag },
        10 => Step::Enrolment { event, partner: one, active: flag },
        _ => Step::Sale {
            event,
            named: (one < 2).then_some(event_named),
            list,
            claim_back_ms: if flag { wait } else { 0 },
            denied: one == 3,
        },
    })
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(Just(()), 1..40)
        .prop_flat_map(|steps| (0..steps.len() as u64).map(step).collect::<Vec<_>>())
}

struct OracleClick {
    event: u64,
    program: u64,
    partner: u64,
    touch_ms: u64,
    under: Vec<Key>,
}

/// A link seen at a time; both ends.
struct Tie {
    ends: [Key; 2],
    at_ms: u64,
    browser: bool,
}

#[derive(Default)]
struct Oracle {
    clicks: Vec<OracleClick>,
    ties: Vec<Tie>,
    seen: BTreeSet<Key>,
    paused: BTreeSet<u64>,
}

fn linkable(list: &[Key], browser: bool) -> Vec<Key> {
    let all: BTreeSet<Key> = list.iter().copied().collect();
    if all.iter().filter(|key| key.0 == CUSTOMER).count() > 1 {
        return Vec::new();
    }
    let person = all.iter().copied().find(|key| key.0 <= 4);
    let keeps = |key: &Key| !browser || Some(*key) == person || key.0 >= CLICK;
    all.into_iter().filter(keeps).collect()
}

impl Oracle {
    fn see(&mut self, list: &[Key], browser: bool, at_ms: u64) -> Vec<Key> {
        let keys = linkable(list, browser);
        self.seen.extend(&keys);
        for (position, other) in keys.iter().enumerate() {
            let anchors = |(place, key): &(usize, &Key)| {
                *place == 0 || (key.0 == EMAIL && keys[0].0 == EMAIL)
            };
            let before = keys[..position].iter().enumerate().filter(anchors);
            self.ties.extend(before.map(|(_, key)| Tie { ends: [*key, *other], at_ms, browser }));
        }
        keys
    }

    fn neighbors(&self, key: Key) -> BTreeSet<Key> {
        let touching = self.ties.iter().filter(|tie| tie.ends.contains(&key));
        touching.map(|tie| if tie.ends[0] == key { tie.ends[1] } else { tie.ends[0] }).collect()
    }

    fn eligible(&self, click: &OracleClick, at_ms: u64, skew_ms: u64) -> bool {
        click.program == 1
            && click.touch_ms + WINDOW_MS > at_ms
            && click.touch_ms <= at_ms + skew_ms
            && !self.paused.contains(&click.partner)
    }

    /// The partner credited, and why nobody is.
    fn decide(
        &self,
        named: Option<u64>,
        list: &[Key],
        at_ms: u64,
        now_ms: u64,
    ) -> (Option<u64>, &'static str) {
        let direct = named.and_then(|event| self.clicks.iter().find(|c| c.event == event));
        if let Some(click) = direct.filter(|click| self.eligible(click, at_ms, 300_000)) {
            return (Some(click.partner), "");
        }
        let mut members: BTreeSet<Key> = list.iter().copied().collect();
        for key in list {
            members.extend(self.neighbors(*key));
        }
        if let (Some(click), true) = (direct, list.iter().any(|key| key.0 == CLICK)) {
            members.insert((CLICK, click.event));
        }
        let reached: Vec<&OracleClick> = self
            .clicks
            .iter()
            .filter(|click| {
                click.under.iter().any(|key| members.contains(key))
                    || members.contains(&(CLICK, click.event))
            })
            .collect();
        let eligible = reached.iter().filter(|click| self.eligible(click, at_ms, 0));
        let last = eligible.max_by_key(|click| (click.touch_ms, click.event));
        if let Some(click) = last {
            return (Some(click.partner), "");
        }
        (None, self.reason(named, direct, &reached, list, at_ms, now_ms))
    }

    fn reason(
        &self,
        named: Option<u64>,
        direct: Option<&OracleClick>,
        reached: &[&OracleClick],
        list: &[Key],
        at_ms: u64,
        now_ms: u64,
    ) -> &'static str {
        let gone = |click: &OracleClick| click.touch_ms + window(click) + CLICK_GRACE_MS <= now_ms;
        let ours = |click: &&OracleClick| click.program == 1 || gone(click);
        let considered: Vec<&OracleClick> =
            reached.iter().copied().chain(direct).filter(ours).collect();
        let old = |click: &&OracleClick| gone(click) || click.touch_ms + WINDOW_MS <= at_ms;
        let skew = |click: &OracleClick| {
            let is_named = direct.is_some_and(|direct| direct.event == click.event);
            if is_named {
                300_000
            } else {
                0
            }
        };
        let paused = |click: &&OracleClick| {
            !old(click)
                && click.touch_ms <= at_ms + skew(click)
                && self.paused.contains(&click.partner)
        };
        let unknown =
            named.is_some() && direct.is_none_or(|click| click.program != 1 && !gone(click));
        if considered.iter().any(paused) {
            "partner_inactive"
        } else if considered.iter().any(old) {
            "outside_window"
        } else if unknown {
            "click_unknown"
        } else if direct.is_some() || list.iter().any(|key| self.seen.contains(key)) {
            "no_touch"
        } else {
            "no_identifier_known"
        }
    }
}

/// Program 2 has no terms, so its clicks live by the default window.
fn window(click: &OracleClick) -> u64 {
    if click.program == 1 {
        WINDOW_MS
    } else {
        30 * DAY
    }
}

fn trusted(at: Head, browser: bool) -> Head {
    if browser {
        at.browser()
    } else {
        at
    }
}

fn run(history: &[Step]) -> std::result::Result<(), TestCaseError> {
    let (mut world, mut oracle) = (World::default(), Oracle::default());
    world.push(head(900, T0).program(WINDOW_MS, 1));
    let mut revision = 1;
    for step in history {
        let now = world.ms;
        match step.clone() {
            Step::Wait(ms) => {
                world.at(now + ms);
            }
            Step::Click { event, program, partner, list, browser } => {
                let at = trusted(head(event, now), browser);
                world.push(at.click_in(program, partner, 0, &list));
                let under = oracle.see(&list, browser, now);
                oracle.clicks.push(OracleClick { event, program, partner, touch_ms: now, under });
            }
            Step::Identify { event, list, browser } => {
                world.push(trusted(head(event, now), browser).identify(&list));
                oracle.see(&list, browser, now);
            }
            Step::Enrolment { event, partner, active } => {
                revision += 1;
                let status = if active { "active" } else { "paused" };
                world.push(head(800 + event, now).enrolment(partner, status, revision));
                if active {
                    oracle.paused.remove(&partner);
                } else {
                    oracle.paused.insert(partner);
                }
            }
            Step::Sale { event, named, list, claim_back_ms, denied } => {
                let at_ms = now - claim_back_ms;
                let flags = if denied { CONSENT_DENIED } else { 0 };
                let report = Sale { click: named, list: list.clone(), flags, ..sale(event) };
                let result = world.push(head(event, now).claim(at_ms).sale(&report));
                let may_use: &[Key] = if denied { &[] } else { &list };
                let (partner, reason) = oracle.decide(named, may_use, at_ms, now);
                let reason = if denied { "consent_denied" } else { reason };
                let (_, got_reason, got_partner, _) = result.decision();
                prop_assert_eq!(got_partner, partner);
                if partner.is_none() {
                    prop_assert_eq!(got_reason.as_deref(), Some(reason));
                }
                if !denied {
                    let mut seen = list;
                    seen.extend(named.map(|event| (CLICK, event)));
                    oracle.see(&seen, false, at_ms);
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn decisions_agree_with_a_search_of_all_events(history in history()) {
        run(&history)?;
    }
}

#[test]
fn ties_are_kept_with_what_the_oracle_needs_to_explain_them() {
    let mut oracle = Oracle::default();
    oracle.see(&[(CUSTOMER, 1), (VISITOR, 2), (DEVICE, 3)], true, T0);
    let tie = &oracle.ties[0];
    assert_eq!((tie.ends, tie.at_ms, tie.browser), ([(CUSTOMER, 1), (VISITOR, 2)], T0, true));
}
