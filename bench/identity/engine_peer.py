"""The engine itself, through the extension: frames in, `Engine.touches` out."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Sequence
from typing import Any

from bench.identity import frames
from bench.identity.peer import InProcess, in_batches
from bench.identity.workload import WINDOW_MS, Lookup, Workload

from headwater import _core
from headwater.model.records import Record

_FRAMES_IN_A_BATCH = 64


def new_engine() -> _core.Engine:
    return _core.Engine(0)


class EnginePeer(InProcess):
    """One brand in one partition."""

    name = "engine"
    batches: tuple[int, ...] = (1, 16, 256)

    def __init__(self) -> None:
        self.engine = new_engine()
        self.applied_s = 0.0
        """CPU seconds of `apply` in the last load; the frames are made by the bench."""
        self._log = frames.Log()
        self._workload: Workload | None = None

    def load_links(self, workload: Workload) -> int:
        self._apply(frames.links(workload))
        return len(workload.left)

    def load_clicks(self, workload: Workload) -> int:
        self._apply(frames.clicks(workload))
        self._workload = workload
        return len(workload.click_ms)

    def _apply(self, records: Iterable[Record]) -> None:
        self.applied_s = 0.0
        batch: list[frames.Entry] = []
        for entry, _ in self._log.entries(records):
            batch.append(entry)
            if len(batch) == _FRAMES_IN_A_BATCH:
                self._timed(batch)
                batch = []
        if batch:
            self._timed(batch)

    def _timed(self, batch: list[frames.Entry]) -> None:
        begin_s = time.process_time()
        self.engine.apply(batch)
        self.applied_s += time.process_time() - begin_s

    def prepare(self, lookups: Sequence[Lookup], batch: int) -> list[Any]:
        assert self._workload is not None
        parts = in_batches(list(lookups), batch)
        return [(frames.questions(self._workload, part), len(part)) for part in parts]

    def call(self, argument: tuple[bytes, int]) -> tuple[bytes, int]:
        return self.engine.touches(frames.BRAND, argument[0], WINDOW_MS), argument[1]

    def numbers(self, answer: tuple[bytes, int]) -> list[list[int]]:
        return self._told(frames.answers(*answer))

    def _told(self, answers: Sequence[tuple[int, ...]]) -> list[list[int]]:
        """The workload's numbers of clicks, for the engine's."""
        ids = (
            self.engine.click_ids(frames.BRAND, struct.pack(f"<{len(own)}I", *own))
            for own in answers
        )
        return [frames.numbers(frames.tails(each)) for each in ids]

    def own_figures(self) -> dict[str, int]:
        """What the engine says of itself."""
        stats = self.engine.stats()
        wanted = ("identifiers", "clicks_live", "graph_bytes", "clicks_bytes")
        return {name: stats[name] for name in wanted if name in stats}


class UnpackedEnginePeer(EnginePeer):
    """The same engine, its answers made into lists of Python's numbers: what a caller pays who
    wants objects and not bytes."""

    name = "engine, answers as lists"
    batches: tuple[int, ...] = (256,)

    def __init__(self, loaded: EnginePeer) -> None:
        super().__init__()
        self.engine = loaded.engine
        self._workload = loaded._workload

    def call(self, argument: tuple[bytes, int]) -> Any:
        return frames.answers(
            self.engine.touches(frames.BRAND, argument[0], WINDOW_MS), argument[1]
        )

    def numbers(self, answer: Any) -> list[list[int]]:
        return self._told(answer)
