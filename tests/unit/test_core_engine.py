"""The engine seen from Python: outcomes, positions, digests, snapshots and panics."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from typing import Any

import msgpack
import pytest

from headwater import _core
from headwater.matcher.ordering import TABLES, ordered
from headwater.matcher.partition import decode_outcomes, merge_outcomes

T0 = 1_790_000_000_000
DAY_MS = 86_400_000
VISITOR = bytes([0x81] * 16)
CUSTOMER = bytes([0x10] * 16)
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
CLIENT = [None, AGENT, None, None, None]


def event(number: int) -> bytes:
    return number.to_bytes(16, "big")


def record(kind: int, number: int, body: list[Any], trust: int = 1) -> bytes:
    packed: bytes = msgpack.packb([kind, event(number), 1, T0, None, trust, 4, body])
    return packed


def click(number: int, identifiers: list[Any] | None = None) -> bytes:
    return record(1, number, [3, 5, 9, 0, identifiers or [], {"sub1": "a"}, CLIENT], trust=2)


def identify(number: int) -> bytes:
    return record(3, number, [3, 0, [[8, VISITOR], [1, CUSTOMER]], CLIENT])


def sale(number: int, order: int, amount: int = 1000, refused: str | None = None) -> bytes:
    money = [amount, "EUR", None, None, None]
    body = [event(order), 3, 2, f"A-{order}", "main", 0, None, [[1, CUSTOMER]], money]
    return record(4, number, [*body, None, None, [], {}, CLIENT, refused, None])


class Log:
    """Entries as a stream would hold them, a frame each."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, bytes]] = []
        self.sequence = 1

    def add(self, *records: bytes, ms: int = T0) -> tuple[int, int, bytes]:
        frame = _core.encode_frame(0, 42, self.sequence, list(records))
        self.sequence += len(records)
        self.entries.append((ms, len(self.entries), frame))
        return self.entries[-1]


def outcomes(raw: bytes) -> dict[str, Any]:
    read: dict[str, Any] = msgpack.unpackb(raw, strict_map_key=False)
    return read


@pytest.fixture
def log() -> Log:
    log = Log()
    log.add(record(5, 90, ["program", 3, 1, {"window_ms": DAY_MS, "status": "active"}]))
    log.add(click(100, [[8, VISITOR]]), identify(101))
    log.add(
        sale(102, 1), sale(103, 1), sale(104, 1, amount=5), sale(105, 2, refused="amount_invalid")
    )
    log.add(record(6, 106, ["approve", event(7), {}]), record(8, 107, []))
    return log


def test_every_outcome_has_its_table_and_shape(log: Log) -> None:
    engine = _core.Engine(0)
    out = outcomes(engine.apply(log.entries))
    lengths = {"clicks": 17, "observations": 8, "conversions": 22, "reports": 9, "rejections": 7}
    lengths |= {"controls": 5, "others": 5, "quarantined": 4, "erasures": 7, "late_evidence": 7}
    lengths |= {"decision_revised": 12}
    assert set(out) == {*lengths, "steps", "duplicates", "ticks", "producers"}
    for table, length in lengths.items():
        assert {len(row) for row in out[table]} <= {length}
    row = out["clicks"][0]
    assert row[:11] == [event(100), 1, 3, 5, 9, T0, T0, 2, 4, 0, "accept"]
    assert row[11:14] == ["counted", 1, 0]
    assert row[16] == click(100, [[8, VISITOR]])
    assert out["observations"][0] == [event(101), 3, 1, 3, T0, 1, 4, identify(101)]
    assert [row[6] for row in out["reports"]] == ["created", "repeat", "conflict"]
    assert out["reports"][0][7:] == [42, sale(102, 1)]
    assert out["rejections"] == [
        [event(105), 1, 3, T0, 4, "amount_invalid", sale(105, 2, 1000, "amount_invalid")]
    ]
    assert [row[:4] for row in out["controls"]] == [[1, "program", 3, 1]]
    assert [row[:2] for row in out["others"]] == [[event(106), 6]]
    assert (out["duplicates"], out["ticks"], out["producers"]) == (0, 1, {42: [[1, 9]]})


def test_steps_put_the_rows_in_the_order_of_the_log(log: Log) -> None:
    out = outcomes(_core.Engine(0).apply(log.entries))
    runs = list(ordered(out))
    at_ms = {ms for ms, _, _ in log.entries}
    assert [(run.table, run.length) for run in runs] == [
        ("controls", 1),
        ("clicks", 1),
        ("observations", 1),
        ("conversions", 1),
        ("reports", 3),
        ("rejections", 1),
        ("others", 1),
        ("ticks", 1),
    ]
    assert {run.time_ms for run in runs} <= at_ms
    for table in TABLES:
        assert [row for run in runs if run.table == table for row in run.rows] == out[table]


def test_the_order_does_not_depend_on_where_a_batch_ends(log: Log) -> None:
    whole, parts = _core.Engine(0), _core.Engine(0)
    cut = merge_outcomes({}, {})
    for entry in log.entries:
        merge_outcomes(cut, decode_outcomes(parts.apply([entry])))

    def rows(out: dict[str, Any]) -> list[Any]:
        return [(run.table, row) for run in ordered(out) for row in run.rows or [None] * run.length]

    assert rows(cut) == rows(decode_outcomes(whole.apply(log.entries)))


def test_rows_of_clicks_are_a_sequence_that_is_made_when_it_is_read(log: Log) -> None:
    clicks = [[8, VISITOR]]
    log.add(*(click(number, clicks) for number in range(200, 205)))
    raw = _core.Engine(0).apply(log.entries)
    told = outcomes(raw)
    expected = [tuple(row) for row in told.pop("clicks")]
    rows, rest = _core.split_outcomes(raw)
    assert outcomes(rest) == told
    assert (len(rows), list(rows)) == (6, expected)
    assert (rows[0], rows[-1]) == (expected[0], expected[-1])
    for part in (slice(2, 4), slice(None), slice(4, 99), slice(5, 2), slice(None, None, -2)):
        assert list(rows[part]) == expected[part]
    for place in (6, -7):
        with pytest.raises(IndexError):
            rows[place]
    assert list(rows + rows[:2]) == expected + expected[:2]
    assert list(_core.ClickRows() + rows + _core.ClickRows()) == expected
    assert list(rows.parameters()) == expected, "bytearray is bytes to whoever compares them"
    assert {type(value) for row in rows.parameters() for value in row} == {int, str, bytearray}
    assert rows.standings() == Counter((row[9], row[10]) for row in expected)


@pytest.mark.parametrize("cut", [0, 1, 8, 40, 90])
def test_outcomes_that_are_cut_short_are_refused(log: Log, cut: int) -> None:
    with pytest.raises(_core.FrameError):
        _core.split_outcomes(_core.Engine(0).apply(log.entries)[:cut])


def test_a_decision_comes_with_credit_and_explanation(log: Log) -> None:
    row = outcomes(_core.Engine(0).apply(log.entries))["conversions"][0]
    assert row[:8] == [event(1), 1, 3, 2, "A-1", "main", T0, T0]
    assert row[8:14] == ["attributed", None, 1000, "EUR", 0, 1]
    assert row[14] == [[5, event(100), 1_000_000]]
    explain = msgpack.unpackb(row[15])
    assert set(explain) == {
        "members", "candidates", "candidates_omitted", "hubs", "hubs_omitted", "cut",
        "cut_omitted", "truncated", "evidence", "links", "model", "nearest_miss", "config_hash",
    }  # fmt: skip
    assert explain["config_hash"] == row[16]
    assert explain["members"] == [[1, CUSTOMER], [8, VISITOR]]
    (candidate,) = explain["candidates"]
    assert candidate["path"] == [
        {"from": [1, CUSTOMER], "to": [8, VISITOR], "at_ms": T0, "event_id": event(101)},
        {"from": [8, VISITOR], "to": [6, event(100)], "at_ms": T0, "event_id": event(100)},
    ]
    assert (candidate["partner"], candidate["outcome"]) == (5, "credited")
    assert (candidate["class"], candidate["share_ppm"]) == ("click", 1_000_000)
    assert (explain["evidence"], explain["links"]) == ("server", "server")
    assert (explain["model"], explain["nearest_miss"]) == ("last_click", None)


def test_a_record_seen_before_is_dropped_by_sequence_or_by_event(log: Log) -> None:
    engine = _core.Engine(0)
    engine.apply(log.entries)
    digest = engine.chain_digest
    again = [(T0, 100 + n, frame) for n, (_, _, frame) in enumerate(log.entries)]
    out = outcomes(engine.apply(again))
    assert out["duplicates"] == 9
    assert not any(out[table] for table in ("clicks", "observations", "reports", "controls"))
    resent = _core.encode_frame(0, 43, 1, [click(100), identify(101), sale(102, 1)])
    assert outcomes(engine.apply([(T0, 200, resent)]))["duplicates"] == 3
    assert (engine.ranges(42), engine.ranges(43), engine.ranges(44)) == ([(1, 9)], [(1, 3)], [])
    assert engine.chain_digest != digest


def test_calls_may_group_entries_in_any_way(log: Log) -> None:
    whole, single = _core.Engine(0), _core.Engine(0)
    whole.apply(log.entries)
    for entry in log.entries:
        single.apply([entry])
    assert whole.chain_digest == single.chain_digest
    assert whole.view().to_bytes() == single.view().to_bytes()
    assert whole.position == single.position == (T0, 3)
    assert whole.time_ms == T0


def test_a_snapshot_and_the_rest_of_the_log_equal_the_whole_log(log: Log) -> None:
    first = _core.Engine(0)
    first.apply(log.entries[:2])
    restored = _core.Engine(0, first.view().to_bytes())
    assert restored.apply(log.entries[2:]) == first.apply(log.entries[2:])
    assert restored.chain_digest == first.chain_digest
    assert restored.view().to_bytes() == first.view().to_bytes()
    counts = [
        {name: size for name, size in engine.stats().items() if not name.endswith("_bytes")}
        for engine in (restored, first)
    ]
    assert counts[0] == counts[1]


def test_a_snapshot_that_cannot_be_used_is_refused(log: Log) -> None:
    snapshot = _core.Engine(0).view().to_bytes()
    with pytest.raises(_core.SnapshotError) as refused:
        _core.Engine(1, snapshot)
    assert refused.value.code == "wrong_partition"
    with pytest.raises(_core.SnapshotError) as refused:
        _core.Engine(0, snapshot[:-1])
    assert refused.value.code == "damaged"


def test_positions_must_rise_and_a_refused_batch_changes_nothing(log: Log) -> None:
    engine = _core.Engine(0)
    engine.apply(log.entries[:1])
    before = engine.view().to_bytes()
    for entries in (log.entries, [log.entries[2], log.entries[1]]):
        with pytest.raises(_core.PositionError):
            engine.apply(entries)
        assert engine.view().to_bytes() == before
    newer = log.entries[2][2][:3] + b"\x07" + log.entries[2][2][4:]
    with pytest.raises(_core.UnknownVersionError) as refused:
        engine.apply([log.entries[1], (T0, 2, newer)])
    assert refused.value.code == "unknown_version"
    assert engine.view().to_bytes() == before


def test_damaged_frames_are_quarantined_and_the_rest_goes_on(log: Log) -> None:
    engine = _core.Engine(0)
    frame = log.entries[1][2]
    entries = [(T0, 0, frame[:-1] + b"\xff"), (T0, 1, b"?"), (T0, 2, frame)]
    out = outcomes(engine.apply(entries))
    assert out["quarantined"] == [
        [T0, 0, "bad_checksum", frame[:-1] + b"\xff"],
        [T0, 1, "malformed", b"?"],
    ]
    assert len(out["clicks"]) == 1


def test_a_skipped_frame_moves_the_chain_and_nothing_else(log: Log) -> None:
    engine, other = _core.Engine(0), _core.Engine(0)
    for each, reason in ((engine, "panic"), (other, "malformed")):
        each.apply(log.entries[:1])
        each.skip(*log.entries[1], reason)
    assert engine.position == (T0, 1)
    assert engine.stats()["clicks_live"] == 0
    assert engine.chain_digest != other.chain_digest
    with pytest.raises(_core.PositionError):
        engine.skip(*log.entries[1], "panic")


def test_a_panic_poisons_the_engine_for_good(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    engine = _core.Engine(0, panic_on=event(103))
    with pytest.raises(_core.EnginePoisonedError) as poisoned:
        engine.apply(log.entries)
    assert (poisoned.value.ms, poisoned.value.seq) == (T0, 2)
    for call in (
        lambda: engine.apply([]),
        lambda: engine.view(),
        lambda: engine.position,
        lambda: engine.chain_digest,
        lambda: engine.stats(),
        lambda: engine.skip(T0, 9, b"", "panic"),
    ):
        with pytest.raises(_core.EnginePoisonedError):
            call()
    capfd.readouterr()


def test_the_same_log_gives_the_same_bytes_in_another_process(log: Log) -> None:
    engine = _core.Engine(0)
    raw = engine.apply(log.entries)
    program = (
        "import sys, msgpack; from headwater import _core\n"
        "entries = [tuple(entry) for entry in msgpack.unpackb(sys.stdin.buffer.read())]\n"
        "engine = _core.Engine(0); raw = engine.apply(entries)\n"
        "sys.stdout.buffer.write(raw + engine.view().to_bytes())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=msgpack.packb(log.entries),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    assert done.stdout == raw + engine.view().to_bytes()


def test_a_view_is_written_by_another_thread_while_the_engine_goes_on() -> None:
    engine, log = _core.Engine(0), Log()
    for batch in range(40):
        log.add(*(click(1000 * batch + n, [[8, event(n)]]) for n in range(100)))
    engine.apply(log.entries[:20])
    expected = engine.view().to_bytes()
    view = engine.view()
    written: list[bytes] = []
    writer = threading.Thread(target=lambda: written.extend(view.to_bytes() for _ in range(5)))
    writer.start()
    for entry in log.entries[20:]:
        engine.apply([entry])
    writer.join()
    assert written == [expected] * 5
    assert engine.stats()["clicks_live"] == 4000
