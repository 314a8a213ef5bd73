"""The tables of events, as the first revision makes them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op


def events() -> None:
    """Clicks, observations, conversions."""
    op.create_table(
        "clicks",
        sa.Column("click_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.BigInteger(), nullable=False),
        sa.Column("accept_ms", sa.BigInteger(), nullable=False),
        sa.Column("touch_ms", sa.BigInteger(), nullable=False),
        sa.Column("trust", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("counted", sa.String(), nullable=False),
        sa.Column("is_unique", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("raw_ppm", sa.BigInteger(), nullable=False),
        sa.Column("fraud", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("click_id", name=op.f("pk_clicks")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_clicks_program", "clicks", ["program", "click_id"], unique=False)
    op.create_table(
        "click_revisions",
        sa.Column("click_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("counted", sa.String(), nullable=False),
        sa.Column("is_unique", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("raw_ppm", sa.BigInteger(), nullable=False),
        sa.Column("fraud", sa.LargeBinary(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("cause_event", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("click_id", "revision", name=op.f("pk_click_revisions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observations",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("accept_ms", sa.BigInteger(), nullable=False),
        sa.Column("trust", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_observations")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "conversions",
        sa.Column("conversion_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("accept_ms", sa.BigInteger(), nullable=False),
        sa.Column("occurred_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("explain", sa.LargeBinary(), nullable=False),
        sa.Column("config_hash", sa.LargeBinary(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("raw_ppm", sa.BigInteger(), nullable=False),
        sa.Column("fraud", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("conversion_id", name=op.f("pk_conversions")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_conversions_accepted", "conversions", ["accept_ms", "conversion_id"], unique=False
    )
    op.create_index(
        "ix_conversions_program",
        "conversions",
        ["program", "accept_ms", "conversion_id"],
        unique=False,
    )
    op.create_index("ix_conversions_order", "conversions", ["order_id"], unique=False)
    op.create_index(
        "ix_conversions_unattributed",
        "conversions",
        ["program", "accept_ms", "conversion_id", "reason", "status", "flags"],
        unique=False,
        sqlite_where=sa.text("status = 'unattributed'"),
        postgresql_where=sa.text("status = 'unattributed'"),
    )


def reports() -> None:
    """Credits, and each time something was reported."""
    op.create_table(
        "credits",
        sa.Column("conversion_id", sa.LargeBinary(), nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("click_id", sa.LargeBinary(), nullable=True),
        sa.Column("share_ppm", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("conversion_id", "ordinal", name=op.f("pk_credits")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_credits_click", "credits", ["click_id"], unique=False)
    op.create_table(
        "conversion_reports",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("conversion_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("accept_ms", sa.BigInteger(), nullable=False),
        sa.Column("trust", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("producer", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_conversion_reports")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_conversion_reports_conversion_id"),
        "conversion_reports",
        ["conversion_id"],
        unique=False,
    )
    op.create_table(
        "rejections",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=True),
        sa.Column("accept_ms", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_rejections")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "others",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("accept_ms", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_others")),
        sqlite_with_rowid=False,
    )


def _required(kind: sa.types.TypeEngine[Any], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def erasures() -> None:
    """What was erased, and what came too late."""
    op.create_table(
        "erasure_requests",
        *_required(sa.LargeBinary(), "event_id"),
        *_required(sa.BigInteger(), "brand", "revision", "created_ms"),
        sa.Column("rewritten_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_erasure_requests")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_erasure_requests_brand", "erasure_requests", ["brand", "event_id"], unique=False
    )
    op.create_table(
        "rewrites",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        *_required(sa.LargeBinary(), "erasures", "pseudonyms", "dropped"),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_rewrites")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erasures",
        *_required(sa.LargeBinary(), "event_id"),
        *_required(sa.BigInteger(), "brand", "accept_ms"),
        *_required(sa.String(), "scope"),
        *_required(sa.Boolean(), "dry_run"),
        *_required(sa.LargeBinary(), "report", "record"),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_erasures")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "late_evidence",
        *_required(sa.LargeBinary(), "event_id", "conversion_id"),
        *_required(sa.BigInteger(), "brand", "accept_ms", "kind"),
        *_required(sa.JSON(), "partners"),
        *_required(sa.LargeBinary(), "record"),
        sa.PrimaryKeyConstraint("event_id", "conversion_id", name=op.f("pk_late_evidence")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_late_evidence_conversion", "late_evidence", ["conversion_id", "event_id"], unique=False
    )
    op.create_table(
        "erased_identifiers",
        sa.Column("brand", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.BigInteger(), autoincrement=False, nullable=False),
        *_required(sa.LargeBinary(), "digest"),
        *_required(sa.BigInteger(), "erased_ms"),
        sa.PrimaryKeyConstraint("brand", "type", "digest", name=op.f("pk_erased_identifiers")),
        sqlite_with_rowid=False,
    )
