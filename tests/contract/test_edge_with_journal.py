"""A whole edge process on a real server: accepted, decided, restarted with everything down."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import uvloop

from edge_tools import KEY, decision_of, fill, wait_until
from headwater import clock, ids, limits
from headwater.config import Config
from headwater.edge.health import FILE
from headwater.edge.links import LinkTable
from headwater.edge.server import run_edge
from headwater.errors import ConfigError
from headwater.identity_key import load_or_create
from headwater.journal import keys
from headwater.journal.config_feed import publish_config
from headwater.journal.resp import RespClient
from headwater.model.records import decode
from journal_tools import Server


class Recorder(LinkTable):
    """What `fill` puts into a table, as entries of the configuration's log."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[int, str, int, dict[str, Any] | None]] = []

    def apply(self, kind: str, number: int, value: dict[str, Any] | None) -> None:
        self.entries.append((len(self.entries) + 1, kind, number, value))


def publish(url: str) -> None:
    recorder = Recorder()
    fill(recorder)

    async def main() -> None:
        client = await RespClient.connect(url)
        await publish_config(client, recorder.entries)
        await client.close()

    asyncio.run(main())


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """`run_edge` on a loop of its own, ended by cancelling it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.port = free_port()
        self.config = Config(data=folder, port=self.port, **settings)
        self.gate = True
        self._ready = threading.Event()
        self._cancel: Any = None
        self._thread = threading.Thread(target=self._body, daemon=True)

    def start(self) -> Process:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def stop(self) -> None:
        self._cancel()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _body(self) -> None:
        async def main() -> None:
            task = asyncio.ensure_future(run_edge(self.config, self._ready.set, lambda: self.gate))
            loop = asyncio.get_running_loop()
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            reply = connection.getresponse()
            return reply.status, dict(reply.headers), reply.read()
        finally:
            connection.close()

    def ready(self) -> dict[str, Any]:
        status, _headers, body = self.call("GET", "/readyz")
        return {**json.loads(body), "http": status}

    def heartbeat(self, ledger_ok: bool) -> None:
        file = self.config.data / "run" / FILE
        file.parent.mkdir(exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"ledger_ok": ledger_ok, "at_ms": clock.now_ms()}))
        partial.replace(file)


class Decider:
    """Stands in for the matcher: decides every conversion on the log, and keeps the ledger up."""

    def __init__(self, server: Server, process: Process) -> None:
        self._server = server
        self._process = process
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._body, daemon=True)

    def __enter__(self) -> Decider:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _body(self) -> None:
        last: dict[str, str] = {}
        seen: set[bytes] = set()
        with self._server.client() as client:
            while not self._stop.is_set():
                self._process.heartbeat(True)
                names = {keys.stream(lane): last.get(keys.stream(lane), "0") for lane in range(4)}
                for stream, entries in client.xread(names, block=50) or []:
                    for entry_id, fields in entries:
                        last[stream.decode()] = entry_id.decode()
                        self._decide(client, fields[b"f"], seen)

    def _decide(self, client: Any, frame: bytes, seen: set[bytes]) -> None:
        name = keys.frame_name(frame)
        for record in records_of(frame):
            if record.kind != 4 or record.event_id in seen:
                continue
            seen.add(record.event_id)
            text = ids.event_text("cnv", record.body[0])
            decision = decision_of(text, record.brand)
            message = {
                "event_id": record.event_id,
                "conversion_id": text,
                "outcome": "created",
                "decision": decision,
            }
            client.set(keys.decision(text), msgpack.packb(decision), ex=60)
            client.publish(keys.decided(name.producer), msgpack.packb(message))


def records_of(frame: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(frame[keys.HEADER_BYTES :])
    return [decode(msgpack.packb(fields)) for fields in unpacker]


def recorded(server: Server) -> list[Any]:
    return [
        record for lane in range(4) for frame in server.frames(lane) for record in records_of(frame)
    ]


@contextmanager
def system(folder: Path) -> Iterator[tuple[Server, Process]]:
    server = Server(folder)
    server.start()
    publish(server.url)
    process = Process(folder).start()
    try:
        wait_until(
            lambda: process.ready()["http"] == 200 and "redis" not in process.ready()["degraded"]
        )
        wait_until(lambda: process.call("HEAD", "/c/spring_1")[0] == 302)
        yield server, process
        process.stop()
    finally:
        server.stop()


# An edge looks at the heartbeat a few times a second.
LOOKED_AT_S = 0.3
LEAD = {"program": "check", "event": "lead", "customer_id": "c"}


def reported(process: Process, headers: dict[str, str] | None = None) -> tuple[str, Any]:
    """Where a new conversion is, and its decision, which may come later than its answer."""
    status, answered, body = process.call("POST", "/v1/conversions", LEAD, headers)
    assert status in (201, 202)
    where, told = answered["Location"], [json.loads(body)]

    def is_decided() -> bool:
        if told[-1]["status"] == "pending":
            told.append(json.loads(process.call("GET", where)[2]))
        return bool(told[-1]["status"] != "pending")

    wait_until(is_decided)
    return where, told[-1]


def test_what_is_answered_is_on_the_log_and_decided(tmp_path: Path) -> None:
    with system(tmp_path) as (server, process), Decider(server, process):
        clicks = []
        for _ in range(20):
            status, headers, _body = process.call("GET", "/c/spring_1")
            assert status == 302
            click = re.search(r"click_id=(clk_\w{26})", headers["Location"])
            assert click
            clicks.append(click[1])
        where, made = reported(process)
        status, _headers, body = process.call("GET", where)
        assert (status, json.loads(body)) == (200, made)
        found = recorded(server)
        assert {ids.event_text("clk", each.event_id) for each in found if each.kind == 1} == set(
            clicks
        )
        assert len([each for each in found if each.kind == 4]) == 1
        batch = [{"type": "conversion", **LEAD, "order_id": str(n)} for n in range(500)]
        status, _headers, body = process.call("POST", "/v1/events", batch)
        assert status == 207
        rows = json.loads(body)
        assert all(row["status"] == 202 for row in rows)
        path = f"/v1/conversions/{rows[-1]['id']}"
        wait_until(lambda: json.loads(process.call("GET", path)[2])["status"] == "unattributed")


def test_an_idempotency_key_is_known_to_every_edge(tmp_path: Path) -> None:
    with system(tmp_path) as (server, process), Decider(server, process):
        other = Process(tmp_path).start()
        try:
            wait_until(lambda: other.call("HEAD", "/c/spring_1")[0] == 302)
            wait_until(lambda: not other.ready()["degraded"])
            once = {"Idempotency-Key": "k"}
            _where, made = reported(process, once)
            again = other.call("POST", "/v1/conversions", LEAD, once)
            assert (again[0], json.loads(again[2])) == (200, made)
            changed = other.call("POST", "/v1/conversions", {**LEAD, "amount": 1}, once)
            assert changed[0] == 409
        finally:
            other.stop()


def test_an_undecided_conversion_can_be_asked_for_at_every_edge(tmp_path: Path) -> None:
    with system(tmp_path) as (_server, process):
        process.heartbeat(False)
        time.sleep(LOOKED_AT_S)
        status, headers, _body = process.call("POST", "/v1/conversions", LEAD)
        assert status == 202
        other = Process(tmp_path).start()
        try:
            wait_until(lambda: not set(other.ready()["degraded"]) - {"ledger"})
            wait_until(lambda: other.call("HEAD", "/c/spring_1")[0] == 302)
            status, _headers, body = other.call("GET", headers["Location"])
            assert (status, json.loads(body)["status"]) == (200, "pending")
        finally:
            other.stop()


def test_redirects_go_on_while_redis_is_away(tmp_path: Path) -> None:
    with system(tmp_path) as (server, process):
        process.heartbeat(True)
        server.kill()
        clicks = 0
        for _ in range(50):
            began = time.monotonic()
            assert process.call("GET", "/c/spring_1")[0] == 302
            assert time.monotonic() - began < limits.REDIS_HANG_MS / 1000
            clicks += 1
        wait_until(lambda: "redis" in process.ready()["degraded"])
        assert process.ready()["http"] == 200
        process.heartbeat(True)
        time.sleep(LOOKED_AT_S)
        assert process.call("POST", "/v1/conversions", LEAD)[0] == 202
        process.heartbeat(False)
        time.sleep(LOOKED_AT_S)
        status, headers, body = process.call("POST", "/v1/conversions", LEAD)
        assert status == 503
        assert headers["Retry-After"]
        assert json.loads(body)["code"] == "unavailable"
        assert process.call("GET", "/px.gif?program=check&event=lead&customer_id=c")[0] == 200
        server.start()
        wait_until(lambda: len({r.event_id for r in recorded(server) if r.kind == 1}) == clicks)


def test_an_edge_starts_and_redirects_with_everything_down(tmp_path: Path) -> None:
    with system(tmp_path):
        wait_until((tmp_path / "edge" / "config.bin").exists)
    process = Process(tmp_path).start()
    try:
        assert process.call("GET", "/c/spring_1")[0] == 302
        ready = process.ready()
        assert ready["http"] == 200
        assert set(ready["degraded"]) == {"redis", "configuration"}
        assert process.call("POST", "/v1/conversions", LEAD)[0] == 503
        clicks = process.call("POST", "/v1/clicks", {"program": "check", "partner": "prt_7"})
        assert clicks[0] == 201
        process.gate = False
        assert process.ready()["http"] == 503
    finally:
        process.stop()


def test_an_edge_that_knows_nothing_is_not_ready(tmp_path: Path) -> None:
    process = Process(tmp_path).start()
    try:
        assert process.ready()["http"] == 503
        assert process.call("GET", "/healthz")[0] == 200
    finally:
        process.stop()


def test_a_drain_finishes_what_is_in_progress(tmp_path: Path) -> None:
    with system(tmp_path) as (server, process):
        answers: list[int] = []
        process.heartbeat(True)

        def convert() -> None:
            answers.append(process.call("POST", "/v1/conversions", LEAD)[0])

        senders = [threading.Thread(target=convert) for _ in range(8)]
        for sender in senders:
            sender.start()
        wait_until(lambda: len(recorded(server)) == 8)
        idle = socket.create_connection(("127.0.0.1", process.port))
        process.stop()
        for sender in senders:
            sender.join(60)
        assert answers == [202] * 8
        assert idle.recv(1) == b""
        idle.close()
        with pytest.raises(ConnectionError):
            process.call("GET", "/healthz")
        process.stop = lambda: None  # type: ignore[method-assign]


def test_the_identity_key_is_made_once_by_whoever_is_first(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_or_create(tmp_path / "data")))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    file = tmp_path / "data" / "identity.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["identity.key"]
    assert (
        hashlib.sha256(found[0]).digest()
        == hashlib.sha256(bytes.fromhex(file.read_text())).digest()
    )
    for broken in ("", "zz", "00" * 31):
        file.write_text(broken)
        with pytest.raises(ConfigError):
            load_or_create(file.parent)
