"""The load generator, a program of its own (bench/load/generator): built, run, and held to what it
can do.

A figure counts only below a share of the generator's own ceiling, which is what it reaches against
a server that does nothing: above it, one would measure the generator.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from bench.load import processes
from bench.load.requests import Mode

ROOT = Path(__file__).parents[2]
CEILING_SHARE: Final = 0.8
_GRACE_S = 10.0


class Stage(NamedTuple):
    """Requests a second, for so long. Rate 0: the next with each answer, a closed loop."""

    rate: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What the generator is to do."""

    port: int
    requests: Path
    stages: Sequence[Stage]
    mode: Mode = "keep-alive"
    connections: int = 64
    arrivals: Literal["constant", "poisson"] = "poisson"
    status: int = 302
    ids: Path | None = None
    seed: int = 1
    grace_s: float = _GRACE_S

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)


@dataclass(frozen=True)
class Driven:
    """What came of it."""

    told: dict[str, Any]
    """The generator's own words, whole."""
    cpu_s: float
    """Of the generator."""

    @property
    def answered(self) -> int:
        return int(self.told["answered"])

    @property
    def failed(self) -> int:
        """Requests without an answer, and answers of another status."""
        return int(self.told["failed"]) + int(self.told["unexpected"])

    @property
    def per_s(self) -> float:
        return self.answered / float(self.told["seconds"])

    def latency_us(self, stage: int = 0) -> dict[str, float]:
        """From when requests were due, as percentiles."""
        found: dict[str, float] = self.told["stages"][stage]["latency_us"]
        return found


class GeneratorBoundError(Exception):
    """More was asked than may be measured with this generator on this machine."""


def build() -> Path:
    """The program, in release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--locked", "--package", "headwater-generator"],
        cwd=ROOT,
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        check=True,
    )
    return target / "release" / "headwater-generator"


def _words(plan: Plan) -> list[str]:
    stages = ",".join(f"{stage.rate:.3f}:{stage.seconds:.3f}" for stage in plan.stages)
    words = ["--target", f"127.0.0.1:{plan.port}", "--requests", str(plan.requests)]
    words += ["--stages", stages, "--mode", plan.mode, "--connections", str(plan.connections)]
    words += ["--arrivals", plan.arrivals, "--status", str(plan.status)]
    words += ["--seed", str(plan.seed), "--grace", str(plan.grace_s)]
    return words + (["--ids", str(plan.ids)] if plan.ids else [])


class Generator:
    """The program, on cores of its own."""

    def __init__(self, on: set[int], program: Path | None = None) -> None:
        self._program = program or build()
        self._on = on
        self.ceilings: dict[Mode, float] = {}
        """Requests a second, once measured."""

    def drive(self, plan: Plan) -> Driven:
        """Run a plan. Raises GeneratorBoundError for a rate above what counts."""
        ceiling = self.ceilings.get(plan.mode)
        highest = max(stage.rate for stage in plan.stages)
        if ceiling is not None and highest > ceiling * CEILING_SHARE:
            raise GeneratorBoundError(
                f"{highest:,.0f} requests/s are above {CEILING_SHARE:.0%} of the generator's "
                f"{ceiling:,.0f}"
            )
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with processes.on_cores(self._on):
            done = subprocess.run(
                [str(self._program), "drive", *_words(plan)],
                stdout=subprocess.PIPE,
                check=True,
                timeout=plan.seconds + plan.grace_s + 30.0,
            )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return Driven(json.loads(done.stdout), used_s)

    @contextmanager
    def responder(self, on: set[int]) -> Iterator[int]:
        """The port of a server that answers everything with one redirect."""
        with processes.on_cores(on):
            process = subprocess.Popen(
                [str(self._program), "respond"], stdout=subprocess.PIPE, text=True
            )
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().removeprefix("ready "))
        finally:
            processes.end(process)
            if process.stdout:
                process.stdout.close()

    def measure_ceilings(self, requests: dict[Mode, Path], seconds: float, on: set[int]) -> None:
        """What it reaches in a closed loop against a server that does nothing: the median of
        three."""
        with self.responder(on) as port:
            for mode, path in requests.items():
                plan = Plan(port, path, [Stage(0, seconds)], mode=mode)
                found = sorted(self.drive(replace(plan, seed=seed)).per_s for seed in (1, 2, 3))
                self.ceilings[mode] = found[1]

    def is_bound(self, mode: Mode, per_s: float) -> bool:
        """Whether a closed loop's rate says more of the generator than of the server."""
        return per_s > self.ceilings[mode] * CEILING_SHARE
