"""Which clicks are paid for: of partners in the program, in days, with room in caps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from book_tools import CLICK_TYPE, DAY_MS, PROGRAM, Log, accounts, actions, imbalances, rows, run
from headwater.ledger.engine import Ledger
from ledger_tools import ledger_in

WHOLE = 1_000_000
FIVE_CENTS: dict[str, Any] = {
    str(CLICK_TYPE): {"default": {"kind": "flat", "amount_micros": 5 * WHOLE}}
}
ONE_A_DAY = {"metric": "conversions", "period": "day", "scope": "program", "limit": 1}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


def made_log(**terms: Any) -> Log:
    log = Log(kinds=("sale", "click"))
    log.terms(events=FIVE_CENTS, **terms)
    return log


def decided(ledger: Ledger) -> list[tuple[str, str | None]]:
    found = sorted(rows(ledger, "decisions_log"), key=lambda row: row["at_ms"])
    return [(row["outcome"], row["code"]) for row in found]


@pytest.mark.parametrize("mode", ["review", "instant"])
def test_k4_clicks_of_a_partner_that_was_removed_are_not_paid(ledger: Ledger, mode: str) -> None:
    log = made_log(cpc_mode=mode)
    log.enrol(7)
    log.click(7)
    log.enrol(7, status="removed")
    log.click(7)
    log.wait(40 * DAY_MS)
    log.tick()
    run(ledger, log)
    assert accounts(ledger) == {"brand_expense": -5, "partner_payable": 5}
    (day,) = rows(ledger, "click_days")
    assert (day["gross"], day["payable"]) == (1, 1)


def test_k4_a_day_that_locks_after_its_partner_left_is_told_to_nobody(ledger: Ledger) -> None:
    log = made_log()
    log.enrol(7)
    log.pixel(1, commission="cpc")
    log.click(7)
    log.enrol(7, status="removed")
    log.wait(40 * DAY_MS)
    log.tick()
    run(ledger, log)
    assert actions(ledger)[7].state == "locked"
    assert rows(ledger, "firings") == []
    assert [row["code"] for row in rows(ledger, "pixel_decisions")] == ["partner_inactive"]


def test_i15_a_day_of_instant_clicks_is_paid_when_it_is_over(ledger: Ledger) -> None:
    log = made_log(cpc_mode="instant")
    log.click()
    run(ledger, log)
    start_ms, action_id = log.now_ms, actions(ledger)[1].action_id
    log.decision("action.pay", action_id)
    log.click()
    log.wait(DAY_MS)
    log.decision("action.pay", action_id)
    run(ledger, log)
    assert decided(ledger) == [("refused", "illegal_move"), ("applied", None)]
    assert accounts(ledger) == {"brand_expense": -10, "partner_paid": 10}
    log.now_ms = start_ms
    log.click()
    run(ledger, log)
    assert accounts(ledger) == {"brand_expense": -10, "partner_paid": 10}
    (day,) = rows(ledger, "click_days")
    assert (day["gross"], day["payable"]) == (3, 2)


def test_i18_a_filter_that_accepts_tries_clicks_over_the_cap_again(ledger: Ledger) -> None:
    log = made_log(caps=[ONE_A_DAY])
    first, second, third = log.click(), log.click(), log.click()
    chosen = {"program": PROGRAM, "partner": 1, "day": "2026-09-21"}
    over = {**chosen, "filter": '{"standing":["over_cap"]}'}
    log.decision("clicks.accept", **over)
    log.decision("clicks.reject", first)
    for _ in range(2):
        log.decision("clicks.accept", **over)
    run(ledger, log)
    found = sorted(rows(ledger, "decisions_log"), key=lambda row: row["at_ms"])
    told = [json.loads(row["detail_json"]) for row in found]
    of_filter = [told[place] for place in (0, 2, 3)]
    assert of_filter == [
        {"changed": 0, "more": False, "unchanged": 2},
        {"changed": 1, "more": False, "unchanged": 1},
        {"changed": 0, "more": False, "unchanged": 1},
    ]
    managers = {row["click_id"]: row["manager"] for row in rows(ledger, "click_standings")}
    assert managers == {first: "rejected", second: "accepted", third: ""}
    (day,) = rows(ledger, "click_days")
    assert (day["rejected"], day["over_cap"], day["payable"]) == (1, 1, 1)


@pytest.mark.parametrize("is_gone", [True, False])
def test_i19_days_lock_though_the_program_pays_no_clicks_any_more(
    ledger: Ledger, is_gone: bool
) -> None:
    log = made_log(caps=[{**ONE_A_DAY, "limit": 9}])
    kept, bad = log.click(), log.click()
    log.conversion(1)
    value = {"program": PROGRAM, "code": "click", "kind": "click", "status": "paused"}
    log.control("event_type", CLICK_TYPE, None if is_gone else value)
    log.scored_again(bad, 1)
    log.scored_again(kept, 1)
    log.scored_again(kept, 2, verdict="accept")
    log.wait(31 * DAY_MS)
    log.tick()
    run(ledger, log)
    assert accounts(ledger) == {"brand_expense": -5, "partner_payable": 5}
    (used,) = (row["used"] for row in rows(ledger, "tallies") if row["key"].startswith("cap/"))
    assert used == 1


def test_i19_to_settle_ahead_leaves_the_running_day_open(ledger: Ledger) -> None:
    log = made_log()
    log.click()
    log.decision("program.settle", until_ms=2**50)
    log.click()
    run(ledger, log)
    (day,) = rows(ledger, "click_days")
    assert (day["state"], day["gross"], day["payable"]) == ("pending", 2, 2)
    log.wait(DAY_MS)
    log.decision("program.settle", until_ms=2**50)
    run(ledger, log)
    assert accounts(ledger) == {"brand_expense": -10, "partner_payable": 10}


def test_i18_a_click_over_the_cap_is_accepted_when_there_is_room(ledger: Ledger) -> None:
    log = made_log(caps=[ONE_A_DAY])
    first, second = log.click(), log.click()
    log.decision("clicks.accept", second)
    run(ledger, log)
    assert decided(ledger) == [("refused", "over_cap")]
    assert [row["manager"] for row in rows(ledger, "click_standings")] == ["", ""]
    log.decision("clicks.reject", first)
    log.decision("clicks.accept", second)
    run(ledger, log)
    assert decided(ledger)[1:] == [("applied", None), ("applied", None)]
    (day,) = rows(ledger, "click_days")
    assert (day["gross"], day["rejected"], day["over_cap"], day["payable"]) == (2, 1, 0, 1)
