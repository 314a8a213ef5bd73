"""Erasures: asked for by the console, carried out by the engine, noted by the matcher.

An erasure is a record on the log, between the changes of the configuration and in their order. It
is written to `config_outbox` with what is known of the request in one transaction, so it outlives
the console and any outage of Redis. What came of it is a row of the engine's outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import sqlalchemy as sa

from headwater import clock, ids
from headwater.ledger import audit
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Reference, require
from headwater.ledger.outbox import append_record, take_revisions
from headwater.ledger.schema import (
    brands,
    config_outbox,
    erased_identifiers,
    erasure_requests,
    erasures,
    programs,
)
from headwater.model.records import (
    ErasureBody,
    Identifiers,
    Kind,
    Record,
    Source,
    Trust,
    TypeAndDigest,
    decode,
)

Row = dict[str, Any]
_OBJECT = "erasure"
# The engine takes accept times up to this much ahead of its own.
_AHEAD_MS = 2000


@dataclass(frozen=True, slots=True)
class Requested:
    """An erasure that is in the outbox. `revision` is the one to wait for."""

    event_id: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure as asked for, and its report once it is committed (None: it is not)."""

    event_id: bytes
    brand: int
    accept_ms: int
    body: ErasureBody
    report: Mapping[str, Any] | None


# ---- The console's side --------------------------------------------------------------------


def brand_and_country(ledger: Ledger, brand: Reference) -> tuple[int, str | None]:
    """A brand's number, and the country its telephone numbers are of when they do not say.

    None for the country when the programs of the brand name none, or several. Raises
    RequestRefused with `brand_id` at fault when there is no such brand.
    """
    with ledger.read() as connection:
        number = require(connection, brands, brand, "brand_id")["id"]
        countries = list(
            connection.scalars(
                sa.select(programs.c.default_country)
                .where(programs.c.brand_id == number, programs.c.default_country.is_not(None))
                .distinct()
                .limit(2)
            )
        )
    return number, countries[0] if len(countries) == 1 else None


def request_erasure(ledger: Ledger, brand: int, body: ErasureBody) -> Requested:
    """Put an erasure on its way to the log."""
    now_ms = clock.now_ms()
    record = Record(
        kind=Kind.ERASURE,
        event_id=ids.event_id(now_ms),
        brand=brand,
        accept_ms=now_ms,
        claim_ms=None,
        trust=Trust.SERVER,
        source=Source.CONSOLE,
        body=body,
    )
    with ledger.write() as connection:
        revision = take_revisions(connection)
        connection.execute(
            sa.insert(erasure_requests).values(
                event_id=record.event_id, brand=brand, revision=revision, created_ms=now_ms
            )
        )
        append_record(connection, revision, _OBJECT, record)
        asked = {"scope": body.scope, "dry_run": body.dry_run, "force": body.force}
        changes = [{"member": name, "before": None, "after": asked[name]} for name in asked]
        erasure_id = ids.event_text("evt", record.event_id)
        audit.note(connection, [("erasure", erasure_id, "made", changes)])
    return Requested(record.event_id, revision)


_ERASURES = (
    sa.select(
        erasure_requests.c.event_id,
        config_outbox.c.control,
        erasures.c.report,
    )
    .join(config_outbox, config_outbox.c.revision == erasure_requests.c.revision)
    .outerjoin(erasures, erasures.c.event_id == erasure_requests.c.event_id)
)


def erasure_by_id(ledger: Ledger, event_id: bytes) -> Erasure | None:
    """One erasure; None when none was asked for under this id."""
    with ledger.read() as connection:
        row = connection.execute(_ERASURES.where(erasure_requests.c.event_id == event_id)).first()
        return None if row is None else _erasure(row)


def erasure_page(
    ledger: Ledger, brand: int | None, *, before: bytes | None, count: int
) -> list[Row]:
    """Erasures with ids below `before`, the newest first, of one brand if named; each with its
    `event_id` and the `erasure` itself.
    """
    statement = _ERASURES.order_by(erasure_requests.c.event_id.desc()).limit(count)
    if brand is not None:
        statement = statement.where(erasure_requests.c.brand == brand)
    if before is not None:
        statement = statement.where(erasure_requests.c.event_id < before)
    with ledger.read() as connection:
        return [
            {"event_id": row.event_id, "erasure": _erasure(row)}
            for row in connection.execute(statement)
        ]


def _erasure(row: sa.Row[*tuple[Any, ...]]) -> Erasure:
    record = decode(row.control)
    return Erasure(
        event_id=record.event_id,
        brand=record.brand,
        accept_ms=record.accept_ms,
        body=ErasureBody._make(record.body),
        report=None if row.report is None else msgpack.unpackb(row.report, strict_map_key=False),
    )


def erased_of(
    ledger: Ledger, brand: int, accept_ms: int, keys: Iterable[Sequence[Any]]
) -> frozenset[TypeAndDigest]:
    """Those of the identifiers `keys` that were erased after `accept_ms`.

    An identifier that comes back after its erasure is a new one, and is shown.
    """
    wanted = {(int(kind), bytes(digest)) for kind, digest in keys}
    if not wanted:
        return frozenset()
    columns = erased_identifiers.c
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(columns.type, columns.digest).where(
                columns.brand == brand,
                columns.erased_ms >= accept_ms - _AHEAD_MS,
                columns.digest.in_({digest for _, digest in wanted}),
            )
        )
        return frozenset((row.type, row.digest) for row in rows) & wanted


# ---- The matcher's side --------------------------------------------------------------------

# Positions in the engine's outcome rows, which are the columns of the table.
_EVENT, _BRAND, _ACCEPT_MS, _DRY_RUN, _REPORT = 0, 1, 2, 4, 5


def note_erasures(
    ledger: Ledger, connection: sa.Connection, rows: Sequence[Sequence[Any]], time_ms: int
) -> None:
    """Write a batch's erasures, confirm their outbox rows, and note what is erased as of
    `time_ms`, up to which the engine has applied the log.
    """
    connection.exec_driver_sql(
        ledger.insert_sql(erasures, or_ignore=True), [tuple(row) for row in rows]
    )
    connection.execute(
        sa.update(config_outbox)
        .where(
            config_outbox.c.revision.in_(
                sa.select(erasure_requests.c.revision).where(
                    erasure_requests.c.event_id == sa.bindparam("of_event")
                )
            )
        )
        .values(committed=True),
        [{"of_event": row[_EVENT]} for row in rows],
    )
    noted = {
        (row[_BRAND], kind, digest): max(row[_ACCEPT_MS], time_ms)
        for row in rows
        if not row[_DRY_RUN]
        for kind, digest in _gone(row)
    }
    if noted:
        keys = [dict(zip(("of_brand", "of_type", "of_digest"), key, strict=True)) for key in noted]
        columns = erased_identifiers.c
        connection.execute(
            sa.delete(erased_identifiers).where(
                columns.brand == sa.bindparam("of_brand"),
                columns.type == sa.bindparam("of_type"),
                columns.digest == sa.bindparam("of_digest"),
            ),
            keys,
        )
        connection.exec_driver_sql(
            ledger.insert_sql(erased_identifiers), [(*key, ms) for key, ms in noted.items()]
        )


def _gone(row: Sequence[Any]) -> Identifiers:
    report = msgpack.unpackb(row[_REPORT], strict_map_key=False)
    return tuple((kind, digest) for kind, digest in report.get("identifiers", ()))
