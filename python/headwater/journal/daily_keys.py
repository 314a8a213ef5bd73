"""Keys that change daily, shared by all edges through Redis, and destroyed after two days.

A day's key is made the day before, used on its day and, for what was seen yesterday, on the next.
Redis then drops it, and is asked to write its file anew, where the key would otherwise stand for
as long as the file grows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from headwater import background, clock, ids, limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.resp import RedisError, RespClient

log = logging.getLogger(__name__)

KEY_BYTES = 32
_DAY_S = limits.DAY_MS // 1000


class DailyKeys:
    """Yesterday's, today's and tomorrow's key, as far as they are known."""

    def __init__(self, url: str, now_ms: Callable[[], int] = clock.now_ms) -> None:
        self._url = url
        self._now_ms = now_ms
        self._held: dict[int, bytes] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_away = False
        self.changes = 0
        """Grows when a key comes, changes or goes."""

    def key(self, day: int) -> bytes | None:
        """The key of a day, counted from 1970 in UTC, or None."""
        return self._held.get(day)

    async def start(self) -> None:
        """Fetch the keys, if Redis answers, and keep them current."""
        self._task = asyncio.create_task(self._follow(first := asyncio.Event()))
        await first.wait()

    async def close(self) -> None:
        """Stop, and forget the keys."""
        await background.stop(self._task)
        self._hold({})

    async def refresh(self) -> None:
        """Drop what is too old, and ask Redis for the others; what it lacks is given to it.

        Raises JournalError or TimeoutError when Redis does not answer; held keys stay.
        """
        today = self._now_ms() // limits.DAY_MS
        days = range(today - 1, today + 2)
        self._hold({day: key for day, key in self._held.items() if day in days})
        timeout_s = limits.REDIS_CONNECT_MS / 1000
        client = await RespClient.connect(self._url, timeout_s=timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                found = await asyncio.gather(*(self._shared(client, day, today) for day in days))
                await self._sweep(client, today)
        finally:
            client.abort()
            # The transport closes in the loop's next turn.
            await asyncio.sleep(0)
        self._hold({day: key for day, key in zip(days, found, strict=True) if key is not None})

    async def _shared(self, client: RespClient, day: int, today: int) -> bytes | None:
        """The key all edges have for a day. Yesterday's is made by nobody: it would meet none."""
        held = self._held.get(day)
        name = keys.daily_key(day)
        given = ids.secret_key() if held is None and day >= today else held
        asked = []
        if given is not None:
            until_s = (day + 2) * _DAY_S
            asked.append(client.call("SET", name, given, "NX", "EXAT", until_s))
        asked.append(client.call("GET", name))
        *_set, found = await asyncio.gather(*asked)
        return bytes(found) if found is not None and len(found) == KEY_BYTES else held

    async def _sweep(self, client: RespClient, today: int) -> None:
        """Have the file written anew once a day, after the key before yesterday's is gone."""
        if await client.call("EXISTS", keys.daily_key(today - 2)):
            return
        mark = keys.daily_key_swept(today)
        if await client.call("SET", mark, "", "NX", "EXAT", (today + 2) * _DAY_S) is None:
            return
        try:
            await client.call("BGREWRITEAOF")
        except RedisError as error:
            await client.call("DEL", mark)
            log.warning("old keys may be on disk", extra={"fields": {"why": str(error)}})

    async def _follow(self, first: asyncio.Event) -> None:
        while True:
            pause_ms = limits.DAILY_KEYS_POLL_MS
            try:
                await self.refresh()
                self._is_away = False
            except (JournalError, TimeoutError) as error:
                pause_ms = limits.REDIS_RETRY_MS_MAX
                if not self._is_away:
                    why = str(error) or "no answer"
                    log.warning("daily keys not read", extra={"fields": {"why": why}})
                self._is_away = True
            first.set()
            until_midnight_ms = limits.DAY_MS - self._now_ms() % limits.DAY_MS
            await asyncio.sleep(min(pause_ms, until_midnight_ms) / 1000)

    def _hold(self, found: dict[int, bytes]) -> None:
        if found != self._held:
            self._held = found
            self.changes += 1
