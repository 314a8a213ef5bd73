"""Rollups written with what they sum up: in the transaction of a batch, from the rows it changes.

Of each row that a batch writes anew or in place of another, the cells of the former are lowered
and those of the present raised: whatever is decided again, and however often, the sums are those
of the rows. They are the same wherever the log was cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from headwater import limits
from headwater.ledger import rollup_folds
from headwater.ledger.book_store import BookStore
from headwater.ledger.engine import Ledger
from headwater.ledger.rollup_cells import (
    CLICK,
    NO_CLICK,
    Cells,
    Conversion,
    Credit,
    Origin,
    add_action,
    add_clicks,
    add_conversion,
    count_clicks,
    origin_of,
    row_of,
)
from headwater.ledger.rollup_folds import Mark, fold, ready
from headwater.ledger.rollup_tables import (
    DAY_QUARTERS,
    DAYS,
    QUARTER_MS,
    QUARTERS,
    SPAN_QUARTERS,
    SPANS,
    SUB_IDS_REST,
    WHOLE,
)
from headwater.ledger.schema import (
    actions,
    click_rollups,
    clicks,
    conversions,
    credit_shares,
    rollup_marks,
    rollup_sub_ids,
    sale_rollups,
)
from headwater.model.book import Action, Booked

# Names of one statement's parameters: the oldest SQLite in use takes 999.
_KEYS: Final = 500
_DAY_MS: Final = DAY_QUARTERS * QUARTER_MS

PartnerDay = tuple[int, int, int]
"""Program, partner, number of the day of UTC."""
At = tuple[int, int, tuple[int, int]]
"""Epoch, generation and position."""
T = TypeVar("T")


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
        self._sub_ids: dict[PartnerDay, set[str]] = {}
        self._marks: dict[int, Mark] = {}
        self._folded: dict[int, int] = {}
        self._at: dict[int, At] = {}

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
        if self._at.get(batch.partition) != at:
            self._forget(batch.partition)
        change = _Change(connection, batch.outcomes, booked, store)
        change.read(-1)
        known: set[bytes] = set()
        yield known
        counter = _Counter(ledger, connection, self._sub_ids)
        counter.take(change, known)
        self._write(ledger, connection, batch.partition, counter)
        self._fold(ledger, connection, batch.partition, batch.time_ms)
        self._at[batch.partition] = (batch.epoch, batch.generation, batch.to_position)

    def _forget(self, partition: int) -> None:
        self._sub_ids.clear()
        self._marks.clear()
        self._folded.pop(partition, None)

    def _write(
        self, ledger: Ledger, connection: sa.Connection, partition: int, counter: _Counter
    ) -> None:
        counter.flush_sub_ids()
        for table, cells in ((click_rollups, counter.clicks), (sale_rollups, counter.sales)):
            changed = {key: sums for key, sums in cells.items() if any(sums)}
            if changed:
                marks = self._marks_of(ledger, connection, partition, changed)
                rows = list(_rows(changed, marks))
                connection.exec_driver_sql(ledger.cached_sql(_UPSERTS[table.name]), rows)

    def _marks_of(
        self, ledger: Ledger, connection: sa.Connection, partition: int, cells: Iterable[Any]
    ) -> Mapping[int, Mark]:
        """How far the programs of some cells are summed up; those that are new begin here."""
        first: dict[int, int] = {}
        for program, bucket, *_ in cells:
            first[program] = min(first.get(program, bucket), bucket)
        unknown = [program for program in first if program not in self._marks]
        for chunk in _chunks(unknown):
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
        marks = fold(ledger, connection, partition, until)
        self._marks.update(marks)
        if len(marks) < limits.ROLLUP_FOLDS_MAX:
            self._folded[partition] = until
        # Clicks come late, and seldom by more than a day.
        oldest = until // DAY_QUARTERS - 1
        for day in [day for day in self._sub_ids if day[2] < oldest]:
            del self._sub_ids[day]


def _rows(cells: Cells, marks: Mapping[int, Mark]) -> Iterator[tuple[Any, ...]]:
    """Rows to add: of quarter hours that are summed up already, those of their sums too."""
    for key, sums in cells.items():
        yield row_of(WHOLE, key, sums)
        mark, bucket = marks[key[0]], key[1]
        if bucket < mark.folded:
            for grain in (*QUARTERS, *DAYS):
                yield row_of(grain, key, sums)
        if bucket < mark.spanned:
            for grain in SPANS:
                yield row_of(grain, key, sums)


class _Change:
    """The rows a batch changes besides its new clicks: before, and after."""

    def __init__(
        self,
        connection: sa.Connection,
        outcomes: Mapping[str, Any],
        booked: Booked,
        store: BookStore | None,
    ) -> None:
        self.new = outcomes.get("clicks", ())
        self.scored = frozenset(row[CLICK] for row in outcomes.get("decision_revised", ()))
        decided = (row[0] for row in outcomes.get("conversions", ()))
        self._conversions = list(dict.fromkeys((*decided, *booked.credited)))
        self._connection = connection
        after = [] if store is None else store.changed_actions()
        self._actions = [action.action_id for action in after]
        self.actions: list[tuple[Action, int]] = [(action, 1) for action in after]
        self.clicks: list[tuple[Any, int]] = []
        self.conversions: list[tuple[Conversion, list[Credit], int]] = []

    def read(self, sign: int) -> None:
        """Take the rows in as they are now, with the sign they are counted with."""
        found = _found(self._connection, clicks, clicks.c.click_id, self.scored)
        self.clicks += [(row, sign) for row in found]
        given: dict[bytes, list[Credit]] = {each: [] for each in self._conversions}
        column = credit_shares.c.conversion_id
        for row in _found(self._connection, credit_shares, column, self._conversions):
            given[row.conversion_id].append((row.partner, row.click_id, row.share_ppm))
        column = conversions.c.conversion_id
        for row in _found(self._connection, conversions, column, self._conversions):
            counted = Conversion(*(getattr(row, name) for name in Conversion._fields))
            self.conversions.append((counted, given[row.conversion_id], sign))
        if sign < 0:
            for row in _found(self._connection, actions, actions.c.action_id, self._actions):
                self.actions.append((Action(*row), sign))


class _Counter:
    """The cells a batch adds to."""

    def __init__(
        self,
        ledger: Ledger,
        connection: sa.Connection,
        sub_ids: dict[PartnerDay, set[str]],
    ) -> None:
        self.clicks: Cells = {}
        self.sales: Cells = {}
        self._ledger = ledger
        self._connection = connection
        self._sub_ids = sub_ids
        self._new_sub_ids: list[tuple[int, int, int, str]] = []
        self._origins: dict[bytes, Origin] = {}

    def take(self, change: _Change, known: set[bytes]) -> None:
        """Count what was written: clicks first, which say what sub ids there are."""
        new = change.new
        if known:
            new = [row for row in new if row[CLICK] not in known]
        for key, count in count_clicks(new, change.scored).items():
            program, bucket, partner, link, sub1, country, device, *standing = key
            sub1 = self._named(program, partner, bucket // DAY_QUARTERS, sub1)
            cell = (program, bucket, partner, link, sub1, country, device)
            if count:
                add_clicks(self.clicks, cell, (standing[0], standing[1], standing[2]), count)
        change.read(1)
        for row, sign in change.clicks:
            if not row.flags & NO_CLICK:
                origin = self._origin(row)
                cell = (row.program, row.accept_ms // QUARTER_MS, row.partner, *origin)
                add_clicks(self.clicks, cell, (row.verdict, row.counted, row.is_unique), sign)
        self._load_origins(change)
        for conversion, given, sign in change.conversions:
            add_conversion(self.sales, conversion, given, self._origins, sign)
        for action, sign in change.actions:
            add_action(self.sales, action, self._origins, sign)

    def _load_origins(self, change: _Change) -> None:
        wanted = {click for _, given, _ in change.conversions for _, click, _ in given if click}
        wanted |= {action.click_id for action, _ in change.actions if action.click_id}
        for row in _found(self._connection, clicks, clicks.c.click_id, wanted):
            self._origins[row.click_id] = self._origin(row)

    def _origin(self, row: Any) -> Origin:
        """Of a click in the ledger, with its sub id as its cell has it."""
        origin = origin_of(row.record)
        if not origin.sub1:
            return origin._replace(link=row.link)
        day = (row.program, row.partner, row.accept_ms // _DAY_MS)
        known = self._sub_ids.get(day)
        if known is None:
            columns = rollup_sub_ids.c
            has_cells = self._connection.scalar(
                sa.select(sa.literal(1)).where(
                    columns.program == day[0],
                    columns.partner == day[1],
                    columns.day == day[2],
                    columns.sub1 == origin.sub1,
                )
            )
        else:
            has_cells = origin.sub1 in known
        return origin._replace(link=row.link, sub1=origin.sub1 if has_cells else SUB_IDS_REST)

    def _named(self, program: int, partner: int, day: int, sub1: str) -> str:
        """The sub id, or what stands for those beyond the bound of its partner's day."""
        if not sub1:
            return sub1
        known = self._sub_ids.get((program, partner, day))
        if known is None:
            columns = rollup_sub_ids.c
            known = self._sub_ids[program, partner, day] = set(
                self._connection.scalars(
                    sa.select(columns.sub1).where(
                        columns.program == program,
                        columns.partner == partner,
                        columns.day == day,
                    )
                )
            )
        if sub1 in known:
            return sub1
        if len(known) >= limits.ROLLUP_SUB_IDS_MAX:
            return SUB_IDS_REST
        known.add(sub1)
        self._new_sub_ids.append((program, partner, day, sub1))
        return sub1

    def flush_sub_ids(self) -> None:
        """Write which sub ids have cells of their own from now on."""
        if self._new_sub_ids:
            sql = self._ledger.insert_sql(rollup_sub_ids)
            self._connection.exec_driver_sql(sql, self._new_sub_ids)


def _chunks(keys: Iterable[T]) -> Iterator[list[T]]:
    listed = list(keys)
    for start in range(0, len(listed), _KEYS):
        yield listed[start : start + _KEYS]


def _found(
    connection: sa.Connection, table: sa.Table, column: sa.Column[bytes], keys: Iterable[bytes]
) -> Iterator[Any]:
    """The rows with some keys."""
    order = [*table.primary_key]
    for chunk in _chunks(keys):
        yield from connection.execute(
            sa.select(table).where(column.in_(chunk)).order_by(*order)
        ).all()
