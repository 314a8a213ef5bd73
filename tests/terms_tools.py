"""Terms for tests of the book: what a test says nothing of is the simplest there is."""

from __future__ import annotations

from typing import Any

from headwater.book.terms import Terms, read_terms

SALE = 3
"""The event type the tests pay for."""

DAY_MS = 86_400_000


def value_of(event: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """A control value `terms` that holds, paying `event` for a sale."""
    return {
        "program": 7,
        "partner": 0,
        "version": 1,
        "from_ms": 0,
        "currency": "EUR",
        "locking": {"kind": "month_end", "months": 1, "days": 0},
        "payment": {"months": 0, "days": 14},
        "events": {str(SALE): event or {}},
        **members,
    }


def terms_of(event: dict[str, Any] | None = None, **members: Any) -> Terms:
    return read_terms(1, value_of(event, **members))


def flat(cents: int, per: str = "order") -> dict[str, Any]:
    return {"kind": "flat", "amount_micros": cents * 1_000_000, "per": per}


def percent(percents: int, per: str = "order") -> dict[str, Any]:
    return {"kind": "percent", "ppm": percents * 10_000, "per": per}
