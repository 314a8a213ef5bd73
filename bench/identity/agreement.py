"""All must answer alike: count and xor of the click numbers of every lookup."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import xor

from bench.identity import frames
from bench.identity.parting import Key
from bench.identity.peer import Peer
from bench.identity.reference import Reference
from bench.identity.workload import KEY_BYTES, WINDOW_MS, Lookup, Workload, reach

from headwater.model.records import Trust

Digest = tuple[int, int]


def digest(numbers: Sequence[int]) -> Digest:
    """Count and xor of click numbers, whatever their order."""
    return len(numbers), reduce(xor, numbers, 0)


def digests(peer: Peer, lookups: Sequence[Lookup]) -> list[Digest]:
    """What a peer answers, lookup by lookup."""
    return [
        digest(numbers)
        for argument in peer.prepare(lookups, max(peer.batches))
        for numbers in peer.numbers(peer.call(argument))
    ]


def typed(key: bytes) -> Key:
    """A key of 17 bytes as the reference has it."""
    assert len(key) == KEY_BYTES
    return key[0], key[1:]


def reference_of(workload: Workload, lookups: Sequence[Lookup]) -> Reference:
    """The reference, holding the part of the workload that these lookups can reach."""
    near = workload.neighbours
    wanted: set[int] = set()
    for asked in lookups:
        met, _ = reach(near, workload.hubs, asked.starts)
        wanted.update(met, asked.starts)
    wanted |= {other for number in wanted for other in near.of(number)} & workload.hubs
    reference = Reference()
    for number, at_ms in enumerate(workload.link_ms):
        left, right = workload.left[number], workload.right[number]
        if left in wanted or right in wanted:
            pair = (typed(workload.key(left)), typed(workload.key(right)))
            reference.observe(frames.link_event(number), at_ms, at_ms, Trust.SERVER, pair)
    for number, at_ms in enumerate(workload.click_ms):
        on = workload.click_on[number]
        if on in wanted:
            name = frames.click_id(at_ms, number)
            reference.click(name, at_ms, Trust.SERVER, [typed(workload.key(on))])
    return reference


def expected_of(
    reference: Reference, workload: Workload, lookups: Sequence[Lookup]
) -> list[list[int]]:
    """Click numbers by the reference, the newest first."""
    found = []
    for asked in lookups:
        starts = [typed(workload.key(start)) for start in asked.starts]
        clicks = reference.touches(starts, asked.at_ms, WINDOW_MS)
        found.append(frames.numbers(frames.tails(b"".join(click.click_id for click in clicks))))
    return found


def disagreements(
    workload: Workload, oracle: list[Digest], found: list[Digest], *, keeps_customers_apart: bool
) -> list[int]:
    """The lookups (by number) that were answered otherwise than by the oracle, or, where two
    customers meet and the peer keeps them apart, otherwise than by the reference."""
    lookups = workload.lookups
    apart = [n for n, asked in enumerate(lookups) if asked.is_conflict and keeps_customers_apart]
    wanted = list(oracle)
    if apart:
        met = [lookups[number] for number in apart]
        by_reference = expected_of(reference_of(workload, met), workload, met)
        for number, numbers in zip(apart, by_reference, strict=True):
            wanted[number] = digest(numbers)
    pairs = zip(wanted, found, strict=True)
    return [number for number, (expected, given) in enumerate(pairs) if expected != given]
