"""The console in a thread, on a real ledger and a real Valkey server."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import redis
import uvloop

from headwater.config import Config
from headwater.console import keys
from headwater.console.app import serving
from headwater.journal import redis_server
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.ownership import ensure_partitions
from headwater.model.records import Record, decode

_numbers = itertools.count()
HEADER_BYTES = 32
PARTITIONS = 2


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningConsole:
    """A console that serves; `call` is one request with the admin key."""

    config: Config
    ledger: Ledger
    port: int
    admin_key: str
    store: redis.Redis | None

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "admin",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {self.admin_key if key == 'admin' else key}"
        raw = body
        if body is not None and not isinstance(body, bytes):
            raw = json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, raw, sent)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def made(self, path: str, body: Any, method: str = "POST") -> Any:
        """The object of a request that has to make one."""
        reply = self.call(method, path, body)
        assert reply.status == 201, reply
        return reply.json

    def brand_and_program(self, code: str) -> tuple[str, str]:
        """Ids of a new brand and its program."""
        brand = self.made("/v1/brands", {"name": "Brand"})["id"]
        return brand, self.made("/v1/programs", program_body(brand, code))["id"]


def program_body(brand: str, code: str) -> dict[str, Any]:
    return {
        "brand_id": brand,
        "code": code,
        "destination_url": "https://shop.example/landing?a=b%2Fc+d",
        "currency": "EUR",
    }


@contextmanager
def redis_in(config: Config) -> Iterator[redis.Redis]:
    """The embedded server of a data folder."""
    config.redis_socket.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        redis_server.embedded_arguments(config),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store = redis.Redis(unix_socket_path=str(config.redis_socket))
    try:
        until(lambda: redis_server.answers(config.effective_redis_url))
        yield store
    finally:
        store.close()
        process.kill()
        process.wait()


@contextmanager
def ledger_of(config: Config) -> Iterator[Ledger]:
    ledger = open_ledger(config.effective_ledger_url)
    try:
        ensure_partitions(ledger, config.partitions)
        yield ledger
    finally:
        ledger.close()


@contextmanager
def console_in(
    folder: Path,
    *,
    with_redis: bool = True,
    read_wait_ms: int = 100,
    publish_wait_ms: int = 60_000,
) -> Iterator[RunningConsole]:
    """A whole console on a free port."""
    config = Config(data=folder, console_port=0, partitions=PARTITIONS)
    with ledger_of(config) as ledger:
        admin_key = keys.ensure_admin_key(folder, ledger)
        waits = {"read_wait_ms": read_wait_ms, "publish_wait_ms": publish_wait_ms}
        if not with_redis:
            with _listening(config, ledger, waits) as port:
                yield RunningConsole(config, ledger, port, admin_key, None)
            return
        with redis_in(config) as store, _listening(config, ledger, waits) as port:
            yield RunningConsole(config, ledger, port, admin_key, store)


@contextmanager
def _listening(config: Config, ledger: Ledger, waits: dict[str, int]) -> Iterator[int]:
    """Serve from a loop in a thread of its own; gives the port."""
    ports: list[int] = []
    listening, stop = threading.Event(), asyncio.Event()
    loop = uvloop.new_event_loop()

    async def serve() -> None:
        async with serving(config, ledger, **waits) as port:
            ports.append(port)
            listening.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert listening.wait(60)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.01)


def frames_on(store: redis.Redis, partition: int) -> list[bytes]:
    """Frames of a partition's stream, oldest first."""
    entries: Any = store.xrange(f"hw:in:{partition}")
    return [fields[b"f"] for _, fields in entries if fields[b"f"]]


def controls_on(store: redis.Redis, partitions: int = PARTITIONS) -> list[Record]:
    """The control records of all partitions, each as often as it is there."""
    found = []
    for partition in range(partitions):
        for frame in frames_on(store, partition):
            unpacker = msgpack.Unpacker(strict_map_key=False)
            unpacker.feed(frame[HEADER_BYTES:])
            found += [decode(msgpack.packb(record)) for record in unpacker]
    return found


def told_to_edges(store: redis.Redis) -> dict[str, Any]:
    """Name to [revision, object, number, value] of the objects edges read."""
    found: Any = store.hgetall("hw:config:objects")
    return {name.decode(): msgpack.unpackb(packed) for name, packed in found.items()}


def fresh(prefix: str = "code") -> str:
    """A name no other test of the process has."""
    return f"{prefix}-{next(_numbers)}"


def faults_of(reply: Reply) -> dict[str, str]:
    """Field to code of a refusal for what its fields hold."""
    assert reply.status in (409, 422), reply
    assert reply.headers.get_content_type() == "application/problem+json"
    return {fault["field"]: fault["code"] for fault in reply.json["errors"]}
