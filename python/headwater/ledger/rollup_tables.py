"""The tables of rollups: sums of what is in the ledger, kept in the transaction of its rows.

A cell is the sum over a span of time of what has its dimensions in common. Spans are whole quarter
hours of UTC, numbered from 1970 on, so that the days of every time zone are made of them.

Every cell of a `Grain` has its dimensions; the others are empty. What happens is written to the
cells of `WHOLE` in the transaction of its batch; of clicks to `click_rollup_changes` first, and
from there to the cells by the thousand. Cells of the other grains are sums of these, made when a
quarter hour, or a day, has ended (`rollup_folds`), so that a report over a year reads thousands of
rows instead of millions.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Index, Table

from headwater.ledger.columns import binary, integer, metadata, string

QUARTER_MS: Final = 900_000
HOUR_QUARTERS: Final = 4
DAY_QUARTERS: Final = 96
SPAN_QUARTERS: Final = 32 * DAY_QUARTERS
"""A month of 32 days, numbered like the days."""

DIMENSIONS: Final = ("partner", "link", "sub1", "country", "device")
"""Besides the program, which every cell has. 0 or empty: none, or not known."""

SUB_IDS_REST: Final = "\0"
"""Stands for every sub id beyond the bound of its partner's day."""


class Grain(NamedTuple):
    """What cells hold in common: dimensions, and how long they are."""

    number: int
    dimensions: frozenset[str]
    quarters: int


_OF_DAYS: Final = (
    frozenset[str](),
    frozenset(("sub1",)),
    frozenset(("country", "device")),
    frozenset(("partner", "link")),
    frozenset(("partner", "sub1")),
    frozenset(("partner", "country", "device")),
)
"""What reports are grouped by together; the coarsest first."""

WHOLE: Final = Grain(0, frozenset(DIMENSIONS), 1)
PROGRAM: Final = Grain(1, frozenset(), 1)
DAYS: Final = tuple(
    Grain(number, dimensions, DAY_QUARTERS) for number, dimensions in enumerate(_OF_DAYS, 2)
)
SPANS: Final = tuple(
    Grain(number, dimensions, SPAN_QUARTERS)
    for number, dimensions in enumerate(_OF_DAYS, 2 + len(_OF_DAYS))
)
_BEHIND: Final = 2 + 2 * len(_OF_DAYS)
QUARTERS: Final = (
    PROGRAM,
    Grain(_BEHIND, frozenset(("partner",)), 1),
    Grain(_BEHIND + 1, frozenset(("sub1",)), 1),
    Grain(_BEHIND + 2, frozenset(("country", "device")), 1),
)
"""Of these the days of every time zone are read; the coarsest first."""
EIGHT_DAYS: Final = Grain(_BEHIND + 3, frozenset(DIMENSIONS), 8 * DAY_QUARTERS)
"""All dimensions once more, for what no other cells have together: few times a partner's clicks of
a day are alike in all of them, and often those of eight."""

CLICK_MEASURES: Final = (
    "clicks",
    "filtered",
    "rejected",
    "duplicates",
    "uniques",
    "reviewed",
    "prefetches",
    "tests",
)
"""`clicks`: all but tests and prefetches that nobody came after; of these `filtered` is declared
automation, `rejected` sophisticated invalid traffic, `duplicates` what is neither and repeats
another click. The rest counts; `uniques` and `reviewed` are parts of it."""

STATES: Final = ("pending", "approved", "reversed", "locked", "paid")
SALE_MEASURES: Final = (
    "attributed_ppm",
    "reviewed_ppm",
    "unattributed_ppm",
    "rejected_ppm",
    "waiting_ppm",
    "tests_ppm",
    "order_minor",
    *(f"{state}_actions" for state in STATES),
    "over_cap_actions",
    *(f"{state}_minor" for state in STATES),
    "compensated_minor",
    "revenue_minor",
)
"""Conversions in parts per million, shared among their credits: by status, `reviewed_ppm` being a
part of `attributed_ppm`; and what was reported of the orders of those attributed, in their
currency. Actions by state, and what they pay; `revenue_minor` is what is left of the orders of
those that are not reversed. Nothing but `tests_ppm` has test orders in it."""

_KEY: Final = ("grain", "program", "bucket", "partner", "link")
_TEXTS: Final = ("sub1", "country", "device")

click_rollups = Table(
    "click_rollups",
    metadata,
    *(integer(name, primary_key=True, autoincrement=False) for name in _KEY),
    *(string(name, primary_key=True) for name in _TEXTS),
    *(integer(name) for name in CLICK_MEASURES),
    sqlite_with_rowid=False,
)
sale_rollups = Table(
    "sale_rollups",
    metadata,
    *(integer(name, primary_key=True, autoincrement=False) for name in _KEY),
    *(string(name, primary_key=True) for name in (*_TEXTS, "currency")),
    *(integer(name) for name in SALE_MEASURES),
    sqlite_with_rowid=False,
)
rollup_marks = Table(
    "rollup_marks",
    metadata,
    integer("program", primary_key=True, autoincrement=False),
    integer("partition"),
    integer("folded"),
    integer("spanned"),
    Index("ix_rollup_marks_folded", "partition", "folded"),
    sqlite_with_rowid=False,
)
"""How far a program's cells are summed up: of quarter hours before `folded` in the cells of days,
of days before `spanned` in those of spans. Both are numbers of quarter hours."""

rollup_sub_ids = Table(
    "rollup_sub_ids",
    metadata,
    integer("program", primary_key=True, autoincrement=False),
    integer("partner", primary_key=True, autoincrement=False),
    integer("day", primary_key=True, autoincrement=False),
    string("sub1", primary_key=True),
    sqlite_with_rowid=False,
)
"""The sub ids of a partner's day of UTC that have cells of their own: the first that came."""

click_rollup_changes = Table(
    "click_rollup_changes",
    metadata,
    integer("partition", primary_key=True, autoincrement=False),
    integer("stream_ms", primary_key=True, autoincrement=False),
    integer("stream_seq", primary_key=True, autoincrement=False),
    binary("cells"),
    sqlite_with_rowid=False,
)
"""What batches add to the cells of `WHOLE` in `click_rollups` and is not written there yet, by
where they end: MessagePack, an array of dimensions and measures for each cell. The sums are those
of both tables. One row for a batch spares it a page for nearly every click."""

ROLLUP_TABLES: Final = (
    click_rollups,
    click_rollup_changes,
    sale_rollups,
    rollup_marks,
    rollup_sub_ids,
)
