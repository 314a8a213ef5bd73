"""Bounds, bad disks, and the end of a process."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import journal_tools as tools
from headwater import clock
from headwater.errors import JournalError, JournalFull
from headwater.journal import keys
from headwater.journal.spool import Spool
from headwater.journal.stream import StreamReader
from headwater.journal.writer import JournalWriter

short_folder = tools.short_folder
valkey = tools.valkey


# ---- bounds


def test_the_bound_in_bytes(valkey: tools.Server, short_folder: Path) -> None:
    valkey.kill()
    cost = 60 + 32 + 8

    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", spool_bytes_max=5 * cost
        ) as writer:
            for number in range(5):
                assert writer.accepting
                assert await writer.submit(0, tools.record(tools.PRODUCER, number)) is False
            assert writer.spool_bytes == 5 * cost
            assert not writer.accepting
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(tools.PRODUCER, 6))
            with pytest.raises(JournalFull):
                writer.submit(1, b"<7:7>")
            await tools.in_thread(valkey.start)
            await tools.until(lambda: writer.redis_ok and writer.pending_frames == 0)
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(tools.PRODUCER, 8))
            tools.commit_all(valkey)
            await tools.until(lambda: writer.spool_bytes == 0 and writer.accepting)
            assert await writer.submit(0, tools.record(tools.PRODUCER, 9)) is True

    tools.run(job())


def test_several_records_are_taken_all_or_none(valkey: tools.Server, short_folder: Path) -> None:
    cost = 60 + 32 + 8
    told: list[tuple[bool | Exception, int]] = []

    class Waiter:
        def tell(self, outcome: bool | Exception, number: int, /) -> None:
            told.append((outcome, number))

    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", gather_bytes_max=10 * cost
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            records = [tools.record(tools.PRODUCER, number) for number in range(11)]
            with pytest.raises(JournalFull):
                writer.put(0, records, Waiter())
            writer.put(0, records[:10], Waiter())
            await tools.until(lambda: told)
            assert await writer.submit(0, records[10]) is True
        assert told == [(True, 10)]

    tools.run(job())


def test_the_bound_in_memory(valkey: tools.Server, short_folder: Path) -> None:
    cost = 60 + 32 + 8

    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", gather_bytes_max=10 * cost
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(tools.PRODUCER, n)) for n in range(10)]
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(tools.PRODUCER, 11))
            assert not writer.accepting
            await asyncio.gather(*futures)
            assert await writer.submit(0, tools.record(tools.PRODUCER, 12)) is True

    tools.run(job())


def test_the_bound_in_age(
    valkey: tools.Server, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset_ms = 0
    real = clock.now_ms
    monkeypatch.setattr("headwater.clock.now_ms", lambda: real() + offset_ms)

    async def job() -> None:
        nonlocal offset_ms
        async with tools.writing(
            valkey.url, short_folder / "spool", spool_age_max_ms=60_000
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            assert await writer.submit(0, tools.record(tools.PRODUCER, 1)) is True
            offset_ms = 59_000
            await asyncio.sleep(0.15)
            assert writer.accepting
            offset_ms = 60_000
            await tools.until(lambda: not writer.accepting)
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(tools.PRODUCER, 2))
            tools.commit_all(valkey)
            await tools.until(lambda: writer.accepting)

    tools.run(job())


# ---- the disk


def test_a_full_disk_refuses_and_recovers(
    valkey: tools.Server, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write
    full = False

    def write(fd: int, data: Any) -> int:
        if full:
            # A full disk takes what still fits before it says so.
            if len(data) > 30:
                return real_write(fd, bytes(data)[:30])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(fd, data)

    monkeypatch.setattr("headwater.journal.segment.os.write", write)

    async def job() -> None:
        nonlocal full
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            assert await writer.submit(0, tools.record(tools.PRODUCER, 1)) is True
            full = True
            with pytest.raises(JournalError):
                await writer.submit(0, tools.record(tools.PRODUCER, 2))
            full = False
            assert await writer.submit(0, tools.record(tools.PRODUCER, 3)) is True
            frames = valkey.frames()
            assert tools.records_in(frames) == {b"7:1", b"7:3"}
            assert keys.frame_name(frames[-1]).first_sequence == 3, "no sequence is used twice"
            tools.commit_all(valkey)
            await tools.until(lambda: writer.spool_bytes == 0)

    tools.run(job())


def test_a_failed_fsync_is_said_and_not_tried_again(
    valkey: tools.Server, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey.kill()
    real_sync = os.fdatasync
    failing = False
    synced: list[int] = []

    def fdatasync(fd: int) -> None:
        if failing:
            raise OSError(errno.EIO, "Input/output error")
        synced.append(fd)
        real_sync(fd)

    monkeypatch.setattr("headwater.journal.segment.os.fdatasync", fdatasync)

    async def job() -> None:
        nonlocal failing
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            assert await writer.submit(0, tools.record(tools.PRODUCER, 1)) is False
            failing = True
            with pytest.raises(JournalError):
                await writer.submit(0, tools.record(tools.PRODUCER, 2))
            failing = False
            assert await writer.submit(0, tools.record(tools.PRODUCER, 3)) is False
            files = writer._spool.segments(0)
            assert [segment.failed for segment in files] == [True, False]
            await tools.in_thread(valkey.start)
            await tools.until(lambda: writer.redis_ok and writer.pending_frames == 0)
            assert tools.records_in(valkey.frames()) >= {b"7:1", b"7:3"}

    tools.run(job())


def test_a_frame_that_cannot_be_made_fails_alone(valkey: tools.Server, short_folder: Path) -> None:
    def encode(partition: int, producer: int, first: int, records: list[bytes]) -> bytes:
        if b"bad" in records:
            raise ValueError("not a record")
        return tools.encode_frame(partition, producer, first, records)

    async def job() -> None:
        writer = JournalWriter(
            url=valkey.url,
            root=short_folder / "spool",
            producer=tools.PRODUCER,
            encode_frame=encode,
        )
        await writer.start()
        await tools.until(lambda: writer.redis_ok)
        with pytest.raises(ValueError, match="not a record"):
            await writer.submit(0, b"bad")
        assert await writer.submit(0, tools.record(tools.PRODUCER, 1)) is True
        await writer.close(1)

    tools.run(job())


# ---- close


def test_close_answers_everything(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(n % 4, tools.record(tools.PRODUCER, n)) for n in range(5000)]
        assert all(future.result() is True for future in futures)
        with pytest.raises(JournalFull):
            writer.submit(0, b"late")

    tools.run(job())


def test_close_with_redis_hung_uses_the_disk(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", answer_ms=60_000, drain_s=0.2
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            valkey.signal(signal.SIGSTOP)
            futures = [writer.submit(n % 4, tools.record(tools.PRODUCER, n)) for n in range(100)]
        valkey.signal(signal.SIGCONT)
        assert all(future.result() is False for future in futures)
        spool = Spool(short_folder / "spool" / keys.producer_name(tools.PRODUCER), tools.PRODUCER)
        frames = [found.frame for partition in range(4) for found in spool.frames(partition)]
        assert len(tools.records_in(frames)) == 100
        spool.close()

    tools.run(job())


def test_close_waits_for_the_ledger_when_there_is_a_matcher(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        reader = StreamReader(valkey.url, [0])
        reader.begin_generation(1, {0: (0, 0)})
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            await writer.submit(0, tools.record(tools.PRODUCER, 1))
            asyncio.get_running_loop().call_later(0.2, tools.commit_all, valkey)
        assert tools.spool_folders(short_folder) == []
        reader.close()

    tools.run(job())
