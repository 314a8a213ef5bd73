"""The hot lane on a connection: when answers leave, in which order, and what they wait for."""

from __future__ import annotations

import re
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from connection_tools import keep_waiting, settle, value
from connection_tools import opened as own
from edge_tools import FakeKeys, Running, drain, link, program, serving, wait_until
from headwater import clock, limits
from headwater.edge import hot, protocol
from headwater.edge.network import Networks
from headwater.edge.protocol import Deadlines
from headwater.errors import JournalError
from hot_tools import CLOSE, HOST, get
from lane_tools import is_whole

CLICK = get(b"/c/spring_1", HOST)
FOUND = b"HTTP/1.1 302 Found"
# What uvloop reads of a connection at once.
READ_BYTES_MAX = 256_000


Opened = Callable[[Running], AbstractContextManager[socket.socket]]


@contextmanager
def lent(edge: Running) -> Iterator[socket.socket]:
    """One that was handed over to aiohttp, as its first request was for something else."""
    with own(edge) as sock:
        sock.sendall(get(b"/robots.txt", HOST))
        received = b""
        while not is_whole(received):
            received += sock.recv(65536)
        yield sock


@pytest.fixture(params=[own, lent], ids=["own", "lent"])
def opened(request: pytest.FixtureRequest) -> Opened:
    found: Opened = request.param
    return found


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, accept_deadline_ms=5000) as running:
        yield running


def answers(sock: socket.socket, count: int) -> bytes:
    received = b""
    while received.count(b"\r\n\r\n") < count:
        chunk = sock.recv(65536)
        assert chunk, "the connection was closed"
        received += chunk
    return received


# ---- answers


def test_nothing_leaves_before_its_click_is_safe(edge: Running, opened: Opened) -> None:
    keep_waiting(edge)
    with opened(edge) as sock:
        sock.sendall(CLICK)
        wait_until(lambda: edge.waiting)  # type: ignore[attr-defined]
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        settle(edge)
        assert answers(sock, 1).startswith(FOUND)


def test_of_what_comes_together_one_request_is_taken_at_a_time(
    edge: Running, opened: Opened
) -> None:
    keep_waiting(edge)
    with opened(edge) as sock:
        sock.sendall(CLICK * 3)
        wait_until(lambda: edge.waiting)  # type: ignore[attr-defined]
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert len(edge.take()) == 1
        settle(edge)
        assert answers(sock, 3).count(FOUND) == 3
        assert len(edge.take()) == 2


@pytest.mark.parametrize("second", [get(b"/robots.txt", HOST), get(b"/c/nowhere", HOST)])
def test_what_comes_while_answers_wait_is_answered_behind_them(
    edge: Running, second: bytes, opened: Opened
) -> None:
    keep_waiting(edge)
    with opened(edge) as sock:
        sock.sendall(CLICK)
        wait_until(lambda: edge.waiting)  # type: ignore[attr-defined]
        sock.sendall(second + CLICK)
        time.sleep(0.05)
        settle(edge)
        found = answers(sock, 3)
        assert re.findall(rb"HTTP/1.1 ([0-9]+)", found)[0] == b"302"
        assert found.count(FOUND) == 2
        assert len(edge.take()) == 2


def test_no_more_is_read_than_is_held_while_answers_wait(edge: Running, opened: Opened) -> None:
    keep_waiting(edge)
    with opened(edge) as sock:
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            send_for_ever(sock)
        assert len(edge.take()) == 1
        waiter = edge.waiting[0]  # type: ignore[attr-defined]
        if isinstance(waiter, hot.Answer):
            assert 0 < len(waiter._protocol._held) <= READ_BYTES_MAX


def send_for_ever(sock: socket.socket) -> None:
    while True:
        sock.sendall(CLICK * 1000)


def test_a_request_to_close_with_more_behind_it_is_not_the_hot_lanes(
    edge: Running, opened: Opened
) -> None:
    with opened(edge) as sock:
        sock.sendall(CLICK + get(b"/c/spring_1", HOST, CLOSE) + CLICK)
        found = drain(sock)
    assert found.count(FOUND) == 1
    assert found.count(b"HTTP/1.0 400 Bad Request") == 1
    assert len(edge.take()) == 1


# ---- when the journal does not take or keep a click


def test_past_the_deadline_the_visitors_leave_and_are_counted(
    tmp_path: Path, opened: Opened
) -> None:
    with serving(tmp_path, accept_deadline_ms=40) as edge:
        edge.flush()
        name = "headwater_clicks_unaccepted_total"
        before = value(name, reason="deadline")
        keep_waiting(edge)
        with opened(edge) as sock:
            began = clock.monotonic_s()
            sock.sendall(CLICK * 2)
            assert answers(sock, 2).count(FOUND) == 2
            assert 0.03 < clock.monotonic_s() - began < 20
            # The connection goes on, and what becomes of the late clicks changes nothing.
            settle(edge)
            sock.sendall(CLICK)
            answers(sock, 1)
        edge.flush()
        assert value(name, reason="deadline") == before + 2


@pytest.mark.parametrize(
    ("reason", "outcome"), [("journal_full", None), ("error", JournalError("disk"))]
)
def test_a_click_that_is_not_recorded_is_redirected_and_counted(
    edge: Running, reason: str, outcome: Exception | None, opened: Opened
) -> None:
    edge.flush()
    before = value("headwater_clicks_unaccepted_total", reason=reason)
    edge.writer.full = outcome is None
    edge.writer.outcome = outcome or True
    with opened(edge) as sock:
        sock.sendall(CLICK * 40)
        assert answers(sock, 40).count(FOUND) == 40
    edge.flush()
    assert value("headwater_clicks_unaccepted_total", reason=reason) == before + 40


def test_requests_and_clicks_are_counted_as_by_the_ordinary_lane(
    edge: Running, opened: Opened
) -> None:
    edge.flush()
    names = (
        ("headwater_events_accepted_total", {"kind": "click"}),
        ("headwater_edge_request_seconds_count", {"route": "redirect"}),
    )
    before = [value(name, **labels) for name, labels in names]
    with opened(edge) as sock:
        sock.sendall(CLICK * 5)
        answers(sock, 5)
    edge.flush()
    assert [value(name, **labels) for name, labels in names] == [each + 5 for each in before]


# ---- connections


def test_a_visitor_that_leaves_early_is_recorded_all_the_same(
    edge: Running, opened: Opened
) -> None:
    keep_waiting(edge)
    with opened(edge) as sock:
        sock.sendall(CLICK)
        wait_until(lambda: edge.waiting)  # type: ignore[attr-defined]
    time.sleep(0.05)
    settle(edge)
    assert edge.call("GET", "/c/spring_1").status == 302
    assert len(edge.take()) == 2


@pytest.mark.parametrize("hot_lane", [True, False])
def test_a_half_closed_connection_ends_and_its_click_is_recorded(
    tmp_path: Path, hot_lane: bool, opened: Opened
) -> None:
    with serving(tmp_path, accept_deadline_ms=5000, hot_lane=hot_lane) as edge:
        keep_waiting(edge)
        with opened(edge) as sock:
            sock.sendall(CLICK)
            wait_until(lambda: edge.waiting)  # type: ignore[attr-defined]
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        settle(edge)
        assert len(edge.take()) == 1


def test_answers_that_wait_are_written_before_the_edge_ends(tmp_path: Path, opened: Opened) -> None:
    received: list[bytes] = []
    with ExitStack() as stack:
        with serving(tmp_path, accept_deadline_ms=5000) as edge:
            keep_waiting(edge)
            sock = stack.enter_context(opened(edge))
            sock.settimeout(60)
            sock.sendall(CLICK)
            wait_until(lambda: edge.waiting)  # type: ignore[attr-defined]
            reader = threading.Thread(target=lambda: received.append(drain(sock)))
            reader.start()
            threading.Timer(0.3, settle, (edge,)).start()
        reader.join(60)
    assert received[0].startswith(FOUND)


def test_a_connection_is_idle_again_only_after_its_answers(tmp_path: Path, opened: Opened) -> None:
    deadlines = Deadlines(head_s=2, keep_alive_s=0.3)
    with serving(tmp_path, deadlines, accept_deadline_ms=5000) as edge:
        keep_waiting(edge)
        with opened(edge) as sock:
            sock.sendall(CLICK)
            time.sleep(0.6)
            settle(edge)
            assert answers(sock, 1).startswith(FOUND)
            began = clock.monotonic_s()
            assert sock.recv(1) == b""
            assert 0.15 < clock.monotonic_s() - began < 20


def test_half_a_head_behind_a_click_has_its_deadline(tmp_path: Path, opened: Opened) -> None:
    with serving(tmp_path, Deadlines(head_s=0.3, keep_alive_s=5)) as edge, opened(edge) as sock:
        sock.sendall(CLICK + CLICK[:20])
        assert answers(sock, 1).startswith(FOUND)
        began = clock.monotonic_s()
        assert drain(sock) == b""
        assert clock.monotonic_s() - began < 20


# ---- what the lane is told


def test_a_change_of_the_configuration_is_in_force_at_once(edge: Running) -> None:
    def location() -> str | None:
        return edge.call("GET", "/c/spring_1").headers["Location"]

    def put(kind: str, number: int, **value: object) -> None:
        done = threading.Event()

        def body() -> None:
            edge.edge.table.apply(kind, number, value)
            done.set()

        edge.loop.call_soon_threadsafe(body)
        assert done.wait(60)

    first = location()
    assert first
    assert first.startswith("https://shop.example/landing")
    put("link", 1, **link(url="https://shop.example/other"))
    assert (location() or "").startswith("https://shop.example/other?click_id=")
    put("program", 1, **program(click_param="cid"))
    assert (location() or "").startswith("https://shop.example/other?cid=")
    put("enrolment", 1, program=1, partner=7, status="paused")
    assert location() is None
    put("enrolment", 1, program=1, partner=7, status="active")
    put("link", 50, **link(url="https://own.example/", domain="go.shop.example"))
    host = {"Host": "go.shop.example"}
    found = edge.call("GET", "/c/spring_1", None, host).headers["Location"]
    assert found.startswith("https://own.example/")
    put("link", 50, **link(code="moved", domain="go.shop.example"))
    found = edge.call("GET", "/c/spring_1", None, host).headers["Location"]
    assert found.startswith("https://shop.example/other")


def test_keys_change_at_midnight(tmp_path: Path) -> None:
    keys = FakeKeys()
    with serving(tmp_path, networks=Networks(keys=keys)) as edge:
        midnight_ms = 20_000 * limits.DAY_MS
        digests = []
        for now_ms in (midnight_ms - 1, midnight_ms):
            edge.edge.now_ms = lambda now_ms=now_ms: now_ms  # type: ignore[misc]
            assert edge.call("GET", "/c/spring_1").status == 302
            digests.append(edge.one().body.client[3][:2])
        assert digests[0][0] == digests[1][1]
        assert digests[0][0] != digests[1][0]


def test_what_goes_wrong_in_the_lane_is_the_ordinary_lanes_to_answer(
    edge: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("headwater.edge.hot_links.HotSource.link", fail)
    assert edge.call("GET", "/c/spring_1").status == 302
    assert edge.one()
    assert "hot lane failed" in caplog.text


def test_without_the_setting_there_is_no_hot_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.edge.hot.HotProtocol.__init__", None)
    with serving(tmp_path, hot_lane=False) as edge:
        assert edge.call("GET", "/c/spring_1").status == 302


# ---- connections that are handed over


def test_a_visitor_that_does_not_read_is_given_up_after_a_while(tmp_path: Path) -> None:
    deadlines = Deadlines(head_s=2, keep_alive_s=60, write_s=0.3)
    with serving(tmp_path, deadlines) as edge:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", edge.port))
            sock.settimeout(1)
            with pytest.raises((TimeoutError, ConnectionError)):
                send_for_ever(sock)
            wait_until(lambda: is_reset(sock))
        with own(edge) as sock:
            sock.sendall(CLICK)
            assert answers(sock, 1).startswith(FOUND)


def is_reset(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        sock.send(CLICK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_one_address_has_so_many_connections_of_all_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS_MAX", 2)
    with serving(tmp_path) as edge, own(edge) as first:
        with lent(edge), own(edge) as third:
            assert drain(third) == b""
        first.sendall(CLICK)
        assert answers(first, 1).startswith(FOUND)
        wait_until(lambda: answers_again(edge))


@pytest.mark.parametrize("hot_lane", [True, False])
def test_all_addresses_together_have_so_many_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hot_lane: bool
) -> None:
    monkeypatch.setattr("headwater.edge.server.connections_max", lambda: 2)
    proxies = ("127.0.0.1/32",)
    with (
        serving(tmp_path, hot_lane=hot_lane, trusted_proxies=proxies) as edge,
        own(edge) as first,
    ):
        with lent(edge), own(edge) as third:
            assert drain(third) == b""
        first.sendall(CLICK)
        assert answers(first, 1).startswith(FOUND)
        wait_until(lambda: answers_again(edge))
        edge.flush()
        refused = {"route": "connection", "code": "too_many_connections"}
        assert value("headwater_requests_refused_total", **refused) >= 1


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [
        (resource.RLIM_INFINITY, sys.maxsize),
        (65536, 65536 - limits.DESCRIPTORS_KEPT),
        (2 * limits.DESCRIPTORS_KEPT + 2, limits.DESCRIPTORS_KEPT + 2),
        (2 * limits.DESCRIPTORS_KEPT - 2, limits.DESCRIPTORS_KEPT - 1),
        (64, 32),
    ],
)
def test_an_edge_keeps_descriptors_for_itself(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, 1 << 20))
    assert protocol.connections_max() == connections


def test_the_ordinary_lane_counts_a_network_of_ipv6_as_one_address() -> None:
    counted = protocol.CountedConnections(lambda _address: False, 9, per_address_max=1)
    assert counted.admit("2001:db8::1")
    assert not counted.admit("2001:db8::2")
    assert counted.admit("2001:db8:0:1::1")
    assert counted.admit("127.0.0.1")
    assert counted.admit("127.0.0.2")
    counted.release("2001:db8::1")
    assert counted.admit("2001:db8::2")


def answers_again(edge: Running) -> bool:
    with own(edge) as sock:
        try:
            sock.sendall(CLICK)
            return sock.recv(100).startswith(FOUND)
        except OSError:
            return False


def test_a_visitor_that_is_gone_when_handed_over_leaves_nothing_behind(edge: Running) -> None:
    for _ in range(20):
        with own(edge) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(get(b"/robots.txt", HOST))
    assert edge.call("GET", "/c/spring_1").status == 302
