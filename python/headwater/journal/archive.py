"""Segment files that keep every applied frame for replay.

A file holds a head and entries, each with its own checksum. A file's name carries partition's
epoch and first position; it counts only as far as the ledger lists it, so what a fenced owner
or a crash left behind is never read. A file is never changed: when an erasure is carried into what
was written before it, another takes its place on the list.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypedDict

from headwater import limits
from headwater.errors import JournalError

_MAGIC: Final = b"HWARCH1\n"
# Magic, partition, epoch.
_HEAD: Final = struct.Struct("<8sQQ")
# Length of what follows the checksum field, checksum of it.
_GUARD: Final = struct.Struct("<II")
# Stream milliseconds and sequence, length of the quarantine reason and of the chain digest.
_ENTRY: Final = struct.Struct("<QQHB")
_LOCK: Final = "archive.lock"

Position = tuple[int, int]


class ArchivedEntry(NamedTuple):
    """A frame of the log at its place."""

    ms: int
    seq: int
    frame: bytes
    reason: str | None
    """Why it is quarantined, or None."""
    chain_digest: bytes | None = None
    """What the chain digest was after it when the ledger committed it; None: what the frame itself
    leads to. It is there where an erasure, carried into the archive, has touched the frame or what
    came of it."""

    @property
    def position(self) -> Position:
        return self.ms, self.seq


class ArchiveCorrupt(JournalError):
    """A listed part of an archive segment is missing or damaged."""


class SegmentFact(TypedDict):
    """What the ledger's manifest holds of one file. Positions are (ms, seq), both included."""

    name: str
    first: Position
    last: Position
    length: int
    sealed: bool


class ArchiveWriter:
    """Appends the frames of one partition under one epoch; nothing else writes its files."""

    def __init__(
        self,
        directory: Path,
        partition: int,
        epoch: int,
        *,
        segment_bytes: int = limits.ARCHIVE_SEGMENT_BYTES,
    ) -> None:
        self._directory = directory
        self._partition = partition
        self._epoch = epoch
        self._segment_bytes = segment_bytes
        self._fd = -1
        self._fact: SegmentFact | None = None
        self._buffer: list[bytes] = []
        self._sealed: list[SegmentFact] = []
        self._failed = False
        directory.mkdir(parents=True, exist_ok=True)

    def append(self, ms: int, seq: int, frame: bytes, quarantine_reason: str | None) -> None:
        """Take one entry; it is on disk when `sync` has returned."""
        fact = self._fact
        if fact is not None and (
            fact["length"] >= self._segment_bytes
            or ms - fact["first"][0] >= limits.ARCHIVE_SEGMENT_MS
        ):
            self._seal()
            fact = None
        if fact is None:
            fact = self._open((ms, seq))
        entry = _encode(ArchivedEntry(ms, seq, frame, quarantine_reason))
        self._buffer.append(entry)
        fact["length"] += len(entry)
        fact["last"] = (ms, seq)

    def sync(self) -> list[SegmentFact]:
        """Write and fdatasync what was appended; the files as they are to be listed.

        Raises OSError; the writer is of no use afterwards, for what is on disk is not known.
        """
        if self._failed:
            raise JournalError("the archive writer has failed before")
        changed = bool(self._buffer)
        try:
            self._flush()
        except OSError:
            self._failed = True
            raise
        facts, self._sealed = self._sealed, []
        if changed and self._fact is not None:
            facts.append(self._fact.copy())
        return facts

    def close(self) -> None:
        """Close the file; entries since the last `sync` are given up."""
        self._buffer.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._fact = None

    def _open(self, first: Position) -> SegmentFact:
        name = f"{self._epoch:010d}-{first[0]:015d}-{first[1]}.archive"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._directory / name, flags, 0o600)
        sync_directory(self._directory)
        self._buffer.append(_HEAD.pack(_MAGIC, self._partition, self._epoch))
        self._fact = SegmentFact(
            name=name, first=first, last=first, length=_HEAD.size, sealed=False
        )
        return self._fact

    def _seal(self) -> None:
        assert self._fact is not None  # noqa: S101 - for the type checker
        try:
            self._flush()
        except OSError:
            self._failed = True
            raise
        os.close(self._fd)
        self._fd = -1
        self._fact["sealed"] = True
        self._sealed.append(self._fact)
        self._fact = None

    def _flush(self) -> None:
        if not self._buffer:
            return
        view = memoryview(b"".join(self._buffer))
        while view:
            view = view[os.write(self._fd, view) :]
        self._buffer.clear()
        os.fdatasync(self._fd)


def sync_directory(directory: Path) -> None:
    """Make names created or removed in a folder durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_segment(path: Path, length: int) -> Iterator[ArchivedEntry]:
    """The entries in the first `length` bytes of a file, in order.

    Raises ArchiveCorrupt when they are not all there or a checksum is wrong.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size or not head.startswith(_MAGIC):
                raise ArchiveCorrupt(f"{path.name}: not an archive segment")
            at = _HEAD.size
            while at < length:
                guard = file.read(_GUARD.size)
                size, checksum = _GUARD.unpack(guard) if len(guard) == _GUARD.size else (0, 0)
                if not _ENTRY.size <= size <= length - at - _GUARD.size:
                    raise ArchiveCorrupt(f"{path.name}: damaged at byte {at}")
                payload = file.read(size)
                if len(payload) != size or zlib.crc32(payload) != checksum:
                    raise ArchiveCorrupt(f"{path.name}: damaged at byte {at}")
                yield _decode(payload)
                at += _GUARD.size + size
    except OSError as error:
        raise ArchiveCorrupt(f"{path.name}: {error}") from error


def rewrite_segment(
    source: Path, length: int, target: Path, change: Callable[[ArchivedEntry], ArchivedEntry]
) -> int:
    """Write the entries in the first `length` bytes of `source`, changed, to a new file `target`;
    its length. It is on disk when this returns.

    Raises ArchiveCorrupt as `read_segment`, OSError when the file cannot be written.
    """
    with target.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        with source.open("rb") as former:
            file.write(former.read(_HEAD.size))
        for entry in read_segment(source, length):
            file.write(_encode(change(entry)))
        file.flush()
        os.fsync(file.fileno())
        written = file.tell()
    sync_directory(target.parent)
    return written


@contextmanager
def archive_held(data: Path, *, alone: bool = False) -> Iterator[None]:
    """Keep the files of a data folder's archive as they are, for as long as they are read; `alone`:
    wait until nobody reads, and keep everybody out. Held twice by one process it is held once more.
    """
    data.mkdir(parents=True, exist_ok=True)
    fd = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def _encode(entry: ArchivedEntry) -> bytes:
    reason = (entry.reason or "").encode()
    digest = entry.chain_digest or b""
    head = _ENTRY.pack(entry.ms, entry.seq, len(reason), len(digest))
    payload = head + reason + digest + entry.frame
    return _GUARD.pack(len(payload), zlib.crc32(payload)) + payload


def _decode(payload: bytes) -> ArchivedEntry:
    ms, seq, reason_bytes, digest_bytes = _ENTRY.unpack_from(payload)
    digest_at = _ENTRY.size + reason_bytes
    frame_at = digest_at + digest_bytes
    reason = payload[_ENTRY.size : digest_at].decode() if reason_bytes else None
    digest = payload[digest_at:frame_at] if digest_bytes else None
    return ArchivedEntry(ms, seq, payload[frame_at:], reason, digest)
