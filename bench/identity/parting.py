"""What is cut where two persons have met, by the two policies of docs/identity.md."""

from __future__ import annotations

from typing import NamedTuple

from headwater.model.records import IdentifierType, Trust

Key = tuple[int, bytes]
"""Type and digest; compared so, the stronger type is the smaller."""


class Hop(NamedTuple):
    """A live link between two identifiers that were met; one < two."""

    one: Key
    two: Key
    trust: Trust
    last_ms: int


def is_customer(key: Key) -> bool:
    return key[0] == IdentifierType.CUSTOMER


def last_login(met: set[Key], starts: list[Key], hops: set[Hop]) -> tuple[set[Key], list[Hop]]:
    """Takes the newest links first, and refuses what would join two customers."""
    group = {key: {key} for key in met}

    def join(one: Key, two: Key) -> bool:
        if group[one] is group[two]:
            return True
        joined = group[one] | group[two]
        if sum(map(is_customer, joined)) > 1:
            return False
        for key in joined:
            group[key] = joined
        return True

    for start in starts:
        join(starts[0], start)
    order = sorted(
        hops, key=lambda hop: (hop.trust, -hop.last_ms, hop.one[0] + hop.two[0], hop.one, hop.two)
    )
    cut = [hop for hop in order if not join(hop.one, hop.two)]
    return group[starts[0]], cut


def isolated(met: set[Key], starts: list[Key], hops: set[Hop]) -> tuple[set[Key], list[Hop]]:
    """Leaves out what might be of either of two persons."""
    near: dict[Key, set[Key]] = {key: set() for key in met}
    for hop in hops:
        near[hop.one].add(hop.two)
        near[hop.two].add(hop.one)
    owners = _owners(met, near)

    def is_contested(key: Key) -> bool:
        of_others = any(owners[other] != owners[key] for other in near[key] if owners[other])
        return len(owners[key]) > 1 or (bool(owners[key]) and of_others)

    contested = {key for key in met if not is_customer(key) and is_contested(key)}
    cut = sorted(hop for hop in hops if {hop.one, hop.two} & contested)
    if starts[0] in contested:
        return {key for key in starts if key in contested or not is_customer(key)}, cut
    kept = {starts[0]}
    edge = [starts[0]]
    for key in edge:
        for other in near[key] - contested - kept:
            kept.add(other)
            edge.append(other)
    return kept, cut


def _owners(met: set[Key], near: dict[Key, set[Key]]) -> dict[Key, set[Key]]:
    """The customers that each identifier is fewest links away from."""
    owners: dict[Key, set[Key]] = {key: {key} if is_customer(key) else set() for key in met}
    edge = {key for key in met if is_customer(key)}
    done = set(edge)
    while edge:
        after = {other for key in edge for other in near[key]} - done
        for key in after:
            owners[key] = set().union(*(owners[other] for other in near[key] & edge))
        done |= after
        edge = after
    return owners
