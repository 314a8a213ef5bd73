"""The first schema's tables of the management API: audit, keyed requests, settings of money."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

# SQLite numbers rows itself only in a column of exactly this type.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def management() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_object", "audit_log", ["object", "object_id", "id"])
    op.create_index("ix_audit_log_actor", "audit_log", ["actor", "id"])
    op.create_table(
        "management_requests",
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_management_requests")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_management_requests_created", "management_requests", ["created_ms"])
    op.create_table(
        "money_settings",
        sa.Column("program_id", ROW_NUMBER, autoincrement=False, nullable=False),
        sa.Column("reversal_reasons", sa.JSON(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", name=op.f("pk_money_settings")),
    )
