"""Frames on this host's disk until the ledger has them: one folder a process, files by partition.

The folder's `lock` is held by its process. What a dead process left behind is taken over by any
other of the host.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from headwater import clock, limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.archive import sync_directory
from headwater.journal.ranges import RangeSet
from headwater.journal.segment import Segment, SpooledFrame

log = logging.getLogger(__name__)

LOCK: Final = "lock"
_FOLDER = re.compile(r"[0-9a-f]{16}")
_FILE = re.compile(r"([0-9]+)-([0-9]+)\.spool")


class SpoolLocked(JournalError):
    """Another process holds the folder."""


class Location(NamedTuple):
    """Where a frame stands in its partition's files; ordered as they were appended."""

    segment: int
    offset: int
    length: int


class _Lane:
    """The files of one partition, oldest first."""

    __slots__ = ("next_number", "segments")

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.next_number = 1


class Spool:
    """The spool of one producer. All methods on one thread, except where said."""

    def __init__(
        self,
        directory: Path,
        producer: int,
        *,
        segment_bytes: int = limits.SPOOL_SEGMENT_BYTES,
        segment_age_ms: int = limits.SPOOL_SEGMENT_AGE_MS,
    ) -> None:
        """Create or take over the folder `directory`. Raises SpoolLocked, OSError."""
        self.directory = directory
        self.producer = producer
        self._segment_bytes = segment_bytes
        self._segment_age_ms = segment_age_ms
        self._lanes: dict[int, _Lane] = {}
        self._lock_fd = _take(directory)
        self._new_names = True
        self.bytes = 0
        """Bytes of entries in files that are not released."""
        try:
            self._find_files()
        except BaseException:
            os.close(self._lock_fd)
            raise

    def _find_files(self) -> None:
        for path in sorted(self.directory.iterdir()):
            match = _FILE.fullmatch(path.name)
            if match is None:
                continue
            partition, number = int(match[1]), int(match[2])
            lane = self._lane(partition)
            segment = Segment.open(path, partition, number)
            lane.segments.append(segment)
            self.bytes += segment.entry_bytes
            lane.next_number = max(lane.next_number, number + 1)
        for lane in self._lanes.values():
            lane.segments.sort(key=lambda segment: segment.number)

    def _lane(self, partition: int) -> _Lane:
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane()
        return lane

    # ---- appending

    def append(self, partition: int, frame: bytes) -> Location:
        """Hand a frame to the operating system; it survives this process' end, and, once `sync`
        has returned, the machine's.

        Raises JournalError when neither the current file nor a new one takes it.
        """
        name = keys.frame_name(frame)
        lane = self._lane(partition)
        try:
            return self._append(lane, name, frame)
        except OSError as error:
            log.error(
                "spool write failed",
                extra={"fields": {"partition": partition, "why": str(error)}},
            )
        try:
            return self._append(lane, name, frame)
        except OSError as error:
            raise JournalError(f"the spool takes no frame: {error}") from error

    def _append(self, lane: _Lane, name: keys.FrameName, frame: bytes) -> Location:
        segment = self._appendable(lane, name.partition, len(frame))
        offset = segment.append(frame, name)
        self.bytes += segment.size - offset
        return Location(segment.number, offset, len(frame))

    def _appendable(self, lane: _Lane, partition: int, frame_bytes: int) -> Segment:
        now_ms = clock.now_ms()
        if lane.segments:
            last = lane.segments[-1]
            if (
                not last.failed
                and last.scanned
                and last.size + frame_bytes <= self._segment_bytes
                and now_ms - last.created_ms < self._segment_age_ms
            ):
                return last
        number = lane.next_number
        lane.next_number += 1
        path = self.directory / f"{partition}-{number}.spool"
        segment = Segment.create(path, partition, number, now_ms)
        self._new_names = True
        lane.segments.append(segment)
        return segment

    # ---- making durable

    def unsynced(self, partition: int) -> list[tuple[Segment, int]]:
        """Files of a partition with bytes that only the page cache holds, and their sizes."""
        return [
            (segment, segment.size)
            for segment in self._lane(partition).segments
            if segment.synced_size < segment.size and segment.scanned
        ]

    def take_new_names(self) -> bool:
        """Whether files were created since the last call: the folder needs an fsync too."""
        taken, self._new_names = self._new_names, False
        return taken

    def renew_names(self) -> None:
        """Take back `take_new_names`: the fsync has failed."""
        self._new_names = True

    def sync_names(self) -> None:
        """fsync the folder; any thread."""
        sync_directory(self.directory)

    def sync(self, partition: int) -> None:
        """fdatasync everything appended to a partition so far. Raises OSError.

        The writer does the same in steps, with the waiting in another thread.
        """
        if self.take_new_names():
            self.sync_names()
        for segment, size in self.unsynced(partition):
            try:
                segment.sync(size)
            except OSError:
                segment.failed = True
                raise
            segment.synced_size = size

    # ---- reading back

    @property
    def partitions(self) -> list[int]:
        """Partitions with files."""
        return [number for number, lane in self._lanes.items() if lane.segments]

    def segments(self, partition: int) -> list[Segment]:
        """The files of a partition, oldest first."""
        return self._lane(partition).segments

    def frames(self, partition: int) -> Iterator[SpooledFrame]:
        """Every whole frame of a partition, oldest first."""
        for segment in list(self.segments(partition)):
            offset = 0
            while offset < segment.size:
                chunk = segment.read(offset, segment.size, limits.MIB)
                self.note(segment, chunk.next_offset, chunk.frames, chunk.damaged_bytes)
                yield from chunk.frames
                offset = chunk.next_offset

    def note(
        self, segment: Segment, next_offset: int, frames: list[SpooledFrame], damaged_bytes: int
    ) -> None:
        """Take down what a read of a file has shown about it."""
        if not segment.scanned:
            for found in frames:
                segment.ranges.add(found.name.first_sequence, found.name.last_sequence)
            segment.frames += len(frames)
            segment.scanned = next_offset >= segment.size
        if damaged_bytes:
            self._note_damage(segment, next_offset, damaged_bytes)

    def _note_damage(self, segment: Segment, next_offset: int, damaged_bytes: int) -> None:
        last = segment is self.segments(segment.partition)[-1]
        fields = {"file": str(segment.path), "bytes": damaged_bytes}
        if last and next_offset >= segment.size:
            # Cut off in the middle of a write: nobody was answered for that frame.
            log.info("spool tail torn", extra={"fields": fields})
            return
        if not segment.damaged:
            log.error("spool file damaged", extra={"fields": fields})
        segment.damaged = True

    # ---- releasing

    def releasable(self, partition: int, committed: RangeSet) -> list[Segment]:
        """Detach and return the files whose frames are all committed; `discard` each one, in a
        thread if need be. Files in use are left for the next call.
        """
        segments = self._lane(partition).segments
        done = [
            segment
            for segment in segments
            if segment.scanned and not segment.pins and committed.covers_all(segment.ranges)
        ]
        for segment in done:
            segments.remove(segment)
            self.bytes -= segment.entry_bytes
        return done

    def release(self, partition: int, ranges: RangeSet) -> int:
        """Delete the files whose frames are all within `ranges`; how many there were."""
        done = self.releasable(partition, ranges)
        for segment in done:
            segment.discard()
        return len(done)

    @property
    def oldest_ms(self) -> int | None:
        """Wall-clock time of the oldest file's first frame; None when there is no file."""
        return min(
            (segment.created_ms for lane in self._lanes.values() for segment in lane.segments),
            default=None,
        )

    @property
    def empty(self) -> bool:
        return not any(lane.segments for lane in self._lanes.values())

    # ---- end

    def close(self) -> None:
        """Close files and give up the lock; the files stay."""
        for lane in self._lanes.values():
            for segment in lane.segments:
                segment.close()
            lane.segments.clear()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def remove(self) -> None:
        """Close, and delete the folder if nothing is in it but its lock."""
        was_empty = self.empty
        try:
            if was_empty and {path.name for path in self.directory.iterdir()} == {LOCK}:
                (self.directory / LOCK).unlink()
                self.directory.rmdir()
        except OSError as error:
            log.warning("spool folder kept", extra={"fields": {"why": str(error)}})
        self.close()


def _take(directory: Path) -> int:
    """A locked file descriptor of the folder's lock file."""
    if not directory.exists():
        return _create(directory)
    path = directory / LOCK
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The former holder may have removed the folder after this file was opened.
        if not os.path.samestat(os.fstat(fd), path.stat()):
            raise SpoolLocked(f"{directory.name} was removed")
    except BlockingIOError as error:
        os.close(fd)
        raise SpoolLocked(f"{directory.name} is held by another process") from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _create(directory: Path) -> int:
    """Make the folder under another name, locked, so that nobody sees it without its owner."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = directory.parent / f".{directory.name}"
    fresh.mkdir(exist_ok=True)
    fd = os.open(fresh / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(directory)
        sync_directory(directory.parent)
    except BaseException:
        os.close(fd)
        raise
    return fd


def orphans(root: Path) -> list[Path]:
    """Folders under `root` that hold spool files and whose process is gone."""
    if not root.is_dir():
        return []
    found = []
    for directory in sorted(root.iterdir()):
        if not _FOLDER.fullmatch(directory.name):
            continue
        try:
            os.close(_take(directory))
            names = {path.name for path in directory.iterdir()}
        except (JournalError, OSError):
            continue
        # What was set aside as damaged stays for somebody to look at.
        if names <= {LOCK} or any(_FILE.fullmatch(name) for name in names):
            found.append(directory)
    return found
