"""What was answered is in the stream or in the spool, whatever happens to Redis or the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import journal_tools as tools
import msgpack
import pytest

from headwater.errors import JournalError, JournalFull
from headwater.journal import keys
from headwater.journal.spool import Spool
from headwater.journal.stream import StreamReader
from headwater.journal.writer import JournalWriter

PRODUCER = 7


@pytest.fixture
def folder() -> Iterator[Path]:
    # A socket's path has at most 107 characters; pytest's folders are longer.
    with tempfile.TemporaryDirectory(prefix="hwj-") as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[tools.Server]:
    server = tools.Server(folder)
    server.start()
    yield server
    server.stop()


class Load:
    """Submitters that never pause; remembers what was answered."""

    def __init__(self, writer: JournalWriter, *, partitions: int = 2, submitters: int = 8) -> None:
        self.writer = writer
        self.partitions = partitions
        self.answered: set[bytes] = set()
        self.in_spool = 0
        self.refused = 0
        self.slowest_s = 0.0
        self._next = 0
        self._tasks = [asyncio.create_task(self._submit()) for _ in range(submitters)]

    async def _submit(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._next += 1
            number = self._next
            started = loop.time()
            try:
                in_redis = await self.writer.submit(
                    number % self.partitions, tools.record(self.writer.producer, number)
                )
            except JournalError:
                self.refused += 1
                await asyncio.sleep(0.001)
                continue
            self.slowest_s = max(self.slowest_s, loop.time() - started)
            self.answered.add(b"%d:%d" % (self.writer.producer, number))
            self.in_spool += not in_redis

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def stored(server: tools.Server, partitions: int = 2) -> list[bytes]:
    return [frame for partition in range(partitions) for frame in server.frames(partition)]


async def delivered(server: tools.Server, load: Load) -> None:
    """Everything answered comes to be in the streams, each frame with the bytes it always had."""
    await tools.until(lambda: load.writer.redis_ok and load.writer.pending_frames == 0, 20)
    frames = stored(server, load.partitions)
    assert load.answered <= tools.records_in(frames)
    tools.same_bytes(frames)


def commit_all(server: tools.Server, partitions: int = 2) -> None:
    """Stand in for the matcher: everything in the streams is committed."""
    with server.client() as client:
        for partition in range(partitions):
            ranges: dict[int, list[list[int]]] = {}
            for name in map(keys.frame_name, server.frames(partition)):
                ranges.setdefault(name.producer, []).append(
                    [name.first_sequence, name.last_sequence]
                )
            for producer, found in ranges.items():
                client.hset(
                    keys.committed(partition), keys.producer_name(producer), msgpack.packb(found)
                )


def spool_folders(folder: Path) -> list[str]:
    root = folder / "spool"
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


# ---- Redis well


def test_a_record_is_answered_from_redis_and_spooled_until_committed(
    server: tools.Server, folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            assert await writer.submit(3, tools.record(PRODUCER, 1)) is True
            [frame] = server.frames(3)
            assert keys.frame_name(frame) == (3, PRODUCER, 1, 1)
            assert writer.spool_bytes == len(frame) + 8
            await asyncio.sleep(0.15)
            assert writer.spool_bytes > 0
            with server.client() as client:
                client.hset(
                    keys.committed(3), keys.producer_name(PRODUCER), msgpack.packb([[1, 1]])
                )
            await tools.until(lambda: writer.spool_bytes == 0)
        assert spool_folders(folder) == []

    tools.run(job())


def test_records_gather_while_a_frame_is_in_flight(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool", frame_records_max=100) as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(PRODUCER, n)) for n in range(250)]
            await asyncio.gather(*futures)
            names = [keys.frame_name(frame) for frame in server.frames()]
            assert [(n.first_sequence, n.records) for n in names] == [
                (1, 100),
                (101, 100),
                (201, 50),
            ]

    tools.run(job())


def test_a_frame_is_bounded_by_bytes(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool", frame_bytes_max=1000) as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(PRODUCER, n, 300)) for n in range(8)]
            big = writer.submit(0, tools.record(PRODUCER, 99, 5000))
            await asyncio.gather(*futures, big)
            frames = server.frames()
            assert tools.records_in(frames) >= {b"7:0", b"7:7", b"7:99"}
            assert [keys.frame_name(frame).records for frame in frames] == [3, 3, 2, 1]

    tools.run(job())


def test_a_cancelled_caller_does_not_disturb_the_frame(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(PRODUCER, n)) for n in range(3)]
            futures[1].cancel()
            assert await futures[0] is True
            assert await futures[2] is True
            assert len(tools.records_in(server.frames())) == 3

    tools.run(job())


# ---- Redis gone, hung, refusing


def test_redis_down_from_the_start(server: tools.Server, folder: Path) -> None:
    server.kill()

    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            load = Load(writer)
            await asyncio.sleep(0.5)
            await load.stop()
            assert load.in_spool == len(load.answered) > 100
            assert not writer.redis_ok
            assert writer.pending_frames > 0
            await tools.in_thread(server.start)
            await delivered(server, load)

    tools.run(job())


@pytest.mark.parametrize("kills", [5])
def test_redis_killed_under_load(server: tools.Server, folder: Path, kills: int) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            load = Load(writer)
            for _ in range(kills):
                await asyncio.sleep(0.15)
                await tools.in_thread(server.kill)
                before = len(load.answered)
                await asyncio.sleep(0.15)
                assert len(load.answered) > before, "the spool answers while Redis is away"
                await tools.in_thread(server.start)
            await tools.until(lambda: writer.redis_ok)
            await load.stop()
            assert load.refused == 0
            assert 0 < load.in_spool < len(load.answered)
            await delivered(server, load)

    tools.run(job())


def test_redis_hung_costs_one_wait_and_late_answers_are_honored(
    server: tools.Server, folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            assert await writer.submit(0, tools.record(PRODUCER, 0)) is True
            server.signal(signal.SIGSTOP)
            started = asyncio.get_running_loop().time()
            count = 50
            for number in range(1, count + 1):
                assert await writer.submit(0, tools.record(PRODUCER, number)) is False
            spent_s = asyncio.get_running_loop().time() - started
            assert spent_s < count * 0.020 / 2, "only the first frame waits for Redis"
            assert not writer.redis_ok
            server.signal(signal.SIGCONT)
            await tools.until(lambda: writer.redis_ok and writer.pending_frames == 0)
            frames = server.frames()
            assert len(tools.records_in(frames)) == count + 1
            assert len(frames) == count + 1, "the late answer counts: nothing is sent again"
            assert await writer.submit(0, tools.record(PRODUCER, 999)) is True

    tools.run(job())


def test_redis_hung_for_long_is_left_and_found_again(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool", hang_ms=200) as writer:
            load = Load(writer)
            await tools.until(lambda: bool(load.answered))
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)
            server.signal(signal.SIGCONT)
            await tools.until(lambda: writer.redis_ok)
            await asyncio.sleep(0.1)
            await load.stop()
            assert load.refused == 0
            await delivered(server, load)

    tools.run(job())


def test_lost_answers_are_resent_with_the_same_bytes(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with (
            tools.Proxy(server.config.redis_socket, folder / "proxy") as proxy,
            tools.writing(proxy.url, folder / "spool") as writer,
        ):
            load = Load(writer)
            for _ in range(5):
                await asyncio.sleep(0.1)
                proxy.drop_answers = True
                await asyncio.sleep(0.1)
                proxy.cut()
                proxy.drop_answers = False
            await tools.until(lambda: writer.redis_ok)
            await load.stop()
            await delivered(server, load)
            names = [keys.frame_name(frame) for frame in stored(server)]
            assert len(names) > len(set(names)), "an XADD whose answer was lost had run"

    tools.run(job())


def test_a_slow_redis_is_used_and_not_waited_for(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with (
            tools.Proxy(server.config.redis_socket, folder / "proxy") as proxy,
            tools.writing(proxy.url, folder / "spool") as writer,
        ):
            await tools.until(lambda: writer.redis_ok)
            proxy.delay_s = 0.04
            load = Load(writer)
            await asyncio.sleep(1)
            await load.stop()
            proxy.delay_s = 0
            await delivered(server, load)
            assert load.in_spool > 0

    tools.run(job())


def test_out_of_memory_goes_to_the_spool_and_comes_back(
    server: tools.Server, folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            load = Load(writer)
            await tools.until(lambda: len(load.answered) > 50)
            with server.client() as client:
                client.config_set("maxmemory", 1)
                await tools.until(lambda: not writer.redis_ok)
                before = len(load.answered)
                await asyncio.sleep(0.3)
                assert len(load.answered) > before
                client.config_set("maxmemory", 0)
            await tools.until(lambda: writer.redis_ok)
            await asyncio.sleep(0.1)
            await load.stop()
            assert load.refused == 0
            await delivered(server, load)

    tools.run(job())


def test_one_refused_frame_among_accepted_ones(server: tools.Server, folder: Path) -> None:
    """Refused while later frames get through: the drain is out of order, and complete."""

    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            with server.client() as client:
                assert await writer.submit(0, tools.record(PRODUCER, 1)) is True
                client.config_set("maxmemory", 1)
                assert await writer.submit(0, tools.record(PRODUCER, 2)) is False
                client.config_set("maxmemory", 0)
            backlog = writer._lanes[0].backlog
            backlog._pause_s = 0.0  # the next frame goes before the refused one is tried again
            assert await writer.submit(0, tools.record(PRODUCER, 3)) is True
            await tools.until(lambda: writer.pending_frames == 0)
            firsts = [keys.frame_name(frame).first_sequence for frame in server.frames()]
            assert firsts == [1, 3, 2]

    tools.run(job())


def test_a_partition_that_is_refused_does_not_hold_the_others(
    server: tools.Server, folder: Path
) -> None:
    async def job() -> None:
        with server.client() as client:
            client.set(keys.stream(1), "not a stream")
            async with tools.writing(server.url, folder / "spool") as writer:
                await tools.until(lambda: writer.redis_ok)
                for number in range(20):
                    assert await writer.submit(0, tools.record(PRODUCER, number)) is True
                    assert await writer.submit(1, tools.record(PRODUCER, 100 + number)) is False
                client.delete(keys.stream(1))
                await tools.until(lambda: writer.pending_frames == 0)
                assert len(tools.records_in(server.frames(1))) == 20

    tools.run(job())


# ---- generations


def test_flushall_is_followed_by_a_resend(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        reader = StreamReader(server.url, [0, 1])
        reader.begin_generation(1, {0: (0, 0), 1: (0, 0)})
        async with tools.writing(server.url, folder / "spool") as writer:
            load = Load(writer)
            await tools.until(lambda: len(load.answered) > 100)
            with server.client() as client:
                client.flushall()
            await asyncio.sleep(0.1)
            reader.begin_generation(2, {0: (0, 0), 1: (0, 0)})
            await asyncio.sleep(0.2)
            await load.stop()
            await tools.until(lambda: load.answered <= tools.records_in(stored(server)))
            await delivered(server, load)
        reader.close()

    tools.run(job())


def test_what_is_committed_is_not_resent(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        reader = StreamReader(server.url, [0])
        reader.begin_generation(1, {0: (0, 0)})
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            for number in range(10):
                await writer.submit(0, tools.record(PRODUCER, number))
            reader.publish({0: {PRODUCER: [(1, 4), (7, 8)]}}, [])
            await asyncio.sleep(0.15)
            with server.client() as client:
                client.flushall()
            reader.begin_generation(2, {0: (0, 0)})
            await tools.until(lambda: len(server.frames()) == 4)
            await tools.until(lambda: writer.pending_frames == 0)
            firsts = [keys.frame_name(frame).first_sequence for frame in server.frames()]
            assert firsts == [5, 6, 9, 10]
        reader.close()

    tools.run(job())


def test_an_older_log_restored(server: tools.Server, folder: Path) -> None:
    """The server comes back without its tail; a new generation brings it back from the spool."""

    async def job() -> None:
        reader = StreamReader(server.url, [0, 1])
        reader.begin_generation(1, {0: (0, 0), 1: (0, 0)})
        async with tools.writing(server.url, folder / "spool") as writer:
            load = Load(writer)
            await tools.until(lambda: len(load.answered) > 100)
            with server.client() as client:
                client.bgrewriteaof()
                await asyncio.sleep(0.3)
            saved = folder / "saved"
            shutil.copytree(server.folder / "appendonlydir", saved)
            await asyncio.sleep(0.3)
            position = max(
                client_id(entry) for entry in reader.read({0: (0, 0)}, 10_000, 0)[0]
            )
            await tools.in_thread(server.kill)
            shutil.rmtree(server.folder / "appendonlydir")
            shutil.copytree(saved, server.folder / "appendonlydir")
            await tools.in_thread(server.start)
            await load.stop()
            with pytest.raises(JournalError):
                reader.read({0: position, 1: (0, 0)}, 10, 0)
            reader.begin_generation(2, {0: position, 1: (0, 0)})
            await tools.until(lambda: load.answered <= tools.records_in(stored(server)))
            await delivered(server, load)
        reader.close()

    tools.run(job())


def client_id(entry: tuple[int, int, bytes]) -> tuple[int, int]:
    return entry[0], entry[1]


# ---- dead processes' spools


def abandoned(root: Path, producer: int, count: int, partition: int = 0) -> list[bytes]:
    """A spool as a killed process leaves it."""
    spool = Spool(root / keys.producer_name(producer), producer)
    frames = [tools.frame_of(partition, producer, 1 + 3 * n, 3) for n in range(count)]
    for frame in frames:
        spool.append(partition, frame)
    spool.close()
    return frames


def test_orphan_spools_are_drained_by_fewer_processes(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        root = folder / "spool"
        expected = [frame for n in range(9) for frame in abandoned(root, 100 + n, 20, n % 3)]
        async with tools.writing(server.url, root) as writer:
            await tools.until(lambda: len(stored(server, 3)) >= len(expected))
            assert sorted(stored(server, 3)) == sorted(expected)
            assert writer.spool_bytes > 0
            commit_all(server, 3)
            await tools.until(lambda: spool_folders(folder) == [keys.producer_name(PRODUCER)])
            assert writer.spool_bytes == 0
        assert spool_folders(folder) == []

    tools.run(job())


def test_an_orphan_resends_only_what_is_not_committed(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        root = folder / "spool"
        frames = abandoned(root, 100, 10)
        reader = StreamReader(server.url, [0])
        reader.begin_generation(1, {0: (0, 0)})
        reader.publish({0: {100: [(1, 24)]}}, [])
        async with tools.writing(server.url, root):
            await tools.until(lambda: len(server.frames()) == 2)
            await asyncio.sleep(0.1)
            assert server.frames() == frames[8:]
        reader.close()

    tools.run(job())


def test_orphans_wait_for_redis_and_count_against_the_bound(
    server: tools.Server, folder: Path
) -> None:
    server.kill()

    async def job() -> None:
        root = folder / "spool"
        frames = abandoned(root, 100, 10)
        size = sum(len(frame) + 8 for frame in frames)
        async with tools.writing(server.url, root, spool_bytes_max=size) as writer:
            await tools.until(lambda: writer.spool_bytes == size)
            await tools.until(lambda: not writer.accepting)
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(PRODUCER, 1))
            await tools.in_thread(server.start)
            await tools.until(lambda: server.frames() == frames)
            commit_all(server)
            await tools.until(lambda: writer.accepting)
            assert await writer.submit(0, tools.record(PRODUCER, 1)) is True

    tools.run(job())


def test_a_live_process_keeps_its_spool(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        root = folder / "spool"
        async with tools.writing(server.url, root, 1) as one, tools.writing(server.url, root, 2):
            await tools.until(lambda: one.redis_ok)
            await one.submit(0, tools.record(1, 1))
            await asyncio.sleep(0.3)
            assert len(server.frames()) == 1
            assert len(spool_folders(folder)) == 2

    tools.run(job())


def test_what_a_closed_process_left_is_taken_over(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        root = folder / "spool"
        await tools.in_thread(server.kill)
        async with tools.writing(server.url, root, 1, drain_s=0.1) as one:
            assert await one.submit(0, tools.record(1, 1)) is False
        assert spool_folders(folder) == [keys.producer_name(1)]
        await tools.in_thread(server.start)
        async with tools.writing(server.url, root, 2):
            await tools.until(lambda: tools.records_in(server.frames()) == {b"1:1"})
            commit_all(server)
            await tools.until(lambda: spool_folders(folder) == [keys.producer_name(2)])

    tools.run(job())


# ---- bounds


def test_the_bound_in_bytes(server: tools.Server, folder: Path) -> None:
    server.kill()
    cost = 60 + 32 + 8

    async def job() -> None:
        async with tools.writing(
            server.url, folder / "spool", spool_bytes_max=5 * cost
        ) as writer:
            for number in range(5):
                assert writer.accepting
                assert await writer.submit(0, tools.record(PRODUCER, number)) is False
            assert writer.spool_bytes == 5 * cost
            assert not writer.accepting
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(PRODUCER, 6))
            with pytest.raises(JournalFull):
                writer.submit(1, b"<7:7>")
            await tools.in_thread(server.start)
            await tools.until(lambda: writer.redis_ok and writer.pending_frames == 0)
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(PRODUCER, 8))
            commit_all(server)
            await tools.until(lambda: writer.spool_bytes == 0)
            assert await writer.submit(0, tools.record(PRODUCER, 9)) is True

    tools.run(job())


def test_the_bound_in_memory(server: tools.Server, folder: Path) -> None:
    cost = 60 + 32 + 8

    async def job() -> None:
        async with tools.writing(
            server.url, folder / "spool", gather_bytes_max=10 * cost
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(PRODUCER, n)) for n in range(10)]
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(PRODUCER, 11))
            assert not writer.accepting
            await asyncio.gather(*futures)
            assert await writer.submit(0, tools.record(PRODUCER, 12)) is True

    tools.run(job())


def test_the_bound_in_age(
    server: tools.Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset_ms = 0
    real = tools.clock.now_ms
    monkeypatch.setattr("headwater.clock.now_ms", lambda: real() + offset_ms)

    async def job() -> None:
        nonlocal offset_ms
        async with tools.writing(server.url, folder / "spool", spool_age_max_ms=60_000) as writer:
            await tools.until(lambda: writer.redis_ok)
            assert await writer.submit(0, tools.record(PRODUCER, 1)) is True
            offset_ms = 59_000
            await asyncio.sleep(0.15)
            assert writer.accepting
            offset_ms = 60_000
            await tools.until(lambda: not writer.accepting)
            with pytest.raises(JournalFull):
                writer.submit(0, tools.record(PRODUCER, 2))
            commit_all(server)
            await tools.until(lambda: writer.accepting)

    tools.run(job())


# ---- the disk


def test_a_full_disk_refuses_and_recovers(
    server: tools.Server, folder: Path, monkeypatch: pytest.MonkeyPatch
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
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            assert await writer.submit(0, tools.record(PRODUCER, 1)) is True
            full = True
            with pytest.raises(JournalError):
                await writer.submit(0, tools.record(PRODUCER, 2))
            full = False
            assert await writer.submit(0, tools.record(PRODUCER, 3)) is True
            frames = server.frames()
            assert tools.records_in(frames) == {b"7:1", b"7:3"}
            assert keys.frame_name(frames[-1]).first_sequence == 3, "no sequence is used twice"
            commit_all(server)
            await tools.until(lambda: writer.spool_bytes == 0)

    tools.run(job())


def test_a_failed_fsync_is_said_and_not_tried_again(
    server: tools.Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.kill()
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
        async with tools.writing(server.url, folder / "spool") as writer:
            assert await writer.submit(0, tools.record(PRODUCER, 1)) is False
            failing = True
            with pytest.raises(JournalError):
                await writer.submit(0, tools.record(PRODUCER, 2))
            failing = False
            assert await writer.submit(0, tools.record(PRODUCER, 3)) is False
            files = writer._spool.segments(0)
            assert [segment.failed for segment in files] == [True, False]
            await tools.in_thread(server.start)
            await tools.until(lambda: writer.redis_ok and writer.pending_frames == 0)
            assert tools.records_in(server.frames()) >= {b"7:1", b"7:3"}

    tools.run(job())


def test_a_frame_that_cannot_be_made_fails_alone(server: tools.Server, folder: Path) -> None:
    def encode(partition: int, producer: int, first: int, records: list[bytes]) -> bytes:
        if b"bad" in records:
            raise ValueError("not a record")
        return tools.encode_frame(partition, producer, first, records)

    async def job() -> None:
        writer = JournalWriter(
            url=server.url, root=folder / "spool", producer=PRODUCER, encode_frame=encode
        )
        await writer.start()
        await tools.until(lambda: writer.redis_ok)
        with pytest.raises(ValueError, match="not a record"):
            await writer.submit(0, b"bad")
        assert await writer.submit(0, tools.record(PRODUCER, 1)) is True
        await writer.close(1)

    tools.run(job())


# ---- close


def test_close_answers_everything(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(n % 4, tools.record(PRODUCER, n)) for n in range(5000)]
        assert all(future.result() is True for future in futures)
        with pytest.raises(JournalFull):
            writer.submit(0, b"late")

    tools.run(job())


def test_close_with_redis_hung_uses_the_disk(server: tools.Server, folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(
            server.url, folder / "spool", answer_ms=60_000, drain_s=0.2
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            server.signal(signal.SIGSTOP)
            futures = [writer.submit(n % 4, tools.record(PRODUCER, n)) for n in range(100)]
        server.signal(signal.SIGCONT)
        assert all(future.result() is False for future in futures)
        spool = Spool(folder / "spool" / keys.producer_name(PRODUCER), PRODUCER)
        frames = [found.frame for partition in range(4) for found in spool.frames(partition)]
        assert len(tools.records_in(frames)) == 100
        spool.close()

    tools.run(job())


def test_close_waits_for_the_ledger_when_there_is_a_matcher(
    server: tools.Server, folder: Path
) -> None:
    async def job() -> None:
        reader = StreamReader(server.url, [0])
        reader.begin_generation(1, {0: (0, 0)})
        async with tools.writing(server.url, folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            await writer.submit(0, tools.record(PRODUCER, 1))
            asyncio.get_running_loop().call_later(0.2, commit_all, server)
        assert spool_folders(folder) == []
        reader.close()

    tools.run(job())
