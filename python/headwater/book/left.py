"""What is left of an order after what managers and shops said of it, in whatever order they did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from headwater import limits
from headwater.book.payout import ItemFacts
from headwater.model.book import CANCELED, LEFT, REFUND, TOTAL, OrderChange

AMOUNT_MAX: Final = 10**18


class Left(NamedTuple):
    """What an order pays by."""

    amount_minor: int
    items: tuple[ItemFacts, ...]
    is_nothing: bool = False
    """It was canceled, or all of it was given back: it pays nothing."""


def left_after(
    amount_minor: int, items: tuple[ItemFacts, ...], changes: Sequence[OrderChange]
) -> Left:
    """What is left of an order reported with this amount and these items.

    The latest total, or word on what is left, takes the place of the report; refunds are taken
    off, but those that a word on what is left has seen, which also takes back an end before it.
    More than there is cannot be given back.
    """
    words = [change for change in changes if change.kind in (LEFT, TOTAL)]
    word = max(words, key=lambda change: (change.said_ms, change.ordinal), default=None)
    seen, left_minor, left_items = 0, amount_minor, items
    if word is not None:
        left_minor = word.amount_minor
        left_items = items_left(word.items_json, items) if word.items_json else items
        seen = word.ordinal if word.kind == LEFT else 0
    corrected = max((change.ordinal for change in changes if change.kind == LEFT), default=0)
    for change in changes:
        if change.kind == REFUND and change.ordinal > seen:
            left_minor -= change.amount_minor
            left_items = _less(left_items, items_left(change.items_json, items))
    left_minor = max(left_minor, 0)
    is_canceled = any(change.kind == CANCELED and change.ordinal > corrected for change in changes)
    return Left(left_minor, left_items, is_canceled or (left_minor == 0 and amount_minor != 0))


def _less(items: Iterable[ItemFacts], gone: Iterable[ItemFacts]) -> tuple[ItemFacts, ...]:
    """Items without what is gone of them, by their SKU."""
    left = list(items)
    for each in gone:
        pieces, minor = each.quantity, each.subtotal_minor or 0
        for place, item in enumerate(left):
            if item.sku != each.sku:
                continue
            fewer = min(pieces, item.quantity)
            less = min(minor, item.subtotal_minor or 0)
            subtotal = None if item.subtotal_minor is None else item.subtotal_minor - less
            left[place] = replace(item, quantity=item.quantity - fewer, subtotal_minor=subtotal)
            pieces, minor = pieces - fewer, minor - less
    return tuple(item for item in left if item.quantity or item.subtotal_minor)


def items_left(items_json: str, reported: Iterable[ItemFacts]) -> tuple[ItemFacts, ...]:
    """The items a decision names; categories are those that were reported.

    Raises ValueError for a text that is no such list.
    """
    categories = {item.sku: item.category for item in reported}
    left = []
    for each in _listed(items_json):
        sku = each.get("sku")
        sku = None if sku is None else _text(str(sku))
        quantity = _whole(each.get("quantity", 1), limits.ITEM_QUANTITY_MAX)
        subtotal_minor = _whole(each.get("subtotal_minor", 0), AMOUNT_MAX)
        left.append(ItemFacts(sku, categories.get(sku), quantity, subtotal_minor))
    return tuple(left)


def _listed(items_json: str) -> list[dict[str, Any]]:
    try:
        listed = json.loads(items_json or "[]")
    except RecursionError:
        raise ValueError("lists in lists without end") from None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ValueError("items are a list of objects")
    return listed


def _text(text: str) -> str:
    """JSON can spell what no ledger keeps: half of a surrogate pair, and NUL."""
    text.encode()
    if "\0" in text:
        raise ValueError("a NUL in a text")
    return text


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("an item's quantity and subtotal are whole numbers")
    return value
