"""Caps: how much of a period is left, exactly.

A conversion that would take a cap past its limit is over it as a whole: credited, shown with
`over_cap`, unpaid, and not counted, so that a smaller one may still fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from headwater.book.calendar import day_of, month_of
from headwater.book.money import MICROS
from headwater.book.terms import Cap

Key = tuple[int, int, int, str, str, str, str]
"""Program, partner (0: all), event type (0: all), metric, currency ("" of conversions), period,
and its first day ("" of a lifetime): what a counter is of. It does not name the terms, so new
terms go on where the former stood."""


class Amounts(NamedTuple):
    """What a conversion, or a click, would take. Money in the terms' currency."""

    conversions: int
    payout_micros: int
    """Of a conversion the minor units it books, times `MICROS`: two of 3.5 that are booked as 4
    each take 8. Of a click its own micros, for clicks are booked when they make up a unit."""
    revenue_minor: int


@dataclass(frozen=True, slots=True)
class CapKey:
    """A cap, and the counter it looks at."""

    key: Key
    limit: int
    """In the unit of its counter: conversions, micros of payout, minor units of revenue."""
    metric: str

    @property
    def is_of_program(self) -> bool:
        """Whether it counts what all partners bring."""
        return self.key[1] == 0

    def amount(self, amounts: Amounts) -> int:
        """What of `amounts` it counts."""
        if self.metric == "conversions":
            return amounts.conversions
        return amounts.payout_micros if self.metric == "payout" else amounts.revenue_minor


def cap_keys(
    caps: Iterable[Cap],
    program: int,
    partner: int,
    event_type: int,
    at_ms: int,
    zone: str,
    currency: str,
) -> list[CapKey]:
    """The caps that count an event of `event_type` at `at_ms`, in days of `zone`.

    `currency` is that of the terms: amounts in two currencies have two counters.
    """
    found = []
    for cap in caps:
        if cap.event_type not in (None, event_type):
            continue
        key = (
            program,
            partner if cap.scope == "partner" else 0,
            cap.event_type or 0,
            cap.metric,
            "" if cap.metric == "conversions" else currency,
            cap.period,
            _first_day(cap, at_ms, zone),
        )
        limit = cap.limit * MICROS if cap.metric == "payout" else cap.limit
        found.append(CapKey(key, limit, cap.metric))
    return found


def _first_day(cap: Cap, at_ms: int, zone: str) -> str:
    match cap.period:
        case "day":
            return day_of(at_ms, zone).isoformat()
        case "month":
            return month_of(at_ms, zone).isoformat()
    return ""


def room(cap: CapKey, used: int) -> int:
    """How much of its metric still fits; never below 0."""
    return max(0, cap.limit - used)


def reached(caps: Iterable[CapKey], used: Mapping[Key, int], amounts: Amounts) -> CapKey | None:
    """The first cap that `amounts` do not fit in as a whole; None: they fit in all.

    A counter that is absent is at 0. What takes nothing of a metric fits in any cap of it.
    """
    for cap in caps:
        wanted = cap.amount(amounts)
        if wanted and wanted > room(cap, used.get(cap.key, 0)):
            return cap
    return None


def taken(caps: Iterable[CapKey], amounts: Amounts) -> dict[Key, int]:
    """What `amounts` add to each counter. Several caps on one counter count once."""
    return {cap.key: wanted for cap in caps if (wanted := cap.amount(amounts))}
