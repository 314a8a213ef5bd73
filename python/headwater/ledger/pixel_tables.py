"""The tables of partner pixels: their definitions, what is to be sent, what came of it.

`firings` is the outbox of the courier: the matcher writes a row when it is due, in the
transaction that made it due; from then on it is the courier's.
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

pixels = Table(
    "pixels",
    metadata,
    number(),
    reference("partner_id", "partners"),
    # 0: every program the partner is in.
    integer("program_number"),
    string("commission"),
    string("slot"),
    string("type"),
    string("template"),
    string("rule", nullable=True),
    integer("delay_ms"),
    string("test_url", nullable=True),
    # Of the signing secrets that are valid, the newest last; none: nothing is signed.
    json_list("signing_salts"),
    *object_columns(),
    Index(
        "uq_pixels_live",
        "partner_id",
        "program_number",
        "commission",
        "slot",
        unique=True,
        sqlite_where=text("status <> 'deleted'"),
        postgresql_where=text("status <> 'deleted'"),
    ),
    UniqueConstraint("partner_id", "external_id"),
)
pixel_versions = Table(
    "pixel_versions",
    metadata,
    # In this order an action's partner is found by it: another index would not be taken.
    integer("partition", primary_key=True, autoincrement=False),
    integer("partner", primary_key=True, autoincrement=False),
    integer("pixel", primary_key=True, autoincrement=False),
    integer("revision"),
    binary("value"),
    Index("uq_pixel_versions_pixel", "pixel", "partition", unique=True),
    sqlite_with_rowid=False,
)
"""The active pixels as each lane of the log has them: what decides, with no regard to what the
console has written since."""

firings = Table(
    "firings",
    metadata,
    binary("event_id", primary_key=True),
    integer("brand"),
    integer("program"),
    integer("partner"),
    integer("pixel"),
    binary("action_id"),
    binary("conversion_id", nullable=True),
    string("type"),
    string("url"),
    Column("is_test", Boolean, nullable=False),
    # Log time at which it was due.
    integer("at_ms"),
    # `waiting`, `delivered`, `dead`, or `client`: given to the visitor's browser.
    string("state"),
    # The clock of the courier: not before it is the next attempt.
    integer("due_ms"),
    integer("attempts"),
    # Those before a person had it sent again: the schedule began anew.
    integer("attempts_before"),
    string("code", nullable=True),
    Index("ix_firings_conversion", "conversion_id"),
    Index("ix_firings_at", "at_ms", "event_id"),
    Index("ix_firings_partner", "partner", "at_ms", "event_id"),
    Index("ix_firings_pixel", "pixel", "at_ms", "event_id"),
    Index(
        "ix_firings_dead",
        "at_ms",
        "event_id",
        sqlite_where=text("state = 'dead'"),
        postgresql_where=text("state = 'dead'"),
    ),
    Index(
        "ix_firings_waiting",
        "pixel",
        "due_ms",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    sqlite_with_rowid=False,
)
firing_attempts = Table(
    "firing_attempts",
    metadata,
    binary("event_id", primary_key=True),
    integer("attempt", primary_key=True, autoincrement=False),
    integer("at_ms"),
    string("url"),
    integer("status", nullable=True),
    integer("latency_ms"),
    binary("answer"),
    string("outcome"),
    string("code"),
    sqlite_with_rowid=False,
)
"""Every attempt to deliver: the URL with secrets masked, the first bytes of the answer's body."""

pixel_endpoints = Table(
    "pixel_endpoints",
    metadata,
    integer("pixel", primary_key=True, autoincrement=False),
    # Since the last success; null while there is none.
    integer("failures"),
    integer("failing_since_ms", nullable=True),
    # Nothing is sent before it, and then one firing alone until one is delivered.
    integer("open_until_ms"),
    integer("disabled_ms", nullable=True),
    string("disabled_code", nullable=True),
    integer("delivered_count"),
    integer("failed_count"),
    integer("last_ms"),
    sqlite_with_rowid=False,
)
"""How deliveries to each pixel go."""

waiting_leads = Table(
    "waiting_leads",
    metadata,
    binary("event_id", primary_key=True),
    integer("partition"),
    integer("brand"),
    integer("program"),
    integer("partner"),
    integer("pixel"),
    binary("action_id"),
    binary("conversion_id"),
    string("type"),
    string("url"),
    Column("is_test", Boolean, nullable=False),
    integer("due_ms"),
    string("order_id", nullable=True),
    Index("ix_waiting_leads_due", "partition", "due_ms"),
    Index("ix_waiting_leads_action", "action_id"),
    Index("ix_waiting_leads_order", "order_id", "brand"),
    sqlite_with_rowid=False,
)
"""Firings of leads that may still become sales; the time is the log's."""

waiting_lead_identifiers = Table(
    "waiting_lead_identifiers",
    metadata,
    integer("brand", primary_key=True, autoincrement=False),
    integer("type", primary_key=True, autoincrement=False),
    binary("digest", primary_key=True),
    binary("event_id", primary_key=True),
    Index("ix_waiting_lead_identifiers_lead", "event_id"),
    sqlite_with_rowid=False,
)
"""What the leads' own reports named their visitors by."""

pixel_decisions = Table(
    "pixel_decisions",
    metadata,
    binary("action_id", primary_key=True),
    integer("pixel", primary_key=True, autoincrement=False),
    integer("brand"),
    integer("program"),
    integer("partner"),
    binary("conversion_id", nullable=True),
    integer("at_ms"),
    string("code"),
    Index("ix_pixel_decisions_conversion", "conversion_id"),
    sqlite_with_rowid=False,
)
"""Which pixels were fired for an action, and why others were not."""
