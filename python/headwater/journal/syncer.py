"""Answers by fdatasync: one runs at a time, in its own thread, for all frames that wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from headwater.errors import JournalError
from headwater.journal.lane import Frame
from headwater.journal.segment import Segment
from headwater.journal.spool import Spool

log = logging.getLogger(__name__)

Work = list[tuple[Segment, int]]
"""Files and the sizes up to which they are made durable."""


class Syncer:
    """Makes frames of one spool durable and calls `settle(frame, outcome)` for each."""

    def __init__(self, spool: Spool, settle: Callable[[Frame, bool | Exception], None]) -> None:
        self._spool = spool
        self._settle = settle
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="spool-sync")
        self._waiting: list[Frame] = []
        self._running = False

    def add(self, frame: Frame) -> None:
        """Answer a frame by the next fdatasync."""
        frame.syncing = True
        self._waiting.append(frame)
        if not self._running:
            self._start()

    def _start(self) -> None:
        frames, self._waiting = self._waiting, []
        work = [
            item
            for partition in {frame.lane.partition for frame in frames}
            for item in self._spool.unsynced(partition)
        ]
        for segment, _size in work:
            segment.pins += 1
        folder = self._spool if self._spool.take_new_names() else None
        self._running = True
        job = self._loop.run_in_executor(self._pool, _sync_files, folder, work)
        job.add_done_callback(partial(self._done, frames, work))

    def _done(
        self, frames: list[Frame], work: Work, job: asyncio.Future[list[OSError | None]]
    ) -> None:
        self._running = False
        folder_error, *errors = job.result()
        if folder_error is not None:
            self._spool.renew_names()
        failed: dict[tuple[int, int], OSError] = {}
        for (segment, size), error in zip(work, errors, strict=True):
            segment.pins -= 1
            if error is None:
                segment.synced_size = max(segment.synced_size, size)
                continue
            failed[segment.partition, segment.number] = error
            if not segment.failed:
                segment.failed = True
                fields = {"file": str(segment.path), "why": str(error)}
                log.error("spool fsync failed", extra={"fields": fields})
        for frame in frames:
            if frame.settled:
                continue
            error = failed.get((frame.lane.partition, frame.location.segment)) or folder_error
            if error is None:
                self._settle(frame, False)
            else:
                self._settle(frame, JournalError(f"the spool is not on disk: {error}"))
        if self._waiting and not self._running:
            self._start()

    async def close(self) -> None:
        """Wait for the fdatasync that runs."""
        await self._loop.run_in_executor(None, self._pool.shutdown)


def _sync_files(folder: Spool | None, work: Work) -> list[OSError | None]:
    """fsync the folder if files are new, fdatasync each file; the error of each or None."""
    results: list[OSError | None] = [None]
    if folder is not None:
        try:
            folder.sync_names()
        except OSError as error:
            results[0] = error
    for segment, size in work:
        try:
            segment.sync(size)
        except OSError as error:
            results.append(error)
        else:
            results.append(None)
    return results
