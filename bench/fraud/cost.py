"""What scoring costs in the engine: CPU and memory a click, and the longest step of a flood.

    python -m bench.fraud.cost [--clicks 300000] [--flood 1000000]

Times are user CPU of this thread: others may use the machine as well.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgpack
from bench.fraud.events import BEGIN_MS, DAY_MS, HOUR_MS, Maker, caller, visitor
from bench.fraud.world import generate

from headwater import _core
from headwater.limits import FRAME_RECORDS_MAX
from headwater.model.records import Client, ControlBody, Flag, Kind
from headwater.ops.evaluate_feed import PROGRAM, event_id, record

SEED: Final = 20_261_101
ROUNDS: Final = 5
WINDOW_DAYS: Final = 30
_FLAGS, _BODY = 3, 7
_AGENT: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)
Entry = tuple[int, int, bytes]


def user_s() -> float:
    """User CPU of this thread so far, seconds."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_utime


def resident_bytes() -> int:
    """Memory of the process."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Log:
    """Frames of one producer."""

    def __init__(self) -> None:
        self._sequence = 1
        self._entries = 0

    def frame(self, at_ms: int, records: Sequence[bytes]) -> Entry:
        """The next entry of the log."""
        made = _core.encode_frame(0, 7, self._sequence, list(records))
        self._sequence += len(records)
        self._entries += 1
        return at_ms, self._entries, made

    def frames(self, events: Iterable[tuple[int, bytes]]) -> list[Entry]:
        """Full frames, each at the time of its last event."""
        held: list[tuple[int, bytes]] = list(events)
        parts = [held[n : n + FRAME_RECORDS_MAX] for n in range(0, len(held), FRAME_RECORDS_MAX)]
        return [self.frame(part[-1][0], [raw for _, raw in part]) for part in parts]


def control(kind: str, number: int, value: dict[str, object]) -> bytes:
    body = ControlBody(kind, number, 1, value)
    return record(Kind.CONTROL, event_id(BEGIN_MS, number), BEGIN_MS, body)


def program(rules: dict[str, Any]) -> bytes:
    terms = {"window_ms": WINDOW_DAYS * DAY_MS, "status": "active", "fraud": rules}
    return control("program", PROGRAM, terms)


def apart(raw: bytes) -> bytes:
    """The same click as a test: taken in like any other, and held against no other."""
    fields = msgpack.unpackb(raw)
    fields[_BODY][_FLAGS] |= int(Flag.TEST)
    made = msgpack.packb(fields)
    assert isinstance(made, bytes)
    return made


def applied_s(first: bytes, events: Sequence[tuple[int, bytes]]) -> tuple[float, int, int]:
    """What a new engine takes for events, the median of rounds; by how much it and the process
    grew."""
    log = Log()
    head, entries = log.frame(BEGIN_MS, [first]), log.frames(events)
    taken, kept = [], 0
    before = resident_bytes()
    for _ in range(ROUNDS):
        engine = _core.Engine(0)
        engine.apply([head])
        begin_s = user_s()
        for entry in entries:
            engine.apply([entry])
        taken.append(user_s() - begin_s)
        kept = engine.stats()["fraud_bytes"]
        grown = resident_bytes() - before
    return median(taken), kept, grown


def each_click(clicks: int) -> None:
    """What scoring adds to a click."""
    made = generate(SEED, clicks).events
    events = [(event.at_ms, event.raw) for event in made if event.raw[1] == Kind.CLICK]
    off = {signal[1]: {"mode": "off"} for signal in _core.signals()}
    scored_s, kept, grown = applied_s(program({}), events)
    plain_s, _, _ = applied_s(program({"rules": off}), [(at, apart(raw)) for at, raw in events])
    count = len(events)
    print(f"clicks                                  {count}")
    print(f"a click, scored                         {scored_s / count * 1e6:.2f} us")
    print(f"a click, kept apart, all signals off    {plain_s / count * 1e6:.2f} us")
    print(f"scoring adds                            {(scored_s - plain_s) / count * 1e6:.2f} us")
    print(f"state of scoring, as it counts itself   {kept / count:.0f} bytes a click")
    print(f"the process grew at most                {grown / count:.0f} bytes a click")


def each_live_click(clicks: int) -> None:
    """What is kept of a click, when as many days have passed as clicks are live."""
    log = Log()
    engine = _core.Engine(0)
    engine.apply([log.frame(BEGIN_MS, [program({})])])
    made = generate(SEED, clicks, days=WINDOW_DAYS).events
    events = ((event.at_ms, event.raw) for event in made if event.raw[1] == Kind.CLICK)
    for entry in log.frames(events):
        engine.apply([entry])
    kept = engine.stats()
    live = kept["clicks_live"]
    both = kept["clicks_bytes"] + kept["fraud_bytes"]
    print(f"clicks live, of {WINDOW_DAYS} days               {live}")
    print(f"kept of each: row, index, order         {kept['clicks_bytes'] / live:.0f} bytes")
    print(f"with the state of scoring               {both / live:.0f} bytes")


def told(answer: bytes) -> int:
    """Clicks that were scored again."""
    return len(msgpack.unpackb(answer, strict_map_key=False)["decision_revised"])


def person(number: int, at_ms: int) -> Client:
    """One of very many, at home."""
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return caller(address, at_ms, _AGENT)


def flood(clicks: int) -> None:
    """One source floods; hours later that shows, and its clicks are scored again."""
    maker, log = Maker(1), Log()
    later_ms = BEGIN_MS + 13 * HOUR_MS
    step_ms = 6 * HOUR_MS / (clicks + 1)
    for number in range(5000):
        at_ms = BEGIN_MS + number * 1000
        keys = visitor(f"honest {number}")
        maker.click(at_ms, person(number << 8, at_ms), keys, partner=3, link=1, sub="a")
        if number % 10 == 0:
            maker.conversion(at_ms + 600_000, keys)
    for number in range(clicks):
        keys = visitor(f"flood {number}")
        at_ms = BEGIN_MS + int(number * step_ms)
        maker.click(at_ms, person(number, at_ms), keys, partner=5, link=2, sub="b")
    maker.click(later_ms, person(0, later_ms), visitor("later"), partner=3, link=1, sub="a")
    engine = _core.Engine(0)
    kinds = {"program": PROGRAM, "code": "sale", "kind": "sale"}
    engine.apply([log.frame(BEGIN_MS, [program({}), control("event_type", 1, kinds)])])
    events = [(event.at_ms, event.raw) for event in sorted(maker.events)]
    entries = log.frames(events)
    begin_s = user_s()
    for entry in entries:
        engine.apply([entry])
    loaded_s = user_s() - begin_s
    steps, revised, rest = [], 0, True
    while rest:
        later_ms += 1000
        raw = record(Kind.TICK, event_id(later_ms, 0), later_ms, ())
        entry = log.frame(later_ms, [raw])
        begin_s = time.thread_time()
        answer = engine.apply([entry])
        steps.append(time.thread_time() - begin_s)
        said = told(answer)
        revised += said
        rest = said > 0 or len(steps) < 100
    busy_s = sum(steps)
    print(f"a flood of                              {clicks} clicks")
    print(f"taken in                                {loaded_s / clicks * 1e6:.2f} us a click")
    print(f"scored again                            {revised}, in {len(steps)} ticks")
    print(f"a tick: all / longest                   {busy_s:.2f} s / {max(steps) * 1e3:.2f} ms")
    print(f"one click scored again                  {busy_s / max(revised, 1) * 1e6:.2f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=300_000)
    parser.add_argument("--flood", type=int, default=1_000_000)
    options = parser.parse_args()
    each_click(options.clicks)
    each_live_click(options.clicks)
    flood(options.flood)


if __name__ == "__main__":
    main()
