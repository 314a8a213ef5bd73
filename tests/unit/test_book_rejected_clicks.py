"""What clicks that a manager rejected bring by conversions, whichever came first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from book_tools import Log, accounts, actions, imbalances, rows, run
from headwater.ledger.engine import Ledger
from ledger_tools import ledger_in

WHOLE = 1_000_000
HALF = 500_000


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


def test_i18_a_click_of_a_canceled_order_that_is_accepted_again_pays_nothing(
    ledger: Ledger, log: Log
) -> None:
    click_id = log.click(7)
    order = log.conversion(1, (7, WHOLE, click_id))
    log.decision("clicks.reject", click_id, reason="CONS_FRAUD")
    log.decision("order.reverse", order, reason="ITEM_RETURNED")
    log.decision("clicks.accept", click_id)
    run(ledger, log)
    assert (actions(ledger)[7].state, actions(ledger)[7].reason) == ("reversed", "ORDER_REVERSED")
    assert accounts(ledger) == {}
    log.decision("order.modify", order, amount_minor=5_000, reason="ORDER_UPDATE")
    run(ledger, log)
    assert (actions(ledger)[7].state, actions(ledger)[7].payout_minor) == ("pending", 500)


def test_i18_an_order_that_grows_again_does_not_pay_a_rejected_click(
    ledger: Ledger, log: Log
) -> None:
    click_id = log.click(7)
    order = log.conversion(1, (7, WHOLE, click_id))
    log.decision("order.modify", order, amount_minor=0)
    log.decision("clicks.reject", click_id)
    log.decision("order.modify", order, amount_minor=5_000)
    run(ledger, log)
    assert (actions(ledger)[7].state, actions(ledger)[7].reason) == ("reversed", "CLICK_REJECTED")
    log.decision("action.reset", actions(ledger)[7].action_id)
    run(ledger, log)
    assert rows(ledger, "decisions_log")[-1]["code"] == "not_credited"
    log.decision("clicks.accept", click_id)
    run(ledger, log)
    assert (actions(ledger)[7].state, actions(ledger)[7].payout_minor) == ("pending", 500)


@pytest.mark.parametrize("order", list(itertools.permutations(("reject", "sale", "again"))))
def test_i18_a_rejected_click_earns_nothing_whatever_came_first(
    ledger: Ledger, log: Log, order: tuple[str, ...]
) -> None:
    click_id = log.click(7)
    revision = 0
    for step in order:
        if step == "reject":
            log.decision("clicks.reject", click_id, reason="CONS_FRAUD")
        else:
            revision += 1
            log.conversion(1, (7, WHOLE, click_id), revision=revision)
    run(ledger, log)
    found = actions(ledger)[7]
    assert (found.state, found.reason, found.payout_minor) == ("reversed", "CLICK_REJECTED", 1000)
    assert accounts(ledger) == {}
    log.decision("clicks.accept", click_id)
    run(ledger, log)
    assert accounts(ledger) == {"brand_expense": -1000, "partner_pending": 1000}


def test_i18_a_conversion_credited_to_another_click_now_is_paid(ledger: Ledger, log: Log) -> None:
    bad, good = log.click(7), log.click(7)
    log.conversion(1, (7, WHOLE, bad))
    log.decision("clicks.reject", bad)
    log.conversion(1, (7, WHOLE, good), revision=2, has_record=False)
    run(ledger, log)
    assert (actions(ledger)[7].state, actions(ledger)[7].payout_minor) == ("pending", 1000)


@pytest.mark.parametrize("is_early", [True, False])
def test_i18_of_two_credited_clicks_the_rejected_one_takes_its_share(
    ledger: Ledger, log: Log, is_early: bool
) -> None:
    first, second = log.click(7), log.click(7)
    if is_early:
        log.decision("clicks.reject", first, reason="CONS_FRAUD")
    log.conversion(1, (7, 300_000, first), (7, 200_000, second), (8, HALF))
    if not is_early:
        log.decision("clicks.reject", first, reason="CONS_FRAUD")
    run(ledger, log)
    found = actions(ledger)
    assert (found[7].state, found[7].payout_minor, found[7].share_ppm) == ("pending", 200, 200_000)
    assert (found[8].state, found[8].payout_minor) == ("pending", 500)
    log.decision("clicks.reject", second, reason="CONS_FRAUD")
    run(ledger, log)
    assert actions(ledger)[7].state == "reversed"
    for click_id in (first, second):
        log.decision("clicks.accept", click_id)
    run(ledger, log)
    assert [actions(ledger)[partner].payout_minor for partner in (7, 8)] == [500, 500]
