"""The hot lane's own connections: the event loop is asked once a turn, not once a click.

`_core.HotListener` takes connections, reads what comes on them and offers it to the lane. Here the
records of a turn go to the journal, one batch for each partition, and its answers leave when the
journal has told that the batch is safe, or the deadline passes. A connection whose bytes are not
the lane's is handed over, with those bytes, to a protocol of aiohttp's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Final, cast

from aiohttp.helpers import rfc822_formatted_time

from headwater import _core, clock, limits
from headwater.edge import hot_counts
from headwater.edge.hot_links import HotLinks
from headwater.edge.protocol import Deadlines, EdgeServer
from headwater.journal.writer import pass_over

if TYPE_CHECKING:
    from headwater.edge.hot import HotProtocol

log = logging.getLogger(__name__)

_NANOSECONDS: Final = 1e9
# Connections that were idle for too long are looked for so often in the time they may be.
_LOOKS: Final = 4
_LOOK_S_MAX: Final = 1.0


class Batch:
    """Records of one turn for one partition. Journal and deadline tell it what became of them."""

    __slots__ = ("_began_ns", "_kind", "_left", "_listener", "_number", "_safe", "_size")

    def __init__(
        self, listener: HotListener, number: int, kind: str, size: int, began_ns: int
    ) -> None:
        self._listener = listener
        self._number = number
        self._kind = kind
        self._size = self._left = size
        self._safe = 0
        self._began_ns = began_ns

    def done(self) -> bool:
        return self._left == 0

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._listener.loop

    def set_exception(self, error: Exception, /) -> None:
        """The deadline passed, or the journal takes nothing, for all that are left."""
        self.tell(error, self._left)

    def tell(self, outcome: bool | Exception, number: int, /) -> None:
        """So many are safe, or are not; after the deadline nobody asks."""
        if not self._left:
            return
        if isinstance(outcome, Exception):
            hot_counts.not_safe(self._listener.edge.meters, self._kind, outcome, number)
        else:
            self._safe += number
        self._left -= number
        if not self._left:
            self._finish()

    def _finish(self) -> None:
        meters = self._listener.edge.meters
        if self._safe:
            meters.accepted(self._kind, self._safe)
        seconds = (clock.perf_ns() - self._began_ns) / _NANOSECONDS
        meters.observe(hot_counts.ROUTES[self._kind], seconds, self._size)
        self._listener.answer(self._number)


class LentConnections:
    """Connections handed over are counted where they came from."""

    def __init__(self, core: _core.HotListener) -> None:
        self._core = core

    def admit(self, address: str) -> bool:  # noqa: ARG002
        return True

    def release(self, address: str) -> None:
        self._core.release(address)


class HotListener:
    """The listener of an edge with a hot lane. Used on one event loop."""

    def __init__(self, links: HotLinks, deadlines: Deadlines, connections_max: int) -> None:
        self.edge = links.edge
        self._links = links
        self._look_s = min(_LOOK_S_MAX, deadlines.head_s / _LOOKS, deadlines.keep_alive_s / _LOOKS)
        self._core = _core.HotListener(
            self.edge.proxies.ranges.packed(),
            connections_max,
            limits.CONNECTIONS_PER_ADDRESS_MAX,
            round(deadlines.head_s * 1000),
            round(deadlines.keep_alive_s * 1000),
        )
        self.connections = LentConnections(self._core)
        self.loop: asyncio.AbstractEventLoop
        self._http: EdgeServer
        self._look: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._is_wanted = False
        self._drained: asyncio.Event | None = None
        """Set when no answer waits any more, once the end has begun."""

    async def start(self, http: EdgeServer, host: str, port: int) -> int:
        """Listen; the port it got. `http` serves what is handed over. Raises OSError."""
        self.loop = asyncio.get_running_loop()
        self._http = http
        found = await self.loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        ports = [
            self._core.listen(address, port, limits.LISTEN_BACKLOG)
            for address in dict.fromkeys(str(each[4][0]) for each in found if _is_had(each[0]))
        ]
        self.loop.add_reader(self._core.fileno(), self._turn)
        self._expire()
        self.edge.writer.gather = self._gather
        return ports[0]

    async def close(self, seconds: float) -> None:
        """Take no more, let answers that wait leave, for so long, and close the rest."""
        self._core.drain()
        self._drained = asyncio.Event()
        self._note_drained()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        self.loop.remove_reader(self._core.fileno())
        if self._look is not None:
            self._look.cancel()
        self.edge.writer.gather = pass_over
        self._turn()
        self._core.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answer(self, number: int) -> None:
        """A batch is safe, or given up."""
        if self._core.answer(number, _monotonic_ms()):
            self._want_turn()
        self._note_drained()

    def _note_drained(self) -> None:
        if self._drained is not None and not self._core.pending:
            self._drained.set()

    def _want_turn(self) -> None:
        if not self._is_wanted:
            self._is_wanted = True
            self.loop.call_soon(self._turn)

    def _gather(self) -> None:
        """A frame is about to leave: whoever has come by now goes with it."""
        try:
            self._turn()
        except OSError as error:
            log.error("hot lane failed", extra={"fields": {"error": type(error).__name__}})

    def _turn(self) -> None:
        self._is_wanted = False
        edge = self.edge
        now_ms = edge.now_ms()
        began_ns = clock.perf_ns()
        batches, handed, refused, errors, is_unfinished = self._core.turn(
            self._links.core(now_ms), now_ms, rfc822_formatted_time(), _monotonic_ms()
        )
        for number, partition, records, kind, reason in batches:
            batch = Batch(self, number, kind, len(records), began_ns)
            if reason is not None:
                hot_counts.refused(edge.meters, reason, len(records))
            try:
                edge.writer.put(partition, records, batch)
            except Exception as error:  # noqa: BLE001 - whatever it was, the visitors arrive
                batch.set_exception(error)
            else:
                edge.click_wait.limit(batch)
        for fd, peer, unsent, is_last, unread in handed:
            self._hand(fd, peer, unsent, is_last=is_last, unread=unread)
        for _ in range(refused):
            self._http.refused("too_many_connections")
        for failure in errors:
            log.error("hot lane failed", extra={"fields": {"error": type(failure).__name__}})
        if is_unfinished:
            self._want_turn()
        self._note_drained()

    def _hand(self, fd: int, peer: str, unsent: bytes, *, is_last: bool, unread: bytes) -> None:
        """Give a connection to aiohttp."""
        protocol = cast("HotProtocol", self._http())
        protocol.go_on(peer, unsent, unread, is_last=is_last)
        handed = socket.socket(fileno=fd)
        task = self.loop.create_task(self._adopt(protocol, handed, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self, protocol: HotProtocol, handed: socket.socket, peer: str) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: protocol, handed)
        except OSError:
            # It was gone before its protocol heard of it.
            handed.close()
            self._core.release(peer)

    def _expire(self) -> None:
        self._core.expire(_monotonic_ms())
        self._look = self.loop.call_later(self._look_s, self._expire)


def _monotonic_ms() -> int:
    return int(clock.monotonic_s() * 1000)


def _is_had(family: socket.AddressFamily) -> bool:
    """Whether this machine has the family: names may resolve to addresses of one it has not."""
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True
