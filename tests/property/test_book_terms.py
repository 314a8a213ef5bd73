"""Terms from the log: what is checked reads back as it was said, and nothing stops the reader."""

from __future__ import annotations

import copy
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import limits
from headwater.book.money import same
from headwater.book.payout import ItemFacts, OrderFacts, click_micros, payout
from headwater.book.terms import Pay, Terms, Timeline, may_replace, read_terms
from headwater.book.terms_check import ProgramFacts, check_terms
from headwater.book.tiers import Progress
from headwater.model.reasons import REASONS
from terms_tools import SALE, flat, percent, value_of

CLICK = 4
PROGRAM = ProgramFacts({SALE: "sale", CLICK: "click"}, earliest_from_ms=0)


def full() -> dict[str, Any]:
    """Terms that use everything there is."""
    return value_of(
        {
            "groups": [
                {
                    "when": {"country": ["DE"], "order_total": [[0, 10_000], [20_000, None]]},
                    "not": {"sku": ["GIFT"], "partner": [5]},
                    "pay": percent(9, "item"),
                }
            ],
            "default": percent(5, "item"),
            "tiers": {
                "basis": "revenue",
                "kind": "marginal",
                "steps": [{"from": 100, "pay": percent(6, "item")}],
            },
        },
        until_ms=10**12,
        window_seconds=86_400,
        change_notice_days=3,
        reversal_max_ppm=500_000,
        cpc_mode="instant",
        approve="manual",
        caps=[
            {"metric": "payout", "period": "month", "scope": "partner", "limit": 100},
            {
                "metric": "conversions", "period": "day", "scope": "program", "limit": 5,
                "event_type": SALE,
            },
        ],
    )  # fmt: skip


def with_clicks() -> dict[str, Any]:
    value = full()
    pay = {"kind": "flat", "amount_micros": 250_000}
    value["events"][str(CLICK)] = {"groups": [{"when": {"device": ["mobile"]}, "pay": pay}]}
    return value


TEXT = st.text("aé3E", max_size=4)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        TEXT,
        st.sampled_from(["flat", "percent", "item", "month_end", "revenue", "marginal", "EUR"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["kind", "ppm", "pay", "when", "steps", "from", "3"]), TEXT),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            found += paths(each, (*here, name))
    return found


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """Terms with one to three places that hold anything."""
    value = copy.deepcopy(with_clicks())
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(paths(value)))
        inner = value
        for name in way:
            inner = inner[name]
        inner[last] = draw(JSON)
    return value


FACTS = OrderFacts(50_000, "EUR", (ItemFacts("GIFT", "x", 2, 30_000),), {"country": "DE"})


@given(damaged())
def test_no_record_of_terms_stops_the_book_or_the_check(value: dict[str, Any]) -> None:
    faults = check_terms(value, PROGRAM)
    assert all(fault.code in REASONS for fault in faults)
    terms = read_terms(1, value)
    found = payout(terms, SALE, FACTS, same("EUR"), Progress(1, 2))
    assert sum(line.minor for line in found.lines) == found.total_minor >= 0
    assert click_micros(terms, CLICK, {"device": "mobile"}) >= 0
    if not faults:
        assert read_terms(1, msgpack.unpackb(msgpack.packb(value))) == terms


def test_terms_that_use_everything_hold_and_are_read_as_they_were_said() -> None:
    assert check_terms(with_clicks(), PROGRAM) == []
    terms = read_terms(9, with_clicks())
    assert (terms.number, terms.currency, terms.window_ms) == (9, "EUR", 86_400_000)
    assert (terms.approve, terms.cpc_mode, terms.reversal_max_ppm) == ("manual", "instant", 500_000)
    event = terms.event(SALE)
    assert event.per == "item"
    assert event.default == Pay("percent", 50_000, "item")
    assert event.groups[0].unless[1].texts == {"5"}
    assert event.groups[0].when[1].ranges == ((0, 10_000), (20_000, None))
    assert [cap.event_type for cap in terms.caps] == [None, SALE]
    assert click_micros(terms, CLICK, {"device": "Mobile"}) == 250_000


def change(where: str, value: object) -> dict[str, Any]:
    """Full terms with one place changed; `...` takes it away."""
    terms = with_clicks()
    *way, last = where.split(".")
    inner: Any = terms
    for name in way:
        inner = inner[int(name) if isinstance(inner, list) else name]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return terms


MONTH_CAP = {"metric": "payout", "period": "month", "scope": "partner", "limit": 1}


@pytest.mark.parametrize(
    ("where", "value", "field", "code"),
    [
        ("currency", ..., "currency", "required"),
        ("currency", "EURO", "currency", "currency_unknown"),
        ("currency", ["EUR"], "currency", "currency_unknown"),
        ("program", 0, "program", "invalid"),
        ("version", True, "version", "invalid"),
        ("until_ms", 0, "until_ms", "invalid"),
        ("payouts", {}, "terms", "invalid"),
        ("window_seconds", 3599, "window_seconds", "invalid"),
        ("locking", {"kind": "sometime"}, "locking.kind", "invalid"),
        ("locking", {"kind": "tracked"}, "locking.days", "required"),
        ("locking", {"kind": "never", "days": 1}, "locking", "invalid"),
        ("locking", {"kind": "tracked", "days": 731}, "locking.days", "invalid"),
        ("locking.months", 25, "locking.months", "invalid"),
        ("payment.days", -1, "payment.days", "invalid"),
        ("change_notice_days", 91, "change_notice_days", "invalid"),
        ("reversal_max_ppm", 1_000_001, "reversal_max_ppm", "invalid"),
        ("cpc_mode", "v1", "cpc_mode", "invalid"),
        ("events.5", {}, "events", "unknown_event_type"),
        ("events.3.default", 5, "events.3.default", "invalid"),
        (
            "events.3.default",
            {"kind": "percent", "per": "item"},
            "events.3.default.ppm",
            "required",
        ),
        ("events.3.default", percent(101, "item"), "events.3.default.ppm", "invalid"),
        ("events.3.default", percent(5, "order"), "events.3", "invalid"),
        ("events.3.groups.0.pay", ..., "events.3.groups.0.pay", "required"),
        ("events.3.groups.0.when.city", ["x"], "events.3.groups.0.when", "invalid"),
        ("events.3.groups.0.when.country", [], "events.3.groups.0.when.country", "invalid"),
        ("events.3.groups.0.when.country", [""], "events.3.groups.0.when.country", "invalid"),
        ("events.3.groups.0.when.country", ["\ud800"], "events.3.groups.0.when.country", "invalid"),
        (
            "events.3.groups.0.when.order_total",
            [[5, 5]],
            "events.3.groups.0.when.order_total",
            "invalid",
        ),
        ("events.3.groups.0", {"pay": percent(1, "item")}, "events.3.groups.0", "invalid"),
        ("events.3.tiers.steps", [], "events.3.tiers.steps", "invalid"),
        ("events.3.tiers.steps.0.pay", flat(1, "item"), "events.3.tiers.steps", "invalid"),
        ("events.4.default", percent(5), "events.4", "invalid"),
        ("events.4.tiers", {}, "events.4.tiers", "invalid"),
        ("events.4.groups.0.when.sku", ["a"], "events.4.groups.0.when", "invalid"),
        ("caps.0.limit", 10**12 + 1, "caps.0.limit", "invalid"),
        ("caps.0.period", "week", "caps.0.period", "invalid"),
        ("caps.1.event_type", 6, "caps.1.event_type", "unknown_event_type"),
        ("caps.1", MONTH_CAP, "caps.1", "invalid"),
    ],
)
def test_one_place_at_fault(where: str, value: object, field: str, code: str) -> None:
    faults = check_terms(change(where, value), PROGRAM)
    assert [(fault.field, fault.code) for fault in faults] == [(field, code)]


def test_every_fault_is_told_at_once() -> None:
    value = {**with_clicks(), "currency": "x", "approve": 1, "caps": 5, "locking": None}
    faults = check_terms(value, PROGRAM)
    assert [fault.field for fault in faults] == ["currency", "locking", "approve", "caps"]


def test_steps_rise() -> None:
    steps = [{"from": start, "pay": percent(6, "item")} for start in (100, 100)]
    faults = check_terms(change("events.3.tiers.steps", steps), PROGRAM)
    assert [fault.field for fault in faults] == ["events.3.tiers.steps.1.from"]


def test_terms_begin_after_the_notice_that_was_promised() -> None:
    program = PROGRAM._replace(earliest_from_ms=1000)
    assert check_terms(value_of(from_ms=1000), program) == []
    assert [fault.field for fault in check_terms(value_of(from_ms=999), program)] == ["from_ms"]


def groups(count: int) -> list[dict[str, Any]]:
    return [{"when": {"sub1": [f"s{number}"]}, "pay": flat(1)} for number in range(count)]


def steps_of(count: int) -> dict[str, Any]:
    steps = [{"from": number + 1, "pay": flat(1)} for number in range(count)]
    return {"basis": "actions", "kind": "marginal", "steps": steps}


def caps_of(count: int) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        metric = ("conversions", "payout", "revenue")[number % 3]
        period = ("day", "month", "lifetime")[number // 3 % 3]
        scope = ("program", "partner")[number // 9 % 2]
        event_type = (None, SALE)[number // 18 % 2]
        cap = {"metric": metric, "period": period, "scope": scope, "limit": 1}
        made.append({**cap, "event_type": event_type})
    return made


def test_lists_at_their_bound_and_one_past() -> None:
    def codes(event: dict[str, Any] | None = None, **members: Any) -> list[str]:
        return [fault.code for fault in check_terms(value_of(event, **members), PROGRAM)]

    assert codes({"groups": groups(limits.PAYOUT_GROUPS_MAX)}) == []
    assert codes({"groups": groups(limits.PAYOUT_GROUPS_MAX + 1)}) == ["too_many_values"]
    values = [str(number) for number in range(limits.GROUP_VALUES_MAX + 1)]
    one = {"when": {"sub1": values[:-1]}, "pay": flat(1)}
    assert codes({"groups": [one]}) == []
    assert codes({"groups": [{**one, "when": {"sub1": values}}]}) == ["too_many_values"]
    assert codes({"tiers": steps_of(limits.TIER_STEPS_MAX)}) == []
    assert codes({"tiers": steps_of(limits.TIER_STEPS_MAX + 1)}) == ["too_many_values"]
    assert codes(caps=caps_of(limits.CAPS_MAX)) == []
    assert codes(caps=caps_of(limits.CAPS_MAX + 1)) == ["too_many_values"]
    assert codes(change_notice_days=limits.CHANGE_NOTICE_DAYS_MAX) == []
    assert codes(locking={"kind": "tracked", "days": limits.LOCK_DAYS_MAX}) == []
    months = {"kind": "month_end", "months": limits.LOCK_MONTHS_MAX, "days": 0}
    assert codes(locking=months) == []


def sized(value: dict[str, Any], size: int) -> dict[str, Any]:
    """The value, its condition's texts lengthened until it has that many bytes."""
    texts = value["events"][str(SALE)]["groups"][0]["when"]["sub1"]
    missing = size - len(msgpack.packb(value))
    for place, text in enumerate(texts):
        more = min(missing, limits.PARAMETER_BYTES_MAX - len(text))
        texts[place] = text + "x" * more
        missing -= more
    return value


def test_terms_fit_a_record_of_the_log() -> None:
    def value() -> dict[str, Any]:
        group = [{"when": {"sub1": ["x" * 40] * 100, "sub2": ["y" * 255] * 40}, "pay": flat(1)}]
        return value_of({"groups": group})

    at_the_bound = sized(value(), limits.TERMS_BYTES_MAX)
    assert len(msgpack.packb(at_the_bound)) == limits.TERMS_BYTES_MAX
    assert check_terms(at_the_bound, PROGRAM) == []
    one_past = sized(value(), limits.TERMS_BYTES_MAX + 1)
    assert [fault.code for fault in check_terms(one_past, PROGRAM)] == ["value_too_long"]


def entries(value: object) -> int:
    """As the engine counts: names and values of maps, elements of lists, over all levels."""
    if isinstance(value, dict):
        return 2 * len(value) + sum(map(entries, value.values()))
    return len(value) + sum(map(entries, value)) if isinstance(value, list) else 0


def test_terms_have_as_many_entries_as_the_engine_takes() -> None:
    pay = {"kind": "flat", "amount_micros": 1}
    many = [{"when": {"sub1": ["a"] * 28}, "pay": pay} for _ in range(limits.PAYOUT_GROUPS_MAX)]
    value = value_of({"groups": many})
    for group in many:
        room = limits.TERMS_ENTRIES_MAX - entries(value)
        texts = group["when"]["sub1"]
        texts += ["a"] * min(room, limits.GROUP_VALUES_MAX - len(texts))
    assert entries(value) == limits.TERMS_ENTRIES_MAX
    assert check_terms(value, PROGRAM) == []
    many[-1]["when"]["sub1"].append("a")
    assert [fault.code for fault in check_terms(value, PROGRAM)] == ["value_too_long"]


# ---- Which terms are in force -----------------------------------------------------------------


def version(number: int, **members: Any) -> Terms:
    return read_terms(number, value_of(version=number, **members))


TERMS = st.builds(
    lambda number, partner, from_ms, length: version(
        number, partner=partner, from_ms=from_ms, until_ms=length and from_ms + length
    ),
    st.integers(1, 50),
    st.sampled_from([0, 1]),
    st.integers(0, 20),
    st.sampled_from([None, 1, 5]),
)


@given(st.lists(TERMS, max_size=8, unique_by=lambda terms: terms.number), st.integers(0, 30))
def test_the_partners_own_go_before_the_template_and_the_last_begun_before_all(
    terms: list[Terms], at_ms: int
) -> None:
    expected = None
    for owner in (0, 1):
        begun = [each for each in terms if each.partner == owner and each.from_ms <= at_ms]
        newest = max(begun, key=lambda each: (each.from_ms, each.version), default=None)
        if newest is not None and (newest.until_ms is None or at_ms < newest.until_ms):
            expected = newest
    assert Timeline(terms).in_force(7, 1, at_ms) == expected
    assert Timeline(reversed(terms)).in_force(7, 1, at_ms) == expected
    assert Timeline(terms).in_force(8, 1, at_ms) is None


def test_terms_begin_at_their_first_millisecond_and_end_before_their_last() -> None:
    timeline = Timeline([version(1, from_ms=10, until_ms=20)])
    held = [timeline.in_force(7, 1, at_ms) is not None for at_ms in (9, 10, 19, 20)]
    assert held == [False, True, True, False]


def test_terms_in_force_are_immutable_but_for_their_end() -> None:
    terms = version(1, from_ms=100)
    dearer = version(1, from_ms=100, reversal_max_ppm=1)
    ended = version(1, from_ms=100, until_ms=500)
    assert may_replace(None, terms, 1000)
    assert may_replace(terms, dearer, 99)
    assert may_replace(terms, None, 99)
    assert not may_replace(terms, dearer, 100)
    assert not may_replace(terms, None, 100)
    assert may_replace(terms, ended, 100)
    assert may_replace(ended, terms, 499)
    assert not may_replace(ended, terms, 500)
