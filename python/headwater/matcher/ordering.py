"""A batch's outcomes in the order of the log, out of the tables the engine puts them into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

TABLES: Final = (
    "clicks",
    "observations",
    "conversions",
    "reports",
    "rejections",
    "controls",
    "others",
    "quarantined",
    "erasures",
    "late_evidence",
    "decision_revised",
)
"""As the engine numbers them in `steps`."""
TICKS: Final = "ticks"


class Run(NamedTuple):
    """Rows of one table that followed one another at one engine time; of ticks only how many."""

    time_ms: int
    table: str
    rows: Sequence[Any]
    length: int


def ordered(outcomes: Mapping[str, Any]) -> Iterator[Run]:
    """The runs of rows in the order in which the engine wrote them.

    A record's rows come in the order in which the engine came to them: a click's own row after
    those of the conversions it made the engine decide again.
    """
    taken = dict.fromkeys(TABLES, 0)
    for number, count, time_ms in outcomes["steps"]:
        if number == len(TABLES):
            yield Run(time_ms, TICKS, (), count)
            continue
        table = TABLES[number]
        start = taken[table]
        taken[table] = start + count
        yield Run(time_ms, table, outcomes[table][start : start + count], count)
