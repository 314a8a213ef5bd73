"""What was answered is in the stream or in the spool, whatever happens to Redis."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import msgpack
import pytest

import journal_tools as tools
from headwater import limits
from headwater.journal import keys
from headwater.journal.spool import LOCK
from headwater.journal.writer import pass_over

short_folder = tools.short_folder
valkey = tools.valkey


# ---- Redis well


def test_a_record_is_answered_from_redis_and_spooled_until_committed(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            folder = short_folder / "spool" / keys.producer_name(tools.PRODUCER)
            assert await writer.submit(3, tools.record(tools.PRODUCER, 1)) is True
            [frame] = valkey.frames(3)
            assert keys.frame_name(frame) == (3, tools.PRODUCER, 1, 1)
            assert writer.spool_bytes == len(frame) + 8
            await asyncio.sleep(0.15)
            assert writer.spool_bytes > 0
            with valkey.client() as client:
                client.hset(
                    keys.committed(3), keys.producer_name(tools.PRODUCER), msgpack.packb([[1, 1]])
                )
            await tools.until(lambda: writer.spool_bytes == 0)
            # Its file goes a moment later; a folder that is not empty stays.
            await tools.until(lambda: [path.name for path in folder.iterdir()] == [LOCK])
        assert tools.spool_folders(short_folder) == []

    tools.run(job())


def test_records_gather_while_a_frame_is_in_flight(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", frame_records_max=100
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(tools.PRODUCER, n)) for n in range(250)]
            await asyncio.gather(*futures)
            names = [keys.frame_name(frame) for frame in valkey.frames()]
            assert [(n.first_sequence, n.records) for n in names] == [
                (1, 100),
                (101, 100),
                (201, 50),
            ]

    tools.run(job())


def test_whoever_waits_for_records_of_several_frames_is_told_with_each(
    valkey: tools.Server, short_folder: Path
) -> None:
    told: dict[str, list[tuple[bool | Exception, int]]] = {"first": [], "second": []}

    class Block:
        def __init__(self, records: list[bytes]) -> None:
            self.records = records
            self.size_bytes = sum(map(len, records))

        def __len__(self) -> int:
            return len(self.records)

        def __getitem__(self, at: int, /) -> bytes:
            return self.records[at]

    class Waiter:
        def __init__(self, name: str) -> None:
            self.name = name

        def tell(self, outcome: bool | Exception, number: int, /) -> None:
            told[self.name].append((outcome, number))

    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", frame_records_max=100
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            records = [tools.record(tools.PRODUCER, n) for n in range(290)]
            writer.put(0, Block(records[:150]), Waiter("first"))
            writer.put(0, records[150:], Waiter("second"))
            await tools.until(lambda: sum(number for _, number in told["second"]) == 140)
        assert told["first"] == [(True, 100), (True, 50)]
        assert told["second"] == [(True, 50), (True, 90)]

    tools.run(job())


def test_what_waits_elsewhere_goes_by_the_next_frame(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            elsewhere = [tools.record(tools.PRODUCER, n) for n in range(1, 4)]
            more = []

            def gather() -> None:
                more.extend(writer.submit(0, record) for record in elsewhere)
                more.append(writer.submit(1, tools.record(tools.PRODUCER, 9)))
                elsewhere.clear()
                writer.gather = pass_over

            writer.gather = gather
            await writer.submit(0, tools.record(tools.PRODUCER, 0))
            await asyncio.gather(*more)
            counts = {at: [keys.frame_name(f).records for f in valkey.frames(at)] for at in (0, 1)}
            assert counts == {0: [4], 1: [1]}

    tools.run(job())


def test_a_frame_is_bounded_by_bytes(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", frame_bytes_max=1000
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(tools.PRODUCER, n, 300)) for n in range(8)]
            big = writer.submit(0, tools.record(tools.PRODUCER, 99, 5000))
            await asyncio.gather(*futures, big)
            frames = valkey.frames()
            assert tools.records_in(frames) >= {b"7:0", b"7:7", b"7:99"}
            assert [keys.frame_name(frame).records for frame in frames] == [3, 3, 2, 1]

    tools.run(job())


def test_a_cancelled_caller_does_not_disturb_the_frame(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            futures = [writer.submit(0, tools.record(tools.PRODUCER, n)) for n in range(3)]
            futures[1].cancel()
            assert await futures[0] is True
            assert await futures[2] is True
            assert len(tools.records_in(valkey.frames())) == 3

    tools.run(job())


# ---- Redis gone, hung, refusing


def test_redis_down_from_the_start(valkey: tools.Server, short_folder: Path) -> None:
    valkey.kill()

    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            load = tools.Load(writer)
            await asyncio.sleep(0.5)
            await load.stop()
            assert load.in_spool == len(load.answered) > 100
            assert not writer.redis_ok
            assert writer.pending_frames > 0
            await tools.in_thread(valkey.start)
            await tools.delivered(valkey, load)

    tools.run(job())


@pytest.mark.parametrize("kills", [5])
def test_redis_killed_under_load(valkey: tools.Server, short_folder: Path, kills: int) -> None:
    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            load = tools.Load(writer)
            for _ in range(kills):
                await asyncio.sleep(0.15)
                await tools.in_thread(valkey.kill)
                before = len(load.answered)
                await asyncio.sleep(0.15)
                assert len(load.answered) > before, "the spool answers while Redis is away"
                await tools.in_thread(valkey.start)
            await tools.until(lambda: writer.redis_ok)
            await load.stop()
            assert load.refused == 0
            assert 0 < load.in_spool < len(load.answered)
            await tools.delivered(valkey, load)

    tools.run(job())


def test_redis_hung_costs_one_wait_and_late_answers_are_honored(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", answer_ms=limits.REDIS_ANSWER_MS
        ) as writer:
            await tools.until(lambda: writer.redis_ok)
            assert await writer.submit(0, tools.record(tools.PRODUCER, 0)) is True
            valkey.signal(signal.SIGSTOP)
            started = asyncio.get_running_loop().time()
            count = 50
            for number in range(1, count + 1):
                assert await writer.submit(0, tools.record(tools.PRODUCER, number)) is False
            spent_s = asyncio.get_running_loop().time() - started
            assert spent_s < count * limits.REDIS_ANSWER_MS / 1000 / 2, (
                "only the first frame waits for Redis"
            )
            assert not writer.redis_ok
            valkey.signal(signal.SIGCONT)
            await tools.until(lambda: writer.redis_ok and writer.pending_frames == 0)
            frames = valkey.frames()
            assert len(tools.records_in(frames)) == count + 1
            assert len(frames) == count + 1, "the late answer counts: nothing is sent again"
            assert await writer.submit(0, tools.record(tools.PRODUCER, 999)) is True

    tools.run(job())


def test_redis_hung_for_long_is_left_and_found_again(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(
            valkey.url, short_folder / "spool", answer_ms=limits.REDIS_ANSWER_MS, hang_ms=200
        ) as writer:
            load = tools.Load(writer)
            await tools.until(lambda: bool(load.answered))
            valkey.signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)
            valkey.signal(signal.SIGCONT)
            await tools.until(lambda: writer.redis_ok)
            await asyncio.sleep(0.1)
            await load.stop()
            assert load.refused == 0
            await tools.delivered(valkey, load)

    tools.run(job())


def test_lost_answers_are_resent_with_the_same_bytes(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with (
            tools.Proxy(valkey.config.redis_socket, short_folder / "proxy") as proxy,
            tools.writing(
                proxy.url, short_folder / "spool", answer_ms=limits.REDIS_ANSWER_MS
            ) as writer,
        ):
            load = tools.Load(writer)
            for _ in range(5):
                await asyncio.sleep(0.1)
                proxy.drop_answers = True
                await asyncio.sleep(0.1)
                proxy.cut()
                proxy.drop_answers = False
            await tools.until(lambda: writer.redis_ok)
            await load.stop()
            await tools.delivered(valkey, load)
            names = [keys.frame_name(frame) for frame in tools.stored(valkey)]
            assert len(names) > len(set(names)), "an XADD whose answer was lost had run"

    tools.run(job())


def test_a_slow_redis_is_used_and_not_waited_for(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        async with (
            tools.Proxy(valkey.config.redis_socket, short_folder / "proxy") as proxy,
            tools.writing(
                proxy.url, short_folder / "spool", answer_ms=limits.REDIS_ANSWER_MS
            ) as writer,
        ):
            await tools.until(lambda: writer.redis_ok)
            proxy.delay_s = 0.04
            load = tools.Load(writer)
            await asyncio.sleep(1)
            await load.stop()
            proxy.delay_s = 0
            await tools.delivered(valkey, load)
            assert load.in_spool > 0

    tools.run(job())


def test_out_of_memory_goes_to_the_spool_and_comes_back(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            load = tools.Load(writer)
            await tools.until(lambda: len(load.answered) > 50)
            with valkey.client() as client:
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
            await tools.delivered(valkey, load)

    tools.run(job())


def test_one_refused_frame_among_accepted_ones(valkey: tools.Server, short_folder: Path) -> None:
    """Refused while later frames get through: the drain is out of order, and complete."""

    async def job() -> None:
        async with tools.writing(valkey.url, short_folder / "spool") as writer:
            await tools.until(lambda: writer.redis_ok)
            with valkey.client() as client:
                assert await writer.submit(0, tools.record(tools.PRODUCER, 1)) is True
                client.config_set("maxmemory", 1)
                assert await writer.submit(0, tools.record(tools.PRODUCER, 2)) is False
                client.config_set("maxmemory", 0)
            backlog = writer._lanes[0].backlog
            backlog._pause_s = 0.0  # the next frame goes before the refused one is tried again
            assert await writer.submit(0, tools.record(tools.PRODUCER, 3)) is True
            await tools.until(lambda: writer.pending_frames == 0)
            firsts = [keys.frame_name(frame).first_sequence for frame in valkey.frames()]
            assert firsts == [1, 3, 2]

    tools.run(job())


def test_a_partition_that_is_refused_does_not_hold_the_others(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        with valkey.client() as client:
            client.set(keys.stream(1), "not a stream")
            async with tools.writing(valkey.url, short_folder / "spool") as writer:
                await tools.until(lambda: writer.redis_ok)
                for number in range(20):
                    assert await writer.submit(0, tools.record(tools.PRODUCER, number)) is True
                    assert (
                        await writer.submit(1, tools.record(tools.PRODUCER, 100 + number)) is False
                    )
                client.delete(keys.stream(1))
                await tools.until(lambda: writer.pending_frames == 0)
                assert len(tools.records_in(valkey.frames(1))) == 20

    tools.run(job())
