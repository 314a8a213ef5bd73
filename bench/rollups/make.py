"""The rollups of a year of a large network, as the code that sums up live ones leaves them.

Some days are drawn click by click, with the usual long tails, and summed up as live ones are. The
other days repeat them in turn, cells and sums, written in the order of the tables' keys; eight
days and months are summed up from these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.rollup_folds import TABLES, fold, sum_up
from headwater.ledger.rollup_tables import (
    CLICK_MEASURES,
    DAY_QUARTERS,
    DAYS,
    EIGHT_DAYS,
    QUARTERS,
    SALE_MEASURES,
    SPAN_QUARTERS,
    SPANS,
    WHOLE,
    rollup_marks,
)

DAYS_MADE: Final = 365
DRAWN: Final = 8
PROGRAMS, PARTNERS, LINKS, SUB_IDS = 20, 500, 2000, 40
COUNTRIES: Final = [a + b for a in "ABCDEF" for b in "UVWXYZ"]
DEVICES: Final = ("desktop", "android", "ios", "mobile")
FIRST: Final = 20_454 * DAY_QUARTERS
CONVERSION_RATE: Final = 0.02
# The file is made once and thrown away when that fails; nobody else has it open.
_PRAGMAS: Final = (
    "journal_mode = OFF",
    "synchronous = OFF",
    "locking_mode = EXCLUSIVE",
    "temp_store = MEMORY",
    "cache_size = -262144",
)

Cells = list[tuple[Any, ...]]


def end_of(days: int) -> int:
    """The quarter hour behind so many days."""
    return FIRST + days * DAY_QUARTERS


def make(file: Path, clicks: int, days: int = DAYS_MADE) -> None:
    """Write a ledger with the rollups of so many clicks in so many days."""
    ledger = open_ledger(f"sqlite:///{file}")
    _draw(ledger, clicks // days)
    ledger.close()
    with _alone_with(file) as connection:
        _repeat(connection, days)
    ledger = open_ledger(f"sqlite:///{file}")
    with ledger.write() as connection_:
        connection_.execute(sa.update(rollup_marks).values(folded=end_of(days)))
        # Nothing is there of the quarter hour behind the end: only months are summed up.
        fold(ledger, connection_, 0, end_of(days) + 1)
    ledger.close()
    _sum_up_eight_days(file, days)


@contextmanager
def _alone_with(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        yield connection


def _draw(ledger: Ledger, clicks: int) -> None:
    random = Random(1)
    with ledger.write() as connection:
        marks = [(n, 0, FIRST, FIRST - FIRST % SPAN_QUARTERS) for n in range(1, PROGRAMS + 1)]
        connection.exec_driver_sql(ledger.insert_sql(rollup_marks), marks)
    for day in range(DRAWN):
        with ledger.write() as connection:
            cells = drawn_day(random, day, clicks)
            for table, rows in zip(TABLES, cells, strict=True):
                connection.exec_driver_sql(ledger.insert_sql(table), rows)
            fold(ledger, connection, 0, FIRST + (day + 1) * DAY_QUARTERS)


def drawn_day(random: Random, day: int, clicks: int) -> tuple[Cells, Cells]:
    """Cells of all dimensions of one day, in order: of clicks, and of sales."""
    first = FIRST + day * DAY_QUARTERS
    links = [(1 + n % PROGRAMS, 1 + n % PARTNERS, n) for n in range(1, LINKS + 1)]
    weights = [1 / rank**0.9 for rank in range(1, LINKS + 1)]
    places = [1 / rank for rank in range(1, len(COUNTRIES) + 1)]
    subs = [1 / rank for rank in range(1, SUB_IDS + 1)]
    hours = [1 + (quarter % 96) / 96 for quarter in range(DAY_QUARTERS)]
    counts: dict[tuple[Any, ...], int] = {}
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
    ordered = sorted(counts.items())
    # Every click is unique; the other measures are zeros, which take no room but their place.
    unique = CLICK_MEASURES.index("uniques")
    clicked = [
        (
            *(WHOLE.number, *key, count),
            *(count if at == unique else 0 for at in range(1, len(CLICK_MEASURES))),
        )
        for key, count in ordered
    ]
    sold = [
        (*(0, *key, "EUR", 1_000_000), *[0] * 5, 5000, *[1] * (len(SALE_MEASURES) - 7))
        for key, count in ordered
        if random.random() < CONVERSION_RATE * count
    ]
    return clicked, sold


def _repeat(connection: sqlite3.Connection, days: int) -> None:
    """All days out of those drawn."""
    connection.execute("CREATE TEMP TABLE days (day INTEGER PRIMARY KEY, first INTEGER)")
    connection.executemany(
        "INSERT INTO days VALUES (?, ?)",
        [(day, FIRST + day % DRAWN * DAY_QUARTERS) for day in range(days)],
    )
    for table in TABLES:
        names = [column.name for column in table.columns]
        drawn = table.to_metadata(sa.MetaData(), name="drawn", schema="temp")
        connection.execute(str(CreateTable(drawn).compile(dialect=sqlite.dialect())))
        connection.execute(f"INSERT INTO temp.drawn SELECT {', '.join(names)} FROM {table.name}")
        connection.execute(f"DELETE FROM {table.name}")
        connection.execute("BEGIN")
        moved = [
            f"bucket - first + {FIRST} + day * {DAY_QUARTERS}" if name == "bucket" else name
            for name in names
        ]
        # Days outside, keys of a day inside: rows come as the table's key orders them, and each
        # page is written once.
        repeated = (
            f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(moved)} "
            "FROM temp.days CROSS JOIN temp.drawn WHERE grain = ? AND program = ? "
            f"AND bucket >= first AND bucket < first + {DAY_QUARTERS}"
        )
        for grain in sorted(each.number for each in (WHOLE, *QUARTERS, *DAYS)):
            for program in range(1, PROGRAMS + 1):
                connection.execute(repeated, (grain, program))
        connection.execute("COMMIT")
        connection.execute("DROP TABLE temp.drawn")


def _sum_up_eight_days(file: Path, days: int) -> None:
    """Eight days together: those that are whole have each day drawn once, and are alike."""
    quarters, end = EIGHT_DAYS.quarters, end_of(days)
    whole = range(FIRST + -FIRST % quarters, end - quarters + 1, quarters)
    ledger = open_ledger(f"sqlite:///{file}")
    for first in (FIRST - FIRST % quarters, whole[0], whole[-1] + quarters):
        with ledger.write() as connection:
            for table in TABLES:
                cells = (0, end + 1, PROGRAMS, first, first + quarters)
                sum_up(ledger, connection, table, WHOLE, EIGHT_DAYS, cells)
    ledger.close()
    with _alone_with(file) as alone:
        for table in TABLES:
            names = [column.name for column in table.columns]
            moved = ["bucket + ?" if name == "bucket" else name for name in names]
            alone.execute("BEGIN")
            for program in range(1, PROGRAMS + 1):
                for first in whole[1:]:
                    alone.execute(
                        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(moved)} "
                        f"FROM {table.name} WHERE grain = ? AND program = ? AND bucket = ?",
                        (first - whole[0], EIGHT_DAYS.number, program, whole[0]),
                    )
            alone.execute("COMMIT")


def count(ledger: Ledger) -> dict[str, int]:
    """How many cells there are of each kind."""
    found = {}
    kinds = {
        "all dimensions": (WHOLE,),
        "all dimensions of eight days": (EIGHT_DAYS,),
        "quarter hours": QUARTERS,
        "days": DAYS,
        "spans": SPANS,
    }
    with ledger.read() as connection:
        for name, grains in kinds.items():
            numbers = [grain.number for grain in grains]
            found[name] = sum(
                connection.scalar(
                    sa.select(sa.func.count()).select_from(table).where(table.c.grain.in_(numbers))
                )
                or 0
                for table in TABLES
            )
    return found
