"""What becomes of a shop's order after it was reported: cancelled, refunded, changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_tools import Running, edge, ordinary
from headwater import limits
from headwater.edge import shopify_order
from headwater.model.records import Kind
from shopify_tools import (
    OLD_SECRET,
    ORDER_ID,
    SECRET,
    change,
    configure,
    line,
    money,
    order,
    refund,
    refused,
    taken,
)

__all__ = ["edge", "ordinary"]


@pytest.fixture(autouse=True)
def with_secret(edge: Running) -> None:
    configure(edge, OLD_SECRET, SECRET)


def test_a_cancelled_order_is_reversed_whole(edge: Running) -> None:
    gone = order(cancelled_at="2026-01-06T10:00:00-05:00", cancel_reason="customer")
    records = taken(edge, "orders/cancelled", gone)
    assert [each.kind for each in records] == [Kind.DECISION]
    assert records[0].body.params == {
        "by": "shopify",
        "reason": "order_cancelled",
        "cause": "customer",
        "order_id": ORDER_ID,
        "at": "2026-01-06T15:00:00.000Z",
    }
    assert records[0].body.action == "reverse"
    updated = [each for each in taken(edge, "orders/updated", gone) if each.kind == Kind.DECISION]
    assert [each.event_id for each in updated] == [records[0].event_id]


def test_the_topic_alone_cancels_nothing(edge: Running) -> None:
    assert refused(edge, "orders/cancelled", order()) == "invalid"


def test_a_refund_takes_its_lines_back(edge: Running) -> None:
    action, params = change(edge, "refunds/create", refund())
    assert action == "reverse"
    items = json.loads(params.pop("items"))
    assert items == [{"sku": "socks", "quantity": 1, "subtotal_minor": 900}]
    assert params == {
        "by": "shopify",
        "reason": "order_refunded",
        "order_id": ORDER_ID,
        "refund_id": "890088186047892319",
        "amount_minor": "900",
        "currency": "EUR",
        "at": "2026-01-09T15:00:00.000Z",
    }


def test_a_refund_names_the_orders_conversion(edge: Running) -> None:
    (report,) = taken(edge, "orders/create", order())
    (decision,) = taken(edge, "refunds/create", refund())
    assert decision.body.subject == report.body.conversion_id


def test_a_refund_is_one_by_its_own_id_whatever_it_is_sent_as(edge: Running) -> None:
    one, other = (taken(edge, "refunds/create", refund())[0] for _ in range(2))
    assert one.event_id == other.event_id
    (third,) = taken(edge, "refunds/create", refund(id=7))
    assert third.event_id != one.event_id


def adjustment(amount: str, kind: str = "refund_discrepancy") -> dict[str, Any]:
    return {"id": 1, "kind": kind, "amount": amount, "amount_set": money(amount)}


@pytest.mark.parametrize(
    ("lines", "adjustments", "amount_minor"),
    [
        (1, [adjustment("-5.00")], "1400"),
        (0, [adjustment("-5.00")], "500"),
        (1, [adjustment("4.00")], "500"),
        (1, [adjustment("-3.00", "shipping_refund")], "900"),
        (1, [adjustment("9.00")], None),
        (0, [adjustment("-3.00", "shipping_refund")], None),
        (0, [], None),
    ],
)
def test_what_is_paid_back_beyond_or_below_the_lines(
    edge: Running, lines: int, adjustments: list[Any], amount_minor: str | None
) -> None:
    body = refund(order_adjustments=adjustments)
    body["refund_line_items"] = body["refund_line_items"][:lines]
    records = taken(edge, "refunds/create", body)
    assert [each.body.params["amount_minor"] for each in records] == [amount_minor][: len(records)]
    assert bool(records) == (amount_minor is not None)


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": None},
        {"id": "x"},
        {"refund_line_items": [{"quantity": 1}]},
        {"refund_line_items": [{"quantity": "1", "subtotal_set": money("1.00")}]},
        {"order_adjustments": [{"kind": "refund_discrepancy", "amount_set": money("x")}]},
        {"order_adjustments": [{"kind": "refund_discrepancy", "amount_set": money("-1", "USD")}]},
    ],
)
def test_a_refund_that_cannot_be_read_is_a_rejection(
    edge: Running, changes: dict[str, Any]
) -> None:
    refused(edge, "refunds/create", refund(**changes))


def test_an_update_says_what_the_order_comes_to_now(edge: Running) -> None:
    action, params = change(edge, "orders/updated", order())
    assert (action, params["amount_minor"], params["reason"]) == ("modify", "4050", "order_updated")
    lines = order()["line_items"]
    lines[0]["current_quantity"] = 1
    lines.append(line(3, "scarf", "20.00", 1, ""))
    _action, params = change(edge, "orders/updated", order(line_items=lines))
    assert (params["amount_minor"], params["currency"]) == ("5150", "EUR")
    assert json.loads(params["items"]) == [
        {"sku": "socks", "quantity": 1, "subtotal_minor": 900},
        {"sku": "hat", "quantity": 1, "subtotal_minor": 2250},
        {"sku": "scarf", "quantity": 1, "subtotal_minor": 2000},
    ]


def test_an_update_leaves_refunds_to_themselves(edge: Running) -> None:
    lines = order()["line_items"]
    lines[0]["current_quantity"] = 1
    _action, params = change(edge, "orders/updated", order(line_items=lines, refunds=[refund()]))
    assert params["amount_minor"] == "4050"


def test_an_update_taken_back_is_one_of_its_own(edge: Running) -> None:
    found = []
    for second in (1, 2, 1):
        body = order(updated_at=f"2026-01-07T00:00:0{second}Z")
        found += [each for each in taken(edge, "orders/updated", body) if each.kind == 6]
    assert found[0].event_id == found[2].event_id != found[1].event_id


def test_lines_beyond_the_bound_leave_the_sums() -> None:
    def listed(sku: str) -> dict[str, str]:
        body = order(line_items=[line(1, sku, "1.00", 1, "")] * 100)
        return shopify_order.modification(body, 1_800_000_000_000).params

    fixed = len('{"sku":"","quantity":1,"subtotal_minor":100},') * 100 + 1
    bytes_of_skus = limits.DECISION_LINES_BYTES_MAX - fixed
    sku = "s" * (bytes_of_skus // 100)
    assert len(listed(sku)["items"]) <= limits.DECISION_LINES_BYTES_MAX
    over = listed(sku + "s")
    assert "items" not in over
    assert over["amount_minor"] == "10000"
