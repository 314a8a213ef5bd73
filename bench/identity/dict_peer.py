"""The plain answer: two dictionaries and a breadth-first walk. Also the oracle of all others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from bench.identity.peer import InProcess, in_batches
from bench.identity.workload import WINDOW_MS, Lookup, Workload

Question = tuple[int, list[bytes]]


class DictPeer(InProcess):
    """Neighbours and clicks by the identifier's 17 bytes."""

    name = "dict"

    def __init__(self) -> None:
        self._near: dict[bytes, list[bytes]] = {}
        self._clicks: dict[bytes, tuple[list[int], list[int]]] = {}
        self._keys: list[bytes] = []
        self._workload: Workload | None = None

    def load_links(self, workload: Workload) -> int:
        keys = self._keys = workload.all_keys()
        near = self._near
        links = 0
        for left, right in workload.plain_links():
            one, two = keys[left], keys[right]
            near.setdefault(one, []).append(two)
            near.setdefault(two, []).append(one)
            links += 1
        return links

    def load_clicks(self, workload: Workload) -> int:
        keys = self._keys
        clicks = self._clicks
        made = 0
        for on, at_ms, number in workload.plain_clicks():
            line = clicks.get(keys[on])
            if line is None:
                line = clicks[keys[on]] = ([], [])
            line[0].append(at_ms)
            line[1].append(number)
            made += 1
        self._keys = []
        self._workload = workload
        return made

    def prepare(self, lookups: Sequence[Lookup], batch: int) -> list[Any]:
        assert self._workload is not None
        key = self._workload.key
        return in_batches(
            [(asked.at_ms, [key(start) for start in asked.starts]) for asked in lookups], batch
        )

    def call(self, argument: list[Question]) -> list[list[int]]:
        return [self._answer(at_ms, starts) for at_ms, starts in argument]

    def _answer(self, at_ms: int, starts: list[bytes]) -> list[int]:
        near, clicks = self._near, self._clicks
        met = list(starts)
        seen = set(starts)
        found: list[int] = []
        for key in met:
            line = clicks.get(key)
            if line is not None:
                times, numbers = line
                after = bisect_right(times, at_ms - WINDOW_MS)
                found += numbers[after : bisect_right(times, at_ms)]
            for other in near.get(key, ()):
                if other not in seen:
                    seen.add(other)
                    met.append(other)
        return found
