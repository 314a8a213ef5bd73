"""The courier killed between the request and its record: sent again, under the same id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier_tools import Receiver, add_firing, attempts, firing
from headwater import clock, ids
from headwater.ledger.engine import Ledger
from ledger_tools import ledger_in
from system_tools import wait_for


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


@contextlib.contextmanager
def courier(data: Path, fault: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The role, as a process of its own."""
    environment = {
        **os.environ,
        "HEADWATER_DATA": str(data),
        "HEADWATER_EGRESS_ALLOW": "127.0.0.0/8",
        "HEADWATER_EGRESS_HTTP": "true",
        "HEADWATER_FAULT": fault,
    }
    process = subprocess.Popen([sys.executable, "-m", "headwater", "courier"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_killed_between_send_and_record_it_is_delivered_again_with_the_same_id(
    tmp_path: Path, ledger: Ledger, receiver: Receiver
) -> None:
    event = add_firing(ledger, receiver.url, at_ms=clock.now_ms())
    with courier(tmp_path, "courier.sent:1") as first:
        assert first.wait(60) == -signal.SIGKILL
    assert len(receiver.seen) == 1
    assert attempts(ledger) == []
    with courier(tmp_path):
        wait_for(lambda: firing(ledger, event)["state"] == "delivered", 60, "it was sent again")
    assert receiver.seen == [ids.event_text("evt", event)] * 2
    assert [row["attempt"] for row in attempts(ledger)] == [1]


def test_killed_at_work_again_and_again_it_loses_nothing(
    tmp_path: Path, ledger: Ledger, receiver: Receiver
) -> None:
    events = [
        add_firing(
            ledger, receiver.url, pixel=number % 7 + 1, partner=number % 3 + 1, at_ms=clock.now_ms()
        )
        for number in range(100)
    ]
    for lives in (5, 30):
        with courier(tmp_path, f"courier.sent:{lives}") as process:
            assert process.wait(60) == -signal.SIGKILL
    with courier(tmp_path) as process:
        wait_for(
            lambda: all(firing(ledger, event)["state"] == "delivered" for event in events),
            90,
            "all were delivered",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert {row["code"] for row in attempts(ledger)} == {"delivered"}
    assert set(receiver.seen) == {ids.event_text("evt", event) for event in events}
    assert len(attempts(ledger)) == len(events)
