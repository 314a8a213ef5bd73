"""Conversions that come as a query: pixel and postback. Flat names become the fields of the API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headwater.edge.query import Query

ITEMS_MAX = 20
_TRUE = {"1", "true", "yes"}
_PAYMENT = ("card_number", "cvv", "expiry")
_ITEM = {"sku": "sku", "qty": "quantity", "amt": "subtotal", "cat": "category", "name": "name"}
_ITEM_NAME = re.compile(r"(sku|qty|amt|cat|name)([1-9]|1[0-9]|20)", re.ASCII)
# Not of the conversion: read elsewhere, or there to defeat caches.
_PASSED_OVER = {"token", "cb", "_"}
_TIMES = ("occurred_at", "checkout_started_at")
_LOST_PLUS = re.compile(r"(.*[0-9]) ([0-9]{2}:[0-9]{2})", re.ASCII)


def fields(query: Query, aliases: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a conversion in a query. `aliases` are the program's: other name → name.

    Empty values count as absent: a template whose value was missing.
    """
    body: dict[str, Any] = {}
    items: dict[int, dict[str, Any]] = {}
    payment: dict[str, str] = {}
    for sent_name, value in query.items():
        name = aliases.get(sent_name, sent_name)
        if not value or name in _PASSED_OVER or name in body:
            continue
        item = _ITEM_NAME.fullmatch(name)
        if item:
            items.setdefault(int(item[2]), {})[_ITEM[item[1]]] = value
        elif name in _PAYMENT:
            payment[name] = value
        elif name in ("test", "hw_test"):
            body["test"] = value.lower() in _TRUE
        else:
            body[name] = value
    if items:
        body["items"] = [_item(items[number]) for number in sorted(items)]
    if payment:
        body["payment"] = payment
    for name in _TIMES:
        if name in body:
            body[name] = _with_plus(body[name])
    return body


def _item(values: dict[str, Any]) -> dict[str, Any]:
    quantity = values.get("quantity")
    if isinstance(quantity, str) and quantity.isascii() and quantity.isdigit():
        # A longer text stays one, and is refused as such.
        values["quantity"] = int(quantity) if len(quantity) < 11 else quantity
    return values


def _with_plus(text: str) -> str:
    """An offset's plus sign that was not encoded arrives as a space."""
    match = _LOST_PLUS.fullmatch(text)
    return f"{match[1]}+{match[2]}" if match and "T" in text.upper() else text
