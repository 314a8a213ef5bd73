"""Redis loses its log, processes leave their spools: everything is resent, nothing changes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import journal_tools as tools
from headwater.errors import JournalError, JournalFull
from headwater.journal import keys
from headwater.journal.stream import StreamReader

short_folder = tools.short_folder
valkey = tools.valkey


# ---- generations


def test_flushall_is_followed_by_a_resend(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        reader = StreamReader(valkey.url, [0, 1])
        reader.begin_generation(1, {0: (0, 0), 1: (0, 0)})
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            load = tools.Load(writer)
            await tools.until(lambda: len(load.answered) > 100)
            with valkey.client() as client:
                client.flushall()
            await asyncio.sleep(0.1)
            reader.begin_generation(2, {0: (0, 0), 1: (0, 0)})
            await asyncio.sleep(0.2)
            await load.stop()
            await tools.until(lambda: load.answered <= tools.records_in(tools.stored(valkey)))
            await tools.delivered(valkey, load)
        reader.close()

    tools.run(job())


def test_what_is_committed_is_not_resent(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        reader = StreamReader(valkey.url, [0])
        reader.begin_generation(1, {0: (0, 0)})
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            for number in range(10):
                await writer.submit(0, tools.record(tools.PRODUCER, number))
            reader.publish({0: {tools.PRODUCER: [(1, 4), (7, 8)]}}, [])
            await asyncio.sleep(0.15)
            with valkey.client() as client:
                client.flushall()
            reader.begin_generation(2, {0: (0, 0)})
            await tools.until(lambda: len(valkey.frames()) == 4)
            await tools.until(lambda: writer.pending_frames == 0)
            firsts = [keys.frame_name(frame).first_sequence for frame in valkey.frames()]
            assert firsts == [5, 6, 9, 10]
        reader.close()

    tools.run(job())


def test_an_older_log_restored(valkey: tools.Server, short_folder: Path) -> None:
    """The server comes back without its tail; a new generation brings it back from the spool."""

    async def job() -> None:
        reader = StreamReader(valkey.url, [0, 1])
        reader.begin_generation(1, {0: (0, 0), 1: (0, 0)})
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            load = tools.Load(writer)
            await tools.until(lambda: len(load.answered) > 100)
            with valkey.client() as client:
                client.bgrewriteaof()
                await asyncio.sleep(0.3)
            saved = short_folder / "saved"
            shutil.copytree(valkey.folder / "appendonlydir", saved)
            await asyncio.sleep(0.3)
            position = max(client_id(entry) for entry in reader.read({0: (0, 0)}, 10_000, 0)[0])
            await tools.in_thread(valkey.kill)
            shutil.rmtree(valkey.folder / "appendonlydir")
            shutil.copytree(saved, valkey.folder / "appendonlydir")
            await tools.in_thread(valkey.start)
            await load.stop()
            with pytest.raises(JournalError):
                reader.read({0: position, 1: (0, 0)}, 10, 0)
            reader.begin_generation(2, {0: position, 1: (0, 0)})
            await tools.until(lambda: load.answered <= tools.records_in(tools.stored(valkey)))
            await tools.delivered(valkey, load)
        reader.close()

    tools.run(job())


def client_id(entry: tuple[int, int, bytes]) -> tuple[int, int]:
    return entry[0], entry[1]


# ---- dead processes' spools


def test_orphan_spools_are_drained_by_fewer_processes(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        root = short_folder / "spool"
        expected = [frame for n in range(9) for frame in tools.abandoned(root, 100 + n, 20, n % 3)]
        async with tools.writing(valkey.url, root) as writer:
            await tools.until(lambda: len(tools.stored(valkey, 3)) >= len(expected))
            assert sorted(tools.stored(valkey, 3)) == sorted(expected)
            assert writer.spool_bytes > 0
            tools.commit_all(valkey, 3)
            await tools.until(
                lambda: tools.spool_folders(short_folder) == [keys.producer_name(tools.PRODUCER)]
            )
            assert writer.spool_bytes == 0
        assert tools.spool_folders(short_folder) == []

    tools.run(job())


def test_an_orphan_resends_only_what_is_not_committed(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        root = short_folder / "spool"
        frames = tools.abandoned(root, 100, 10)
        reader = StreamReader(valkey.url, [0])
        reader.begin_generation(1, {0: (0, 0)})
        reader.publish({0: {100: [(1, 24)]}}, [])
        async with tools.writing(valkey.url, root):
            await tools.until(lambda: len(valkey.frames()) == 2)
            await asyncio.sleep(0.1)
            assert valkey.frames() == frames[8:]
        reader.close()

    tools.run(job())


def test_orphans_wait_for_redis_and_count_against_the_bound(
    valkey: tools.Server, short_folder: Path
) -> None:
    valkey.kill()

    async def job() -> None:
        root = short_folder / "spool"
        frames = tools.abandoned(root, 100, 10)
        size = sum(len(frame) + 8 for frame in frames)
        async with tools.writing(valkey.url, root, spool_bytes_max=size) as writer:
            await tools.until(lambda: writer.spool_bytes == size)
            await tools.until(lambda: not writer.accepting)
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(tools.PRODUCER, 1))
            await tools.in_thread(valkey.start)
            await tools.until(lambda: valkey.frames() == frames)
            tools.commit_all(valkey)
            await tools.until(lambda: writer.accepting)
            assert await writer.submit(0, tools.record(tools.PRODUCER, 1)) is True

    tools.run(job())


def test_a_live_process_keeps_its_spool(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        root = short_folder / "spool"
        async with tools.writing(valkey.url, root, 1) as one, tools.writing(valkey.url, root, 2):
            await tools.until(lambda: one.redis_ok)
            await one.submit(0, tools.record(1, 1))
            await asyncio.sleep(0.3)
            assert len(valkey.frames()) == 1
            assert len(tools.spool_folders(short_folder)) == 2

    tools.run(job())


def test_what_a_closed_process_left_is_taken_over(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        root = short_folder / "spool"
        await tools.in_thread(valkey.kill)
        async with tools.writing(valkey.url, root, 1, drain_s=0.1) as one:
            assert await one.submit(0, tools.record(1, 1)) is False
        assert tools.spool_folders(short_folder) == [keys.producer_name(1)]
        await tools.in_thread(valkey.start)
        async with tools.writing(valkey.url, root, 2):
            await tools.until(lambda: tools.records_in(valkey.frames()) == {b"1:1"})
            tools.commit_all(valkey)
            await tools.until(lambda: tools.spool_folders(short_folder) == [keys.producer_name(2)])

    tools.run(job())
