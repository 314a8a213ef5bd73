"""The matcher's side of the log: reading, generations, publishing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgpack
import pytest

import journal_tools as tools
from headwater import limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.stream import GenerationChanged, StreamReader

short_folder = tools.short_folder
valkey = tools.valkey
FAR_MS = 5_000_000_000_000


@pytest.fixture
def reader(valkey: tools.Server) -> Iterator[StreamReader]:
    reader = StreamReader(valkey.url, [0, 1])
    reader.begin_generation(1, {0: (0, 0), 1: (0, 0)})
    yield reader
    reader.close()


def frame(number: int, partition: int = 0) -> bytes:
    return tools.frame_of(partition, 9, number)


def test_entries_come_in_order_after_the_position(reader: StreamReader) -> None:
    placed = [reader.append(0, frame(number)) for number in range(1, 6)]
    assert placed == sorted(placed)
    read = reader.read({0: (0, 0), 1: (0, 0)}, 3, 0)
    assert read == {0: [(*placed[n], frame(n + 1)) for n in range(3)]}
    assert [e[:2] for e in reader.read({0: placed[2]}, 10, 0)[0]] == placed[3:]
    assert reader.read({0: placed[-1], 1: (0, 0)}, 10, 20) == {}


def test_a_read_of_large_frames_is_bounded(
    reader: StreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES_MAX", 100_000)
    for number in range(20):
        reader.append(0, tools.frame_of(0, 9, 1 + number, 1, 20_000))
    first = reader.read({0: (0, 0)}, 10, 0)[0]
    assert len(reader.read({0: first[-1][:2]}, 1000, 0)[0]) <= 5


def test_an_entry_that_holds_no_frame_is_passed_on(
    valkey: tools.Server, reader: StreamReader
) -> None:
    with valkey.client() as client:
        client.xadd(keys.stream(0), {"other": "thing"})
    assert reader.read({0: (0, 0)}, 10, 0)[0][0][2] == b""


def test_flushall_is_noticed(valkey: tools.Server, reader: StreamReader) -> None:
    position = reader.append(0, frame(1))
    with valkey.client() as client:
        client.flushall()
    with pytest.raises(GenerationChanged):
        reader.read({0: position}, 10, 0)
    with pytest.raises(GenerationChanged):
        reader.read({0: position}, 10, 0)
    reader.begin_generation(2, {0: position, 1: (0, 0)})
    assert reader.read({0: position, 1: (0, 0)}, 10, 0) == {}
    assert reader.append(0, frame(2)) > position


def test_another_matchers_generation_is_noticed(valkey: tools.Server, reader: StreamReader) -> None:
    other = StreamReader(valkey.url, [0])
    other.begin_generation(2, {0: (0, 0)})
    with pytest.raises(GenerationChanged):
        reader.read({0: (0, 0)}, 10, 0)
    other.close()


def test_a_restarted_server_is_noticed_even_with_its_data(
    valkey: tools.Server, reader: StreamReader
) -> None:
    position = reader.append(0, frame(1))
    valkey.kill()
    with pytest.raises(JournalError):
        reader.read({0: (0, 0)}, 10, 0)
    valkey.start()
    with pytest.raises(GenerationChanged) as caught:
        reader.read({0: (0, 0)}, 10, 0)
    assert caught.value.run_id not in ("", reader.run_id)
    reader.begin_generation(2, {0: position, 1: (0, 0)})
    assert reader.run_id == caught.value.run_id
    assert reader.append(0, frame(2)) > position


def test_a_new_matcher_checks_what_the_ledger_says(
    valkey: tools.Server, reader: StreamReader
) -> None:
    run_id = reader.run_id
    fresh = StreamReader(valkey.url, [0])
    fresh.expect(1, run_id)
    assert fresh.read({0: (0, 0)}, 10, 0) == {}
    for number, server in ((2, run_id), (1, "another"), (1, None), (11, run_id)):
        fresh.expect(number, server)
        with pytest.raises(GenerationChanged):
            fresh.read({0: (0, 0)}, 10, 0)
    fresh.close()


@pytest.mark.parametrize("gone", [True, False])
def test_a_server_whose_clock_is_behind(
    valkey: tools.Server, reader: StreamReader, gone: bool
) -> None:
    """Positions far in the server's future: what is appended still comes after them."""
    if not gone:
        reader.append(0, frame(1))
    reader.begin_generation(2, {0: (FAR_MS, 7), 1: (0, 0)}, {0: frame(50)}, {0: [frame(40)]})
    placed = reader.append(0, frame(2))
    assert placed > (FAR_MS, 7)
    found = reader.read({0: (FAR_MS, 7)}, 10, 0)[0]
    assert [entry[2] for entry in found] == [frame(40), frame(50), frame(2)]


def test_a_stream_ahead_of_the_position_is_left_as_it_is(reader: StreamReader) -> None:
    first = reader.append(0, frame(1))
    second = reader.append(0, frame(2))
    reader.begin_generation(2, {0: first, 1: (0, 0)})
    assert reader.read({0: first}, 10, 0) == {0: [(*second, frame(2))]}


def test_trim_keeps_what_is_not_committed(valkey: tools.Server, reader: StreamReader) -> None:
    placed = [reader.append(0, frame(number)) for number in range(1, 6)]
    assert reader.trim(0, placed[3]) == 3
    assert valkey.frames() == [frame(4), frame(5)]


def test_published_ranges_decisions_and_status(valkey: tools.Server, reader: StreamReader) -> None:
    with valkey.client() as client, client.pubsub() as listening:
        listening.subscribe(keys.decided(9))
        assert listening.get_message(timeout=60)
        reader.publish(
            {0: {9: [(1, 5), (8, 9)]}, 1: {}},
            [(9, b"event", "cnv_1", b"message", b"decision")],
        )
        message = None
        while message is None:
            message = listening.get_message(timeout=60)
        assert message["data"] == b"message"
        packed = client.hget(keys.committed(0), keys.producer_name(9))
        assert msgpack.unpackb(packed) == [[1, 5], [8, 9]]
        assert client.get(keys.decision("cnv_1")) == b"decision"
        assert 86_000 < client.ttl(keys.decision("cnv_1")) <= 86_400
        reader.keep_decisions([("cnv_2", b"older")])
        assert client.get(keys.decision("cnv_2")) == b"older"
        reader.status(b"well")
        assert client.get(keys.MATCHER) == b"well"
        assert 0 < client.ttl(keys.MATCHER) <= 10
        client.rpush(keys.LOOKUP, "cnv_3", "cnv_4")
        assert reader.take_lookups(5) == ["cnv_3", "cnv_4"]
        reader.publish({}, [])


def test_a_refusal_is_an_error_and_the_connection_stays(
    valkey: tools.Server, reader: StreamReader
) -> None:
    with valkey.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(JournalError, match="maxmemory") as caught:
            reader.append(0, frame(1))
        assert "HWF" not in str(caught.value), "no frame ends up in a log"
        client.config_set("maxmemory", 0)
    assert reader.append(0, frame(1)) > (0, 0)


def test_a_blocking_read_ends_when_an_entry_comes(
    valkey: tools.Server, reader: StreamReader
) -> None:
    started = time.monotonic()
    assert reader.read({0: (0, 0), 1: (0, 0)}, 10, 50) == {}
    assert 0.04 < time.monotonic() - started < 20


def test_decisions_make_room_for_the_log_while_redis_is_over_half_full(
    valkey: tools.Server, reader: StreamReader
) -> None:
    with valkey.client() as client:
        used = int(client.info("memory")["used_memory"])
        for bound, kept_s in ((used * 8, 86_400), (used + used // 2, 300), (0, 86_400)):
            client.config_set("maxmemory", bound)
            reader.watch_memory()
            reader.keep_decisions([("cnv_1", b"decision")])
            assert kept_s - 10 < client.ttl(keys.decision("cnv_1")) <= kept_s
