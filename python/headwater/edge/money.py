"""Amounts: decimal text to integer minor units, exactly, or a reason why not."""

from __future__ import annotations

import re

from headwater import limits
from headwater.edge.parse import Number
from headwater.model.currency import EXPONENTS

_AMOUNT = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)


class AmountRefused(ValueError):
    """`code` is a reason: amount_invalid, amount_negative or amount_precision."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def currency_code(text: str) -> str | None:
    """The ISO 4217 code in capitals, or None when there is no such currency."""
    code = text.upper() if text.isascii() else ""
    return code if code in EXPONENTS else None


def minor_units(amount: object, currency: str) -> int:
    """Minor units of `currency` (a known code) in a decimal text or a number read exactly.

    Digits, and at most one point between digits; neither sign nor exponent nor grouping. Raises
    AmountRefused: a float, whose digits are not what the sender wrote, is amount_invalid.
    """
    text = _decimal_text(amount)
    if text.startswith("-"):
        raise AmountRefused("amount_negative")
    match = _AMOUNT.fullmatch(text) if len(text) <= 2 * limits.AMOUNT_DIGITS_MAX else None
    if match is None:
        raise AmountRefused("amount_invalid")
    whole, fraction = match[1], match[2] or ""
    exponent = EXPONENTS[currency]
    if len(fraction) > exponent:
        raise AmountRefused("amount_precision")
    digits = (whole + fraction.ljust(exponent, "0")).lstrip("0")
    if len(digits) > limits.AMOUNT_DIGITS_MAX:
        raise AmountRefused("amount_invalid")
    return int(digits or "0")


def _decimal_text(amount: object) -> str:
    if isinstance(amount, str):
        return amount
    if isinstance(amount, Number):
        return amount.text
    if isinstance(amount, int) and not isinstance(amount, bool):
        # An int too long to print is refused by its size, not by Python's own limit.
        return str(amount) if abs(amount) < 10**limits.AMOUNT_DIGITS_MAX else "x"
    raise AmountRefused("amount_invalid")
