"""The tables of partner pixels, as the first revision makes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

# SQLite numbers rows itself only in a column of exactly this type.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def definitions() -> None:
    """Pixels, and what each lane of the log has of them."""
    op.create_table(
        "pixels",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("program_number", sa.BigInteger(), nullable=False),
        sa.Column("commission", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("delay_ms", sa.BigInteger(), nullable=False),
        sa.Column("test_url", sa.String(), nullable=True),
        sa.Column("signing_salts", sa.JSON(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_pixels_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pixels")),
        sa.UniqueConstraint(
            "partner_id", "external_id", name=op.f("uq_pixels_partner_id_external_id")
        ),
    )
    op.create_index(
        "uq_pixels_live",
        "pixels",
        ["partner_id", "program_number", "commission", "slot"],
        unique=True,
        sqlite_where=sa.text("status <> 'deleted'"),
        postgresql_where=sa.text("status <> 'deleted'"),
    )
    op.create_table(
        "pixel_versions",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partner", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pixel", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "partner", "pixel", name=op.f("pk_pixel_versions")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "uq_pixel_versions_pixel", "pixel_versions", ["pixel", "partition"], unique=True
    )


def deliveries() -> None:
    """What is to be sent, and what came of it."""
    op.create_table(
        "firings",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("pixel", sa.BigInteger(), nullable=False),
        sa.Column("action_id", sa.LargeBinary(), nullable=False),
        sa.Column("conversion_id", sa.LargeBinary(), nullable=True),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("attempts_before", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_firings")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_firings_at", "firings", ["at_ms", "event_id"], unique=False)
    op.create_index("ix_firings_conversion", "firings", ["conversion_id"], unique=False)
    op.create_index("ix_firings_partner", "firings", ["partner", "at_ms", "event_id"], unique=False)
    op.create_index("ix_firings_pixel", "firings", ["pixel", "at_ms", "event_id"], unique=False)
    op.create_index(
        "ix_firings_dead",
        "firings",
        ["at_ms", "event_id"],
        unique=False,
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_firings_waiting",
        "firings",
        ["pixel", "due_ms"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "firing_attempts",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "attempt", name=op.f("pk_firing_attempts")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pixel_endpoints",
        sa.Column("pixel", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("failing_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("open_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.Column("disabled_code", sa.String(), nullable=True),
        sa.Column("delivered_count", sa.BigInteger(), nullable=False),
        sa.Column("failed_count", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pixel", name=op.f("pk_pixel_endpoints")),
        sqlite_with_rowid=False,
    )


def decisions() -> None:
    """Leads that wait, and why a pixel fired."""
    op.create_table(
        "waiting_leads",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("pixel", sa.BigInteger(), nullable=False),
        sa.Column("action_id", sa.LargeBinary(), nullable=False),
        sa.Column("conversion_id", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_waiting_leads")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_waiting_leads_action", "waiting_leads", ["action_id"], unique=False)
    op.create_index("ix_waiting_leads_order", "waiting_leads", ["order_id", "brand"], unique=False)
    op.create_index("ix_waiting_leads_due", "waiting_leads", ["partition", "due_ms"], unique=False)
    op.create_table(
        "waiting_lead_identifiers",
        sa.Column("brand", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "brand", "type", "digest", "event_id", name=op.f("pk_waiting_lead_identifiers")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_waiting_lead_identifiers_lead", "waiting_lead_identifiers", ["event_id"], unique=False
    )
    op.create_table(
        "pixel_decisions",
        sa.Column("action_id", sa.LargeBinary(), nullable=False),
        sa.Column("pixel", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("conversion_id", sa.LargeBinary(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", "pixel", name=op.f("pk_pixel_decisions")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_pixel_decisions_conversion", "pixel_decisions", ["conversion_id"], unique=False
    )
