"""Lists read page by page give every row once, in order, whatever is added meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.ledger import matching, queries
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Origin, create_brand
from headwater.ledger.queries import ClickFilter, ConversionFilter
from headwater.ledger.schema import brands
from headwater.model.records import Flag
from ledger_tools import NOW_MS, acquired, batch, click_outcome, conversion_outcome, ledger_in


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with ledger_in(tmp_path_factory.mktemp("ledger")) as opened:
        clicks = [
            click_outcome(NOW_MS + step // 3, program=1 + step % 2, partner=1 + step % 3)
            for step in range(40)
        ]
        conversions = [
            conversion_outcome(
                bytes([step * 5 % 32]) * 16,
                accept_ms=NOW_MS + step // 4,
                credits_given=tuple((1 + each, None, 500_000) for each in range(step % 3)),
                flags=int(Flag.TEST) if step % 5 == 0 else 0,
            )
            for step in range(32)
        ]
        row = acquired(opened)
        matching.commit(
            opened, [batch(row, clicks=clicks, conversions=conversions)], lease_until_ms=0
        )
        for number in range(9):
            create_brand(opened, Origin(), name=str(number))
        yield opened


@given(count=st.integers(1, 50), program=st.sampled_from([None, 1, 2, 3]))
def test_clicks(ledger: Ledger, count: int, program: int | None) -> None:
    wanted = ClickFilter(program=program)
    rows, end = queries.click_page(ledger, wanted, before=None, count=99)
    whole = [row["click_id"] for row in rows]
    assert end is None
    assert whole == sorted(whole, reverse=True)
    assert read_whole(ledger, wanted, count) == whole


@given(
    count=st.integers(1, 12),
    scan=st.integers(1, 45),
    program=st.sampled_from([None, 1, 2]),
    partner=st.sampled_from([None, 1, 2]),
    verdict=st.sampled_from([None, "accept", "review"]),
    since=st.integers(0, 15),
    length=st.integers(0, 15),
)
def test_clicks_that_are_looked_for(
    ledger: Ledger,
    count: int,
    scan: int,
    program: int | None,
    partner: int | None,
    verdict: str | None,
    since: int,
    length: int,
) -> None:
    """Method: a plain filter of all rows, at every bound of the scan."""
    since_ms, until_ms = NOW_MS + since, NOW_MS + since + length
    wanted = ClickFilter(program, partner, verdict, None, since_ms, until_ms)
    rows, _ = queries.click_page(ledger, ClickFilter(), before=None, count=99)
    named = {"program": program, "partner": partner, "verdict": verdict}
    expected = [
        row["click_id"]
        for row in rows
        if all(value is None or row[name] == value for name, value in named.items())
        and since_ms <= row["accept_ms"] < until_ms
    ]
    assert read_whole(ledger, wanted, count, scan=scan) == expected


def read_whole(ledger: Ledger, wanted: ClickFilter, count: int, **options: int) -> list[bytes]:
    """All pages of a list of clicks."""
    seen: list[bytes] = []
    before: bytes | None = None
    while True:
        page, before = queries.click_page(ledger, wanted, before=before, count=count, **options)
        assert len(page) <= count
        seen += [row["click_id"] for row in page]
        if before is None:
            return seen


@given(count=st.integers(1, 40))
def test_conversions(ledger: Ledger, count: int) -> None:
    before: tuple[int, bytes] | None = None
    seen: list[tuple[int, bytes]] = []
    while True:
        page, before = queries.conversion_page(
            ledger, ConversionFilter(), before=before, count=count
        )
        assert len(page) <= count
        seen += [(row["accept_ms"], row["conversion_id"]) for row in page]
        if before is None:
            break
    assert len(seen) == 32
    assert seen == sorted(set(seen), reverse=True)


@given(
    count=st.integers(1, 12),
    scan=st.integers(1, 36),
    status=st.sampled_from([None, "attributed", "rejected"]),
    partner=st.sampled_from([None, 1, 2, 3]),
    is_test=st.sampled_from([None, True, False]),
    since=st.integers(0, 9),
    length=st.integers(0, 9),
)
def test_conversions_that_are_looked_for(
    ledger: Ledger,
    count: int,
    scan: int,
    status: str | None,
    partner: int | None,
    is_test: bool | None,
    since: int,
    length: int,
) -> None:
    """Method: a plain filter of all rows, at every bound of the scan."""
    since_ms, until_ms = NOW_MS + since, NOW_MS + since + length
    wanted = ConversionFilter(
        partner=partner, status=status, is_test=is_test, since_ms=since_ms, until_ms=until_ms
    )
    rows, end = queries.conversion_page(ledger, ConversionFilter(), before=None, count=99)
    assert end is None
    expected = [
        row["conversion_id"]
        for row in rows
        if status in (None, row["status"])
        and (partner is None or any(credit[0] == partner for credit in row["credits"]))
        and is_test in (None, bool(row["flags"] & Flag.TEST))
        and since_ms <= row["accept_ms"] < until_ms
    ]
    seen: list[bytes] = []
    before: tuple[int, bytes] | None = None
    while True:
        page, before = queries.conversion_page(
            ledger, wanted, before=before, count=count, scan=scan
        )
        assert len(page) <= count
        seen += [row["conversion_id"] for row in page]
        if before is None:
            break
    assert seen == expected


@pytest.mark.parametrize(("scan", "goes_on"), [(32, True), (33, False)])
def test_a_page_ends_where_enough_conversions_were_looked_at(
    ledger: Ledger, scan: int, goes_on: bool
) -> None:
    """Whether there are more than were looked at is not known at the bound itself."""
    wanted = ConversionFilter(partner=9)
    page, end = queries.conversion_page(ledger, wanted, before=None, count=5, scan=scan)
    assert (page, end is not None) == ([], goes_on)


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(count=st.integers(1, 12), added=st.integers(0, 2))
def test_objects_added_while_a_list_is_read_are_seen_at_its_end(
    ledger: Ledger, count: int, added: int
) -> None:
    after, seen = 0, []
    while page := queries.object_page(ledger, brands, after=after, count=count):
        seen += [row["id"] for row in page]
        after = seen[-1]
        if added:
            added -= 1
            create_brand(ledger, Origin(), name="late")
    assert seen == list(range(1, len(seen) + 1))


def test_an_empty_ledger_has_empty_lists(tmp_path: Path) -> None:
    with ledger_in(tmp_path) as empty:
        assert queries.click_page(empty, ClickFilter(), before=None, count=5) == ([], None)
        assert queries.conversion_page(empty, ConversionFilter(), before=None, count=5) == (
            *([], None),
        )
        assert queries.engine_times_ms(empty) == [0, 0]
