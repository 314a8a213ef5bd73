"""The tables of the book, as the first revision makes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

# SQLite numbers rows itself only in a column of exactly this type.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def book() -> None:
    """Everything the book is kept in."""
    settings()
    action_tables()
    decision_tables()
    click_tables()


def settings() -> None:
    """Terms and exchange rates."""
    op.create_table(
        "terms",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("program_id", sa.BigInteger(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_terms_program_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terms")),
        sa.UniqueConstraint(
            "program_id", "external_id", name=op.f("uq_terms_program_id_external_id")
        ),
        sa.UniqueConstraint(
            "program_id",
            "partner_id",
            "version",
            name=op.f("uq_terms_program_id_partner_id_version"),
        ),
    )
    op.create_index(op.f("ix_terms_program_id"), "terms", ["program_id"], unique=False)
    op.create_table(
        "exchange_rates",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("currency_from", sa.String(), nullable=False),
        sa.Column("currency_to", sa.String(), nullable=False),
        sa.Column("rate", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("date", sa.String(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["brand_id"], ["brands.id"], name=op.f("fk_exchange_rates_brand_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange_rates")),
        sa.UniqueConstraint(
            "brand_id", "external_id", name=op.f("uq_exchange_rates_brand_id_external_id")
        ),
    )
    op.create_index(
        op.f("ix_exchange_rates_brand_id"), "exchange_rates", ["brand_id"], unique=False
    )


def action_tables() -> None:
    """Actions, their history, and the entries."""
    op.create_table(
        "actions",
        sa.Column("action_id", sa.LargeBinary(), nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("conversion_id", sa.LargeBinary(), nullable=True),
        sa.Column("click_id", sa.LargeBinary(), nullable=True),
        sa.Column("click_day", sa.String(), nullable=True),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("original_state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("tracked_ms", sa.BigInteger(), nullable=False),
        sa.Column("lock_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("locked_ms", sa.BigInteger(), nullable=True),
        sa.Column("pay_ms", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("order_minor", sa.BigInteger(), nullable=False),
        sa.Column("left_minor", sa.BigInteger(), nullable=False),
        sa.Column("payout_currency", sa.String(), nullable=False),
        sa.Column("revenue_minor", sa.BigInteger(), nullable=False),
        sa.Column("payout_micros", sa.BigInteger(), nullable=False),
        sa.Column("payout_minor", sa.BigInteger(), nullable=False),
        sa.Column("compensated_minor", sa.BigInteger(), nullable=False),
        sa.Column("rate_json", sa.String(), nullable=False),
        sa.Column("terms", sa.BigInteger(), nullable=False),
        sa.Column("terms_version", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("share_ppm", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("charges_json", sa.String(), nullable=False),
        sa.Column("change_json", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_actions")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_actions_conversion", "actions", ["conversion_id"], unique=False)
    op.create_index(
        "ix_actions_due",
        "actions",
        ["partition", "due_ms", "action_id"],
        unique=False,
        sqlite_where=sa.text("due_ms IS NOT NULL"),
        postgresql_where=sa.text("due_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_actions_partner", "actions", ["partner", "tracked_ms", "action_id"], unique=False
    )
    op.create_index(
        "ix_actions_program", "actions", ["program", "tracked_ms", "action_id"], unique=False
    )
    op.create_index(
        "ix_actions_state", "actions", ["state", "tracked_ms", "action_id"], unique=False
    )
    op.create_table(
        "action_moves",
        sa.Column("action_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("state_before", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("cause", sa.LargeBinary(), nullable=False),
        sa.Column("payout_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", "revision", name=op.f("pk_action_moves")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "action_items",
        sa.Column("action_id", sa.LargeBinary(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sku", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("subtotal_minor", sa.BigInteger(), nullable=False),
        sa.Column("payout_micros", sa.BigInteger(), nullable=False),
        sa.Column("payout_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", "ordinal", name=op.f("pk_action_items")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "book_entries",
        sa.Column("action_id", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("action_id", "revision", "ordinal", name=op.f("pk_book_entries")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "book_balances",
        sa.Column("program", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partner", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "program", "partner", "currency", "account", name=op.f("pk_book_balances")
        ),
        sqlite_with_rowid=False,
    )


def decision_tables() -> None:
    """What managers decide, and what is counted."""
    op.create_table(
        "decisions_log",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("accept_ms", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("detail_json", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_decisions_log")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_decisions_log_request", "decisions_log", ["request"], unique=False)
    op.create_index(
        "ix_decisions_log_subject", "decisions_log", ["subject", "event_id"], unique=False
    )
    op.create_table(
        "decision_requests",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_decision_requests")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_decision_requests_request", "decision_requests", ["request", "ordinal"], unique=False
    )
    op.create_index(
        "ix_decision_requests_revision", "decision_requests", ["revision"], unique=False
    )
    op.create_table(
        "order_changes",
        sa.Column("conversion_id", sa.LargeBinary(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("said_ms", sa.BigInteger(), nullable=False),
        sa.Column("refund_id", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("items_json", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("conversion_id", "ordinal", name=op.f("pk_order_changes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tallies",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_tallies")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "book_settings",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("control", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "object", "number", name=op.f("pk_book_settings")),
        sqlite_with_rowid=False,
    )


def click_tables() -> None:
    """Payable clicks, by day and one by one."""
    op.create_table(
        "click_days",
        sa.Column("program", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partner", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("invalid", sa.BigInteger(), nullable=False),
        sa.Column("duplicate", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("over_cap", sa.BigInteger(), nullable=False),
        sa.Column("payable", sa.BigInteger(), nullable=False),
        sa.Column("payout_micros", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.BigInteger(), nullable=False),
        sa.Column("terms_version", sa.BigInteger(), nullable=False),
        sa.Column("lock_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("action_id", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint(
            "program", "partner", "day", "currency", name=op.f("pk_click_days")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_click_days_due",
        "click_days",
        ["partition", "due_ms"],
        unique=False,
        sqlite_where=sa.text("due_ms IS NOT NULL"),
        postgresql_where=sa.text("due_ms IS NOT NULL"),
    )
    op.create_table(
        "click_standings",
        sa.Column("click_id", sa.LargeBinary(), nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("program", sa.BigInteger(), nullable=False),
        sa.Column("partner", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("is_first", sa.Boolean(), nullable=False),
        sa.Column("payout_micros", sa.BigInteger(), nullable=False),
        sa.Column("charges_json", sa.String(), nullable=False),
        sa.Column("manager", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("click_id", name=op.f("pk_click_standings")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_click_standings_day",
        "click_standings",
        ["program", "partner", "day", "click_id"],
        unique=False,
    )
