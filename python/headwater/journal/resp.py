"""A pipelining Redis client on an asyncio protocol: one socket, answers in order.

Every command of one loop turn leaves in one write. redis-py checks a connection out per command
in flight and is eight times slower at this (docs/benchmarks.md); it serves where speed does not
matter.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from headwater.errors import JournalError

_NOTHING: Final = object()
_SUBSCRIPTION_KINDS: Final = (b"subscribe", b"unsubscribe", b"psubscribe", b"punsubscribe")


class RedisError(JournalError):
    """An error Redis answered; the text starts with its code."""

    @property
    def code(self) -> str:
        """`OOM`, `LOADING`, `WRONGTYPE`, `ERR`, ..."""
        return str(self).partition(" ")[0]


class RedisGone(JournalError):
    """The connection ended before the answer: the command may have run or not."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis URL points."""

    path: str | None
    host: str
    port: int
    username: str | None
    password: str | None
    database: int
    tls: bool


def parse_url(url: str) -> Address:
    """The parts of `unix:///path[?db=N]` or `redis[s]://[user[:password]@]host[:port][/N]`.

    Raises ValueError on any other URL.
    """
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("db", ["0"])[-1]
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("a unix:// URL needs a path")
        return Address(unquote(parts.path), "", 0, username, password, int(database), False)
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("a Redis URL starts with unix://, redis:// or rediss://")
    if parts.path.strip("/"):
        database = parts.path.strip("/")
    return Address(
        None,
        parts.hostname or "127.0.0.1",
        parts.port or 6379,
        username,
        password,
        int(database),
        parts.scheme == "rediss",
    )


Waiter = Callable[[Any], None]


def pack(*args: bytes | str | int) -> bytes:
    """One command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(args)  # type: ignore[arg-type]
    return packed


class RespClient(asyncio.Protocol):
    """One connection. Made by `connect`; not to be used after `closed` is true."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader(
            protocolError=RedisGone, replyError=RedisError, notEnoughData=_NOTHING
        )
        self._pending: deque[Waiter | asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] = loop.create_future()
        self._resp2_subscribed = False
        self.on_push: Callable[[list[Any]], None] | None = None
        """Called with [kind, channel, payload] of each published message."""

    @classmethod
    async def connect(cls, url: str, *, timeout_s: float = 1.0, protocol: int = 2) -> RespClient:
        """A connection that has answered a PING.

        Raises JournalError when there is no server, it refuses, or is silent for `timeout_s`.
        """
        address = parse_url(url)
        loop = asyncio.get_running_loop()
        client = cls(loop)
        try:
            async with asyncio.timeout(timeout_s):
                await client._open(address)
                await client._greet(address, protocol)
        except (OSError, TimeoutError, JournalError) as error:
            client.abort()
            if isinstance(error, RedisError):
                raise
            raise RedisGone(f"cannot connect to Redis: {error or 'no answer'}") from error
        except BaseException:
            client.abort()
            raise
        return client

    async def _open(self, address: Address) -> None:
        if address.path is not None:
            await self._loop.create_unix_connection(lambda: self, address.path)
            return
        context = ssl.create_default_context() if address.tls else None
        await self._loop.create_connection(lambda: self, address.host, address.port, ssl=context)

    async def _greet(self, address: Address, protocol: int) -> None:
        greetings: list[asyncio.Future[Any]] = []
        if address.password is not None:
            login = [address.username] if address.username else []
            greetings.append(self.call("AUTH", *login, address.password))
        if protocol == 3:
            greetings.append(self.call("HELLO", "3"))
        if address.database:
            greetings.append(self.call("SELECT", address.database))
        greetings.append(self.call("PING"))
        for greeting in await asyncio.gather(*greetings, return_exceptions=True):
            if isinstance(greeting, BaseException):
                raise greeting

    # ---- commands

    def call(self, *args: bytes | str | int) -> asyncio.Future[Any]:
        """Send one command; the future gets its answer, a RedisError, or RedisGone."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send(pack(*args), future)
        return future

    def send(self, command: bytes, waiter: Waiter | asyncio.Future[Any]) -> None:
        """Send a packed command. A callable waiter gets answer or exception as its argument,
        from within the socket's callback: no loop turn and no future is paid.
        """
        if self._lost.done():
            self._settle(waiter, RedisGone("the connection to Redis is closed"))
            return
        self._pending.append(waiter)
        if command[4:13] == b"$9\r\nSUBSC" or command[4:14] == b"$10\r\nPSUBS":
            self._resp2_subscribed = True
        if not self._out:
            self._loop.call_soon(self._write)
        self._out.append(command)

    def _write(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    @staticmethod
    def _settle(waiter: Waiter | asyncio.Future[Any], reply: Any) -> None:
        if not isinstance(waiter, asyncio.Future):
            waiter(reply)
        elif not waiter.done():
            if isinstance(reply, Exception):
                waiter.set_exception(reply)
            else:
                waiter.set_result(reply)

    # ---- protocol callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, pending = self._reader.gets, self._pending
        try:
            while (reply := gets()) is not _NOTHING:
                if self._is_push(reply):
                    self._pushed(reply)
                elif pending:
                    self._settle(pending.popleft(), reply)
                else:
                    raise RedisGone("an answer without a question")
        except RedisGone:
            self.abort()

    def _is_push(self, reply: Any) -> bool:
        if isinstance(reply, hiredis.PushNotification):
            return True
        return (
            self._resp2_subscribed
            and isinstance(reply, list)
            and len(reply) > 1
            and reply[0] in (b"message", b"pmessage")
        )

    def _pushed(self, reply: list[Any]) -> None:
        if reply[0] in _SUBSCRIPTION_KINDS:
            if self._pending:
                self._settle(self._pending.popleft(), reply)
        elif self.on_push is not None:
            self.on_push(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(RedisGone(f"the connection to Redis was lost: {exc or 'closed'}"))

    def _finish(self, error: RedisGone) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        pending, self._pending = self._pending, deque()
        self._out.clear()
        for waiter in pending:
            self._settle(waiter, error)
        # A future nobody awaits any more must not be logged as forgotten.
        for waiter in pending:
            if isinstance(waiter, asyncio.Future) and waiter.done() and not waiter.cancelled():
                waiter.exception()

    # ---- end

    @property
    def closed(self) -> bool:
        return self._lost.done()

    @property
    def pending(self) -> int:
        """Commands sent and not answered."""
        return len(self._pending)

    async def wait_closed(self) -> None:
        """Until the connection is lost or closed."""
        await asyncio.shield(self._lost)

    def abort(self) -> None:
        """Drop the connection; everything pending fails with RedisGone."""
        if self._transport is not None:
            self._transport.abort()
        self._finish(RedisGone("the connection to Redis was dropped"))

    async def close(self) -> None:
        """Wait for what is pending to be answered or fail, and close."""
        if not self.closed and self._pending:
            last: asyncio.Future[Any] = self._loop.create_future()
            self.send(pack("PING"), last)
            try:
                async with asyncio.timeout(1.0):
                    await last
            except (TimeoutError, JournalError):
                pass
        self.abort()
        await asyncio.sleep(0)
