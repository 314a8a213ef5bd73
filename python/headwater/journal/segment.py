"""One file of the spool: appended by its owner, read back by whoever resends.

An entry is length, checksum, frame. The end of the last file may be torn by a kill; a damaged
entry anywhere else is stepped over by searching for the next whole one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

from headwater import limits
from headwater.journal import keys
from headwater.journal.ranges import RangeSet

_MAGIC: Final = b"HWSPOOL1"
# Magic, wall-clock milliseconds of the first frame.
HEAD: Final = struct.Struct("<8sQ")
# Length of the frame, CRC-32 of it.
ENTRY: Final = struct.Struct("<II")
_ENTRY_BYTES_MAX: Final = ENTRY.size + 1 * limits.MIB
_SEARCH_BYTES: Final = 1 * limits.MIB


class SpooledFrame(NamedTuple):
    """A frame read back, and where it stands."""

    segment: Segment
    offset: int
    name: keys.FrameName
    frame: bytes


class Chunk(NamedTuple):
    """What one read gave: frames, where to go on, bytes that were stepped over."""

    frames: list[SpooledFrame]
    next_offset: int
    damaged_bytes: int


class Segment:
    """A spool file. Fields change on the event loop's thread alone; `read`, `sync` and `discard`
    may run in another while `pins` is above zero.
    """

    __slots__ = (
        "created_ms",
        "damaged",
        "failed",
        "fd",
        "frames",
        "number",
        "partition",
        "path",
        "pins",
        "ranges",
        "scanned",
        "size",
        "synced_size",
    )

    def __init__(self, path: Path, partition: int, number: int, fd: int, size: int) -> None:
        self.path = path
        self.partition = partition
        self.number = number
        self.fd = fd
        self.size = size
        self.created_ms = 0
        self.synced_size = 0
        self.frames = 0
        self.ranges = RangeSet()
        """Sequences of the frames known to be inside."""
        self.scanned = True
        """Whether `ranges` holds every frame of the file."""
        self.damaged = False
        self.failed = False
        """A write or fsync failed: nothing is appended, and fsync is never tried again."""
        self.pins = 0

    @classmethod
    def create(cls, path: Path, partition: int, number: int, now_ms: int) -> Segment:
        """A new file; raises OSError, and leaves none behind then."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        segment = cls(path, partition, number, fd, HEAD.size)
        segment.created_ms = now_ms
        try:
            _write_whole(fd, HEAD.pack(_MAGIC, now_ms))
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return segment

    @classmethod
    def open(cls, path: Path, partition: int, number: int) -> Segment:
        """A file left by a dead process; its frames are known once it has been read through."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stat = os.fstat(fd)
        segment = cls(path, partition, number, fd, stat.st_size)
        segment.scanned = False
        head = os.pread(fd, HEAD.size, 0)
        if len(head) == HEAD.size and head.startswith(_MAGIC):
            segment.created_ms = HEAD.unpack(head)[1]
        else:
            segment.created_ms = int(stat.st_mtime * 1000)
        return segment

    @property
    def entry_bytes(self) -> int:
        """Bytes of frames with their entry heads."""
        return max(0, self.size - HEAD.size)

    def append(self, frame: bytes, name: keys.FrameName) -> int:
        """Write one entry; its offset. On OSError the segment has failed and is cut back."""
        offset = self.size
        try:
            _write_whole(self.fd, ENTRY.pack(len(frame), zlib.crc32(frame)) + frame)
        except OSError:
            self.failed = True
            # Left as it is, the torn entry's checksum still keeps it from being read.
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, offset)
            raise
        self.size = offset + ENTRY.size + len(frame)
        self.ranges.add(name.first_sequence, name.last_sequence)
        self.frames += 1
        return offset

    def read(self, offset: int, end: int, bytes_max: int) -> Chunk:
        """Frames between two offsets, about `bytes_max` of them; any thread."""
        at = max(offset, HEAD.size)
        if at >= end:
            return Chunk([], end, 0)
        data = os.pread(self.fd, min(end - at, max(bytes_max, _ENTRY_BYTES_MAX)), at)
        frames: list[SpooledFrame] = []
        used = 0
        while used < bytes_max and (entry := self._parse(data, used)) is not None:
            frames.append(SpooledFrame(self, at + used, *entry))
            used += ENTRY.size + len(entry[1])
        if frames or not data:
            return Chunk(frames, at + used if data else end, 0)
        found = self._search(at + 1, end)
        return Chunk([], found, found - at)

    def _parse(self, data: bytes, at: int) -> tuple[keys.FrameName, bytes] | None:
        """The whole, undamaged entry at `at`, or None."""
        if at + ENTRY.size + keys.HEADER_BYTES > len(data):
            return None
        length, checksum = ENTRY.unpack_from(data, at)
        start = at + ENTRY.size
        if not keys.HEADER_BYTES <= length <= len(data) - start:
            return None
        frame = data[start : start + length]
        if zlib.crc32(frame) != checksum:
            return None
        try:
            name = keys.frame_name(frame)
        except ValueError:
            return None
        return (name, frame) if name.partition == self.partition else None

    def _search(self, offset: int, end: int) -> int:
        """Where the next whole entry starts; `end` when there is none."""
        while offset < end:
            data = os.pread(self.fd, min(end - offset, _SEARCH_BYTES + _ENTRY_BYTES_MAX), offset)
            at = data.find(keys.MAGIC, ENTRY.size)
            while 0 <= at - ENTRY.size < _SEARCH_BYTES:
                if self._parse(data, at - ENTRY.size) is not None:
                    return offset + at - ENTRY.size
                at = data.find(keys.MAGIC, at + 1)
            offset += _SEARCH_BYTES
        return end

    def sync(self, size: int) -> None:
        """fdatasync; any thread. `size` is what the caller will take as durable."""
        if self.failed:
            raise OSError("an earlier write or fsync of this spool file failed")
        if self.synced_size < size:
            os.fdatasync(self.fd)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def discard(self) -> None:
        """Remove the file, or set it aside when it holds damage somebody may want to see."""
        self.close()
        if self.damaged:
            self.path.rename(self.path.with_suffix(".quarantine"))
        else:
            self.path.unlink(missing_ok=True)


def _write_whole(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        # A short write is a full disk that has not said so yet; the next write says it.
        more = os.write(fd, memoryview(data)[written:])
        if not more:
            raise OSError(errno.ENOSPC, "the spool takes no more bytes")
        written += more
