"""The report of conversions without credit: counts by reason, rows with their nearest miss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from console_tools import RunningConsole, console_in, faults_of
from headwater import clock, ids, limits
from headwater.ledger import matching, reports
from headwater.ledger.reports import Period
from ledger_tools import NOW_MS, acquired, batch, conversion_outcome, explanation

DAY_MS = 86_400_000
SINCE, UNTIL = clock.iso_ms(NOW_MS), clock.iso_ms(NOW_MS + 10)
PERIOD = f"since={SINCE}&until={UNTIL}"
PATH = "/v1/reports/unattributed"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def program(console: RunningConsole) -> str:
    """Ten conversions of one program around the period, five without credit within it."""
    brand, program = console.brand_and_program("mine")
    number = {"brand": int(brand[4:]), "program": int(program[4:])}
    click_id = ids.event_id(NOW_MS)
    miss = {
        "click_id": click_id,
        "partner": 7,
        "touch_ms": NOW_MS,
        "outcome": "outside_window",
        "missed_by_ms": 5,
    }
    explain = explanation(nearest_miss=miss)
    rows = []
    for at, reason in (
        (-1, "hub"),
        (0, "outside_window"),
        (1, None),
        (2, "no_touch"),
        (3, "outside_window"),
        (4, "no_identifier_known"),
        (9, "outside_window"),
        (10, "hub"),
    ):
        rows.append(
            conversion_outcome(
                bytes([at + 1]) * 16,
                reason=reason,
                credits_given=() if reason else ((1, click_id, 1_000_000),),
                accept_ms=NOW_MS + at,
                explain=explain if reason == "outside_window" else explanation(),
                order_id=f"O-{at}",
                **number,
            )
        )
    # A test order is no part of any report.
    rows.append(conversion_outcome(bytes([98]) * 16, reason="no_touch", flags=1, **number))
    # Another program's, at the same time.
    rows.append(conversion_outcome(bytes([99]) * 16, reason="hub", program=999))
    matching.commit(
        console.ledger, [batch(acquired(console.ledger), conversions=rows)], lease_until_ms=0
    )
    return program


def report(console: RunningConsole, query: str) -> Any:
    reply = console.call("GET", f"{PATH}?{query}")
    assert reply.status == 200, reply
    return reply.json


@pytest.mark.parametrize("name", ["mine", "id"])
def test_reasons_are_counted_and_rows_listed_with_their_nearest_miss(
    console: RunningConsole, program: str, name: str
) -> None:
    told = report(console, f"program={program if name == 'id' else name}&{PERIOD}")
    assert (told["since"], told["until"], told["total"]) == (SINCE, UNTIL, 5)
    assert told["counts"] == [
        {"reason": "outside_window", "count": 3},
        {"reason": "no_identifier_known", "count": 1},
        {"reason": "no_touch", "count": 1},
    ]
    assert [item["order_id"] for item in told["items"]] == ["O-9", "O-4", "O-3", "O-2", "O-0"]
    assert told["next_cursor"] is None
    miss = told["items"][0]["nearest_miss"]
    assert (miss["partner_id"], miss["outcome"], miss["missed_by_ms"]) == (
        "prt_7",
        "outside_window",
        5,
    )
    assert told["items"][1]["nearest_miss"] is None
    assert (told["items"][1]["reason"], told["items"][1]["program"]) == (
        "no_identifier_known",
        "mine",
    )


def test_without_a_program_all_are_counted(console: RunningConsole, program: str) -> None:
    told = report(console, PERIOD)
    assert told["total"] == 6
    assert {each["reason"]: each["count"] for each in told["counts"]}["hub"] == 1


def test_pages_follow_each_other(console: RunningConsole, program: str) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        page = report(console, f"program={program}&{PERIOD}&limit=2{cursor}")
        seen += [item["order_id"] for item in page["items"]]
        assert page["total"] == 5
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["O-9", "O-4", "O-3", "O-2", "O-0"]


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("program=nothing", {"program": "unknown_program"}),
        ("program=prg_99999", {"program": "unknown_program"}),
        ("program=ext:x", {"program": "unknown_program"}),
        ("since=yesterday", {"since": "invalid"}),
        ("until=2026-01-01", {"until": "invalid"}),
        (f"since={UNTIL}&until={SINCE}", {"since": "invalid"}),
        (f"since={SINCE}&until={SINCE}", {"since": "invalid"}),
        ("limit=501", {"limit": "invalid"}),
        ("cursor=x", {"cursor": "invalid_cursor"}),
    ],
)
def test_reports_that_are_not_made(
    console: RunningConsole, query: str, faults: dict[str, str]
) -> None:
    assert faults_of(console.call("GET", f"{PATH}?{query}")) == faults


def test_a_report_spans_a_quarter_at_most(console: RunningConsole) -> None:
    until_ms = NOW_MS + limits.REPORT_DAYS_MAX * DAY_MS
    assert report(console, f"since={SINCE}&until={clock.iso_ms(until_ms)}")
    beyond = console.call("GET", f"{PATH}?since={SINCE}&until={clock.iso_ms(until_ms + 1)}")
    assert faults_of(beyond) == {"since": "invalid"}


def test_a_report_without_a_period_is_of_the_last_month(console: RunningConsole) -> None:
    told = report(console, "")
    since_ms, until_ms = (clock.parse_iso_ms(told[name]) for name in ("since", "until"))
    assert until_ms - since_ms == 30 * DAY_MS
    assert abs(until_ms - clock.now_ms()) < 60_000


def test_counts_of_a_program_are_read_from_their_index(
    console: RunningConsole, program: str
) -> None:
    """Goal: a quarter of a large program is counted without reading its explanations."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    engine = console.ledger._reader
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        reports.unattributed_counts(console.ledger, Period(0, NOW_MS, 1))
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    (counted,) = [each for each in statements if "GROUP BY" in each]
    with console.ledger.read() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {counted}", (1, 0, 0, NOW_MS, 1)
        ).all()
    assert any("COVERING INDEX ix_conversions_unattributed" in row[3] for row in plan), plan
