"""What every store of the graph is asked to do, and the lookups as it likes them best."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from ctypes import CDLL
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bench.identity.workload import Lookup, Workload

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_C_LIBRARY = CDLL(None)


class Size(NamedTuple):
    """Bytes so far, everything needed to answer counted."""

    links: int
    clicks: int


class Peer(Protocol):
    """A store of links and clicks that answers lookups."""

    name: str
    batches: tuple[int, ...]
    """Lookups in one call, as many sizes as make a difference to it."""

    def load_links(self, workload: Workload) -> int:
        """Takes the links in, one at a time where it can; returns how many."""

    def load_clicks(self, workload: Workload) -> int:
        """Takes the clicks in; returns how many."""

    def prepare(self, lookups: Sequence[Lookup], batch: int) -> list[Any]:
        """The arguments of `call` for all lookups, `batch` in each; not timed."""

    def call(self, argument: Any) -> Any:
        """Answers one batch; timed."""

    def numbers(self, answer: Any) -> list[list[int]]:
        """The click numbers of each lookup of an answer; not timed."""

    def size_bytes(self) -> Size | None:
        """What it takes by its own account; None: the growth of a process of its own counts."""

    def served_cpu_s(self) -> float:
        """CPU seconds used so far by another process on its behalf."""

    def close(self) -> None:
        """Ends what it started."""


class InProcess:
    """The parts of a peer that lives in this process."""

    batches: tuple[int, ...] = (1,)

    def numbers(self, answer: Any) -> list[list[int]]:
        listed: list[list[int]] = answer
        return listed

    def size_bytes(self) -> Size | None:
        return None

    def served_cpu_s(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing was started."""


def resident_bytes() -> int:
    """Memory of this process, what is free but not given back left out as far as possible."""
    gc.collect()
    if hasattr(_C_LIBRARY, "malloc_trim"):
        _C_LIBRARY.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def process_cpu_s(pid: int) -> float:
    """CPU seconds of another process, in the kernel's ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def in_batches(items: list[Any], batch: int) -> list[list[Any]]:
    return [items[at : at + batch] for at in range(0, len(items), batch)]
