"""Tiers: what a partner's month so far does to what the next action pays.

A month is the program's calendar month. Its progress is counted in the basis of the tiers:
actions, or revenue in minor units of the terms' currency. Reversed actions do not count.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from headwater.book.calendar import month_of
from headwater.book.terms import Basis, Step, Terms, Tiers

Key = tuple[int, int, int, str, str, str]
"""Program, partner, event type, basis, currency ("" of actions), first day of the month."""


class Progress(NamedTuple):
    """A partner's month, in the unit of the basis."""

    before: int
    """What it held before the action: where marginal steps begin to count."""
    total: int
    """What it holds now, this action included: what retroactive steps go by. When the action is
    priced again, as it locks, all that has come since is in it."""


NO_PROGRESS = Progress(0, 0)


def counter_key(
    terms: Terms, tiers: Tiers, event_type: int, partner: int, at_ms: int, zone: str
) -> Key:
    """The counter of a partner's month."""
    currency = terms.currency if tiers.basis == "revenue" else ""
    month = month_of(at_ms, zone).isoformat()
    return terms.program, partner, event_type, tiers.basis, currency, month


def measure(basis: Basis, revenue_minor: int) -> int:
    """What one action adds to the counter."""
    return 1 if basis == "actions" else revenue_minor


def step_at(tiers: Tiers, reached: int) -> Step | None:
    """The highest step whose start is reached; None below the first."""
    found = None
    for step in tiers.steps:
        if step.start > reached:
            break
        found = step
    return found


def split(tiers: Tiers, start: Fraction, amount: Fraction) -> list[tuple[Step | None, Fraction]]:
    """An amount of revenue that begins at `start` of the month, cut at the steps' starts.

    The parts sum to `amount`; a step that none of it falls into is left out.
    """
    parts = []
    end = start + amount
    edges = [(None, Fraction(0)), *((step, Fraction(step.start)) for step in tiers.steps)]
    for place, (step, low) in enumerate(edges):
        high = edges[place + 1][1] if place + 1 < len(edges) else end
        part = min(end, high) - max(start, low)
        if part > 0:
            parts.append((step, part))
    return parts
