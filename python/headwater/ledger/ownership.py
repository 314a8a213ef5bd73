"""Who owns a partition, and where it stands.

An owner holds a lease; taking a partition raises its epoch, and every write of an owner names the
epoch it took, so a former owner that wakes up late changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from headwater.errors import Fenced, LedgerError
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import partitions

Position = tuple[int, int]
"""A stream id: milliseconds and sequence."""

CHAIN_START: Final = bytes(32)
"""The chain digest before the first frame."""


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A partition as its new owner finds it."""

    partition: int
    epoch: int
    owner: str
    lease_until_ms: int
    generation: int
    redis_run_id: str
    position: Position
    chain_digest: bytes
    time_ms: int


def ensure_partitions(ledger: Ledger, count: int) -> None:
    """Make the rows of `count` partitions at the first start.

    Raises LedgerError when the ledger was begun with another number: a brand's partition is
    fixed, and so is how many there are.
    """
    with ledger.write() as connection:
        existing = connection.scalar(sa.select(sa.func.count()).select_from(partitions)) or 0
        if existing == count:
            return
        if existing:
            raise LedgerError(
                f"the ledger was begun with {existing} partitions, the configuration says {count}"
            )
        connection.execute(
            sa.insert(partitions),
            [
                {
                    "partition": number,
                    "epoch": 0,
                    "owner": "",
                    "lease_until_ms": 0,
                    "generation": 0,
                    "redis_run_id": "",
                    "stream_ms": 0,
                    "stream_seq": 0,
                    "chain_digest": CHAIN_START,
                    "time_ms": 0,
                }
                for number in range(count)
            ],
        )


def partition_rows(ledger: Ledger) -> list[PartitionRow]:
    """Every partition as it stands, by number: for looking, not for owning."""
    with ledger.read() as connection:
        return rows_of_partitions(connection)


def rows_of_partitions(connection: sa.Connection) -> list[PartitionRow]:
    """As `partition_rows`, at the moment that the connection sees."""
    rows = connection.execute(sa.select(partitions).order_by(partitions.c.partition))
    return [_partition_row(row) for row in rows]


def acquire(
    ledger: Ledger,
    numbers: Iterable[int],
    owner: str,
    now_ms: int,
    lease_ms: int,
    *,
    force: bool = False,
) -> list[PartitionRow]:
    """Take partitions whose lease ran out, or that `owner` holds; `force` takes the others too.

    Every one taken has its epoch raised, so that its former owner can commit nothing more. Those
    still held by another are left out of the answer.
    """
    taken: list[PartitionRow] = []
    with ledger.write() as connection:
        for number in sorted(numbers):
            free = sa.or_(
                partitions.c.lease_until_ms <= now_ms, partitions.c.owner.in_(("", owner))
            )
            changed = connection.execute(
                sa.update(partitions)
                .where(partitions.c.partition == number, sa.true() if force else free)
                .values(epoch=partitions.c.epoch + 1, owner=owner, lease_until_ms=now_ms + lease_ms)
            )
            if changed.rowcount:
                row = connection.execute(
                    sa.select(partitions).where(partitions.c.partition == number)
                ).one()
                taken.append(_partition_row(row))
    return taken


def renew(ledger: Ledger, owned: Iterable[tuple[int, int]], lease_until_ms: int) -> None:
    """Prolong the lease of (partition, epoch) pairs. Raises Fenced when one has a new owner."""
    with ledger.write() as connection:
        for number, epoch in owned:
            _update_owned(connection, number, epoch, lease_until_ms=lease_until_ms)


def release(ledger: Ledger, owned: Iterable[tuple[int, int]]) -> None:
    """Give (partition, epoch) pairs up, so that the next owner need not wait for the lease."""
    with ledger.write() as connection:
        for number, epoch in owned:
            connection.execute(
                sa.update(partitions)
                .where(partitions.c.partition == number, partitions.c.epoch == epoch)
                .values(owner="", lease_until_ms=0)
            )


def begin_generation(ledger: Ledger, owned: Sequence[tuple[int, int]], redis_run_id: str) -> int:
    """Number the server's present life: one above every partition's last, set for all `owned`.

    `owned` are (partition, epoch) pairs. Raises Fenced when one has a new owner.
    """
    with ledger.write() as connection:
        newest = connection.scalar(sa.select(sa.func.max(partitions.c.generation))) or 0
        for number, epoch in owned:
            _update_owned(
                connection, number, epoch, generation=newest + 1, redis_run_id=redis_run_id
            )
    return newest + 1


def require_epoch(connection: sa.Connection, number: int, epoch: int) -> None:
    """Raise Fenced unless the partition is still held under `epoch`."""
    held = connection.scalar(sa.select(partitions.c.epoch).where(partitions.c.partition == number))
    if held != epoch:
        raise Fenced(f"partition {number} has another owner than epoch {epoch}")


def _update_owned(connection: sa.Connection, number: int, epoch: int, **values: Any) -> None:
    changed = connection.execute(
        sa.update(partitions)
        .where(partitions.c.partition == number, partitions.c.epoch == epoch)
        .values(**values)
    )
    if changed.rowcount != 1:
        raise Fenced(f"partition {number} has another owner than epoch {epoch}")


def _partition_row(row: sa.Row[Any]) -> PartitionRow:
    return PartitionRow(
        partition=row.partition,
        epoch=row.epoch,
        owner=row.owner,
        lease_until_ms=row.lease_until_ms,
        generation=row.generation,
        redis_run_id=row.redis_run_id,
        position=(row.stream_ms, row.stream_seq),
        chain_digest=row.chain_digest,
        time_ms=row.time_ms,
    )
