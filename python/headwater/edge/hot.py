"""A connection that brings clicks and other requests: handed over by the hot lane's listener, and
offered to the lane still.

Bytes are offered to the lane only when aiohttp's parser holds none of an unfinished message and
nothing is being answered; whatever the lane does not take goes to the parser, in order. An answer
leaves when its event is safe; until then it is a request in progress, and what comes meanwhile is
held.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp.web_protocol import _ErrInfo

from headwater import clock
from headwater.edge import hot_counts
from headwater.edge.hot_links import HotLinks, Taken
from headwater.edge.protocol import EdgeProtocol, EdgeServer

log = logging.getLogger(__name__)

_HEAD_END = b"\r\n\r\n"
_NANOSECONDS = 1e9


class Answer:
    """What a request is answered once its event is safe, or the deadline passes.

    It is what the journal tells of its record. `kind` is what that is: click, conversion,
    rejection.
    """

    __slots__ = ("_began_ns", "_is_done", "_protocol", "data", "is_last", "kind")

    def __init__(self, protocol: HotProtocol, data: bytes, kind: str, *, is_last: bool) -> None:
        self._protocol = protocol
        self.kind = kind
        self._began_ns = clock.perf_ns()
        self._is_done = False
        self.data = data
        self.is_last = is_last

    @property
    def seconds(self) -> float:
        """How long it has waited."""
        return (clock.perf_ns() - self._began_ns) / _NANOSECONDS

    def done(self) -> bool:
        return self._is_done

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._protocol._loop

    def set_exception(self, error: Exception, /) -> None:
        """The deadline passed: the visitor leaves."""
        self.tell(error, 1)

    def tell(self, outcome: bool | Exception, number: int, /) -> None:
        """The event is safe, or is not; after the deadline nobody asks."""
        if self._is_done:
            return
        meters = self._protocol.hot.edge.meters
        if isinstance(outcome, Exception):
            hot_counts.not_safe(meters, self.kind, outcome, number)
        else:
            meters.accepted(self.kind, number)
        self._is_done = True
        self._protocol.answer(self)


class HotProtocol(EdgeProtocol):
    """One connection."""

    __slots__ = ("_held", "_is_between", "_peer", "_pending", "_unsent", "hot")

    def __init__(self, manager: EdgeServer, *, hot: HotLinks, **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self.hot = hot
        self._pending: Answer | None = None
        self._held = b""
        self._peer = ""
        self._unsent = b""
        # aiohttp's parser stands between two messages: what comes next begins a request.
        self._is_between = True

    def go_on(self, peer: str, unsent: bytes, unread: bytes, *, is_last: bool) -> None:
        """Begin with what is left of a connection from `peer`: bytes to be written, after which it
        ends if `is_last`, and bytes that came.
        """
        self._peer = peer
        self._unsent = unsent
        self._held = unread
        self._close = is_last

    def _address_of(self, transport: asyncio.BaseTransport) -> str:  # noqa: ARG002
        # The transport no longer knows, if the peer is gone already.
        return self._peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._unsent and self.transport is not None:
            # Whoever did not take an answer at once is held to the deadline for the rest of it.
            self.transport.set_write_buffer_limits(0)
            self.transport.write(self._unsent)
            self._unsent = b""
            if self._close:
                self._loop.call_later(self._server.deadlines.write_s, self.transport.abort)
                self.force_close()
        if self._held:
            held, self._held = self._held, b""
            self._receive(held)
            # The transport begins to read after this, whatever it was told before.
            self._loop.call_soon(self._pause_again)

    def _pause_again(self) -> None:
        if self._buffer_paused or self._reading_paused:
            self._pause_transport_reading()

    def data_received(self, data: bytes) -> None:
        if data and (self._pending is not None or self._held):
            self._hold(data)
        else:
            self._receive(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._held = b""
        super().connection_lost(exc)

    def _process_keepalive(self) -> None:
        if self._pending is not None:
            # The connection is not idle; its answer starts the time anew.
            self._keepalive_handle = None
            return
        super()._process_keepalive()

    def _receive(self, data: bytes) -> None:
        taken = self._offered(data)
        if taken is None:
            self._feed(data)
            return
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        size, content, partition, record, is_last, kind, reason = taken
        rest = data[size:]
        if rest:
            self._hold(rest)
        self._server.requests_count += 1
        answer = Answer(self, content, kind, is_last=is_last)
        self._pending = answer
        self._request_in_progress = True
        edge = self.hot.edge
        if reason is not None:
            hot_counts.refused(edge.meters, reason, 1)
        try:
            edge.writer.put(partition, (record,), answer)
        except Exception as error:  # noqa: BLE001 - whatever it was, the visitor arrives
            answer.tell(error, 1)
        if not answer.done():
            edge.click_wait.limit(answer)

    def _offered(self, data: bytes) -> Taken | None:
        """What the lane takes of `data`; None when it is not to be asked."""
        if (
            not self._is_between
            or self._is_answering
            or self._messages
            or self._paused
            or self._close
            or self._force_close
            or not self._address
            or self.hot.edge.draining
        ):
            return None
        try:
            return self.hot.take(data, self._address)
        except Exception as error:  # noqa: BLE001 - the ordinary lane answers
            log.error("hot lane failed", extra={"fields": {"error": type(error).__name__}})
            return None

    def _feed(self, data: bytes) -> None:
        """Give bytes to aiohttp, and note whether its parser is between two messages then.

        It is, when what it was given ends in an empty line, completed a head, and the last request
        has no more body: half a head cannot hold an empty line.
        """
        before = self._request_count
        super().data_received(data)
        if not data:
            return
        self._is_between = False
        if self._request_count != before and self._messages and data.endswith(_HEAD_END):
            message, payload = self._messages[-1]
            self._is_between = (
                payload.is_eof()
                and not isinstance(message, _ErrInfo)
                and not self._upgraded
                and not self._buffer_paused
            )

    def _hold(self, data: bytes) -> None:
        """Keep bytes until the answer before them is written; no more are read meanwhile."""
        self._held += data
        if not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _release(self) -> None:
        held, self._held = self._held, b""
        if self.transport is None:
            return
        self._resume_reading_for_buffer()
        self._receive(held)

    def answer(self, answer: Answer) -> None:
        """Write an answer, as its event is safe or given up."""
        self._pending = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        self.hot.edge.meters.observe(hot_counts.ROUTES[answer.kind], answer.seconds)
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(answer.data)
        if answer.is_last or self._close or self._force_close:
            self.force_close()
            return
        self._next_keepalive_close_time = close_at = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_at, self._process_keepalive)
        if self._held:
            # In a turn of its own: many requests that came together must not nest.
            self._loop.call_soon(self._release)
