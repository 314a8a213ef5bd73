"""The tables. Times are integer milliseconds, money integer minor units, ids of events 16 bytes.

Columns of the event tables are the engine's outcome rows, in their order. Event tables are
clustered by event id: click ids are ordered by time, so inserts append. They hold no foreign keys:
an event may be committed before the object it names, and objects are never deleted.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Index,
    Integer,
    Table,
    UniqueConstraint,
    text,
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
    string("url"),
    integer("expires_ms", nullable=True),
    *object_columns(),
    UniqueConstraint("host", "code_key"),
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

# ---- Events --------------------------------------------------------------------------------

clicks = Table(
    "clicks",
    metadata,
    binary("click_id", primary_key=True),
    integer("brand"),
    integer("program"),
    integer("partner"),
    integer("link"),
    integer("accept_ms"),
    integer("touch_ms"),
    integer("trust"),
    integer("source"),
    integer("flags"),
    string("verdict"),
    string("counted"),
    integer("is_unique"),
    integer("score"),
    integer("raw_ppm"),
    binary("fraud"),
    binary("record"),
    # Costs one microsecond a click, and spares lists of a program a scan of all clicks.
    Index("ix_clicks_program", "program", "click_id"),
    sqlite_with_rowid=False,
)
observations = Table(
    "observations",
    metadata,
    binary("event_id", primary_key=True),
    integer("kind"),
    integer("brand"),
    integer("program"),
    integer("accept_ms"),
    integer("trust"),
    integer("source"),
    binary("record"),
    sqlite_with_rowid=False,
)
conversions = Table(
    "conversions",
    metadata,
    binary("conversion_id", primary_key=True),
    integer("brand"),
    integer("program"),
    integer("event_type"),
    string("order_id", nullable=True),
    string("line"),
    integer("accept_ms"),
    integer("occurred_ms"),
    string("status"),
    string("reason", nullable=True),
    integer("amount_minor"),
    string("currency"),
    integer("flags"),
    integer("revision"),
    binary("explain"),
    binary("config_hash"),
    string("verdict"),
    integer("score"),
    integer("raw_ppm"),
    binary("fraud"),
    binary("record"),
    Index("ix_conversions_accepted", "accept_ms", "conversion_id"),
    Index("ix_conversions_program", "program", "accept_ms", "conversion_id"),
    Index("ix_conversions_order", "order_id"),
    # Counts of a report are read from it alone; SQLite looks at the status even so.
    Index(
        "ix_conversions_unattributed",
        "program",
        "accept_ms",
        "conversion_id",
        "reason",
        "status",
        "flags",
        sqlite_where=text("status = 'unattributed'"),
        postgresql_where=text("status = 'unattributed'"),
    ),
    sqlite_with_rowid=False,
)
credit_shares = Table(
    "credits",
    metadata,
    binary("conversion_id", primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    integer("partner"),
    # Null: the use of a promo code, without a click.
    binary("click_id", nullable=True),
    integer("share_ppm"),
    Index("ix_credits_click", "click_id"),
    sqlite_with_rowid=False,
)
conversion_reports = Table(
    "conversion_reports",
    metadata,
    binary("event_id", primary_key=True),
    binary("conversion_id", index=True),
    integer("brand"),
    integer("accept_ms"),
    integer("trust"),
    integer("source"),
    string("outcome"),
    integer("producer"),
    binary("record"),
    sqlite_with_rowid=False,
)
rejections = Table(
    "rejections",
    metadata,
    binary("event_id", primary_key=True),
    integer("brand"),
    integer("program", nullable=True),
    integer("accept_ms"),
    integer("source"),
    string("reason"),
    binary("record"),
    sqlite_with_rowid=False,
)
erasures = Table(
    "erasures",
    metadata,
    binary("event_id", primary_key=True),
    integer("brand"),
    integer("accept_ms"),
    string("scope"),
    Column("dry_run", Boolean, nullable=False),
    binary("report"),
    binary("record"),
    sqlite_with_rowid=False,
)
late_evidence = Table(
    "late_evidence",
    metadata,
    binary("event_id", primary_key=True),
    binary("conversion_id", primary_key=True),
    integer("brand"),
    integer("accept_ms"),
    integer("kind"),
    json_list("partners"),
    binary("record"),
    Index("ix_late_evidence_conversion", "conversion_id", "event_id"),
    sqlite_with_rowid=False,
)
"""Records that came too late for a decision they would have changed, and whom it would have
credited. One may be too late for several conversions."""

erased_identifiers = Table(
    "erased_identifiers",
    metadata,
    integer("brand", primary_key=True, autoincrement=False),
    integer("type", primary_key=True, autoincrement=False),
    binary("digest", primary_key=True),
    integer("erased_ms"),
    sqlite_with_rowid=False,
)
"""What no explanation of a conversion accepted until then shows any more."""

others = Table(
    "others",
    metadata,
    binary("event_id", primary_key=True),
    integer("kind"),
    integer("brand"),
    integer("accept_ms"),
    binary("record"),
    sqlite_with_rowid=False,
)

EVENT_TABLES = (
    clicks,
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
