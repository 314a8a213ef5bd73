"""One engine, fed as the matcher feeds its own: records in frames, in order, outcomes read back.

The scene is the same for every format: one brand, one program, partners without terms of their
own, the program's fraud rules and the list of bots as control records at the head of the log.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from headwater import _core, limits
from headwater.errors import HeadwaterError
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    Client,
    ControlBody,
    ConversionBody,
    Kind,
    Money,
    Network,
    Record,
    Source,
    Trust,
    encode,
)
from headwater.ops.evaluate_bots import BotList, chunks

BRAND: Final = 1
PROGRAM: Final = 1
EVENT_TYPE: Final = 1
DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_PARTITION: Final = 0
_PRODUCER: Final = 7
_NO_MONEY: Final = Money(0, "EUR", None, None, None)


class ClickRow(NamedTuple):
    """A click among an engine's outcomes."""

    click_id: bytes
    brand: int
    program: int
    partner: int
    link: int
    accept_ms: int
    touch_ms: int
    trust: int
    source: int
    flags: int
    verdict: str
    counted: str
    is_unique: int
    score: int
    raw_ppm: int
    fraud: bytes
    record: bytes


class Revised(NamedTuple):
    """A click that was scored again, for something that was learned later."""

    click_id: bytes
    brand: int
    at_ms: int
    revision: int
    verdict: str
    counted: str
    is_unique: int
    score: int
    raw_ppm: int
    fraud: bytes
    cause: str
    cause_event_id: bytes | None


class Outcomes(NamedTuple):
    """What came of the records of one or more frames."""

    clicks: list[ClickRow]
    revised: list[Revised]
    conversions: list[list[Any]]


NONE: Final = Outcomes([], [], [])


def event_id(at_ms: int, number: int) -> bytes:
    """An id as the edge makes them, but for the number where chance would stand."""
    return at_ms.to_bytes(6, "big") + number.to_bytes(10, "big")


def number_of(event: bytes) -> int:
    """The number in an id of `event_id`."""
    return int.from_bytes(event[6:], "big")


@functools.lru_cache(maxsize=limits.ADDRESSES_REMEMBERED_MAX)
def _address_digest(day: int, address: str) -> bytes:
    return hashlib.blake2b(f"{day}:{address}".encode(), digest_size=8).digest()


def network(address: str, at_ms: int, flags: int = 0) -> Network:
    """The network of an address: digests that meet for two days, as the edge's do."""
    day = at_ms // DAY_MS
    before = _address_digest(day - 1, address)
    return Network(_address_digest(day, address), before, flags, None, None)


def digest(text: str) -> bytes:
    """The 16 bytes that stand for an identifier."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def record(kind: Kind, event: bytes, at_ms: int, body: tuple[object, ...]) -> bytes:
    """A record as the edge would write it: clicks and page views come from browsers."""
    if kind is Kind.CLICK:
        trust, source = Trust.BROWSER, Source.LINK
    elif kind is Kind.PAGE_VIEW:
        trust, source = Trust.BROWSER, Source.TAG
    else:
        trust, source = Trust.SERVER, Source.S2S
    return encode(Record(kind, event, BRAND, at_ms, None, trust, source, body))


class Feed:
    """Engines of one brand and program, one for each set of fraud rules, that all take the same
    records. Records are given in order of time."""

    def __init__(
        self,
        begin_ms: int,
        rules: Sequence[Mapping[str, Any]] = ({},),
        *,
        bots: BotList | None = None,
        window_ms: int = DAY_MS,
        kinds: Sequence[str] = ("sale",),
    ) -> None:
        self._engines = [_core.Engine(_PARTITION) for _ in rules]
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._first_ms = self._last_ms = begin_ms
        self._sequence = 1
        self._entries = 0
        self._number = 0
        for engine, fraud in zip(self._engines, rules, strict=True):
            terms = {"window_ms": window_ms, "status": "active", "fraud": dict(fraud)}
            self._control(engine, "program", PROGRAM, BRAND, terms)
        self._told()
        listed: list[tuple[str, int, int, dict[str, object]]] = [
            ("event_type", number, BRAND, {"program": PROGRAM, "code": kind, "kind": kind})
            for number, kind in enumerate(kinds, EVENT_TYPE)
        ]
        if bots is not None:
            listed += [("bot_list", number, 0, value) for number, value in chunks(bots)]
        for control in listed:
            for engine in self._engines:
                self._control(engine, *control)
            self._told()

    def _control(
        self, engine: _core.Engine, kind: str, number: int, brand: int, value: dict[str, object]
    ) -> None:
        body = ControlBody(kind, number, 1, value)
        at_ms, event = self._last_ms, event_id(self._last_ms, self._sequence)
        head = (Kind.CONTROL, event, brand, at_ms, None, Trust.SERVER, Source.CONSOLE)
        raw = encode(Record(*head, body))
        frame = _core.encode_frame(_PARTITION, _PRODUCER, self._sequence, [raw])
        engine.apply([(at_ms, self._entries + 1, frame)])

    def _told(self) -> None:
        """One more record has gone to every engine."""
        self._sequence += 1
        self._entries += 1
        self._number += 1

    @property
    def is_full(self) -> bool:
        """Whether it is time to take the outcomes of what was given."""
        return (
            len(self._held) >= limits.FRAME_RECORDS_MAX
            or self._held_bytes >= limits.FRAME_BYTES_MAX
        )

    def click(
        self,
        at_ms: int,
        client: Client,
        *,
        partner: int = 1,
        link: int = 1,
        params: Mapping[str, str] | None = None,
    ) -> bytes:
        """Give a click; its id."""
        body = ClickBody(PROGRAM, partner, link, 0, (), dict(params or {}), client)
        return self._made(Kind.CLICK, at_ms, body)

    def conversion(self, at_ms: int, *, order: str, click_id: bytes) -> bytes:
        """Give a conversion as a server reports it; its conversion id."""
        body = ConversionBody(
            *(event_id(at_ms, self._number + 1), PROGRAM, EVENT_TYPE, order, "main", 0, click_id),
            identifiers=(),
            money=_NO_MONEY,
            promo_code=None,
            customer_status=None,
            items=(),
            params={},
            client=NO_CLIENT,
            refused=None,
        )
        return self._made(Kind.CONVERSION, at_ms, body)

    def _made(self, kind: Kind, at_ms: int, body: tuple[object, ...]) -> bytes:
        self._number += 1
        event = event_id(at_ms, self._number)
        self.give(at_ms, record(kind, event, at_ms, body))
        return event

    def give(self, at_ms: int, raw: bytes) -> None:
        """Give a record in its wire form."""
        if not self._held:
            self._first_ms = at_ms
        self._held.append(raw)
        self._held_bytes += len(raw)
        # The log's own time never goes back, whatever stands in a record.
        self._last_ms = max(self._last_ms, at_ms)

    def is_due(self, at_ms: int) -> bool:
        """Whether what is held should go before a record of that time is given: a frame is the
        work of a moment, and a day's records in one would reach the engine at the last's time."""
        return self.is_full or (bool(self._held) and at_ms - self._first_ms > _HOUR_MS)

    def flush(self) -> list[Outcomes]:
        """Apply what was given since; what came of it in each engine. Raises HeadwaterError."""
        if not self._held:
            return [NONE for _ in self._engines]
        try:
            frame = _core.encode_frame(_PARTITION, _PRODUCER, self._sequence, self._held)
            self._entries += 1
            entry = (self._last_ms, self._entries, frame)
            answers = [engine.apply([entry]) for engine in self._engines]
        except _core.CoreError as error:
            raise HeadwaterError(f"the engine does not take this: {error}") from error
        self._sequence += len(self._held)
        self._held = []
        self._held_bytes = 0
        return [_outcomes(answer) for answer in answers]


def _outcomes(answer: bytes) -> Outcomes:
    found = msgpack.unpackb(answer, strict_map_key=False)
    if found["quarantined"]:
        raise HeadwaterError(f"the engine set records aside: {found['quarantined'][0]}")
    return Outcomes(
        [ClickRow._make(row) for row in found["clicks"]],
        [Revised._make(row) for row in found["decision_revised"]],
        found["conversions"],
    )


def plain(user_agent: str, address: str, at_ms: int) -> Client:
    """A caller of whom only user agent and address are known: no header is said to be missing."""
    return Client(None, user_agent or None, None, network(address, at_ms), None)
