"""Waits with a deadline, and what an edge remembers for itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import uvloop

from edge_tools import KEY, serving
from headwater import clock, limits
from headwater.edge.accept import DeadlinePassed, DeadlineQueue
from headwater.edge.health import FILE, STALE_MS, LedgerWatch
from headwater.edge.memory import Memory


def run(job: Any) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)


def test_a_wait_ends_with_its_result_or_at_its_deadline() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue = DeadlineQueue(0.05)
        futures = [loop.create_future() for _ in range(4)]
        began = loop.time()
        for future in futures:
            queue.limit(future)
        loop.call_later(0.01, futures[1].set_result, 7)
        loop.call_later(0.01, futures[2].set_exception, OSError("disk"))
        loop.call_later(0.01, futures[3].cancel)
        answers = await asyncio.gather(*futures, return_exceptions=True)
        assert 0.04 < loop.time() - began < 20
        assert [type(answer) for answer in answers] == [
            DeadlinePassed,
            int,
            OSError,
            asyncio.CancelledError,
        ]
        late = loop.create_future()
        queue.limit(late)
        with pytest.raises(DeadlinePassed):
            await late

    run(main())


def test_many_waits_share_one_timer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue = DeadlineQueue(0.02)
        for _ in range(1000):
            future = loop.create_future()
            queue.limit(future)
            future.set_result(True)
        assert queue._timer is not None
        await asyncio.sleep(0.1)
        assert not queue._waiting
        assert queue._timer is None

    run(main())


def test_what_is_remembered_without_redis_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMEMBERED_MAX", 3)

    async def main() -> None:
        memory = Memory("")
        assert await memory.first("a", b"1") is None
        assert await memory.first("a", b"2") == b"1"
        for name in ("b", "c"):
            assert await memory.first(name, b"1") is None
        assert await memory.first("a", b"2") == b"1"
        assert await memory.first("d", b"1") is None
        assert await memory.first("b", b"2") is None
        await memory.undecided([(f"cnv_{number}", 1) for number in range(4)])
        assert memory.remembered("cnv_0") is None
        assert memory.remembered("cnv_3") is not None
        await memory.close()

    run(main())


def test_a_server_that_is_away_costs_nothing_but_memory(tmp_path: Path) -> None:
    async def main() -> None:
        memory = Memory(f"unix://{tmp_path / 'no.sock'}")
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(50):
            assert await memory.first(str(number), b"1") is None
            assert await memory.first(str(number), b"2") == b"1"
            await memory.undecided([(str(number), 1)])
        assert loop.time() - began < 20
        await memory.close()

    run(main())


def test_past_the_bound_of_waiters_an_answer_comes_at_once(tmp_path: Path) -> None:
    body = {"program": "check", "event": "lead", "customer_id": "c"}
    with serving(tmp_path) as edge:
        edge.edge.waiting_decisions = limits.DECISION_WAITERS_MAX - 1
        assert edge.call("POST", "/v1/conversions", body, key=KEY).status == 201
        assert edge.edge.waiting_decisions == limits.DECISION_WAITERS_MAX - 1
        edge.edge.waiting_decisions = limits.DECISION_WAITERS_MAX
        assert edge.call("POST", "/v1/conversions", body, key=KEY).status == 202


@pytest.mark.parametrize(
    ("content", "ok", "known_down"),
    [
        (None, False, False),
        ({"ledger_ok": True, "age": 0}, True, False),
        ({"ledger_ok": True, "age": STALE_MS + 100}, False, True),
        ({"ledger_ok": False, "age": 0}, False, True),
        ({"age": 0}, False, True),
        ([], False, True),
        ("torn", False, True),
    ],
)
def test_the_ledgers_state_is_read_from_the_matchers_file(
    tmp_path: Path, content: Any, ok: bool, known_down: bool
) -> None:
    if content is not None:
        if isinstance(content, dict):
            content = {**content, "at_ms": clock.now_ms() - content["age"]}
        text = '{"ledger_ok": tr' if content == "torn" else json.dumps(content)
        (tmp_path / FILE).write_text(text)
    watch = LedgerWatch(tmp_path)
    assert (watch.ok, watch.known_down) == (ok, known_down)
