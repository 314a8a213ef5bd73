"""What is read of a period is a naive sum over the cells of all dimensions, however far the
cells are summed up, in whatever days, and counts every cell before it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from book_tools import DAY_MS, SALE
from headwater import limits
from headwater.ledger import rollup_reads
from headwater.ledger.engine import Ledger
from headwater.ledger.rollup_folds import Mark
from headwater.ledger.rollup_reads import (
    SEEK_CELLS,
    Groups,
    Reading,
    Scope,
    TooManyCells,
    marks_of,
)
from headwater.ledger.rollup_tables import (
    CLICK_MEASURES,
    DAY_QUARTERS,
    DIMENSIONS,
    QUARTER_MS,
    SALE_MEASURES,
)
from headwater.ledger.schema import click_rollups, sale_rollups
from ledger_tools import NOW_MS, ledger_in
from rollup_tools import Cells, Traffic, commit_all, stored

BEGIN = NOW_MS // QUARTER_MS
DAYS = 75
NAMES = ("program", *DIMENSIONS)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "partner": st.one_of(st.integers(1, 3), st.just((1, 3))),
    "link": st.integers(0, 3),
    "sub1": st.sampled_from(["", "a"]),
    "country": st.sampled_from(["", "DE"]),
    "device": st.sampled_from(["", "ios"]),
}
Read = dict[tuple[Any, ...], tuple[list[int], dict[str, list[int]]]]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with ledger_in(tmp_path_factory.mktemp("reads")) as opened:
        commit_all(opened, _traffic(), range(0, 2000, 100))
        yield opened


@pytest.fixture(scope="module")
def cells(ledger: Ledger) -> tuple[Cells, Cells]:
    return stored(ledger, click_rollups, 0), stored(ledger, sale_rollups, 0)


def _traffic() -> Traffic:
    random, log = Random(5), Traffic()
    log.terms(events={str(SALE): {"default": {"kind": "percent", "ppm": 100_001}}})
    for order in range(1, 5 * DAYS):
        click = log.visit(
            random.choice((1, 2, 3)),
            program=random.choice((1, 1, 2)),
            link=random.choice((0, 1, 2)),
            sub1=random.choice(("", "a", "b")),
            country=random.choice((None, "DE", "US")),
            device=random.choice(("", "ios")),
        )
        if random.random() < 0.3:
            log.conversion(order, (1, 1_000_000, click), amount_minor=order)
        log.wait(random.randrange(2 * DAY_MS // 5))
        log.tick()
    return log


def told(groups: Groups) -> Read:
    return {
        key: (sums.clicks, {name: of for name, of in sums.sales.items() if any(of)})
        for key, sums in groups.items()
    }


def summed(cells: tuple[Cells, Cells], scope: Scope, period: tuple[int, int], by_day: bool) -> Read:
    found: Read = {}
    for of, is_sale in zip(cells, (False, True), strict=True):
        for (program, bucket, *rest), sums in of.items():
            values = dict(zip(DIMENSIONS, rest, strict=False), program=program)
            is_in = period[0] <= bucket < period[1] and all(
                values[name] in (value if isinstance(value, tuple) else (value,))
                for name, value in scope.only.items()
            )
            if not is_in:
                continue
            day = ((bucket - period[0]) // DAY_QUARTERS,) if by_day else ()
            key = (*day, *(values[name] for name in scope.groups))
            clicked, sold = found.setdefault(key, ([0] * len(CLICK_MEASURES), {}))
            into = sold.setdefault(rest[-1], [0] * len(SALE_MEASURES)) if is_sale else clicked
            for at, name in enumerate(SALE_MEASURES if is_sale else CLICK_MEASURES):
                into[at] += sums[name]
    return {
        key: (clicked, {name: of for name, of in sold.items() if any(of)})
        for key, (clicked, sold) in found.items()
    }


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_what_is_read_is_the_sum_of_the_cells(
    monkeypatch: pytest.MonkeyPatch,
    ledger: Ledger,
    cells: tuple[Cells, Cells],
    data: st.DataObject,
) -> None:
    names = st.sampled_from(NAMES)
    groups = data.draw(st.lists(names, max_size=3, unique=True))
    chosen = data.draw(st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True))
    only = {name: data.draw(VALUES[name]) for name in chosen}
    by_day = data.draw(st.booleans())
    first = BEGIN + data.draw(st.integers(-100, 60 * DAY_QUARTERS))
    if by_day and data.draw(st.booleans()):
        first -= first % DAY_QUARTERS
    length = data.draw(st.integers(1, 70 * DAY_QUARTERS))
    end = first + (-(-length // DAY_QUARTERS) * DAY_QUARTERS if by_day else length)
    lower = data.draw(st.integers(0, 80 * DAY_QUARTERS))
    monkeypatch.setattr(limits, "REPORT_CELLS_MAX", 10**9)
    # However the cells are cut into slices.
    monkeypatch.setattr(rollup_reads, "_SORTED_CELLS", data.draw(st.sampled_from((1, 30, 10**6))))
    monkeypatch.setattr(rollup_reads, "_FULL_DAY_CELLS", data.draw(st.sampled_from((1, 10**6))))
    monkeypatch.setattr(rollup_reads, "_REDUCED", data.draw(st.sampled_from((0, 1, 8))))
    with ledger.read() as connection:
        # Whatever is summed up less far is read from the cells themselves.
        marks = {
            program: Mark(min(mark.folded, max(BEGIN - 100, mark.folded - lower)), mark.spanned)
            if lower % 2
            else mark
            for program, mark in marks_of(connection).items()
        }
        marks = {
            program: Mark(mark.folded, min(mark.spanned, mark.folded))
            for program, mark in marks.items()
        }
        scope = Scope(marks, groups, only)

        def read() -> tuple[Groups, int]:
            reading = Reading(connection)
            take = reading.by_day if by_day else reading.grouped
            return take(scope, first, end), reading.cells_left

        found, left = read()
        assert told(found) == summed(cells, scope, (first, end), by_day)
        used = 10**9 - left
        monkeypatch.setattr(limits, "REPORT_CELLS_MAX", used)
        assert read() == (found, 0)
        monkeypatch.setattr(limits, "REPORT_CELLS_MAX", used - 1)
        if used:
            with pytest.raises(TooManyCells):
                read()


def test_cells_are_counted_that_are_passed_over(ledger: Ledger, cells: tuple[Cells, Cells]) -> None:
    with ledger.read() as connection:
        reading = Reading(connection)
        marks = dict.fromkeys(marks_of(connection), Mark(BEGIN, BEGIN))
        scope = Scope(marks, ("link",), {"country": "nowhere", "sub1": "none"})
        assert reading.grouped(scope, BEGIN, BEGIN + 90 * DAY_QUARTERS) == {}
        assert reading.cells_left == limits.REPORT_CELLS_MAX - sum(map(len, cells))


def test_cells_of_a_partner_are_counted_alone(ledger: Ledger) -> None:
    period = (BEGIN, BEGIN + 40 * DAY_QUARTERS)
    with ledger.read() as connection:
        reading = Reading(connection)
        only = {"partner": 9, "country": "DE", "sub1": "a"}
        marks = dict.fromkeys(marks_of(connection), Mark(BEGIN, BEGIN))
        assert reading.grouped(Scope(marks, (), only), *period) == {}
        # Two programs, looked for once each quarter hour.
        assert reading.cells_left == limits.REPORT_CELLS_MAX - SEEK_CELLS * 2 * 40 * DAY_QUARTERS
