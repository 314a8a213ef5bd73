"""The HTTP server below the routes: aiohttp's own parser and request loop, with deadlines and
bounds it does not have, and errors that repeat nothing.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from aiohttp import http_parser, web
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import (
    _PAYLOAD_ACCESS_ERROR,
    ERROR,
    RequestHandler,
    RequestPayloadError,
    _ErrInfo,
)

from headwater import limits
from headwater.edge.address import place
from headwater.edge.responses import problem
from headwater.errors import ConfigError, RequestRefused

log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def assert_c_parser() -> None:
    """Raise ConfigError unless aiohttp's C parser is in use: the other one is lenient and slow."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise ConfigError(["aiohttp runs without its C parser; install its binary wheel"])


class EdgeProtocol(RequestHandler):
    """One connection."""

    __slots__ = (
        "_address",
        "_arrived",
        "_head_timer",
        "_is_answering",
        "_is_weighed",
        "_server",
        "_write_timer",
    )

    def __init__(self, manager: EdgeServer, **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self._server = manager
        self._address: str | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._arrived = 0
        # The loop of requests works on one; it may also wait for one, or not have begun.
        self._is_answering = False
        # Some head on this connection may be too large; ordinary ones are not looked through.
        self._is_weighed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = self._address_of(transport)
        super().connection_made(transport)
        if not self._server.admissions.admit(address):
            self._server.refused("too_many_connections")
            self.force_close()
            return
        self._address = address
        self._start_head_timer()

    def _address_of(self, transport: asyncio.BaseTransport) -> str:
        peer = transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple | list) and peer else ""

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timers()
        if self._address is not None:
            self._server.admissions.release(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        self._arrived += len(data)
        if self._request_count != before:
            self._is_weighed |= self._arrived > limits.HEAD_BYTES_MAX
            self._arrived = 0
        if self._messages:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and not self._request_in_progress and data:
            # Bytes came, nothing is complete, nobody works on this connection: half a head.
            self._start_head_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self._loop.call_later(
                self._server.deadlines.write_s, self._abort, "slow reader"
            )

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    async def start(self) -> None:
        """Answer the connection's requests, one after another, until it ends.

        As aiohttp's own loop, without a task for each request: nothing here needs a context of
        its own, and the task costs a tenth of a redirect.
        """
        server = self._server
        while not self._force_close:
            if not self._messages:
                self._is_answering = False
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            self._is_answering = True
            message, payload = self._messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            server.requests_count += 1
            handler = server.request_handler
            if self._is_weighed and not isinstance(message, _ErrInfo) and _is_heavy(message):
                message = _ErrInfo(431, LineTooLong(b"", limits.HEAD_BYTES_MAX), "")
            if isinstance(message, _ErrInfo):
                handler, message = self._make_error_handler(message), ERROR
            task = cast("asyncio.Task[None]", asyncio.current_task())
            writer = StreamWriter(self, self._loop)
            request = server.request_factory(message, payload, self, writer, task)
            if not await self._answer(request, payload, handler):
                return
        self._task_handler = None

    async def _answer(
        self, request: web.BaseRequest, payload: StreamReader, handler: Handler
    ) -> bool:
        """Answer one request; whether the connection goes on."""
        try:
            response, reset = await self._handle_request(request, None, handler)
            if not reset and not payload.is_eof():
                await self._linger(payload)
            payload.set_exception(_PAYLOAD_ACCESS_ERROR)
        except asyncio.CancelledError:
            self.force_close()
            raise
        except ConnectionError:
            reset = True
        except Exception as error:  # noqa: BLE001 - the connection ends, the process does not
            self.log_exception(type(error).__name__)
            self.force_close()
            return False
        self._keepalive = not reset and bool(response.keep_alive)
        if not self._keepalive or self._close or self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()
            return False
        self._next_keepalive_close_time = close_at = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_at, self._process_keepalive)
        return True

    async def _linger(self, payload: StreamReader) -> None:
        """Read and drop what is left of a refused body for a while, so that the peer, which may
        still be sending, gets to read the refusal; then the connection closes.
        """
        try:
            async with asyncio.timeout(self._lingering_time):
                while not payload.is_eof():
                    await payload.readany()
        except (TimeoutError, HttpProcessingError, RequestPayloadError):
            self.close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it holds bytes of the request
    ) -> web.StreamResponse:
        """A problem document for what the parser or a handler failed on; closes the connection."""
        code = _code_of(status, exc)
        if code == "internal_error":
            fields = {"error": type(exc).__name__, "where": _place_of(exc)}
            log.error("request failed", extra={"fields": fields})
        self._server.refused(code)
        response = problem(RequestRefused(code))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """aiohttp's own messages may hold bytes of the request."""
        log.error("connection failed", extra={"fields": {}})

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(
            self._server.deadlines.head_s, self._abort, "head deadline"
        )

    def _abort(self, why: str) -> None:
        log.debug("connection ended", extra={"fields": {"why": why}})
        self._stop_timers()
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None


class Deadlines:
    """Seconds a connection may take; shorter ones are for tests."""

    __slots__ = ("head_s", "keep_alive_s", "write_s")

    def __init__(
        self,
        head_s: float = limits.HEAD_DEADLINE_S,
        keep_alive_s: float = limits.KEEP_ALIVE_S,
        write_s: float = limits.WRITE_DEADLINE_S,
    ) -> None:
        self.head_s = head_s
        self.keep_alive_s = keep_alive_s
        self.write_s = write_s


class Connections(Protocol):
    """How many connections each address has."""

    def admit(self, address: str) -> bool:
        """Whether one more connection of this address is taken; if so it is counted."""
        ...

    def release(self, address: str) -> None:
        """A connection that was admitted has ended."""
        ...


def connections_max() -> int:
    """Connections this process may have: its descriptors, but for those it needs itself."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return sys.maxsize
    return descriptors - min(limits.DESCRIPTORS_KEPT, descriptors // 2)


class CountedConnections:
    """Connections by address (of IPv6 by /64), up to a bound for those that are not trusted, and
    in all.
    """

    def __init__(
        self,
        trusts: Callable[[str], bool],
        connections_max: int,
        per_address_max: int = limits.CONNECTIONS_PER_ADDRESS_MAX,
    ) -> None:
        self._trusts = trusts
        self._connections_max = connections_max
        self._per_address_max = per_address_max
        self._by_line: Counter[bytes] = Counter()
        self._count = 0

    def admit(self, address: str) -> bool:
        line = _line(address)
        if self._by_line[line] >= self._per_address_max and not self._trusts(address):
            return False
        if self._count >= self._connections_max:
            return False
        self._by_line[line] += 1
        self._count += 1
        return True

    def release(self, address: str) -> None:
        line = _line(address)
        self._count -= 1
        self._by_line[line] -= 1
        if self._by_line[line] <= 0:
            del self._by_line[line]


def _line(address: str) -> bytes:
    at = place(address)
    return b"" if at is None else at.line


class EdgeServer(web.Server):
    """Makes the protocol of each connection."""

    def __init__(
        self,
        handler: Handler,
        *,
        refused: Callable[[str], None],
        connections: Connections,
        deadlines: Deadlines | None = None,
        protocol: Callable[..., EdgeProtocol] = EdgeProtocol,
    ) -> None:
        assert_c_parser()
        super().__init__(handler)
        self.refused = refused
        """Told the code of each request that no handler saw."""
        self.deadlines = deadlines or Deadlines()
        self.admissions = connections
        self._protocol = protocol

    def __call__(self) -> RequestHandler:
        return self._protocol(
            self,
            loop=self._loop,
            keepalive_timeout=self.deadlines.keep_alive_s,
            access_log=None,
            max_line_size=limits.LINE_BYTES_MAX,
            max_field_size=limits.HEADER_BYTES_MAX,
            max_headers=limits.HEADERS_MAX,
            lingering_time=limits.LINGER_S,
            auto_decompress=False,
            logger=log,
        )


def _is_heavy(message: RawRequestMessage) -> bool:
    """Whether all the headers of a request together are too large."""
    return (
        sum(len(name) + len(value) for name, value in message.raw_headers) > limits.HEAD_BYTES_MAX
    )


def _code_of(status: int, exc: BaseException | None) -> str:
    """The reason for an error below the routes."""
    if isinstance(exc, LineTooLong):
        # The parser names the line by its first bytes: a header's name, or the target.
        return "uri_too_long" if _is_target(exc) else "head_too_large"
    if isinstance(exc, BadHttpMessage) and "headers" in str(exc.message).lower():
        return "head_too_large" if "many" in str(exc.message).lower() else "malformed_request"
    return "malformed_request" if status < 500 else "internal_error"


def _is_target(error: LineTooLong) -> bool:
    line = error.args[0] if error.args else b""
    return bytes(line if isinstance(line, bytes | bytearray) else b"").startswith((b"/", b"http"))


def _place_of(exc: BaseException | None) -> str:
    """File and line an exception comes from; its text may hold a request's values."""
    trace = exc.__traceback__ if exc else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
