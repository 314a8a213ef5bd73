"""One task that puts the configuration on the log, and then tells the edges.

Rows of `config_outbox`, which are control records and erasures, are appended in the order of their
revisions; edges hear of a change only when its append was answered, so no click can precede its
link; then the rows are marked. Killed between any two steps, the next publisher begins with the
rows that are not marked: the engine passes over a revision of an object that is not newer than the
one it has, and an erasure it has seen, and the configuration's log takes no revision twice, so the
change arrives once. A row that is no record, which no route writes, is set aside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from headwater import background, clock, faults, limits
from headwater.errors import HeadwaterError
from headwater.journal import keys
from headwater.journal.config_feed import is_seeded, publish_config, reseed
from headwater.journal.resp import RespClient
from headwater.ledger import outbox, spreads
from headwater.ledger.engine import Ledger
from headwater.ledger.outbox import Announcement
from headwater.ledger.values import Identify

log = logging.getLogger(__name__)

EncodeFrame = Callable[[int, int, int, list[bytes]], bytes]

_ANSWER_S: Final = limits.REDIS_HANG_MS / 1000
# Changes of one object for many that a dead process left unfinished are looked for this often.
_SPREADS_S: Final = 5.0


class Publisher:
    """Publishes until closed; reconnects by itself. One at a time in a deployment."""

    def __init__(
        self,
        ledger: Ledger,
        url: str,
        producer: int,
        encode_frame: EncodeFrame,
        identify: Identify,
    ) -> None:
        self._ledger = ledger
        self._url = url
        self._producer = producer
        self._encode_frame = encode_frame
        self._identify = identify
        self._sequences: dict[int, int] = {}
        # Frames of `_rows` as they were first sent: an XADD without an answer may have run, and
        # only the very same frame is recognized by its sequence.
        self._frames: list[tuple[int, bytes]] = []
        self._rows: list[Announcement] = []
        self._generation: bytes | None = None
        self._is_following = False
        self._published = 0
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._spreads_s = float("-inf")

    async def start(self) -> None:
        """Begin to publish; Redis may be down."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        await background.stop(self._task)
        self._task = None

    async def wait(self, revision: int, timeout_s: float) -> bool:
        """Whether `revision`, and all before it, is on the log and told within the time."""
        if self._published < revision:
            self._wake.set()
            try:
                async with asyncio.timeout(timeout_s), self._moved:
                    await self._moved.wait_for(lambda: self._published >= revision)
            except TimeoutError:
                pass
        return self._published >= revision

    # ---- the task

    async def _run(self) -> None:
        pause_s = limits.REDIS_RETRY_MS / 1000
        while True:
            client: RespClient | None = None
            try:
                client = await RespClient.connect(
                    self._url, timeout_s=limits.REDIS_CONNECT_MS / 1000
                )
                while True:
                    async with asyncio.timeout(None) as deadline:
                        await self._step(client, deadline)
                    pause_s = limits.REDIS_RETRY_MS / 1000
                    await self._pause(limits.PUBLISH_POLL_MS / 1000)
            except (HeadwaterError, TimeoutError) as error:
                log.warning("publisher_waits", extra={"fields": {"why": str(error)[:200]}})
            except Exception:
                # The task must outlive what nobody foresaw: without it no change is served.
                log.exception("publisher_failed")
            finally:
                if client is not None:
                    client.abort()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.REDIS_RETRY_MS_MAX / 1000)

    async def _pause(self, seconds: float) -> None:
        """Until a change is waited for, or for some time."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _step(self, client: RespClient, deadline: asyncio.Timeout) -> None:
        _extend(deadline)
        await self._follow_generation(client, deadline)
        await self._finish_spreads()
        while True:
            _extend(deadline)
            if not self._frames:
                waiting = await asyncio.to_thread(outbox.not_appended, self._ledger)
                if not waiting.announcements:
                    await self._reached(waiting.newest)
                    return
                self._rows = waiting.announcements
                self._frames = self._frames_of(self._rows)
            await self._publish(client)

    async def _publish(self, client: RespClient) -> None:
        faults.reach("publish.begun")
        await _append(client, self._frames)
        faults.reach("publish.appended")
        sound = [row for row in self._rows if row.is_sound]
        told = [(row.revision, row.object, row.number, row.value) for row in sound if row.for_edges]
        await publish_config(client, told)
        faults.reach("publish.told")
        await self._set_aside([row for row in self._rows if not row.is_sound])
        await asyncio.to_thread(outbox.mark_appended, self._ledger, [row.revision for row in sound])
        newest = self._rows[-1].revision
        self._frames, self._rows = [], []
        await self._reached(newest)

    async def _set_aside(self, rows: Sequence[Announcement]) -> None:
        """Pass over what cannot go on the log: it would stop all that comes behind it."""
        for row in rows:
            where = {"revision": row.revision, "object": row.object, "number": row.number}
            log.error("configuration_set_aside", extra={"fields": where})
        await asyncio.to_thread(outbox.set_aside, self._ledger, [row.revision for row in rows])

    def _frames_of(self, rows: Sequence[Announcement]) -> list[tuple[int, bytes]]:
        """Frames of a bounded size, by partition, each partition's in the order of revisions."""
        frames: list[tuple[int, bytes]] = []
        gathered: dict[int, list[bytes]] = {}
        for row in rows:
            if not row.is_sound:
                continue
            records = gathered.setdefault(row.partition, [])
            size = sum(map(len, records)) + len(row.control)
            if len(records) >= limits.FRAME_RECORDS_MAX or size > limits.FRAME_BYTES_MAX:
                frames.append((row.partition, self._frame(row.partition, records)))
                records = gathered[row.partition] = []
            records.append(row.control)
        frames += [(number, self._frame(number, records)) for number, records in gathered.items()]
        return frames

    def _frame(self, partition: int, records: list[bytes]) -> bytes:
        first = self._sequences.get(partition, 1)
        self._sequences[partition] = first + len(records)
        return self._encode_frame(partition, self._producer, first, records)

    async def _reached(self, revision: int) -> None:
        if revision > self._published:
            async with self._moved:
                self._published = revision
                self._moved.notify_all()

    # ---- what Redis lost, and what others left

    async def _follow_generation(self, client: RespClient, deadline: asyncio.Timeout) -> None:
        """Put the configuration back when the log began anew or Redis lost it."""
        generation, seeded, top = await asyncio.gather(
            client.call("GET", keys.GENERATION),
            is_seeded(client),
            client.call("XREVRANGE", keys.CONFIG_LOG, "+", "-", "COUNT", 1),
        )
        if self._is_following and generation == self._generation and seeded:
            return
        # At the start the generation tells nothing: what is in Redis is held against the ledger.
        told = int(top[0][0].partition(b"-")[0]) if top else 0
        known = await asyncio.to_thread(outbox.newest_told, self._ledger)
        newest = await asyncio.to_thread(outbox.newest_revision, self._ledger)
        # Beyond what is marked is what a dead publisher told and could not mark: that is no loss.
        if self._is_following or not seeded or not known <= told <= newest:
            log.info(
                "configuration_put_back",
                extra={"fields": {"revision": known, "redis_revision": told}},
            )
            await reseed(client, await asyncio.to_thread(self._published_objects))
        again, after = 0, 0
        while rows := await asyncio.to_thread(outbox.not_committed, self._ledger, after):
            _extend(deadline)
            await _append(client, self._frames_of(rows))
            again, after = again + len(rows), rows[-1].revision
        if again:
            log.info("controls_appended_again", extra={"fields": {"count": again}})
        self._generation, self._is_following = generation, True

    def _published_objects(self) -> list[tuple[int, str, int, dict[str, Any] | None]]:
        found: list[tuple[int, str, int, dict[str, Any] | None]] = []
        after = ("", 0)
        while page := outbox.published_objects(self._ledger, after):
            found += page
            after = page[-1][1:3]
        return found

    async def _finish_spreads(self) -> None:
        now_s = clock.monotonic_s()
        if now_s - self._spreads_s < _SPREADS_S:
            return
        for kind, number in await asyncio.to_thread(spreads.unfinished_spreads, self._ledger):
            unfinished = True
            while unfinished:
                unfinished = await asyncio.to_thread(
                    spreads.spread_step, self._ledger, kind, number, self._identify
                )
        self._spreads_s = now_s


async def _append(client: RespClient, frames: Sequence[tuple[int, bytes]]) -> None:
    await asyncio.gather(
        *(
            client.call("XADD", keys.stream(partition), "*", keys.FRAME_FIELD, frame)
            for partition, frame in frames
        )
    )


def _extend(deadline: asyncio.Timeout) -> None:
    """A step that makes no progress for so long is given up, with its connection."""
    deadline.reschedule(asyncio.get_running_loop().time() + _ANSWER_S)
