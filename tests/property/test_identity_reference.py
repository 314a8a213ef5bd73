"""The engine, a plain walk and the written-out rules answer alike.

The workload of the benchmark has hubs and large numbers; the small histories have what it has not:
browsers, time, expiry, events out of order, and persons who meet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

import pytest
from bench.identity import frames
from bench.identity.agreement import (
    digest,
    digests,
    disagreements,
    expected_of,
    reference_of,
    typed,
)
from bench.identity.dict_peer import DictPeer
from bench.identity.engine_peer import EnginePeer, new_engine
from bench.identity.reference import Reference
from bench.identity.workload import DAY_MS, START_MS, WINDOW_MS, Workload, generate

from headwater import _core
from headwater.model.records import IdentifierType, Kind, Record, Trust

EVENTS = 400
HISTORIES = 32
ASKED_EVERY = 40
QUESTIONS = 8
PERSONS = 30
LONG_MS = 150 * DAY_MS
SHORT_MS = 60 * DAY_MS
"""No link of a short history expires. What expires and is seen again later is forgotten or not in
between, which only those can tell who ask for a time in between: long ones are asked for now."""
ASKED_BACK_MS = 7 * DAY_MS
REFERENCE_SAMPLE = 500


def compare(workload: Workload, reference_lookups: int) -> None:
    plain, engine = DictPeer(), EnginePeer()
    for peer in (plain, engine):
        peer.load_links(workload)
        peer.load_clicks(workload)
    oracle = digests(plain, workload.lookups)
    found = digests(engine, workload.lookups)
    assert not disagreements(workload, oracle, found, keeps_customers_apart=True)
    asked = workload.lookups[:reference_lookups]
    by_rules = expected_of(reference_of(workload, asked), workload, asked)
    for lookup, expected, plainly, given in zip(asked, by_rules, oracle, found, strict=False):
        assert digest(expected) == given
        assert lookup.is_conflict or digest(expected) == plainly


def test_a_generated_brand_with_hubs() -> None:
    workload = generate(20_000, 3_000)
    assert workload.hubs
    assert any(asked.is_conflict for asked in workload.lookups)
    compare(workload, len(workload.lookups))


@pytest.mark.slow
def test_a_generated_brand_of_a_million_identifiers() -> None:
    compare(generate(1_000_000, 20_000), REFERENCE_SAMPLE)


def test_the_workload_is_the_same_everywhere() -> None:
    workload = generate(2_000, 100)
    assert digest([*workload.left, *workload.right]) == (3442, 1527)
    assert digest(list(workload.click_on)) == (3000, 1015)
    assert digest([one for asked in workload.lookups for one in asked.starts]) == (169, 1260)


def key(kind: int, number: int) -> bytes:
    return bytes((kind,)) + number.to_bytes(16, "big")


class History:
    """Random events of a few persons; in every second one some identifier meets very many."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.busy = [
            [],
            [key(IdentifierType.VISITOR, 0)],
            [],
            [key(IdentifierType.VISITOR, 1), key(IdentifierType.EMAIL, 1)],
        ][seed % 4]
        self.strays = [0.0, 0.005, 0.01, 0.03][seed // 4 % 4]
        self.strangers = 0
        self.length_ms = LONG_MS if seed % 8 < 5 else SHORT_MS

    def together(self) -> list[bytes]:
        """What one event names: mostly of one person, or a busy identifier and a stranger."""
        draw = self.random
        if self.busy and draw.random() < 0.5:
            self.strangers += 1
            return [draw.choice(self.busy), key(IdentifierType.EXTERNAL_CLICK, self.strangers)]
        person = draw.randrange(PERSONS)
        kinds = draw.sample(list(IdentifierType), draw.randint(1, 4))
        strays = (draw.randrange(PERSONS) if draw.random() < self.strays else person for _ in kinds)
        return [key(kind, number) for kind, number in zip(kinds, strays, strict=True)]

    def events(self) -> Iterator[Record]:
        draw = self.random
        yield frames.program(START_MS)
        for number in range(1, EVENTS + 1):
            now_ms = START_MS + self.length_ms * number // EVENTS
            trust = draw.choice((Trust.SERVER, Trust.BROWSER))
            claim_ms = now_ms - draw.choice((0, 0, 1, draw.randrange(20 * DAY_MS)))
            if draw.random() < 0.3:
                person = draw.randrange(PERSONS)
                known_by = draw.choice((IdentifierType.CUSTOMER, IdentifierType.EMAIL))
                keys = [key(IdentifierType.VISITOR, person), key(known_by, person)]
                keys = keys[: draw.randint(1, 2)]
                yield frames.click(number, claim_ms, keys, trust, now_ms)
            else:
                event = draw.randrange(1 << 64).to_bytes(16, "big")
                yield frames.identify(event, now_ms, trust, self.together(), claim_ms)

    def questions(self, now_ms: int) -> Iterator[tuple[int, list[bytes]]]:
        draw = self.random
        for _ in range(QUESTIONS):
            back_ms = draw.choice((0, draw.randrange(ASKED_BACK_MS)))
            at_ms = now_ms if self.length_ms == LONG_MS else now_ms - back_ms
            yield at_ms, self.together()[:3]


def take(reference: Reference, record: Record) -> None:
    """Has the reference take an event in."""
    at_ms = record.accept_ms if record.claim_ms is None else record.claim_ms
    if record.kind in (Kind.IDENTIFY, Kind.CLICK):
        keys = next(part for part in record.body if isinstance(part, tuple))
        trust = Trust(record.trust)
        reference.observe(record.event_id, record.accept_ms, at_ms, trust, keys)
        if record.kind == Kind.CLICK:
            reference.click(record.event_id, at_ms, trust, keys)


def touches(engine: _core.Engine, at_ms: int, keys: list[bytes]) -> list[bytes]:
    raw = engine.touches(frames.BRAND, frames.question(at_ms, keys), WINDOW_MS)
    (count,) = struct.unpack_from("<I", raw)
    assert len(raw) == 4 + 4 * count
    ids = engine.click_ids(frames.BRAND, raw[4:])
    return [ids[at : at + 16] for at in range(0, len(ids), 16)]


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_small_histories_with_browsers_expiry_and_meetings(seed: int) -> None:
    history = History(seed)
    events = list(history.events())
    engine, reference, log = new_engine(), Reference(), frames.Log()
    for at in range(0, len(events), ASKED_EVERY):
        part = events[at : at + ASKED_EVERY]
        for entry, _ in log.entries(part):
            engine.apply([entry])
        for record in part:
            take(reference, record)
        for at_ms, keys in history.questions(part[-1].accept_ms):
            expected = reference.touches([typed(one) for one in keys], at_ms, WINDOW_MS)
            given = touches(engine, at_ms, keys)
            assert sorted(given) == sorted(click.click_id for click in expected), (at_ms, keys)
            seconds = [int.from_bytes(click_id[:6], "big") // 1000 for click_id in given]
            assert seconds == sorted(seconds, reverse=True), "the newest first"


def test_a_click_stays_under_its_visitor_whatever_else_it_names() -> None:
    """Two customers link nothing, and of nine identifiers the visitor is the weakest."""
    visitors = [key(IdentifierType.VISITOR, number) for number in (1, 2)]
    customers = [key(IdentifierType.CUSTOMER, number) for number in (1, 2)]
    profiles = [key(IdentifierType.PROFILE, number) for number in range(9)]
    made = [
        frames.click(1, START_MS, [*customers, visitors[0]]),
        frames.click(2, START_MS, [*profiles, visitors[1]]),
    ]
    engine, reference = new_engine(), Reference()
    for entry, _ in frames.Log().entries([frames.program(START_MS), *made]):
        engine.apply([entry])
    for record, visitor in zip(made, visitors, strict=True):
        take(reference, record)
        expected = reference.touches([typed(visitor)], START_MS, WINDOW_MS)
        assert [click.click_id for click in expected] == [record.event_id]
        assert touches(engine, START_MS, [visitor]) == [record.event_id]
