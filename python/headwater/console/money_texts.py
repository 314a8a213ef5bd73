"""Amounts between the API and the book: decimal numbers there, integers here."""

from __future__ import annotations

import json
from collections.abc import Sequence

from headwater import limits
from headwater.console.bodies import refused
from headwater.console.terms_shapes import ItemIn
from headwater.errors import FieldFault
from headwater.model.currency import EXPONENTS, AmountRefused, decimal_text, minor_of_text
from headwater.model.reasons import REASONS

# A number of more digits is not what was written once a float has read it.
_FLOAT_DIGITS_MAX = 15
_MICRO_DIGITS = 6


def minor(field: str, amount: str | float, currency: str) -> int:
    """Minor units of an amount of a known currency. Raises RequestRefused with `field` at fault."""
    try:
        return minor_of_text(_text(amount), currency)
    except AmountRefused as error:
        raise refused([FieldFault(field, error.code, REASONS[error.code].meaning)]) from None


def _text(amount: str | float) -> str:
    if isinstance(amount, float):
        text = repr(amount)
        if sum(map(str.isdigit, text)) > _FLOAT_DIGITS_MAX:
            raise AmountRefused("amount_invalid")
        return text.removesuffix(".0")
    return str(amount)


def items_json(items: Sequence[ItemIn], currency: str) -> str:
    """What is left of an order's lines, as a decision says it. Raises RequestRefused."""
    listed = [
        {
            "sku": item.sku,
            "quantity": item.quantity,
            "subtotal_minor": 0
            if item.subtotal is None
            else minor(f"items.{number}.subtotal", item.subtotal, currency),
        }
        for number, item in enumerate(items)
    ]
    text = json.dumps(listed, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > limits.DECISION_LINES_BYTES_MAX:
        detail = f"more than {limits.DECISION_LINES_BYTES_MAX} bytes as a record"
        raise refused([FieldFault("items", "too_many_values", detail)])
    return text


def text(amount_minor: int, currency: str) -> str:
    """An amount as the API shows it; of a currency that is not known, its minor units."""
    return decimal_text(amount_minor, currency) if currency in EXPONENTS else str(amount_minor)


def micros_text(micros: int, currency: str) -> str:
    """An amount in micros, exactly: the currency's decimals, and as many more as it needs."""
    exponent = EXPONENTS.get(currency, 0)
    places = exponent + _MICRO_DIGITS
    digits = str(abs(micros)).rjust(places + 1, "0")
    whole, fraction = digits[:-places], digits[-places:]
    kept = fraction[:exponent] + fraction[exponent:].rstrip("0")
    sign = "-" if micros < 0 else ""
    return f"{sign}{whole}.{kept}" if kept else sign + whole
