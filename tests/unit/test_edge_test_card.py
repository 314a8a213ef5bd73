"""The one card number that is known: it makes a test order, and no other is ever taken."""

from __future__ import annotations

from typing import Any

import pytest

import edge_tools
from edge_tools import Running
from headwater.model.records import Flag

edge, ordinary = edge_tools.edge, edge_tools.ordinary

ZEROS = "0" * 16
CARD = {"card_number": ZEROS, "cvv": "100", "expiry": "12/2099"}


@pytest.mark.parametrize(
    "payment",
    [
        CARD,
        {**CARD, "card_number": "0000 0000 0000 0000"},
        {**CARD, "cvv": 100},
        {**CARD, "expiry": "2099-12"},
    ],
)
def test_k20_the_test_card_makes_a_test_order_and_is_kept_nowhere(
    edge: Running, payment: dict[str, Any]
) -> None:
    assert edge.convert(payment=payment).status == 201
    record = edge.writer.records[-1][1]
    assert edge.one().body[5] == Flag.TEST
    assert ZEROS.encode() not in record


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"cvv": "101"}, "test_card_invalid"),
        ({"cvv": None}, "test_card_invalid"),
        ({"expiry": "01/20"}, "test_card_invalid"),
        ({"expiry": None}, "test_card_invalid"),
        ({"card_number": "0" * 15}, "card_number_refused"),
        ({"card_number": "4111111111111111"}, "card_number_refused"),
        ({"card_number": "378282246310005"}, "card_number_refused"),
    ],
)
def test_k20_another_card_makes_no_order_at_all(
    edge: Running, changed: dict[str, Any], code: str
) -> None:
    reply = edge.convert(payment={**CARD, **changed})
    assert reply.status == 422
    assert code in {reply.json["code"], *reply.codes}
    # Neither the answer repeats a number, nor is anything recorded.
    assert str(changed.get("card_number", ZEROS)).encode() not in reply.body
    assert edge.take() == []


def test_k20_the_card_is_known_on_the_pixel_too(edge: Running) -> None:
    order = "program=check&event=sale&order_id=x&customer_id=c&amount=1&currency=EUR"
    card = f"card_number={ZEROS}&cvv=100&expiry=12/2099"
    edge.call("GET", f"/px.gif?{order}&{card}")
    record = edge.writer.records[-1][1]
    assert edge.one().body[5] == Flag.TEST
    assert ZEROS.encode() not in record
