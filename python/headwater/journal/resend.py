"""Brings what is in spool files to Redis, and deletes what the ledger has.

Works on the process' own spool and on those of dead processes alike. One task resends, at a pace
that leaves live frames their turn; one asks for the generation and the committed ranges; one
looks for orphans.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgpack

from headwater import background, clock, faults, limits, metrics
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.backlog import Backlog
from headwater.journal.link import Link
from headwater.journal.ranges import RangeSet
from headwater.journal.resp import RedisError, RespClient, pack
from headwater.journal.segment import SpooledFrame
from headwater.journal.spool import Location, Spool, orphans

log = logging.getLogger(__name__)

_UNSEEN: Final = object()
_FAULT_PAUSE_S: Final = 1.0


def xadd_prefix(partition: int) -> bytes:
    """The packed XADD of a partition's stream up to the frame itself."""
    packed = pack("XADD", keys.stream(partition), "*", keys.FRAME_FIELD, b"")
    return packed.removesuffix(b"$0\r\n\r\n")


def xadd(prefix: bytes, frame: bytes) -> bytes:
    """A packed XADD."""
    return b"%b$%d\r\n%b\r\n" % (prefix, len(frame), frame)


class Resender:
    """Owns the link and every backlog of this process."""

    def __init__(
        self,
        *,
        url: str,
        root: Path,
        retry_ms: int,
        retry_ms_max: int,
        hang_ms: int,
        committed_poll_ms: int,
        orphan_poll_ms: int,
        released: Callable[[], None],
    ) -> None:
        """`released` is called when files may have been deleted or taken over."""
        self._root = root
        self._released = released
        self._retry = (retry_ms, retry_ms_max)
        self._hang_s = hang_ms / 1000
        self._committed_poll_s = committed_poll_ms / 1000
        self._orphan_poll_s = orphan_poll_ms / 1000
        self.backlogs: list[Backlog] = []
        self._orphans: list[Spool] = []
        self._generation: object = _UNSEEN
        self._wake = asyncio.Event()
        self._files = ThreadPoolExecutor(1, thread_name_prefix="spool-files")
        self._tasks: list[asyncio.Task[None]] = []
        self.live_frames = 0
        """Counted up by the writer with each live frame, so that resending makes way."""
        self.link = Link(
            url,
            retry_ms=retry_ms,
            retry_ms_max=retry_ms_max,
            greet=self.poll,
            opened=self._wake.set,
        )

    def start(self) -> None:
        for job in (self.link.run, self._resend, self._watch, self._adopt):
            self._tasks.append(asyncio.create_task(_kept_up(job)))

    async def stop(self) -> None:
        """End the tasks; orphans not finished stay for another process."""
        await background.stop(*self._tasks)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._files.shutdown)
        for spool in self._orphans:
            spool.close()

    def backlog(self, spool: Spool, partition: int) -> Backlog:
        """A new backlog of a spool's partition."""
        backlog = Backlog(spool, partition, *self._retry)
        self.backlogs.append(backlog)
        return backlog

    def wake(self) -> None:
        """There is something to resend."""
        self._wake.set()

    # ---- resending

    async def _resend(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while ready := self._ready():
                for backlog in ready:
                    await self._resend_some(backlog)
            later = [
                backlog.retry_at_s for backlog in self.backlogs if backlog.known and backlog.behind
            ]
            if self.link.open and later:
                pause_s = max(0.001, min(later) - clock.monotonic_s())
                loop.call_later(pause_s, self._wake.set)

    def _ready(self) -> list[Backlog]:
        if not self.link.open:
            return []
        now_s = clock.monotonic_s()
        return [
            backlog
            for backlog in self.backlogs
            if backlog.known and backlog.behind and backlog.retry_at_s <= now_s
        ]

    async def _resend_some(self, backlog: Backlog) -> None:
        try:
            frames = await backlog.read(self._files, limits.DRAIN_BYTES_MAX)
        except OSError as error:
            # The other spools must not wait for a file that cannot be read.
            log.error("spool not readable", extra={"fields": {"why": str(error)}})
            backlog.refused()
            return
        prefix = xadd_prefix(backlog.partition)
        at = 0
        while at < len(frames):
            # After a refusal one frame is the probe.
            window = frames[at : at + (1 if backlog.refusing else limits.DRAIN_FRAMES_MAX)]
            client = self.link.client
            if not self.link.open or client is None or backlog.retry_at_s > clock.monotonic_s():
                for frame in frames[at:]:
                    backlog.give_back(frame.name.first_sequence, _location(frame))
                return
            at += len(window)
            await self._send(client, backlog, prefix, window)

    async def _send(
        self,
        client: RespClient,
        backlog: Backlog,
        prefix: bytes,
        window: Sequence[SpooledFrame],
    ) -> None:
        """Put frames on the connection and wait until each is answered or lost."""
        started_s, live = clock.monotonic_s(), self.live_frames
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(window)

        def settle(frame: SpooledFrame, reply: Any) -> None:
            nonlocal left
            left -= 1
            self._answered(backlog, frame, reply)
            if not left and not answered.done():
                answered.set_result(None)

        for frame in window:
            client.send(xadd(prefix, frame.frame), _Bound(settle, frame))
        await answered
        if self.live_frames != live:
            # Half of the time belongs to live frames while there are any.
            await asyncio.sleep(clock.monotonic_s() - started_s)

    def _answered(self, backlog: Backlog, frame: SpooledFrame, reply: Any) -> None:
        name = frame.name
        if not isinstance(reply, Exception):
            backlog.acknowledge(name.first_sequence, name.last_sequence)
            return
        metrics.REDIS_FAILURES.inc()
        backlog.give_back(name.first_sequence, _location(frame))
        if isinstance(reply, RedisError):
            backlog.refused()
            log.warning("redis refused a frame", extra={"fields": {"why": str(reply)}})

    # ---- generation and committed ranges

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._committed_poll_s)
            client = self.link.client
            if client is not None:
                try:
                    async with asyncio.timeout(self._hang_s):
                        await self.poll(client)
                except TimeoutError:
                    log.warning("redis connection dropped: no answer")
                    client.abort()
                except JournalError as error:
                    log.warning("redis poll failed", extra={"fields": {"why": str(error)}})
            await self.release()

    async def poll(self, client: RespClient) -> None:
        """Ask for the generation and, per backlog, the committed ranges; act on them."""
        backlogs = list(self.backlogs)
        asked = [client.call("GET", keys.GENERATION)]
        asked += [
            client.call(
                "HGET", keys.committed(backlog.partition), keys.producer_name(backlog.producer)
            )
            for backlog in backlogs
        ]
        generation, *ranges = await asyncio.gather(*asked)
        for backlog, packed in zip(backlogs, ranges, strict=True):
            if packed is not None:
                backlog.commit(RangeSet(msgpack.unpackb(packed)))
            if not backlog.known:
                backlog.known = True
                self._wake.set()
        self._see_generation(generation)

    def _see_generation(self, generation: bytes | None) -> None:
        before, self._generation = self._generation, generation
        if before is _UNSEEN or before == generation:
            return
        log.warning("redis generation changed: resending what is not committed")
        for backlog in self.backlogs:
            backlog.restart()
        self._wake.set()

    @property
    def generation_known(self) -> bool:
        """Whether a matcher has named the streams' generation."""
        return isinstance(self._generation, bytes)

    # ---- deleting

    async def release(self) -> None:
        """Delete the files whose frames are all committed, and orphans' folders after them."""
        loop = asyncio.get_running_loop()
        for backlog in self.backlogs:
            for segment in backlog.spool.releasable(backlog.partition, backlog.committed):
                await loop.run_in_executor(self._files, segment.discard)
                faults.reach("spool.released")
        for spool in [spool for spool in self._orphans if spool.empty]:
            await loop.run_in_executor(self._files, spool.remove)
            self._orphans.remove(spool)
            await self.forget(spool)
            log.info("orphan spool done", extra={"fields": {"name": spool.directory.name}})
        self._released()

    async def forget(self, spool: Spool) -> None:
        """Drop a spool that is gone, here and from the published ranges."""
        gone = [backlog for backlog in self.backlogs if backlog.spool is spool]
        self.backlogs = [backlog for backlog in self.backlogs if backlog.spool is not spool]
        client = self.link.client
        if client is None:
            return
        for backlog in gone:
            answer = client.call(
                "HDEL", keys.committed(backlog.partition), keys.producer_name(spool.producer)
            )
            answer.add_done_callback(_ignore)

    # ---- orphans

    async def _adopt(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            taken = await loop.run_in_executor(self._files, self._take_orphans)
            for spool in taken:
                self._orphans.append(spool)
                for partition in spool.partitions:
                    self.backlog(spool, partition).restart()
                log.info(
                    "orphan spool taken over",
                    extra={"fields": {"name": spool.directory.name, "bytes": spool.bytes}},
                )
            if taken:
                self._released()
            await asyncio.sleep(self._orphan_poll_s)

    def _take_orphans(self) -> list[Spool]:
        taken: list[Spool] = []
        for directory in orphans(self._root):
            if len(taken) == limits.ORPHANS_AT_ONCE:
                break
            try:
                taken.append(Spool(directory, int(directory.name, 16)))
            except (JournalError, OSError) as error:
                log.info("orphan not taken", extra={"fields": {"why": str(error)}})
        return taken

    @property
    def orphan_bytes(self) -> int:
        return sum(spool.bytes for spool in self._orphans)

    @property
    def orphan_oldest_ms(self) -> int | None:
        times = [spool.oldest_ms for spool in self._orphans]
        return min((at for at in times if at is not None), default=None)


class _Bound:
    """A callback with its frame: cheaper than a closure for each."""

    __slots__ = ("_frame", "_settle")

    def __init__(self, settle: Any, frame: SpooledFrame) -> None:
        self._settle = settle
        self._frame = frame

    def __call__(self, reply: Any) -> None:
        self._settle(self._frame, reply)


def _location(frame: SpooledFrame) -> Location:
    return Location(frame.segment.number, frame.offset, len(frame.frame))


def _ignore(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()


async def _kept_up(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a task of this module for ever: a fault in it must neither end it nor be silent."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("journal task failed")
            await asyncio.sleep(_FAULT_PAUSE_S)
