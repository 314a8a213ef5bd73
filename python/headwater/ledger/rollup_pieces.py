"""The fewest cells a period is read from: spans, days and quarter hours that fit in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from headwater.ledger.rollup_folds import Mark
from headwater.ledger.rollup_tables import (
    DAY_QUARTERS,
    DAYS,
    DIMENSIONS,
    QUARTERS,
    SPAN_QUARTERS,
    SPANS,
    WHOLE,
    Grain,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is summed up, and by what: names are `program` and those of DIMENSIONS."""

    marks: Mapping[int, Mark]
    """The programs, and how far their cells are summed up."""
    groups: Sequence[str]
    only: Mapping[str, Any]
    """Values of dimensions that the cells have to have: one, or a tuple of some."""

    @property
    def needed(self) -> frozenset[str]:
        return frozenset(name for name in (*self.groups, *self.only) if name != "program")


class Piece(NamedTuple):
    """Cells of a grain in a part of a period, in quarter hours: of each day of UTC those from the
    first of `slots` on and before the second.
    """

    grain: Grain
    first: int
    end: int
    slots: tuple[int, int] = (0, DAY_QUARTERS)

    @property
    def is_cut(self) -> bool:
        return self.slots != (0, DAY_QUARTERS)

    @property
    def times(self) -> int:
        """How many times its cells may begin at; of cut ones the days are whole."""
        count = (self.end - self.first) // self.grain.quarters
        return count * (self.slots[1] - self.slots[0]) // DAY_QUARTERS

    def prefix(self, only: Mapping[str, Any]) -> dict[str, Any]:
        """What is known of the dimensions with which the key of its cells goes on, as far as all
        are; empty unless it says more than that the grain has none of them.
        """
        known: dict[str, Any] = {}
        for name in DIMENSIONS:
            if name in only:
                known[name] = only[name]
            elif name not in self.grain.dimensions:
                known[name] = 0 if name in ("partner", "link") else ""
            else:
                break
        return known if known.keys() & only.keys() else {}


_LEVELS: Final = {day.dimensions: (day, span) for day, span in zip(DAYS, SPANS, strict=True)}


def _levels(needed: frozenset[str]) -> tuple[Grain, Grain] | None:
    """The cells of days and spans with what is needed, the fewest; None: only WHOLE has it."""
    for dimensions, levels in _LEVELS.items():
        if needed <= dimensions:
            return levels
    return None


def pieces(needed: frozenset[str], mark: Mark, first: int, end: int) -> Iterator[Piece]:
    """A period as the largest cells that are summed up."""
    levels = _levels(needed)
    day_first, day_end = _inside(first, min(end, mark.folded), DAY_QUARTERS)
    if levels is None or day_first >= day_end:
        yield from _quarters(needed, mark, first, end)
        return
    day, span = levels
    yield from _quarters(needed, mark, first, day_first)
    span_first, span_end = _inside(day_first, min(day_end, mark.spanned), SPAN_QUARTERS)
    if span_first < span_end:
        yield Piece(day, day_first, span_first)
        yield Piece(span, span_first, span_end)
        yield Piece(day, span_end, day_end)
    else:
        yield Piece(day, day_first, day_end)
    yield from _quarters(needed, mark, day_end, end)


class Daily(NamedTuple):
    """What sums of some days of 24 hours are made of: of each day counted from `origin` on, the
    sums are added to the days of the period so many behind it, or taken from them.
    """

    piece: Piece
    origin: int
    moves: tuple[tuple[int, int], ...]
    """Days behind, and 1 or -1; only to the first `days` of the period."""
    days: int


def daily_pieces(needed: frozenset[str], mark: Mark, first: int, end: int) -> Iterator[Daily]:
    """A period of days of 24 hours. A day of another zone is one of UTC, less the quarter hours
    at one of its edges, with those at that of its neighbor: whichever are fewer.
    """
    levels = _levels(needed)
    days = (end - first) // DAY_QUARTERS
    day, slot = divmod(first, DAY_QUARTERS)
    is_late = slot > DAY_QUARTERS // 2
    # The last cell that one of them is made of has to be summed up.
    summed = mark.folded // DAY_QUARTERS - 1 if is_late else (mark.folded - slot) // DAY_QUARTERS
    count = 0 if levels is None else max(0, min(days, summed - day))
    origin = day * DAY_QUARTERS
    until = origin + count * DAY_QUARTERS
    if levels is not None and count:
        behind = int(is_late)
        shift = behind * DAY_QUARTERS
        whole = Piece(levels[0], origin + shift, until + shift)
        yield Daily(whole, origin, ((-behind, 1),), count)
        if slot:
            slots = (slot, DAY_QUARTERS) if is_late else (0, slot)
            moves = ((0, 1), (-1, -1)) if is_late else ((0, -1), (-1, 1))
            edges = Piece(_quarter_grain(needed), origin, until + DAY_QUARTERS, slots)
            yield Daily(edges, origin, moves, count)
    for piece in _quarters(needed, mark, first + count * DAY_QUARTERS, end):
        yield Daily(piece, first, ((0, 1),), days)


def _inside(first: int, end: int, quarters: int) -> tuple[int, int]:
    """The multiples of `quarters` within a period."""
    return -(-first // quarters) * quarters, end - end % quarters


def _quarters(needed: frozenset[str], mark: Mark, first: int, end: int) -> Iterator[Piece]:
    grain = _quarter_grain(needed)
    summed = end if grain is WHOLE else min(max(mark.folded, first), end)
    yield Piece(grain, first, summed)
    yield Piece(WHOLE, summed, end)


def _quarter_grain(needed: frozenset[str]) -> Grain:
    """The cells of quarter hours that are over with what is needed, the fewest."""
    return next((grain for grain in QUARTERS if needed <= grain.dimensions), WHOLE)
