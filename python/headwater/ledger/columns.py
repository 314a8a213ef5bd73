"""Columns the tables are made of, and the metadata they belong to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows itself only in a column of exactly this type.
ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def number() -> Column[int]:
    return Column("id", ROW_NUMBER, primary_key=True)


def integer(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=options.pop("nullable", False), **options)


def string(name: str, **options: Any) -> Column[str]:
    return Column(name, String, nullable=options.pop("nullable", False), **options)


def binary(name: str, **options: Any) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=options.pop("nullable", False), **options)


def json_list(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False)


def reference(name: str, target: str, **options: Any) -> Column[int]:
    nullable = options.pop("nullable", False)
    return Column(name, BigInteger, ForeignKey(f"{target}.id"), nullable=nullable, **options)


def object_columns() -> list[Column[Any]]:
    """What every object of the configuration has.

    `request_digest` is of the request that made the object: the same request again is told from
    another under the same external id. `revision` is that of the newest config_outbox row.
    """
    return [
        string("external_id", nullable=True),
        binary("request_digest", nullable=True),
        string("status"),
        integer("revision"),
        integer("created_ms"),
        integer("updated_ms"),
    ]
