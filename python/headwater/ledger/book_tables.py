"""The tables of the book. Columns are the fields of `model/book.py`, in their order.

The matcher alone writes them, in the transaction of a batch and in the order of the log, so they
follow from it. They hold no foreign keys, as the tables of events.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Table, UniqueConstraint, text

from headwater.ledger.columns import (
    binary,
    integer,
    json_list,
    metadata,
    number,
    object_columns,
    reference,
    string,
)

_IS_DUE = text("due_ms IS NOT NULL")

terms = Table(
    "terms",
    metadata,
    number(),
    reference("program_id", "programs", index=True),
    # 0: of every partner of the program that has none of its own.
    integer("partner_id"),
    integer("version"),
    integer("from_ms"),
    json_list("value"),
    *object_columns(),
    UniqueConstraint("program_id", "partner_id", "version"),
    UniqueConstraint("program_id", "external_id"),
)
"""The contract of a partner in a program, a row for each version; `value` is what the log is
told. Written by the console."""

exchange_rates = Table(
    "exchange_rates",
    metadata,
    number(),
    reference("brand_id", "brands", index=True),
    string("currency_from"),
    string("currency_to"),
    # Units of the second for one unit of the first, as a decimal number.
    string("rate"),
    string("source"),
    string("date"),
    integer("from_ms"),
    *object_columns(),
    UniqueConstraint("brand_id", "external_id"),
)
"""Rates of a brand, each in force from its time on until the next of its pair. Written by the
console."""

actions = Table(
    "actions",
    metadata,
    binary("action_id", primary_key=True),
    integer("partition"),
    integer("brand"),
    integer("program"),
    integer("partner"),
    integer("event_type"),
    string("kind"),
    binary("conversion_id", nullable=True),
    binary("click_id", nullable=True),
    string("click_day", nullable=True),
    string("order_id", nullable=True),
    string("line"),
    string("state"),
    string("original_state"),
    string("reason", nullable=True),
    integer("tracked_ms"),
    integer("lock_ms"),
    integer("due_ms", nullable=True),
    integer("locked_ms", nullable=True),
    integer("pay_ms", nullable=True),
    string("currency"),
    integer("order_minor"),
    integer("left_minor"),
    string("payout_currency"),
    integer("revenue_minor"),
    integer("payout_micros"),
    integer("payout_minor"),
    integer("compensated_minor"),
    string("rate_json"),
    integer("terms"),
    integer("terms_version"),
    string("rule"),
    integer("share_ppm"),
    integer("flags"),
    string("charges_json"),
    string("change_json"),
    integer("revision"),
    Index("ix_actions_conversion", "conversion_id"),
    Index("ix_actions_program", "program", "tracked_ms", "action_id"),
    Index("ix_actions_partner", "partner", "tracked_ms", "action_id"),
    Index("ix_actions_state", "state", "tracked_ms", "action_id"),
    Index(
        "ix_actions_due",
        "partition",
        "due_ms",
        "action_id",
        sqlite_where=_IS_DUE,
        postgresql_where=_IS_DUE,
    ),
    sqlite_with_rowid=False,
)
action_moves = Table(
    "action_moves",
    metadata,
    binary("action_id", primary_key=True),
    integer("revision", primary_key=True, autoincrement=False),
    integer("brand"),
    integer("at_ms"),
    string("verb"),
    string("state_before"),
    string("state"),
    string("reason", nullable=True),
    string("note"),
    string("actor"),
    binary("cause"),
    integer("payout_minor"),
    sqlite_with_rowid=False,
)
action_items = Table(
    "action_items",
    metadata,
    binary("action_id", primary_key=True),
    integer("ordinal", primary_key=True, autoincrement=False),
    string("sku"),
    string("category"),
    integer("quantity"),
    integer("subtotal_minor"),
    integer("payout_micros"),
    integer("payout_minor"),
    sqlite_with_rowid=False,
)
book_entries = Table(
    "book_entries",
    metadata,
    binary("action_id", primary_key=True),
    integer("revision", primary_key=True, autoincrement=False),
    integer("ordinal", primary_key=True, autoincrement=False),
    string("account"),
    integer("brand"),
    integer("program"),
    integer("partner"),
    integer("at_ms"),
    string("currency"),
    integer("amount_minor"),
    binary("cause"),
    sqlite_with_rowid=False,
)
book_balances = Table(
    "book_balances",
    metadata,
    # Programs first, for those are what keys reach.
    integer("program", primary_key=True, autoincrement=False),
    integer("partner", primary_key=True, autoincrement=False),
    string("currency", primary_key=True),
    string("account", primary_key=True),
    integer("amount_minor"),
    sqlite_with_rowid=False,
)
"""What the entries of an account sum to: written with them, so that what is owed is read from few
rows however long the book is."""

decisions_log = Table(
    "decisions_log",
    metadata,
    binary("event_id", primary_key=True),
    integer("brand"),
    integer("accept_ms"),
    integer("at_ms"),
    string("action"),
    binary("subject"),
    string("actor"),
    string("request"),
    string("reason", nullable=True),
    string("note"),
    string("outcome"),
    string("code", nullable=True),
    string("detail_json"),
    Index("ix_decisions_log_subject", "subject", "event_id"),
    Index("ix_decisions_log_request", "request"),
    sqlite_with_rowid=False,
)
decision_requests = Table(
    "decision_requests",
    metadata,
    binary("event_id", primary_key=True),
    integer("brand"),
    integer("revision"),
    integer("created_ms"),
    # Of the decisions that were asked for together, and the place among them.
    binary("request"),
    integer("ordinal"),
    string("action"),
    binary("subject"),
    Index("ix_decision_requests_revision", "revision"),
    Index("ix_decision_requests_request", "request", "ordinal"),
    sqlite_with_rowid=False,
)
"""Decisions the console has put on their way to the log, committed or not; `revision` is that of
the outbox row."""

order_changes = Table(
    "order_changes",
    metadata,
    binary("conversion_id", primary_key=True),
    integer("ordinal", primary_key=True, autoincrement=False),
    binary("event_id"),
    integer("brand"),
    integer("at_ms"),
    string("kind"),
    integer("said_ms"),
    string("refund_id"),
    integer("amount_minor"),
    string("currency"),
    string("items_json"),
    string("reason", nullable=True),
    string("actor"),
    string("note"),
    string("state"),
    sqlite_with_rowid=False,
)
click_days = Table(
    "click_days",
    metadata,
    integer("program", primary_key=True, autoincrement=False),
    integer("partner", primary_key=True, autoincrement=False),
    string("day", primary_key=True),
    string("currency", primary_key=True),
    integer("partition"),
    integer("brand"),
    integer("event_type"),
    string("mode"),
    integer("gross"),
    integer("invalid"),
    integer("duplicate"),
    integer("rejected"),
    integer("over_cap"),
    integer("payable"),
    integer("payout_micros"),
    integer("terms"),
    integer("terms_version"),
    integer("lock_ms"),
    integer("due_ms", nullable=True),
    string("state"),
    binary("action_id", nullable=True),
    Index(
        "ix_click_days_due",
        "partition",
        "due_ms",
        sqlite_where=_IS_DUE,
        postgresql_where=_IS_DUE,
    ),
    sqlite_with_rowid=False,
)
click_standings = Table(
    "click_standings",
    metadata,
    binary("click_id", primary_key=True),
    integer("brand"),
    integer("program"),
    integer("partner"),
    string("day"),
    string("currency"),
    integer("revision"),
    string("verdict"),
    integer("score"),
    string("standing"),
    Column("is_first", Boolean, nullable=False),
    integer("payout_micros"),
    string("charges_json"),
    string("manager"),
    string("reason", nullable=True),
    integer("at_ms"),
    Index("ix_click_standings_day", "program", "partner", "day", "click_id"),
    sqlite_with_rowid=False,
)
tallies = Table(
    "tallies",
    metadata,
    string("key", primary_key=True),
    integer("brand"),
    integer("used"),
    sqlite_with_rowid=False,
)
"""How much of each cap and of each tier is used."""

book_settings = Table(
    "book_settings",
    metadata,
    integer("partition", primary_key=True, autoincrement=False),
    string("object", primary_key=True),
    integer("number", primary_key=True, autoincrement=False),
    binary("control"),
    sqlite_with_rowid=False,
)
"""The configuration the book goes by: the newest record of each object that it took."""

BOOK_TABLES = (
    actions,
    action_moves,
    action_items,
    book_entries,
    book_balances,
    decisions_log,
    order_changes,
    click_days,
    click_standings,
    tallies,
    book_settings,
)
