"""`headwater demo`: a private system, bursty traffic, and the proof of what came of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from headwater import clock
from headwater.config import Config
from headwater.errors import HeadwaterError
from headwater.ledger.census import census
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ops import demo_report
from headwater.ops.client import ConsoleClient
from headwater.ops.demo_traffic import Scene, Traffic

PARTNERS = 12
START_S = 60.0
COMMIT_WAIT_S = 120.0
STOP_S = 60.0


def run_demo(*, clicks: int, rate: int, seed: int, stay: bool) -> int:
    """Run the demo; 0 only if every answered event is in the ledger exactly once."""
    screen = Console()
    with _temporary_folder() as folder:
        settings = Config(data=folder / "data", port=free_port(), console_port=free_port(), edges=2)
        screen.print("Starting Redis, matcher, console and two edges in a private folder ...")
        with running_system(settings, folder / "system.log") as process:
            scene = prepare(settings)
            traffic = Traffic(scene, clicks=clicks, rate=rate, seed=seed)
            began_s = clock.monotonic_s()
            _drive(traffic, clicks, screen)
            drove_s = clock.monotonic_s() - began_s
            ledger = open_ledger(settings.effective_ledger_url)
            try:
                _wait_committed(ledger, traffic.tally.answered)
                committed_s = clock.monotonic_s() - began_s
                holds = demo_report.report(
                    screen, ledger, traffic.tally, drove_s, committed_s, paced=bool(rate)
                )
            finally:
                ledger.close()
            if stay:
                _stay(settings, screen, process)
        return 0 if holds else 1


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="headwater-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_system(settings: Config, log: Path) -> Iterator[subprocess.Popen[str]]:
    """`headwater up` as a child process, ended by SIGTERM when the block ends."""
    command = [sys.executable, "-m", "headwater", "up", "--data", str(settings.data)]
    command += ["--port", str(settings.port), "--console-port", str(settings.console_port)]
    command += ["--edges", str(settings.edges)]
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # The demo is the proxy that names its visitors' addresses.
            env={**os.environ, "HEADWATER_TRUSTED_PROXIES": settings.host},
        )
    try:
        _wait_ready(process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[str], log: Path) -> None:
    assert process.stdout is not None  # noqa: S101 - narrows the type
    line = process.stdout.readline()
    if not line.startswith("ready "):
        tail = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-20:])
        raise HeadwaterError(f"the system did not start:\n{tail}")


def prepare(settings: Config) -> Scene:
    """A brand, a program with two event types, and partners with a link each."""
    console = ConsoleClient.of(settings)
    brand = console.post("/v1/brands", {"name": "Demo brand"})
    program = console.post(
        "/v1/programs",
        {
            "brand_id": brand["id"],
            "code": "demo",
            "name": "Demo program",
            "destination_url": "https://shop.example/landing",
            "deep_link_hosts": ["shop.example"],
            "timezone": "UTC",
            "currency": "EUR",
            "click_window_seconds": 30 * 86_400,
            "attribution": {"model": "last_click"},
        },
    )
    for code, kind in (("sale", "sale"), ("lead", "lead")):
        console.post(f"/v1/programs/{program['id']}/event-types", {"code": code, "kind": kind})
    codes = []
    for number in range(PARTNERS):
        partner = console.post(
            "/v1/partners",
            {"name": f"Partner {number}", "email": f"partner{number}@partners.example"},
        )
        enrolled = console.put(f"/v1/programs/{program['id']}/partners/{partner['id']}", {})
        codes.append(enrolled["default_link"]["code"])
    key = console.post("/v1/keys", {"scopes": ["events"], "brand_id": brand["id"]})["key"]
    return Scene(settings.host, settings.port, "demo", key, tuple(codes))


def _drive(traffic: Traffic, clicks: int, screen: Console) -> None:
    columns = (
        TextColumn("visits"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    async def body() -> None:
        with Progress(*columns, console=screen) as progress:
            await traffic.run(progress, progress.add_task("visits", total=clicks))

    import uvloop

    uvloop.run(body())


def _wait_committed(ledger: Ledger, answered: int) -> None:
    """Until as many events are committed as were answered, or it takes too long."""
    until_s = clock.monotonic_s() + COMMIT_WAIT_S
    while census(ledger).events < answered and clock.monotonic_s() < until_s:
        clock.sleep(0.1)


def _stay(settings: Config, screen: Console, process: subprocess.Popen[str]) -> None:
    screen.print(
        f"Running on: http://{settings.host}:{settings.port} (public), "
        f"http://{settings.console_host}:{settings.console_port} (console), "
        f"admin key in {settings.data / 'admin.key'}. Ctrl-C ends it."
    )
    try:
        process.wait()
    except KeyboardInterrupt:
        screen.print("Stopping ...")
