"""When actions lock: by ticks of the log and by `settle`, once, in the program's calendar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from book_tools import PROGRAM, Log, actions, imbalances, rows, run
from headwater.ledger.engine import Ledger
from ledger_tools import ledger_in

WHOLE = 1_000_000
MONTH_END = {"kind": "month_end", "months": 0, "days": 27}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened
        assert imbalances(opened) == []


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def states(ledger: Ledger) -> dict[int, str]:
    return {partner: action.state for partner, action in actions(ledger).items()}


@pytest.mark.parametrize(
    ("tracked", "zone", "locks"),
    [
        ("2026-01-31T23:30:00", "UTC", "2026-02-28T00:00:00"),
        ("2026-01-31T23:30:00", "Europe/Berlin", "2026-03-27T23:00:00"),
        ("2026-02-01T04:30:00", "America/New_York", "2026-02-28T05:00:00"),
        ("2028-01-15T00:00:00", "UTC", "2028-02-28T00:00:00"),
        ("2028-02-29T12:00:00", "UTC", "2028-03-28T00:00:00"),
        ("2026-02-10T12:00:00", "Europe/Berlin", "2026-03-27T23:00:00"),
        ("2026-03-10T12:00:00", "Europe/Berlin", "2026-04-27T22:00:00"),
    ],
)
def test_i20_a_tick_locks_at_the_moment_and_not_before(
    ledger: Ledger, tracked: str, zone: str, locks: str
) -> None:
    log = Log()
    log.control("program", PROGRAM, {"timezone": zone, "currency": "EUR"})
    log.terms(locking=MONTH_END)
    log.conversion(1, (7, WHOLE), accept_ms=ms(tracked))
    for moment_ms, state in ((ms(locks) - 1, "pending"), (ms(locks), "locked")):
        log.now_ms = moment_ms - 1000
        log.tick()
        run(ledger, log)
        assert states(ledger) == {7: state}


def test_i20_a_change_of_zone_moves_nothing_that_is_there(ledger: Ledger) -> None:
    log = Log()
    log.terms(locking=MONTH_END)
    log.conversion(1, (1, WHOLE), accept_ms=ms("2026-01-31T23:30:00"))
    log.control("program", PROGRAM, {"timezone": "Europe/Berlin", "currency": "EUR"})
    log.conversion(2, (2, WHOLE), accept_ms=ms("2026-01-31T23:30:00"))
    log.now_ms = ms("2026-02-28T00:00:00")
    log.tick()
    run(ledger, log)
    assert states(ledger) == {1: "locked", 2: "pending"}
    log.control("program", PROGRAM, {"timezone": "Asia/Tokyo", "currency": "EUR"})
    log.now_ms = ms("2026-03-27T22:59:00")
    log.tick()
    run(ledger, log)
    assert states(ledger)[2] == "pending"
    log.now_ms = ms("2026-03-27T23:00:00")
    log.tick()
    run(ledger, log)
    assert states(ledger)[2] == "locked"
    locks = [row["at_ms"] for row in rows(ledger, "action_moves") if row["verb"] == "lock"]
    assert len(locks) == 2


@pytest.mark.parametrize("restarts", [False, True])
def test_settle_and_ticks_lock_once_between_them(ledger: Ledger, restarts: bool) -> None:
    log = Log(kinds=("sale", "click"))
    log.terms(locking=MONTH_END)
    log.conversion(1, (7, WHOLE))
    for _ in range(8):
        log.click(7)
    until_ms = log.now_ms + 10**11
    for _ in range(3):
        log.decision("program.settle", until_ms=until_ms)
    log.now_ms = until_ms
    for _ in range(3):
        log.tick()
    run(ledger, log, range(40) if restarts else (), restarts=restarts)
    moves = rows(ledger, "action_moves")
    assert [move["verb"] for move in moves].count("lock") == 2
    assert {row["state"] for row in rows(ledger, "actions")} == {"locked"}


def test_a_reversal_and_the_lock_in_one_batch_keep_the_order_of_the_log(ledger: Ledger) -> None:
    log = Log()
    log.terms()
    log.conversion(1, (1, WHOLE))
    log.conversion(2, (2, WHOLE))
    run(ledger, log)
    found = actions(ledger)
    log.decision("action.reverse", found[1].action_id, reason="ITEM_RETURNED")
    log.decision("program.settle", until_ms=log.now_ms + 10**11)
    log.decision("action.reverse", found[2].action_id, reason="ITEM_RETURNED")
    run(ledger, log)
    assert states(ledger) == {1: "reversed", 2: "locked"}
