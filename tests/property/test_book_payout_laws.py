"""Laws of payouts: everything sums exactly, is rounded once, and the first group that fits pays."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headwater.book.money import MICROS, Rate, rate_parts, same
from headwater.book.payout import ItemFacts, OrderFacts, payout
from headwater.book.tiers import Progress, measure
from terms_tools import SALE, flat, percent, terms_of

EURO = same("EUR")
DOLLAR = Rate("USD", "EUR", *rate_parts("0.8731"), "ECB", "2026-11-20")
YEN = Rate("JPY", "EUR", *rate_parts("0.00612"), "ECB", "2026-11-20")

AMOUNT = st.integers(0, 10**9)
PER = st.sampled_from(["order", "item"])
PAY = st.one_of(
    st.builds(lambda micros: {"kind": "flat", "amount_micros": micros}, st.integers(0, 10**9)),
    st.builds(lambda ppm: {"kind": "percent", "ppm": ppm}, st.integers(0, MICROS)),
)
SKUS = ["A", "b", "C"]
COUNTRIES = ["DE", "us"]
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "sku": st.lists(st.sampled_from(SKUS), min_size=1),
        "country": st.lists(st.sampled_from([each.swapcase() for each in COUNTRIES]), min_size=1),
        "order_total": st.lists(st.tuples(st.integers(0, 500), st.integers(501, 2000)), min_size=1),
    },
)
GROUP = st.fixed_dictionaries({"when": WANTED, "not": WANTED, "pay": PAY})
ITEM = st.builds(
    ItemFacts,
    st.sampled_from([*SKUS, None]),
    st.none(),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(0, 900)),
)
FACTS = st.builds(
    lambda amount, items, country: OrderFacts(amount, "EUR", tuple(items), {"country": country}),
    st.integers(0, 2500),
    st.lists(ITEM, max_size=4),
    st.sampled_from([*COUNTRIES, None]),
)
SHARES = st.lists(st.integers(1, MICROS - 1), max_size=5, unique=True).map(
    lambda cuts: [
        high - low for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), MICROS], strict=True)
    ]
)


def event_of(
    groups: list[dict[str, Any]], default: dict[str, Any] | None, per: str
) -> dict[str, Any]:
    paying = [{**group, "pay": {**group["pay"], "per": per}} for group in groups]
    return {"groups": paying, "default": default and {**default, "per": per}}


# ---- The plainest way to say the same ----------------------------------------------------------


def fits(group: dict[str, Any], facts: OrderFacts, items: list[ItemFacts]) -> bool:
    def holds(name: str, values: list[Any]) -> bool:
        if name == "order_total":
            return any(low <= facts.amount_minor < high for low, high in values)
        found = [facts.fields["country"]] if name == "country" else [item.sku for item in items]
        return any(
            one is not None and one.lower() == value.lower() for one in found for value in values
        )

    wanted = all(holds(name, values) for name, values in group["when"].items())
    return wanted and not any(holds(name, values) for name, values in group["not"].items())


def naive(event: dict[str, Any], facts: OrderFacts, per: str) -> tuple[list[str], Fraction]:
    """What pays each line, and the exact sum in minor units."""
    lines: list[tuple[list[ItemFacts], Fraction, int]]
    prices = [item.subtotal_minor or 0 for item in facts.items]
    if per == "order" or not facts.items:
        lines = [(list(facts.items), Fraction(facts.amount_minor), 1)]
    else:
        lines = [
            ([item], Fraction(price), item.quantity)
            for item, price in zip(facts.items, prices, strict=True)
        ]
    rules, total = [], Fraction(0)
    for items, base, pieces in lines:
        rule, pay = ("default" if event["default"] else "none"), event["default"]
        for number, group in enumerate(event["groups"]):
            if fits(group, facts, items):
                rule, pay = f"groups.{number}", group["pay"]
                break
        rules.append(rule)
        if pay and pay["kind"] == "percent":
            total += base * Fraction(pay["ppm"], MICROS)
        elif pay:
            total += Fraction(pay["amount_micros"], MICROS) * (pieces if per == "item" else 1)
    return rules, total


@given(st.lists(GROUP, max_size=4), st.one_of(st.none(), PAY), PER, FACTS)
def test_the_first_group_that_fits_pays_and_the_sum_is_rounded_once(
    groups: list[dict[str, Any]], default: dict[str, Any] | None, per: str, facts: OrderFacts
) -> None:
    if sum(item.subtotal_minor or 0 for item in facts.items) > facts.amount_minor:
        total = sum(item.subtotal_minor or 0 for item in facts.items)
        facts = OrderFacts(total, "EUR", facts.items, facts.fields)
    event = event_of(groups, default, per)
    # Without a default or a group nothing says what the lines are.
    level = per if groups or default else "order"
    rules, exact = naive(event, facts, level)
    found = payout(terms_of(event), SALE, facts, EURO)
    assert [line.rule for line in found.lines] == rules
    assert found.total_micros == exact * MICROS
    assert found.total_minor == round(exact)
    assert found.refused is None


@given(st.lists(GROUP, max_size=3), PAY, PER, FACTS, SHARES)
def test_credits_and_items_sum_exactly(
    groups: list[dict[str, Any]],
    default: dict[str, Any],
    per: str,
    facts: OrderFacts,
    shares: list[int],
) -> None:
    terms = terms_of(event_of(groups, default, per))
    alone = payout(terms, SALE, facts, EURO)
    shared = [
        payout(terms, SALE, facts, EURO, shares=shares, place=place) for place in range(len(shares))
    ]
    assert sum(each.total_minor for each in shared) == alone.total_minor
    assert sum(each.total_micros for each in shared) == alone.total_micros
    for each, share in zip(shared, shares, strict=True):
        assert sum(line.minor for line in each.lines) == each.total_minor
        assert sum(line.micros for line in each.lines) == each.total_micros
        assert abs(each.total_minor - Fraction(alone.total_minor * share, MICROS)) < 1


@given(AMOUNT, st.integers(0, MICROS), st.sampled_from([EURO, DOLLAR, YEN]))
def test_conversion_and_commission_are_one_rounding(amount: int, ppm: int, rate: Rate) -> None:
    terms = terms_of({"default": {"kind": "percent", "ppm": ppm}})
    facts = OrderFacts(amount, rate.currency_from)
    found = payout(terms, SALE, facts, rate)
    exact = rate.exact(amount) * ppm / MICROS
    assert found.total_minor == round(exact)
    assert found.total_micros == round(exact * MICROS)
    assert found.order_minor == rate.convert(amount)


@given(
    st.lists(st.integers(0, 400), max_size=12),
    st.lists(st.tuples(st.integers(1, 1500), st.integers(0, MICROS)), max_size=4),
    st.integers(0, MICROS),
)
def test_marginal_tiers_pay_each_unit_of_revenue_by_its_place_in_the_month(
    orders: list[int], steps: list[tuple[int, int]], default_ppm: int
) -> None:
    """However revenue is cut into orders: the oracle pays one minor unit after the other."""
    by_start = dict(sorted(steps))
    terms = terms_of(tiered("revenue", "marginal", by_start, default_ppm))
    before = micros = 0
    for amount in orders:
        progress = Progress(before, before + amount)
        micros += payout(terms, SALE, OrderFacts(amount, "EUR"), EURO, progress).total_micros
        before += amount
    expected = 0
    for unit in range(sum(orders)):
        starts = [start for start in by_start if start <= unit]
        expected += by_start[max(starts)] if starts else default_ppm
    assert micros == expected


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=12),
    st.sampled_from(["actions", "revenue"]),
    st.dictionaries(st.integers(1, 1500), st.integers(0, MICROS), min_size=1, max_size=4),
)
def test_retroactive_tiers_pay_every_order_of_the_month_by_its_total(
    orders: list[int], basis: Any, steps: dict[int, int]
) -> None:
    terms = terms_of(tiered(basis, "retroactive", steps, 10_000))
    total = sum(measure(basis, amount) for amount in orders)
    reached = [start for start in steps if start <= total]
    ppm = steps[max(reached)] if reached else 10_000
    before = 0
    for amount in orders:
        progress = Progress(before, total)
        found = payout(terms, SALE, OrderFacts(amount, "EUR"), EURO, progress)
        assert found.total_micros == amount * ppm
        before += measure(basis, amount)


def tiered(basis: str, kind: str, steps: dict[int, int], default_ppm: int) -> dict[str, Any]:
    return {
        "default": {"kind": "percent", "ppm": default_ppm},
        "tiers": {
            "basis": basis,
            "kind": kind,
            "steps": [
                {"from": start, "pay": {"kind": "percent", "ppm": ppm}}
                for start, ppm in sorted(steps.items())
            ],
        },
    }


@given(
    st.integers(1, 1000),
    st.lists(st.integers(0, 1000), min_size=1, max_size=5),
    st.integers(0, 100),
)
def test_a_refund_is_at_the_orders_own_rate_and_leaves_what_the_rest_would_have_earned(
    amount: int, refunds: list[int], percents: int
) -> None:
    terms = terms_of({"default": percent(percents)})
    booked = payout(terms, SALE, OrderFacts(amount, "USD"), DOLLAR).total_minor
    left = amount
    for refund in refunds:
        left = max(0, left - refund)
        after = payout(terms, SALE, OrderFacts(left, "USD"), DOLLAR).total_minor
        booked += after - booked
    assert booked == round(DOLLAR.exact(left) * percents / 100)


def test_flat_pay_of_a_euro_is_a_hundred_cents() -> None:
    found = payout(terms_of({"default": flat(100)}), SALE, OrderFacts(0, "EUR"), EURO)
    assert (found.total_minor, found.rule) == (100, "default")
