"""How long a report over a year of a large network takes, and what its rollups take on disk.

    python -m bench.rollups.run [--clicks 100000000] [--folder DIR] [--json FILE]

Makes the rollups (`make`), or takes those that are in the folder, and asks for each report as the
console would: total and first page. Once cold, the file out of the kernel's cache and a new
connection; then warm, the median of three.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench.rollups.make import DAYS_MADE, FIRST, count, end_of, make

from headwater import clock
from headwater.console.performance_sums import Asked, page_of, total_of
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.rollup_tables import DAY_QUARTERS

ROWS: Final = 501
WARM: Final = 3
# From noon to noon: both ends are cut out of a day.
_CUT: Final = DAY_QUARTERS // 2 + 2
_NAMES: Final = ("program", "partner", "link", "sub1", "country", "device")

_TOGETHER: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("country", "device"),
    ("program", "partner"),
    ("partner", "link"),
    ("partner", "sub1"),
    ("partner", "country", "device"),
    ("day",),
)


class Report(NamedTuple):
    """One that is asked for."""

    groups: tuple[str, ...]
    timezone: str
    program: int | None = None
    only: tuple[tuple[str, Any], ...] = ()

    def asked(self, days: int = DAYS_MADE) -> Asked:
        """As the console would have it, of so many days but for the ends."""
        first, end = FIRST + _CUT, end_of(days) - _CUT
        return Asked(self.groups, self.timezone, first, end, self.program, None, dict(self.only))

    def bound(self) -> str:
        """What it is bound to, in words."""
        named = [("program", self.program)] if self.program else []
        return ", ".join(f"{name} {value}" for name, value in (*named, *self.only))


class Took(NamedTuple):
    """Seconds on the clock, and of CPU; clicks in the total, rows on the page."""

    seconds: float
    cpu_s: float
    clicks: int
    rows: int


def reports() -> Iterator[Report]:
    """Every grouping there are sums of, in time zones that share no day with UTC, and not."""
    for name in _NAMES:
        yield Report((name,), "Asia/Kolkata")
    for groups in _TOGETHER:
        yield Report(groups, "Asia/Kolkata")
    for inner in ("program", "partner", "link", "sub1", "country"):
        yield Report(("day", inner), "Asia/Kolkata")
    yield Report(("day", "link", "country"), "Asia/Kolkata")
    for groups in (("day",), ("day", "partner"), ("day", "sub1"), ("day", "country")):
        yield Report(groups, "UTC")
    for name in ("link", "sub1", "country", "day"):
        yield Report((name,), "America/New_York", only=(("partner", 7),))
    yield Report(("day", "link"), "America/New_York", only=(("partner", 7),))
    for groups in (("link",), ("sub1",), ("partner", "country"), ("day",)):
        yield Report(groups, "Europe/Berlin", program=3)
    # A link's program and partner go with it, as the console has it.
    link = (("partner", 2), ("link", 1))
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata"):
        yield Report(("day",), zone, 2, link)
        for name, value in (("country", "AU"), ("sub1", "placement-3")):
            yield Report(("day",), zone, only=((name, value),))
    of_link = (("partner", 8), ("link", 507), ("country", "AU"))
    yield Report(("day",), "Asia/Kolkata", 8, of_link)
    yield Report(("partner", "sub1", "country"), "Asia/Kolkata")
    yield Report(("country", "sub1"), "Asia/Kolkata", only=(("partner", 7),))


def take(ledger: Ledger, report: Report) -> Took:
    """Total and first page, once."""
    asked = report.asked()
    began_s, used_s = clock.monotonic_s(), clock.process_cpu_s()
    total = total_of(ledger, asked)
    rows = len(page_of(ledger, asked, None, ROWS).rows)
    took = clock.monotonic_s() - began_s, clock.process_cpu_s() - used_s
    return Took(*took, total.clicks[0], rows)


def forget(file: Path) -> None:
    """Drop a file that nobody has open from the kernel's cache."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(file: Path, report: Report) -> dict[str, Any]:
    forget(file)
    ledger = open_ledger(f"sqlite:///{file}")
    cold, *warm = [take(ledger, report) for _ in range(1 + WARM)]
    ledger.close()
    return {
        "by": ", ".join(report.groups) or "nothing",
        "timezone": report.timezone,
        "only": report.bound(),
        "clicks": cold.clicks,
        "rows": cold.rows,
        "cold_s": round(cold.seconds, 3),
        "warm_s": round(median(took.seconds for took in warm), 3),
        "warm_cpu_s": round(median(took.cpu_s for took in warm), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path, help="where the file is kept, or is already")
    parser.add_argument("--json", type=Path, default=Path("bench/results/rollups.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        file = (options.folder or Path(made)) / "rollups.sqlite"
        took_s = 0.0
        if not file.exists():
            took_s = -clock.monotonic_s()
            make(file, options.clicks)
            took_s += clock.monotonic_s()
        ledger = open_ledger(f"sqlite:///{file}")
        cells = count(ledger)
        ledger.close()
        size_bytes = file.stat().st_size
        print(f"made in {took_s:.0f} s, {size_bytes:,} bytes; cells: {cells}", flush=True)
        print("| by | time zone | only | clicks | rows | cold s | warm s | warm CPU s |")
        print("|---|---|---|---:|---:|---:|---:|---:|")
        rows = []
        for report in reports():
            rows.append(measured(file, report))
            print("| " + " | ".join(map(_cell, rows[-1].values())) + " |", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    told = {"made_s": took_s, "bytes": size_bytes, "cells": cells, "reports": rows}
    options.json.write_text(json.dumps(told, indent=1) + "\n")


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
