"""What a matcher finds and leaves behind: ids it has forgotten, frames set aside, files of others.

The ledger, the engine and the files are real; the log is given by hand, so that days pass at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import journal_tools as tools
from headwater import _core, ids
from headwater.journal.config_feed import ConfigFeed, publish_config, reseed
from headwater.journal.resp import RespClient
from headwater.journal.segment import Chunk, Segment
from headwater.ledger import matching, queries
from headwater.ledger.decisions import decision_by_id
from headwater.ledger.engine import Ledger
from headwater.matcher.outcomes import decisions_to_tell
from headwater.matcher.partition import Partition
from headwater.matcher.recovery import Entry, rebuild, snapshot_folder
from headwater.matcher.snapshots import Snapshots
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    ConversionBody,
    IdentifyBody,
    Kind,
    Money,
    Record,
    Source,
    Trust,
    encode,
)
from headwater.ops.verify import verify_partition
from ledger_tools import acquired, ledger_in

short_folder = tools.short_folder
valkey = tools.valkey

T0 = 1_800_000_000_000
DAY_MS = 86_400_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path, 1) as opened:
        yield opened


def owner(ledger: Ledger, data: Path) -> Partition:
    """The partition in the hands of a process that has just started."""
    row = acquired(ledger)
    engine = rebuild(ledger, data, row)
    return Partition(row, engine, data, matching.quarantined(ledger, 0))


def commit(ledger: Ledger, partition: Partition, entries: Sequence[Entry]) -> dict[str, Any]:
    """Apply, commit, and the outcomes with what is told of them."""
    batch = partition.apply(list(entries))
    committed = matching.commit(ledger, [batch], lease_until_ms=0)
    partition.committed(batch)
    told = decisions_to_tell(ledger, [batch.outcomes], committed)
    return {**batch.outcomes, "told": told, "decided_before": committed.decided_before}


def record_of(kind: Kind, event_id: bytes, at_ms: int, body: Any) -> bytes:
    return encode(Record(kind, event_id, 1, at_ms, None, Trust.SERVER, Source.S2S, body))


def seen(event_id: bytes, at_ms: int) -> bytes:
    return record_of(Kind.IDENTIFY, event_id, at_ms, IdentifyBody(1, 0, (), NO_CLIENT))


def sold(event_id: bytes, at_ms: int) -> bytes:
    body = ConversionBody(
        *(bytes(16), 1, 1, "A-1", "main", 0, None, ()),
        *(Money(1000, "EUR", None, None, None), None, "new", (), {}, NO_CLIENT, None),
    )
    return record_of(Kind.CONVERSION, event_id, at_ms, body)


def frame_of(*records: bytes, producer: int = 5, first: int = 1) -> bytes:
    return _core.encode_frame(0, producer, first, list(records))


def test_an_idempotency_key_used_again_after_days_does_not_stop_the_matcher(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The key gives the event's id; the engine remembers it for two days, the ledger for ever."""
    key = bytes(range(16))
    partition = owner(ledger, tmp_path)
    commit(ledger, partition, [(T0, 0, frame_of(seen(key, T0), sold(bytes([9]) * 16, T0)))])
    later = T0 + 3 * DAY_MS
    other = ids.event_id(later)
    frame = frame_of(
        *(seen(key, later), seen(other, later), sold(bytes([9]) * 16, later)), producer=6
    )
    outcomes = commit(ledger, partition, [(later, 0, frame)])
    assert len(outcomes["observations"]) == 2, "the engine takes it for new"
    counts = queries.row_counts(ledger)
    assert (counts["observations"], counts["conversion_reports"]) == (2, 1)
    assert partition.position == (later, 0)
    assert not verify_partition(ledger, tmp_path, matching.partition_rows(ledger)[0]).snapshots


def test_an_order_reported_again_after_the_engine_forgot_it_keeps_its_decision(
    ledger: Ledger, tmp_path: Path
) -> None:
    partition = owner(ledger, tmp_path)
    click = ClickBody(1, 4, 1, 0, (), {}, NO_CLIENT)
    first = [record_of(Kind.CLICK, ids.event_id(T0), T0, click), sold(ids.event_id(T0), T0)]
    commit(ledger, partition, [(T0, 0, frame_of(*first))])
    decided = decision_by_id(ledger, bytes(16))
    later = T0 + 401 * DAY_MS
    frame = frame_of(sold(ids.event_id(later), later), producer=6)
    outcomes = commit(ledger, partition, [(later, 0, frame)])
    assert outcomes["decided_before"] == {bytes(16)}
    assert decision_by_id(ledger, bytes(16)) == decided
    assert len(outcomes["told"]) == 1


@pytest.mark.parametrize("why", ["ordered", "malformed"])
def test_a_frame_set_aside_is_settled_for_its_producer(
    ledger: Ledger, tmp_path: Path, why: str
) -> None:
    """Its bytes are in the ledger. Else the edge keeps the spool file until it is a day old, and
    then takes no event any more.
    """
    frame = frame_of(seen(bytes(16), T0), first=7)
    if why == "malformed":
        frame = tools.encode_frame(0, 5, 7, [b"\xc1"])
    else:
        matching.add_quarantine(ledger, 0, acquired(ledger).epoch, (T0, 0), "panic", frame)
    partition = owner(ledger, tmp_path)
    outcomes = commit(ledger, partition, [(T0, 0, frame), (T0, 1, b"nobody's")])
    assert list(outcomes["producers"]) == [5]
    assert partition.engine.ranges(5) == [(7, 7)]
    assert partition.engine.seen() == {5: [(7, 7)]}
    # The same frame under another id, after a loss of the log, is a repeat and harms nothing.
    again = commit(ledger, partition, [(T0 + 1, 0, frame)])
    assert again["observations"] == []
    assert not verify_partition(ledger, tmp_path, matching.partition_rows(ledger)[0]).snapshots


def test_a_frame_with_a_wrong_checksum_speaks_for_nobody(ledger: Ledger, tmp_path: Path) -> None:
    whole = frame_of(seen(bytes(16), T0))
    partition = owner(ledger, tmp_path)
    outcomes = commit(ledger, partition, [(T0, 0, whole[:-1] + b"?")])
    assert [row[2] for row in outcomes["quarantined"]] == ["bad_checksum"]
    assert partition.engine.seen() == {}
    assert len(commit(ledger, partition, [(T0, 1, whole)])["observations"]) == 1


def test_snapshots_of_earlier_owners_that_nothing_lists_are_deleted(
    ledger: Ledger, tmp_path: Path
) -> None:
    first = owner(ledger, tmp_path)
    commit(ledger, first, [(T0, 0, frame_of(seen(bytes(16), T0)))])
    Snapshots(ledger, tmp_path, 60_000).finish([first])
    folder = snapshot_folder(tmp_path, 0)
    (listed,) = [path.name for path in folder.iterdir()]
    fenced = folder / f"{first.epoch:08d}-{T0 + 1}-0.snap"
    fenced.write_bytes(b"half")
    second = owner(ledger, tmp_path)
    coming = folder / f"{second.epoch + 1:08d}-{T0 + 2}-0.snap"
    coming.write_bytes(b"of who comes next")
    Snapshots(ledger, tmp_path, 60_000).forget_unlisted([second])
    assert {path.name for path in folder.iterdir()} == {listed, coming.name}


def test_a_snapshot_that_does_not_fit_on_the_disk_leaves_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    partition = owner(ledger, tmp_path)
    commit(ledger, partition, [(T0, 0, frame_of(seen(bytes(16), T0)))])
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        Snapshots(ledger, tmp_path, 60_000).finish([partition])
    assert list(snapshot_folder(tmp_path, 0).iterdir()) == []
    assert matching.snapshot_facts(ledger, 0) == []
    Snapshots(ledger, tmp_path, 60_000).finish([partition])
    assert len(matching.snapshot_facts(ledger, 0)) == 1


def test_an_edge_keeps_its_links_when_redis_is_restored_to_an_older_state(
    valkey: tools.Server, short_folder: Path
) -> None:
    """The publisher may be away: until it seeds anew, what the edge holds is the newer."""
    held: dict[int, Any] = {}

    def take(_kind: str, number: int, value: dict[str, Any] | None) -> None:
        held[number] = value

    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await reseed(client, [(1, "link", 1, {"code": "one"})])
        seed = await client.call("GET", "hw:config:seed")
        file = short_folder / "edge" / "config.bin"
        feed = ConfigFeed(valkey.url, file, take)
        await feed.start()
        await tools.until(lambda: feed.revision == 1)
        newer = [(2, "link", 1, {"code": "new"}), (3, "link", 2, {"code": "two"})]
        await publish_config(client, newer)
        await tools.until(lambda: feed.revision == 3)
        await feed.close()
        await reseed(client, [(1, "link", 1, {"code": "one"})])
        await client.call("SET", "hw:config:seed", seed)
        feed = ConfigFeed(valkey.url, file, take)
        await feed.start()
        await tools.until(lambda: feed.fresh)
        assert held == {1: {"code": "new"}, 2: {"code": "two"}}
        # The publisher says what is true now, whatever the revision.
        await reseed(client, [(1, "link", 1, {"code": "one"})])
        await tools.until(lambda: held == {1: {"code": "one"}, 2: None})
        await feed.close()
        await client.close()

    tools.run(job())


def test_a_spool_that_cannot_be_read_does_not_hold_the_others(
    valkey: tools.Server, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = short_folder / "spool"
    tools.abandoned(root, 11, 3)
    tools.abandoned(root, 12, 3)
    read = Segment.read

    def broken(segment: Segment, offset: int, end: int, bytes_max: int) -> Chunk:
        if segment.path.parent.name.endswith("b"):
            raise OSError(5, "Input/output error")
        return read(segment, offset, end, bytes_max)

    monkeypatch.setattr(Segment, "read", broken)

    async def job() -> None:
        async with tools.writing(valkey.url, root):
            await tools.until(lambda: {p for _, p, _ in valkey.sequences()} == {12})
        monkeypatch.undo()
        async with tools.writing(valkey.url, root, 8):
            await tools.until(lambda: {p for _, p, _ in valkey.sequences()} == {11, 12})

    tools.run(job())
