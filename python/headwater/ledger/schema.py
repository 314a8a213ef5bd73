"""The tables. Times are integer milliseconds, money integer minor units, ids of events 16 bytes.

Columns of the event tables are the engine's outcome rows, in their order. Event tables are
clustered by event id: click ids are ordered by time, so inserts append. They hold no foreign keys:
an event may be committed before the object it names, and objects are never deleted.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

SCHEMA_VERSION = "0001"
"""The newest revision in `migrations`."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows itself only in a column of exactly this type.
_ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def _number() -> Column[int]:
    return Column("id", _ROW_NUMBER, primary_key=True)


def _integer(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=options.pop("nullable", False), **options)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, String, nullable=options.pop("nullable", False), **options)


def _bytes(name: str, **options: Any) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=options.pop("nullable", False), **options)


def _list(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False)


def _reference(name: str, target: str, **options: Any) -> Column[int]:
    nullable = options.pop("nullable", False)
    return Column(name, BigInteger, ForeignKey(f"{target}.id"), nullable=nullable, **options)


def _object_columns() -> list[Column[Any]]:
    """What every object of the configuration has.

    `request_digest` is of the request that made the object: the same request again is told from
    another under the same external id. `revision` is that of the newest config_outbox row.
    """
    return [
        _text("external_id", nullable=True),
        _bytes("request_digest", nullable=True),
        _text("status"),
        _integer("revision"),
        _integer("created_ms"),
        _integer("updated_ms"),
    ]


# ---- Configuration -------------------------------------------------------------------------

brands = Table(
    "brands",
    metadata,
    _number(),
    _text("name"),
    _integer("partition"),
    *_object_columns(),
    UniqueConstraint("external_id"),
)
programs = Table(
    "programs",
    metadata,
    _number(),
    _reference("brand_id", "brands"),
    _text("code", unique=True),
    _text("name"),
    _text("destination_url"),
    _list("deep_link_hosts"),
    _text("timezone"),
    _text("currency"),
    _integer("click_window_seconds"),
    _text("model"),
    _text("click_param"),
    _text("consent_default"),
    _list("forward_params"),
    _list("allowed_origins"),
    _text("default_country", nullable=True),
    Column("methods", JSON(none_as_null=True), nullable=True),
    Column("aliases", JSON, nullable=False),
    *_object_columns(),
    UniqueConstraint("brand_id", "external_id"),
)
event_types = Table(
    "event_types",
    metadata,
    _number(),
    _reference("program_id", "programs"),
    _text("code"),
    _text("kind"),
    *_object_columns(),
    UniqueConstraint("program_id", "code"),
    UniqueConstraint("program_id", "external_id"),
)
partners = Table(
    "partners",
    metadata,
    _number(),
    _text("name"),
    _text("email"),
    *_object_columns(),
    UniqueConstraint("external_id"),
)
enrolments = Table(
    "enrolments",
    metadata,
    _number(),
    _reference("program_id", "programs"),
    _reference("partner_id", "partners", index=True),
    # Without a foreign key: the link names the enrolment's program and partner, not the reverse.
    _integer("default_link"),
    *_object_columns(),
    UniqueConstraint("program_id", "partner_id"),
    UniqueConstraint("program_id", "external_id"),
)
domains = Table(
    "domains",
    metadata,
    _number(),
    _reference("brand_id", "brands"),
    _text("host", unique=True),
    *_object_columns(),
    UniqueConstraint("brand_id", "external_id"),
)
links = Table(
    "links",
    metadata,
    _number(),
    _reference("program_id", "programs", index=True),
    _reference("partner_id", "partners", index=True),
    _reference("domain_id", "domains", nullable=True),
    # Empty for the shared domain; repeated from `domains` for the unique constraint.
    _text("host"),
    _text("code"),
    _text("code_key"),
    _text("destination_url", nullable=True),
    Column("utm", JSON, nullable=False),
    _text("url"),
    _integer("expires_ms", nullable=True),
    *_object_columns(),
    UniqueConstraint("host", "code_key"),
    UniqueConstraint("program_id", "external_id"),
)
keys = Table(
    "keys",
    metadata,
    _number(),
    _text("sha256", unique=True),
    _list("scopes"),
    _reference("brand_id", "brands", nullable=True),
    _reference("partner_id", "partners", nullable=True),
    *_object_columns(),
    UniqueConstraint("external_id"),
)
counters = Table(
    "counters",
    metadata,
    _text("name", primary_key=True),
    _integer("value"),
)
"""`revision`: the newest revision of the configuration. Its row is updated first in every
transaction that changes the configuration, so revisions are committed in their order."""

config_outbox = Table(
    "config_outbox",
    metadata,
    Column("revision", _ROW_NUMBER, primary_key=True, autoincrement=False),
    _integer("brand"),
    _integer("partition"),
    _text("object"),
    _integer("number"),
    _bytes("control"),
    _bytes("value", nullable=True),
    _integer("created_ms"),
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
msgpack map edges hold (null: deleted)."""

config_spreads = Table(
    "config_spreads",
    metadata,
    _text("object", primary_key=True),
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=False),
    _integer("after"),
    _integer("serial"),
)
"""A change of one object that has to be told for many others (a partner's enrolments, a
program's links), and how far that has come: `after` is the last number done. `serial` grows
when the change is made again, which starts over."""

# ---- Ownership and files -------------------------------------------------------------------

partitions = Table(
    "partitions",
    metadata,
    Column("partition", _ROW_NUMBER, primary_key=True, autoincrement=False),
    _integer("epoch"),
    _text("owner"),
    _integer("lease_until_ms"),
    _integer("generation"),
    _text("redis_run_id"),
    _integer("stream_ms"),
    _integer("stream_seq"),
    _bytes("chain_digest"),
    _integer("time_ms"),
)
archive_segments = Table(
    "archive_segments",
    metadata,
    _integer("partition", primary_key=True, autoincrement=False),
    _text("name", primary_key=True),
    _integer("epoch"),
    _integer("first_ms"),
    _integer("first_seq"),
    _integer("last_ms"),
    _integer("last_seq"),
    _integer("length"),
    Column("sealed", Boolean, nullable=False),
)
snapshots = Table(
    "snapshots",
    metadata,
    _integer("partition", primary_key=True, autoincrement=False),
    _text("name", primary_key=True),
    _integer("epoch"),
    _integer("stream_ms"),
    _integer("stream_seq"),
    _bytes("chain_digest"),
    _bytes("digest"),
    _integer("length"),
    _integer("created_ms"),
)
quarantine = Table(
    "quarantine",
    metadata,
    _integer("partition", primary_key=True, autoincrement=False),
    _integer("stream_ms", primary_key=True, autoincrement=False),
    _integer("stream_seq", primary_key=True, autoincrement=False),
    _text("reason"),
    _bytes("frame"),
    Column("ordered", Boolean, nullable=False),
    _integer("created_ms"),
)
"""Frames set aside. `ordered`: by the owner's order, which replay has to honor; else by the
engine, which finds the same fault again by itself."""

panics = Table(
    "panics",
    metadata,
    _integer("partition", primary_key=True, autoincrement=False),
    _integer("stream_ms", primary_key=True, autoincrement=False),
    _integer("stream_seq", primary_key=True, autoincrement=False),
    _integer("count"),
)
"""How often a frame has ended the engine."""

# ---- Events --------------------------------------------------------------------------------

clicks = Table(
    "clicks",
    metadata,
    _bytes("click_id", primary_key=True),
    _integer("brand"),
    _integer("program"),
    _integer("partner"),
    _integer("link"),
    _integer("accept_ms"),
    _integer("touch_ms"),
    _integer("trust"),
    _integer("source"),
    _integer("flags"),
    _text("verdict"),
    _bytes("record"),
    # Costs one microsecond a click, and spares lists of a program a scan of all clicks.
    Index("ix_clicks_program", "program", "click_id"),
    sqlite_with_rowid=False,
)
observations = Table(
    "observations",
    metadata,
    _bytes("event_id", primary_key=True),
    _integer("kind"),
    _integer("brand"),
    _integer("program"),
    _integer("accept_ms"),
    _integer("trust"),
    _integer("source"),
    _bytes("record"),
    sqlite_with_rowid=False,
)
conversions = Table(
    "conversions",
    metadata,
    _bytes("conversion_id", primary_key=True),
    _integer("brand"),
    _integer("program"),
    _integer("event_type"),
    _text("order_id", nullable=True),
    _text("line"),
    _integer("accept_ms"),
    _integer("occurred_ms"),
    _text("status"),
    _text("reason", nullable=True),
    _integer("amount_minor"),
    _text("currency"),
    _integer("flags"),
    _integer("revision"),
    _bytes("explain"),
    _bytes("config_hash"),
    _bytes("record"),
    Index("ix_conversions_accepted", "accept_ms", "conversion_id"),
    Index("ix_conversions_program", "program", "accept_ms", "conversion_id"),
    sqlite_with_rowid=False,
)
credit_shares = Table(
    "credits",
    metadata,
    _bytes("conversion_id", primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    _integer("partner"),
    _bytes("click_id"),
    _integer("share_ppm"),
    sqlite_with_rowid=False,
)
conversion_reports = Table(
    "conversion_reports",
    metadata,
    _bytes("event_id", primary_key=True),
    _bytes("conversion_id", index=True),
    _integer("brand"),
    _integer("accept_ms"),
    _integer("trust"),
    _integer("source"),
    _text("outcome"),
    _integer("producer"),
    _bytes("record"),
    sqlite_with_rowid=False,
)
rejections = Table(
    "rejections",
    metadata,
    _bytes("event_id", primary_key=True),
    _integer("brand"),
    _integer("program", nullable=True),
    _integer("accept_ms"),
    _integer("source"),
    _text("reason"),
    _bytes("record"),
    sqlite_with_rowid=False,
)
others = Table(
    "others",
    metadata,
    _bytes("event_id", primary_key=True),
    _integer("kind"),
    _integer("brand"),
    _integer("accept_ms"),
    _bytes("record"),
    sqlite_with_rowid=False,
)

EVENT_TABLES = (
    clicks,
    observations,
    conversions,
    credit_shares,
    conversion_reports,
    rejections,
    others,
    quarantine,
)
