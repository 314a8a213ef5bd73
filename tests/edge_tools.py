"""An edge in a thread, with a journal and a hub that do as they are told, and raw sockets."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headwater import _core, ids
from headwater.config import Config
from headwater.edge.accept import DeadlineQueue
from headwater.edge.context import Edge
from headwater.edge.health import LedgerWatch
from headwater.edge.links import LinkTable
from headwater.edge.memory import Memory
from headwater.edge.network import Networks
from headwater.edge.protocol import Deadlines
from headwater.edge.server import Listener
from headwater.errors import JournalFull
from headwater.journal.lane import Block, Caller, Waiter
from headwater.journal.writer import pass_over
from headwater.model.records import Client, Network, Request, decode

KEY = "events-key-of-the-tests"
OTHER_KEY = "events-key-of-another-brand"
READ_KEY = "key-without-the-scope"
IDENTITY_KEY = bytes(range(32))
DESTINATION = "https://shop.example/landing?a=b%2Fc+d#frag?x"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0"


class FakeWriter:
    """Takes records; `outcome` is what becomes of them: a bool, an exception, None for never."""

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []
        self.outcome: bool | Exception | None = True
        self.full = False
        self.redis_ok = True
        self.accepting = True
        self.spool_bytes = 0
        self.pending_frames = 0
        self.gather = pass_over

    def submit(self, partition: int, record: bytes) -> asyncio.Future[bool]:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.put(partition, (record,), Caller(future))
        return future

    def put(self, partition: int, records: Sequence[bytes] | Block, waiter: Waiter) -> None:
        if self.full:
            raise JournalFull("full")
        each = [records[at] for at in range(len(records))]
        if isinstance(records, _core.HotRecords):
            # A frame takes them unread: they are what it would have found right.
            of_each = _core.encode_frame(partition, 1, 1, each)
            assert _core.encode_frame(partition, 1, 1, [records]) == of_each
            assert records.size_bytes == sum(map(len, each))
        for record in each:
            self.records.append((partition, record))
            if self.outcome is not None:
                asyncio.get_running_loop().call_soon(waiter.tell, self.outcome, 1)

    def taken(self) -> list[Any]:
        """The records so far, decoded; they are forgotten then."""
        records, self.records = self.records, []
        return [decode(raw) for _partition, raw in records]


class FakeHub:
    """Decides every conversion at once with `outcome`; None: never."""

    def __init__(self) -> None:
        self.outcome: str | None = "created"
        self.stored: dict[str, dict[str, Any]] = {}
        self.writer: FakeWriter | None = None
        self.expected: list[bytes] = []
        self.forgotten: list[bytes] = []

    def expect(self, event_id: bytes) -> asyncio.Future[Any]:
        self.expected.append(event_id)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.outcome is not None:
            asyncio.get_running_loop().call_later(0.001, self._tell, event_id, future)
        return future

    def _tell(self, event_id: bytes, future: asyncio.Future[Any]) -> None:
        assert self.writer is not None
        for _partition, raw in self.writer.records:
            record: Any = decode(raw)
            if record.event_id == event_id and not future.done():
                text = ids.event_text("cnv", record.body[0])
                decision = self.stored.setdefault(text, decision_of(text, record.brand))
                future.set_result(
                    {
                        "event_id": event_id,
                        "conversion_id": text,
                        "outcome": self.outcome,
                        "decision": decision,
                    }
                )

    def forget(self, event_id: bytes) -> None:
        self.forgotten.append(event_id)

    async def get(self, conversion_id: str) -> dict[str, Any] | None:
        return self.stored.get(conversion_id)

    async def lookup(self, conversion_id: str, timeout_s: float) -> dict[str, Any] | None:
        return self.stored.get(conversion_id)


def decision_of(conversion_id: str, brand: int) -> dict[str, Any]:
    return {
        "conversion_id": conversion_id,
        "brand": brand,
        "status": "unattributed",
        "reason": "no_touch",
        "credits": [],
        "fraud": {"score": 0, "verdict": "accept", "codes": []},
        "actions": [],
        "pixels": [],
    }


@dataclass
class FakeKeys:
    """A key a day, the day's number; `missing` days have none."""

    missing: set[int] = field(default_factory=set)
    changes: int = 0

    def key(self, day: int) -> bytes | None:
        return None if day in self.missing else day.to_bytes(32, "big")


def client_of(record: Any) -> Client:
    """What a decoded record keeps of its caller."""
    prefix, agent, referrer, network, request = record.body.client
    return Client(
        prefix, agent, referrer, network and Network(*network), request and Request(*request)
    )


@dataclass
class FakeFeed:
    revision: int = 1
    fresh: bool = True


def fill(table: LinkTable) -> None:
    """Two brands; brand 1 with a program, event types, links of every state, and keys."""

    def put(name: str, number: int, /, **value: Any) -> None:
        table.apply(name, number, value)

    put("brand", 1, name="One", partition=2, status="active")
    put("brand", 2, name="Two", partition=3, status="active")
    put("program", 1, **program())
    put("program", 2, **program(brand=2, code="other"))
    put("program", 3, **program(code="paused", status="paused"))
    put("program", 4, **program(code="quiet", consent_default="denied"))
    put("program", 5, **program(code="yen", currency="JPY"))
    put("program", 6, **program(code="nopixel", methods=["s2s"]))
    for base, number in enumerate((1, 2, 4, 5, 6)):
        put("event_type", 10 * base + 1, program=number, code="sale", kind="sale")
        put("event_type", 10 * base + 2, program=number, code="lead", kind="lead")
        put("event_type", 10 * base + 3, program=number, code="visit", kind="click")
        put("enrolment", base + 1, program=number, partner=7, status="active", default_link=1)
    put("partner", 7, name="Seven", status="active")
    put("partner", 8, name="Eight", status="paused")
    put("enrolment", 90, program=1, partner=8, status="active", default_link=2)
    put("enrolment", 91, program=1, partner=9, status="paused", default_link=3)
    put("domain", 1, host="go.shop.example", brand=1)
    put("link", 1, **link())
    put("link", 2, **link(code="gone", status="archived"))
    put("link", 3, **link(code="late", expires_ms=1_000))
    put("link", 4, **link(code="eight", partner=8))
    put("link", 5, **link(code="nine", partner=9))
    put("link", 6, **link(code="paused", program=3))
    put("link", 7, **link(code="quiet", program=4))
    put("link", 8, **link(code="own", domain="go.shop.example"))
    put("link", 9, **link(code="foreign", program=2))
    put("link", 10, **link(code="bare", url="https://shop.example/"))
    put("link", 11, **link(code="plain", url="http://plain.example/x", program=1))
    for number, (secret, scopes, brand) in enumerate(
        ((KEY, ["events"], 1), (OTHER_KEY, ["events"], 2), (READ_KEY, ["reports"], 1)), 1
    ):
        digest = hashlib.sha256(secret.encode()).hexdigest()
        put("key", number, sha256=digest, scopes=scopes, brand=brand, partner=None)


def program(**changes: Any) -> dict[str, Any]:
    return {
        "brand": 1,
        "code": "check",
        "status": "active",
        "destination_url": "https://shop.example/landing",
        "deep_link_hosts": ["shop.example", "*.wild.example"],
        "click_param": "click_id",
        "click_window_seconds": 30 * 86400,
        "currency": "EUR",
        "consent_default": "granted",
        "forward_params": ["color", "a"],
        "allowed_origins": [],
        "default_country": "DE",
        "timezone": "UTC",
        "methods": None,
        "aliases": {"txid": "order_id", "payout": "amount"},
        **changes,
    }


def link(**changes: Any) -> dict[str, Any]:
    return {
        "program": 1,
        "partner": 7,
        "code": "Spring_1",
        "domain": None,
        "url": DESTINATION,
        "expires_ms": None,
        "status": "active",
        **changes,
    }


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        return [fault["code"] for fault in self.json["errors"]]


@dataclass
class Running:
    """An edge that serves on a port of this machine."""

    port: int
    edge: Edge
    writer: FakeWriter
    hub: FakeHub
    feed: FakeFeed
    loop: asyncio.AbstractEventLoop = field(repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Any | None = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"User-Agent": BROWSER, **(headers or {})}
        if key:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("POST", path, body, named, KEY)

    def convert(self, _key: str = KEY, **fields: Any) -> Reply:
        """A conversion with everything it needs, changed by `fields`; None removes a field."""
        body = {
            "program": "check",
            "event": "sale",
            "order_id": "A-1",
            "amount": "10.00",
            "currency": "EUR",
            "customer_id": "cust-1",
            **fields,
        }
        body = {name: value for name, value in body.items() if value is not None}
        return self.call("POST", "/v1/conversions", body, None, _key)

    def raw(self, data: bytes, seconds: float = 20.0) -> bytes:
        """Everything the server answers to these bytes until it closes, or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as sock:
            sock.sendall(data)
            return drain(sock)

    def flush(self) -> None:
        """Hand the counters to the metrics, on the loop they belong to."""
        done = threading.Event()

        def body() -> None:
            self.edge.meters.flush()
            done.set()

        self.loop.call_soon_threadsafe(body)
        assert done.wait(60)

    def take(self) -> list[Any]:
        return self.writer.taken()

    def one(self) -> Any:
        """The one record since the last look."""
        records = self.take()
        assert len(records) == 1, records
        return records[0]


def drain(sock: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := sock.recv(65536):
            received += chunk
    except (TimeoutError, ConnectionError):
        pass
    return received


@contextmanager
def serving(
    folder: Path,
    deadlines: Deadlines | None = None,
    networks: Networks | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """An edge with the configuration of `fill`, on a loop of its own."""
    started = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        config = Config(data=folder, port=0, **settings)
        writer, hub, feed = FakeWriter(), FakeHub(), FakeFeed()
        hub.writer = writer
        edge = Edge(
            config=config,
            table=LinkTable(),
            writer=writer,
            hub=hub,
            feed=feed,
            memory=Memory(""),
            ledger=LedgerWatch(folder / "run"),
            identity_key=IDENTITY_KEY,
            networks=networks or Networks(),
        )
        edge.decision_wait = DeadlineQueue(0.2)
        edge.event_wait = DeadlineQueue(0.3)
        fill(edge.table)
        listener = Listener(edge, deadlines)
        await listener.start()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        state["running"] = Running(listener.port, edge, writer, hub, feed, loop)
        state["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
        started.set()
        await stop.wait()
        await listener.close()

    def body() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield state["running"]
    finally:
        state["stop"]()
        thread.join(60)
        assert not thread.is_alive()


def head_of(answer: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of a raw answer."""
    head, _, _body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An edge that serves all tests of a module; a module imports it with `ordinary`."""
    with serving(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(autouse=True)
def ordinary(edge: Running) -> Iterator[None]:
    """Whatever a test made of journal and decisions is put right after it."""
    edge.take()
    edge.hub.stored.clear()
    yield
    edge.writer.outcome, edge.writer.full, edge.writer.redis_ok = True, False, True
    edge.hub.outcome = "created"
