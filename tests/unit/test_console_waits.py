"""What the console waits for, and what it says when that does not come."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from console_tools import console_in, told_to_edges, until
from headwater import clock, ids
from headwater.errors import LedgerError
from headwater.ledger import matching, queries
from headwater.ledger.engine import Ledger
from ledger_tools import acquired, batch, click_outcome


def test_a_change_that_cannot_be_published_is_503_and_applies_later(tmp_path: Path) -> None:
    with console_in(tmp_path, with_redis=False, publish_wait_ms=200) as console:
        reply = console.call("POST", "/v1/brands", {"name": "a", "external_id": "x"})
        assert (reply.status, reply.json["code"], reply.json["id"]) == (
            503,
            "not_published",
            "brd_1",
        )
        assert reply.headers["Retry-After"]
    with console_in(tmp_path) as console:
        again = console.call("POST", "/v1/brands", {"name": "a", "external_id": "x"})
        assert (again.status, again.json["id"]) == (200, "brd_1")
        assert console.store is not None
        assert "brand:1" in told_to_edges(console.store)


def _committed_at(ledger: Ledger, at_ms: int, number: int) -> None:
    owner = acquired(ledger, number)
    moved = batch(owner)
    matching.commit(
        ledger,
        [
            matching.PartitionBatch(
                moved.partition,
                moved.epoch,
                moved.generation,
                moved.from_position,
                moved.to_position,
                moved.chain_digest,
                at_ms,
                {},
            )
        ],
        lease_until_ms=0,
    )


def test_a_read_of_a_click_the_matcher_has_not_come_to_waits_for_it(tmp_path: Path) -> None:
    with console_in(tmp_path, with_redis=False, read_wait_ms=60_000) as console:
        click = click_outcome(clock.now_ms())
        path = f"/v1/clicks/{ids.event_text('clk', click[0])}"
        statuses: list[int] = []
        reader = threading.Thread(target=lambda: statuses.append(console.call("GET", path).status))
        reader.start()
        time.sleep(0.2)
        assert statuses == []
        matching.commit(
            console.ledger, [batch(acquired(console.ledger), clicks=[click])], lease_until_ms=0
        )
        reader.join(60)
        assert statuses == [200]


def test_a_read_of_a_click_the_matcher_has_passed_is_answered_at_once(tmp_path: Path) -> None:
    with console_in(tmp_path, with_redis=False, read_wait_ms=60_000) as console:
        now_ms = clock.now_ms()
        for number in (0, 1):
            _committed_at(console.ledger, now_ms, number)
        click_id = ids.event_text("clk", ids.event_id(now_ms - 10_000))
        began = time.monotonic()
        assert console.call("GET", f"/v1/clicks/{click_id}").status == 404
        assert time.monotonic() - began < 50


def test_a_ledger_that_fails_is_503_and_the_error_stays_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> None:
        raise LedgerError("disk I/O error at /secret/place")

    with console_in(tmp_path, with_redis=False) as console:
        monkeypatch.setattr(queries, "engine_times_ms", fails)
        reply = console.call("GET", "/healthz", key=None)
        assert (reply.status, reply.json["code"]) == (503, "ledger_unavailable")
        assert b"secret" not in reply.body
        monkeypatch.setattr(queries, "engine_times_ms", lambda _ledger: 1 / 0)
        reply = console.call("GET", "/healthz", key=None)
        assert (reply.status, reply.json["code"]) == (500, "internal_error")


def test_a_console_on_another_number_of_partitions_does_not_start(tmp_path: Path) -> None:
    with console_in(tmp_path, with_redis=False) as console:
        until(lambda: matching.partition_rows(console.ledger))
        with pytest.raises(LedgerError):
            matching.ensure_partitions(console.ledger, 3)
