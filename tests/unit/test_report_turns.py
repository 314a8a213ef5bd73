"""Reports are made so many at once of a key, so many of all, and keep nothing else waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import pytest

from console_tools import RunningConsole, console_in
from headwater import limits
from headwater.config import Config
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.report_turns import ReportTurns
from headwater.errors import RequestRefused
from headwater.ledger import audit

MANY = limits.REPORTS_PER_KEY_MAX
ALL = limits.REPORTS_MAX


def request(key: int) -> Request:
    return Request({}, None, None, [], {"id": key})


@contextmanager
def turns() -> Iterator[ReportTurns]:
    made = ReportTurns(Console(Config(), Mock(), Mock()))
    try:
        yield made
    finally:
        made.close()


class Waiting:
    """Reports that are made when they are let go."""

    def __init__(self, turns: ReportTurns) -> None:
        self.gate = asyncio.Event()
        self._turns, self._tasks = turns, list[asyncio.Task[Answer]]()

    async def begin(self, key: int) -> None:
        async def handler(console: Console, request: Request) -> Answer:
            await self.gate.wait()
            return Answer("made")

        answer = self._turns.answer(handler, request(key), is_read=True)
        self._tasks.append(asyncio.ensure_future(answer))
        await asyncio.sleep(0)

    async def refused(self, key: int) -> str:
        await self.begin(key)
        with pytest.raises(RequestRefused) as refused:
            await self._tasks.pop()
        assert refused.value.headers == {"Retry-After": "1"}
        return refused.value.code

    async def let_go(self) -> list[Any]:
        self.gate.set()
        return [(await task).body for task in self._tasks]


def test_a_key_has_so_many_reports_at_once_and_no_more() -> None:
    async def ask(turns: ReportTurns) -> None:
        waiting = Waiting(turns)
        for _ in range(MANY):
            await waiting.begin(1)
        assert await waiting.refused(1) == "rate_limited"
        await waiting.begin(2)
        assert await waiting.let_go() == ["made"] * (MANY + 1)
        await waiting.begin(1)
        assert len(await waiting.let_go()) == MANY + 2

    with turns() as made:
        asyncio.run(ask(made))


def test_all_keys_have_so_many_reports_at_once_and_no_more() -> None:
    async def ask(turns: ReportTurns) -> None:
        waiting = Waiting(turns)
        for number in range(ALL):
            await waiting.begin(number // MANY)
        assert await waiting.refused(ALL) == "rate_limited"
        assert await waiting.let_go() == ["made"] * ALL
        await waiting.begin(ALL)
        assert len(await waiting.let_go()) == ALL + 1

    with turns() as made:
        asyncio.run(ask(made))


async def rows(console: Console, request: Request) -> Answer:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return Answer(chunks())


async def fails(console: Console, request: Request) -> Answer:
    raise RequestRefused("not_found")


def test_an_export_has_its_key_s_turn_until_it_is_written_and_nobody_else_s() -> None:
    async def ask(turns: ReportTurns) -> None:
        held = [
            await turns.answer(rows, request(number // MANY), is_read=True)
            for number in range(2 * ALL)
        ]
        with pytest.raises(RequestRefused, match="rate_limited"):
            await turns.answer(rows, request(0), is_read=True)
        assert [chunk async for chunk in held[0].body] == [b"one", b"two"]
        await turns.answer(fails, request(9999), is_read=True)

    with turns() as made, pytest.raises(RequestRefused, match="not_found"):
        asyncio.run(ask(made))


@pytest.mark.parametrize("how", ["written", "dropped", "never read", "failed"])
def test_a_turn_is_over_however_its_report_ends(how: str) -> None:
    async def ask(turns: ReportTurns) -> None:
        for _ in range(3 * MANY):
            if how == "failed":
                with pytest.raises(RequestRefused, match="not_found"):
                    await turns.answer(fails, request(1), is_read=True)
                continue
            answer = await turns.answer(rows, request(1), is_read=how != "never read")
            if how == "written":
                assert len([chunk async for chunk in answer.body]) == 2
            elif how == "dropped":
                await anext(answer.body)

    with turns() as made:
        asyncio.run(ask(made))


def test_reports_wait_for_one_another_in_threads_of_their_own_and_act_as_their_key() -> None:
    threads = limits.REPORT_THREADS

    async def ask(turns: ReportTurns, gate: Any) -> list[Answer]:
        async def handler(console: Console, request: Request) -> Answer:
            return Answer(await console.run(lambda: gate() or audit._actor.get()))

        async def one(key: int) -> Answer:
            with audit.acting_as(f"key_{key}"):
                return await turns.answer(handler, request(key), is_read=True)

        return await asyncio.gather(*(one(key) for key in range(2 * threads)))

    at_once: list[int] = []
    running: list[int] = []

    def gate() -> None:
        running.append(1)
        at_once.append(len(running))
        # Long enough for the others to begin, were they let.
        threading.Event().wait(0.02)
        running.pop()

    with turns() as made:
        answers = asyncio.run(ask(made, gate))
    assert max(at_once) <= threads
    assert [answer.body for answer in answers] == [f"key_{key}" for key in range(2 * threads)]


# ---- Over HTTP -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console"), with_redis=False) as running:
        yield running


PATHS = ("/v1/reports/performance", "/v1/reports/balance", "/v1/exports/clicks")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bound", ["REPORTS_PER_KEY_MAX", "REPORTS_MAX"])
def test_a_report_too_many_is_429_and_all_else_is_answered(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch, path: str, bound: str
) -> None:
    assert console.call("GET", path).status == 200
    monkeypatch.setattr(limits, bound, 0)
    reply = console.call("GET", path)
    assert (reply.status, reply.json["code"]) == (429, "rate_limited")
    assert reply.headers["Retry-After"] == "1"
    assert console.call("GET", "/v1/partners").status == 200


def test_exports_that_are_not_read_whole_leave_their_turns(console: RunningConsole) -> None:
    for _ in range(2 * MANY):
        assert console.call("HEAD", "/v1/exports/clicks").status == 200
        assert console.call("GET", "/v1/exports/clicks").status == 200
