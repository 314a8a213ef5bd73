"""What managers may take off, what pricing again may not, and at which rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from book_tools import DAY_MS, SALE, Log, accounts, actions, event, imbalances, rows, run
from headwater.ledger.engine import Ledger
from ledger_tools import ledger_in

WHOLE = 1_000_000
HALF = 500_000
DOUBLE_FROM_TWO: dict[str, Any] = {
    str(SALE): {
        "default": {"kind": "percent", "ppm": 100_000},
        "tiers": {
            "basis": "actions",
            "kind": "retroactive",
            "steps": [{"from": 2, "pay": {"kind": "percent", "ppm": 200_000}}],
        },
    }
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


def codes(ledger: Ledger) -> list[str | None]:
    return [row["code"] for row in sorted(rows(ledger, "decisions_log"), key=_when)]


def _when(row: dict[str, Any]) -> int:
    at_ms: int = row["at_ms"]
    return at_ms


def paid(ledger: Ledger) -> list[int]:
    found = sorted(rows(ledger, "actions"), key=lambda row: row["order_id"])
    return [row["payout_minor"] for row in found if row["state"] != "reversed"]


def used(ledger: Ledger) -> dict[str, int]:
    """What is counted: of caps, of tiers, and of what managers took."""
    return {row["key"].split("/")[0]: row["used"] for row in rows(ledger, "tallies")}


# ---- What managers take off


@pytest.mark.parametrize("way", ["action.reverse", "action.modify", "order.modify", "clicks"])
def test_i20_nothing_is_taken_off_beyond_the_bound_in_any_way(ledger: Ledger, way: str) -> None:
    """Of two orders that pay 10 each a half may go: one of them, however it is done."""
    log = Log(kinds=("sale", "click"))
    log.terms(reversal_max_ppm=HALF)
    clicks = [log.click(7), log.click(7)]
    orders = [log.conversion(n + 1, (7, WHOLE, click)) for n, click in enumerate(clicks)]
    run(ledger, log)
    by_order = {row["conversion_id"]: row["action_id"] for row in rows(ledger, "actions")}
    for order, click_id in zip(orders, clicks, strict=True):
        if way == "clicks":
            log.decision("clicks.reject", click_id)
        elif way == "order.modify":
            log.decision(way, order, amount_minor=10)
        else:
            log.decision(way, by_order[order], amount_minor=10)
    log.decision("order.reverse", orders[1])
    run(ledger, log)
    assert codes(ledger) == [None, "reversal_max", "reversal_max"]
    assert paid(ledger)[-1] == 1000
    # A shop's own word is a fact.
    log.decision("reverse", orders[1], by="shopify", amount_minor=9_990, refund_id="1")
    run(ledger, log)
    assert paid(ledger)[-1] == 1


@pytest.mark.parametrize("way", ["order.reverse", "order.modify"])
def test_i20_a_word_said_before_the_order_is_bounded_too(ledger: Ledger, way: str) -> None:
    """A manager's word that waits takes no more than one that comes after; a shop's is a fact."""
    log = Log()
    log.terms(reversal_max_ppm=HALF)
    orders = [event(10**6 + number) for number in (1, 2, 3)]
    amount = {} if way == "order.reverse" else {"amount_minor": 10, "currency": "EUR"}
    log.conversion(1, (7, WHOLE))
    for order in orders[1:]:
        log.decision(way, order, **amount)
    log.conversion(2, (7, WHOLE))
    log.conversion(3, (7, WHOLE))
    run(ledger, log)
    assert codes(ledger) == [None, "reversal_max"]
    states = [row["state"] for row in rows(ledger, "order_changes")]
    assert states == ["applied", "refused"]
    assert paid(ledger)[-1] == 1000
    log.decision("reverse", event(10**6 + 4), by="shopify", reason="order_cancelled")
    log.conversion(4, (7, WHOLE))
    run(ledger, log)
    assert codes(ledger) == [None, "reversal_max", None]


def test_i20_a_filter_rejects_the_clicks_that_may_be_rejected(ledger: Ledger) -> None:
    log = Log(kinds=("sale", "click"))
    log.terms(reversal_max_ppm=HALF)
    clicks = [log.click(7) for _ in range(3)]
    for number, click_id in enumerate(clicks[:2], 1):
        log.conversion(number, (7, WHOLE, click_id))
    log.decision("clicks.reject", program=1, partner=7, day="2026-09-21")
    run(ledger, log)
    (said,) = rows(ledger, "decisions_log")
    assert said["detail_json"] == '{"changed":2,"more":false,"unchanged":1}'
    assert paid(ledger) == [1000]
    assert sorted(row["manager"] for row in rows(ledger, "click_standings")) == [
        "",
        "rejected",
        "rejected",
    ]


def test_i20_what_is_given_back_may_be_taken_again(ledger: Ledger) -> None:
    log = Log()
    log.terms(reversal_max_ppm=HALF)
    order = log.conversion(1, (7, WHOLE))
    log.conversion(2, (7, WHOLE))
    run(ledger, log)
    action_id = next(
        row["action_id"] for row in rows(ledger, "actions") if row["conversion_id"] == order
    )
    log.decision("action.modify", action_id, amount_minor=4_000)
    log.decision("action.modify", action_id, amount_minor=6_000)
    run(ledger, log)
    assert used(ledger) == {"earned": 2000, "reversed": 400}
    log.decision("action.reverse", action_id)
    run(ledger, log)
    assert used(ledger) == {"earned": 2000, "reversed": 1000}
    log.decision("action.reset", action_id)
    run(ledger, log)
    assert used(ledger) == {"earned": 2000, "reversed": 0}
    log.decision("order.modify", order, amount_minor=1_000)
    log.decision("action.reset", action_id)
    run(ledger, log)
    assert used(ledger) == {"earned": 2000, "reversed": 900}
    assert codes(ledger) == [None] * 6


# ---- Pricing again


def test_i20_a_higher_step_that_does_not_fit_at_lock_leaves_what_was_earned(
    ledger: Ledger,
) -> None:
    cap = {"metric": "payout", "period": "month", "scope": "partner", "limit": 3500}
    log = Log()
    log.terms(caps=[cap], events=DOUBLE_FROM_TWO)
    for number in (1, 2):
        log.conversion(number, (7, WHOLE))
    run(ledger, log)
    assert paid(ledger) == [1000, 2000]
    log.wait(40 * DAY_MS)
    log.tick()
    run(ledger, log)
    assert paid(ledger) == [1000, 2000]
    assert used(ledger) == {"cap": 3_000 * WHOLE, "tier": 2}
    assert accounts(ledger) == {"brand_expense": -3000, "partner_payable": 3000}


def test_i20_an_order_that_grows_past_a_cap_pays_what_it_paid(ledger: Ledger) -> None:
    cap = {"metric": "payout", "period": "month", "scope": "partner", "limit": 1500}
    log = Log()
    log.terms(caps=[cap])
    order = log.conversion(1, (7, WHOLE))
    log.decision("order.modify", order, amount_minor=20_000)
    run(ledger, log)
    found = actions(ledger)[7]
    assert (found.payout_minor, found.left_minor, found.flags) == (1000, 20_000, 0)
    log.decision("order.modify", order, amount_minor=15_000)
    run(ledger, log)
    assert paid(ledger) == [1500]
    assert used(ledger) == {"cap": 1500 * WHOLE}


def test_i20_a_partner_that_a_conversion_is_given_to_is_paid_at_its_rate(ledger: Ledger) -> None:
    """A rate that is written down later, though for before, is not that of the order."""
    log = Log()
    log.terms(currency="USD")
    pair = {"currency_from": "EUR", "currency_to": "USD", "denominator": 1, "from_ms": 0}
    for partner in (7, 8):
        log.enrol(partner)
    log.control("exchange_rate", 1, {**pair, "numerator": 2})
    order = log.conversion(1, (7, WHOLE))
    log.control("exchange_rate", 2, {**pair, "numerator": 3})
    log.decision("conversion.attribute", order, partner=8)
    run(ledger, log)
    assert paid(ledger) == [2000]


# ---- Caps


def test_i16_a_conversion_that_partners_share_counts_once_in_a_programs_cap(
    ledger: Ledger,
) -> None:
    of_program = {"metric": "conversions", "period": "month", "scope": "program", "limit": 2}
    of_partner = {**of_program, "scope": "partner"}
    log = Log()
    log.terms(caps=[of_program, of_partner])
    first = log.conversion(1, (7, HALF), (8, HALF))
    log.conversion(2, (7, HALF), (8, HALF))
    log.conversion(3, (9, WHOLE))
    run(ledger, log)
    assert paid(ledger) == [500, 500, 500, 500, 0]
    action_id = actions_of(ledger, first)[7]
    log.decision("action.reverse", action_id)
    log.conversion(4, (9, WHOLE))
    log.decision("action.reverse", actions_of(ledger, first)[8])
    log.conversion(5, (9, WHOLE))
    log.decision("action.reset", action_id)
    run(ledger, log)
    assert paid(ledger) == [0, 500, 500, 0, 0, 1000]
    counted = {
        row["key"]: row["used"] for row in rows(ledger, "tallies") if row["key"].startswith("cap/")
    }
    month = "conversions//month/2026-09-01"
    assert {key.removeprefix("cap/1/"): used for key, used in counted.items()} == {
        f"0/0/{month}": 2,
        f"7/0/{month}": 1,
        f"8/0/{month}": 1,
        f"9/0/{month}": 1,
    }


def test_i16_a_conversion_that_is_shared_later_counts_once(ledger: Ledger) -> None:
    log = Log()
    log.terms(caps=[{"metric": "conversions", "period": "day", "scope": "program", "limit": 1}])
    log.conversion(1, (7, WHOLE))
    log.conversion(1, (7, HALF), (8, HALF), revision=2)
    run(ledger, log)
    assert paid(ledger) == [500, 500]
    log.conversion(1, (8, WHOLE), revision=3)
    run(ledger, log)
    assert paid(ledger) == [1000]
    assert used(ledger)["cap"] == 1


def actions_of(ledger: Ledger, conversion_id: bytes) -> dict[int, bytes]:
    return {
        row["partner"]: row["action_id"]
        for row in rows(ledger, "actions")
        if row["conversion_id"] == conversion_id
    }
