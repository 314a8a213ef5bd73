"""Profilers, installed by the bench where they are not there, and what they saw."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.load.drive import ROOT
from bench.peers.install import installed
from bench.profiling import stacks
from bench.profiling.stacks import Samples

PER_S: Final = 499
# Of each stack's memory that is kept to find its callers: all of it, for what runs here.
_STACK_BYTES: Final = 16_384
_PY_SPY: Final = "py-spy==0.4.3"
_TOOLS: Final = ROOT / "target" / "bench-tools"
_TIMEOUT_S: Final = 120.0


class CannotProfile(Exception):
    """Why there are no samples, in words."""


def _run(command: list[str], timeout_s: float = _TIMEOUT_S) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotProfile(f"{Path(command[0]).name}: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise CannotProfile(f"{Path(command[0]).name}: {last}")
    return done.stdout


def install_perf() -> str:
    """Empty once perf is there; else why it cannot be."""
    return installed(lambda: shutil.which("perf") is not None, ["linux-perf"])


def install_py_spy() -> str:
    """Empty once py-spy is there; else why it cannot be."""
    if _py_spy().exists():
        return ""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        _run([*pip, "--target", str(_TOOLS), _PY_SPY])
    except CannotProfile as error:
        return str(error)
    return ""


def _py_spy() -> Path:
    return _TOOLS / "bin" / "py-spy"


def perf(pids: Mapping[str, list[int]], seconds: float, file: Path) -> dict[str, Samples]:
    """What parts of the system do on the processor, kernel included. Raises CannotProfile."""
    numbers = ",".join(str(pid) for of in pids.values() for pid in of)
    graph = f"dwarf,{_STACK_BYTES}"
    _run(
        [
            *("perf", "record", "--quiet", "--output", str(file), "--event", "cpu-clock"),
            *("--freq", str(PER_S), "--call-graph", graph, "--pid", numbers),
            *("--", "sleep", f"{seconds:.1f}"),
        ],
        _TIMEOUT_S + seconds,
    )
    text = _run(
        ["perf", "script", "--input", str(file), "--no-inline", "--fields", "comm,pid,ip,sym,dso"]
    )
    file.unlink()
    seen = stacks.of_perf(text.splitlines())
    found = {
        name: sum((seen.get(pid, Samples()) for pid in of), Samples()) for name, of in pids.items()
    }
    if not any(found.values()):
        raise CannotProfile("perf: no samples")
    return found


def py_spy(pid: int, seconds: float, file: Path) -> Samples:
    """What the Python functions of a process do while they are not idle. Raises CannotProfile."""
    _run(
        [
            *(str(_py_spy()), "record", "--pid", str(pid), "--format", "raw", "--nonblocking"),
            *("--rate", "200", "--duration", str(max(round(seconds), 1)), "--output", str(file)),
        ],
        _TIMEOUT_S + seconds,
    )
    text = file.read_text()
    file.unlink()
    found = stacks.of_py_spy(text.splitlines())
    if not found:
        raise CannotProfile("py-spy: no samples")
    return found
