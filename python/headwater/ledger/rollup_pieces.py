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
    EIGHT_DAYS,
    QUARTERS,
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


_LEVELS: Final = {day.dimensions: (span, day) for day, span in zip(DAYS, SPANS, strict=True)}


def _levels(needed: frozenset[str]) -> tuple[Grain, ...]:
    """The cells of spans and days with what is needed, the fewest; none: only WHOLE has it, and
    what is summed up of all that it has.
    """
    for dimensions, levels in _LEVELS.items():
        if needed <= dimensions:
            return levels
    return ()


def pieces(needed: frozenset[str], mark: Mark, first: int, end: int) -> Iterator[Piece]:
    """A period as the largest cells that are summed up."""
    yield from _of_levels(_levels(needed) or (EIGHT_DAYS,), needed, mark, (first, end))


def _of_levels(
    levels: tuple[Grain, ...], needed: frozenset[str], mark: Mark, period: tuple[int, int]
) -> Iterator[Piece]:
    """Cells of the first level within the period; of what is left, the following levels'."""
    if not levels:
        yield from _quarters(needed, mark, *period)
        return
    largest, *rest = levels
    upto = mark.spanned if largest in SPANS else mark.folded
    first, end = _inside(period[0], min(period[1], upto), largest.quarters)
    if first >= end:
        yield from _of_levels(tuple(rest), needed, mark, period)
        return
    yield from _of_levels(tuple(rest), needed, mark, (period[0], first))
    yield Piece(largest, first, end)
    yield from _of_levels(tuple(rest), needed, mark, (end, period[1]))


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
    count = max(0, min(days, summed - day)) if levels else 0
    origin = day * DAY_QUARTERS
    until = origin + count * DAY_QUARTERS
    if count:
        behind = int(is_late)
        shift = behind * DAY_QUARTERS
        whole = Piece(levels[-1], origin + shift, until + shift)
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
