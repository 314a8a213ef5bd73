"""What an edge remembers for all edges, for a day: bodies of idempotency keys, and conversions
that were accepted and not yet decided.

Kept in Redis; while Redis is away, in this process alone. Nothing that is counted or paid depends
on it: an order's own key meets its repeats in the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgpack

from headwater import limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.resp import RespClient

PENDING = "pending"
_ANSWER_S = 5 * limits.REDIS_ANSWER_MS / 1000
_CONNECT_S = 0.25


class Memory:
    """Asks the Redis server at `url`; an empty `url` keeps everything in this process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: RespClient | None = None
        self._connecting: asyncio.Task[RespClient] | None = None
        self._retry_s = 0.0
        self._marks: OrderedDict[str, bytes] = OrderedDict()
        self._undecided: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def first(self, name: str, mark: bytes) -> bytes | None:
        """The mark remembered under `name` before, or None: `mark` is the first and is kept."""
        key = _once(name)
        try:
            kept = await self._call("SET", key, mark, "NX", "EX", limits.IDEMPOTENCY_KEPT_S)
            found = None if kept is not None else await self._call("GET", key)
        except (JournalError, TimeoutError):
            found = self._marks.get(name)
        _keep(self._marks, name, mark if found is None else bytes(found))
        return None if found is None else bytes(found)

    async def replace(self, name: str, mark: bytes) -> None:
        """Remember `mark` under `name` from now on."""
        _keep(self._marks, name, mark)
        with contextlib.suppress(JournalError, TimeoutError):
            await self._call("SET", _once(name), mark, "EX", limits.IDEMPOTENCY_KEPT_S)

    async def undecided(self, conversions: Sequence[tuple[str, int]]) -> None:
        """Remember conversions (id, brand) that were accepted, for whoever asks of them before
        they are decided.
        """
        commands: list[tuple[str | bytes | int, ...]] = []
        for conversion_id, brand in conversions:
            value = {"conversion_id": conversion_id, "brand": brand, "status": PENDING}
            _keep(self._undecided, conversion_id, value)
            # Never over a decision, which is written without NX.
            key, raw = keys.decision(conversion_id), msgpack.packb(value)
            commands.append(("SET", key, raw, "NX", "EX", limits.DECISION_KEPT_S))
        if not commands:
            return
        with contextlib.suppress(JournalError, TimeoutError):
            client = await self._connected()
            async with asyncio.timeout(_ANSWER_S):
                await asyncio.gather(*(client.call(*command) for command in commands))

    def remembered(self, conversion_id: str) -> dict[str, Any] | None:
        """What this process remembers of an undecided conversion."""
        return self._undecided.get(conversion_id)

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._client is not None:
            await self._client.close()

    async def _call(self, *args: bytes | str | int) -> Any:
        client = await self._connected()
        async with asyncio.timeout(_ANSWER_S):
            return await client.call(*args)

    async def _connected(self) -> RespClient:
        client = self._client
        return await self._connect() if client is None or client.closed else client

    async def _connect(self) -> RespClient:
        if not self._url:
            raise JournalError("no server")
        now_s = asyncio.get_running_loop().time()
        if self._connecting is None:
            if now_s < self._retry_s:
                raise JournalError("Redis was away a moment ago")
            self._retry_s = now_s + limits.REDIS_RETRY_MS_MAX / 1000
            self._connecting = asyncio.create_task(
                RespClient.connect(self._url, timeout_s=_CONNECT_S)
            )
        connecting = self._connecting
        try:
            self._client = await asyncio.shield(connecting)
        finally:
            if connecting.done() and self._connecting is connecting:
                self._connecting = None
        return self._client


def _once(name: str) -> str:
    return f"hw:once:{name}"


def _keep(store: OrderedDict[str, Any], name: str, value: Any) -> None:
    store[name] = value
    store.move_to_end(name)
    while len(store) > limits.REMEMBERED_MAX:
        store.popitem(last=False)
