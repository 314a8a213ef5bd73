"""Sums over a period out of rollups: from the fewest cells that have the dimensions asked for.

A period is made of the spans, the days and the quarter hours that fit in it, so a year is read
from some hundred cells of each group, and is exact to the quarter hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from headwater import limits
from headwater.errors import HeadwaterError
from headwater.ledger.rollup_folds import Mark
from headwater.ledger.rollup_tables import (
    CLICK_MEASURES,
    DAY_QUARTERS,
    DAYS,
    DIMENSIONS,
    QUARTER_MS,
    QUARTERS,
    SALE_MEASURES,
    SPAN_QUARTERS,
    SPANS,
    SUB_IDS_REST,
    WHOLE,
    Grain,
)
from headwater.ledger.schema import (
    click_rollup_changes,
    click_rollups,
    programs,
    rollup_marks,
    sale_rollups,
)
from headwater.model.click_cells import ClickCells

__all__ = ["CLICK_MEASURES", "DAY_QUARTERS", "QUARTER_MS", "SALE_MEASURES", "SUB_IDS_REST"]


class TooManyCells(HeadwaterError):
    """What is asked for would have to be summed up from too many cells."""


@dataclass(slots=True)
class Sums:
    """What came of a group: clicks, and sales by currency, in the order of the measures."""

    clicks: list[int] = field(default_factory=lambda: [0] * len(CLICK_MEASURES))
    sales: dict[str, list[int]] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not any(self.clicks) and not any(any(sums) for sums in self.sales.values())

    def add(self, other: Sums) -> None:
        _add(self.clicks, other.clicks)
        for currency, sums in other.sales.items():
            _add(self.sales.setdefault(currency, [0] * len(SALE_MEASURES)), sums)


Groups = dict[tuple[Any, ...], Sums]
"""Sums by the values of what is grouped by, in its order."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is summed up, and by what: names are `program` and those of DIMENSIONS."""

    marks: Mapping[int, Mark]
    """The programs, and how far their cells are summed up."""
    groups: Sequence[str]
    only: Mapping[str, Any]
    """Values of dimensions that the cells have to have."""

    @property
    def needed(self) -> frozenset[str]:
        return frozenset(name for name in (*self.groups, *self.only) if name != "program")


def marks_of(
    connection: sa.Connection, *, program: int | None = None, brand: int | None = None
) -> dict[int, Mark]:
    """The programs that have cells: all, those of a brand, or one."""
    columns = rollup_marks.c
    statement = sa.select(columns.program, columns.folded, columns.spanned)
    if program is not None:
        statement = statement.where(columns.program == program)
    if brand is not None:
        of_brand = sa.select(programs.c.id).where(programs.c.brand_id == brand)
        statement = statement.where(columns.program.in_(of_brand))
    rows = connection.execute(statement.order_by(columns.program))
    return {row.program: Mark(row.folded, row.spanned) for row in rows}


class _Piece(NamedTuple):
    grain: Grain
    first: int
    end: int


_LEVELS: Final = {day.dimensions: (day, span) for day, span in zip(DAYS, SPANS, strict=True)}


def _levels(needed: frozenset[str]) -> tuple[Grain, Grain] | None:
    """The cells of days and spans with what is needed, the fewest; None: only WHOLE has it."""
    for dimensions, levels in _LEVELS.items():
        if needed <= dimensions:
            return levels
    return None


def _pieces(needed: frozenset[str], mark: Mark, first: int, end: int) -> Iterator[_Piece]:
    """A period as the largest cells that are summed up."""
    levels = _levels(needed)
    if levels is None or first >= end:
        yield _Piece(WHOLE, first, end)
        return
    day, span = levels
    day_first, day_end = _inside(first, min(end, mark.folded), DAY_QUARTERS)
    if day_first >= day_end:
        yield from _quarters(needed, mark, first, end)
        return
    yield from _quarters(needed, mark, first, day_first)
    span_first, span_end = _inside(day_first, min(day_end, mark.spanned), SPAN_QUARTERS)
    if span_first < span_end:
        yield _Piece(day, day_first, span_first)
        yield _Piece(span, span_first, span_end)
        yield _Piece(day, span_end, day_end)
    else:
        yield _Piece(day, day_first, day_end)
    yield from _quarters(needed, mark, day_end, end)


def _inside(first: int, end: int, quarters: int) -> tuple[int, int]:
    """The multiples of `quarters` within a period."""
    return -(-first // quarters) * quarters, end - end % quarters


def _quarters(needed: frozenset[str], mark: Mark, first: int, end: int) -> Iterator[_Piece]:
    summed = min(max(mark.folded, first), end)
    for grain in QUARTERS:
        if needed <= grain.dimensions:
            yield _Piece(grain, first, summed)
            yield _Piece(WHOLE, summed, end)
            return
    yield _Piece(WHOLE, first, end)


def grouped(connection: sa.Connection, scope: Scope, first: int, end: int) -> Groups:
    """Sums over quarter hours from `first` on and before `end`, by group.

    Raises TooManyCells when no sums are kept of what is asked for together, and the period has
    more than ROLLUP_CELLS_MAX cells.
    """
    if _levels(scope.needed) is None:
        _require_bearable(connection, scope, first, end)
    found: Groups = {}
    for program, mark in scope.marks.items():
        for piece in _pieces(scope.needed, mark, first, end):
            if piece.first < piece.end:
                _read(connection, scope, program, piece, found)
    _add_changes(connection, scope, first, end, found)
    if len(found) > limits.REPORT_GROUPS_MAX:
        raise TooManyCells(f"over {limits.REPORT_GROUPS_MAX} rows")
    return {key: sums for key, sums in found.items() if not sums.is_empty()}


def _require_bearable(connection: sa.Connection, scope: Scope, first: int, end: int) -> None:
    left = limits.REPORT_CELLS_MAX
    for program in scope.marks:
        columns = click_rollups.c
        some = (
            sa.select(sa.literal(1))
            .where(*_where(columns, scope, program, _Piece(WHOLE, first, end)))
            .limit(left + 1)
        )
        left -= connection.scalar(sa.select(sa.func.count()).select_from(some.subquery())) or 0
        if left < 0:
            raise TooManyCells(f"over {limits.REPORT_CELLS_MAX} cells")


def _where(columns: Any, scope: Scope, program: int, piece: _Piece) -> list[Any]:
    return [
        columns.grain == piece.grain.number,
        columns.program == program,
        columns.bucket >= piece.first,
        columns.bucket < piece.end,
        *(columns[name] == value for name, value in scope.only.items()),
    ]


def _read(
    connection: sa.Connection,
    scope: Scope,
    program: int,
    piece: _Piece,
    found: Groups,
    *,
    days_from: int | None = None,
) -> None:
    for table, measures in ((click_rollups, CLICK_MEASURES), (sale_rollups, SALE_MEASURES)):
        columns = table.c
        keys: list[Any] = [columns[name] for name in scope.groups]
        if days_from is not None:
            day = (columns.bucket - days_from) // sa.literal_column(str(DAY_QUARTERS))
            keys.insert(0, day.label("day"))
        currency = [columns.currency] if "currency" in columns else []
        statement = (
            sa.select(*keys, *currency, *(sa.func.sum(columns[name]) for name in measures))
            .where(*_where(columns, scope, program, piece))
            .group_by(*keys, *currency)
        )
        if not keys and not currency:
            # Else there would be a row of nothing.
            statement = statement.group_by(columns.program)
        width = len(keys)
        for row in connection.execute(statement):
            sums = found.setdefault(tuple(row[:width]), Sums())
            if currency:
                _add(sums.sales.setdefault(row[width], [0] * len(measures)), row[width + 1 :])
            else:
                _add(sums.clicks, row[width:])


def _add_changes(
    connection: sa.Connection,
    scope: Scope,
    first: int,
    end: int,
    found: Groups,
    *,
    days_from: int | None = None,
) -> None:
    """Add what the last batches changed and is in no cell yet."""
    changed = ClickCells()
    for cells in connection.scalars(sa.select(click_rollup_changes.c.cells)):
        changed.merge(cells)
    for _grain, program, bucket, *rest in changed.rows():
        if program not in scope.marks or not first <= bucket < end:
            continue
        values = dict(zip(DIMENSIONS, rest, strict=False), program=program)
        if any(values[name] != value for name, value in scope.only.items()):
            continue
        day = () if days_from is None else ((bucket - days_from) // DAY_QUARTERS,)
        key = (*day, *(values[name] for name in scope.groups))
        _add(found.setdefault(key, Sums()).clicks, rest[len(DIMENSIONS) :])


def _add(into: list[int], more: Sequence[int]) -> None:
    for at, amount in enumerate(more):
        into[at] += amount


def by_day(connection: sa.Connection, scope: Scope, first: int, end: int) -> Groups:
    """Sums by program, partner or nothing for each day of a period, all 24 hours long; a key
    begins with the day's number in it. One reading for all of them.
    """
    found: Groups = {}
    for program, mark in scope.marks.items():
        for piece in _quarters(scope.needed, mark, first, end):
            if piece.first < piece.end:
                _read(connection, scope, program, piece, found, days_from=first)
    _add_changes(connection, scope, first, end, found, days_from=first)
    return {key: sums for key, sums in found.items() if not sums.is_empty()}
