"""What payout groups may ask for is read out of the records of the order and its click."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.book.facts import Fields
from headwater.book.terms import TEXT_FIELDS
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    Client,
    ConversionBody,
    Kind,
    Money,
    Network,
    Record,
    Source,
    Trust,
    encode,
)

CLICK = bytes(16)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148"
PIXEL = "Mozilla/5.0 (Linux; Android 14; Pixel 8) Mobile Safari/537.36"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
SUBS = {f"sub{number}": f"s{number}" for number in range(1, 11)}


class Clicks:
    """The one click of a store."""

    def __init__(self, record: bytes) -> None:
        self._record = record

    def click_record(self, click_id: bytes) -> bytes | None:
        return self._record if click_id == CLICK else None


def record(kind: Kind, body: tuple[object, ...]) -> bytes:
    return encode(Record(kind, CLICK, 1, 0, None, Trust.SERVER, Source.S2S, body))


def client(agent: str | None) -> Client:
    return Client(None, agent, None, Network(None, None, 0, "NL", None), None)


def fields(click: Client | None, order: Client | None) -> Fields:
    store: Any = Clicks(record(Kind.CLICK, ClickBody(1, 1, 1, 0, (), SUBS, click or NO_CLIENT)))
    sold = ConversionBody(
        *(bytes(16), 1, 3, "A-1", "main", 0, CLICK, (), Money(1, "EUR", None, None, None)),
        *("SPRING", "new", (), {}, order or NO_CLIENT, None),
    )
    said = None if order is None else record(Kind.CONVERSION, sold)
    return Fields(store, 7, said, None if click is None else CLICK)


def test_every_text_that_terms_may_ask_for_is_filled() -> None:
    found = fields(client(LINUX), client(LINUX))
    assert {name for name in TEXT_FIELDS if found.get(name)} == TEXT_FIELDS


@pytest.mark.parametrize(
    ("click", "order", "device"),
    [
        (IPHONE, None, "ios"),
        (IPHONE, LINUX, "desktop"),
        (PIXEL, "", "android"),
        ("", PIXEL, "android"),
        ("", "", None),
        (None, IPHONE, "ios"),
        (None, "", None),
    ],
)
def test_the_device_is_the_orders_else_its_clicks(
    click: str | None, order: str | None, device: str | None
) -> None:
    """None: there is no such record; empty: its user agent is not known."""
    parts = (None if agent is None else client(agent or None) for agent in (click, order))
    assert fields(*parts).get("device") == device
