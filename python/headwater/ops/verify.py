"""`headwater verify`: rebuild every engine from the archive alone and compare.

The chain digest must come out as the ledger has it, and the state at each listed snapshot must
be, byte for byte, the snapshot. Entries that an erasure has touched are listed: they carry the
chain digest that they had, and what they leave in an index may stand elsewhere. Then the book is
made again, in a ledger of its own, and its tables must come out as they are. May run beside the
live system: it only reads.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from headwater import _core, limits
from headwater.config import Config
from headwater.errors import ReplayMismatch
from headwater.journal.archive import ArchiveCorrupt, ArchivedEntry, archive_held
from headwater.ledger import matching
from headwater.ledger.book_replay import book_state
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import PartitionRow
from headwater.matcher.recovery import (
    Entry,
    archived,
    archived_entries,
    replay,
    snapshot_folder,
)
from headwater.ops.book_again import BookAgain


class Compared(NamedTuple):
    """What one partition's archive came to."""

    snapshots: int = 0
    touched: int = 0
    """Entries that erasures have touched."""
    first_touched: tuple[matching.Position, ...] = ()
    """Where the first of them are."""


def run_verify(settings: Config) -> int:
    """Print what was compared; 0 when all of it is equal."""
    ledger = open_ledger(settings.effective_ledger_url)
    try:
        with archive_held(settings.data):
            return _verify(ledger, settings)
    finally:
        ledger.close()


def _verify(ledger: Ledger, settings: Config) -> int:
    screen = Console()
    table = Table("partition", "position", "snapshots", "touched by erasures", "result")
    failed, places = 0, []
    for row in matching.partition_rows(ledger):
        compared = Compared()
        try:
            compared = verify_partition(ledger, settings.data, row)
            result = "equal"
        except (ReplayMismatch, ArchiveCorrupt) as error:
            result, failed = str(error), failed + 1
        table.add_row(
            *(str(row.partition), _text(row.position)),
            *(str(compared.snapshots), str(compared.touched), result),
        )
        if compared.touched:
            places.append(f"partition {row.partition}, touched by erasures: {_places(compared)}")
    differing = [] if failed else verify_book(ledger, settings.data)
    if differing:
        failed += 1
    table.add_row("book", "", "", "", f"{', '.join(differing)} differ" if differing else "equal")
    screen.print(table)
    for line in places:
        screen.print(line)
    return 1 if failed else 0


def _text(position: matching.Position) -> str:
    return f"{position[0]}-{position[1]}"


def _places(compared: Compared) -> str:
    named = ", ".join(map(_text, compared.first_touched))
    more = compared.touched - len(compared.first_touched)
    return f"{named} and {more} more" if more else named


class _Touched:
    """Counts the entries that erasures have touched on their way to an engine."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[matching.Position] = []

    def watch(self, entries: Iterable[ArchivedEntry]) -> Iterator[ArchivedEntry]:
        for entry in entries:
            if entry.chain_digest is not None:
                self.count += 1
                if self.count <= limits.TOUCHED_SHOWN:
                    self.first.append(entry.position)
            yield entry


def verify_partition(ledger: Ledger, data: Path, row: PartitionRow) -> Compared:
    """Rebuild one partition, and compare it. Raises ReplayMismatch."""
    engine, touched = _core.Engine(row.partition), _Touched()
    compared = 0

    def replay_to(position: matching.Position) -> None:
        entries = archived_entries(ledger, data, row.partition, engine.position, position)
        replay(engine, touched.watch(entries))

    for fact in sorted(matching.snapshot_facts(ledger, row.partition), key=_by_position):
        if fact.position > row.position:
            continue
        replay_to(fact.position)
        content = engine.view().to_bytes()
        is_equal = hashlib.blake2b(content, digest_size=32).digest() == fact.digest
        if not is_equal and touched.count:
            is_equal = _goes_on_alike(engine, data, row.partition, fact)
        if not is_equal:
            raise ReplayMismatch(f"the state at {fact.position} is not snapshot {fact.name}")
        compared += 1
    replay_to(row.position)
    if engine.position != row.position:
        raise ReplayMismatch(f"the archive ends at {engine.position}")
    if engine.chain_digest != row.chain_digest:
        raise ReplayMismatch("another chain digest")
    return Compared(compared, touched.count, tuple(touched.first))


def _goes_on_alike(
    engine: _core.Engine, data: Path, partition: int, fact: matching.SnapshotFact
) -> bool:
    """Whether a snapshot's file is whole, and its state the engine's but for places in indexes."""
    try:
        content = (snapshot_folder(data, partition) / fact.name).read_bytes()
        snapshot = _core.Engine(partition, content)
    except (OSError, _core.SnapshotError):
        return False
    is_whole = hashlib.blake2b(content, digest_size=32).digest() == fact.digest
    return is_whole and (
        snapshot.view().to_comparable_bytes() == engine.view().to_comparable_bytes()
    )


def verify_book(ledger: Ledger, data: Path) -> list[str]:
    """Make the book again from the archive; the tables that came out otherwise."""
    rows, digests = book_state(ledger)
    with tempfile.TemporaryDirectory(prefix="headwater-verify-") as folder:
        scratch = open_ledger(f"sqlite:///{folder}/ledger.sqlite")
        try:
            for row in rows:
                _rebook(ledger, scratch, data, row)
            _rows, again = book_state(scratch)
        finally:
            scratch.close()
    return [name for name, digest in digests.items() if again[name] != digest]


def _rebook(ledger: Ledger, scratch: Ledger, data: Path, row: PartitionRow) -> None:
    engine, book = _core.Engine(row.partition), BookAgain(ledger, scratch, row.partition)
    batch: list[Entry] = []
    for entry, reason in archived(ledger, data, row.partition, engine.position, row.position):
        if batch and (reason is not None or len(batch) >= limits.BATCH_FRAMES_MAX):
            book.take(engine.apply(batch))
            batch = []
        if reason is None:
            batch.append(entry)
        else:
            engine.skip(*entry, reason)
    if batch:
        book.take(engine.apply(batch))


def _by_position(fact: matching.SnapshotFact) -> matching.Position:
    return fact.position
