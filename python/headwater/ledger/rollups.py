"""Rollups written with what they sum up: in the transaction of a batch, from the rows it changes.

Of each row that a batch writes anew or in place of another, the cells of the former are lowered
and those of the present raised: whatever is decided again, and however often, the sums are those
of the rows. They are the same wherever the log was cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from headwater import limits
from headwater.ledger import rollup_folds
from headwater.ledger.book_store import BookStore
from headwater.ledger.engine import Ledger
from headwater.ledger.rollup_cells import (
    NO_CLICK,
    Cells,
    Origin,
    add_action,
    add_conversion,
    origin_of,
    row_of,
)
from headwater.ledger.rollup_changes import Change, chunks, found_rows
from headwater.ledger.rollup_folds import Mark, fold, ready
from headwater.ledger.rollup_tables import (
    DAY_QUARTERS,
    DAYS,
    EIGHT_DAYS,
    QUARTER_MS,
    QUARTERS,
    SPAN_QUARTERS,
    SPANS,
    SUB_IDS_REST,
    WHOLE,
)
from headwater.ledger.schema import (
    click_rollup_changes,
    click_rollups,
    clicks,
    rollup_marks,
    rollup_sub_ids,
    sale_rollups,
)
from headwater.model.book import Booked
from headwater.model.click_cells import ClickCells, SubIds

_DAY_MS: Final = DAY_QUARTERS * QUARTER_MS
# Where in a row of clicks' cells the sums begin.
_KEYS_END: Final = len(click_rollups.primary_key)

PartnerDay = tuple[int, int, int]
"""Program, partner, number of the day of UTC."""
At = tuple[int, int, tuple[int, int]]
"""Epoch, generation and position."""


def _upsert_sql(table: sa.Table, dialect: sa.Dialect) -> str:
    statement = rollup_folds.upsert(table, dialect)
    return str(rollup_folds.added(table, statement).compile(dialect=dialect))


_UPSERTS: Final = {
    table.name: partial(_upsert_sql, table) for table in (click_rollups, sale_rollups)
}


class Rollups:
    """Writes the rollups of one process's batches. What it remembers from batch to batch holds
    only while no other batch has come between: else it is read again.
    """

    def __init__(self) -> None:
        self._sub_ids = SubIds()
        self._marks: dict[int, Mark] = {}
        self._folded: dict[int, int] = {}
        self._at: dict[int, At] = {}
        self._changed: dict[int, ClickCells] = {}
        self._changes: dict[int, int] = {}

    @contextmanager
    def counting(
        self,
        ledger: Ledger,
        connection: sa.Connection,
        batch: Any,
        booked: Booked,
        store: BookStore | None,
    ) -> Iterator[set[bytes]]:
        """Count what the block writes of a `PartitionBatch`: enter before its rows are written.

        Gives a set for the block to name the clicks in which the ledger had before.
        """
        at: At = (batch.epoch, batch.generation, batch.from_position)
        # What is begun and fails must not be taken for what is known.
        if self._at.pop(batch.partition, None) != at:
            self._forget(batch.partition)
            self._load_changes(connection, batch.partition)
        change = Change(connection, batch.outcomes, booked, store)
        change.read_before()
        known: set[bytes] = set()
        yield known
        counter = _Counter(ledger, connection, self._sub_ids)
        counter.take(change, known)
        self._write(ledger, connection, batch, counter)
        self._fold(ledger, connection, batch.partition, batch.time_ms)
        self._at[batch.partition] = (batch.epoch, batch.generation, batch.to_position)

    def _forget(self, partition: int) -> None:
        self._sub_ids = SubIds()
        self._marks.clear()
        self._folded.pop(partition, None)

    def _load_changes(self, connection: sa.Connection, partition: int) -> None:
        """Take in what earlier batches changed and is not in the cells yet."""
        columns = click_rollup_changes.c
        changed = self._changed[partition] = ClickCells()
        found = connection.scalars(
            sa.select(columns.cells)
            .where(columns.partition == partition)
            .order_by(columns.stream_ms, columns.stream_seq)
        ).all()
        for cells in found:
            changed.merge(cells)
        self._changes[partition] = len(found)

    def _write(
        self, ledger: Ledger, connection: sa.Connection, batch: Any, counter: _Counter
    ) -> None:
        counter.flush_sub_ids()
        partition = batch.partition
        sales = {key: sums for key, sums in counter.sales.items() if any(sums)}
        if sales:
            first: dict[int, int] = {}
            for program, bucket, *_ in sales:
                first[program] = min(first.get(program, bucket), bucket)
            marks = self._marks_of(ledger, connection, partition, first)
            sql = ledger.cached_sql(_UPSERTS[sale_rollups.name])
            connection.exec_driver_sql(sql, list(_rows(sales.items(), marks)))
        programs = counter.clicks.programs()
        if programs:
            self._marks_of(ledger, connection, partition, programs)
            cells = counter.clicks.encode()
            row = (partition, *batch.to_position, cells)
            connection.exec_driver_sql(ledger.insert_sql(click_rollup_changes), row)
            self._changed[partition].add_all(counter.clicks)
            self._changes[partition] += 1
        if (
            len(self._changed[partition]) >= limits.ROLLUP_CHANGED_CELLS_MAX
            or self._changes[partition] >= limits.ROLLUP_CHANGES_MAX
        ):
            self._write_changes(ledger, connection, partition)

    def _write_changes(self, ledger: Ledger, connection: sa.Connection, partition: int) -> None:
        """Add to the cells of clicks what batches changed."""
        changed = self._changed[partition]
        rows = changed.rows()
        if rows:
            programs = changed.programs()
            marks = self._marks_of(ledger, connection, partition, programs)
            if any(bucket < marks[program].folded for program, bucket in programs.items()):
                rows = list(_rows(((row[1:_KEYS_END], row[_KEYS_END:]) for row in rows), marks))
            ledger.execute_many(connection, ledger.cached_sql(_UPSERTS[click_rollups.name]), rows)
        if self._changes[partition]:
            connection.execute(
                sa.delete(click_rollup_changes).where(click_rollup_changes.c.partition == partition)
            )
        self._changed[partition], self._changes[partition] = ClickCells(), 0

    def _marks_of(
        self,
        ledger: Ledger,
        connection: sa.Connection,
        partition: int,
        first: Mapping[int, int],
    ) -> Mapping[int, Mark]:
        """How far programs are summed up; those that are new begin at their first cell."""
        unknown = [program for program in first if program not in self._marks]
        for chunk in chunks(unknown):
            found = connection.execute(
                sa.select(rollup_marks).where(rollup_marks.c.program.in_(chunk))
            )
            for row in found:
                self._marks[row.program] = Mark(row.folded, row.spanned)
        new = [program for program in unknown if program not in self._marks]
        for program in new:
            bucket = first[program]
            self._marks[program] = Mark(bucket, bucket - bucket % SPAN_QUARTERS)
        if new:
            rows = [(program, partition, *self._marks[program]) for program in new]
            connection.exec_driver_sql(ledger.insert_sql(rollup_marks), rows)
            self._folded.pop(partition, None)
        return self._marks

    def _fold(
        self, ledger: Ledger, connection: sa.Connection, partition: int, time_ms: int
    ) -> None:
        until = ready(time_ms)
        if self._folded.get(partition, 0) >= until:
            return
        self._write_changes(ledger, connection, partition)
        marks = fold(ledger, connection, partition, until)
        self._marks.update(marks)
        if len(marks) < limits.ROLLUP_FOLDS_MAX:
            self._folded[partition] = until
        # Clicks come late, and seldom by more than a day.
        self._sub_ids.forget_before(max(until // DAY_QUARTERS - 1, 0))


def _rows(
    cells: Iterable[tuple[Any, Sequence[int]]], marks: Mapping[int, Mark]
) -> Iterator[tuple[Any, ...]]:
    """Rows to add: of quarter hours that are summed up already, those of their sums too."""
    for key, sums in cells:
        yield row_of(WHOLE, key, sums)
        mark, bucket = marks[key[0]], key[1]
        if bucket < mark.folded:
            for grain in QUARTERS:
                yield row_of(grain, key, sums)
        if bucket < rollup_folds.hour_of(mark.folded):
            for grain in (*DAYS, EIGHT_DAYS):
                yield row_of(grain, key, sums)
        if bucket < mark.spanned:
            for grain in SPANS:
                yield row_of(grain, key, sums)


class _Counter:
    """The cells a batch adds to."""

    def __init__(
        self,
        ledger: Ledger,
        connection: sa.Connection,
        sub_ids: SubIds,
    ) -> None:
        self.clicks = ClickCells()
        self.sales: Cells = {}
        self._ledger = ledger
        self._connection = connection
        self._sub_ids = sub_ids
        self._new_sub_ids: list[tuple[int, int, int, str]] = []
        self._origins: dict[bytes, Origin] = {}

    def take(self, change: Change, known: set[bytes]) -> None:
        """Count what was written: clicks first, which say what sub ids there are."""
        self.clicks.count(change.new, known, change.scored)
        self._name_sub_ids()
        change.read_after()
        for row, standings in change.clicks:
            if not row.flags & NO_CLICK:
                origin = self._origin(row)
                cell = (row.program, row.accept_ms // QUARTER_MS, row.partner, *origin)
                for (verdict, counted, is_unique), sign in standings:
                    self.clicks.add(cell, verdict, counted, bool(is_unique), sign)
        self._load_origins(change)
        for conversion, given, sign in change.conversions:
            add_conversion(self.sales, conversion, given, self._origins, sign)
        for action, sign in change.actions:
            add_action(self.sales, action, self._origins, sign)

    def _load_origins(self, change: Change) -> None:
        wanted = {click for _, given, _ in change.conversions for _, click, _ in given if click}
        wanted |= {action.click_id for action, _ in change.actions if action.click_id}
        for row in found_rows(self._connection, clicks, clicks.c.click_id, wanted):
            self._origins[row.click_id] = self._origin(row)

    def _origin(self, row: Any) -> Origin:
        """Of a click in the ledger, with its sub id as its cell has it."""
        origin = origin_of(row.record)
        if not origin.sub1:
            return origin._replace(link=row.link)
        day = (row.program, row.partner, row.accept_ms // _DAY_MS)
        has_cells = self._sub_ids.has(day, origin.sub1)
        if has_cells is None:
            columns = rollup_sub_ids.c
            stored = sa.select(sa.literal(1)).where(
                columns.program == day[0],
                columns.partner == day[1],
                columns.day == day[2],
                columns.sub1 == origin.sub1,
            )
            has_cells = self._connection.scalar(stored) is not None
        return origin._replace(link=row.link, sub1=origin.sub1 if has_cells else SUB_IDS_REST)

    def _name_sub_ids(self) -> None:
        """Give sub ids cells of their own, up to the bound of their partner's day; the others
        share one.
        """
        for day in self._sub_ids.missing(self.clicks):
            self._sub_ids.load(day, self._stored(day))
        self._new_sub_ids = self._sub_ids.name(self.clicks, limits.ROLLUP_SUB_IDS_MAX, SUB_IDS_REST)

    def _stored(self, day: PartnerDay) -> Sequence[str]:
        """The sub ids of a partner's day that have cells of their own."""
        columns = rollup_sub_ids.c
        program, partner, number = day
        return self._connection.scalars(
            sa.select(columns.sub1).where(
                columns.program == program, columns.partner == partner, columns.day == number
            )
        ).all()

    def flush_sub_ids(self) -> None:
        """Write which sub ids have cells of their own from now on."""
        if self._new_sub_ids:
            sql = self._ledger.insert_sql(rollup_sub_ids)
            self._connection.exec_driver_sql(sql, self._new_sub_ids)
