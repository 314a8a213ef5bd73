"""Micro-benchmarks of the edge: what a click costs between its parsed head and its answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from bench.load.requests import heads

from headwater import ids
from headwater.config import Config
from headwater.edge import cookies, redirect
from headwater.edge.context import Edge
from headwater.edge.health import LedgerWatch
from headwater.edge.hot_links import HotLinks
from headwater.edge.links import LinkTable
from headwater.edge.memory import Memory
from headwater.edge.network import Networks
from headwater.edge.query import Query

LINKS = 10_000
PROGRAM = {
    "brand": 1,
    "code": "check",
    "status": "active",
    "destination_url": "https://shop.example/landing",
    "deep_link_hosts": ["shop.example"],
    "click_param": "click_id",
    "click_window_seconds": 30 * 86_400,
    "currency": "EUR",
    "consent_default": "granted",
    "forward_params": [],
    "allowed_origins": [],
    "default_country": "DE",
    "timezone": "UTC",
    "methods": None,
    "aliases": {},
}


class Keys:
    changes = 0

    def key(self, day: int) -> bytes:
        return day.to_bytes(32, "big")


class Safe:
    """A journal that has every record at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def submit(self, _partition: int, _record: bytes) -> asyncio.Future[bool]:
        future = self._loop.create_future()
        future.set_result(True)
        return future


def code(number: int) -> str:
    return f"link-{number}"


def table() -> LinkTable:
    made = LinkTable()
    made.apply("brand", 1, {"name": "One", "partition": 0, "status": "active"})
    made.apply("partner", 7, {"name": "Seven", "status": "active"})
    made.apply("program", 1, PROGRAM)
    enrolment = {"program": 1, "partner": 7, "status": "active", "default_link": 1}
    made.apply("enrolment", 1, enrolment)
    for number in range(1, LINKS + 1):
        value = {"program": 1, "partner": 7, "code": code(number), "domain": None}
        value |= {"url": "https://shop.example/landing", "expires_ms": None, "status": "active"}
        made.apply("link", number, value)
    return made


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    loop = asyncio.new_event_loop()
    parts: dict[str, Any] = {"writer": Safe(loop), "hub": None, "feed": None}
    yield Edge(
        config=Config(data=tmp_path, trusted_proxies=("127.0.0.0/8",)),
        table=table(),
        memory=Memory("unix:///nowhere"),
        ledger=LedgerWatch(tmp_path),
        identity_key=bytes(32),
        networks=Networks(keys=Keys()),
        **parts,
    )
    loop.close()


def requests(number: int) -> list[tuple[web.BaseRequest, str]]:
    """Requests of the load generator as aiohttp's parser would hand them over, with the code."""
    made = []
    for head in heads([code(n) for n in range(1, number + 1)], "127.0.0.1", "close", number, 1):
        first, *lines = head.decode().split("\r\n")[:-2]
        path = first.split(" ")[1]
        fields = dict(line.split(": ", 1) for line in lines)
        made.append((make_mocked_request("GET", path, headers=fields), path[3:].partition("?")[0]))
    return made


def answered(edge: Edge, request: web.BaseRequest, code: str) -> Any:
    """The handler run to its end, which it reaches at once as every record is safe at once."""
    try:
        redirect.get_link(edge, request, code).send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def test_link_lookup(benchmark: Any) -> None:
    made = table()
    codes = itertools.cycle([code(number) for number in range(1, LINKS + 1)])
    assert benchmark(lambda: made.link("", next(codes))) is not None


def test_redirect_of_a_parsed_request(benchmark: Any, edge: Edge) -> None:
    """Look-up, cookie, record, Location: everything but HTTP and the journal."""
    turn = itertools.cycle(requests(1000))
    answer = benchmark(lambda: answered(edge, *next(turn)))
    assert answer.status == 302
    assert "click_id=clk_" in answer.location


def test_hot_lane_takes_a_click(benchmark: Any, edge: Edge) -> None:
    """From the bytes of a request to its record and its answer."""
    links = HotLinks(edge)
    codes = [code(number) for number in range(1, LINKS + 1)]
    turn = itertools.cycle(list(heads(codes, "127.0.0.1", "keep-alive", 1000, 1)))
    assert benchmark(lambda: links.take(next(turn), "127.0.0.1")) is not None
    links.close()


def test_query(benchmark: Any) -> None:
    benchmark(lambda: Query("sub1=placement-7&sub2=creative-3&utm_source=x").get("sub1"))


def test_visitor_cookie(benchmark: Any) -> None:
    header = (f"_ga=GA1.1.1234.5678; hw_visitor={ids.visitor_id()}.20000",)
    assert benchmark(cookies.read_known, header) is not None
