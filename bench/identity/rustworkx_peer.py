"""rustworkx: its graph holds the links, our own walk asks it for neighbours."""

from __future__ import annotations

import importlib.metadata
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import rustworkx
from bench.identity.peer import InProcess, in_batches
from bench.identity.workload import WINDOW_MS, Lookup, Workload

Question = tuple[int, list[bytes]]


class RustworkxPeer(InProcess):
    """Nodes by the identifier's bytes, clicks by node."""

    name = f"rustworkx {importlib.metadata.version('rustworkx')}"

    def __init__(self) -> None:
        self._graph: rustworkx.PyGraph[None, None] = rustworkx.PyGraph(multigraph=False)
        self._node: dict[bytes, int] = {}
        self._clicks: dict[int, tuple[list[int], list[int]]] = {}
        self._workload: Workload | None = None

    def load_links(self, workload: Workload) -> int:
        links = 0
        for left, right in workload.plain_links():
            one, two = self._number(workload.key(left)), self._number(workload.key(right))
            self._graph.add_edge(one, two, None)
            links += 1
        return links

    def _number(self, key: bytes) -> int:
        number = self._node.get(key)
        if number is None:
            number = self._node[key] = self._graph.add_node(None)
        return number

    def load_clicks(self, workload: Workload) -> int:
        made = 0
        for on, at_ms, number in workload.plain_clicks():
            node = self._number(workload.key(on))
            line = self._clicks.get(node)
            if line is None:
                line = self._clicks[node] = ([], [])
            line[0].append(at_ms)
            line[1].append(number)
            made += 1
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
        node, clicks, neighbors = self._node, self._clicks, self._graph.neighbors
        met = [node[key] for key in starts if key in node]
        seen = set(met)
        found: list[int] = []
        for number in met:
            line = clicks.get(number)
            if line is not None:
                times, numbers = line
                after = bisect_right(times, at_ms - WINDOW_MS)
                found += numbers[after : bisect_right(times, at_ms)]
            for other in neighbors(number):
                if other not in seen:
                    seen.add(other)
                    met.append(other)
        return found
