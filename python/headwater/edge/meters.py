"""Counters of the hot path: summed in plain integers, handed to the metrics a few times a second.

A prometheus counter costs a lock and a write to a mapped file; a redirect does not wait for that.
At most the last tenth of a second is lost with a killed process: the ledger is the truth.
"""

from __future__ import annotations

import bisect
from collections import Counter
from typing import Any

from headwater import metrics

_BOUNDS: tuple[float, ...] = tuple(metrics.EDGE_REQUEST_SECONDS._upper_bounds[:-1])


class Meters:
    """The counters of one edge process."""

    def __init__(self) -> None:
        self._accepted: Counter[str] = Counter()
        self._unaccepted: Counter[str] = Counter()
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, list[float]] = {}
        # A metric that was never counted is there as zero: its absence would read as a fault.
        for kind in ("click", "conversion", "identify"):
            metrics.EVENTS_ACCEPTED.labels(kind)

    def accepted(self, kind: str, number: int = 1) -> None:
        """Events were answered as safe."""
        self._accepted[kind] += number

    def unaccepted(self, reason: str, number: int = 1) -> None:
        """Visitors were redirected and their clicks were not safe."""
        self._unaccepted[reason] += number

    def rejected(self, source: str, reason: str, number: int = 1) -> None:
        """Reports were recorded as rejections."""
        self._rejected[source, reason] += number

    def refused(self, route: str, code: str) -> None:
        """A request was refused."""
        self._refused[route, code] += 1

    def observe(self, route: str, seconds: float, number: int = 1) -> None:
        """Requests of `route` were answered, each after `seconds`."""
        row = self._seconds.get(route)
        if row is None:
            row = self._seconds[route] = [0.0] * (len(_BOUNDS) + 2)
        row[bisect.bisect_left(_BOUNDS, seconds)] += number
        row[-1] += seconds * number

    def flush(self) -> None:
        """Hand what was counted to the metrics of the process."""
        for kind, number in self._accepted.items():
            metrics.EVENTS_ACCEPTED.labels(kind).inc(number)
        for reason, number in self._unaccepted.items():
            metrics.CLICKS_UNACCEPTED.labels(reason).inc(number)
        for (source, reason), number in self._rejected.items():
            metrics.REJECTIONS.labels(source, reason).inc(number)
        for (route, code), number in self._refused.items():
            metrics.REQUESTS_REFUSED.labels(route, code).inc(number)
        for route, row in self._seconds.items():
            _add(metrics.EDGE_REQUEST_SECONDS.labels(route), row)
        self._accepted.clear()
        self._unaccepted.clear()
        self._rejected.clear()
        self._refused.clear()
        self._seconds.clear()


def _add(histogram: Any, row: list[float]) -> None:
    """Add counts per bucket at once: the library's own call takes one observation at a time."""
    for bucket, number in zip(histogram._buckets, row[:-1], strict=True):
        if number:
            bucket.inc(number)
    histogram._sum.inc(row[-1])
