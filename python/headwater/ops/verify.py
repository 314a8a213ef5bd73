"""`headwater verify`: rebuild every engine from the archive alone and compare.

The chain digest must come out as the ledger has it, and the state at each listed snapshot must
be, byte for byte, the snapshot. Then the book is made again, in a ledger of its own, and its
tables must come out as they are. May run beside the live system: it only reads.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from headwater import _core, limits
from headwater.config import Config
from headwater.errors import ReplayMismatch
from headwater.journal.archive import ArchiveCorrupt
from headwater.ledger import matching
from headwater.ledger.book_replay import book_state
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import PartitionRow
from headwater.matcher.recovery import Entry, archived, replay
from headwater.ops.book_again import BookAgain


def run_verify(settings: Config) -> int:
    """Print what was compared; 0 when all of it is equal."""
    screen = Console()
    table = Table("partition", "position", "snapshots", "result")
    failed = 0
    ledger = open_ledger(settings.effective_ledger_url)
    try:
        for row in matching.partition_rows(ledger):
            try:
                compared = verify_partition(ledger, settings.data, row)
                result = "equal"
            except (ReplayMismatch, ArchiveCorrupt) as error:
                compared, result, failed = 0, str(error), failed + 1
            position = f"{row.position[0]}-{row.position[1]}"
            table.add_row(str(row.partition), position, str(compared), result)
        differing = [] if failed else verify_book(ledger, settings.data)
        if differing:
            failed += 1
        table.add_row("book", "", "", f"{', '.join(differing)} differ" if differing else "equal")
    finally:
        ledger.close()
    screen.print(table)
    return 1 if failed else 0


def verify_partition(ledger: Ledger, data: Path, row: PartitionRow) -> int:
    """Rebuild one partition; how many snapshots were compared. Raises ReplayMismatch."""
    engine = _core.Engine(row.partition)
    compared = 0
    for fact in sorted(matching.snapshot_facts(ledger, row.partition), key=_by_position):
        if fact.position > row.position:
            continue
        replay(engine, archived(ledger, data, row.partition, engine.position, fact.position))
        content = engine.view().to_bytes()
        if hashlib.blake2b(content, digest_size=32).digest() != fact.digest:
            raise ReplayMismatch(f"the state at {fact.position} is not snapshot {fact.name}")
        compared += 1
    replay(engine, archived(ledger, data, row.partition, engine.position, row.position))
    if engine.position != row.position:
        raise ReplayMismatch(f"the archive ends at {engine.position}")
    if engine.chain_digest != row.chain_digest:
        raise ReplayMismatch("another chain digest")
    return compared


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
