"""The spool's files: torn, damaged, locked, taken over, released."""

from __future__ import annotations

import errno
import logging
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import journal_tools as tools
from headwater import _core, limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.ranges import RangeSet
from headwater.journal.segment import ENTRY, HEAD
from headwater.journal.spool import LOCK, Spool, SpoolLocked, orphans
from headwater.model import records

PRODUCER = 5


def folder_of(root: Path, producer: int = PRODUCER) -> Path:
    return root / keys.producer_name(producer)


def filled(root: Path, count: int = 4, **bounds: int) -> list[bytes]:
    """A spool left behind with `count` frames of growing size."""
    spool = Spool(folder_of(root), PRODUCER, **bounds)
    frames = [tools.frame_of(0, PRODUCER, 1 + n, 1, 30 + n) for n in range(count)]
    for frame in frames:
        spool.append(0, frame)
    spool.close()
    return frames


def contents(root: Path) -> list[bytes]:
    spool = Spool(folder_of(root), PRODUCER)
    try:
        return [found.frame for found in spool.frames(0)]
    finally:
        spool.close()


def only_file(root: Path) -> Path:
    [path] = folder_of(root).glob("*.spool")
    return path


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)
    frame = tools.frame_of(2, PRODUCER, 1, 3)
    location = spool.append(2, frame)
    assert location == (1, HEAD.size, len(frame))
    spool.sync(2)
    assert spool.bytes == len(frame) + ENTRY.size
    [found] = spool.frames(2)
    assert found.frame == frame
    assert found.name == (2, PRODUCER, 1, 3)
    assert spool.partitions == [2]
    assert list(spool.frames(0)) == []
    spool.close()


def test_bytes_that_are_no_frame_are_refused(tmp_path: Path) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)
    with pytest.raises(ValueError, match="not a frame"):
        spool.append(0, b"x" * 50)
    with pytest.raises(ValueError, match="whole"):
        spool.append(0, tools.frame_of(0, PRODUCER, 1)[:-1])
    spool.close()


def test_a_tail_torn_at_any_byte_loses_that_frame_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = filled(tmp_path)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    ends = [HEAD.size]
    for frame in frames:
        ends.append(ends[-1] + ENTRY.size + len(frame))
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = sum(length >= end for end in ends[1:])
        assert contents(tmp_path) == frames[:complete], length
    assert "spool file damaged" not in caplog.messages


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_a_flipped_byte_in_the_middle_costs_one_frame(
    tmp_path: Path, entry: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever the byte is: length, checksum, header or body."""
    frames = filled(tmp_path)
    path = only_file(tmp_path)
    whole = bytearray(path.read_bytes())
    start = HEAD.size + sum(ENTRY.size + len(frame) for frame in frames[:entry])
    for at in range(start, start + ENTRY.size + len(frames[entry])):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        assert contents(tmp_path) == frames[:entry] + frames[entry + 1 :], at
    assert "spool file damaged" in caplog.messages


def test_a_damaged_file_is_set_aside_when_the_rest_is_committed(tmp_path: Path) -> None:
    frames = filled(tmp_path)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[HEAD.size + ENTRY.size + 40] ^= 1
    path.write_bytes(data)
    spool = Spool(folder_of(tmp_path), PRODUCER)
    assert [found.frame for found in spool.frames(0)] == frames[1:]
    assert spool.release(0, RangeSet([(2, 3)])) == 0
    assert spool.release(0, RangeSet([(2, 4)])) == 1
    spool.remove()
    assert path.with_suffix(".quarantine").exists()
    assert not path.exists()
    assert orphans(tmp_path) == [], "nobody takes over what only holds damage"


def test_large_damage_is_searched_through(tmp_path: Path) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)
    first = tools.frame_of(0, PRODUCER, 1)
    large = tools.frame_of(0, PRODUCER, 2, 50, 20_000)
    last = tools.frame_of(0, PRODUCER, 52)
    for frame in (first, large, large, last):
        spool.append(0, frame)
    spool.close()
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    start = HEAD.size + ENTRY.size + len(first)
    # Overwritten with what looks like starts of frames, to be sure none is believed.
    wiped = 2 * (ENTRY.size + len(large))
    data[start : start + wiped] = (b"HWF\x01" * (wiped // 4 + 1))[:wiped]
    path.write_bytes(data)
    assert contents(tmp_path) == [first, last]


def test_frames_of_another_partition_are_not_read(tmp_path: Path) -> None:
    filled(tmp_path)
    path = only_file(tmp_path)
    path.rename(path.with_name("1-1.spool"))
    spool = Spool(folder_of(tmp_path), PRODUCER)
    assert list(spool.frames(1)) == []
    spool.close()


def test_files_roll_by_size_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = 1_000_000
    monkeypatch.setattr("headwater.clock.now_ms", lambda: now_ms)
    spool = Spool(folder_of(tmp_path), PRODUCER, segment_bytes=200, segment_age_ms=1000)
    numbers = [spool.append(0, tools.frame_of(0, PRODUCER, n)).segment for n in range(1, 7)]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 1
    before = numbers[-1]
    now_ms += 1000
    assert spool.append(0, tools.frame_of(0, PRODUCER, 7)).segment == before + 1
    assert spool.oldest_ms == 1_000_000
    assert len([*spool.frames(0)]) == 7
    spool.release(0, RangeSet([(1, 6)]))
    assert spool.oldest_ms == now_ms
    spool.close()


def test_release_deletes_whole_committed_files_only(tmp_path: Path) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER, segment_bytes=1)
    for number in range(1, 6):
        spool.append(0, tools.frame_of(0, PRODUCER, number * 2, 2))
    assert spool.release(0, RangeSet([(1, 3), (6, 6), (8, 9)])) == 2
    assert [found.name.first_sequence for found in spool.frames(0)] == [4, 6, 10]
    assert spool.bytes == sum(len(found.frame) + ENTRY.size for found in spool.frames(0))
    assert spool.release(0, RangeSet([(1, 11)])) == 3
    assert spool.empty
    assert spool.bytes == 0
    assert spool.oldest_ms is None
    spool.remove()
    assert not folder_of(tmp_path).exists()


def test_a_file_in_use_is_not_released(tmp_path: Path) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)
    spool.append(0, tools.frame_of(0, PRODUCER, 1))
    [segment] = spool.segments(0)
    segment.pins += 1
    assert spool.release(0, RangeSet([(1, 1)])) == 0
    segment.pins -= 1
    assert spool.release(0, RangeSet([(1, 1)])) == 1
    spool.close()


def test_a_file_not_read_through_is_not_released(tmp_path: Path) -> None:
    filled(tmp_path)
    spool = Spool(folder_of(tmp_path), PRODUCER)
    assert spool.release(0, RangeSet([(1, 100)])) == 0
    assert len([*spool.frames(0)]) == 4
    assert spool.release(0, RangeSet([(1, 100)])) == 1
    spool.close()


def test_one_process_a_folder(tmp_path: Path) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)
    assert orphans(tmp_path) == []
    with pytest.raises(SpoolLocked):
        Spool(folder_of(tmp_path), PRODUCER)
    spool.append(0, tools.frame_of(0, PRODUCER, 1))
    spool.close()
    assert orphans(tmp_path) == [folder_of(tmp_path)]


def test_orphans_ignores_what_is_no_spool(tmp_path: Path) -> None:
    assert orphans(tmp_path / "missing") == []
    (tmp_path / "readme").write_text("x")
    (tmp_path / "0000").mkdir()
    filled(tmp_path)
    assert orphans(tmp_path) == [folder_of(tmp_path)]


def test_a_folder_left_half_removed_is_an_orphan_and_goes(tmp_path: Path) -> None:
    folder_of(tmp_path).mkdir()
    assert orphans(tmp_path) == [folder_of(tmp_path)]
    spool = Spool(folder_of(tmp_path), PRODUCER)
    spool.remove()
    assert not folder_of(tmp_path).exists()


def test_a_lock_removed_under_the_hands_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened, then removed by the former holder before the lock was got."""
    filled(tmp_path)
    real_open = os.open

    def open_then_removed(path: Any, *args: Any, **options: Any) -> int:
        fd = real_open(path, *args, **options)
        if Path(path).name == LOCK:
            shutil.rmtree(folder_of(tmp_path))
        return fd

    monkeypatch.setattr("headwater.journal.spool.os.open", open_then_removed)
    with pytest.raises((SpoolLocked, FileNotFoundError)):
        Spool(folder_of(tmp_path), PRODUCER)


def test_a_full_disk_by_the_file_size_limit(tmp_path: Path) -> None:
    """The kernel itself refuses the write, in a process of its own."""
    script = """
import resource, sys
from pathlib import Path
import journal_tools as tools
from headwater.errors import JournalError
from headwater.journal.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
spool = Spool(Path(sys.argv[1]), 5)
taken = 0
for number in range(1, 40):
    spool.append(0, tools.frame_of(0, 5, number))
    taken += 1
assert len(spool.segments(0)) > 1, "a new file for each that failed"
try:
    spool.append(0, tools.frame_of(0, 5, 50, 1, 600))
except JournalError:
    print("refused", taken, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder_of(tmp_path))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(tools.__file__).parent)},
    )
    assert done.stdout == "refused 39\n"
    assert len(contents(tmp_path)) == 39
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 500


def test_a_failed_fsync_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)
    spool.append(0, tools.frame_of(0, PRODUCER, 1))
    calls = 0

    def fail(_fd: int) -> None:
        nonlocal calls
        calls += 1
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("headwater.journal.segment.os.fdatasync", fail)
    for _ in range(2):
        with pytest.raises(OSError, match=r"error|failed"):
            spool.sync(0)
    assert calls == 1, "a second fsync would say yes to what is lost"
    assert spool.append(0, tools.frame_of(0, PRODUCER, 2)).segment == 2
    spool.close()


def test_no_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)

    def fail(_fd: int, _data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("headwater.journal.segment.os.write", fail)
    with pytest.raises(JournalError, match="takes no frame"):
        spool.append(0, tools.frame_of(0, PRODUCER, 1))
    assert spool.empty
    assert [path.name for path in folder_of(tmp_path).iterdir()] == [LOCK]
    spool.close()


def test_damage_at_the_end_of_a_file_that_is_not_the_last_is_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, 3, segment_bytes=1)
    first = sorted(folder_of(tmp_path).glob("*.spool"))[0]
    first.write_bytes(first.read_bytes()[:-1])
    with caplog.at_level(logging.INFO):
        assert len(contents(tmp_path)) == 2
    assert "spool file damaged" in caplog.messages


def test_the_largest_frame_is_read_back(tmp_path: Path) -> None:
    spool = Spool(folder_of(tmp_path), PRODUCER)
    frame = tools.frame_of(0, PRODUCER, 1, 32, 32 * limits.KIB)
    small = tools.frame_of(0, PRODUCER, 33)
    assert len(frame) + len(small) > limits.MIB
    fits = tools.frame_of(0, PRODUCER, 1, 31, 32 * limits.KIB)
    for item in (fits, small, fits):
        spool.append(0, item)
    [segment] = spool.segments(0)
    chunk = segment.read(0, segment.size, 1000)
    assert [found.frame for found in chunk.frames] == [fits]
    assert len([*spool.frames(0)]) == 3
    spool.close()


def test_the_stand_in_of_these_tests_makes_the_real_frame() -> None:
    record = records.encode(
        records.Record(
            records.Kind.TICK,
            bytes(16),
            0,
            1,
            None,
            records.Trust.SERVER,
            records.Source.CLOCK,
            (),
        )
    )
    frame = tools.encode_frame(3, PRODUCER, 9, [record, record])
    assert frame == _core.encode_frame(3, PRODUCER, 9, [record, record])
    name = keys.frame_name(frame)
    assert _core.frame_header(frame) == (1, *name[:1], name.records, *name[1:3])
