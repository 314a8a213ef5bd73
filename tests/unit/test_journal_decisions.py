"""An edge hears of its decisions, and finds older ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgpack
import pytest

import journal_tools as tools
from headwater import limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.decisions import DecisionHub

short_folder = tools.short_folder
valkey = tools.valkey
PRODUCER = 3


@contextlib.asynccontextmanager
async def hearing(url: str) -> AsyncIterator[DecisionHub]:
    hub = DecisionHub(url, PRODUCER)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.close()


def tell(valkey: tools.Server, event_id: bytes, decision: str) -> None:
    with valkey.client() as client:
        message = {"event_id": event_id, "outcome": "created", "decision": decision}
        client.publish(keys.decided(PRODUCER), msgpack.packb(message))


def test_a_decision_reaches_who_expects_it(valkey: tools.Server) -> None:
    async def job() -> None:
        async with hearing(valkey.url) as hub:
            await tools.until(lambda: hub.connected)
            future = hub.expect(b"one")
            tell(valkey, b"other", "x")
            tell(valkey, b"one", "y")
            message = await hub.wait(b"one", 2)
            assert message is not None
            assert message["decision"] == "y"
            assert future.done()
            assert hub.waiting == 0

    tools.run(job())


def test_a_decision_told_before_the_wait_is_not_missed(valkey: tools.Server) -> None:
    async def job() -> None:
        async with hearing(valkey.url) as hub:
            await tools.until(lambda: hub.connected)
            future = hub.expect(b"one")
            tell(valkey, b"one", "y")
            await tools.until(future.done)
            message = await hub.wait(b"one", 0.05)
            assert message is not None
            assert message["decision"] == "y"
            assert hub.waiting == 0

    tools.run(job())


def test_a_wait_ends_by_its_time_and_leaves_nothing(valkey: tools.Server) -> None:
    async def job() -> None:
        async with hearing(valkey.url) as hub:
            assert await hub.wait(b"one", 0.05) is None
            assert hub.waiting == 0

    tools.run(job())


def test_waiters_are_bounded(valkey: tools.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DECISION_WAITERS_MAX", 2)

    async def job() -> None:
        async with hearing(valkey.url) as hub:
            hub.expect(b"1")
            hub.expect(b"2")
            assert hub.expect(b"3").cancelled()
            assert await hub.wait(b"3", 1) is None
            hub.forget(b"1")
            assert not hub.expect(b"3").cancelled()

    tools.run(job())


def test_it_hears_again_after_redis_went_away(valkey: tools.Server) -> None:
    async def job() -> None:
        async with hearing(valkey.url) as hub:
            await tools.until(lambda: hub.connected)
            await tools.in_thread(valkey.kill)
            await tools.until(lambda: not hub.connected)
            assert await hub.get("cnv_1") is None
            with pytest.raises(JournalError):
                await hub.lookup("cnv_1", 0.1)
            await tools.in_thread(valkey.start)
            await tools.until(lambda: hub.connected)
            hub.expect(b"one")
            tell(valkey, b"one", "y")
            assert await hub.wait(b"one", 2) is not None

    tools.run(job())


def test_a_message_that_cannot_be_read_is_passed_over(valkey: tools.Server) -> None:
    async def job() -> None:
        async with hearing(valkey.url) as hub:
            await tools.until(lambda: hub.connected)
            hub.expect(b"one")
            with valkey.client() as client:
                for junk in (b"\xc1", b"", msgpack.packb([1]), msgpack.packb({"a": 1})):
                    client.publish(keys.decided(PRODUCER), junk)
            tell(valkey, b"one", "y")
            assert await hub.wait(b"one", 2) is not None

    tools.run(job())


def test_old_decisions_are_asked_for(valkey: tools.Server) -> None:
    async def job() -> None:
        async with hearing(valkey.url) as hub:
            await tools.until(lambda: hub.connected)
            with valkey.client() as client:
                asked = asyncio.create_task(hub.lookup("cnv_1", 2))
                await tools.until(lambda: client.llen(keys.LOOKUP) == 1)
                assert client.lpop(keys.LOOKUP) == b"cnv_1"
                client.set(keys.decision("cnv_1"), msgpack.packb({"status": "attributed"}))
                assert await asked == {"status": "attributed"}
                assert await hub.get("cnv_1") == {"status": "attributed"}
                assert await hub.lookup("cnv_1", 1) == {"status": "attributed"}
                # A nil says that there is no such conversion: nobody waits for it.
                client.set(keys.decision("cnv_2"), msgpack.packb(None))
                assert await hub.lookup("cnv_2", 60) is None
                with pytest.raises(JournalError, match="nobody"):
                    await hub.lookup("cnv_3", 0.1)

    tools.run(job())


def test_questions_are_bounded(valkey: tools.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOKUPS_MAX", 3)

    async def job() -> None:
        async with hearing(valkey.url) as hub:
            await tools.until(lambda: hub.connected)
            asked = (hub.lookup(f"cnv_{n}", 0.05) for n in range(6))
            await asyncio.gather(*asked, return_exceptions=True)
            with valkey.client() as client:
                assert client.llen(keys.LOOKUP) == 3

    tools.run(job())
