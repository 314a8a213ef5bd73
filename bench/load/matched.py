"""Where the matcher's CPU goes: the archive of a data folder applied and committed once more.

`python -m bench.load.matched DATA --frames 64`: into new ledgers beside it, in batches of so many
frames, without Redis; one batch after the other, and each beside the commit before, in turns. The
data folder is only read.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from statistics import median
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
from headwater.matcher.committing import Applied, Committer
from headwater.matcher.health import Heartbeat
from headwater.matcher.recovery import Entry, archive_folder, archived, new_engine

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
        before_s = clock.thread_cpu_s()
        try:
            return work(*arguments, **named)
        finally:
            used_s[name] += clock.thread_cpu_s() - before_s

    return run


def entries_of(data: Path, number: int) -> list[Entry]:
    """A partition's archive, in memory."""
    source = open_ledger(f"sqlite:///{data / 'ledger.sqlite'}", read_only=True)
    listed = matching.partition_rows(source)[number]
    found = [entry for entry, _reason in archived(source, data, number, (0, 0), listed.position)]
    source.close()
    return found


def again(
    entries: list[Entry], number: int, frames: int, beside: Path, *, overlaps: bool
) -> tuple[int, float]:
    """Match entries once more, in a folder of its own; clicks, and seconds they took."""
    clicks = 0

    def settle() -> None:
        nonlocal clicks
        ended = committer.end()
        for batch in ended[0].batches if ended else ():
            taken.committed(batch)
            outcomes.count(batch.outcomes)
            clicks += len(batch.outcomes["clicks"])

    with TemporaryDirectory(dir=beside) as name:
        folder = Path(name)
        ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
        matching.ensure_partitions(ledger, number + 1)
        (row,) = matching.acquire(ledger, [number], "bench", 0, 10**12)
        taken = partition.Partition(row, new_engine(number), folder, {})
        with Committer(ledger, Heartbeat(folder), 10**12) as committer:
            committer.keep_book(number)
            began_s = clock.monotonic_s()
            for start in range(0, len(entries), frames):
                batch = taken.apply(entries[start : start + frames])
                settle()
                committer.begin(Applied([batch], {}, 0.0))
                if not overlaps:
                    settle()
            settle()
            took_s = clock.monotonic_s() - began_s
        taken.close()
        ledger.close()
    return clicks, took_s


def main() -> None:
    """Print CPU microseconds a click, by part, and what overlapping gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--partition", type=int, default=0)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if not archive_folder(asked.data, asked.partition).is_dir():
        raise SystemExit(f"there is no archive of partition {asked.partition} in {asked.data}")
    used_s = {name: 0.0 for name, _owner, _work in PARTS}
    for name, owner, work in PARTS:
        setattr(owner, work, counted(used_s, name, getattr(owner, work)))
    entries = entries_of(asked.data, asked.partition)
    rates: dict[bool, list[float]] = {False: [], True: []}
    total = 0
    for overlaps in (False, True) * asked.rounds:
        clicks, took_s = again(
            entries, asked.partition, asked.frames, asked.data.parent, overlaps=overlaps
        )
        rates[overlaps].append(clicks / took_s)
        total += clicks
    print(f"{clicks} clicks in batches of {asked.frames} frames; CPU microseconds for a click")
    for name, seconds in used_s.items():
        print(f"{name:26}{seconds / max(total, 1) * 1e6:7.2f}")
    alone, overlapping = median(rates[False]), median(rates[True])
    print(f"clicks a second: {alone:.0f} one batch after the other; {overlapping:.0f} overlapping")
    print(f"overlapping / one after the other: {overlapping / alone:.2f}")


if __name__ == "__main__":
    main()
