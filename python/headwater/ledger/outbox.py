"""Telling the log and the edges what changed in the configuration.

A change is written with its `config_outbox` row in one transaction; one publisher appends the
rows to the log in the order of their revisions and only then tells the edges. Revisions are taken
from one counter row that the transaction locks first, so none is committed before a smaller one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import sqlalchemy as sa

from headwater import clock, ids, limits
from headwater.errors import RequestRefused
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import brands, config_outbox, counters
from headwater.model.records import ControlBody, Kind, Record, Source, Trust, encode, is_well_formed


@dataclass(frozen=True, slots=True)
class Change:
    """One object as it is from now on. `value` None: it is deleted."""

    object: str
    number: int
    brand: int
    """0: of the whole deployment."""
    control: dict[str, Any]
    """What the engine is told."""
    value: dict[str, Any] | None
    """What the edges are told."""
    for_edges: bool = True
    is_deleted: bool = False
    """The engine is told that the object is gone, and no control."""
    partition: int | None = None
    """The lane, of what every lane is told; None: the brand's."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A row of the outbox that is not on the log yet."""

    revision: int
    partition: int
    object: str
    number: int
    control: bytes
    value: dict[str, Any] | None
    for_edges: bool
    is_sound: bool = True
    """False: it is no record of the log, whoever wrote it; only hands at the table can."""


def take_revisions(connection: sa.Connection, count: int = 1) -> int:
    """Reserve `count` revisions; the first. Call it before reading what is to be changed."""
    newest = connection.execute(
        sa.update(counters)
        .where(counters.c.name == "revision")
        .values(value=counters.c.value + count)
        .returning(counters.c.value)
    ).scalar_one()
    return int(newest) - count + 1


def newest_revision(ledger: Ledger) -> int:
    """The newest revision taken."""
    with ledger.read() as connection:
        return _newest(connection)


def _newest(connection: sa.Connection) -> int:
    found = connection.scalar(sa.select(counters.c.value).where(counters.c.name == "revision"))
    return int(found or 0)


def announce(connection: sa.Connection, first_revision: int, changes: Sequence[Change]) -> None:
    """Write the outbox rows of `changes` under revisions from `first_revision` on.

    Raises RequestRefused when an object does not fit a record of the log.
    """
    if not changes:
        return
    now_ms = clock.now_ms()
    lanes = _partitions_of(connection, {change.brand for change in changes})
    rows = []
    for revision, change in enumerate(changes, first_revision):
        control = Record(
            kind=Kind.CONTROL,
            event_id=ids.event_id(now_ms),
            brand=change.brand,
            accept_ms=now_ms,
            claim_ms=None,
            trust=Trust.SERVER,
            source=Source.CONSOLE,
            body=ControlBody(
                change.object,
                change.number,
                revision,
                None if change.is_deleted else change.control,
            ),
        )
        rows.append(
            {
                "revision": revision,
                "brand": change.brand,
                "partition": lanes[change.brand] if change.partition is None else change.partition,
                "object": change.object,
                "number": change.number,
                "control": _fitting(encode(control)),
                "value": None if change.value is None else msgpack.packb(change.value),
                "for_edges": change.for_edges,
                "created_ms": now_ms,
                "appended": False,
                "committed": False,
            }
        )
    connection.execute(sa.insert(config_outbox), rows)


def _fitting(record: bytes) -> bytes:
    """The record, which the log will take: one that it will not would stop all behind it."""
    if len(record) > limits.RECORD_BYTES_MAX:
        raise RequestRefused(
            "too_many_values", f"the object takes more than {limits.RECORD_BYTES_MAX} bytes"
        )
    if not is_well_formed(record):
        raise RequestRefused("invalid", "this cannot be written as a record of the log")
    return record


def append_record(connection: sa.Connection, revision: int, kind: str, record: Record) -> None:
    """Write the outbox row of a record that is no object: it goes on the log, in its turn among
    the changes, and edges do not hear of it.
    """
    append_records(connection, revision, kind, [record])


def append_records(
    connection: sa.Connection, first_revision: int, kind: str, records: Sequence[Record]
) -> None:
    """As `append_record`, of several under revisions from `first_revision` on."""
    lanes = _partitions_of(connection, {record.brand for record in records})
    rows = [
        {
            "revision": revision,
            "brand": record.brand,
            "partition": lanes[record.brand],
            "object": kind,
            "number": revision,
            "control": _fitting(encode(record)),
            "value": None,
            "for_edges": False,
            "created_ms": record.accept_ms,
            "appended": False,
            "committed": False,
        }
        for revision, record in enumerate(records, first_revision)
    ]
    connection.execute(sa.insert(config_outbox), rows)


def _partitions_of(connection: sa.Connection, numbers: set[int]) -> dict[int, int]:
    # What belongs to the whole deployment goes by the first lane.
    found = {0: 0}
    rows = connection.execute(
        sa.select(brands.c.id, brands.c.partition).where(brands.c.id.in_(numbers))
    )
    found.update((row.id, row.partition) for row in rows)
    return found


# ---- The publisher's side ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits to be appended. When it is all, everything up to `newest` is on the log."""

    announcements: list[Announcement]
    newest: int


def not_appended(ledger: Ledger, count: int = limits.TRANSACTION_ROWS_MAX) -> Waiting:
    """The oldest rows that are not on the log yet, in the order of their revisions.

    With fewer than `count` rows `newest` is the newest revision taken, else the last row's.
    """
    columns = config_outbox.c
    with ledger.read() as connection:
        newest = _newest(connection)
        rows = connection.execute(
            sa.select(config_outbox)
            .where(~columns.appended)
            .order_by(columns.revision)
            .limit(count)
        )
        found = [_announcement(row) for row in rows]
    return Waiting(found, newest if len(found) < count else found[-1].revision)


def newest_told(ledger: Ledger) -> int:
    """The newest revision on the log that edges were told; 0 when there is none."""
    columns = config_outbox.c
    with ledger.read() as connection:
        return (
            connection.scalar(
                sa.select(sa.func.max(columns.revision)).where(columns.appended, columns.for_edges)
            )
            or 0
        )


def mark_appended(ledger: Ledger, revisions: Iterable[int]) -> None:
    """Say that rows are on the log and told to the edges."""
    rows = [{"of_revision": revision} for revision in revisions]
    if rows:
        with ledger.write() as connection:
            connection.execute(
                sa.update(config_outbox)
                .where(config_outbox.c.revision == sa.bindparam("of_revision"))
                .values(appended=True),
                rows,
            )


def set_aside(ledger: Ledger, revisions: Iterable[int]) -> None:
    """Pass over rows that are no records: neither the log nor the edges will hear of them."""
    wanted = list(revisions)
    if wanted:
        with ledger.write() as connection:
            connection.execute(
                sa.update(config_outbox)
                .where(config_outbox.c.revision.in_(wanted))
                .values(appended=True, for_edges=False)
            )


def not_committed(
    ledger: Ledger, after: int = 0, count: int = limits.TRANSACTION_ROWS_MAX
) -> list[Announcement]:
    """Appended rows above a revision that the matcher has not committed, in their order.

    For a log that was lost, to append them again. Of those that were not lost the engine takes no
    revision twice. They stay marked: the edges have heard of them.
    """
    columns = config_outbox.c
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(config_outbox)
            .where(columns.appended, ~columns.committed, columns.revision > after)
            .order_by(columns.revision)
            .limit(count)
        )
        return [_announcement(row) for row in rows]


def _announcement(row: sa.Row[Any]) -> Announcement:
    value, is_sound = None, is_well_formed(row.control)
    try:
        value = _unpacked(row.value)
    except ValueError:
        is_sound = False
    return Announcement(
        revision=row.revision,
        partition=row.partition,
        object=row.object,
        number=row.number,
        control=row.control,
        value=value,
        for_edges=row.for_edges,
        is_sound=is_sound,
    )


def published_objects(
    ledger: Ledger, after: tuple[str, int] = ("", 0), count: int = limits.TRANSACTION_ROWS_MAX
) -> list[tuple[int, str, int, dict[str, Any] | None]]:
    """(revision, object, number, value) of the objects edges know, as last appended, a page
    after `after`.

    A deleted object comes with None: an edge that was away has to hear of it.
    """
    columns = config_outbox.c
    newest = (
        sa.select(columns.object, columns.number, sa.func.max(columns.revision).label("revision"))
        .where(columns.appended, columns.for_edges)
        .where(sa.tuple_(columns.object, columns.number) > sa.tuple_(*after))
        .group_by(columns.object, columns.number)
        .order_by(columns.object, columns.number)
        .limit(count)
        .subquery()
    )
    statement = (
        sa.select(columns.revision, columns.object, columns.number, columns.value)
        .join(newest, columns.revision == newest.c.revision)
        .order_by(columns.object, columns.number)
    )
    with ledger.read() as connection:
        rows = connection.execute(statement)
        return [(row.revision, row.object, row.number, _unpacked(row.value)) for row in rows]


def _unpacked(value: bytes | None) -> dict[str, Any] | None:
    return None if value is None else msgpack.unpackb(value)


def objects_of(ledger: Ledger, brand: int, kinds: Collection[str]) -> list[tuple[str, int]]:
    """Kind and number of a brand's objects of some kinds that were ever committed, the oldest
    first.
    """
    columns = config_outbox.c
    statement = (
        sa.select(columns.object, columns.number)
        .where(columns.brand == brand, columns.object.in_(kinds), columns.committed)
        .group_by(columns.object, columns.number)
        .order_by(sa.func.min(columns.revision))
    )
    with ledger.read() as connection:
        return [(row[0], row[1]) for row in connection.execute(statement)]


def control_before(ledger: Ledger, kind: str, number: int, revision: int | None) -> bytes | None:
    """The control record of an object that was committed last before a revision of it, or last
    of all; None when there is none.
    """
    columns = config_outbox.c
    statement = (
        sa.select(columns.control)
        .where(columns.object == kind, columns.number == number, columns.committed)
        .order_by(columns.revision.desc())
        .limit(1)
    )
    if revision is not None:
        statement = statement.where(columns.revision < revision)
    with ledger.read() as connection:
        found: bytes | None = connection.scalar(statement)
        return found
