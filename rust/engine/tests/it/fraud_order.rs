//! What is decided in the end does not depend on the order in which clicks came, nor on other
//! brands.

use proptest::prelude::*;

use crate::common::T0;
use crate::fraud_world::*;

/// One thing that happens: a click, a page of the checkout, or a page that names a click.
#[derive(Clone, Copy, Debug)]
enum What {
    Click(Touch),
    Checkout(Touch),
    Names(Touch, u64),
}

impl What {
    fn record(&self) -> Vec<u8> {
        match self {
            Self::Click(visit) => visit.record(),
            Self::Checkout(visit) => visit.page("https://shop.example/checkout/pay", None),
            Self::Names(visit, click) => visit.page("https://shop.example/", Some(*click)),
        }
    }
}

/// How a world is crowded.
#[derive(Clone, Copy, Debug)]
struct Shape {
    addresses: u64,
    agents: u64,
    visitors: u64,
    span_ms: u64,
}

fn what(number: u64, shape: Shape) -> impl Strategy<Value = What> {
    let who = (0..shape.addresses, 0..shape.agents, 0..shape.visitors, 0_u8..10);
    let times = (0..shape.span_ms, prop::sample::select(vec![1, 500, 1000, 60_000]));
    let offer = (1_u64..4, 1_u64..3, 1_u64..3);
    let kind = (0_u8..40, any::<bool>());
    (who, times, offer, kind).prop_map(move |(who, times, offer, (kind, is_activated))| {
        let (address, agent, visitor, how) = who;
        let (at, step) = times;
        let (partner, link, program) = offer;
        let is_new = how < 5;
        let flags = match kind {
            0..=3 => PREFETCH,
            4 => HONEYPOT,
            5 => TEST,
            6 => SOFT,
            _ => 0,
        };
        let visitor = if is_new { 10_000 + number } else { visitor };
        let visit = Touch {
            event: 100 + number,
            at_ms: T0 + 20 * HOUR + at / step * step,
            program: 1 + program / 2,
            partner,
            link,
            flags: flags | if is_new { NEW } else { 0 },
            visitor: Some(visitor).filter(|_| how != 5),
            device: Some(visitor).filter(|_| how == 6 || how == 9),
            address: Some(address).filter(|_| how != 7),
            net: address / 2,
            agent,
            is_activated,
            ..Touch::default()
        };
        match kind {
            7 | 8 => What::Checkout(visit),
            9 => What::Names(visit, 100 + number / 2),
            _ => What::Click(visit),
        }
    })
}

fn world() -> impl Strategy<Value = Vec<What>> {
    let shapes = prop::sample::select(vec![
        Shape { addresses: 2, agents: 2, visitors: 4, span_ms: 5 * HOUR },
        Shape { addresses: 2, agents: 12, visitors: 6, span_ms: 30 * MINUTE },
        Shape { addresses: 1, agents: 40, visitors: 40, span_ms: HOUR },
        Shape { addresses: 3, agents: 3, visitors: 2, span_ms: 5 * MINUTE },
    ]);
    (shapes, 1_u64..160).prop_flat_map(|(shape, count)| {
        (0..count).map(|number| what(number, shape)).collect::<Vec<_>>()
    })
}

/// What became of the clicks when they came in an order, all within a spool's age.
fn ends(order: &[What], chunk: usize) -> Clicks {
    let mut clicks = Clicks { ms: T0 + 26 * HOUR, ..Clicks::default() };
    for part in order.chunks(chunk) {
        let records: Vec<Vec<u8>> = part.iter().map(What::record).collect();
        clicks.push(&records);
    }
    clicks.settle();
    clicks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_order_in_which_clicks_come_changes_nothing_in_the_end(
        world in world(),
        seed in any::<u64>(),
        chunk in 1_usize..40,
    ) {
        let mut straight = world.clone();
        straight.sort_by_key(|what| match what {
            What::Click(visit) | What::Checkout(visit) | What::Names(visit, _) => visit.at_ms,
        });
        let mut shuffled = world;
        let mut state = seed;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let other = usize::try_from(state >> 33).unwrap() % (at + 1);
            shuffled.swap(at, other);
        }
        // When a prefetch is gone to decides from when on it can be a visitor's first: that one is
        // known is a matter of arrival, so who is first is promised only without prefetches.
        let is_fetched = |what: &What| {
            matches!(what, What::Click(visit) if visit.flags & PREFETCH != 0)
        };
        let any_fetched = straight.iter().any(is_fetched);
        let one = ends(&straight, 1);
        let other = ends(&shuffled, chunk);
        for (click, end) in &one.ends {
            let there = &other.ends[click];
            let (mut end_is, mut there_is) = (end.decision(), there.decision());
            if any_fetched {
                (end_is.2, there_is.2) = (false, false);
            }
            prop_assert_eq!(end_is, there_is, "{:?}: {:?} {:?}", click, end, there);
        }
    }

    #[test]
    fn one_brands_traffic_changes_nothing_of_another(world in world(), noise in world()) {
        let alone: Vec<Vec<u8>> = world.iter().map(What::record).collect();
        let mut clicks = Clicks { ms: T0 + 26 * HOUR, ..Clicks::default() };
        clicks.push(&alone).settle();
        let mut both = Clicks { ms: T0 + 26 * HOUR, ..Clicks::default() };
        let mut noise = noise.iter();
        for record in &alone {
            if let Some(What::Click(visit)) = noise.next() {
                let event = visit.event + 1_000_000;
                both.push(&[Touch { brand: 2, event, ..*visit }.record()]);
            }
            both.push(std::slice::from_ref(record));
        }
        both.settle();
        for (click, end) in &clicks.ends {
            prop_assert_eq!(end, &both.ends[click]);
        }
    }
}
