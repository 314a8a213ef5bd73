"""The pixel in the hot lane: what the image waits for, what is counted, what the lane is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connection_tools import keep_waiting, opened, settle, value
from edge_tools import Running, drain, program, serving, wait_until
from headwater.errors import JournalError
from headwater.model.records import Kind, decode
from hot_pixels import GOOD, lead, pixel
from hot_tools import CLOSE, HOST, VISITOR, get

REPORT = get(GOOD, HOST)
REFUSED = pixel(b"")
CLICK = get(b"/c/spring_1", HOST)
GIF = b"GIF89a"


@pytest.fixture(params=[True, False], ids=["hot", "ordinary"])
def edge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, accept_deadline_ms=5000, hot_lane=request.param) as running:
        yield running


@pytest.fixture
def hot(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, accept_deadline_ms=5000) as running:
        yield running


def images(sock: socket.socket, count: int) -> bytes:
    received = b""
    while received.count(GIF) < count:
        chunk = sock.recv(65536)
        assert chunk, "the connection was closed"
        received += chunk
    return received


class Counted:
    """What was counted since it was made."""

    def __init__(self, edge: Running) -> None:
        self._edge = edge
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        self._edge.flush()
        accepted, rejections = "headwater_events_accepted_total", "headwater_rejections_total"
        found = {kind: value(accepted, kind=kind) for kind in ("click", "conversion", "rejection")}
        for reason in ("no_identifier", "unavailable", "internal_error"):
            found[reason] = value(rejections, source="pixel", reason=reason)
        for route in ("pixel", "redirect"):
            found[route] = value("headwater_edge_request_seconds_count", route=route)
        return found

    def since(self) -> dict[str, float]:
        now = self._now()
        changes = {name: now[name] - before for name, before in self._before.items()}
        return {name: change for name, change in changes.items() if change}


def test_the_image_waits_until_its_report_is_safe(hot: Running) -> None:
    keep_waiting(hot)
    with opened(hot) as sock:
        sock.sendall(REPORT)
        wait_until(lambda: hot.waiting)  # type: ignore[attr-defined]
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        settle(hot)
        assert images(sock, 1).startswith(b"HTTP/1.1 200 OK")


def test_reports_clicks_and_refusals_on_one_connection_are_answered_in_order(hot: Running) -> None:
    with opened(hot) as sock:
        sock.sendall(REPORT + CLICK + CLICK + REFUSED + lead(b"&customer_id=c") + CLICK * 2)
        sock.sendall(get(b"/c/spring_1", HOST, CLOSE))
        found = drain(sock)
    lines = [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]]
    assert lines == [b"200", b"302", b"302", b"200", b"200", b"302", b"302", b"302"]
    kinds = [(record.kind, record.body[14] if record.kind == 4 else "") for record in hot.take()]
    click = (Kind.CLICK, "")
    report, refused = (Kind.CONVERSION, None), (Kind.CONVERSION, "no_identifier")
    assert kinds == [report, click, click, refused, report, click, click, click]


def test_both_lanes_count_reports_and_refusals_alike(edge: Running) -> None:
    counted = Counted(edge)
    with opened(edge) as sock:
        sock.sendall(REPORT * 3 + REFUSED * 2)
        images(sock, 5)
    assert counted.since() == {"conversion": 3, "rejection": 2, "no_identifier": 2, "pixel": 5}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (None, "unavailable"),
        (JournalError("disk"), "unavailable"),
        (RuntimeError("no"), "internal_error"),
    ],
)
def test_the_shopper_sees_an_image_though_the_journal_takes_nothing(
    edge: Running, outcome: Exception | None, reason: str
) -> None:
    edge.writer.full, edge.writer.outcome = outcome is None, outcome or True
    counted = Counted(edge)
    with opened(edge) as sock:
        sock.sendall(REPORT * 2 + REFUSED)
        images(sock, 3)
    assert counted.since() == {reason: 3, "no_identifier": 1, "pixel": 3}


@pytest.mark.parametrize("hot_lane", [True, False])
def test_past_the_deadline_the_image_leaves(tmp_path: Path, hot_lane: bool) -> None:
    with serving(tmp_path, accept_deadline_ms=40, hot_lane=hot_lane) as edge:
        counted = Counted(edge)
        edge.writer.outcome = None
        with opened(edge) as sock:
            sock.sendall(REPORT * 2)
            images(sock, 2)
        assert counted.since() == {"unavailable": 2, "pixel": 2}


def test_a_half_closed_connection_ends_and_its_report_is_recorded(edge: Running) -> None:
    with opened(edge) as sock:
        keep_waiting(edge)
        sock.sendall(REPORT)
        wait_until(lambda: edge.writer.records)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    settle(edge)
    assert edge.one().kind == Kind.CONVERSION


def undrawn(raw: bytes) -> bytes:
    """A record without the id that is drawn for a refusal."""
    record: Any = decode(raw)
    return raw.replace(record.event_id, b"") if record.body.refused else raw


@pytest.mark.parametrize(
    "change",
    [
        ("program", 1, program(status="paused")),
        ("program", 1, program(methods=["s2s"])),
        ("program", 1, program(code="renamed")),
        ("program", 1, program(aliases={"_": "line"})),
        ("program", 1, program(consent_default="denied")),
        ("program", 1, program(currency="JPY")),
        ("program", 1, program(destination_url="https://own.example/")),
        ("event_type", 1, {"program": 1, "code": "sale", "kind": "sale", "status": "archived"}),
        ("event_type", 1, {"program": 1, "code": "sale", "kind": "click"}),
        ("event_type", 1, None),
        ("brand", 1, {"name": "One", "partition": 5, "status": "active"}),
        ("brand", 1, {"name": "One", "partition": 2, "status": "paused"}),
    ],
)
def test_a_change_of_the_configuration_is_in_force_at_the_next_report(
    tmp_path: Path, change: tuple[str, int, dict[str, Any] | None]
) -> None:
    cookie = {"Host": "px.own.example", "Cookie": f"hw_visitor={VISITOR}"}

    def found(hot_lane: bool) -> list[Any]:
        folder = tmp_path / str(hot_lane)
        folder.mkdir()
        with serving(folder, hot_lane=hot_lane) as edge:
            edge.edge.now_ms = lambda: 1_795_272_147_692
            made = []
            for step in range(2):
                edge.call("GET", GOOD.decode() + "&event_id=0123456789abcdef&_=7", None, cookie)
                made += [(partition, undrawn(raw)) for partition, raw in edge.writer.records]
                edge.writer.records.clear()
                if step == 0:
                    edge.loop.call_soon_threadsafe(edge.edge.table.apply, *change)
                    edge.flush()
            return made

    assert found(hot_lane=True) == found(hot_lane=False)


def test_what_goes_wrong_in_the_lane_is_the_ordinary_lanes_to_answer(
    hot: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("headwater.edge.hot_links.HotSource.event", fail)
    assert hot.call("GET", GOOD.decode()).status == 200
    assert hot.one().body.refused is None
    assert "hot lane failed" in caplog.text
