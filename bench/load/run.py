"""Plain throughput of the whole system: clicks a second, committed, and CPU per click by process.

    python -m bench.load.run [--seconds 20] [--connections 64] [--out bench/results]

A closed loop of kept-alive connections, so the figures are throughput and CPU, not latency. The
generator shares the machine with what it drives; its own CPU is in the table. Every click id
that was answered is looked for in the ledger afterwards, so the run is a loss test as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from headwater import clock, ids
from headwater.config import Config
from headwater.ledger.census import census, click_ids
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ops import demo
from headwater.ops.client import ConsoleClient
from headwater.ops.demo_traffic import BROWSERS, Scene

WARM_UP_S = 2.0
COMMIT_WAIT_S = 120.0
TICKS = os.sysconf("SC_CLK_TCK")
MARK = b"click_id="


class Clicker(asyncio.Protocol):
    """One connection: the next click leaves when the answer to the last one is there."""

    def __init__(self, requests: list[bytes], first: int, answered: list[bytes]) -> None:
        self._requests = requests
        self._at = first
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self.failed = 0
        self.ended = asyncio.get_running_loop().create_future()
        self.stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._at += 1
        self._transport.write(self._requests[self._at % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not data.endswith(b"\r\n\r\n"):
            self._rest = data
            return
        start = data.find(MARK)
        if start < 0 or not data.startswith(b"HTTP/1.1 302"):
            self.failed += 1
        else:
            self._answered.append(data[start + len(MARK) : start + len(MARK) + 30])
        if self.stopping:
            assert self._transport is not None
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


@dataclass
class Sample:
    """CPU seconds used so far, by what a process does."""

    at_s: float
    cpu_s: dict[str, float]
    answered: int
    committed: int


def requests_of(scene: Scene) -> list[bytes]:
    """A few hundred different clicks: links, sub ids, user agents, with a browser's head."""
    made = []
    for number in range(480):
        code = scene.codes[number % len(scene.codes)]
        made.append(
            (
                f"GET /c/{code}?sub1=placement-{number % 40} HTTP/1.1\r\n"
                f"Host: {scene.host}:{scene.port}\r\n"
                f"User-Agent: {BROWSERS[number % len(BROWSERS)]}\r\n"
                "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
                "Accept-Language: en-GB,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n"
                "Referer: https://blog.example/review\r\nConnection: keep-alive\r\n\r\n"
            ).encode()
        )
    return made


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid: int) -> Iterator[tuple[str, int]]:
    """Name and pid of the system's processes: the supervisor's children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    for child in map(int, text.split()):
        line = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        name = "redis" if b"valkey" in line[0] else line[3].decode()
        yield name, child


def matcher_steps(console: ConsoleClient) -> dict[str, float]:
    """CPU seconds of the matcher by step, from its metrics: parts of the matcher's figure."""
    found = re.findall(
        r'headwater_matcher_cpu_seconds_total\{step="(\w+)"\} (\S+)', console.text("/metrics")
    )
    return {f"matcher: {step}": float(value) for step, value in found}


def sample(
    supervisor: int, answered: list[bytes], ledger: Ledger, console: ConsoleClient
) -> Sample:
    used: dict[str, float] = {"generator": clock.process_cpu_s(), **matcher_steps(console)}
    for name, pid in children(supervisor):
        used[name] = used.get(name, 0.0) + cpu_s(pid)
    return Sample(clock.monotonic_s(), used, len(answered), census(ledger).events)


async def drive(
    scene: Scene,
    connections: int,
    seconds: float,
    supervisor: int,
    ledger: Ledger,
    console: ConsoleClient,
) -> tuple[list[bytes], Sample, Sample, int]:
    loop = asyncio.get_running_loop()
    answered: list[bytes] = []
    made = requests_of(scene)
    clickers = []
    for number in range(connections):
        _, clicker = await loop.create_connection(
            lambda first=number * 7: Clicker(made, first, answered), scene.host, scene.port
        )
        clickers.append(clicker)
    await asyncio.sleep(WARM_UP_S)
    before = await asyncio.to_thread(sample, supervisor, answered, ledger, console)
    await asyncio.sleep(seconds)
    after = await asyncio.to_thread(sample, supervisor, answered, ledger, console)
    for clicker in clickers:
        clicker.stopping = True
    await asyncio.wait([clicker.ended for clicker in clickers], timeout=10)
    return answered, before, after, sum(clicker.failed for clicker in clickers)


def missing_from(ledger: Ledger, answered: list[bytes]) -> tuple[int, int]:
    """Answered ids that are not committed, and committed rows beyond one for an id."""
    until_s = clock.monotonic_s() + COMMIT_WAIT_S
    while census(ledger).events < len(answered) and clock.monotonic_s() < until_s:
        clock.sleep(0.1)
    committed: set[bytes] = set()
    rows = 0
    for name in click_ids(ledger):
        committed.add(name)
        rows += 1
    absent = sum(ids.parse_event("clk", text.decode()) not in committed for text in answered)
    return absent, rows - len(committed)


def report(before: Sample, after: Sample, facts: dict[str, object]) -> dict[str, object]:
    seconds = after.at_s - before.at_s
    answered = after.answered - before.answered
    committed = after.committed - before.committed
    cpu = {name: after.cpu_s[name] - before.cpu_s.get(name, 0.0) for name in after.cpu_s}
    system = sum(value for name, value in cpu.items() if name != "generator" and ":" not in name)
    return {
        **facts,
        "seconds": round(seconds, 2),
        "answered_per_s": round(answered / seconds),
        "committed_per_s": round(committed / seconds),
        "cpu_us_per_click": {
            name: round(value / answered * 1e6, 1) for name, value in sorted(cpu.items())
        },
        "cores_busy": {name: round(value / seconds, 2) for name, value in sorted(cpu.items())},
        "committed_per_cpu_second_of_the_system": round(committed / system),
    }


@contextmanager
def running(folder: Path, edges: int) -> Iterator[tuple[Config, int]]:
    settings = Config(
        data=folder / "data",
        port=demo.free_port(),
        console_port=demo.free_port(),
        edges=edges,
    )
    with demo.running_system(settings, folder / "system.log") as process:
        yield settings, process.pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--edges", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder,
        running(Path(folder), options.edges) as (settings, pid),
    ):
        scene = demo.prepare(settings)
        ledger = open_ledger(settings.effective_ledger_url)
        answered, before, after, failed = uvloop.run(
            drive(
                scene,
                options.connections,
                options.seconds,
                pid,
                ledger,
                ConsoleClient.of(settings),
            )
        )
        absent, doubled = missing_from(ledger, answered)
        ledger.close()
    facts: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "python": platform.python_version(),
        "connections": options.connections,
        "edges": options.edges,
        "answered": len(answered),
        "answers_that_were_no_redirect": failed,
        "answered_and_not_in_the_ledger": absent,
        "in_the_ledger_more_than_once": doubled,
    }
    result = report(before, after, facts)
    text = json.dumps(result, indent=2)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "load.json").write_text(text + "\n")
    print(text)
    if absent or doubled or failed:
        raise SystemExit("events were lost, doubled or refused")


if __name__ == "__main__":
    main()
