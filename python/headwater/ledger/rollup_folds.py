"""Summing up cells of rollups that are over: quarter hours into days, days into spans of 32 days.

The sums are of what is there. What comes later of a quarter hour that has been summed up is
written to its sums as well (`rollups`), so that they stay exact.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.rollup_tables import (
    DAYS,
    DIMENSIONS,
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
    for program, folded, spanned in due:
        spans_until = until - until % SPAN_QUARTERS
        for table in TABLES:
            if _has_cells(connection, table, program, folded, until):
                for grain in (*QUARTERS, *DAYS):
                    _sum_up(ledger, connection, table, WHOLE, grain, (program, folded, until))
            if spans_until > spanned:
                for day, span in zip(DAYS, SPANS, strict=True):
                    cells = (program, spanned, spans_until)
                    _sum_up(ledger, connection, table, day, span, cells)
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


def _has_cells(
    connection: sa.Connection, table: sa.Table, program: int, since: int, until: int
) -> bool:
    columns = table.c
    where = (
        columns.grain == WHOLE.number,
        columns.program == program,
        columns.bucket >= since,
        columns.bucket < until,
    )
    return connection.scalar(sa.select(sa.literal(1)).where(*where).limit(1)) is not None


def _sum_up(
    ledger: Ledger,
    connection: sa.Connection,
    table: sa.Table,
    source: Grain,
    target: Grain,
    cells: tuple[int, int, int],
) -> None:
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


def _statement(table: sa.Table, source: Grain, target: Grain, dialect: sa.Dialect) -> str:
    """Parameters: program, first bucket, end."""
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
            table.c.program == sa.bindparam("of_program"),
            table.c.bucket >= sa.bindparam("since"),
            table.c.bucket < sa.bindparam("until"),
        )
        .group_by(*kept)
    )
    names = [column.name for column in table.columns]
    statement = upsert(table, dialect).from_select(names, chosen)
    return str(added(table, statement).compile(dialect=dialect))


_STATEMENTS: Final = {
    (table.name, source, target): partial(_statement, table, source, target)
    for table in TABLES
    for source, target in (
        *((WHOLE, target) for target in (*QUARTERS, *DAYS)),
        *zip(DAYS, SPANS, strict=True),
    )
}
