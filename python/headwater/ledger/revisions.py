"""What later evidence makes of a click: the history of its scores, and the newest in its row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import click_revisions, clicks

Row = dict[str, Any]

# Where a row of the outcomes holds the brand, which the history leaves to the click.
_BRAND_AT: Final = 1
_CHANGED: Final = ("verdict", "counted", "is_unique", "score", "raw_ppm", "fraud")
_OUTCOME: Final = ("click_id", "brand", "at_ms", "revision", *_CHANGED, "cause", "cause_event")


def write_revisions(connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Keep each revision once, and bring the clicks to their newest.

    A revision that the ledger has already, or a newer one of, leaves the click as it is: an
    engine that has forgotten a click begins to count anew.
    """
    revisions = [dict(zip(_OUTCOME, row, strict=True)) for row in rows]
    newest = {revision["click_id"]: revision for revision in revisions}
    known = click_revisions.c
    connection.execute(
        sa.update(clicks)
        .where(
            clicks.c.click_id == sa.bindparam("of_click"),
            ~sa.exists().where(
                known.click_id == sa.bindparam("of_click"),
                known.revision >= sa.bindparam("of_revision"),
            ),
        )
        .values({name: sa.bindparam(f"new_{name}") for name in _CHANGED}),
        [
            {
                "of_click": revision["click_id"],
                "of_revision": revision["revision"],
                **{f"new_{name}": revision[name] for name in _CHANGED},
            }
            for revision in newest.values()
        ],
    )
    connection.execute(
        _or_ignored(connection.dialect),
        [
            {name: value for name, value in revision.items() if name != _OUTCOME[_BRAND_AT]}
            for revision in revisions
        ],
    )


def _or_ignored(dialect: sa.Dialect) -> sa.Insert:
    # The two dialects spell it alike, and only they have it.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(click_revisions).on_conflict_do_nothing()


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
