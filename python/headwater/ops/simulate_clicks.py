"""What became of clicks under either rules: by partner, accepted or not, counted or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from headwater import limits
from headwater.errors import HeadwaterError
from headwater.ops.simulate_rows import rows_of
from headwater.ops.simulate_rules import Span

STATES: Final = ("accept", "review", "reject", "filtered", "uncounted")
"""Verdicts; of clicks that are accepted, those that are not counted stand apart."""

# Positions in the engine's rows of clicks and of changed decisions.
_CLICK, _PROGRAM, _PARTNER, _ACCEPT, _VERDICT, _COUNTED = 0, 2, 3, 5, 10, 11
_REVISED_VERDICT, _REVISED_COUNTED = 4, 5
_TEST: Final = "test"


class Clicks:
    """The state each click of a program ended in, of those that were accepted in a span."""

    def __init__(self, program: int, span: Span) -> None:
        self._program = program
        self._accept_ms = range(span.since_ms, span.until_ms)
        self.states: dict[bytes, tuple[int, str]] = {}
        """Partner and state by click id. Equal pairs are one object."""
        self._pairs: dict[tuple[int, str], tuple[int, str]] = {}

    def take(self, outcomes: bytes) -> None:
        """Read the clicks among an engine's outcomes.

        Raises HeadwaterError when there are more than can be compared at once.
        """
        for row in rows_of(outcomes, "clicks"):
            is_asked = row[_PROGRAM] == self._program and row[_ACCEPT] in self._accept_ms
            if is_asked and row[_COUNTED] != _TEST:
                self._put(row[_CLICK], row[_PARTNER], row[_VERDICT], row[_COUNTED])
        for row in rows_of(outcomes, "decision_revised"):
            known = self.states.get(row[_CLICK])
            if known is not None:
                self._put(row[_CLICK], known[0], row[_REVISED_VERDICT], row[_REVISED_COUNTED])
        if len(self.states) > limits.SIMULATED_CLICKS_MAX:
            raise HeadwaterError(
                f"more than {limits.SIMULATED_CLICKS_MAX} clicks: "
                "choose a shorter span with --since and --until"
            )

    def _put(self, click_id: bytes, partner: int, verdict: str, counted: str) -> None:
        state = "uncounted" if verdict == "accept" and counted != "counted" else verdict
        pair = (partner, state)
        self.states[click_id] = self._pairs.setdefault(pair, pair)


@dataclass
class PartnerClicks:
    """One partner's clicks under both rules, by state."""

    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    """Clicks that ended in another state."""

    def add(self, before: str, after: str) -> None:
        """Take in one click."""
        self.before[before] += 1
        self.after[after] += 1
        self.changed += before != after

    def add_all(self, other: PartnerClicks) -> None:
        self.before.update(other.before)
        self.after.update(other.after)
        self.changed += other.changed


def compare_clicks(before: Clicks, after: Clicks) -> dict[int, PartnerClicks]:
    """By partner. Both engines took the same clicks."""
    found: dict[int, PartnerClicks] = {}
    for click_id, (partner, state) in before.states.items():
        _, now = after.states[click_id]
        found.setdefault(partner, PartnerClicks()).add(state, now)
    return dict(sorted(found.items()))


def total(partners: dict[int, PartnerClicks]) -> PartnerClicks:
    """All partners as one."""
    whole = PartnerClicks()
    for clicks in partners.values():
        whole.add_all(clicks)
    return whole
