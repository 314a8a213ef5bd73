"""Micro-benchmarks against their stored baselines: has a hot function become slower?

    python -m bench.micro.compare [--store] [--allowed 1.5]

Every time is divided by that of the yardstick in the same run, so that baselines hold on other
machines as far as these differ by speed alone. Of each benchmark the shortest time counts, which
neighbors disturb least. Fails when a ratio has grown beyond what is allowed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

BASELINES: Final = Path(__file__).with_name("baselines.json")
YARDSTICK: Final = "test_yardstick"
ALLOWED: Final = 1.5


def measured() -> dict[str, Any]:
    """The result of a run, as pytest-benchmark writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "micro.json"
        command = [sys.executable, "-m", "pytest", str(BASELINES.parent), "--quiet"]
        command += ["--benchmark-enable", "--benchmark-only", f"--benchmark-json={path}"]
        command += ["--benchmark-columns=min,median", "--benchmark-sort=name"]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def ratios(result: Mapping[str, Any]) -> dict[str, float]:
    """Each benchmark's shortest time, in yardsticks. Raises KeyError without a yardstick."""
    shortest = {one["name"]: float(one["stats"]["min"]) for one in result["benchmarks"]}
    yardstick = shortest.pop(YARDSTICK)
    return {name: value / yardstick for name, value in sorted(shortest.items())}


def slower(now: Mapping[str, float], before: Mapping[str, float], allowed: float) -> Iterator[str]:
    """What grew beyond what is allowed, and what is without a baseline or without a benchmark."""
    for name in sorted(now.keys() | before.keys()):
        if name not in before:
            yield f"{name}: no baseline; store one with --store"
        elif name not in now:
            yield f"{name}: a baseline without a benchmark"
        elif now[name] > before[name] * allowed:
            yield f"{name}: {now[name] / before[name]:.2f} times its baseline"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help="make this run the baseline")
    parser.add_argument("--allowed", type=float, default=ALLOWED)
    options = parser.parse_args()
    now = ratios(measured())
    if options.store:
        rounded = {name: float(f"{value:.4g}") for name, value in now.items()}
        BASELINES.write_text(json.dumps(rounded, indent=1) + "\n")
        print(f"stored {len(now)} baselines")
        return
    before = json.loads(BASELINES.read_text())
    if list(slower(now, before, options.allowed)):
        print("something was slower: once more, the shorter time counts", flush=True)
        again = ratios(measured())
        now = {name: min(value, again[name]) for name, value in now.items()}
    for name, value in now.items():
        change = f"{value / before[name]:6.2f}" if name in before else "   new"
        print(f"{change}  {name}  ({value:.4g} yardsticks)")
    found = list(slower(now, before, options.allowed))
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
