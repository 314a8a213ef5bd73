"""What all measurements share: a folder, cores, the generator, requests, and the time there is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.load import processes, requests
from bench.load.drive import CEILING_SHARE, Driven, Generator, Plan, Stage
from bench.load.requests import Mode
from bench.load.system import System, running, settings

from headwater import clock

REQUESTS = 20_000
MODES: tuple[Mode, ...] = ("keep-alive", "close")
CONNECTIONS: dict[Mode, int] = {"keep-alive": 64, "close": 512}
CEILING_S = 3.0


class Size(NamedTuple):
    """How much is measured."""

    links: int
    rounds: int
    closed_s: float
    """Of one measurement in a closed loop."""
    fixed_s: float
    """Of one measurement at a fixed rate."""
    rates: tuple[int, ...]
    """On kept-alive connections."""
    close_rates: tuple[int, ...]
    """With a connection for each click."""
    throughput_s: float
    burst_s: float
    calm_s: float
    outage_s: float
    pixels: int
    profile_s: float
    identifiers: int
    scored: int
    """Clicks."""
    minutes_max: float
    """What is not begun by then is left out, and said to be."""


FULL = Size(
    10_000,
    5,
    3.0,
    3.0,
    (2000, 10_000, 20_000, 40_000),
    (2000,),
    6,
    10,
    4,
    4,
    300,
    10,
    1_000_000,
    100_000,
    25,
)
QUICK = Size(2000, 2, 0.7, 1.2, (4000,), (1000,), 2, 3, 1.5, 2, 60, 3, 50_000, 10_000, 3)


@dataclass
class Stand:
    """The place of the measurements."""

    folder: Path
    size: Size
    generator: Generator
    server_cores: set[int]
    load_cores: set[int]
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""
    unmeasured: list[str] = field(default_factory=list)
    """Parts that ended in an error, and with which."""
    began_s: float = field(default_factory=clock.monotonic_s)
    _files: int = 0

    def say(self, text: str) -> None:
        minutes = (clock.monotonic_s() - self.began_s) / 60
        print(f"{minutes:5.1f} min  {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Say it, now and in the report."""
        self.notes.append(text)
        self.say(text)

    def has_time(self, what: str, needs_s: float) -> bool:
        """Whether it can be done before the bound; if not, that is noted."""
        left_s = self.size.minutes_max * 60 - (clock.monotonic_s() - self.began_s)
        if left_s < needs_s:
            self.note(f"left out for want of time: {what}")
            return False
        return True

    def path(self, name: str) -> Path:
        """A fresh file or folder name."""
        self._files += 1
        return self.folder / f"{name}-{self._files}"

    def requests_for(self, codes: list[str], port: int) -> dict[Mode, Path]:
        """Files of requests for these links, for each way of connecting."""
        host = f"127.0.0.1:{port}"
        return {
            mode: requests.write(
                self.path("requests"), requests.heads(codes, host, mode, REQUESTS, seed)
            )
            for seed, mode in enumerate(MODES)
        }

    @contextmanager
    def system(self, *, redis_url: str = "") -> Iterator[tuple[System, dict[Mode, Path]]]:
        """A fresh Headwater with one edge, on the servers' cores, and requests for its links."""
        folder = self.path("system")
        folder.mkdir()
        config = settings(folder, edges=1, redis_url=redis_url)
        log = folder / "system.log"
        with running(config, log, self.server_cores, self.size.links) as system:
            yield system, self.requests_for(list(system.codes), config.port)

    def ceilings(self) -> None:
        """Measure what the generator can do."""
        files = self.requests_for(["ceiling"], 80)
        seconds = min(CEILING_S, self.size.closed_s)
        self.generator.measure_ceilings(files, seconds, self.server_cores)
        for mode, per_s in self.generator.ceilings.items():
            self.say(f"the generator's ceiling, {mode}: {per_s:,.0f} requests/s")

    def allowed(self, mode: Mode, rate: float) -> float:
        """The rate, or what of it the generator may be asked for."""
        return min(rate, self.generator.ceilings[mode] * CEILING_SHARE)

    def capacity(self, system: System, files: dict[Mode, Path], ids: Path) -> float:
        """Redirects a second of the edge in a closed loop, nothing being matched meanwhile."""
        plan = Plan(
            system.config.port, files["keep-alive"], [Stage(0, self.size.closed_s)], ids=ids
        )
        with system.matcher_stopped():
            self.generator.drive(replace(plan, stages=[Stage(0, 1.0)], ids=Path(f"{ids}-first")))
            return self.generator.drive(plan).per_s


def stage_of(driven: Driven, number: int = 0) -> dict[str, Any]:
    """What is told of one stage."""
    found: dict[str, Any] = driven.told["stages"][number]
    return found


@contextmanager
def stand(size: Size) -> Iterator[Stand]:
    """A stand in a temporary folder, its generator built and its ceilings known."""
    servers, load = processes.cores()
    with TemporaryDirectory(prefix="headwater-bench-", ignore_cleanup_errors=True) as folder:
        made = Stand(Path(folder), size, Generator(load), servers, load)
        if servers == load:
            made.note("one core: servers and generator share it, rates are of both together")
        made.ceilings()
        yield made
