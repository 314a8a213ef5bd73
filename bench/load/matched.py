"""Where the matcher's CPU goes: the archive of a data folder applied and committed once more.

`python -m bench.load.matched DATA --frames 64`: into a new ledger beside it, in batches of so many
frames, without Redis. The data folder is only read.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import sqlalchemy as sa

from headwater import clock
from headwater.book.book import Book
from headwater.journal.archive import ArchiveWriter
from headwater.ledger import matching, rollups
from headwater.ledger.engine import open_ledger
from headwater.ledger.rollup_changes import Change
from headwater.matcher import outcomes, partition
from headwater.matcher.ordering import ordered
from headwater.matcher.recovery import archive_folder, archived, new_engine

PARTS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("apply", partition.Partition, "apply"),
    ("  archive: sync", ArchiveWriter, "sync"),
    ("commit", matching, "commit"),
    ("  rows of clicks", matching, "_insert_clicks"),
    ("  clicks scored again", matching, "write_revisions"),
    ("  rollups: what changes", Change, "read_before"),
    ("  rollups: counting", rollups._Counter, "take"),
    ("  rollups: writing", rollups.Rollups, "_write"),
    ("  book", Book, "apply"),
    ("  COMMIT", sa.engine.default.DefaultDialect, "do_commit"),
    ("count", outcomes, "count"),
)


def counted(used_s: dict[str, float], name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The work, with the CPU it uses added under the name."""

    @functools.wraps(work)
    def run(*arguments: Any, **named: Any) -> Any:
        before_s = clock.process_cpu_s()
        try:
            return work(*arguments, **named)
        finally:
            used_s[name] += clock.process_cpu_s() - before_s

    return run


def again(data: Path, number: int, frames: int, folder: Path) -> tuple[int, int]:
    """Match a partition's archive once more; batches and clicks."""
    source = open_ledger(f"sqlite:///{data / 'ledger.sqlite'}", read_only=True)
    listed = matching.partition_rows(source)[number]
    found = list(archived(source, data, number, (0, 0), listed.position))
    source.close()
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
    matching.ensure_partitions(ledger, number + 1)
    (row,) = matching.acquire(ledger, [number], "bench", 0, 10**12)
    taken = partition.Partition(row, new_engine(number), folder, {})
    book, sums = Book(number, matching.settings_of(ledger, number)), matching.Rollups()
    clicks = batches = 0
    for start in range(0, len(found), frames):
        batch = taken.apply([entry for entry, _reason in found[start : start + frames]])
        matching.commit(
            ledger,
            [batch],
            lease_until_ms=10**13,
            book=lambda store, made: book.apply(store, made.outcomes, ordered(made.outcomes)),
            rollups=sums,
        )
        taken.committed(batch)
        outcomes.count(batch.outcomes)
        clicks += len(batch.outcomes["clicks"])
        batches += 1
    taken.close()
    ledger.close()
    return batches, clicks


def main() -> None:
    """Print CPU microseconds a click, by part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--partition", type=int, default=0)
    parser.add_argument("--frames", type=int, default=64)
    asked = parser.parse_args()
    if not archive_folder(asked.data, asked.partition).is_dir():
        raise SystemExit(f"there is no archive of partition {asked.partition} in {asked.data}")
    used_s = {name: 0.0 for name, _owner, _work in PARTS}
    for name, owner, work in PARTS:
        setattr(owner, work, counted(used_s, name, getattr(owner, work)))
    with TemporaryDirectory(dir=asked.data.parent) as folder:
        batches, clicks = again(asked.data, asked.partition, asked.frames, Path(folder))
    print(f"{clicks} clicks in {batches} batches; CPU microseconds for a click")
    for name, seconds in used_s.items():
        print(f"{name:26}{seconds / max(clicks, 1) * 1e6:7.2f}")


if __name__ == "__main__":
    main()
