"""The tables of what was recorded and decided. Columns are the engine's outcome rows, in order.

They are clustered by event id: click ids are ordered by time, so inserts append. They hold no
foreign keys: an event may be committed before the object it names, and objects are never deleted.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, Table, text

from headwater.ledger.columns import binary, integer, json_list, metadata, string

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
click_revisions = Table(
    "click_revisions",
    metadata,
    binary("click_id", primary_key=True),
    integer("revision", primary_key=True, autoincrement=False),
    # Engine time.
    integer("at_ms"),
    string("verdict"),
    string("counted"),
    integer("is_unique"),
    integer("score"),
    integer("raw_ppm"),
    binary("fraud"),
    string("cause"),
    binary("cause_event"),
    sqlite_with_rowid=False,
)
"""What later evidence made of a click, the first change as revision 1; the click's own row has
the newest."""

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
