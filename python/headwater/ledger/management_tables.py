"""Tables of the management API: who changed what, requests under a key, settings of money."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table

from headwater.ledger.columns import (
    ROW_NUMBER,
    binary,
    integer,
    json_list,
    metadata,
    number,
    string,
)

audit_log = Table(
    "audit_log",
    metadata,
    number(),
    integer("at_ms"),
    # Id of the API key; `system`: nobody asked, or a command of the operator did.
    string("actor"),
    # What kind of object it is, and which.
    string("object"),
    string("object_id"),
    string("verb"),
    # Member to what it was and what it is; what may not be told has null for both.
    json_list("changes"),
    Index("ix_audit_log_object", "object", "object_id", "id"),
    Index("ix_audit_log_actor", "actor", "id"),
)
"""Every change that was asked for, in the transaction that makes it."""

management_requests = Table(
    "management_requests",
    metadata,
    # Digest of API key, route and Idempotency-Key.
    binary("name", primary_key=True),
    binary("body_digest"),
    # The `request` of its rows in `decision_requests`.
    binary("request"),
    integer("created_ms"),
    Index("ix_management_requests_created", "created_ms"),
    sqlite_with_rowid=False,
)
"""Requests that came with an Idempotency-Key."""

money_settings = Table(
    "money_settings",
    metadata,
    Column("program_id", ROW_NUMBER, primary_key=True, autoincrement=False),
    json_list("reversal_reasons"),
    integer("revision"),
    integer("updated_ms"),
)
"""What a program says of money beside its terms; no row: nothing."""
