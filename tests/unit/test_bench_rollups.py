"""The year that reports are timed on is summed up as live events are."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from bench.rollups import make, run

from headwater.console.performance_sums import page_of, total_of
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.rollup_folds import TABLES
from headwater.ledger.rollup_tables import DAYS, QUARTERS, SPAN_QUARTERS, SPANS, WHOLE

MADE, A_DAY = 70, 500
END = make.end_of(MADE)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rollups") / "rollups.sqlite"
    make.make(path, MADE * A_DAY, MADE)
    return path


def sums(ledger: Ledger, table: sa.Table, measure: str, first: int, end: int) -> dict[int, int]:
    """Of a measure by grain, over cells that begin in a period."""
    columns = table.c
    statement = (
        sa.select(columns.grain, sa.func.sum(columns[measure]))
        .where(columns.bucket >= first, columns.bucket < end)
        .group_by(columns.grain)
    )
    with ledger.read() as connection:
        return {row[0]: row[1] for row in connection.execute(statement)}


def test_a_day_that_is_repeated_keeps_the_clicks_it_was_drawn_with() -> None:
    clicks, sales = make.drawn_day(Random(1), 3, 500)
    assert sum(cell[8] for cell in clicks) == 500
    keys = [cell[:8] for cell in clicks]
    assert keys == sorted(set(keys))
    assert len(sales) < len(clicks) / 10


@pytest.mark.parametrize(("table", "measure"), [(0, "clicks"), (0, "uniques"), (1, "order_minor")])
def test_every_sum_is_that_of_its_cells(file: Path, table: int, measure: str) -> None:
    ledger = open_ledger(f"sqlite:///{file}")
    of = TABLES[table]
    whole = sums(ledger, of, measure, make.FIRST, END)
    assert whole[WHOLE.number] > 0
    assert {whole[grain.number] for grain in (*QUARTERS, *DAYS)} == {whole[WHOLE.number]}
    end = END - END % SPAN_QUARTERS
    spans = sums(ledger, of, measure, make.FIRST - SPAN_QUARTERS, end)
    before = sums(ledger, of, measure, make.FIRST, end)
    assert {spans[grain.number] for grain in SPANS} == {before[WHOLE.number]}
    ledger.close()


@pytest.mark.parametrize("groups", [("link",), ("partner", "sub1"), ("country", "device"), ()])
def test_reports_agree_on_the_clicks_of_a_period(file: Path, groups: tuple[str, ...]) -> None:
    ledger = open_ledger(f"sqlite:///{file}")
    asked = run.Report(groups, "Asia/Kolkata").asked(MADE)
    total = total_of(ledger, asked)
    found, after = page_of(ledger, asked, None, 10**6)
    for _ in range(100):
        if after is None:
            break
        more, after = page_of(ledger, asked, after, 10**6)
        found += more
    assert after is None
    # Two halves of days are cut off, and days are drawn by turns.
    assert (MADE - 2) * A_DAY < total.clicks[0] < MADE * A_DAY
    assert sum(sums_.clicks[0] for _, sums_ in found) == total.clicks[0]
    ledger.close()


def test_every_report_is_asked_for_once() -> None:
    asked = list(run.reports())
    assert len(set(asked)) == len(asked)
