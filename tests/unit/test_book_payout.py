"""Payouts by example: groups, items, tiers as the field has them, currencies, bounds."""

from __future__ import annotations

import pytest

from headwater import limits
from headwater.book.money import Rate, rate_parts, same
from headwater.book.payout import ItemFacts, OrderFacts, Payout, click_micros, item_bases, payout
from headwater.book.tiers import Progress, counter_key, step_at
from headwater.clock import parse_iso_ms
from terms_tools import SALE, flat, percent, terms_of

EURO = same("EUR")


def item(sku: str, cents: int | None, quantity: int = 1, category: str | None = None) -> ItemFacts:
    return ItemFacts(sku, category, quantity, cents)


def paid(event: dict[str, object], facts: OrderFacts, *progress: int) -> Payout:
    return payout(terms_of(event), SALE, facts, EURO, Progress(*(progress or (0, 0))))


def test_nothing_is_paid_where_the_terms_say_nothing() -> None:
    for event in ({}, {"default": None}):
        found = paid(event, OrderFacts(1000, "EUR"))
        assert (found.total_minor, found.rule, found.refused) == (0, "none", None)


def test_groups_are_asked_in_order_and_the_first_that_fits_pays() -> None:
    event = {
        "groups": [
            {"when": {"country": ["DE"], "customer_status": ["new"]}, "pay": percent(12)},
            {
                "when": {"country": ["DE", "AT"]},
                "not": {"promo_code": ["STAFF"]},
                "pay": percent(8),
            },
            {"when": {"sub1": ["blog, the"]}, "pay": flat(300)},
        ],
        "default": percent(5),
    }

    def rule(**fields: str | None) -> str:
        return paid(event, OrderFacts(1000, "EUR", fields=fields)).rule

    assert rule(country="de", customer_status="new", promo_code="staff") == "groups.0"
    assert rule(country=" DE ", customer_status="existing") == "groups.1"
    assert rule(country="AT", promo_code=None) == "groups.1"
    assert rule(country="AT", promo_code="Staff") == "default"
    assert rule(country="US", sub1="Blog, The") == "groups.2"
    assert rule() == "default"


def test_ranges_of_the_order_total_begin_with_their_first_and_end_before_their_last() -> None:
    event = {
        "groups": [
            {"when": {"order_total": [[10_000, 20_000]]}, "pay": percent(6)},
            {"when": {"order_total": [[20_000, None]]}, "pay": percent(8)},
        ],
        "default": percent(4),
    }
    for amount, rule in [
        (9_999, "default"), (10_000, "groups.0"), (19_999, "groups.0"), (20_000, "groups.1"),
    ]:  # fmt: skip
        assert paid(event, OrderFacts(amount, "EUR")).rule == rule


def test_an_order_has_a_sku_when_one_of_its_items_has_it() -> None:
    event = {"groups": [{"when": {"sku": ["gift"]}, "pay": flat(0)}], "default": percent(10)}
    with_gift = OrderFacts(1000, "EUR", (item("shoe", 1000), item("GIFT", 0)))
    assert paid(event, with_gift).total_minor == 0
    assert paid(event, OrderFacts(1000, "EUR", (item("shoe", 1000),))).total_minor == 100


def test_items_are_matched_and_paid_one_by_one() -> None:
    event = {
        "groups": [
            {"when": {"category": ["Shoes"]}, "pay": percent(10, "item")},
            {"when": {"sku": ["VOUCHER"]}, "pay": flat(0, "item")},
        ],
        "default": flat(25, "item"),
    }
    facts = OrderFacts(
        10_500,
        "EUR",
        (item("a", 8_000, category="shoes"), item("voucher", 2_000), item("b", 500, quantity=3)),
    )
    found = paid(event, facts)
    assert [(line.item, line.rule, line.minor) for line in found.lines] == [
        (0, "groups.0", 800),
        (1, "groups.1", 0),
        (2, "default", 75),
    ]
    assert (found.total_minor, found.rule) == (875, "groups.0, groups.1, default")


def test_an_order_without_items_is_one_item() -> None:
    found = paid({"default": percent(10, "item")}, OrderFacts(999, "EUR"))
    assert [(line.item, line.minor) for line in found.lines] == [(None, 100)]


def test_rounding_is_once_for_the_order_and_not_once_for_each_item() -> None:
    event = {"default": percent(5, "item")}
    three_of_ten = OrderFacts(30, "EUR", tuple(item(sku, 10) for sku in "abc"))
    found = paid(event, three_of_ten)
    # Half a cent each: one and a half are two, and three times nothing would be nothing.
    assert found.total_minor == 2
    assert [line.minor for line in found.lines] == [1, 1, 0]


def test_a_discount_on_the_whole_order_is_borne_by_all_items() -> None:
    prices = (item("a", 3000), item("b", 1000))
    assert item_bases(OrderFacts(4000, "EUR", prices)) == [3000, 1000]
    assert item_bases(OrderFacts(4500, "EUR", prices)) == [3000, 1000]
    assert item_bases(OrderFacts(2000, "EUR", prices)) == [1500, 500]
    assert item_bases(OrderFacts(2000, "EUR", (item("a", 2000), item("b", None)))) == [2000, 0]


# ---- Tiers: 4 %, 6 % from 200 on, 8 % from 400 on; 500 of revenue in a month ------------------


def tiered(kind: str) -> dict[str, object]:
    return {
        "default": percent(4),
        "tiers": {
            "basis": "revenue",
            "kind": kind,
            "steps": [{"from": 20_000, "pay": percent(6)}, {"from": 40_000, "pay": percent(8)}],
        },
    }


def test_retroactive_tiers_pay_all_of_the_month_by_the_highest_step() -> None:
    found = paid(tiered("retroactive"), OrderFacts(50_000, "EUR"), 0, 50_000)
    assert (found.total_minor, found.rule) == (4_000, "tiers.1")


def test_marginal_tiers_pay_what_lies_past_each_step() -> None:
    found = paid(tiered("marginal"), OrderFacts(50_000, "EUR"), 0, 50_000)
    assert found.total_minor == 800 + 1_200 + 800
    assert found.rule == "default+tiers.0+tiers.1"
    assert paid(tiered("marginal"), OrderFacts(0, "EUR"), 30_000, 30_000).rule == "tiers.0"


def test_items_of_one_order_pass_a_step_between_them() -> None:
    steps = [{"from": 100, "pay": percent(20, "item")}]
    event = {
        "default": percent(10, "item"),
        "tiers": {"basis": "revenue", "kind": "marginal", "steps": steps},
    }
    facts = OrderFacts(300, "EUR", (item("a", 100), item("b", 200)))
    assert [line.minor for line in paid(event, facts, 0, 300).lines] == [10, 40]


@pytest.mark.parametrize(("kind", "pays"), [("marginal", 100), ("retroactive", 200)])
def test_the_third_action_of_the_month_gets_the_third_step(kind: str, pays: int) -> None:
    steps = [{"from": 3, "pay": flat(200)}]
    event = {
        "default": flat(100),
        "tiers": {"basis": "actions", "kind": kind, "steps": steps},
    }
    order = OrderFacts(1, "EUR")
    assert paid(event, order, 2, 3).total_minor == 200
    # The second of three: its own place decides, or all that the month has.
    assert paid(event, order, 1, 3).total_minor == pays


def test_a_group_that_fits_goes_before_the_tiers() -> None:
    event = {**tiered("retroactive"), "groups": [{"when": {"partner": [5]}, "pay": percent(1)}]}
    facts = OrderFacts(50_000, "EUR", fields={"partner": "5"})
    assert paid(event, facts, 0, 50_000).rule == "groups.0"


def test_a_month_is_the_programs_and_has_a_counter_for_each_event_type() -> None:
    terms = terms_of(tiered("marginal"))
    tiers = terms.event(SALE).tiers
    assert tiers is not None
    at_ms = parse_iso_ms("2026-02-01T03:00:00Z")
    key = counter_key(terms, tiers, SALE, 5, at_ms, "America/New_York")
    assert key == (7, 5, SALE, "revenue", "EUR", "2026-01-01")
    assert step_at(tiers, 19_999) is None
    assert step_at(tiers, 20_000) == tiers.steps[0]


# ---- Currencies ---------------------------------------------------------------------------------


def test_what_depends_on_the_amount_waits_for_a_rate() -> None:
    order = OrderFacts(1000, "USD")

    def without_rate(event: dict[str, object], **members: object) -> Payout:
        return payout(terms_of(event, **members), SALE, order, None)

    assert without_rate({"default": percent(5)}).refused == "rate_missing"
    ranged = {"groups": [{"when": {"order_total": [[1, None]]}, "pay": flat(1)}]}
    assert without_rate(ranged).refused == "rate_missing"
    assert without_rate(tiered("marginal")).refused == "rate_missing"
    cap = {"metric": "revenue", "period": "day", "scope": "program", "limit": 1}
    assert without_rate({"default": flat(100)}, caps=[cap]).refused == "rate_missing"
    assert without_rate({"default": flat(100)}).total_minor == 100
    free = payout(terms_of({"default": percent(5)}), SALE, OrderFacts(0, "USD"), None)
    assert (free.total_minor, free.refused) == (0, None)


def test_a_flat_amount_is_in_the_terms_currency_whatever_the_orders_is() -> None:
    yen = Rate("JPY", "EUR", *rate_parts("0.006"), "ECB", "2026-11-20")
    found = payout(terms_of({"default": flat(150)}), SALE, OrderFacts(9000, "JPY"), yen)
    assert (found.total_minor, found.order_minor) == (150, 5400)


# ---- Clicks and bounds --------------------------------------------------------------------------


def test_a_click_pays_by_the_first_group_that_fits_it() -> None:
    terms = terms_of(
        {
            "groups": [{"when": {"country": ["US"]}, "pay": {"kind": "flat", "amount_micros": 7}}],
            "default": {"kind": "flat", "amount_micros": 250_000},
        }
    )
    assert click_micros(terms, SALE, {"country": "us"}) == 7
    assert click_micros(terms, SALE, {}) == 250_000
    assert click_micros(terms, SALE + 1, {}) == 0
    assert click_micros(terms_of({"default": percent(5)}), SALE, {}) == 0


def test_an_order_or_a_payout_beyond_belief_earns_nothing() -> None:
    whole = {"default": percent(100)}
    at_the_bound = paid(whole, OrderFacts(limits.PAID_ORDER_MINOR_MAX, "EUR"))
    assert at_the_bound.total_minor == limits.PAYOUT_MINOR_MAX
    one_past = paid(whole, OrderFacts(limits.PAID_ORDER_MINOR_MAX + 1, "EUR"))
    assert (one_past.total_minor, one_past.refused) == (0, "amount_out_of_range")
    pieces = {"default": {"kind": "flat", "amount_micros": 1_000_000, "per": "item"}}
    most = OrderFacts(1, "EUR", (item("a", 1, quantity=limits.PAYOUT_MINOR_MAX),))
    assert paid(pieces, most).total_minor == limits.PAYOUT_MINOR_MAX
    more = OrderFacts(1, "EUR", (item("a", 1, quantity=limits.PAYOUT_MINOR_MAX + 1),))
    assert paid(pieces, more).refused == "amount_out_of_range"
    assert paid(whole, OrderFacts(10**18, "EUR")).refused == "amount_out_of_range"
