"""What one partition of one spool still has to bring to Redis, and what the ledger has of it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Final

from headwater import clock
from headwater.journal.ranges import RangeSet
from headwater.journal.segment import Segment, SpooledFrame
from headwater.journal.spool import Location, Spool

_START: Final = (0, 0)
Place = tuple[int, int]
"""Number of a spool file and an offset in it."""


class Backlog:
    """Frames are resent from the files, between `cursor` and `until`; none is held in memory."""

    def __init__(self, spool: Spool, partition: int, retry_ms: int, retry_ms_max: int) -> None:
        self.spool = spool
        self.partition = partition
        self.committed = RangeSet()
        """Sequences the ledger has, or that were never used."""
        self.done = RangeSet()
        """Those, and the sequences Redis has acknowledged in this generation."""
        self.busy: set[int] = set()
        """First sequences of the frames on the connection, or about to be put on it."""
        self.known = False
        """Whether the committed ranges were asked for: before, nothing old is resent."""
        self._pending = 0
        self.retry_at_s = 0.0
        self._retry_s, self._retry_s_max = retry_ms / 1000, retry_ms_max / 1000
        self._pause_s = 0.0
        self._cursor: Place = _START
        self._until: Place = _START

    @property
    def producer(self) -> int:
        return self.spool.producer

    # ---- what happens to frames

    def spooled(self) -> None:
        """A new frame is in the spool."""
        self._pending += 1

    @property
    def pending(self) -> int:
        """Frames Redis has not acknowledged in this generation; after a change an upper bound."""
        return max(1, self._pending) if self.behind or self.busy else 0

    def give_back(self, first: int, location: Location) -> None:
        """A frame that was on its way is not in Redis."""
        self.busy.discard(first)
        self.lag(location)

    def lag(self, location: Location) -> None:
        """A frame in the spool is not in Redis and not on the way there."""
        place = (location.segment, location.offset)
        self._cursor = min(self._cursor, place) if self.behind else place
        self._until = max(self._until, (location.segment, location.offset + 1))

    def acknowledge(self, first: int, last: int) -> None:
        self.busy.discard(first)
        self.done.add(first, last)
        self._pending = max(0, self._pending - 1)
        self._pause_s = 0.0

    def commit(self, ranges: RangeSet) -> None:
        """The ledger has these sequences."""
        self.committed.update(ranges)
        self.done.update(ranges)

    def commit_unused(self, first: int, last: int) -> None:
        """No frame has or will have these sequences."""
        self.committed.add(first, last)
        self.done.add(first, last)

    def restart(self) -> None:
        """Everything not committed has to be sent (again)."""
        self.done = self.committed.copy()
        segments = self.spool.segments(self.partition)
        self._pending = sum(segment.frames for segment in segments)
        self._cursor = _START
        self._until = (segments[-1].number, segments[-1].size) if segments else _START

    @property
    def behind(self) -> bool:
        """Whether frames in the files have to be sent."""
        return self._cursor < self._until

    # ---- refusals

    def refused(self) -> None:
        """Redis answered with an error: knock again later, with one frame."""
        self._pause_s = min(max(self._pause_s * 2, self._retry_s), self._retry_s_max)
        self.retry_at_s = clock.monotonic_s() + self._pause_s

    @property
    def refusing(self) -> bool:
        """Whether the last thing Redis said here was an error."""
        return self._pause_s > 0

    # ---- reading back

    async def read(self, pool: Executor, bytes_max: int) -> list[SpooledFrame]:
        """The next frames to send, in order, of about `bytes_max` read; the cursor moves on."""
        segment, offset = self._at_cursor()
        if segment is None:
            self._cursor = self._until = _START
            self._rest()
            return []
        start = self._cursor
        segment.pins += 1
        try:
            chunk = await asyncio.get_running_loop().run_in_executor(
                pool, segment.read, offset, segment.size, bytes_max
            )
        finally:
            segment.pins -= 1
        self.spool.note(segment, chunk.next_offset, chunk.frames, chunk.damaged_bytes)
        # A frame that failed meanwhile may have moved the cursor back; that stands.
        if self._cursor == start:
            self._cursor = (segment.number, max(chunk.next_offset, offset + 1))
        frames = [frame for frame in chunk.frames if self._wanted(frame)]
        self.busy.update(frame.name.first_sequence for frame in frames)
        self._rest()
        return frames

    def _rest(self) -> None:
        """With nothing to send there is nothing to find out whether Redis refuses still."""
        if not self.behind and not self.busy:
            self._pause_s = 0.0
            self._pending = 0

    def _wanted(self, frame: SpooledFrame) -> bool:
        name = frame.name
        return (
            name.producer == self.producer
            and name.first_sequence not in self.busy
            and not self.done.covers(name.first_sequence, name.last_sequence)
        )

    def _at_cursor(self) -> tuple[Segment | None, int]:
        """The file to read on in, and where; (None, 0) at the end."""
        number, offset = self._cursor
        for segment in self.spool.segments(self.partition):
            if segment.number < number:
                continue
            if segment.number > number:
                offset = 0
            if (segment.number, offset) >= self._until:
                break
            finished = segment.scanned and self.done.covers_all(segment.ranges)
            if offset < segment.size and not finished:
                return segment, offset
        return None, 0
