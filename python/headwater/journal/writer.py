"""Makes records safe: into the spool, into Redis, and only then answered.

The path of a frame: appended to the spool (page cache), sent by XADD, answered when Redis has
answered. When that takes too long or fails, an fdatasync of the spool answers instead, and the
frame is resent until Redis has it. One frame is in flight per partition; records that come
meanwhile make up the next one, so no timer delays a lone click.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headwater import clock, faults, limits, metrics
from headwater.errors import JournalError, JournalFull
from headwater.journal import keys
from headwater.journal.lane import RECORD_COST_BYTES, Block, Caller, Frame, Lane, Waiter
from headwater.journal.resend import Resender, xadd
from headwater.journal.resp import RedisError
from headwater.journal.spool import Spool
from headwater.journal.syncer import Syncer

log = logging.getLogger(__name__)

EncodeFrame = Callable[[int, int, int, Sequence[Any]], bytes]
"""(partition, producer, first sequence, records and blocks that were put) -> frame."""


def pass_over() -> None:
    """Nothing waits elsewhere."""


class JournalWriter:
    """The journal of one process. Made, started, used and closed on one event loop."""

    def __init__(
        self,
        *,
        url: str,
        root: Path,
        producer: int,
        encode_frame: EncodeFrame,
        answer_ms: int = limits.REDIS_ANSWER_MS,
        frame_records_max: int = limits.FRAME_RECORDS_MAX,
        frame_bytes_max: int = limits.FRAME_BYTES_MAX,
        gather_bytes_max: int = limits.GATHER_BYTES_MAX,
        spool_bytes_max: int = limits.SPOOL_BYTES_MAX,
        spool_age_max_ms: int = limits.SPOOL_AGE_MAX_MS,
        segment_bytes: int = limits.SPOOL_SEGMENT_BYTES,
        segment_age_ms: int = limits.SPOOL_SEGMENT_AGE_MS,
        retry_ms: int = limits.REDIS_RETRY_MS,
        retry_ms_max: int = limits.REDIS_RETRY_MS_MAX,
        hang_ms: int = limits.REDIS_HANG_MS,
        committed_poll_ms: int = limits.COMMITTED_POLL_MS,
        orphan_poll_ms: int = limits.ORPHAN_POLL_MS,
    ) -> None:
        self.producer = producer
        self._encode_frame = encode_frame
        self._answer_s = answer_ms / 1000
        self._frame_records_max = frame_records_max
        self._frame_bytes_max = frame_bytes_max
        self._gather_bytes_max = gather_bytes_max
        self._spool_bytes_max = spool_bytes_max
        self._spool_age_max_ms = spool_age_max_ms
        self._root = root
        self._segment_limits = (segment_bytes, min(segment_age_ms, max(1, spool_age_max_ms // 8)))
        self._resender_limits: dict[str, Any] = {
            "url": url,
            "root": root,
            "retry_ms": retry_ms,
            "retry_ms_max": retry_ms_max,
            "hang_ms": hang_ms,
            "committed_poll_ms": committed_poll_ms,
            "orphan_poll_ms": orphan_poll_ms,
        }
        self.gather: Callable[[], None] = pass_over
        """Asked before each frame, to `put` what waits elsewhere. Must not raise."""
        self._lanes: dict[int, Lane] = {}
        self._live: deque[Frame] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._gathered_bytes = 0
        self._room_bytes = 0
        self._refusal: str | None = "the journal is not started"
        self._started = False
        self._closing = False
        self._loop: asyncio.AbstractEventLoop
        self._spool: Spool
        self._resender: Resender
        self._syncer: Syncer

    async def start(self) -> None:
        """Open the spool and begin to connect; Redis may be down. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        segment_bytes, segment_age_ms = self._segment_limits
        self._spool = Spool(
            self._root / keys.producer_name(self.producer),
            self.producer,
            segment_bytes=segment_bytes,
            segment_age_ms=segment_age_ms,
        )
        self._syncer = Syncer(self._spool, self._settle)
        self._resender = Resender(**self._resender_limits, released=self._check_bounds)
        self._resender.start()
        self._check_bounds()
        self._started = True

    # ---- what the edge sees

    def submit(self, partition: int, record: bytes) -> asyncio.Future[bool]:
        """Take a record; the future is done when it is safe.

        True: in Redis. False: in the spool alone, on disk. JournalError: nowhere, or not known
        to be. Raises JournalFull, and takes nothing, at a bound of memory, disk or age.
        """
        future: asyncio.Future[bool] = self._loop.create_future()
        self.put(partition, (record,), Caller(future))
        return future

    def put(self, partition: int, records: Sequence[bytes] | Block, waiter: Waiter) -> None:
        """Take records, one or more, all or none; `waiter` is told of them, of some at a time if
        they go by several frames. Raises as `submit` does.
        """
        size = sum(map(len, records)) if isinstance(records, Sequence) else records.size_bytes
        cost = size + len(records) * RECORD_COST_BYTES
        if cost > self._room_bytes or self._refusal is not None:
            raise JournalFull(self._refusal or "the spool's bound in bytes is reached")
        if self._gathered_bytes + cost > self._gather_bytes_max:
            raise JournalFull("too many events wait in memory")
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._add_lane(partition)
        lane.add(records, waiter, cost)
        self._gathered_bytes += cost
        self._room_bytes -= cost
        if not lane.scheduled and lane.in_flight is None:
            lane.scheduled = True
            self._loop.call_soon(self._flush, lane)

    @property
    def redis_ok(self) -> bool:
        """Whether the next frame would go to Redis."""
        return self._resender.link.open and not any(
            lane.backlog.refusing for lane in self._lanes.values()
        )

    @property
    def spool_bytes(self) -> int:
        """Bytes of frames on disk not known to be committed, orphans included."""
        return self._spool.bytes + self._resender.orphan_bytes

    @property
    def pending_frames(self) -> int:
        """Frames Redis has not acknowledged; an upper bound after a change of generation."""
        return sum(backlog.pending for backlog in self._resender.backlogs)

    @property
    def accepting(self) -> bool:
        """Whether `submit` takes an ordinary record."""
        return (
            self._refusal is None
            and self._room_bytes > 0
            and self._gathered_bytes < self._gather_bytes_max
        )

    # ---- gathering and sending

    def _add_lane(self, partition: int) -> Lane:
        backlog = self._resender.backlog(self._spool, partition)
        # A new lane has nothing the ledger could already have.
        backlog.known = True
        lane = self._lanes[partition] = Lane(partition, backlog)
        return lane

    def _flush(self, lane: Lane) -> None:
        """Make a frame of what was gathered, spool it and send it."""
        lane.scheduled = False
        if lane.in_flight is not None or not lane.records:
            return
        self._gather(lane)
        taken = lane.take(self._frame_records_max, self._frame_bytes_max)
        self._gathered_bytes -= taken.cost
        first = lane.next_sequence
        lane.next_sequence = first + taken.number
        frame = Frame(lane, first, lane.next_sequence - 1, taken.waiting)
        try:
            data = self._encode_frame(lane.partition, self.producer, first, taken.records)
            frame.location = self._spool.append(lane.partition, data)
        except Exception as error:  # noqa: BLE001 - whatever it was, the callers must hear it
            self._unspooled(frame, error)
            return
        finally:
            self._measure_room()
        faults.reach("spool.appended")
        lane.in_flight = frame
        lane.backlog.spooled()
        client = self._resender.link.client
        if self._resender.link.open and client is not None and not lane.backlog.refusing:
            self._resender.live_frames += 1
            lane.backlog.busy.add(first)
            frame.sent_s = clock.monotonic_s()
            self._live.append(frame)
            client.send(xadd(lane.prefix, data), partial(self._answered, frame))
            faults.reach("xadd.sent")
            if self._timer is None:
                self._timer = self._loop.call_later(self._answer_s, self._look_at_answers)
        else:
            lane.backlog.lag(frame.location)
            self._resender.wake()
            self._syncer.add(frame)

    def _gather(self, lane: Lane) -> None:
        """What has come by now goes by this frame: the fewer frames, the fewer syncs."""
        lane.scheduled = True
        try:
            self.gather()
        finally:
            lane.scheduled = False

    def _unspooled(self, frame: Frame, error: Exception) -> None:
        """The frame is nowhere. Its sequences are never used again: bytes of it may be on disk."""
        log.error("frame not spooled", extra={"fields": {"why": str(error)}})
        lane = frame.lane
        lane.backlog.commit_unused(frame.first, frame.last)
        self._settle(frame, error)
        if lane.records and not lane.scheduled:
            lane.scheduled = True
            self._loop.call_soon(self._flush, lane)

    def _settle(self, frame: Frame, outcome: bool | Exception) -> None:
        frame.settle(outcome)
        lane = frame.lane
        if lane.in_flight is frame:
            lane.in_flight = None
            if lane.records:
                self._flush(lane)

    # ---- answers of Redis

    def _answered(self, frame: Frame, reply: Any) -> None:
        """Redis has answered the XADD of a live frame, in time or late, or the link broke."""
        self._live.remove(frame)
        backlog = frame.lane.backlog
        if isinstance(reply, Exception):
            metrics.REDIS_FAILURES.inc()
            backlog.give_back(frame.first, frame.location)
            if isinstance(reply, RedisError):
                backlog.refused()
                log.warning("redis refused a frame", extra={"fields": {"why": str(reply)}})
            self._resender.wake()
            if not frame.settled and not frame.syncing:
                self._syncer.add(frame)
        else:
            backlog.acknowledge(frame.first, frame.last)
            faults.reach("xadd.answered")
            if not frame.settled:
                self._settle(frame, True)
        if not self._live and not self._resender.link.open:
            self._resender.link.heard()

    def _look_at_answers(self) -> None:
        # Under uvloop timers run before sockets are read: an answer that came while the loop
        # was busy must be seen before the frame is called overdue.
        self._timer = None
        self._loop.call_soon(self._loop.call_soon, self._judge_answers)

    def _judge_answers(self) -> None:
        if not self._live or self._timer is not None:
            return
        left_s = self._live[0].sent_s + self._answer_s - clock.monotonic_s()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look_at_answers)
            return
        self._resender.link.silent()
        for frame in self._live:
            if not frame.settled and not frame.syncing:
                self._syncer.add(frame)

    # ---- bounds

    def _measure_room(self) -> None:
        self._room_bytes = (
            self._spool_bytes_max
            - self._spool.bytes
            - self._resender.orphan_bytes
            - self._gathered_bytes
        )

    def _check_bounds(self) -> None:
        """What `submit` need not look at each time."""
        if self._closing:
            return
        self._measure_room()
        times = [at for at in (self._spool.oldest_ms, self._resender.orphan_oldest_ms) if at]
        too_old = times and clock.now_ms() - min(times) >= self._spool_age_max_ms
        self._refusal = "the spool's bound in age is reached" if too_old else None
        metrics.SPOOL_BYTES.set(self.spool_bytes)

    # ---- end

    async def close(self, drain_s: float) -> None:
        """Answer everything taken, by Redis or by disk, and leave; at most about `drain_s`.

        The folder goes too when the ledger has all of it; else another process takes it over.
        """
        if not self._started or self._closing:
            return
        self._closing = True
        self._refusal = "the journal is closing"
        if not await self._until(self._quiet, drain_s) and self._resender.link.client:
            # Redis does not answer: dropping the connection sends its frames to the disk.
            self._resender.link.silent()
            self._resender.link.client.abort()
        await self._until(self._answered_all, limits.REDIS_CONNECT_MS / 1000)
        if self._resender.generation_known and self._resender.link.open:
            await self._await_commit(min(drain_s, limits.CLOSE_COMMIT_S))
        await self._resender.stop()
        if self._timer is not None:
            self._timer.cancel()
        for lane in self._lanes.values():
            if lane.in_flight is not None:
                lane.records = []
                self._settle(lane.in_flight, JournalError("the journal was closed"))
        await self._syncer.close()
        self._spool.remove()
        metrics.SPOOL_BYTES.set(0)

    def _answered_all(self) -> bool:
        return not any(lane.records or lane.in_flight for lane in self._lanes.values())

    def _quiet(self) -> bool:
        """Everything is answered, and, with Redis there, nothing waits to be resent."""
        return self._answered_all() and not (
            self._resender.link.open
            and any(lane.backlog.behind or lane.backlog.busy for lane in self._lanes.values())
        )

    async def _await_commit(self, seconds: float) -> None:
        end_s = clock.monotonic_s() + seconds
        while not self._spool.empty and clock.monotonic_s() < end_s:
            client = self._resender.link.client
            if client is None:
                return
            try:
                await self._resender.poll(client)
            except JournalError:
                return
            await self._resender.release()
            await asyncio.sleep(0.05)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition; whether it came true in time."""
        end_s = clock.monotonic_s() + seconds
        while not condition():
            if clock.monotonic_s() >= end_s:
                return False
            await asyncio.sleep(0.002)
        return True
