"""The archive as it is and as erasures leave it, through two engines side by side."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from headwater import _core, ids
from headwater.journal.archive import ArchivedEntry
from headwater.ledger.matching import Position
from headwater.matcher.recovery import replay
from headwater.model.records import Kind, decode
from headwater.ops.simulate_replay import head_of, records_of

_CONTROL_HEAD = head_of(Kind.CONTROL)
_ERASURE_HEAD = head_of(Kind.ERASURE)
# Bytes of an id: longer columns hold records, explanations and the like.
_ID_BYTES = 16


@dataclass(slots=True)
class Found:
    """Where in the archive is what erasures have to do with."""

    positions: dict[bytes, Position] = field(default_factory=dict)
    """Of each erasure."""
    firsts: dict[bytes, Position] = field(default_factory=dict)
    """By digest, of the first frame that holds it."""
    configured: dict[bytes, Position] = field(default_factory=dict)
    """By digest, of the first change of the configuration that names it."""

    def first(self, digests: Iterable[bytes]) -> Position | None:
        """Of the first frame that holds any of some digests."""
        return min((self.firsts[each] for each in digests if each in self.firsts), default=None)


def search(
    entries: Iterable[ArchivedEntry], erasures: Collection[bytes], digests: Collection[bytes]
) -> Found:
    """Look through the archive for erasures and digests."""
    found, looked_for = Found(), _core.Digests(list(digests))
    for entry in entries:
        if entry.reason is None:
            for record in _records(entry.frame, _ERASURE_HEAD):
                event_id = decode(record).event_id
                if event_id in erasures:
                    found.positions.setdefault(event_id, entry.position)
        held = looked_for.among(entry.frame)
        for digest in held:
            found.firsts.setdefault(digest, entry.position)
        if held:
            for record in _records(entry.frame, _CONTROL_HEAD):
                for digest in looked_for.among(record):
                    found.configured.setdefault(digest, entry.position)
    return found


def _records(frame: bytes, head: bytes) -> list[bytes]:
    """The records of a kind in a frame; none of one that cannot be read, which is set aside."""
    try:
        return [record for record in records_of(frame, head) if record.startswith(head)]
    except (ValueError, TypeError):
        return []


# ---- Pseudonyms --------------------------------------------------------------------------------


def draw(groups: Iterable[Sequence[tuple[int, bytes]]]) -> dict[bytes, bytes]:
    """A random pseudonym for each digest. Among those erased together, and by them with others, the
    order within a type is kept: identifiers are looked at by type, then digest.
    """
    sets: list[set[tuple[int, bytes]]] = []
    for group in groups:
        joined = set(group)
        apart = []
        for each in sets:
            if joined.isdisjoint(each):
                apart.append(each)
            else:
                joined |= each
        sets = [*apart, joined]
    pairs: dict[bytes, bytes] = {}
    for each in sets:
        for kind in {kind for kind, _digest in each}:
            digests = sorted(digest for other, digest in each if other == kind)
            pairs.update(zip(digests, sorted(ids.pseudonym() for _ in digests), strict=True))
    return pairs


class Pseudonyms:
    """Replaces each digest by its pseudonym, up to the place of its last erasure."""

    def __init__(self, pairs: Mapping[bytes, bytes], last: Mapping[bytes, Position]) -> None:
        self.pairs = pairs
        self._last = last
        self._digests = _core.Digests(list(pairs))

    def _due(self, data: bytes, position: Position) -> list[tuple[bytes, bytes]]:
        return [
            (digest, self.pairs[digest])
            for digest in self._digests.among(data)
            if position <= self._last[digest]
        ]

    def in_entry(self, entry: ArchivedEntry) -> ArchivedEntry:
        """An entry of the archive with its frame as it will be."""
        pairs = self._due(entry.frame, entry.position)
        return entry._replace(frame=_core.replace_in_frame(entry.frame, pairs)) if pairs else entry

    def in_bytes(self, position: Position, data: bytes) -> bytes:
        """What came of a frame at a position."""
        for digest, pseudonym in self._due(data, position):
            data = data.replace(digest, pseudonym)
        return data

    def in_row(self, data: bytes, at_ms: int) -> bytes:
        """A column of a row of that time."""
        return self.in_bytes((at_ms, 0), data)

    def in_set_aside(self, frame: bytes, at_ms: int) -> bytes:
        """A frame in quarantine."""
        return self.in_entry(ArchivedEntry(at_ms, 0, frame, None)).frame


# ---- Engines -----------------------------------------------------------------------------------


def decide_both(
    partition: int,
    entries: Callable[[Position], Iterator[ArchivedEntry]],
    pseudonyms: Pseudonyms,
    first: Position,
) -> dict[Position, bytes] | None:
    """Replay what `entries` gives after a position, as it is and with pseudonyms from `first` on.

    The chain digests of the first engine where the second comes to others; None where they decide
    otherwise, or do not go on alike.
    """
    as_it_was = _core.Engine(partition)
    before = itertools.takewhile(lambda entry: entry.position < first, entries((0, 0)))
    replay(as_it_was, before)
    as_it_will_be = _core.Engine(partition, as_it_was.view().to_bytes())
    touched: dict[Position, bytes] = {}
    for entry in entries(as_it_was.position):
        former = _outcomes(as_it_was, entry)
        changed = pseudonyms.in_entry(entry)
        latter = _outcomes(as_it_will_be, changed._replace(chain_digest=None))
        digest = as_it_was.chain_digest
        if digest == as_it_will_be.chain_digest:
            continue
        if not _are_alike(former, latter, functools.partial(pseudonyms.in_bytes, entry.position)):
            return None
        touched[entry.position] = digest
        as_it_will_be.resume_chain(digest)
    former_state = as_it_was.view().to_comparable_bytes()
    return touched if former_state == as_it_will_be.view().to_comparable_bytes() else None


def _outcomes(engine: _core.Engine, entry: ArchivedEntry) -> bytes:
    outcomes = b""
    if entry.reason is None:
        outcomes = engine.apply([(entry.ms, entry.seq, entry.frame)])
    else:
        engine.skip(entry.ms, entry.seq, entry.frame, entry.reason)
    if entry.chain_digest is not None:
        engine.resume_chain(entry.chain_digest)
    return outcomes


def _are_alike(former: bytes, latter: bytes, change: Callable[[bytes], bytes]) -> bool:
    """Whether two engines' outcomes of a frame are the same but for who is named, and for the order
    in which an explanation names them.
    """
    if former == latter:
        return True
    first, second = (msgpack.unpackb(each, strict_map_key=False) for each in (former, latter))
    return all(_is_alike(value, second[name], change) for name, value in first.items())


def _is_alike(former: Any, latter: Any, change: Callable[[bytes], bytes]) -> bool:
    if isinstance(former, list) and isinstance(latter, list):
        pairs = zip(former, latter, strict=False)
        return len(former) == len(latter) and all(_is_alike(*each, change) for each in pairs)
    if isinstance(former, bytes) and len(former) > _ID_BYTES and isinstance(latter, bytes):
        return sorted(change(former)) == sorted(latter)
    return bool(former == latter)
