"""Exact arithmetic of money: rounding, sharing out, and conversion between currencies.

Amounts are integers in minor units of a currency (ISO 4217). Where a minor unit is too coarse they
are integers in micros: millionths of one minor unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeGuard

from headwater import limits
from headwater.model.currency import EXPONENTS

MICROS: Final = 1_000_000
"""Micros of one minor unit; parts per million are of the same size, so ppm of a minor unit are
micros."""

_RATE: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?", re.ASCII)


def half_even(numerator: int, denominator: int) -> int:
    """The quotient as the nearest whole number; of two that are as near, the even one.

    `denominator` is above zero.
    """
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient % 2):
        return quotient + 1
    return quotient


def rounded(exact: Fraction) -> int:
    """`half_even` of a fraction."""
    return half_even(exact.numerator, exact.denominator)


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """`total` shared out by `weights`, to parts that sum to it exactly.

    Each part is its exact share rounded down or up: the units that are left go to the largest
    remainders, the first of equal ones first (Hamilton's method). A negative total is shared as
    the positive one, with the sign. Weights that are all zero count as equal. Raises ValueError
    for a negative weight, or for no weight and a total that is not zero.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("a weight is negative")
    if not weights:
        if total:
            raise ValueError("nothing to share the total out to")
        return []
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    sign, amount = (-1, -total) if total < 0 else (1, total)
    parts, rests = [], []
    for weight in weights:
        part, rest = divmod(amount * weight, whole)
        parts.append(part)
        rests.append(rest)
    by_rest = sorted(range(len(parts)), key=lambda place: (-rests[place], place))
    for place in by_rest[: amount - sum(parts)]:
        parts[place] += 1
    return [sign * part for part in parts]


def accrue(carried_micros: int, more_micros: int) -> tuple[int, int]:
    """What amounts below a minor unit come to: whole minor units to book now, micros to carry.

    The carry is what was left over before, of the same partner, program and currency; after any
    sequence the booked units and the carry are exactly what was earned.
    """
    total = carried_micros + more_micros
    booked = half_even(total, MICROS)
    return booked, total - booked * MICROS


@dataclass(frozen=True, slots=True)
class Rate:
    """`numerator / denominator` units of `currency_to` for one unit of `currency_from`.

    Units, not minor units: exponents are dealt with here. An action keeps its rate, and is
    modified and reversed at it.
    """

    currency_from: str
    currency_to: str
    numerator: int
    denominator: int
    source: str
    """Who published it."""
    date: str
    """The day it was published for, ISO 8601."""

    def exact(self, amount_minor: int) -> Fraction:
        """Minor units of `currency_to`, not rounded."""
        scale_to, scale_from = (
            10 ** EXPONENTS[self.currency_to],
            10 ** EXPONENTS[self.currency_from],
        )
        return Fraction(amount_minor * self.numerator * scale_to, self.denominator * scale_from)

    def convert(self, amount_minor: int) -> int:
        """Minor units of `currency_to`, rounded half even."""
        return rounded(self.exact(amount_minor))

    def inverse(self) -> Rate:
        """The rate of the way back."""
        return Rate(
            self.currency_to,
            self.currency_from,
            self.denominator,
            self.numerator,
            self.source,
            self.date,
        )

    def value(self) -> dict[str, Any]:
        """As a control value and as the ledger's JSON; `read_rate` reads it."""
        return {
            "currency_from": self.currency_from,
            "currency_to": self.currency_to,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "source": self.source,
            "date": self.date,
        }


def same(currency: str) -> Rate:
    """The rate of a currency to itself."""
    return Rate(currency, currency, 1, 1, "", "")


def read_rate(value: Mapping[str, Any]) -> Rate | None:
    """The rate of a control value `exchange_rate`, or of an action; None when it is none."""
    currency_from, currency_to = value.get("currency_from"), value.get("currency_to")
    numerator, denominator = value.get("numerator"), value.get("denominator")
    if not (_is_currency(currency_from) and _is_currency(currency_to)):
        return None
    if not (_is_part(numerator) and _is_part(denominator)):
        return None
    source, day = str(value.get("source", "")), str(value.get("date", ""))
    return Rate(currency_from, currency_to, numerator, denominator, source, day)


def _is_currency(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value in EXPONENTS


def _is_part(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= limits.RATE_PART_MAX


def rate_parts(text: str) -> tuple[int, int]:
    """Numerator and denominator of a rate written as a decimal, `1.0845`.

    Raises ValueError: no sign, no exponent, at most twelve digits on each side, not zero.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("a decimal number with at most 12 digits on each side of the point")
    decimals = match[2] or ""
    exact = Fraction(int(match[1] + decimals), 10 ** len(decimals))
    if not exact:
        raise ValueError("a rate is above zero")
    return exact.numerator, exact.denominator


def rate_between(
    rates: Mapping[tuple[str, str], Rate], currency_from: str, currency_to: str
) -> Rate | None:
    """The rate to take: the pair's own, or the opposite pair's turned round. None: there is none.

    `rates` are those in force, by (from, to). Never by way of a third currency, for then the
    source would be nobody's.
    """
    if currency_from == currency_to:
        return same(currency_from) if currency_from in EXPONENTS else None
    own = rates.get((currency_from, currency_to))
    if own is not None:
        return own
    back = rates.get((currency_to, currency_from))
    return None if back is None else back.inverse()
