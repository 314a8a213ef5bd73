"""Where an edge hears what became of its conversions."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import msgpack

from headwater import background, clock, limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.resp import RespClient

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.02
_LOOK_S_MAX: Final = 0.2


class DecisionHub:
    """Subscribes to the decisions of one producer; reconnects by itself.

    While Redis is away nobody is told: waits end by their time, and the caller answers 202.
    """

    def __init__(self, url: str, producer: int) -> None:
        self._url = url
        self._channel = keys.decided(producer)
        self._waiting: dict[bytes, asyncio.Future[dict[str, Any]]] = {}
        self._client: RespClient | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; Redis may be down."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        await background.stop(self._task)
        self._task = None
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()

    @property
    def connected(self) -> bool:
        """Whether a decision would be heard now."""
        return self._client is not None and not self._client.closed

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def _run(self) -> None:
        pause_s = limits.REDIS_RETRY_MS / 1000
        while True:
            try:
                client = await RespClient.connect(
                    self._url, timeout_s=limits.REDIS_CONNECT_MS / 1000, protocol=3
                )
            except JournalError:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, limits.REDIS_RETRY_MS_MAX / 1000)
                continue
            try:
                client.on_push = self._heard
                async with asyncio.timeout(limits.REDIS_CONNECT_MS / 1000):
                    await client.call("SUBSCRIBE", self._channel)
                self._client = client
                pause_s = limits.REDIS_RETRY_MS / 1000
                await self._keep(client)
            except (JournalError, TimeoutError) as error:
                log.warning("decisions not heard", extra={"fields": {"why": str(error)}})
            finally:
                self._client = None
                client.abort()
            await asyncio.sleep(pause_s)

    async def _keep(self, client: RespClient) -> None:
        """Until the connection ends, or is silent too long."""
        while not client.closed:
            try:
                async with asyncio.timeout(limits.REDIS_HANG_MS / 1000):
                    await client.wait_closed()
            except TimeoutError:
                async with asyncio.timeout(limits.REDIS_HANG_MS / 1000):
                    await client.call("PING")

    def _heard(self, push: list[Any]) -> None:
        if push[0] != b"message":
            return
        try:
            message = msgpack.unpackb(push[2])
            future = self._waiting.get(message["event_id"])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("decision unreadable", extra={"fields": {"why": str(error)}})
            return
        if future is not None and not future.done():
            future.set_result(message)

    def expect(self, event_id: bytes) -> asyncio.Future[dict[str, Any]]:
        """Ask to be told of an event, before it is submitted; then `wait` for it, or `forget` it.

        The result is {event_id, conversion_id, outcome, decision}.
        """
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= limits.DECISION_WAITERS_MAX:
            future.cancel()
            return future
        self._waiting[event_id] = future
        return future

    async def wait(self, event_id: bytes, timeout_s: float) -> dict[str, Any] | None:
        """What became of an event; None when that is not known in time.

        Without an `expect` before, only what is told from now on is heard.
        """
        future = self._waiting.get(event_id)
        if future is None:
            future = self.expect(event_id)
        return await self.result(event_id, future, timeout_s)

    async def result(
        self, event_id: bytes, future: asyncio.Future[dict[str, Any]], timeout_s: float
    ) -> dict[str, Any] | None:
        """As `wait`, with the future `expect` gave: a decision already told is not missed."""
        try:
            await asyncio.wait((future,), timeout=timeout_s)
            return future.result() if future.done() and not future.cancelled() else None
        finally:
            self.forget(event_id)

    def forget(self, event_id: bytes) -> None:
        """Nobody waits for this event any more."""
        future = self._waiting.pop(event_id, None)
        if future is not None:
            future.cancel()

    async def get(self, conversion_id: str) -> dict[str, Any] | None:
        """A decision of the last day; None when Redis has none or does not answer."""
        _known, decision = await self._look(conversion_id)
        return decision

    async def lookup(self, conversion_id: str, timeout_s: float) -> dict[str, Any] | None:
        """A decision of any age: asks the console, which puts it back from the ledger.

        None when there is no such conversion, which a stored nil says. Raises JournalError when
        nobody answers in time: whether there is one is then not known.
        """
        known, decision = await self._look(conversion_id)
        if known:
            return decision
        client = self._client
        if client is None:
            raise JournalError("Redis is away")
        end_s = clock.monotonic_s() + timeout_s
        pause_s = _LOOK_S
        try:
            asked = (
                client.call("RPUSH", keys.LOOKUP, conversion_id),
                client.call("LTRIM", keys.LOOKUP, -limits.LOOKUPS_MAX, -1),
            )
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*asked)
        except TimeoutError:
            raise JournalError("Redis does not answer") from None
        while not known and clock.monotonic_s() + pause_s < end_s:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LOOK_S_MAX)
            known, decision = await self._look(conversion_id)
        if not known:
            raise JournalError("nobody answers for older decisions")
        return decision

    async def _look(self, conversion_id: str) -> tuple[bool, dict[str, Any] | None]:
        """Whether Redis knows, and the decision."""
        client = self._client
        if client is None:
            return False, None
        try:
            async with asyncio.timeout(limits.DECISION_WAIT_MS / 1000):
                packed = await client.call("GET", keys.decision(conversion_id))
        except (JournalError, TimeoutError):
            return False, None
        if packed is None:
            return False, None
        decision: dict[str, Any] | None = msgpack.unpackb(packed)
        return True, decision
