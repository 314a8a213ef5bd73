"""Caps are exact: never passed, and never short of what would still have fitted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headwater import clock
from headwater.book.caps import Amounts, CapKey, cap_keys, reached, room, taken
from headwater.book.terms import Cap
from terms_tools import SALE, terms_of

PROGRAM, OTHER_TYPE = 7, 4
ZONE = "America/New_York"
START_MS = clock.parse_iso_ms("2026-01-30T00:00:00Z")
HOUR_MS = 3_600_000

METRIC = st.sampled_from(["conversions", "payout", "revenue"])
CAPS = st.lists(
    st.builds(
        Cap,
        METRIC,
        st.sampled_from(["day", "month", "lifetime"]),
        st.sampled_from(["program", "partner"]),
        st.sampled_from([None, SALE]),
        st.integers(0, 40),
    ),
    max_size=4,
)
EVENTS = st.lists(
    st.tuples(
        st.integers(1, 3),  # partner
        st.sampled_from([SALE, OTHER_TYPE]),
        st.integers(0, 60),  # hours
        st.integers(0, 12),  # payout
        st.integers(0, 30),  # revenue
    ),
    max_size=60,
)


def keys_of(caps: list[Cap], partner: int, event_type: int, at_ms: int) -> list[CapKey]:
    return cap_keys(caps, PROGRAM, partner, event_type, at_ms, ZONE, "EUR")


def counted(cap: Cap, paid: list[tuple[int, int, str, Amounts]], like: tuple[int, str]) -> int:
    """The plainest count: everything paid that the cap looks at, added up."""
    partner, day = like
    total = 0
    for other, event_type, other_day, amounts in paid:
        if cap.event_type not in (None, event_type):
            continue
        if cap.scope == "partner" and other != partner:
            continue
        if cap.period == "day" and other_day != day:
            continue
        if cap.period == "month" and other_day[:7] != day[:7]:
            continue
        total += {
            "conversions": amounts.conversions,
            "payout": amounts.payout_micros // 1_000_000,
            "revenue": amounts.revenue_minor,
        }[cap.metric]
    return total


@given(CAPS, EVENTS)
def test_a_cap_is_never_passed_and_refuses_only_what_would_pass_it(
    caps: list[Cap], events: list[tuple[int, int, int, int, int]]
) -> None:
    used: Counter[Any] = Counter()
    paid: list[tuple[int, int, str, Amounts]] = []
    for partner, event_type, hours, pay, revenue in events:
        at_ms = START_MS + hours * HOUR_MS
        amounts = Amounts(1, pay * 1_000_000, revenue)
        # New York is five hours behind all of that time.
        day = clock.iso_ms(at_ms - 5 * HOUR_MS)[:10]
        with_it = [*paid, (partner, event_type, day, amounts)]
        alone = [(partner, event_type, day, amounts)]
        passes = any(
            cap.event_type in (None, event_type)
            and counted(cap, alone, (partner, day))
            and counted(cap, with_it, (partner, day)) > cap.limit
            for cap in caps
        )
        keys = keys_of(caps, partner, event_type, at_ms)
        assert (reached(keys, used, amounts) is not None) == passes
        if not passes:
            used.update(taken(keys, amounts))
            paid = with_it
    for partner, _, day, _ in paid:
        for cap in caps:
            assert counted(cap, paid, (partner, day)) <= cap.limit


def test_days_are_those_of_the_program() -> None:
    cap = [Cap("conversions", "day", "program", None, 1)]
    late, early = "2026-01-31T04:59:59.999Z", "2026-01-31T05:00:00.000Z"
    first = keys_of(cap, 1, SALE, clock.parse_iso_ms(late))
    second = keys_of(cap, 1, SALE, clock.parse_iso_ms(early))
    assert first[0].key[-1] == "2026-01-30"
    assert second[0].key[-1] == "2026-01-31"


def test_what_fits_partially_is_over_the_cap_whole_and_a_smaller_one_still_fits() -> None:
    keys = keys_of([Cap("payout", "day", "program", None, 10)], 1, SALE, START_MS)
    used = taken(keys, Amounts(1, 7_000_000, 0))
    assert reached(keys, used, Amounts(1, 4_000_000, 0)) == keys[0]
    assert reached(keys, used, Amounts(1, 3_000_000, 0)) is None
    assert room(keys[0], 7_000_000) == 3_000_000
    assert room(keys[0], 11_000_000) == 0


def test_new_terms_go_on_where_the_former_stood() -> None:
    former = terms_of(
        caps=[{"metric": "payout", "period": "month", "scope": "partner", "limit": 5}]
    )
    later = terms_of(
        version=2,
        caps=[{"metric": "payout", "period": "month", "scope": "partner", "limit": 9}],
    )
    one = keys_of(list(former.caps), 1, SALE, START_MS)
    two = keys_of(list(later.caps), 1, SALE, START_MS)
    assert one[0].key == two[0].key
    assert (one[0].limit, two[0].limit) == (5_000_000, 9_000_000)


def test_amounts_of_two_currencies_have_two_counters() -> None:
    cap = [Cap("payout", "day", "program", None, 1), Cap("conversions", "day", "program", None, 1)]
    euros = cap_keys(cap, PROGRAM, 1, SALE, START_MS, ZONE, "EUR")
    dollars = cap_keys(cap, PROGRAM, 1, SALE, START_MS, ZONE, "USD")
    assert euros[0].key != dollars[0].key
    assert euros[1].key == dollars[1].key
