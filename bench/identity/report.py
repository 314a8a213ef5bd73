"""The result as a table for people, with what it was measured on and how."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.identity.guard import Worth
from bench.identity.measure import Loaded, Series, ratio
from bench.identity.workload import SEED, Workload

METHOD = """\
Every peer holds the links and clicks that no hub is part of: the limit on neighbours is applied for
it. The engine takes all of them as frames of its log and finds the hubs itself. Before the rounds
all are asked every lookup, and the run fails unless count and xor of the click numbers are the
same for all; where two customers meet, the engine is held to the reference of the rules instead.
No cookie has more clicks than the 64 that an identifier keeps, no lookup needs more than one walk
takes, all links live at every lookup, and all observations come from servers.

Rounds are interleaved: in each round every row answers all lookups once, after 64 MiB were written
to push them out of the caches. Rates are medians over the rounds, per CPU second (of a server also
its own) and per second on the clock; the ratio is the median of the ratios within one round. The
engine answers with bytes, the numbers of the clicks in them; "answers as lists" makes numbers of
Python of them. p50 and p99 are of single lookups, one call each, from Python.

Loading is per CPU second: one link at a time (SQLite: transactions of 1,000; Redis: pipelines of
500, no log; the engine: frames of up to 512 records, everything that `apply` does included, chain
digest and outcomes). Bytes are all in: the growth of a process that holds nothing else, or the
server's or file's own size, over identifiers and over clicks; the cookies that only clicks name
are among the clicks' bytes."""


@dataclass
class Result:
    """All that was measured."""

    workload: Workload
    rounds: int
    loaded: dict[str, Loaded]
    series: list[Series]
    engine_figures: dict[str, int]
    guarded: Worth
    unguarded: Worth
    skipped: list[str]


def machine() -> dict[str, str]:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "commit": _commit(),
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    name = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{name}, with changes" if git("status", "--porcelain") else name


def _cells(row: list[str]) -> str:
    return "| " + " | ".join(row) + " |"


def _table(head: list[str], rows: list[list[str]]) -> str:
    ruled = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(map(_cells, [head, ruled, *rows]))


def _lookups(result: Result) -> str:
    (base,) = [series for series in result.series if series.peer == "dict"]
    rows = []
    for series in result.series:
        spread = f"{min(series.per_cpu_s):,.0f}–{max(series.per_cpu_s):,.0f}"
        rows.append(
            [
                series.name,
                f"{median(series.per_cpu_s):,.0f}",
                spread,
                f"{median(series.per_wall_s):,.0f}",
                f"{ratio(series, base):.2f}",
                f"{series.p50_us:.2f}" if series.p50_us else "",
                f"{series.p99_us:.2f}" if series.p99_us else "",
            ]
        )
    head = ["", "lookups/CPU s", "least–most", "lookups/s", "× dict", "p50 µs", "p99 µs"]
    return _table(head, rows)


def _loading(result: Result) -> str:
    rows = [
        [
            name,
            f"{loaded.links_per_s:,.0f}",
            f"{loaded.clicks_per_s:,.0f}",
            f"{loaded.bytes_per_identifier:.0f}",
            f"{loaded.bytes_per_click:.1f}",
        ]
        for name, loaded in result.loaded.items()
    ]
    return _table(["", "links/s", "clicks/s", "bytes/identifier", "bytes/click"], rows)


def _guard(result: Result) -> str:
    rows = []
    for name, worth in (("hubs cut", result.guarded), ("no limit", result.unguarded)):
        rows.append(
            [
                name,
                f"{worth.components:,}",
                f"{worth.largest:,}",
                f"{worth.mean_nodes:,.1f}",
                f"{100 * worth.share_in_largest:.1f} %",
                f"{worth.lookups_per_s:,.0f}",
            ]
        )
    head = ["", "components", "largest", "identifiers/lookup", "in the largest", "lookups/s (dict)"]
    return _table(head, rows)


def _engine_own(result: Result) -> str:
    figures = result.engine_figures
    text = ", ".join(f"{name} {value:,}" for name, value in figures.items())
    if not figures.get("graph_bytes"):
        return text
    per_identifier = figures["graph_bytes"] / result.workload.identifiers
    per_click = figures["clicks_bytes"] / len(result.workload.click_ms)
    per = f"{per_identifier:.1f} bytes an identifier, {per_click:.1f} a click"
    return f"{text}: {per} by its own count"


def tables(result: Result) -> str:
    return "\n\n".join(
        [
            _lookups(result),
            _loading(result),
            f"The engine of itself: {_engine_own(result)}.",
            _guard(result),
        ]
    )


def page(result: Result) -> str:
    """The whole report, Markdown."""
    load = result.workload
    conflicts = sum(asked.is_conflict for asked in load.lookups)
    facts = [f"{name}: {value}" for name, value in machine().items()]
    facts += [
        f"workload: {load.identifiers:,} identifiers of {load.visitors:,} visitors, "
        f"{len(load.left):,} links, {len(load.hubs)} hubs, {len(load.click_ms):,} clicks, "
        f"{len(load.lookups):,} lookups ({conflicts} where two customers meet, {load.redrawn} "
        f"drawn again), seed {SEED}, {result.rounds} rounds",
    ]
    facts += [f"left out: {text}" for text in result.skipped]
    parts = [
        "# The identity graph and its peers",
        "\n".join(f"- {fact}" for fact in facts),
        METHOD,
        tables(result),
        "![lookups per CPU second](identity.svg)",
    ]
    return "\n\n".join(parts) + "\n"
