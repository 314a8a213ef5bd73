"""The tables. Times are integer milliseconds, money integer minor units, ids of events 16 bytes.

Here: configuration, ownership, files. The events' are in `event_tables`, the book's in
`book_tables`, those of partner pixels in `pixel_tables`, of the management API in
`management_tables`, rollups in `rollup_tables`; all are named here.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Index,
    Table,
    UniqueConstraint,
    text,
)

from headwater.ledger.book_tables import (
    BOOK_TABLES,
    action_items,
    action_moves,
    actions,
    book_balances,
    book_entries,
    book_settings,
    click_days,
    click_standings,
    decision_requests,
    decisions_log,
    exchange_rates,
    order_changes,
    tallies,
    terms,
)
from headwater.ledger.columns import (
    ROW_NUMBER,
    binary,
    integer,
    json_list,
    metadata,
    number,
    object_columns,
    reference,
    string,
)
from headwater.ledger.event_tables import (
    click_revisions,
    clicks,
    conversion_reports,
    conversions,
    credit_shares,
    erased_identifiers,
    erasures,
    late_evidence,
    observations,
    others,
    rejections,
)
from headwater.ledger.management_tables import audit_log, management_requests, money_settings
from headwater.ledger.pixel_tables import (
    firing_attempts,
    firings,
    pixel_decisions,
    pixel_endpoints,
    pixel_versions,
    pixels,
    waiting_lead_identifiers,
    waiting_leads,
)
from headwater.ledger.rollup_tables import (
    ROLLUP_TABLES,
    click_rollup_changes,
    click_rollups,
    rollup_marks,
    rollup_sub_ids,
    sale_rollups,
)

__all__ = [
    "BOOK_TABLES",
    "EVENT_TABLES",
    "ROLLUP_TABLES",
    "SCHEMA_VERSION",
    "action_items",
    "action_moves",
    "actions",
    "archive_segments",
    "audit_log",
    "book_balances",
    "book_entries",
    "book_settings",
    "brands",
    "click_days",
    "click_revisions",
    "click_rollup_changes",
    "click_rollups",
    "click_standings",
    "clicks",
    "config_outbox",
    "config_spreads",
    "conversion_reports",
    "conversions",
    "counters",
    "credit_shares",
    "decision_requests",
    "decisions_log",
    "domains",
    "enrolments",
    "erased_identifiers",
    "erasure_requests",
    "erasures",
    "event_types",
    "exchange_rates",
    "firing_attempts",
    "firings",
    "keys",
    "late_evidence",
    "links",
    "management_requests",
    "money_settings",
    "network_rules",
    "observations",
    "order_changes",
    "others",
    "panics",
    "partitions",
    "partners",
    "pixel_decisions",
    "pixel_endpoints",
    "pixel_versions",
    "pixels",
    "programs",
    "promo_codes",
    "quarantine",
    "rejections",
    "rewrites",
    "rollup_marks",
    "rollup_sub_ids",
    "sale_rollups",
    "snapshots",
    "tallies",
    "terms",
    "waiting_lead_identifiers",
    "waiting_leads",
]

SCHEMA_VERSION = "0001"
"""The newest revision in `migrations`."""

# ---- Configuration -------------------------------------------------------------------------

brands = Table(
    "brands",
    metadata,
    number(),
    string("name"),
    integer("partition"),
    *object_columns(),
    UniqueConstraint("external_id"),
)
programs = Table(
    "programs",
    metadata,
    number(),
    reference("brand_id", "brands"),
    string("code", unique=True),
    string("name"),
    string("destination_url"),
    json_list("deep_link_hosts"),
    string("timezone"),
    string("currency"),
    integer("click_window_seconds"),
    Column("attribution", JSON, nullable=False),
    string("click_param"),
    string("consent_default"),
    json_list("forward_params"),
    json_list("allowed_origins"),
    string("default_country", nullable=True),
    Column("methods", JSON(none_as_null=True), nullable=True),
    Column("aliases", JSON, nullable=False),
    json_list("alias_presets"),
    # What the program says of fraud rules; `{}`: nothing.
    Column("fraud", JSON, nullable=False),
    # Added to every link's destination; what the link itself says goes before it.
    Column("utm", JSON, nullable=False),
    string("utm_mode"),
    string("link_signing"),
    # Of the secrets that are valid, the newest last.
    json_list("link_salts"),
    # Of webhooks, sealed under the deployment's key, the newest last.
    json_list("shopify_secrets"),
    *object_columns(),
    UniqueConstraint("brand_id", "external_id"),
)
event_types = Table(
    "event_types",
    metadata,
    number(),
    reference("program_id", "programs"),
    string("code"),
    string("kind"),
    # Null: as the program's.
    integer("click_window_seconds", nullable=True),
    *object_columns(),
    UniqueConstraint("program_id", "code"),
    UniqueConstraint("program_id", "external_id"),
)
partners = Table(
    "partners",
    metadata,
    number(),
    string("name"),
    string("email"),
    *object_columns(),
    UniqueConstraint("external_id"),
)
enrolments = Table(
    "enrolments",
    metadata,
    number(),
    reference("program_id", "programs"),
    reference("partner_id", "partners", index=True),
    # Without a foreign key: the link names the enrolment's program and partner, not the reverse.
    integer("default_link"),
    # What is said of fraud rules for this partner in the program; `{}`: nothing.
    Column("fraud", JSON, nullable=False),
    *object_columns(),
    UniqueConstraint("program_id", "partner_id"),
    UniqueConstraint("program_id", "external_id"),
)
domains = Table(
    "domains",
    metadata,
    number(),
    reference("brand_id", "brands"),
    string("host", unique=True),
    *object_columns(),
    UniqueConstraint("brand_id", "external_id"),
)
links = Table(
    "links",
    metadata,
    number(),
    reference("program_id", "programs", index=True),
    reference("partner_id", "partners", index=True),
    reference("domain_id", "domains", nullable=True),
    # Empty for the shared domain; repeated from `domains` for the unique constraint.
    string("host"),
    string("code"),
    string("code_key"),
    string("destination_url", nullable=True),
    Column("utm", JSON, nullable=False),
    # The destination: its own, or the program's.
    string("url"),
    integer("expires_ms", nullable=True),
    # Nobody who sees the page can follow it.
    Column("honeypot", Boolean, nullable=False),
    string("expired_destination_url", nullable=True),
    json_list("targets"),
    *object_columns(),
    # A deleted link's code may be given to another.
    Index(
        "uq_links_live",
        "host",
        "code_key",
        unique=True,
        sqlite_where=text("status <> 'deleted'"),
        postgresql_where=text("status <> 'deleted'"),
    ),
    Index("ix_links_host_code_key", "host", "code_key"),
    UniqueConstraint("program_id", "external_id"),
)
promo_codes = Table(
    "promo_codes",
    metadata,
    number(),
    reference("program_id", "programs"),
    reference("partner_id", "partners"),
    string("code"),
    *object_columns(),
    # A deleted code may be given to another partner.
    Index(
        "uq_promo_codes_live",
        "program_id",
        "code",
        unique=True,
        sqlite_where=text("status <> 'deleted'"),
        postgresql_where=text("status <> 'deleted'"),
    ),
    UniqueConstraint("program_id", "external_id"),
)
"""Codes whose use credits a partner, in upper case."""

keys = Table(
    "keys",
    metadata,
    number(),
    string("sha256", unique=True),
    json_list("scopes"),
    reference("brand_id", "brands", nullable=True),
    reference("partner_id", "partners", nullable=True),
    *object_columns(),
    UniqueConstraint("external_id"),
)
network_rules = Table(
    "network_rules",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("fraud", JSON, nullable=False),
    integer("revision"),
    integer("updated_ms"),
)
"""The fraud rules of the whole deployment: one row, or none while nothing was ever said."""

counters = Table(
    "counters",
    metadata,
    string("name", primary_key=True),
    integer("value"),
)
"""`revision`: the newest revision of the configuration. Its row is updated first in every
transaction that changes the configuration, so revisions are committed in their order."""

config_outbox = Table(
    "config_outbox",
    metadata,
    Column("revision", ROW_NUMBER, primary_key=True, autoincrement=False),
    integer("brand"),
    integer("partition"),
    string("object"),
    integer("number"),
    binary("control"),
    binary("value", nullable=True),
    Column("for_edges", Boolean, nullable=False),
    integer("created_ms"),
    Column("appended", Boolean, nullable=False),
    Column("committed", Boolean, nullable=False),
    Index("ix_config_outbox_object", "object", "number", "revision"),
    Index(
        "ix_config_outbox_not_appended",
        "revision",
        sqlite_where=text("appended = 0"),
        postgresql_where=text("NOT appended"),
    ),
    Index(
        "ix_config_outbox_not_committed",
        "partition",
        "revision",
        sqlite_where=text("committed = 0"),
        postgresql_where=text("NOT committed"),
    ),
)
"""What the log and the edges have to be told: `control` is the record's bytes, `value` the
msgpack map edges hold (null: deleted). What is not `for_edges` goes on the log alone: erasures,
which are no objects and have the revision as their number, and what edges need not know."""

erasure_requests = Table(
    "erasure_requests",
    metadata,
    binary("event_id", primary_key=True),
    integer("brand"),
    integer("revision"),
    integer("created_ms"),
    # When it was carried into what had been written before it.
    integer("rewritten_ms", nullable=True),
    Index("ix_erasure_requests_brand", "brand", "event_id"),
    sqlite_with_rowid=False,
)
"""Erasures that were asked for, committed or not; `revision` is that of the outbox row."""

config_spreads = Table(
    "config_spreads",
    metadata,
    string("object", primary_key=True),
    Column("number", ROW_NUMBER, primary_key=True, autoincrement=False),
    integer("after"),
    integer("serial"),
)
"""A change of one object that has to be told for many others (a partner's enrolments, a
program's links), and how far that has come: `after` is the last number done. `serial` grows
when the change is made again, which starts over."""

# ---- Ownership and files -------------------------------------------------------------------

partitions = Table(
    "partitions",
    metadata,
    Column("partition", ROW_NUMBER, primary_key=True, autoincrement=False),
    integer("epoch"),
    string("owner"),
    integer("lease_until_ms"),
    integer("generation"),
    string("redis_run_id"),
    integer("stream_ms"),
    integer("stream_seq"),
    binary("chain_digest"),
    integer("time_ms"),
)
archive_segments = Table(
    "archive_segments",
    metadata,
    integer("partition", primary_key=True, autoincrement=False),
    string("name", primary_key=True),
    integer("epoch"),
    integer("first_ms"),
    integer("first_seq"),
    integer("last_ms"),
    integer("last_seq"),
    integer("length"),
    Column("sealed", Boolean, nullable=False),
)
rewrites = Table(
    "rewrites",
    metadata,
    integer("partition", primary_key=True, autoincrement=False),
    binary("erasures"),
    binary("pseudonyms"),
    binary("dropped"),
    sqlite_with_rowid=False,
)
"""Erasures that are in the archive already and not yet in all of the ledger: their ids, the
pseudonym of each digest with the time up to which it stands for it, and the files to remove."""

snapshots = Table(
    "snapshots",
    metadata,
    integer("partition", primary_key=True, autoincrement=False),
    string("name", primary_key=True),
    integer("epoch"),
    integer("stream_ms"),
    integer("stream_seq"),
    binary("chain_digest"),
    binary("digest"),
    integer("length"),
    integer("created_ms"),
)
quarantine = Table(
    "quarantine",
    metadata,
    integer("partition", primary_key=True, autoincrement=False),
    integer("stream_ms", primary_key=True, autoincrement=False),
    integer("stream_seq", primary_key=True, autoincrement=False),
    string("reason"),
    binary("frame"),
    Column("ordered", Boolean, nullable=False),
    integer("created_ms"),
)
"""Frames set aside. `ordered`: by the owner's order, which replay has to honor; else by the
engine, which finds the same fault again by itself."""

panics = Table(
    "panics",
    metadata,
    integer("partition", primary_key=True, autoincrement=False),
    integer("stream_ms", primary_key=True, autoincrement=False),
    integer("stream_seq", primary_key=True, autoincrement=False),
    integer("count"),
)
"""How often a frame has ended the engine."""

EVENT_TABLES = (
    clicks,
    click_revisions,
    observations,
    conversions,
    credit_shares,
    conversion_reports,
    rejections,
    erasures,
    late_evidence,
    others,
    quarantine,
)
