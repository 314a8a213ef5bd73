"""Clicks that are paid for: counted by day, reviewed, and one action a partner and day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from book_tools import CLICK_TYPE, DAY_MS, Log, accounts, actions, imbalances, rows, run
from headwater.ledger.engine import Ledger
from headwater.model.book import ActionFlag, ClickDay
from ledger_tools import ledger_in

WHOLE = 1_000_000
CENT: dict[str, Any] = {
    str(CLICK_TYPE): {"groups": [], "default": {"kind": "flat", "amount_micros": WHOLE}}
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


@pytest.fixture
def log() -> Log:
    made = Log(kinds=("sale", "click"))
    made.terms()
    return made


def day(ledger: Ledger) -> ClickDay:
    (row,) = rows(ledger, "click_days")
    return ClickDay(**row)


def counts(found: ClickDay) -> tuple[int, ...]:
    return (
        found.gross,
        found.invalid,
        found.duplicate,
        found.rejected,
        found.over_cap,
        found.payable,
    )


def test_i17_a_program_without_a_click_event_type_counts_no_clicks(ledger: Ledger) -> None:
    log = Log()
    log.terms()
    log.scored_again(log.click(), 1)
    run(ledger, log)
    assert rows(ledger, "click_days") == rows(ledger, "click_standings") == []


def test_i16_clicks_are_counted_by_what_they_are(ledger: Ledger, log: Log) -> None:
    log.click()
    log.click(verdict="review")
    log.click(verdict="reject")
    log.click(verdict="filtered")
    log.click(counted="duplicate")
    log.click(is_unique=0)
    log.click(test=True)
    run(ledger, log)
    assert counts(day(ledger)) == (6, 2, 2, 0, 0, 2)
    assert rows(ledger, "actions") == []


def test_i15_i19_what_nobody_rejected_becomes_one_action_at_lock(ledger: Ledger, log: Log) -> None:
    """Ten clicks of a quarter of a cent are two and a half: rounded once, the rest carried."""
    for _ in range(10):
        log.click()
    log.wait(31 * DAY_MS)
    log.tick()
    log.tick()
    run(ledger, log)
    found = actions(ledger)[1]
    assert (found.kind, found.state, found.payout_micros, found.payout_minor) == (
        "clicks",
        "locked",
        2_500_000,
        2,
    )
    assert accounts(ledger) == {"brand_expense": -2, "partner_payable": 2}
    carried = {row["key"]: row["used"] for row in rows(ledger, "tallies")}
    assert carried == {"carry/1/1/EUR": 500_000}


def test_i18_a_manager_rejects_and_accepts_clicks_as_often_as_wanted(
    ledger: Ledger, log: Log
) -> None:
    first, second, bad = log.click(), log.click(), log.click(verdict="reject")
    log.decision("clicks.reject", first, reason="CONS_FRAUD")
    log.decision("clicks.reject", first, reason="CONS_FRAUD")
    log.decision("clicks.accept", bad)
    run(ledger, log)
    assert counts(day(ledger)) == (3, 0, 0, 1, 0, 2)
    assert day(ledger).payout_micros == 500_000
    log.scored_again(second, 1)
    log.scored_again(bad, 1, "filtered")
    run(ledger, log)
    assert counts(day(ledger)) == (3, 1, 0, 1, 0, 1)


def test_i18_a_filter_decides_on_a_day_in_parts(
    ledger: Ledger, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.limits.REVIEWED_AT_ONCE_MAX", 2)
    for _ in range(3):
        log.click(verdict="review")
    log.click()
    run(ledger, log)
    asked = {
        "program": 1,
        "partner": 1,
        "day": day(ledger).day,
        "filter": json.dumps({"verdict": ["review"]}),
    }
    for _ in range(3):
        log.decision("clicks.reject", **asked)
    log.decision("clicks.reject", brand=2, **asked)
    log.decision("clicks.reject", **{**asked, "filter": "["})
    run(ledger, log)
    found = sorted(rows(ledger, "decisions_log"), key=lambda row: row["at_ms"])
    details = [json.loads(row["detail_json"]) for row in found]
    assert [(each.get("changed"), each.get("more")) for each in details] == [
        (2, True),
        (1, False),
        (0, False),
        (0, False),
        (None, None),
    ]
    assert counts(day(ledger)) == (4, 0, 0, 3, 0, 1)


def test_i18_after_the_lock_nothing_of_a_day_changes(ledger: Ledger, log: Log) -> None:
    click_id = log.click()
    start_ms = log.now_ms
    log.wait(31 * DAY_MS)
    log.tick()
    log.decision("clicks.reject", click_id)
    log.scored_again(click_id, 1)
    log.now_ms = start_ms
    log.click()
    run(ledger, log)
    (decision,) = rows(ledger, "decisions_log")
    assert (decision["outcome"], decision["code"]) == ("refused", "action_locked")
    assert counts(day(ledger)) == (2, 0, 0, 0, 0, 1)
    assert {row["standing"] for row in rows(ledger, "click_standings")} == {"payable", "late"}


def test_i16_caps_of_clicks_are_exact_and_rejected_ones_make_room(ledger: Ledger) -> None:
    log = Log(kinds=("click",))
    cap = {
        "metric": "conversions",
        "period": "day",
        "scope": "partner",
        "event_type": CLICK_TYPE,
        "limit": 2,
    }
    log.terms(events=CENT, caps=[cap])
    first = log.click()
    for _ in range(2):
        log.click()
    log.decision("clicks.reject", first)
    log.click()
    run(ledger, log)
    assert counts(day(ledger)) == (4, 0, 0, 1, 1, 2)


def test_i15_instant_clicks_are_owed_at_once_and_never_taken_back(ledger: Ledger) -> None:
    log = Log(kinds=("click",))
    log.terms(cpc_mode="instant")
    clicks = [log.click() for _ in range(7)]
    log.click(verdict="review")
    log.scored_again(clicks[0], 1)
    log.decision("clicks.reject", clicks[1])
    run(ledger, log)
    found = actions(ledger)[1]
    assert found.flags & ActionFlag.INSTANT
    assert (found.state, found.payout_micros, found.payout_minor) == ("locked", 1_750_000, 2)
    assert accounts(ledger) == {"brand_expense": -2, "partner_payable": 2}
    (decision,) = rows(ledger, "decisions_log")
    assert decision["code"] == "action_locked"
    log.wait(DAY_MS)
    log.decision("action.pay", found.action_id)
    run(ledger, log)
    assert actions(ledger)[1].state == "paid"


def test_a_rejected_click_takes_back_what_it_earned_by_a_sale(ledger: Ledger, log: Log) -> None:
    click_id = log.click()
    log.conversion(1, (1, WHOLE, click_id))
    log.decision("clicks.reject", click_id)
    run(ledger, log)
    assert (actions(ledger)[1].state, actions(ledger)[1].reason) == ("reversed", "CLICK_REJECTED")
    log.decision("clicks.accept", click_id)
    run(ledger, log)
    assert actions(ledger)[1].state == "pending"


def test_a_click_of_a_program_that_pays_none_can_be_rejected_too(ledger: Ledger) -> None:
    log = Log()
    log.terms()
    click_id = log.click()
    log.conversion(1, (1, WHOLE, click_id))
    run(ledger, log)
    log.decision("clicks.reject", click_id)
    log.decision("clicks.reject", click_id, brand=2)
    run(ledger, log)
    assert actions(ledger)[1].state == "reversed"
    assert [row["code"] for row in rows(ledger, "decisions_log")] == [None, "not_found"]


@pytest.mark.parametrize("mode", ["review", "instant"])
def test_i16_what_is_below_a_cent_adds_up_over_days(ledger: Ledger, mode: str) -> None:
    """Of a quarter of a cent each, five clicks a day are 1.25 cents, and four days 5 cents."""
    log = Log(kinds=("sale", "click"))
    log.terms(cpc_mode=mode)
    for _ in range(4):
        for _ in range(5):
            log.click()
        log.wait(DAY_MS)
    log.wait(40 * DAY_MS)
    log.tick()
    run(ledger, log)
    assert accounts(ledger) == {"brand_expense": -5, "partner_payable": 5}
    assert sorted(row["payout_minor"] for row in rows(ledger, "actions")) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    "params",
    [{"filter": "[" * 16_000}, {"filter": "[]"}, {"filter": '{"verdict":5}'},
     {"filter": '{"score_from":Infinity}'}, {"program": "x"}, {"partner": ""}],
    ids=str,
)  # fmt: skip
def test_i18_a_filter_that_cannot_be_read_is_refused(
    ledger: Ledger, log: Log, params: dict[str, Any]
) -> None:
    log.click()
    log.decision("clicks.reject", **{"program": 1, "partner": 1, "day": "2026-09-21", **params})
    run(ledger, log)
    (said,) = rows(ledger, "decisions_log")
    assert (said["outcome"], said["code"]) == ("refused", "invalid")
    assert day(ledger).payable == 1


def test_i18_a_click_rejected_and_accepted_gives_back_what_is_still_credited(
    ledger: Ledger, log: Log
) -> None:
    click_id = log.click(1)
    log.conversion(1, (1, WHOLE, click_id))
    log.decision("clicks.reject", click_id)
    log.conversion(1, (2, WHOLE), revision=2, has_record=False)
    log.decision("clicks.accept", click_id)
    run(ledger, log)
    found = actions(ledger)
    assert (found[1].state, found[2].state) == ("reversed", "pending")
