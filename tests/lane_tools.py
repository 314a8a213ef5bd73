"""Two edges that differ in nothing but the hot lane, and what each makes of the same bytes.

Both stand at one moment. What is drawn at random is put aside: click ids, ids of new visitors, and
what follows from them; everything else is compared byte for byte.
"""

from __future__ import annotations

import itertools
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_tools import IDENTITY_KEY, FakeKeys, Running, link, program, serving
from headwater.edge import identifiers
from headwater.edge.lists import Lists
from headwater.edge.network import Networks
from headwater.edge.protocol import Deadlines
from headwater.journal.lane import Block, Caller, Waiter
from headwater.model.records import Flag, IdentifierType, Kind, Record
from hot_tools import CLOSE, HOST, NOW_MS, TODAY, VISITOR, get

# How long an answer is waited for: to what may be whole, and to what is not.
WHOLE_S = 0.5
HALF_S = 0.04


@dataclass
class Lanes:
    """Two edges that differ in nothing but the lane, and how often the hot one was taken."""

    ordinary: Running
    hot: Running
    taken: int = 0
    """Requests that took the hot lane since the last look."""
    alone: dict[bytes, tuple[bytes, list[Record]]] = field(default_factory=dict)
    """What the ordinary lane makes of a request on a connection of its own."""

    def __post_init__(self) -> None:
        put = self.hot.writer.put

        def noted(partition: int, records: Sequence[bytes] | Block, waiter: Waiter) -> None:
            if not isinstance(waiter, Caller):
                self.taken += len(records)
            put(partition, records, waiter)

        self.hot.writer.put = noted  # type: ignore[method-assign]

    def hot_count(self) -> int:
        """Requests that took the hot lane since the last look."""
        count, self.taken = self.taken, 0
        return count


def started(stack: ExitStack, folder: Path, hot_lane: bool, **settings_: Any) -> Running:
    (folder / "strict.txt").write_text("127.0.0.0/8\n2001:db8:1::/48\n198.51.100.7-198.51.100.9\n")
    (folder / "vpn.txt").write_text("203.0.113.0/24\n::1/128\n")
    (folder / "crawlers.csv").write_text(
        '"Google",66.249.64.0/27,googlebot.com,http://a.example/,"Googlebot"\n'
    )
    lists = Lists(
        {
            "datacentre_strict": (folder / "strict.txt",),
            "vpn": (folder / "vpn.txt",),
            "crawlers": (folder / "crawlers.csv",),
        }
    )
    lists.load()
    running = stack.enter_context(
        serving(
            folder,
            Deadlines(head_s=2, keep_alive_s=5),
            Networks(lists, FakeKeys(missing={TODAY - 1})),
            hot_lane=hot_lane,
            **settings_,
        )
    )
    table = running.edge.table
    running.edge.now_ms = lambda: NOW_MS
    utm = {"utm_source": "{partner_id}", "utm_campaign": "a b"}
    table.apply("program", 7, program(code="tokens", utm=utm, forward_params=["color", "né", "u"]))
    table.apply("enrolment", 100, {"program": 7, "partner": 7, "status": "active"})
    url = "https://shop.example/{program}/{sub1}?id={click_id}&t={timestamp}&x={other}#{sub2}"
    table.apply("link", 20, link(code="tokens", program=7, url=url))
    placed = "https://shop.example/?click_id={click_id}&c=%20"
    table.apply("link", 21, link(code="placed", url=placed, honeypot=True))
    table.apply("link", 22, link(code="later", expires_ms=NOW_MS + 1))
    table.apply("link", 23, link(code="healthz", domain="go.shop.example"))
    table.apply("program", 8, program(code="odd", aliases={"_": "amount"}))
    table.apply("event_type", 80, {"program": 8, "code": "lead", "kind": "lead"})
    return running


@pytest.fixture(scope="module", params=["direct", "proxied"])
def lanes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lanes]:
    """Once reached by visitors themselves, once through a trusted proxy."""
    settings_ = {"trusted_proxies": ("127.0.0.1/32",)} if request.param == "proxied" else {}
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp("ordinary"), tmp_path_factory.mktemp("hot")]
        ordinary, hot = (
            started(stack, folder, folder is folders[1], **settings_) for folder in folders
        )
        yield Lanes(ordinary, hot)


@pytest.fixture(autouse=True)
def forgotten(lanes: Lanes) -> None:
    lanes.hot_count()
    for edge in (lanes.ordinary, lanes.hot):
        edge.take()


def exchange(
    port: int, chunks: list[bytes], pause_s: float = 0.0, *, is_stepwise: bool = False
) -> bytes:
    """What a server answers to chunks, then to a last request, until it closes.

    `is_stepwise`: after each chunk an answer is waited for, for a while.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        with suppress(ConnectionError):
            for index, chunk in enumerate(chunks):
                sock.sendall(chunk)
                time.sleep(pause_s)
                if is_stepwise and index < len(chunks) - 1:
                    received += answer_within(sock, WHOLE_S)
        sock.settimeout(WHOLE_S if b"\r\n\r\n" in b"".join(chunks) else HALF_S)
        with suppress(TimeoutError, ConnectionError):
            while chunk := sock.recv(65536):
                received += chunk
                if is_whole(received):
                    break
        sock.settimeout(2)
        with suppress(OSError):
            sock.sendall(get(b"/robots.txt", HOST, CLOSE))
        with suppress(OSError):
            while chunk := sock.recv(65536):
                received += chunk
        return received


def answer_within(sock: socket.socket, seconds: float) -> bytes:
    sock.settimeout(seconds)
    try:
        return sock.recv(65536)
    except TimeoutError:
        return b""
    finally:
        sock.settimeout(2)


def is_whole(answers: bytes) -> bool:
    head, end, body = answers.partition(b"\r\n\r\n")
    found = re.search(rb"Content-Length: ([0-9]+)", head)
    return bool(end) and len(body) >= (int(found[1]) if found else 0)


_DRAWN = (
    (re.compile(rb"clk_[0-9a-z]{26}"), b"clk_"),
    (re.compile(rb"hw_visitor=(?!" + VISITOR.encode() + rb")[0-9a-z]{26}"), b"hw_visitor="),
    (re.compile(rb"\r\nDate: [^\r]+"), b"\r\nDate: "),
)


def answers_of(raw: bytes) -> bytes:
    """Answers without what is drawn or is of the clock."""
    for drawn, kept in _DRAWN:
        raw = drawn.sub(kept, raw)
    return raw


def records_of(edge: Running, raw: bytes) -> list[Record]:
    """Records without what is drawn; ids in the answer are those of the records."""
    found: list[Record] = []
    visitors = re.findall(rb"hw_visitor=([0-9a-z]{26})", raw)
    digests = [identifiers.visitor(IDENTITY_KEY, 1, each.decode())[1] for each in visitors]
    for record in edge.take():
        body = record.body
        if record.kind == Kind.CONVERSION:
            body = body._replace(conversion_id=_kept(body.conversion_id))
            found.append(record._replace(event_id=_kept(record.event_id), body=body))
            continue
        assert not _kept(record.event_id)
        known = [list(each) for each in body.identifiers]
        if body.flags & Flag.NEW_VISITOR:
            assert known[-1][0] == IdentifierType.VISITOR
            if record.brand == 1:
                assert known[-1][1] in digests
            known[-1][1] = b""
        found.append(record._replace(event_id=b"", body=body._replace(identifiers=known)))
    return by_brand(found)


def by_brand(records: list[Record]) -> list[Record]:
    """In the order of each brand's log: between brands there is none."""
    return sorted(records, key=lambda record: record.brand)


def _kept(event_id: bytes) -> bytes:
    """An id that is a digest, and so the same in both lanes; b"" for one that was drawn."""
    return b"" if event_id[:6] == NOW_MS.to_bytes(6, "big") else event_id


def compare(lanes: Lanes, data: bytes, chunks: list[bytes] | None = None, pause: float = 0) -> int:
    """Send `data` in `chunks` to the hot lane, and to the ordinary one; how many requests the hot
    one took.

    The ordinary lane refuses what comes in one piece with broken bytes, and answers it when it
    comes alone: it gets the bytes cut where the hot lane cut them.
    """
    found = exchange(lanes.hot.port, chunks or [data], pause)
    # Those that are the hot lane's have no body: each ends where its head does.
    heads = [found.end() for found in re.finditer(b"\r\n\r\n", data)]
    ends = [0, *heads[: lanes.taken], len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(ends) if end > start]
    return compare_with(lanes, exchange(lanes.ordinary.port, pieces, is_stepwise=True), found)


def compare_steps(lanes: Lanes, chunks: list[bytes], hot_chunks: list[bytes]) -> int:
    """The same, and the ordinary lane gets its bytes in chunks too, each after an answer."""
    expected = exchange(lanes.ordinary.port, chunks, is_stepwise=True)
    return compare_with(lanes, expected, exchange(lanes.hot.port, hot_chunks, is_stepwise=True))


def compare_with(lanes: Lanes, expected: bytes, found: bytes) -> int:
    assert answers_of(found) == answers_of(expected)
    assert records_of(lanes.hot, found) == records_of(lanes.ordinary, expected)
    return lanes.hot_count()


def alone(lanes: Lanes, requests: list[bytes]) -> tuple[bytes, list[Record]]:
    """Answers and records of the ordinary lane, to each request on a connection of its own, and
    to the last request of every exchange.
    """
    end = answers_of(exchange(lanes.ordinary.port, []))
    answers, records = b"", []
    for request in requests:
        if request not in lanes.alone:
            raw = exchange(lanes.ordinary.port, [request])
            made = records_of(lanes.ordinary, raw)
            lanes.alone[request] = answers_of(raw).removesuffix(end), made
        answers += lanes.alone[request][0]
        records += lanes.alone[request][1]
    return answers + end, by_brand(records)


def compare_sequence(lanes: Lanes, requests: list[bytes], chunks: list[bytes]) -> int:
    answers, records = alone(lanes, requests)
    found = exchange(lanes.hot.port, chunks, 0.002)
    assert answers_of(found) == answers
    assert records_of(lanes.hot, found) == records
    return lanes.hot_count()
