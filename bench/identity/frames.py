"""The workload as frames of the log, the only way into the engine."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from bench.identity.workload import DAY_MS, START_MS, Lookup, Workload

from headwater import _core
from headwater.limits import FRAME_RECORDS_MAX
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    ControlBody,
    IdentifyBody,
    Kind,
    Record,
    Source,
    Trust,
    encode,
)

BRAND = 1
PROGRAM = 1
PARTNERS = 50
KEPT_MS = 120 * DAY_MS
"""The program's click window: all clicks of the workload stay live to its end."""
_FRAME_SPAN_MS = 3_600_000
_PRODUCER = 7
_MASK = (1 << 64) - 1
_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835 & _MASK
_GATHER = pow(_SPREAD, -1, 1 << 64)

Entry = tuple[int, int, bytes]


def _tail(number: int) -> bytes:
    """Eight bytes as even as random ones, from which the number can be read again."""
    return (number * _SPREAD & _MASK).to_bytes(8, "big")


def click_id(at_ms: int, number: int) -> bytes:
    """The id of a click, made as the edge makes it: the time first, then what looks random."""
    return at_ms.to_bytes(6, "big") + bytes(2) + _tail(number)


def tails(ids: bytes) -> tuple[int, ...]:
    """The last eight bytes of many click ids in a row."""
    return struct.unpack(">" + "8xQ" * (len(ids) // 16), ids)


def numbers(ids: Iterable[int]) -> list[int]:
    """The numbers of clicks, from the tails of their ids."""
    return [tail * _GATHER & _MASK for tail in ids]


def program(at_ms: int) -> Record:
    """A program whose clicks live to the end of the workload."""
    body = ControlBody("program", PROGRAM, 1, {"window_ms": KEPT_MS})
    return Record(
        Kind.CONTROL, click_id(at_ms, 0), BRAND, at_ms, None, Trust.SERVER, Source.CONSOLE, body
    )


def identify(
    event: bytes,
    at_ms: int,
    trust: Trust,
    keys: Iterable[bytes],
    claim_ms: int | None = None,
) -> Record:
    """Identifiers of 17 bytes, seen together."""
    listed = tuple((key[0], key[1:]) for key in keys)
    body = IdentifyBody(PROGRAM, 0, listed, NO_CLIENT)
    return Record(Kind.IDENTIFY, event, BRAND, at_ms, claim_ms, trust, Source.S2S, body)


def click(
    number: int,
    at_ms: int,
    keys: Iterable[bytes],
    trust: Trust = Trust.SERVER,
    accept_ms: int | None = None,
) -> Record:
    """A click, accepted as it happened unless another time is given."""
    listed = tuple((key[0], key[1:]) for key in keys)
    body = ClickBody(PROGRAM, 1 + number % PARTNERS, 0, 0, listed, {}, NO_CLIENT)
    known_ms, claim_ms = (at_ms, None) if accept_ms is None else (accept_ms, at_ms)
    event = click_id(at_ms, number)
    return Record(Kind.CLICK, event, BRAND, known_ms, claim_ms, trust, Source.S2S, body)


def link_event(number: int) -> bytes:
    """The id of the event that names the two ends of a link."""
    return START_MS.to_bytes(6, "big") + bytes((0xFF, 0xFF)) + _tail(number)


def links(workload: Workload) -> Iterator[Record]:
    """Every link, hubs' too, as a server's observation; the program first."""
    yield program(START_MS)
    key = workload.key
    for number, at_ms in enumerate(workload.link_ms):
        pair = (key(workload.left[number]), key(workload.right[number]))
        yield identify(link_event(number), at_ms, Trust.SERVER, pair)


def clicks(workload: Workload) -> Iterator[Record]:
    for number, at_ms in enumerate(workload.click_ms):
        yield click(number, at_ms, [workload.key(workload.click_on[number])])


class Log:
    """Puts records, in order of their time, into frames of at most an hour."""

    def __init__(self) -> None:
        self._sequence = 1
        self._entries = 0

    def entries(self, records: Iterable[Record]) -> Iterator[tuple[Entry, int]]:
        """Entries of the stream, and the records in each."""
        held: list[bytes] = []
        first_ms = last_ms = 0
        for record in records:
            is_late = bool(held) and record.accept_ms - first_ms > _FRAME_SPAN_MS
            if is_late or len(held) == FRAME_RECORDS_MAX:
                yield self._entry(last_ms, held), len(held)
                held = []
            if not held:
                first_ms = record.accept_ms
            last_ms = record.accept_ms
            held.append(encode(record))
        if held:
            yield self._entry(last_ms, held), len(held)

    def _entry(self, at_ms: int, records: list[bytes]) -> Entry:
        frame = _core.encode_frame(0, _PRODUCER, self._sequence, records)
        self._sequence += len(records)
        self._entries += 1
        return at_ms, self._entries, frame


def question(at_ms: int, keys: Sequence[bytes]) -> bytes:
    """A lookup as `Engine.touches` takes it."""
    return struct.pack("<QB", at_ms, len(keys)) + b"".join(keys)


def questions(workload: Workload, lookups: Sequence[Lookup]) -> bytes:
    key = workload.key
    return b"".join(
        question(asked.at_ms, [key(start) for start in asked.starts]) for asked in lookups
    )


def answers(raw: bytes, lookups: int) -> list[tuple[int, ...]]:
    """The clicks of each lookup by the engine's numbers, from what `Engine.touches` gave."""
    at = 0
    found = []
    for _ in range(lookups):
        (count,) = struct.unpack_from("<I", raw, at)
        at += 4
        found.append(struct.unpack_from(f"<{count}I", raw, at))
        at += 4 * count
    if at != len(raw):
        raise ValueError(f"{len(raw) - at} bytes after the last answer")
    return found
