"""Amounts: decimal text to integer minor units, exactly, or a reason why not."""

from __future__ import annotations

from headwater import limits
from headwater.edge.parse import Number
from headwater.model.currency import EXPONENTS, AmountRefused, minor_of_text

__all__ = ["AmountRefused", "currency_code", "minor_units"]


def currency_code(text: str) -> str | None:
    """The ISO 4217 code in capitals, or None when there is no such currency."""
    code = text.upper() if text.isascii() else ""
    return code if code in EXPONENTS else None


def minor_units(amount: object, currency: str) -> int:
    """Minor units of `currency` (a known code) in a decimal text or a number read exactly.

    Raises AmountRefused: a float, whose digits are not what the sender wrote, is amount_invalid.
    """
    return minor_of_text(_decimal_text(amount), currency)


def _decimal_text(amount: object) -> str:
    if isinstance(amount, str):
        return amount
    if isinstance(amount, Number):
        return amount.text
    if isinstance(amount, int) and not isinstance(amount, bool):
        # An int too long to print is refused by its size, not by Python's own limit.
        return str(amount) if abs(amount) < 10**limits.AMOUNT_DIGITS_MAX else "x"
    raise AmountRefused("amount_invalid")
