"""The first schema: configuration with its outbox, ownership, files, events, the book."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from headwater.ledger.migrations import (
    first_book,
    first_events,
    first_management,
    first_pixels,
    first_rollups,
)

revision = "0001"
down_revision = None

# SQLite numbers rows itself only in a column of exactly this type.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, the configuration's first."""
    _configuration_objects()
    _configuration_children()
    _promo_codes()
    _configuration_log()
    _ownership()
    first_events.events()
    first_events.reports()
    first_events.erasures()
    first_book.book()
    first_pixels.definitions()
    first_pixels.deliveries()
    first_pixels.decisions()
    first_management.management()
    first_rollups.rollups()
    op.execute("INSERT INTO counters (name, value) VALUES ('revision', 0)")


def _object_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
    ]


def _configuration_objects() -> None:
    op.create_table(
        "brands",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        *_object_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_brands")),
        sa.UniqueConstraint("external_id", name=op.f("uq_brands_external_id")),
    )
    op.create_table(
        "partners",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        *_object_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partners")),
        sa.UniqueConstraint("external_id", name=op.f("uq_partners_external_id")),
    )
    op.create_table(
        "programs",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("destination_url", sa.String(), nullable=False),
        sa.Column("deep_link_hosts", sa.JSON(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("click_window_seconds", sa.BigInteger(), nullable=False),
        sa.Column("attribution", sa.JSON(), nullable=False),
        sa.Column("click_param", sa.String(), nullable=False),
        sa.Column("consent_default", sa.String(), nullable=False),
        sa.Column("forward_params", sa.JSON(), nullable=False),
        sa.Column("allowed_origins", sa.JSON(), nullable=False),
        sa.Column("default_country", sa.String(), nullable=True),
        sa.Column("methods", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("alias_presets", sa.JSON(), nullable=False),
        sa.Column("fraud", sa.JSON(), nullable=False),
        sa.Column("utm", sa.JSON(), nullable=False),
        sa.Column("utm_mode", sa.String(), nullable=False),
        sa.Column("link_signing", sa.String(), nullable=False),
        sa.Column("link_salts", sa.JSON(), nullable=False),
        sa.Column("shopify_secrets", sa.JSON(), nullable=False),
        *_object_columns(),
        sa.ForeignKeyConstraint(["brand_id"], ["brands.id"], name=op.f("fk_programs_brand_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_programs")),
        sa.UniqueConstraint(
            "brand_id", "external_id", name=op.f("uq_programs_brand_id_external_id")
        ),
        sa.UniqueConstraint("code", name=op.f("uq_programs_code")),
    )
    op.create_table(
        "domains",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        *_object_columns(),
        sa.ForeignKeyConstraint(["brand_id"], ["brands.id"], name=op.f("fk_domains_brand_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
        sa.UniqueConstraint(
            "brand_id", "external_id", name=op.f("uq_domains_brand_id_external_id")
        ),
        sa.UniqueConstraint("host", name=op.f("uq_domains_host")),
    )


def _configuration_children() -> None:
    op.create_table(
        "event_types",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("program_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("click_window_seconds", sa.BigInteger(), nullable=True),
        *_object_columns(),
        sa.ForeignKeyConstraint(
            ["program_id"], ["programs.id"], name=op.f("fk_event_types_program_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_types")),
        sa.UniqueConstraint("program_id", "code", name=op.f("uq_event_types_program_id_code")),
        sa.UniqueConstraint(
            "program_id", "external_id", name=op.f("uq_event_types_program_id_external_id")
        ),
    )
    op.create_table(
        "enrolments",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("program_id", sa.BigInteger(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("default_link", sa.BigInteger(), nullable=False),
        sa.Column("fraud", sa.JSON(), nullable=False),
        *_object_columns(),
        sa.ForeignKeyConstraint(
            ["partner_id"], ["partners.id"], name=op.f("fk_enrolments_partner_id")
        ),
        sa.ForeignKeyConstraint(
            ["program_id"], ["programs.id"], name=op.f("fk_enrolments_program_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolments")),
        sa.UniqueConstraint(
            "program_id", "external_id", name=op.f("uq_enrolments_program_id_external_id")
        ),
        sa.UniqueConstraint(
            "program_id", "partner_id", name=op.f("uq_enrolments_program_id_partner_id")
        ),
    )
    op.create_index(op.f("ix_enrolments_partner_id"), "enrolments", ["partner_id"], unique=False)
    op.create_table(
        "links",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("program_id", sa.BigInteger(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("domain_id", sa.BigInteger(), nullable=True),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("code_key", sa.String(), nullable=False),
        sa.Column("destination_url", sa.String(), nullable=True),
        sa.Column("utm", sa.JSON(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("honeypot", sa.Boolean(), nullable=False),
        sa.Column("expired_destination_url", sa.String(), nullable=True),
        sa.Column("targets", sa.JSON(), nullable=False),
        *_object_columns(),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_links_domain_id")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_links_partner_id")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_links_program_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint(
            "program_id", "external_id", name=op.f("uq_links_program_id_external_id")
        ),
    )
    live = sa.text("status <> 'deleted'")
    op.create_index(
        "uq_links_live",
        "links",
        ["host", "code_key"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_index("ix_links_host_code_key", "links", ["host", "code_key"], unique=False)
    op.create_index(op.f("ix_links_partner_id"), "links", ["partner_id"], unique=False)
    op.create_index(op.f("ix_links_program_id"), "links", ["program_id"], unique=False)
    op.create_table(
        "keys",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=True),
        sa.Column("partner_id", sa.BigInteger(), nullable=True),
        *_object_columns(),
        sa.ForeignKeyConstraint(["brand_id"], ["brands.id"], name=op.f("fk_keys_brand_id")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_keys_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("external_id", name=op.f("uq_keys_external_id")),
        sa.UniqueConstraint("sha256", name=op.f("uq_keys_sha256")),
    )


def _promo_codes() -> None:
    op.create_table(
        "promo_codes",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("program_id", sa.BigInteger(), nullable=False),
        sa.Column("partner_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        *_object_columns(),
        sa.ForeignKeyConstraint(
            ["partner_id"], ["partners.id"], name=op.f("fk_promo_codes_partner_id")
        ),
        sa.ForeignKeyConstraint(
            ["program_id"], ["programs.id"], name=op.f("fk_promo_codes_program_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promo_codes")),
        sa.UniqueConstraint(
            "program_id", "external_id", name=op.f("uq_promo_codes_program_id_external_id")
        ),
    )
    op.create_index(
        "uq_promo_codes_live",
        "promo_codes",
        ["program_id", "code"],
        unique=True,
        sqlite_where=sa.text("status <> 'deleted'"),
        postgresql_where=sa.text("status <> 'deleted'"),
    )


def _configuration_log() -> None:
    op.create_table(
        "network_rules",
        sa.Column("id", ROW_NUMBER, autoincrement=False, nullable=False),
        sa.Column("fraud", sa.JSON(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_rules")),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "config_outbox",
        sa.Column("revision", ROW_NUMBER, autoincrement=False, nullable=False),
        sa.Column("brand", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("control", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("for_edges", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("appended", sa.Boolean(), nullable=False),
        sa.Column("committed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_config_outbox")),
    )
    op.create_index(
        "ix_config_outbox_not_appended",
        "config_outbox",
        ["revision"],
        unique=False,
        sqlite_where=sa.text("appended = 0"),
        postgresql_where=sa.text("NOT appended"),
    )
    op.create_index(
        "ix_config_outbox_not_committed",
        "config_outbox",
        ["partition", "revision"],
        unique=False,
        sqlite_where=sa.text("committed = 0"),
        postgresql_where=sa.text("NOT committed"),
    )
    op.create_index(
        "ix_config_outbox_object", "config_outbox", ["object", "number", "revision"], unique=False
    )
    op.create_table(
        "config_spreads",
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("number", ROW_NUMBER, autoincrement=False, nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object", "number", name=op.f("pk_config_spreads")),
    )


def _ownership() -> None:
    op.create_table(
        "partitions",
        sa.Column("partition", ROW_NUMBER, autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("redis_run_id", sa.String(), nullable=False),
        sa.Column("stream_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream_seq", sa.BigInteger(), nullable=False),
        sa.Column("chain_digest", sa.LargeBinary(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_partitions")),
    )
    op.create_table(
        "archive_segments",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "name", name=op.f("pk_archive_segments")),
    )
    op.create_table(
        "snapshots",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("stream_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream_seq", sa.BigInteger(), nullable=False),
        sa.Column("chain_digest", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "name", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "quarantine",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("frame", sa.LargeBinary(), nullable=False),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "stream_ms", "stream_seq", name=op.f("pk_quarantine")),
    )
    op.create_table(
        "panics",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "stream_ms", "stream_seq", name=op.f("pk_panics")),
    )
