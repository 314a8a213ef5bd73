"""Archive files: what is listed is read back exactly, what is damaged is said."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from headwater import limits
from headwater.errors import JournalError
from headwater.journal.archive import (
    ArchiveCorrupt,
    ArchivedEntry,
    ArchiveWriter,
    archive_held,
    read_segment,
    rewrite_segment,
)

ENTRIES = [
    ArchivedEntry(1000 + n, n, b"frame %d" % n * (n + 1), None if n % 3 else "panic")
    for n in range(9)
]


def test_entries_come_back_with_their_positions_and_reasons(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, 3, 7)
    for entry in ENTRIES[:5]:
        writer.append(*entry[:4])
    [first] = writer.sync()
    for entry in ENTRIES[5:]:
        writer.append(*entry[:4])
    [fact] = writer.sync()
    assert writer.sync() == [], "nothing new, nothing to list"
    writer.close()
    assert fact["name"] == first["name"] == "0000000007-000000000001000-0.archive"
    assert (fact["first"], fact["last"], fact["sealed"]) == ((1000, 0), (1008, 8), False)
    path = tmp_path / fact["name"]
    assert fact["length"] == path.stat().st_size
    assert list(read_segment(path, fact["length"])) == ENTRIES
    assert list(read_segment(path, first["length"])) == ENTRIES[:5]


def test_files_roll_and_every_one_is_listed_sealed(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, 3, 7, segment_bytes=100)
    facts = {}
    for entry in ENTRIES:
        writer.append(*entry[:4])
        facts.update({fact["name"]: fact for fact in writer.sync()})
    writer.append(2000, 0, b"last", None)
    for fact in writer.sync():
        facts[fact["name"]] = fact
    writer.close()
    listed = sorted(facts.values(), key=lambda fact: fact["first"])
    assert len(listed) > 2
    assert [fact["sealed"] for fact in listed] == [True] * (len(listed) - 1) + [False]
    read = [e for fact in listed for e in read_segment(tmp_path / fact["name"], fact["length"])]
    assert read == [*ENTRIES, ArchivedEntry(2000, 0, b"last", None)]


def test_what_was_not_synced_is_not_listed(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, 0, 1)
    writer.append(*ENTRIES[0][:4])
    [fact] = writer.sync()
    writer.append(*ENTRIES[1][:4])
    writer.close()
    assert list(read_segment(tmp_path / fact["name"], fact["length"])) == ENTRIES[:1]


def test_two_epochs_never_share_a_file(tmp_path: Path) -> None:
    names = set()
    for epoch in (1, 2):
        writer = ArchiveWriter(tmp_path, 0, epoch)
        writer.append(*ENTRIES[0][:4])
        names |= {fact["name"] for fact in writer.sync()}
        writer.close()
    assert len(names) == 2
    again = ArchiveWriter(tmp_path, 0, 2)
    with pytest.raises(FileExistsError):
        again.append(*ENTRIES[0][:4])


def test_any_flipped_byte_is_found(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, 0, 1)
    for entry in ENTRIES[:3]:
        writer.append(*entry[:4])
    [fact] = writer.sync()
    writer.close()
    path = tmp_path / fact["name"]
    whole = path.read_bytes()
    # Partition and epoch in the head are for people; the ledger lists them.
    for at in [*range(8), *range(24, len(whole))]:
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(ArchiveCorrupt):
            list(read_segment(path, fact["length"]))


def test_a_missing_or_short_file_is_said(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, 0, 1)
    writer.append(*ENTRIES[0][:4])
    [fact] = writer.sync()
    writer.close()
    path = tmp_path / fact["name"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArchiveCorrupt):
        list(read_segment(path, fact["length"]))
    path.unlink()
    with pytest.raises(ArchiveCorrupt):
        list(read_segment(path, fact["length"]))


def test_a_failed_fsync_ends_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writer = ArchiveWriter(tmp_path, 0, 1)
    writer.append(*ENTRIES[0][:4])
    monkeypatch.setattr("headwater.journal.archive.os.fdatasync", fail)
    with pytest.raises(OSError, match="Input/output"):
        writer.sync()
    with pytest.raises(JournalError):
        writer.sync()
    writer.close()


@pytest.mark.parametrize(("age_ms", "files"), [(-1, 1), (0, 2)])
def test_a_file_ends_after_a_day_of_the_logs_time(tmp_path: Path, age_ms: int, files: int) -> None:
    writer = ArchiveWriter(tmp_path, 0, 1)
    writer.append(5000, 0, b"first", None)
    writer.append(5000 + limits.ARCHIVE_SEGMENT_MS + age_ms, 0, b"later", None)
    facts = writer.sync()
    writer.close()
    assert [fact["sealed"] for fact in facts] == [True] * (files - 1) + [False]


def test_a_file_written_anew_holds_what_was_changed_and_all_else(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, 3, 7)
    for entry in ENTRIES:
        writer.append(*entry[:4])
    [fact] = writer.sync()
    writer.close()
    former, anew = tmp_path / fact["name"], tmp_path / "anew"
    touched = {2: b"d" * 32, 3: b"e" * 32}

    def change(entry: ArchivedEntry) -> ArchivedEntry:
        digest = touched.get(entry.seq)
        return entry._replace(frame=entry.frame.upper(), chain_digest=digest) if digest else entry

    length = rewrite_segment(former, fact["length"], anew, change)
    assert length == anew.stat().st_size
    assert anew.stat().st_mode & 0o777 == 0o600
    assert list(read_segment(anew, length)) == [change(entry) for entry in ENTRIES]
    # Partition and epoch stand in the head.
    assert anew.read_bytes()[:24] == former.read_bytes()[:24]
    with pytest.raises(FileExistsError):
        rewrite_segment(former, fact["length"], anew, change)


def test_readers_share_the_archive_and_who_changes_it_is_alone(tmp_path: Path) -> None:
    held = []
    with archive_held(tmp_path), archive_held(tmp_path):
        waiting = threading.Thread(target=lambda: held.append(enter(tmp_path)))
        waiting.start()
        waiting.join(0.2)
        assert held == []
    waiting.join(60)
    assert held == [True]


def enter(folder: Path) -> bool:
    with archive_held(folder, alone=True):
        return True
