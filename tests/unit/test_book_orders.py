"""What shops say of their orders later, as docs/shopify.md has it, and what managers do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from book_tools import SALE, Log, accounts, actions, event, imbalances, rows, run
from headwater import ids
from headwater.book.actions import ORDER_REVERSED
from headwater.book.reasons import REVERSAL_REASONS
from headwater.book.rejected import CLICK_REJECTED
from headwater.book.reversals import TAKEN_AWAY
from headwater.edge import shopify_order
from headwater.ledger.engine import Ledger
from headwater.model.book import Action
from headwater.model.records import Item
from ledger_tools import NOW_MS, ledger_in

WHOLE = 1_000_000
NUMBER = 7
ORDER = event(10**6 + NUMBER)
PER_ITEM = {"groups": [], "default": {"kind": "percent", "ppm": 100_000, "per": "item"}}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


@pytest.fixture
def log() -> Log:
    made = Log()
    made.terms()
    return made


def only(ledger: Ledger) -> Action:
    (action,) = actions(ledger).values()
    return action


def outcomes(ledger: Ledger) -> list[tuple[str, str | None]]:
    found = sorted(rows(ledger, "decisions_log"), key=lambda row: row["at_ms"])
    return [(row["outcome"], row["code"]) for row in found]


def paid(amount: str) -> dict[str, Any]:
    return {"presentment_money": {"amount": amount, "currency_code": "EUR"}}


def refund(number: int, amount: str, sku: str = "A", quantity: int = 1) -> shopify_order.Change:
    """As `refunds/create` says it."""
    line = {"quantity": quantity, "subtotal_set": paid(amount), "line_item": {"sku": sku}}
    body = {"id": number, "order_id": NUMBER, "refund_line_items": [line]}
    change = shopify_order.refund(body, NOW_MS)
    assert change is not None
    return change


def update(amount: str, minute: int, quantity: int = 1) -> shopify_order.Change:
    """As `orders/updated` says it."""
    line = {"sku": "A", "quantity": quantity, "price_set": paid(amount)}
    at = f"2026-09-20T10:{minute:02}:00Z"
    order = {"id": NUMBER, "subtotal_price_set": paid(amount), "line_items": [line]}
    return shopify_order.modification({**order, "updated_at": at}, NOW_MS)


def cancellation() -> shopify_order.Change:
    order = {"id": NUMBER, "cancelled_at": "2026-09-20T11:00:00Z", "cancel_reason": "customer"}
    change = shopify_order.cancellation(order, NOW_MS)
    assert change is not None
    return change


def tell(log: Log, *changes: shopify_order.Change) -> None:
    for change in changes:
        log.decision(change.action, ORDER, **change.params)


# ---- Shopify


def test_a_refund_takes_its_amount_off_once(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    tell(log, refund(1, "25.00"), refund(1, "25.00"), refund(2, "5.00"))
    run(ledger, log)
    assert (only(ledger).left_minor, only(ledger).payout_minor) == (7000, 700)
    assert outcomes(ledger) == [("applied", None)] * 3
    (moved, again) = rows(ledger, "action_moves")[1:]
    assert (moved["actor"], moved["reason"]) == ("shopify", "ITEM_RETURNED")
    assert again["payout_minor"] == 700


def test_a_cancelled_order_is_reversed_for_good(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    tell(log, cancellation(), update("90.00", 59))
    run(ledger, log)
    action = only(ledger)
    assert (action.state, action.reason, accounts(ledger)) == ("reversed", "ORDER_REVERSED", {})
    (_made, moved) = rows(ledger, "action_moves")
    assert (moved["actor"], moved["note"]) == ("shopify", "customer")
    log.decision("action.reset", action.action_id)
    run(ledger, log)
    assert outcomes(ledger)[-1] == ("refused", "order_reversed")


def test_a_manager_corrects_a_cancellation_by_what_is_left(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    tell(log, cancellation())
    log.decision("order.modify", ORDER, amount_minor=4000, currency="EUR")
    run(ledger, log)
    assert (only(ledger).state, only(ledger).payout_minor) == ("pending", 400)


@pytest.mark.parametrize("place", range(5))
def test_the_order_in_which_a_shop_tells_changes_nothing(
    ledger: Ledger, log: Log, place: int
) -> None:
    """Whatever comes first, also before the order: the latest total, less every refund."""
    told = [update("90.00", 1), refund(1, "30.00"), update("120.00", 2), refund(2, "15.00")]
    log.conversion(NUMBER, (1, WHOLE))
    order = log.steps.pop()
    for number, chosen in enumerate(itertools.permutations(told)):
        other = Log()
        other.now_ms = log.now_ms + number * 10**6
        other.steps.clear()
        conversion_id = event(5 * 10**6 + number)
        for change in chosen[:place]:
            other.decision(change.action, conversion_id, **change.params)
        other.add("conversions", [conversion_id, *order.row[1:]])
        for change in chosen[place:]:
            other.decision(change.action, conversion_id, **change.params)
        log.steps += other.steps
    for number, step in enumerate(log.steps):
        # Each log has numbered its records from one.
        if step.table == "others":
            log.steps[number] = step._replace(row=[event(9 * 10**6 + number), *step.row[1:]])
    run(ledger, log)
    found = {(row["left_minor"], row["payout_minor"]) for row in rows(ledger, "actions")}
    assert found == {(7500, 750)}
    assert len(rows(ledger, "actions")) == 24


def test_what_was_refunded_whole_is_back_when_the_order_grows(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    tell(log, refund(1, "100.00"))
    run(ledger, log)
    assert (only(ledger).state, accounts(ledger)) == ("reversed", {})
    tell(log, update("130.00", 5))
    run(ledger, log)
    assert (only(ledger).state, only(ledger).payout_minor) == ("pending", 300)
    log.conversion(NUMBER, (1, WHOLE), revision=2, amount_minor=20_000)
    run(ledger, log)
    assert only(ledger).payout_minor == 300, "the shop's total is the later word"


def test_more_than_the_order_cannot_come_back(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    tell(log, refund(1, "60.00"), refund(2, "60.00"))
    run(ledger, log)
    assert (only(ledger).left_minor, only(ledger).state) == (4000, "reversed")
    tell(log, update("150.00", 5))
    run(ledger, log)
    assert only(ledger).payout_minor == 300


def test_what_a_manager_reversed_no_shop_brings_back(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    run(ledger, log)
    log.decision("action.reverse", only(ledger).action_id, reason="CONS_FRAUD")
    tell(log, update("130.00", 5))
    run(ledger, log)
    assert (only(ledger).state, only(ledger).reason) == ("reversed", "CONS_FRAUD")


def test_a_refund_takes_pieces_off_their_items(ledger: Ledger) -> None:
    log = Log()
    log.terms(events={str(SALE): PER_ITEM})
    items = (Item("A", None, "shoes", 3, 6000), Item("B", None, "hats", 2, 4000))
    log.conversion(NUMBER, (1, WHOLE), items=items)
    tell(log, refund(1, "20.00"), refund(2, "40.00", "B", 2))
    run(ledger, log)
    (item,) = rows(ledger, "action_items")
    assert (item["sku"], item["quantity"], item["subtotal_minor"], item["payout_minor"]) == (
        *("A", 2, 4000, 400),
    )


def test_a_change_after_the_lock_is_refused_and_kept(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    log.decision("program.settle", until_ms=NOW_MS * 2)
    tell(log, refund(1, "60.00"), cancellation())
    run(ledger, log)
    assert outcomes(ledger)[1:] == [("refused", "action_locked")] * 2
    assert accounts(ledger) == {"brand_expense": -1000, "partner_payable": 1000}


def test_a_partner_who_lost_the_order_is_not_paid_by_its_growth(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    tell(log, refund(1, "100.00"))
    log.conversion(NUMBER, (2, WHOLE), revision=2, has_record=False)
    tell(log, update("150.00", 5))
    run(ledger, log)
    found = actions(ledger)
    assert (found[1].state, found[2].state, found[2].payout_minor) == ("reversed", "pending", 500)


# ---- What is hostile, or absurd


@pytest.mark.parametrize(
    "params",
    [
        {"amount_minor": 5, "items": "[" * 16_000},
        {"amount_minor": 5, "items": json.dumps([{"quantity": 10**30}])},
        {"amount_minor": 5, "items": json.dumps([{"subtotal_minor": 10**30}])},
        {"amount_minor": 5, "items": json.dumps([{"quantity": 1.5}])},
        {"amount_minor": 5, "items": json.dumps([{"sku": "A"}] * 201)},
        {"amount_minor": 10**18 + 1},
        {"amount_minor": 5, "at": "yesterday"},
    ],
    ids=lambda params: str(params)[:40],
)
@pytest.mark.parametrize("action", ["modify", "reverse", "order.modify"])
def test_what_cannot_be_read_is_refused(
    ledger: Ledger, log: Log, action: str, params: dict[str, Any]
) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    log.decision(action, ORDER, currency="EUR", **params)
    run(ledger, log)
    (refused,) = outcomes(ledger)
    assert refused[0] == "refused"
    assert only(ledger).payout_minor == 1000


def test_a_time_to_come_does_not_outlast_what_is_said_later(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER, (1, WHOLE))
    for at, amount_minor in (("9999-12-31T23:59:59Z", 5000), ("2099-01-01T00:00:00Z", 6000)):
        log.decision("modify", ORDER, amount_minor=amount_minor, currency="EUR", at=at)
    run(ledger, log)
    assert only(ledger).payout_minor == 600


def test_amounts_beyond_belief_earn_nothing_and_stop_nothing(ledger: Ledger) -> None:
    log = Log()
    rate = {"currency_from": "USD", "currency_to": "EUR", "numerator": 10**12, "denominator": 1}
    log.control("exchange_rate", 1, {**rate, "source": "x", "date": "2026-01-01", "from_ms": 0})
    cap = {"metric": "revenue", "period": "day", "scope": "program", "event_type": None}
    tiers = {"basis": "revenue", "kind": "marginal", "steps": []}
    paid_by = {"default": {"kind": "percent", "ppm": 100_000}, "tiers": tiers}
    log.terms(events={str(SALE): paid_by}, caps=[{**cap, "limit": 10**12}])
    for number in range(12):
        log.conversion(number, (1, WHOLE), amount_minor=10**18)
        log.conversion(100 + number, (1, WHOLE), amount_minor=10**12, currency="USD")
    log.conversion(200, (1, WHOLE))
    run(ledger, log)
    found = [(row["payout_minor"], row["reason"]) for row in rows(ledger, "actions")]
    assert sorted(found, key=str) == [(0, "amount_out_of_range")] * 24 + [(1000, None)]


def test_many_moves_of_the_engine_are_no_bound(
    ledger: Ledger, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.limits.ACTION_MOVES_MAX", 3)
    for revision in range(1, 8):
        log.conversion(NUMBER, (1 + revision % 2, WHOLE), revision=revision, has_record=False)
    run(ledger, log)
    one = actions(ledger)[1]
    assert one.revision > 3
    log.decision("action.approve", one.action_id)
    run(ledger, log)
    assert outcomes(ledger) == [("refused", "too_many_moves")]


@pytest.mark.parametrize("count", [2, 3])
def test_an_order_takes_so_many_changes(
    ledger: Ledger, log: Log, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("headwater.limits.ACTION_MOVES_MAX", 2)
    log.conversion(NUMBER, (1, WHOLE))
    tell(log, *(refund(number, "1.00") for number in range(count)))
    run(ledger, log)
    assert (
        outcomes(ledger) == [("applied", None)] * 2 + [("refused", "too_many_moves")][: count - 2]
    )


# ---- Managers


def test_every_reason_headwater_gives_is_explained() -> None:
    assert {*TAKEN_AWAY, ORDER_REVERSED, CLICK_REJECTED} <= REVERSAL_REASONS.keys()


def test_the_terms_bound_how_much_of_a_month_is_reversed(ledger: Ledger) -> None:
    log = Log()
    log.terms(reversal_max_ppm=250_000)
    for number in range(1, 5):
        log.conversion(number, (7, WHOLE))
    log.conversion(5, (8, WHOLE))
    run(ledger, log)
    mine = [row["action_id"] for row in rows(ledger, "actions") if row["partner"] == 7]
    for action_id in mine[:2]:
        log.decision("action.reverse", action_id, reason="CONS_FRAUD")
    log.decision("action.modify", mine[1], amount_minor=0, currency="EUR", reason="CONS_FRAUD")
    log.decision("order.reverse", event(10**6 + 5))
    log.decision("reverse", event(10**6 + 5), by="shopify", reason="order_cancelled")
    run(ledger, log)
    beyond = ("refused", "reversal_max")
    assert outcomes(ledger) == [("applied", None), beyond, beyond, beyond, ("applied", None)]
    log.decision("action.reset", mine[0])
    log.decision("action.reverse", mine[1], reason="CONS_FRAUD")
    run(ledger, log)
    assert outcomes(ledger)[-2:] == [("applied", None)] * 2


def test_a_conversion_goes_to_partners_of_the_program_alone(ledger: Ledger, log: Log) -> None:
    log.conversion(NUMBER)
    log.decision("conversion.attribute", ORDER, partner=5)
    log.enrol(5)
    log.decision("conversion.attribute", ORDER, partner=5)
    run(ledger, log)
    assert outcomes(ledger) == [("refused", "partner_not_in_program"), ("applied", None)]


def test_a_manager_names_no_click_of_another_partner(ledger: Ledger, log: Log) -> None:
    """What a click carries is told to whom it is credited."""
    log.enrol(5)
    log.conversion(NUMBER)
    for partner in (6, 5):
        text = ids.event_text("clk", log.click(partner))
        log.decision("conversion.attribute", ORDER, partner=5, click_id=text)
    log.decision("conversion.attribute", ORDER, partner=5, click_id=ids.event_text("clk", ORDER))
    run(ledger, log)
    codes = [code for _outcome, code in outcomes(ledger)]
    assert codes == ["invalid", None, "invalid"]


def test_a_rejected_conversion_pays_when_a_manager_gives_it(ledger: Ledger, log: Log) -> None:
    log.enrol(5)
    log.conversion(NUMBER, status="rejected", verdict="reject")
    log.decision("conversion.attribute", ORDER, partner=5)
    log.conversion(NUMBER, status="rejected", verdict="reject", revision=2, amount_minor=20_000)
    run(ledger, log)
    assert (only(ledger).state, only(ledger).payout_minor) == ("pending", 2000)
