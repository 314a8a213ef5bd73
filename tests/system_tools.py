"""A whole system under test: real processes on free loopback ports, ended by their own pids."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.progress import Progress

from headwater.config import Config
from headwater.journal import redis_server
from headwater.ledger import outbox
from headwater.ledger.census import census
from headwater.ledger.engine import open_ledger
from headwater.ops.client import ConsoleClient
from headwater.ops.demo_report import check
from headwater.ops.demo_traffic import Scene, Tally, Traffic

COMMITTED_S = 240.0
# Bounds of waiting cost nothing when all is well: a machine that is busy is no fault of what
# runs on it.
CONFIGURED_S = 60.0
DECIDED_S = 60.0
# How unlikely it has to be that an edge was asked nothing.
MISSED = 1e-6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# What a visitor's browser sends at the least: without a user agent a click is declared automation.
VISITOR = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept-Language": "en",
}


class Answer:
    """Status, headers and body of one request."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class SystemConsole(ConsoleClient):
    """Notes each change, so that traffic to the edges waits until they have it."""

    is_changed = False

    def _raw(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        content = super()._raw(method, path, body)
        if method != "GET":
            self.is_changed = True
        return content


class System:
    """`headwater up` on a folder of its own; may be killed and started again on it.

    The console answers a change when it is told, and the edges have it some milliseconds, or on a
    busy machine seconds, later: `edge` waits for that. Traffic that goes another way (a browser, a
    command) calls `wait_configured` first.
    """

    def __init__(self, folder: Path, *, edges: int = 2, environment: dict[str, str] | None = None):
        self.settings = Config(
            data=folder / "data", port=free_port(), console_port=free_port(), edges=edges
        )
        self.log_path = folder / "system.log"
        self._environment = {**os.environ, **(environment or {})}
        self._console: SystemConsole | None = None
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> System:
        command = [sys.executable, "-m", "headwater", "up", "--data", str(self.settings.data)]
        command += ["--port", str(self.settings.port)]
        command += ["--console-port", str(self.settings.console_port)]
        command += ["--edges", str(self.settings.edges), *options]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log()[-4000:]
        return self

    def __enter__(self) -> System:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def log(self) -> str:
        return self.log_path.read_text("utf-8", errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines with this event name."""
        found = []
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("event") == name:
                    found.append(entry)
        return found

    def kill(self) -> None:
        """SIGKILL the supervisor: the kernel ends its children."""
        if self.process is not None:
            pids = self.pids()
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()
            self.process = None
            wait_for(lambda: not any(map(alive, pids)), 60, "children end with the supervisor")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(100)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code

    def pids(self, role: str = "") -> list[int]:
        """Pids of the supervisor's children, of one role or of all."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            children = [int(text) for text in path.read_text().split()]
        except OSError:
            return []
        return [pid for pid in children if role in command_line(pid)]

    def edge(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        if self._console is not None and self._console.is_changed:
            self.wait_configured()
        return self._ask(method, path, body, key, headers)

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {**VISITOR, **(headers or {})}
        return request(self.settings.port, method, path, body, key, sent)

    def convert(self, body: dict[str, Any], key: str, status: int = 201) -> dict[str, Any]:
        """A server's report of a conversion that is answered with `status`; the decision."""
        answer = self.edge("POST", "/v1/conversions", body, key)
        assert answer.status in (status, 202), answer.body
        return self.decision(answer, key)

    def decision(self, answer: Answer, key: str) -> dict[str, Any]:
        """The decision a report was answered with, or where it was said to come to: an edge waits
        for it for a while only, and answers 202 then.
        """
        told: dict[str, Any] = answer.json
        if answer.status == 202:
            told = self.decided(f"/v1/conversions/{told['conversion_id']}", key)
        return told

    def decided(self, path: str, key: str) -> dict[str, Any]:
        """The decision at a path of an edge, once there is one."""
        found: dict[str, Any] = {}

        def is_decided() -> bool:
            answer = self.edge("GET", path, key=key)
            if answer.status == 200:
                found.update(answer.json)
            return answer.status == 200 and found["status"] != "pending"

        wait_for(is_decided, DECIDED_S, f"{path} is decided")
        return found

    @property
    def console(self) -> SystemConsole:
        if self._console is None:
            self._console = SystemConsole.of(self.settings)
        return self._console

    def program(self, code: str = "demo", partners: int = 4) -> Scene:
        """A brand with a program, two event types and partners with a link each."""
        console = self.console
        brand = console.post("/v1/brands", {"name": f"Brand of {code}"})
        program = console.post(
            "/v1/programs",
            {
                "brand_id": brand["id"],
                "code": code,
                "name": code,
                "destination_url": "https://shop.example/landing",
                "deep_link_hosts": ["shop.example"],
                "timezone": "UTC",
                "currency": "EUR",
                "click_window_seconds": 30 * 86_400,
                "attribution": {"model": "last_click"},
            },
        )
        for kind in ("sale", "lead"):
            console.post(f"/v1/programs/{program['id']}/event-types", {"code": kind, "kind": kind})
        codes = []
        for number in range(partners):
            partner = console.post(
                "/v1/partners", {"name": f"P{number}", "email": f"p{number}@partners.example"}
            )
            enrolled = console.put(f"/v1/programs/{program['id']}/partners/{partner['id']}", {})
            codes.append(enrolled["default_link"]["code"])
        key = console.post("/v1/keys", {"scopes": ["events"], "brand_id": brand["id"]})["key"]
        self.wait_configured()
        return Scene("127.0.0.1", self.settings.port, code, key, tuple(codes))

    def wait_configured(self) -> None:
        """Until every edge has the newest configuration.

        Edges share the port, and a new connection is any one's: so many answers in a row that
        one of them was each edge's, all but surely.
        """
        if self._console is not None:
            self._console.is_changed = False
        ledger = open_ledger(self.settings.effective_ledger_url)
        try:
            newest = outbox.newest_told(ledger)
        finally:
            ledger.close()
        others = 1 - 1 / self.settings.edges
        asked = math.ceil(math.log(MISSED, others)) if others else 1

        def is_known() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answers = (self._ask("GET", "/readyz") for _ in range(asked))
                return all(each.json["configuration_revision"] >= newest for each in answers)
            return False

        wait_for(is_known, CONFIGURED_S, "every edge has the newest configuration")

    def wait_committed(self, answered: int, seconds: float = COMMITTED_S) -> None:
        ledger = open_ledger(self.settings.effective_ledger_url)
        try:
            wait_for(
                lambda: census(ledger).events >= answered, seconds, "all answered is committed"
            )
        finally:
            ledger.close()

    def links_when_committed(self) -> set[str]:
        """Codes of all links, once every change of configuration is on the log and committed."""
        path = self.settings.data / "ledger.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:

            def waiting() -> int:
                row = connection.execute(
                    "SELECT count(*) FROM config_outbox WHERE NOT appended OR NOT committed"
                ).fetchone()
                return int(row[0])

            wait_for(lambda: waiting() == 0, 60, "every change is on the log and committed")
            return {code for (code,) in connection.execute("SELECT code FROM links")}

    def faults(self, tally: Tally) -> list[str]:
        """What of "answered is committed exactly once" does not hold."""
        ledger = open_ledger(self.settings.effective_ledger_url)
        try:
            return check(ledger, tally)
        finally:
            ledger.close()


@contextlib.contextmanager
def load(scene: Scene, *, clicks: int, rate: int, seed: int) -> Iterator[Traffic]:
    """Traffic in a thread while the block runs; when it ends, visits under way are finished."""
    traffic = Traffic(scene, clicks=clicks, rate=rate, seed=seed)
    failures: list[BaseException] = []

    def drive() -> None:
        with Progress(console=Console(quiet=True)) as progress:
            try:
                uvloop.run(traffic.run(progress, progress.add_task("visits")))
            except BaseException as error:  # noqa: BLE001 - it fails the test, below
                failures.append(error)

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield traffic
    finally:
        traffic.stop()
        thread.join(120)
    assert not thread.is_alive(), "the load did not end"
    assert not failures, failures


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[ValkeyServer]:
    """A server of our own, outside the supervisor, for tests that take it away."""
    server = ValkeyServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class ValkeyServer:
    """A real server on a unix socket, with the embedded server's settings."""

    def __init__(self, folder: Path, options: tuple[str, ...] = ()) -> None:
        # A socket's path may have about 100 characters; a test's folder is longer.
        self._short = Path(tempfile.mkdtemp(prefix="hw-"))
        self._settings = Config(data=self._short)
        self._options = options
        self._settings.redis_socket.parent.mkdir(parents=True, exist_ok=True)
        self.folder = self._settings.redis_socket.parent
        self.url = self._settings.effective_redis_url
        self._log = folder / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*redis_server.embedded_arguments(self._settings), *self._options],
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: redis_server.answers(self.url), 60, "valkey answers")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def request(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = dict(headers or {})
    if key:
        sent["Authorization"] = f"Bearer {key}"
    payload = None
    if body is not None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, payload, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Running, and not a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Any, seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.02)
