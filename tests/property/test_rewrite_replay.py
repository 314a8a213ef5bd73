"""Random logs with erasures: an engine over pseudonyms decides and goes on as the one before it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import _core
from headwater.journal.archive import ArchivedEntry
from headwater.ledger.matching import Position
from headwater.matcher.recovery import replay
from headwater.model.records import IdentifierType
from headwater.ops.rewrite_replay import Pseudonyms, decide_both, draw

T0 = 1_790_000_000_000
HOUR_MS = 3_600_000
DRAWS = 40
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PEOPLE = 6

Identifier = tuple[int, bytes]


def digest(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def identifiers(person: int) -> list[Identifier]:
    names = [(1, "c"), (3, "mail"), (3, "mail again"), (4, "p"), (5, "d"), (8, "v"), (8, "w")]
    return [(kind, digest(person, name)) for kind, name in names]


class Log:
    """A log that somebody rolls dice for; hostile: people share devices within a millisecond."""

    def __init__(self, seed: int, events: int) -> None:
        self._dice = random.Random(seed)
        self._ms, self._count, self._sequence = T0, 0, 1
        self._clicks: list[bytes] = []
        self.entries: list[ArchivedEntry] = []
        self._add(5, ["program", 3, 1, {"window_ms": 240 * HOUR_MS, "status": "active"}])
        for _ in range(events):
            self._ms += self._dice.choice([0, 1, 50, 1000, 60_000, HOUR_MS, 20 * HOUR_MS])
            self._event(self._dice.randrange(PEOPLE))
        self._erase(0)

    def _add(self, kind: int, body: list[Any], trust: int = 1) -> bytes:
        self._count += 1
        event_id = self._ms.to_bytes(6, "big") + self._count.to_bytes(10, "big")
        record = msgpack.packb([kind, event_id, 1, self._ms, None, trust, 4, body])
        frame = _core.encode_frame(0, 42, self._sequence, [record])
        self._sequence += 1
        self.entries.append(ArchivedEntry(self._ms, self._count, frame, None))
        return event_id

    def _some(self, person: int) -> list[Identifier]:
        own = identifiers(person)
        chosen = self._dice.sample(own, self._dice.randrange(1, len(own) + 1))
        if self._dice.random() < 0.05:
            chosen.append(identifiers(self._dice.randrange(PEOPLE))[-1])
        return sorted(set(chosen))

    def _event(self, person: int) -> None:
        kind, trust = self._dice.random(), self._dice.choice([1, 2])
        address = digest(person % 3)[:8]
        network = [address, digest(address)[:8], 0, None, None]
        client = [f"192.0.{person % 3}.0/24", AGENT, None, network, None]
        if kind < 0.4:
            visitor = [identifiers(person)[-1]]
            body = [3, self._dice.randrange(1, 4), 9, 0, visitor, {}, client]
            self._clicks.append(self._add(1, body, 2))
        elif kind < 0.65:
            self._add(3, [3, 0, self._some(person), client], trust)
        elif kind < 0.92:
            order = self._dice.randrange(PEOPLE * 3)
            named = self._dice.choice(self._clicks) if self._clicks and kind < 0.7 else None
            money = [1000, "EUR", None, None, None]
            body = [digest("order", order), 3, 2, f"A-{order}", "main", 0, named]
            body += [self._some(order % PEOPLE), money, None, None, [], {}, client, None, None]
            self._add(4, body, trust)
        elif kind < 0.96:
            self._add(8, [])
        else:
            self._erase(person)

    def _erase(self, person: int) -> None:
        scope = self._dice.choice(["person", "identifier"])
        self._add(7, [scope, False, False, self._some(person)])

    def after(self, position: Position) -> Iterator[ArchivedEntry]:
        return iter([entry for entry in self.entries if entry.position > position])


def erasures_of(log: Log) -> tuple[list[list[Identifier]], dict[bytes, Position]]:
    """What each erasure of a log forgot, and where each digest was erased last."""
    engine, groups, last = _core.Engine(0), [], {}
    for entry in log.entries:
        outcomes = engine.apply([(entry.ms, entry.seq, entry.frame)])
        for row in msgpack.unpackb(outcomes, strict_map_key=False)["erasures"]:
            report = msgpack.unpackb(row[5], strict_map_key=False)
            group = [(k, d) for k, d in report["identifiers"] if k != IdentifierType.CLICK]
            groups.append(group)
            last.update({erased: entry.position for _, erased in group})
    return groups, last


@given(st.integers(0, 2**32), st.integers(10, 120))
@settings(deadline=None, max_examples=30)
def test_a_rewritten_log_replays_to_the_chain_digest_and_state_there_were(
    seed: int, events: int
) -> None:
    log = Log(seed, events)
    groups, last = erasures_of(log)
    first = log.entries[0].position
    for _ in range(DRAWS):
        pseudonyms = Pseudonyms(draw(groups), last)
        touched = decide_both(0, log.after, pseudonyms, first)
        if touched is not None:
            break
    else:
        pytest.fail("no draw decides alike")
    rewritten = [
        pseudonyms.in_entry(entry)._replace(chain_digest=touched.get(entry.position))
        for entry in log.entries
    ]
    before, after = _core.Engine(0), _core.Engine(0)
    replay(before, log.entries)
    replay(after, rewritten)
    assert after.chain_digest == before.chain_digest
    state = after.view().to_comparable_bytes()
    assert state == before.view().to_comparable_bytes()
    for entry, changed in zip(log.entries, rewritten, strict=True):
        gone = {erased for erased, until in last.items() if entry.position <= until}
        assert not any(erased in changed.frame for erased in gone)
        assert (entry.frame == changed.frame) or changed.chain_digest is not None
    # What was erased by the end is nowhere in the state, and what was not is as it was.
    assert not any(erased in state for erased, until in last.items() if until == rewritten[-1][:2])


def test_pseudonyms_keep_the_order_of_those_erased_together() -> None:
    group = [(8, bytes([number]) * 16) for number in (9, 3, 7, 5)]
    group += [(1, bytes([number]) * 16) for number in (4, 2)]
    for _ in range(20):
        pairs = draw([group[:2], group[1:4], group[4:]])
        assert len(set(pairs.values())) == len(group)
        for kind in (1, 8):
            digests = sorted(each for other, each in group if other == kind)
            assert sorted(digests, key=lambda each: pairs[each]) == digests


def test_a_pseudonym_stands_up_to_the_last_erasure_and_no_further() -> None:
    erased, other = bytes(range(16)), bytes([7] * 16)
    pseudonyms = Pseudonyms({erased: other}, {erased: (5, 1)})
    assert pseudonyms.in_bytes((5, 1), b"." + erased + b"." + erased) == b"." + other + b"." + other
    assert pseudonyms.in_bytes((5, 2), erased) == erased
    assert pseudonyms.in_row(erased, 5) == other
    assert pseudonyms.in_row(erased, 6) == erased


def test_a_decision_that_would_be_another_is_seen() -> None:
    """Two people become one: the sale of the second is credited for the click of the first."""
    log = Log(1, 0)
    log.entries.clear()
    ada, bob = identifiers(0)[-1], identifiers(1)[-1]
    client = [None, AGENT, None, None, None]
    money = [1000, "EUR", None, None, None]
    log._add(5, ["program", 3, 1, {"window_ms": 240 * HOUR_MS, "status": "active"}])
    log._add(1, [3, 1, 9, 0, [ada], {}, client], 2)
    sale = [digest("order"), 3, 2, "A", "main", 0, None, [bob], money]
    log._add(4, [*sale, None, None, [], {}, client, None, None])
    log._add(7, ["identifier", False, False, [ada]])
    last = {ada[1]: log.entries[-1].position}
    first = log.entries[0].position
    apart = Pseudonyms({ada[1]: digest("nobody")}, last)
    assert len(decide_both(0, log.after, apart, first) or {}) == 2
    assert decide_both(0, log.after, Pseudonyms({ada[1]: bob[1]}, last), first) is None
