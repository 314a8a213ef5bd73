"""Which files count, and which frames do not: archive, snapshots, quarantine, panics.

A file of the archive or a snapshot counts only when it is listed here, by the owner's epoch: a
former owner may still write files, and they are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from headwater import clock, limits
from headwater.ledger.engine import Ledger
from headwater.ledger.ownership import Position, require_epoch
from headwater.ledger.schema import archive_segments, config_outbox, panics, quarantine, snapshots


@dataclass(frozen=True, slots=True)
class SegmentFact:
    """A file of the archive, as far as it is on disk: `length` bytes hold `first` to `last`."""

    name: str
    first: Position
    last: Position
    length: int
    sealed: bool


@dataclass(frozen=True, slots=True)
class SnapshotFact:
    """A snapshot file of the engine's state at `position`; `digest` is of the file's bytes."""

    name: str
    epoch: int
    position: Position
    chain_digest: bytes
    digest: bytes
    length: int


def list_segments(
    ledger: Ledger,
    connection: sa.Connection,
    partition: int,
    epoch: int,
    facts: Sequence[SegmentFact],
) -> None:
    """List files of the archive, or how far those that are listed have grown."""
    sql = ledger.cached_sql(_upsert_segment)
    rows = [
        (partition, fact.name, epoch, *fact.first, *fact.last, fact.length, fact.sealed)
        for fact in facts
    ]
    if rows:
        connection.exec_driver_sql(sql, rows)


def _upsert_segment(dialect: sa.Dialect) -> str:
    # The two dialects spell it alike, and only they have it.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    statement = insert(archive_segments)
    names = ("last_ms", "last_seq", "length", "sealed")
    return str(
        statement.on_conflict_do_update(
            index_elements=["partition", "name"],
            set_={name: statement.excluded[name] for name in names},
        ).compile(dialect=dialect)
    )


def archive_manifest(ledger: Ledger, partition: int) -> list[SegmentFact]:
    """The files of a partition's archive, in the order of the log."""
    columns = archive_segments.c
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(archive_segments)
            .where(columns.partition == partition)
            .order_by(columns.first_ms, columns.first_seq)
        )
        return [
            SegmentFact(
                name=row.name,
                first=(row.first_ms, row.first_seq),
                last=(row.last_ms, row.last_seq),
                length=row.length,
                sealed=row.sealed,
            )
            for row in rows
        ]


def add_snapshot(
    ledger: Ledger, partition: int, epoch: int, fact: SnapshotFact, *, kept: int
) -> list[str]:
    """List a snapshot whose file is on disk, and take all but the newest `kept` off the list.

    The answer names the files taken off, for the owner to delete. Raises Fenced when the
    partition has another owner than `epoch`.
    """
    with ledger.write() as connection:
        require_epoch(connection, partition, epoch)
        connection.execute(
            sa.insert(snapshots).values(
                partition=partition,
                name=fact.name,
                epoch=fact.epoch,
                stream_ms=fact.position[0],
                stream_seq=fact.position[1],
                chain_digest=fact.chain_digest,
                digest=fact.digest,
                length=fact.length,
                created_ms=clock.now_ms(),
            )
        )
        dropped = [old.name for old in _snapshots(connection, partition)[kept:]]
        if dropped:
            connection.execute(
                sa.delete(snapshots).where(
                    snapshots.c.partition == partition, snapshots.c.name.in_(dropped)
                )
            )
        return dropped


def snapshot_facts(ledger: Ledger, partition: int) -> list[SnapshotFact]:
    """The listed snapshots of a partition, the newest position first."""
    with ledger.read() as connection:
        return _snapshots(connection, partition)


def _snapshots(connection: sa.Connection, partition: int) -> list[SnapshotFact]:
    columns = snapshots.c
    rows = connection.execute(
        sa.select(snapshots)
        .where(columns.partition == partition)
        .order_by(columns.stream_ms.desc(), columns.stream_seq.desc(), columns.epoch.desc())
    )
    return [_snapshot(row) for row in rows]


def _snapshot(row: sa.Row[Any]) -> SnapshotFact:
    return SnapshotFact(
        name=row.name,
        epoch=row.epoch,
        position=(row.stream_ms, row.stream_seq),
        chain_digest=row.chain_digest,
        digest=row.digest,
        length=row.length,
    )


def add_quarantine(
    ledger: Ledger, partition: int, epoch: int, position: Position, reason: str, frame: bytes
) -> None:
    """Order that the frame at `position` be set aside, now and at every replay.

    Said twice it stands once. Raises Fenced when the partition has another owner than `epoch`.
    """
    with ledger.write() as connection:
        require_epoch(connection, partition, epoch)
        key = {"partition": partition, "stream_ms": position[0], "stream_seq": position[1]}
        known = connection.execute(sa.select(quarantine.c.ordered).filter_by(**key)).first()
        if known is None:
            connection.execute(
                sa.insert(quarantine).values(
                    **key, reason=reason, frame=frame, ordered=True, created_ms=clock.now_ms()
                )
            )


def quarantined(ledger: Ledger, partition: int) -> dict[Position, str]:
    """Frames that are set aside by order: position to reason. Apply none of them."""
    columns = quarantine.c
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(columns.stream_ms, columns.stream_seq, columns.reason)
            .where(columns.partition == partition, columns.ordered)
            .limit(limits.RECOVERY_ROWS_MAX)
        )
        return {(row.stream_ms, row.stream_seq): row.reason for row in rows}


def note_panic(ledger: Ledger, partition: int, epoch: int, position: Position) -> int:
    """Count a panic at `position`; the answer is how many there have been there.

    Raises Fenced when the partition has another owner than `epoch`.
    """
    key = {"partition": partition, "stream_ms": position[0], "stream_seq": position[1]}
    with ledger.write() as connection:
        require_epoch(connection, partition, epoch)
        count = connection.scalar(sa.select(panics.c.count).filter_by(**key))
        if count is None:
            connection.execute(sa.insert(panics).values(**key, count=1))
            return 1
        connection.execute(sa.update(panics).filter_by(**key).values(count=count + 1))
        return int(count) + 1


def uncommitted_controls(ledger: Ledger, partition: int) -> list[bytes]:
    """Control records of a partition that are not yet known to be committed.

    Whoever finds the log lost appends them again: the engine keeps the highest revision. Those
    not marked as appended are among them, for the mark may be on its way.
    """
    columns = config_outbox.c
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(columns.control)
            .where(columns.partition == partition, ~columns.committed)
            .order_by(columns.revision)
            .limit(limits.RECOVERY_ROWS_MAX)
        )
        return [row.control for row in rows]
