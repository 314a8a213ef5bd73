"""Summing up cells of rollups that are over: quarter hours into days, days into spans of 32 days.

The sums are of what is there. What comes later of a quarter hour that has been summed up is
written to its sums as well (`rollups`), so that they stay exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.rollup_tables import (
    DAYS,
    DIMENSIONS,
    EIGHT_DAYS,
    HOUR_QUARTERS,
    QUARTER_MS,
    QUARTERS,
    SPAN_QUARTERS,
    SPANS,
    WHOLE,
    Grain,
    click_rollups,
    rollup_marks,
    sale_rollups,
)

TABLES: Final = (click_rollups, sale_rollups)


def _sources(targets: Iterable[Grain], made: Iterable[Grain]) -> Iterator[tuple[Grain, Grain]]:
    """Quarter hours, the fewest cells that have it, and what they are summed up into."""
    fewest = [*made]
    for grain in targets:
        yield next(each for each in fewest if grain.dimensions <= each.dimensions), grain
        if grain.quarters == 1:
            fewest.insert(0, grain)


_INTO_QUARTERS: Final = tuple(_sources(reversed(QUARTERS), [WHOLE]))
_INTO_DAYS: Final = tuple(_sources((*DAYS, EIGHT_DAYS), [*QUARTERS, WHOLE]))


class Mark(NamedTuple):
    """How far a program's cells are summed up, in quarter hours: into days, into spans."""

    folded: int
    spanned: int


def ready(time_ms: int) -> int:
    """The quarter hour up to which cells are over, with what usually comes late."""
    return (time_ms - limits.ROLLUP_FOLD_AFTER_MS) // QUARTER_MS


def fold(ledger: Ledger, connection: sa.Connection, partition: int, until: int) -> dict[int, Mark]:
    """Sum up the quarter hours before `until` of a partition's programs, so many at once; how far
    these are now.
    """
    columns = rollup_marks.c
    due = connection.execute(
        sa.select(columns.program, columns.folded, columns.spanned)
        .where(columns.partition == partition, columns.folded < until)
        .order_by(columns.folded, columns.program)
        .limit(limits.ROLLUP_FOLDS_MAX)
    ).all()
    marks: dict[int, Mark] = {}
    spans_until = until - until % SPAN_QUARTERS
    for folded, alike in groupby(due, lambda row: int(row.folded)):
        rows = list(alike)
        programs = (partition, folded, rows[-1].program)
        _fold_quarters(ledger, connection, programs, until)
        for program, _folded, spanned in rows:
            if spans_until > spanned:
                cells = (program, spanned, spans_until)
                for table in TABLES:
                    for day, span in zip(DAYS, SPANS, strict=True):
                        sum_up(ledger, connection, table, day, span, cells)
            marks[program] = Mark(until, max(spans_until, spanned))
    if marks:
        connection.execute(
            sa.update(rollup_marks)
            .where(columns.program == sa.bindparam("of_program"))
            .values(folded=sa.bindparam("to_folded"), spanned=sa.bindparam("to_spanned")),
            [
                {"of_program": program, "to_folded": mark.folded, "to_spanned": mark.spanned}
                for program, mark in marks.items()
            ],
        )
    return marks


def _fold_quarters(
    ledger: Ledger, connection: sa.Connection, programs: tuple[int, int, int], until: int
) -> None:
    """Sum up what `_alike` finds, in one statement for all: some cost more to begin than to end."""
    folded = programs[1]
    hours = (hour_of(folded), hour_of(until))
    for table in TABLES:
        has_cells = ledger.cached_sql(_HAS_CELLS[table.name])
        if connection.exec_driver_sql(has_cells, (*programs, folded, until)).first():
            for source, grain in _INTO_QUARTERS:
                sum_up(ledger, connection, table, source, grain, (*programs, folded, until))
        if hours[0] < hours[1]:
            for source, grain in _INTO_DAYS:
                sum_up(ledger, connection, table, source, grain, (*programs, *hours))


def hour_of(bucket: int) -> int:
    """The first quarter hour of its hour."""
    return bucket - bucket % HOUR_QUARTERS


def sum_up(
    ledger: Ledger,
    connection: sa.Connection,
    table: sa.Table,
    source: Grain,
    target: Grain,
    cells: tuple[int, ...],
) -> None:
    """`cells`: the program, of quarter hours as `_alike` has it; first bucket, and end."""
    sql = ledger.cached_sql(_STATEMENTS[table.name, source, target])
    connection.exec_driver_sql(sql, cells)


def upsert(table: sa.Table, dialect: sa.Dialect) -> Any:
    """An INSERT that adds to the cells that are there."""
    # The two dialects spell it alike, and only they have it.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(table)


def added(table: sa.Table, statement: Any) -> Any:
    """The statement, with what happens to cells that are there: measures are added."""
    return statement.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key],
        set_={
            column.name: column + statement.excluded[column.name]
            for column in table.columns
            if not column.primary_key
        },
    )


def _alike(column: Any) -> Any:
    """Whether a program is of those that are summed up alike: parameters are their partition, up
    to where, and the last of them.
    """
    columns = rollup_marks.c
    return column.in_(
        sa.select(columns.program).where(
            columns.partition == sa.bindparam("of_partition"),
            columns.folded == sa.bindparam("folded"),
            columns.program <= sa.bindparam("last"),
        )
    )


def _has_cells(table: sa.Table, dialect: sa.Dialect) -> str:
    """Parameters: as of `_alike`, first bucket, end."""
    where = (
        table.c.grain == sa.literal_column(str(WHOLE.number)),
        _alike(table.c.program),
        table.c.bucket >= sa.bindparam("since"),
        table.c.bucket < sa.bindparam("until"),
    )
    statement: sa.Select[Any] = sa.select(sa.literal_column("1")).where(sa.exists().where(*where))
    return str(statement.compile(dialect=dialect))


def _statement(table: sa.Table, source: Grain, target: Grain, dialect: sa.Dialect) -> str:
    """Parameters: program (of quarter hours: as of `_alike`), first bucket, end."""
    bucket: Any = table.c.bucket
    if target.quarters > 1:
        bucket = (bucket - bucket % sa.literal_column(str(target.quarters))).label("bucket")
    keys: list[Any] = [sa.literal_column(str(target.number)), table.c.program, bucket]
    kept: list[Any] = [table.c.program, bucket]
    for name in DIMENSIONS:
        column = table.c[name]
        is_number = name in ("partner", "link")
        if name in target.dimensions:
            kept.append(column)
            keys.append(column)
        else:
            keys.append(sa.literal_column("0" if is_number else "''"))
    if "currency" in table.c:
        kept.append(table.c.currency)
        keys.append(table.c.currency)
    measures = [
        sa.cast(sa.func.sum(column), sa.BigInteger)
        for column in table.columns
        if not column.primary_key
    ]
    chosen = (
        sa.select(*keys, *measures)
        .where(
            table.c.grain == sa.literal_column(str(source.number)),
            _alike(table.c.program)
            if source.quarters == 1
            else table.c.program == sa.bindparam("of_program"),
            table.c.bucket >= sa.bindparam("since"),
            table.c.bucket < sa.bindparam("until"),
        )
        .group_by(*kept)
    )
    names = [column.name for column in table.columns]
    statement = upsert(table, dialect).from_select(names, chosen)
    return str(added(table, statement).compile(dialect=dialect))


_HAS_CELLS: Final = {table.name: partial(_has_cells, table) for table in TABLES}
_STATEMENTS: Final = {
    (table.name, source, target): partial(_statement, table, source, target)
    for table in TABLES
    for source, target in (
        *_INTO_QUARTERS,
        *_INTO_DAYS,
        *zip(DAYS, SPANS, strict=True),
    )
}
