"""Sums over a period out of rollups: from the fewest cells that have the dimensions asked for.

A period is made of the spans, the days and the quarter hours that fit in it, so a year is read
from some hundred cells of each group, and is exact to the quarter hour. Where the key of cells
goes on behind their time with what is asked for alone, they are found one by one; else all cells
of the period are read. Either way they are counted before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from headwater import limits
from headwater.errors import HeadwaterError
from headwater.ledger.rollup_changes import chunks
from headwater.ledger.rollup_folds import Mark
from headwater.ledger.rollup_pieces import Daily, Piece, Scope, daily_pieces, pieces
from headwater.ledger.rollup_tables import (
    CLICK_MEASURES,
    DAY_QUARTERS,
    DIMENSIONS,
    QUARTER_MS,
    SALE_MEASURES,
    SPAN_QUARTERS,
    SUB_IDS_REST,
)
from headwater.ledger.schema import (
    click_rollup_changes,
    click_rollups,
    programs,
    rollup_marks,
    sale_rollups,
)
from headwater.model.click_cells import ClickCells

__all__ = [
    "CLICK_MEASURES",
    "DAY_QUARTERS",
    "QUARTER_MS",
    "SALE_MEASURES",
    "SPAN_QUARTERS",
    "SUB_IDS_REST",
    "Scope",
]

# To look for cells by their key takes as long as to read so many that follow one another.
SEEK_CELLS: Final = 25
# Cells that are sorted together where they are grouped: a million at once take twice as long each.
_SORTED_CELLS: Final = 20_000
# Slices are worth it where so many cells make one row.
_REDUCED: Final = 8
# As many cells of a day are worth a statement of its own.
_FULL_DAY_CELLS: Final = 1000
_TABLES: Final = ((click_rollups, CLICK_MEASURES), (sale_rollups, SALE_MEASURES))


class TooManyCells(HeadwaterError):
    """What is asked for would have to be summed up from too many cells."""


@dataclass(slots=True)
class Sums:
    """What came of a group: clicks, and sales by currency, in the order of the measures."""

    clicks: list[int] = field(default_factory=lambda: [0] * len(CLICK_MEASURES))
    sales: dict[str, list[int]] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not any(self.clicks) and not any(any(sums) for sums in self.sales.values())


Groups = dict[tuple[Any, ...], Sums]
"""Sums by the values of what is grouped by, in its order."""


class _Part(NamedTuple):
    """What is read together."""

    programs: list[int]
    piece: Piece
    daily: Daily | None


class _Cells(NamedTuple):
    """What is read of one table, and how many cells that are."""

    part: _Part
    table: sa.Table
    measures: tuple[str, ...]
    cells: int

    @property
    def is_of_full_days(self) -> bool:
        """Whether there are many cells of each day, and days are asked for."""
        piece = self.part.piece
        days = (piece.end - piece.first) / DAY_QUARTERS
        return self.part.daily is not None and self.cells >= _FULL_DAY_CELLS * days


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


class Reading:
    """What one answer reads within one transaction: no more than REPORT_CELLS_MAX cells."""

    def __init__(self, connection: sa.Connection) -> None:
        self.cells_left = limits.REPORT_CELLS_MAX
        self._connection = connection
        self._changed: list[Any] | None = None

    def grouped(self, scope: Scope, first: int, end: int) -> Groups:
        """Sums over quarter hours from `first` on and before `end`, by group.

        Raises TooManyCells before it reads more cells than are left, or makes more rows than
        REPORT_GROUPS_MAX.
        """
        together: dict[Piece, list[int]] = {}
        for program, mark in scope.marks.items():
            for piece in pieces(scope.needed, mark, first, end):
                together.setdefault(piece, []).append(program)
        parts = [
            _Part(chunk, piece, None) for piece, of in together.items() for chunk in chunks(of)
        ]
        return self._sums(scope, first, end, parts)

    def by_day(self, scope: Scope, first: int, end: int) -> Groups:
        """As `grouped`, for each day of a period, all 24 hours long; a key begins with the day's
        number in it.
        """
        together: dict[Daily, list[int]] = {}
        for program, mark in scope.marks.items():
            for daily in daily_pieces(scope.needed, mark, first, end):
                together.setdefault(daily, []).append(program)
        parts = [
            _Part(chunk, daily.piece, daily)
            for daily, of in together.items()
            for chunk in chunks(of)
        ]
        return self._sums(scope, first, end, parts)

    def _sums(self, scope: Scope, first: int, end: int, parts: Sequence[_Part]) -> Groups:
        parts = [part for part in parts if part.piece.first < part.piece.end]
        found: Groups = {}
        for reading in self._require_left(scope, parts):
            self._read(scope, reading, found)
        is_daily = bool(parts) and parts[0].daily is not None
        self._add_changes(scope, (first, end), found, first if is_daily else None)
        return {key: sums for key, sums in found.items() if not sums.is_empty()}

    def _require_left(self, scope: Scope, parts: Sequence[_Part]) -> list[_Cells]:
        """Count what is to be read, and take it from what is left."""
        left = self.cells_left
        found = []
        for part in parts:
            left -= _seeks(scope, part)
            for table, measures in _TABLES:
                if left < 0:
                    raise TooManyCells(f"over {limits.REPORT_CELLS_MAX} cells")
                read = sa.select(sa.literal(1)).where(*_found_by(table.c, scope, part))
                some = read.limit(left + 1).subquery()
                counted = sa.select(sa.func.count()).select_from(some)
                count = self._connection.scalar(counted, _period(part.piece)) or 0
                left -= count
                if count:
                    found.append(_Cells(part, table, measures, count))
        if left < 0:
            raise TooManyCells(f"over {limits.REPORT_CELLS_MAX} cells")
        self.cells_left = left
        return found

    def _read(self, scope: Scope, cells: _Cells, found: Groups) -> None:
        part, columns = cells.part, cells.table.c
        keys: list[Any] = [columns[name] for name in scope.groups]
        days_each = not keys and cells.is_of_full_days
        if part.daily is not None:
            # Not before the first of them, so that no rounding is needed, which costs more.
            behind = sa.type_coerce(columns.bucket - part.daily.origin, sa.BigInteger)
            day = behind.op("/", precedence=8)(sa.literal_column(str(DAY_QUARTERS)))
            # One day alone is known, and nothing has to be sorted by it.
            keys.insert(0, (sa.bindparam("day") if days_each else day).label("day"))
        currency = [columns.currency] if "currency" in columns else []
        sought = part.piece.prefix(scope.only)
        only = [_is(columns[name], of) for name, of in scope.only.items() if name not in sought]
        # There would be a row of nothing where nothing is grouped by.
        grouped_by = [*([] if days_each else keys), *currency] or [columns.grain]
        statement = (
            sa.select(*keys, *currency, *(sa.func.sum(columns[name]) for name in cells.measures))
            .where(*_found_by(columns, scope, part), *only)
            .group_by(*grouped_by)
        )
        width = len(keys)
        slices = _slices(cells, days_each=days_each, is_sorted=bool(keys))
        for row in self._rows(statement, cells, slices, days_each=days_each):
            for key, sign in _moved(part, tuple(row[:width])):
                sums = _group(found, key)
                if currency:
                    into = sums.sales.setdefault(row[width], [0] * len(cells.measures))
                    _add(into, row[width + 1 :], sign)
                else:
                    _add(sums.clicks, row[width:], sign)

    def _rows(
        self,
        statement: sa.Select[Any],
        cells: _Cells,
        slices: Sequence[Piece],
        *,
        days_each: bool,
    ) -> Iterator[Any]:
        """What is found slice by slice; the rest at once where little is summed up in one."""
        for number, piece in enumerate(slices, 1):
            of_slice: dict[str, int] = _period(piece)
            if days_each and cells.part.daily is not None:
                of_slice["day"] = (piece.first - cells.part.daily.origin) // DAY_QUARTERS
            rows = self._connection.execute(statement, of_slice).all()
            yield from rows
            if days_each or number == len(slices):
                continue
            if len(rows) * len(slices) * _REDUCED > cells.cells:
                rest = piece._replace(first=piece.end, end=cells.part.piece.end)
                yield from self._connection.execute(statement, _period(rest))
                return

    def _add_changes(
        self, scope: Scope, period: tuple[int, int], found: Groups, days_from: int | None
    ) -> None:
        """Add what the last batches changed and is in no cell yet."""
        if self._changed is None:
            changed = ClickCells()
            for cells in self._connection.scalars(sa.select(click_rollup_changes.c.cells)):
                changed.merge(cells)
            self._changed = changed.rows()
        for _grain, program, bucket, *rest in self._changed:
            if program not in scope.marks or not period[0] <= bucket < period[1]:
                continue
            values = dict(zip(DIMENSIONS, rest, strict=False), program=program)
            if all(_has(values[name], value) for name, value in scope.only.items()):
                day = () if days_from is None else ((bucket - days_from) // DAY_QUARTERS,)
                key = (*day, *(values[name] for name in scope.groups))
                _add(_group(found, key).clicks, rest[len(DIMENSIONS) :])


def _moved(part: _Part, key: tuple[Any, ...]) -> Iterable[tuple[tuple[Any, ...], int]]:
    """To what groups a row is added, and with what sign."""
    if part.daily is None:
        yield key, 1
        return
    for behind, sign in part.daily.moves:
        day = key[0] + behind
        if 0 <= day < part.daily.days:
            yield (day, *key[1:]), sign


def _seeks(scope: Scope, part: _Part) -> int:
    """What it takes to look for cells where they are found one by one, in cells."""
    prefix = part.piece.prefix(scope.only)
    times = len(part.programs) * part.piece.times
    if not prefix:
        # One behind the other.
        return times if part.piece.is_cut else 0
    return SEEK_CELLS * times * prod(len(of) for of in prefix.values() if isinstance(of, tuple))


def _period(piece: Piece) -> dict[str, int]:
    """The parameters of a statement that is made of `_found_by`."""
    return {"since": piece.first, "until": piece.end}


def _slices(cells: _Cells, *, days_each: bool, is_sorted: bool) -> list[Piece]:
    """A piece in parts of its time: days, or what has so many cells as are sorted together."""
    piece, daily = cells.part.piece, cells.part.daily
    unit = max(piece.grain.quarters, DAY_QUARTERS)
    units = -(-(piece.end - piece.first) // unit)
    each = units
    if days_each:
        each = 1
    elif is_sorted:
        each = max(1, units * _SORTED_CELLS // cells.cells)
    # Days are counted from the first of all, and a piece may begin within one.
    origin = piece.first if daily is None else daily.origin
    begins = piece.first - (piece.first - origin) % unit
    cuts = [piece.first, *range(begins + each * unit, piece.end, each * unit), piece.end]
    return [piece._replace(first=first, end=end) for first, end in pairwise(cuts)]


def _found_by(columns: Any, scope: Scope, part: _Part) -> list[Any]:
    """What cells are found by: their key as far as it is known. Parameters are as of `_period`."""
    piece = part.piece
    of_key = [columns.grain == piece.grain.number, columns.program.in_(part.programs)]
    prefix: Mapping[str, Any] = piece.prefix(scope.only)
    if not prefix and not piece.is_cut:
        bounds = columns.bucket >= sa.bindparam("since"), columns.bucket < sa.bindparam("until")
        return [*of_key, *bounds]
    # No bounds beside the list: they would be used in its place, and the key no further.
    of_key.append(columns.bucket.in_(_buckets(piece)))
    return [*of_key, *(_is(columns[name], value) for name, value in prefix.items())]


def _buckets(piece: Piece) -> sa.Select[Any]:
    """When the cells of a piece may begin."""
    first = sa.select(sa.bindparam("since", type_=sa.BigInteger).label("bucket"))
    buckets = first.cte("buckets", recursive=True)
    following = buckets.c.bucket + sa.literal_column(str(piece.grain.quarters))
    buckets = buckets.union_all(sa.select(following).where(following < sa.bindparam("until")))
    chosen = sa.select(buckets.c.bucket)
    if not piece.is_cut:
        return chosen
    slot = buckets.c.bucket % sa.literal_column(str(DAY_QUARTERS))
    return chosen.where(slot >= piece.slots[0], slot < piece.slots[1])


def _is(column: Any, value: Any) -> Any:
    return column.in_(value) if isinstance(value, tuple) else column == value


def _has(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def _group(found: Groups, key: tuple[Any, ...]) -> Sums:
    sums = found.get(key)
    if sums is None:
        if len(found) >= limits.REPORT_GROUPS_MAX:
            raise TooManyCells(f"over {limits.REPORT_GROUPS_MAX} rows")
        sums = found[key] = Sums()
    return sums


def _add(into: list[int], more: Sequence[int], sign: int = 1) -> None:
    for at, amount in enumerate(more):
        into[at] += sign * amount
