"""The tables of rollups, as the first revision makes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

_KEY = ("grain", "program", "bucket", "partner", "link")
_TEXTS = ("sub1", "country", "device")
_CLICKS = (
    *("clicks", "filtered", "rejected", "duplicates"),
    *("uniques", "reviewed", "prefetches", "tests"),
)
_SALES = (
    *("attributed_ppm", "reviewed_ppm", "unattributed_ppm", "rejected_ppm"),
    *("waiting_ppm", "tests_ppm", "order_minor"),
    *("pending_actions", "approved_actions", "reversed_actions", "locked_actions"),
    *("paid_actions", "over_cap_actions"),
    *("pending_minor", "approved_minor", "reversed_minor", "locked_minor", "paid_minor"),
    *("compensated_minor", "revenue_minor"),
)


def rollups() -> None:
    """Cells of clicks and of sales, how far they are summed up, and sub ids with own cells."""
    _cells("click_rollups", _TEXTS, _CLICKS)
    _cells("sale_rollups", (*_TEXTS, "currency"), _SALES)
    at = ("partition", "stream_ms", "stream_seq")
    op.create_table(
        "click_rollup_changes",
        *(sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False) for name in at),
        sa.Column("cells", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(*at, name=op.f("pk_click_rollup_changes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_marks",
        sa.Column("program", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("folded", sa.BigInteger(), nullable=False),
        sa.Column("spanned", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program", name=op.f("pk_rollup_marks")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_rollup_marks_folded", "rollup_marks", ["partition", "folded"], unique=False)
    op.create_table(
        "rollup_sub_ids",
        *(
            sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)
            for name in ("program", "partner", "day")
        ),
        sa.Column("sub1", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint(
            "program", "partner", "day", "sub1", name=op.f("pk_rollup_sub_ids")
        ),
        sqlite_with_rowid=False,
    )


def _cells(table: str, texts: tuple[str, ...], measures: tuple[str, ...]) -> None:
    op.create_table(
        table,
        *(sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False) for name in _KEY),
        *(sa.Column(name, sa.String(), nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in measures),
        sa.PrimaryKeyConstraint(*_KEY, *texts, name=op.f(f"pk_{table}")),
        sqlite_with_rowid=False,
    )
