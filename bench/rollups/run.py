"""How long a report over a year of a large network takes, and what its rollups take on disk.

    python -m bench.rollups.run [--clicks 100000000] [--folder DIR]

The rollups of a year are made: some days are drawn, click by click, of programs, partners, links,
sub ids, countries and devices with the usual long tails, and summed up by the code that sums up
live ones; the other days repeat them in turn. Cells of all dimensions are kept of the days at the
ends of the period, which is where reports read them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from random import Random

import sqlalchemy as sa

from headwater import clock
from headwater.console import performance
from headwater.console.performance import Asked
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.rollup_folds import fold
from headwater.ledger.rollup_tables import (
    CLICK_MEASURES,
    DAY_QUARTERS,
    DAYS,
    QUARTERS,
    SALE_MEASURES,
    SPAN_QUARTERS,
    SPANS,
    WHOLE,
    click_rollups,
    rollup_marks,
    sale_rollups,
)

DAYS_MADE = 365
DRAWN = 8
EDGE_DAYS = 2
PROGRAMS, PARTNERS, LINKS, SUB_IDS = 20, 500, 2000, 40
COUNTRIES = [a + b for a in "ABCDEF" for b in "UVWXYZ"]
DEVICES = ("desktop", "android", "ios", "mobile")
FIRST = 20_454 * DAY_QUARTERS
CONVERSION_RATE = 0.02


def drawn_day(random: Random, day: int, clicks: int) -> tuple[list[tuple[object, ...]], ...]:
    """Cells of all dimensions of one day: of clicks, and of sales."""
    first = FIRST + day * DAY_QUARTERS
    links = [(1 + n % PROGRAMS, 1 + n % PARTNERS, n) for n in range(1, LINKS + 1)]
    weights = [1 / rank**0.9 for rank in range(1, LINKS + 1)]
    places = [1 / rank for rank in range(1, len(COUNTRIES) + 1)]
    subs = [1 / rank for rank in range(1, SUB_IDS + 1)]
    hours = [1 + (quarter % 96) / 96 for quarter in range(DAY_QUARTERS)]
    counts: dict[tuple[object, ...], int] = {}
    columns = zip(
        random.choices(range(DAY_QUARTERS), hours, k=clicks),
        random.choices(links, weights, k=clicks),
        random.choices(range(SUB_IDS), subs, k=clicks),
        random.choices(COUNTRIES, places, k=clicks),
        random.choices(DEVICES, (4, 3, 2, 1), k=clicks),
        strict=True,
    )
    for quarter, (program, partner, link), sub, country, device in columns:
        key = (program, first + quarter, partner, link, f"placement-{sub}", country, device)
        counts[key] = counts.get(key, 0) + 1
    clicked = [(0, *key, count, *[0] * (len(CLICK_MEASURES) - 1)) for key, count in counts.items()]
    sold = [
        (0, *key, "EUR", 1_000_000, *[0] * 5, 5000, 1, *[1] * (len(SALE_MEASURES) - 8))
        for key, count in counts.items()
        if random.random() < CONVERSION_RATE * count
    ]
    return clicked, sold


def make(ledger: Ledger, clicks: int) -> dict[str, int]:
    """The rollups of a year; how many cells there are of each kind."""
    random = Random(1)
    end = FIRST + DAYS_MADE * DAY_QUARTERS
    tables = (click_rollups, sale_rollups)
    kept = ",".join(str(grain.number) for grain in (*QUARTERS, *DAYS))
    with ledger.write() as connection:
        marks = [(n, 0, FIRST, FIRST - FIRST % SPAN_QUARTERS) for n in range(1, PROGRAMS + 1)]
        connection.exec_driver_sql(ledger.insert_sql(rollup_marks), marks)
    for day in range(DRAWN):
        with ledger.write() as connection:
            cells = drawn_day(random, day, clicks // DAYS_MADE)
            for table, rows in zip(tables, cells, strict=True):
                connection.exec_driver_sql(ledger.insert_sql(table), rows)
            fold(ledger, connection, 0, FIRST + (day + 1) * DAY_QUARTERS)
    for day in range(DRAWN, DAYS_MADE):
        # The end of the year has days with cells of all dimensions, too.
        grains = f"{WHOLE.number},{kept}" if day >= DAYS_MADE - EDGE_DAYS else kept
        with ledger.write() as connection:
            for table in tables:
                repeat(connection, table, grains, day % DRAWN, day)
    with ledger.write() as connection:
        for table in tables:
            connection.execute(
                sa.delete(table).where(
                    table.c.grain == WHOLE.number,
                    table.c.bucket >= FIRST + EDGE_DAYS * DAY_QUARTERS,
                    table.c.bucket < FIRST + DRAWN * DAY_QUARTERS,
                )
            )
        connection.execute(sa.update(rollup_marks).values(folded=end - 1))
        for _ in range(PROGRAMS):
            fold(ledger, connection, 0, end)
    return count(ledger)


def repeat(connection: sa.Connection, table: sa.Table, grains: str, of: int, day: int) -> None:
    """The cells of one day once more, on another."""
    names = ", ".join(column.name for column in table.columns)
    moved = names.replace("bucket", f"bucket + {(day - of) * DAY_QUARTERS}")
    first = FIRST + of * DAY_QUARTERS
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT {moved} FROM {table.name} "
        f"WHERE grain IN ({grains}) AND program BETWEEN 1 AND {PROGRAMS} "
        f"AND bucket >= {first} AND bucket < {first + DAY_QUARTERS}"
    )


def count(ledger: Ledger) -> dict[str, int]:
    found = {}
    kinds = {"all dimensions": (WHOLE,), "quarter hours": QUARTERS, "days": DAYS, "spans": SPANS}
    with ledger.read() as connection:
        for name, grains in kinds.items():
            numbers = [grain.number for grain in grains]
            found[name] = sum(
                connection.scalar(
                    sa.select(sa.func.count()).select_from(table).where(table.c.grain.in_(numbers))
                )
                or 0
                for table in (click_rollups, sale_rollups)
            )
    return found


def time(ledger: Ledger, groups: tuple[str, ...], zone: str, **only: object) -> None:
    """One report, total and first page, the second time it is asked for."""
    program = only.pop("program", None)
    # From noon to noon: both ends are cut out of a day.
    first, end = FIRST + 50, FIRST + DAYS_MADE * DAY_QUARTERS - 50
    asked = Asked(groups, zone, first, end, program, None, only)  # type: ignore[arg-type]
    for _ in range(2):
        started_s = clock.monotonic_s()
        used_s = clock.process_cpu_s()
        total = performance.total_of(ledger, asked)
        rows = len(performance.page_of(ledger, asked, None, 501))
        used_s, started_s = clock.process_cpu_s() - used_s, clock.monotonic_s() - started_s
    by = ",".join(groups) or "nothing"
    bound = f" program {program}" if program else ""
    bound += "".join(f" {name} {value}" for name, value in only.items())
    print(
        f"| {by} | {zone} |{bound} | {total.clicks[0]:,} | {rows} "
        f"| {started_s:.2f} | {used_s:.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made_folder:
        folder = arguments.folder or Path(made_folder)
        file = folder / "rollups.sqlite"
        is_there = file.exists()
        ledger = open_ledger(f"sqlite:///{file}")
        cells = count(ledger) if is_there else make(ledger, arguments.clicks)
        print(f"{os.path.getsize(file):,} bytes; cells: {cells}", flush=True)
        print("| by | time zone | only | clicks | rows | s | CPU s |")
        print("|---|---|---|---|---|---|---|")
        names = ("program", "partner", "link", "sub1", "country", "device")
        for groups in ((), *((name,) for name in names), ("country", "device"), ("day",)):
            time(ledger, groups, "Asia/Kolkata")
        for groups in (("day", "partner"), ("day", "link", "country")):
            time(ledger, groups, "Asia/Kolkata")
        time(ledger, ("day", "partner"), "UTC")
        for groups in (("link",), ("sub1",), ("country",), ("day",)):
            time(ledger, groups, "America/New_York", partner=7)
        for groups in (("link",), ("sub1",), ("partner", "country"), ("day",)):
            time(ledger, groups, "Europe/Berlin", program=3)
        ledger.close()


if __name__ == "__main__":
    main()
