"""Connections that come to nothing, in both lanes: whoever sends slowly, without end or not at all
is ended by the same bound, and costs no more memory than one head. Row B7 of the bad-input table.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Literal

import pytest

from edge_tools import Running, head_of, serving, wait_until
from headwater import limits
from headwater.edge.protocol import Deadlines, EdgeProtocol
from hot_pixels import GOOD
from hot_tools import HOST, get

HEAD_S, IDLE_S = 0.6, 1.5
# What a busy machine may add to a deadline.
SLACK_S = 8.0
STEP_S = 0.02
CLICK, REPORT = get(b"/c/spring_1", HOST), get(GOOD, HOST)

Bound = Literal["head", "idle", "either", "at once"]
BOUNDS_S: dict[Bound, tuple[float, float]] = {
    "head": (HEAD_S, HEAD_S),
    "idle": (IDLE_S, IDLE_S),
    "either": (HEAD_S, IDLE_S),
    "at once": (0.0, 0.0),
}


@dataclass
class Slow:
    """What a connection sends: something at first, a drip at every step, and a second thing when
    the first is answered.
    """

    first: bytes
    until: Bound
    drips: Iterator[bytes] = field(default_factory=lambda: iter(()))
    then: bytes = b""
    half_closed: bool = False
    answers: int = 0


def forever(drip: bytes) -> Iterator[bytes]:
    while True:
        yield drip


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def table() -> dict[str, Slow]:
    found: dict[str, Slow] = {
        "nothing": Slow(b"", "head"),
        "empty lines without end": Slow(b"", "head", forever(b"\r\n")),
    }
    for name, whole in (("click", CLICK), ("report", REPORT)):
        line_end = whole.index(b"\r\n")
        for at in (1, 5, line_end - 3, line_end + 1, line_end + 2, len(whole) - 2, len(whole) - 1):
            found[f"{name}, {at} bytes"] = Slow(whole[:at], "head")
        half = whole[: line_end + 2]
        found |= {
            f"{name}, byte by byte": Slow(b"", "head", bytewise(whole)),
            f"{name}, headers without end": Slow(half, "head", forever(b"A: b\r\n")),
            f"{name}, a name without end": Slow(half, "head", forever(b"a")),
            f"{name}, a target without end": Slow(b"GET " + GOOD, "head", forever(b"a")),
            f"{name}, then nothing": Slow(whole, "idle", answers=1),
            f"{name}, then half a head": Slow(
                whole, "head", then=whole[: len(whole) // 2], answers=1
            ),
            f"{name}, then one byte": Slow(whole, "head", then=b"G", answers=1),
            f"{name}, then byte by byte": Slow(whole, "head", bytewise(whole), answers=1),
            f"{name}, then empty lines": Slow(whole, "head", forever(b"\r\n"), answers=1),
            # aiohttp does not tell of a half that came with a whole: to it the connection is idle.
            f"{name} and half a head": Slow(whole + whole[: len(whole) // 2], "either", answers=1),
            f"{name} and a half that goes on": Slow(
                whole + b"GET /", "head", forever(b"a"), answers=1
            ),
            f"{name}, half a head, half closed": Slow(half, "at once", half_closed=True),
            f"{name}, then half closed": Slow(whole, "at once", half_closed=True),
        }
    return found


class Connection:
    """One slow connection, and when it was ended."""

    def __init__(self, edge: Running, slow: Slow) -> None:
        self.slow = slow
        self.received = b""
        self.ended_s: float | None = None
        self.began_s = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", edge.port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send(slow.first)
        if slow.half_closed:
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.setblocking(False)

    def _send(self, data: bytes) -> None:
        # The server may have ended it; then there is nothing to send to.
        with suppress(OSError):
            self.socket.sendall(data)

    def step(self) -> None:
        """Read what is there, and send what is due."""
        try:
            chunk = self.socket.recv(65536)
            self.received += chunk
            if not chunk:
                self.ended_s = time.monotonic() - self.began_s
                return
        except BlockingIOError:
            pass
        except ConnectionError:
            self.ended_s = time.monotonic() - self.began_s
            return
        if self.received.count(b"HTTP/1.1") < self.slow.answers:
            return
        then, self.slow.then = self.slow.then, b""
        self._send(then or next(self.slow.drips, b""))


@pytest.fixture(scope="module", params=[True, False], ids=["hot lane", "ordinary lane"])
def edge(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    deadlines = Deadlines(head_s=HEAD_S, keep_alive_s=IDLE_S, write_s=1.0)
    with serving(tmp_path_factory.mktemp("edge"), deadlines, hot_lane=request.param) as running:
        yield running


def test_b7_slow_connections_are_ended_by_the_same_bound_in_both_lanes(edge: Running) -> None:
    with ExitStack() as stack:
        found = {name: Connection(edge, slow) for name, slow in table().items()}
        for connection in found.values():
            stack.enter_context(connection.socket)
        end_s = time.monotonic() + IDLE_S + SLACK_S
        while time.monotonic() < end_s and any(one.ended_s is None for one in found.values()):
            for connection in found.values():
                if connection.ended_s is None:
                    connection.step()
            time.sleep(STEP_S)
        took_s = {name: connection.ended_s for name, connection in found.items()}
        kept = [name for name, ended_s in took_s.items() if ended_s is None]
        assert not kept, "never ended"
        for name, connection in found.items():
            least_s, most_s = BOUNDS_S[connection.slow.until]
            assert least_s * 0.8 <= (connection.ended_s or 0.0) < most_s + SLACK_S, name
            answers = connection.received.count(b"HTTP/1.1")
            # An answer may be on its way to one that said goodbye, or not.
            assert answers == connection.slow.answers or connection.slow.half_closed, name
    edge.take()


def protocols() -> int:
    """Connections of edges in this process, as far as anything still holds them."""
    gc.collect()
    return sum(isinstance(each, EdgeProtocol) for each in gc.get_objects())


def test_b7_half_open_connections_by_the_hundred_leave_nothing_behind(edge: Running) -> None:
    before = protocols()
    held = limits.CONNECTIONS_PER_ADDRESS_MAX // 2
    halves = [REPORT[:-2], CLICK[:9], CLICK + REPORT[:30], b"GET /px.gif?" + b"a" * 8000]
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", edge.port), timeout=20))
            for _ in range(held)
        ]
        for at, sock in enumerate(sockets):
            sock.sendall(halves[at % len(halves)])
        # Whoever behaves is answered meanwhile.
        assert edge.call("GET", GOOD.decode()).status == 200
        for sock in sockets:
            with suppress(ConnectionError):
                while sock.recv(65536):
                    pass
        wait_until(lambda: protocols() <= before)
    edge.take()


FLOODS = {
    "a target": (b"GET /c/", b"a" * 4096, 414),
    "a query": (b"GET " + GOOD + b"&line=", b"a" * 4096, 414),
    "a value": (b"GET " + GOOD + b" HTTP/1.1\r\nHost: x\r\nCookie: ", b"a=b;" * 1024, 431),
    "headers": (b"GET " + GOOD + b" HTTP/1.1\r\nHost: x\r\n", b"A: " + b"b" * 4096 + b"\r\n", 431),
    "small headers": (b"GET /c/spring_1 HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 512, 431),
}
# Far more than the parser bears and the kernel's buffers hold.
FLOOD_BYTES_MAX = 64 * limits.MIB


@pytest.mark.parametrize("name", FLOODS)
def test_b7_a_head_without_end_that_comes_fast_is_cut_off(edge: Running, name: str) -> None:
    first, more, status = FLOODS[name]
    sent = 0
    with socket.create_connection(("127.0.0.1", edge.port), timeout=20) as sock:
        sock.sendall(first)
        with suppress(ConnectionError):
            while sent < FLOOD_BYTES_MAX:
                sock.sendall(more * 16)
                sent += len(more) * 16
            pytest.fail("a head without end was read on")
        received = b""
        with suppress(ConnectionError):
            while chunk := sock.recv(65536):
                received += chunk
    if received:
        assert head_of(received)[0] == status
    edge.take()
