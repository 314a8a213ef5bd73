"""A whole Headwater under measurement: started, set up with many links, asked, and checked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.load import processes

from headwater import clock, ids, limits
from headwater.config import Config
from headwater.ledger.census import census, click_ids
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ops import demo
from headwater.ops.client import ConsoleClient
from headwater.ops.demo_traffic import Scene
from headwater.ops.supervisor import environment_of

LINKS = 10_000
_ID_BYTES = 30
_STOP_S = 60.0
# Fewer than there may be: a full batch takes a machine that is busy longer than the client waits.
_BULK_LINKS = 100
_METRIC = re.compile(r"^(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Checked(NamedTuple):
    """Answered clicks held against the ledger."""

    answered: int
    absent: int
    """Answered, and not committed."""
    doubled: int
    """Rows beyond one for an id."""
    waited_s: float
    """From the last answer until all were committed."""


@dataclass
class System:
    """A running system and how it is reached."""

    config: Config
    process: subprocess.Popen[str]
    scene: Scene
    codes: Sequence[str]

    @property
    def console(self) -> ConsoleClient:
        return ConsoleClient.of(self.config)

    def pids(self) -> dict[str, list[int]]:
        """Of its processes, by role; the supervisor itself under `up`."""
        found: dict[str, list[int]] = {"up": [self.process.pid]}
        for child in processes.children(self.process.pid):
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            name = "redis" if b"valkey" in words[0] else words[3].decode()
            found.setdefault(name, []).append(child)
        return found

    def resident_bytes(self) -> dict[str, int]:
        """Memory of each role's processes."""
        return {
            name: sum(processes.resident_bytes(pid) for pid in pids)
            for name, pids in self.pids().items()
        }

    def metric(self, name: str, labels: str = "") -> float:
        """The sum of a metric over its series whose labels contain the text."""
        return sum(
            float(value)
            for found, series, value in _METRIC.findall(self.console.text("/metrics"))
            if found == name and labels in series
        )

    def matcher_steps(self) -> dict[str, float]:
        """CPU seconds of the matcher by step: parts of its figure."""
        found = re.findall(
            r'headwater_matcher_cpu_seconds_total\{step="(\w+)"\} (\S+)',
            self.console.text("/metrics"),
        )
        return {step: float(value) for step, value in found}

    def committed(self) -> int:
        """Events in the ledger."""
        ledger = open_ledger(self.config.effective_ledger_url)
        try:
            return census(ledger).events
        finally:
            ledger.close()

    @contextmanager
    def matcher_stopped(self) -> Iterator[None]:
        """Nothing is matched while the block runs: what is answered waits on the log."""
        (pid,) = self.pids()["matcher"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def wait_committed(self, id_files: Sequence[Path], wait_s: float) -> float:
        """Wait until there are as many clicks as were answered, or too long; how long it took."""
        answered = answered_number(id_files)
        began_s = clock.monotonic_s()
        ledger = open_ledger(self.config.effective_ledger_url)
        try:
            while _clicks(ledger) < answered and clock.monotonic_s() < began_s + wait_s:
                clock.sleep(0.1)
        finally:
            ledger.close()
        return clock.monotonic_s() - began_s

    def check(self, id_files: Sequence[Path], wait_s: float) -> Checked:
        """Wait until all answered clicks are committed, or too long; what is missing then."""
        answered = answered_number(id_files)
        began_s = clock.monotonic_s()
        waited_s = self.wait_committed(id_files, wait_s)
        ledger = open_ledger(self.config.effective_ledger_url)
        try:
            absent, doubled = _missing(ledger, id_files)
            # Clicks that were committed and never answered count as well: the rest may be late.
            while absent and clock.monotonic_s() < began_s + wait_s:
                clock.sleep(1.0)
                waited_s = clock.monotonic_s() - began_s
                absent, doubled = _missing(ledger, id_files)
        finally:
            ledger.close()
        return Checked(answered, absent, doubled, waited_s)


def _clicks(ledger: Ledger) -> int:
    return sum(census(ledger).clicks_by_verdict.values())


def _missing(ledger: Ledger, id_files: Sequence[Path]) -> tuple[int, int]:
    """Answered ids that are not committed, and committed rows beyond one for an id."""
    rows = 0
    committed = set()
    for click_id in click_ids(ledger):
        committed.add(click_id)
        rows += 1
    absent = sum(click_id not in committed for click_id in answered_ids(id_files))
    return absent, rows - len(committed)


def answered_number(id_files: Sequence[Path]) -> int:
    """How many clicks the generator was answered."""
    return sum(path.stat().st_size // _ID_BYTES for path in id_files)


def answered_ids(id_files: Sequence[Path]) -> Iterator[bytes]:
    """Click ids the generator was answered with."""
    for path in id_files:
        text = path.read_bytes().decode("ascii")
        for at in range(0, len(text), _ID_BYTES):
            yield ids.parse_event("clk", text[at : at + _ID_BYTES])


def settings(folder: Path, *, edges: int, redis_url: str = "") -> Config:
    """A deployment whose proxies are this machine's own addresses."""
    return Config(
        data=folder / "data",
        port=processes.free_port(),
        console_port=processes.free_port(),
        edges=edges,
        redis_url=redis_url,
        redis_maxmemory_bytes=4 * limits.GIB,
        trusted_proxies=("127.0.0.0/8",),
    )


def _more_links(config: Config, scene: Scene, number: int) -> list[str]:
    """Links of the demo's program beyond those its partners begin with, made in bulk."""
    console = ConsoleClient.of(config)
    program = console.program(scene.program)
    partners = console.get("/v1/partners?limit=500")["items"]
    codes = []
    for first in range(0, number, _BULK_LINKS):
        wanted = [
            {"program_id": program["id"], "partner_id": partners[at % len(partners)]["id"]}
            for at in range(first, min(first + _BULK_LINKS, number))
        ]
        answers = console.post("/v1/links/bulk", {"links": wanted})
        codes += [answer["link"]["code"] for answer in answers]
    return codes


@contextmanager
def running(config: Config, log: Path, on: set[int], links: int = LINKS) -> Iterator[System]:
    """`headwater up` on these cores, with a program and so many links, ended with the block."""
    with log.open("wb") as errors, processes.on_cores(on):
        process = subprocess.Popen(
            [sys.executable, "-m", "headwater", "up"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment_of(config)},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(f"the system did not start:\n{log.read_text('utf-8')[-4000:]}")
        scene = demo.prepare(config)
        codes = [*scene.codes, *_more_links(config, scene, links - len(scene.codes))]
        yield System(config, process, scene, codes)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
