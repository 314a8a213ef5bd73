"""Bring an engine to exactly the ledger's position: newest usable snapshot, then the archive.

Nothing is emitted on the way: what came of those frames is in the ledger already. The chain
digest must come out as the ledger has it, else the process stops.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from headwater import _core, faults, limits
from headwater.errors import ReplayMismatch
from headwater.journal.archive import ArchivedEntry, archive_held, read_segment
from headwater.ledger import matching
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import PartitionRow, Position

log = logging.getLogger(__name__)

Entry = tuple[int, int, bytes]


def archive_folder(data: Path, partition: int) -> Path:
    return data / "archive" / f"p{partition}"


def snapshot_folder(data: Path, partition: int) -> Path:
    return data / "snapshots" / f"p{partition}"


def rebuild(ledger: Ledger, data: Path, row: PartitionRow) -> _core.Engine:
    """An engine at the position and chain digest of `row`.

    Raises ReplayMismatch when snapshot and archive together do not lead there.
    """
    # A snapshot from before an erasure does not go with an archive into which it was carried.
    with archive_held(data):
        engine = _from_snapshot(ledger, data, row) or new_engine(row.partition)
        before = engine.position
        replay(engine, archived_entries(ledger, data, row.partition, before, row.position))
    if engine.position != row.position or engine.chain_digest != row.chain_digest:
        raise ReplayMismatch(
            f"partition {row.partition}: rebuilt to {engine.position}, "
            f"the ledger is at {row.position}"
            + ("" if engine.position != row.position else " with another chain digest")
        )
    log.info(
        "engine rebuilt",
        extra={
            "fields": {
                "partition": row.partition,
                "from": before,
                "to": row.position,
            }
        },
    )
    return engine


def new_engine(partition: int, snapshot: bytes | None = None) -> _core.Engine:
    return _core.Engine(partition, snapshot, faults.panic_event())


def _from_snapshot(ledger: Ledger, data: Path, row: PartitionRow) -> _core.Engine | None:
    """The newest listed snapshot that can be read and is not ahead of the ledger."""
    for listed in matching.snapshot_facts(ledger, row.partition):
        path = snapshot_folder(data, row.partition) / listed.name
        try:
            engine = new_engine(row.partition, path.read_bytes())
        except (OSError, _core.SnapshotError) as error:
            log.warning(
                "snapshot unusable",
                extra={"fields": {"name": listed.name, "why": str(error)}},
            )
            continue
        if engine.position <= row.position:
            return engine
    return None


def archived(
    ledger: Ledger, data: Path, partition: int, after: Position, up_to: Position
) -> Iterator[tuple[Entry, str | None]]:
    """As `archived_entries`, each as the engine takes it, with the reason of a quarantine."""
    for entry in archived_entries(ledger, data, partition, after, up_to):
        yield (entry.ms, entry.seq, entry.frame), entry.reason


def archived_entries(
    ledger: Ledger, data: Path, partition: int, after: Position, up_to: Position
) -> Iterator[ArchivedEntry]:
    """The archive's entries with after < position <= up_to.

    Only what the ledger lists is read, and of each file only the length it lists. To be called
    with the archive held, or a file may be another before it is read.
    """
    folder = archive_folder(data, partition)
    for segment in matching.archive_manifest(ledger, partition):
        if segment.last <= after or segment.first > up_to:
            continue
        for entry in read_segment(folder / segment.name, segment.length):
            if after < entry.position <= up_to:
                yield entry


def replay(engine: _core.Engine, entries: Iterable[ArchivedEntry]) -> None:
    """Feed archived entries to the engine and drop the outcomes."""
    batch: list[Entry] = []
    for ms, seq, frame, reason, chain_digest in entries:
        if reason is None:
            batch.append((ms, seq, frame))
        is_alone = reason is not None or chain_digest is not None
        if batch and (is_alone or len(batch) >= limits.BATCH_FRAMES_MAX):
            engine.apply(batch)
            batch = []
        if reason is not None:
            engine.skip(ms, seq, frame, reason)
        if chain_digest is not None:
            engine.resume_chain(chain_digest)
    if batch:
        engine.apply(batch)
