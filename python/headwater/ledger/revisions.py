"""What later evidence makes of a click: the history of its scores, and the newest in its row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import click_revisions, clicks

Row = dict[str, Any]

# Positions in a row of the outcomes; the brand between click and time is left to the click.
_CLICK_AT, _TIME_AT, _REVISION_AT, _CHANGED_FROM, _CAUSE_AT = 0, 2, 3, 4, 10
_CHANGED: Final = ("verdict", "counted", "is_unique", "score", "raw_ppm", "fraud")


def write_revisions(
    ledger: Ledger, connection: sa.Connection, rows: Sequence[Sequence[Any]]
) -> None:
    """Keep each revision once, and bring the clicks to their newest.

    A revision that the ledger has already, or a newer one of, leaves the click as it is: an
    engine that has forgotten a click begins to count anew.
    """
    newest = {row[_CLICK_AT]: row for row in rows}
    connection.exec_driver_sql(
        ledger.cached_sql(_bring_to_newest),
        [
            (*row[_CHANGED_FROM:_CAUSE_AT], click_id, click_id, row[_REVISION_AT])
            for click_id, row in newest.items()
        ],
    )
    connection.exec_driver_sql(
        ledger.insert_sql(click_revisions, or_ignore=True),
        [(row[_CLICK_AT], row[_REVISION_AT], row[_TIME_AT], *row[_CHANGED_FROM:]) for row in rows],
    )


def _bring_to_newest(dialect: sa.Dialect) -> str:
    # The driver's text has the new values in the order of the columns, then the conditions.
    known = click_revisions.c
    statement = (
        sa.update(clicks)
        .where(
            clicks.c.click_id == sa.bindparam("of_click"),
            ~sa.exists().where(
                known.click_id == sa.bindparam("known_click"),
                known.revision >= sa.bindparam("of_revision"),
            ),
        )
        .values({name: sa.bindparam(f"new_{name}") for name in _CHANGED})
    )
    return str(statement.compile(dialect=dialect))


def revisions_of(ledger: Ledger, click_id: bytes) -> list[Row]:
    """The revisions of a click, the first change first."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(click_revisions)
            .where(click_revisions.c.click_id == click_id)
            .order_by(click_revisions.c.revision)
            .limit(limits.PAGE_ROWS_MAX)
        ).mappings()
        return [dict(row) for row in rows]
