"""The writer's one connection to Redis, and whether frames may be put on it now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from headwater import limits, metrics
from headwater.errors import JournalError
from headwater.journal.resp import RespClient

log = logging.getLogger(__name__)


class Link:
    """Connects, and connects again with a growing pause, until cancelled.

    Open while a server answers. A silent server closes the link at once, for frames must not
    wait for it one by one; the frames it still owes an answer are the probe that opens it again.
    """

    def __init__(
        self,
        url: str,
        *,
        retry_ms: int,
        retry_ms_max: int,
        greet: Callable[[RespClient], Awaitable[None]],
        opened: Callable[[], None],
    ) -> None:
        """`greet` runs on a new connection before the link opens; `opened` each time it does."""
        self._url = url
        self._retry_s = retry_ms / 1000
        self._retry_s_max = retry_ms_max / 1000
        self._greet = greet
        self._opened = opened
        self.client: RespClient | None = None
        """The connection, open or silent; None while there is none."""
        self.open = False

    async def run(self) -> None:
        pause_s = self._retry_s
        while True:
            try:
                client = await RespClient.connect(
                    self._url, timeout_s=limits.REDIS_CONNECT_MS / 1000
                )
            except JournalError as error:
                self._failed("redis not reachable", error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, self._retry_s_max)
                continue
            try:
                async with asyncio.timeout(limits.REDIS_CONNECT_MS / 1000):
                    await self._greet(client)
                self.client = client
                log.info("redis connected")
                self._reopen()
                pause_s = self._retry_s
                await client.wait_closed()
            except (JournalError, TimeoutError) as error:
                self._failed("redis not usable", error)
                pause_s = min(pause_s * 2, self._retry_s_max)
            finally:
                self.client, self.open = None, False
                client.abort()
            await asyncio.sleep(pause_s)

    def _failed(self, event: str, error: BaseException) -> None:
        metrics.REDIS_FAILURES.inc()
        log.warning(event, extra={"fields": {"why": str(error) or "no answer"}})

    def _reopen(self) -> None:
        self.open = True
        self._opened()

    def silent(self) -> None:
        """Redis owes an answer for too long: put nothing more on the connection."""
        if self.open:
            self.open = False
            metrics.REDIS_FAILURES.inc()
            log.warning("redis silent")

    def heard(self) -> None:
        """Redis owes no frame's answer any more."""
        if not self.open and self.client is not None and not self.client.closed:
            self._reopen()
