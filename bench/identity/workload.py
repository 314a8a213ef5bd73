"""A synthetic brand of a million identifiers, the same for every peer and every machine.

357,000 visitors of one to eight identifiers (chance of k falls as `k^-1.1`), seven in ten a star
around the first cookie and three in ten a chain; three in a hundred share a household; kiosks and
junk addresses join up to two thousand each. Clicks fall on cookies over 90 days, by activity of a
Pareto distribution. A lookup asks for all clicks of the 30 days before a moment that one to
three identifiers of a visitor lead to, visitors drawn by activity.

Two things keep the question the same for all who answer it: no cookie has more clicks than an
identifier keeps, and a lookup whose answer would need more steps or members than one walk takes
is drawn again. Of the generator only `Random.random` is used, whose stream Python does not change.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from headwater.model.records import IdentifierType

SEED = 20_260_101
START_MS = 1_790_000_000_000
DAY_MS = 86_400_000
SPAN_MS = 90 * DAY_MS
LINKS_SPAN_MS = 3_600_000
"""All links are seen in the first hour: links of cookies live 90 days, so that every link lives at
every lookup and a peer without a notion of expiry has the same answer."""
WINDOW_MS = 30 * DAY_MS
KEY_BYTES = 17
NEIGHBOURS_MAX = 48
NODE_CLICKS_MAX = 64
MEMBERS_MAX = 64
HOPS_MAX = 8
VISITOR_SIZE_MAX = 8
CLICKS_FOR_100 = 150
"""Clicks for a hundred identifiers."""


class Lookup(NamedTuple):
    """One question: identifiers (by number) of a conversion, and its time."""

    at_ms: int
    starts: tuple[int, ...]
    is_conflict: bool
    """Two customers meet: an engine that holds a customer unique cuts, a plain walk does not."""


@dataclass(frozen=True)
class Neighbours:
    """The links of every identifier, packed: of `n`, `ends[first[n]:first[n + 1]]`."""

    first: array[int]
    ends: array[int]

    def of(self, number: int) -> array[int]:
        return self.ends[self.first[number] : self.first[number + 1]]

    def degree(self, number: int) -> int:
        return self.first[number + 1] - self.first[number]


@dataclass(frozen=True)
class Workload:
    """Identifiers are numbered from 0, clicks as they happen."""

    identifiers: int
    visitors: int
    keys: bytes
    """Type and digest of each identifier, 17 bytes."""
    left: array[int]
    right: array[int]
    link_ms: array[int]
    click_on: array[int]
    click_ms: array[int]
    neighbours: Neighbours
    hubs: frozenset[int]
    """Identifiers with more neighbours than one person has: peers get them for nothing."""
    lookups: list[Lookup]
    redrawn: int
    """Lookups drawn again because one walk would not reach all."""

    def key(self, number: int) -> bytes:
        return self.keys[KEY_BYTES * number : KEY_BYTES * (number + 1)]

    def all_keys(self) -> list[bytes]:
        return [self.key(number) for number in range(self.identifiers)]

    def plain_links(self) -> Iterator[tuple[int, int]]:
        """The links that no hub is part of."""
        hubs = self.hubs
        for left, right in zip(self.left, self.right, strict=True):
            if left not in hubs and right not in hubs:
                yield left, right

    def plain_clicks(self) -> Iterator[tuple[int, int, int]]:
        """Identifier, time and number of the clicks that were not made on a hub."""
        hubs = self.hubs
        for number, (on, at_ms) in enumerate(zip(self.click_on, self.click_ms, strict=True)):
            if on not in hubs:
                yield on, at_ms, number


class _Draft:
    """Identifiers and links while they are made."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.chance = chance
        self.types: list[int] = []
        self.pairs: list[tuple[int, int]] = []
        self.first_of: list[int] = []
        """First identifier of each visitor: a cookie."""
        self.end = 0
        """Where the visitors' identifiers end and the hubs begin."""

    def own(self, visitor: int) -> range:
        """A visitor's identifiers."""
        after = visitor + 1
        end = self.first_of[after] if after < len(self.first_of) else self.end
        return range(self.first_of[visitor], end)

    def below(self, bound: int) -> int:
        return int(self.chance() * bound)

    def visitor(self, size: int) -> None:
        first = len(self.types)
        self.first_of.append(first)
        self.types.append(IdentifierType.VISITOR)
        for _ in range(size - 1):
            self.types.append(self._type(first))
        is_star = self.chance() < 0.7
        for number in range(first + 1, first + size):
            self.pairs.append((first if is_star else number - 1, number))
        self.end = first + size

    def _type(self, first: int) -> int:
        """A visitor has at most one customer number; a second becomes one more cookie."""
        drawn = self.chance()
        if drawn < 0.2:
            return IdentifierType.EXTERNAL_CLICK
        if drawn < 0.35:
            return IdentifierType.EMAIL
        if drawn < 0.55:
            return IdentifierType.DEVICE
        if drawn < 0.7 and IdentifierType.CUSTOMER not in self.types[first:]:
            return IdentifierType.CUSTOMER
        return IdentifierType.VISITOR

    def households(self) -> None:
        visitors = len(self.first_of)
        met = set()
        for number in range(visitors):
            other = self.below(visitors)
            if self.chance() < 0.03 and other != number:
                met.add((min(number, other), max(number, other)))
        self.pairs += [(self.first_of[one], self.first_of[two]) for one, two in sorted(met)]

    def hub(self, kind: IdentifierType, degree: int) -> None:
        """One identifier joined to so many visitors, at the strongest each of them has."""
        hub = len(self.types)
        self.types.append(kind)
        visitors = len(self.first_of)
        joined: set[int] = set()
        while len(joined) < min(degree, visitors // 2):
            joined.add(self.below(visitors))
        for visitor in sorted(joined):
            strongest = min(self.own(visitor), key=lambda number: (self.types[number], number))
            self.pairs.append((strongest, hub))


def _draft(identifiers: int, chance: Callable[[], float]) -> _Draft:
    draft = _Draft(chance)
    kiosks = max(identifiers // 10_000, 1)
    junk = max(identifiers // 100_000, 1)
    weights = list(accumulate(size**-1.1 for size in range(1, VISITOR_SIZE_MAX + 1)))
    room = identifiers - kiosks - junk
    while room > 0:
        size = 1 + bisect_right(weights, chance() * weights[-1])
        size = min(size, VISITOR_SIZE_MAX, room)
        draft.visitor(size)
        room -= size
    draft.households()
    for _ in range(kiosks):
        draft.hub(IdentifierType.VISITOR, min(int(50 * (1 - chance()) ** -1.0), 2000))
    for _ in range(junk):
        draft.hub(IdentifierType.EMAIL, 2000)
    return draft


def _pack(pairs: list[tuple[int, int]], identifiers: int) -> Neighbours:
    first = array("I", bytes(4 * (identifiers + 1)))
    for left, right in pairs:
        first[left + 1] += 1
        first[right + 1] += 1
    first = array("I", accumulate(first))
    at = array("I", first)
    ends = array("I", bytes(8 * len(pairs)))
    for left, right in pairs:
        ends[at[left]] = right
        at[left] += 1
        ends[at[right]] = left
        at[right] += 1
    return Neighbours(first, ends)


def _clicks(types: list[int], chance: Callable[[], float]) -> tuple[array[int], array[int]]:
    """Cookie and time of each click, in order of time; no cookie has more than it keeps."""
    total = len(types) * CLICKS_FOR_100 // 100
    cookies = [n for n, kind in enumerate(types) if kind == IdentifierType.VISITOR]
    activity = list(accumulate(min((1 - chance()) ** (-1 / 1.16), 1000.0) for _ in cookies))
    made = [0] * len(cookies)
    on = array("I")
    while len(on) < total:
        drawn = min(bisect_right(activity, chance() * activity[-1]), len(cookies) - 1)
        if made[drawn] < NODE_CLICKS_MAX:
            made[drawn] += 1
            on.append(cookies[drawn])
    begin_ms = START_MS + LINKS_SPAN_MS
    length_ms = SPAN_MS - LINKS_SPAN_MS
    times = sorted(begin_ms + int(chance() * length_ms) for _ in range(total))
    return on, array("Q", times)


def reach(
    neighbours: Neighbours, hubs: frozenset[int], starts: tuple[int, ...]
) -> tuple[list[int], int]:
    """What a walk without bounds meets, and how many steps it takes."""
    met = [start for start in starts if start not in hubs]
    seen = set(met)
    steps = 0
    edge = met
    while edge:
        found = []
        for number in edge:
            for other in neighbours.of(number):
                if other not in seen and other not in hubs:
                    seen.add(other)
                    found.append(other)
        steps += bool(found)
        met = met + found
        edge = found
    return met, steps


def generate(identifiers: int = 1_000_000, lookups: int = 20_000, seed: int = SEED) -> Workload:
    """The workload of so many identifiers; of equal arguments always the same."""
    chance = Random(seed).random
    draft = _draft(identifiers, chance)
    types, first_of = draft.types, draft.first_of
    mixed = [chance() for _ in draft.pairs]
    pairs = [draft.pairs[at] for at in sorted(range(len(mixed)), key=mixed.__getitem__)]
    neighbours = _pack(pairs, identifiers)
    hubs = frozenset(n for n in range(identifiers) if neighbours.degree(n) > NEIGHBOURS_MAX)
    click_on, click_ms = _clicks(types, chance)
    asked: list[Lookup] = []
    redrawn = 0
    while len(asked) < lookups:
        on = click_on[int(chance() * len(click_on))]
        visitor = bisect_right(first_of, on) - 1
        own = [on] if on in hubs else list(draft.own(visitor))
        wanted = min(1 + int(chance() * 3), len(own))
        starts = tuple(own.pop(int(chance() * len(own))) for _ in range(wanted))
        at_ms = START_MS + WINDOW_MS + int(chance() * (SPAN_MS - WINDOW_MS))
        met, steps = reach(neighbours, hubs, starts)
        if len(met) > MEMBERS_MAX or steps > HOPS_MAX:
            redrawn += 1
            continue
        customers = sum(types[number] == IdentifierType.CUSTOMER for number in met)
        asked.append(Lookup(at_ms, starts, customers > 1))
    return Workload(
        identifiers=identifiers,
        visitors=len(first_of),
        keys=b"".join(_key(seed, number, kind) for number, kind in enumerate(types)),
        left=array("I", (left for left, _ in pairs)),
        right=array("I", (right for _, right in pairs)),
        link_ms=array("Q", (START_MS + n * LINKS_SPAN_MS // len(pairs) for n in range(len(pairs)))),
        click_on=click_on,
        click_ms=click_ms,
        neighbours=neighbours,
        hubs=hubs,
        lookups=asked,
        redrawn=redrawn,
    )


def _key(seed: int, number: int, kind: int) -> bytes:
    digest = hashlib.blake2b(b"%d:%d" % (seed, number), digest_size=16).digest()
    return bytes((kind,)) + digest
