"""Loading, rounds of lookups in turn, and single lookups, each with cold caches."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.identity.engine_peer import EnginePeer
from bench.identity.peer import Peer
from bench.identity.size import alone
from bench.identity.workload import Workload

FLUSHED_BYTES = 64 * 1024 * 1024
_LINE_BYTES = 64
_ballast = bytearray(FLUSHED_BYTES)


def flush_caches() -> None:
    """Writes to every cache line of a buffer twice as large as the last-level cache."""
    lines = len(range(0, FLUSHED_BYTES, _LINE_BYTES))
    _ballast[::_LINE_BYTES] = bytes((_ballast[0] + 1 & 0xFF,)) * lines


@dataclass
class Loaded:
    """One peer's loading; rates are per CPU second, its server's included."""

    links_per_s: float
    clicks_per_s: float
    bytes_per_identifier: float
    bytes_per_click: float


@dataclass
class Series:
    """One way of asking: lookups a second in every round, and single lookups in microseconds."""

    peer: str
    batch: int
    per_cpu_s: list[float] = field(default_factory=list)
    per_wall_s: list[float] = field(default_factory=list)
    p50_us: float | None = None
    p99_us: float | None = None

    @property
    def name(self) -> str:
        return f"{self.peer}, {self.batch} at once" if self.batch > 1 else self.peer


def load(name: str, peer: Peer, workload: Workload) -> Loaded:
    """Loads a peer and takes its size."""
    counts = []
    used_s = []
    for step in (peer.load_links, peer.load_clicks):
        begin_s = _cpu_s(peer)
        counts.append(step(workload))
        # The engine's frames are made by the bench; only applying them is its own work.
        whole_s = _cpu_s(peer) - begin_s
        used_s.append(peer.applied_s if isinstance(peer, EnginePeer) else whole_s)
    links, clicks = peer.size_bytes() or alone(name, workload)
    return Loaded(
        links_per_s=counts[0] / used_s[0],
        clicks_per_s=counts[1] / used_s[1],
        bytes_per_identifier=links / workload.identifiers,
        bytes_per_click=clicks / counts[1],
    )


def _cpu_s(peer: Peer) -> float:
    return time.process_time() + peer.served_cpu_s()


def rounds(peers: Sequence[Peer], workload: Workload, count: int) -> list[Series]:
    """Every peer in turn, round after round, so that what else the machine does hits all."""
    asked: list[tuple[Peer, Series, list[Any]]] = []
    for peer in peers:
        for batch in peer.batches:
            arguments = peer.prepare(workload.lookups, batch)
            asked.append((peer, Series(peer.name, batch), arguments))
    for _ in range(count):
        for peer, series, arguments in asked:
            cpu_s, wall_s = _pass(peer, arguments)
            series.per_cpu_s.append(len(workload.lookups) / cpu_s)
            series.per_wall_s.append(len(workload.lookups) / wall_s)
    for peer, series, arguments in asked:
        if series.batch == 1:
            series.p50_us, series.p99_us = _latencies(peer, arguments)
    return [series for _, series, _ in asked]


def _pass(peer: Peer, arguments: list[Any]) -> tuple[float, float]:
    """CPU and wall seconds of all lookups once."""
    call = peer.call
    flush_caches()
    gc.collect()
    gc.disable()
    cpu_s, wall_s = _cpu_s(peer), time.perf_counter()
    for argument in arguments:
        call(argument)
    cpu_s, wall_s = _cpu_s(peer) - cpu_s, time.perf_counter() - wall_s
    gc.enable()
    return cpu_s, wall_s


def _latencies(peer: Peer, arguments: list[Any]) -> tuple[float, float]:
    """Median and 99th percentile of single lookups, microseconds, the caches cold at first."""
    call = peer.call
    taken = []
    flush_caches()
    gc.disable()
    for argument in arguments:
        begin_ns = time.perf_counter_ns()
        call(argument)
        taken.append(time.perf_counter_ns() - begin_ns)
    gc.enable()
    taken.sort()
    return median(taken) / 1000, taken[len(taken) * 99 // 100] / 1000


def ratio(one: Series, other: Series) -> float:
    """How many times as many lookups per CPU second: the median of the rounds' ratios."""
    return median(a / b for a, b in zip(one.per_cpu_s, other.per_cpu_s, strict=True))
