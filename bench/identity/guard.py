"""What the limit on neighbours is worth: the same workload without it."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from bench.identity.dict_peer import DictPeer
from bench.identity.workload import Workload

SAMPLE = 200


class Worth(NamedTuple):
    """Components, and a plain walk over them."""

    components: int
    largest: int
    mean_nodes: float
    """Identifiers that a lookup meets."""
    share_in_largest: float
    """Of the lookups, those that end up in the largest component."""
    lookups_per_s: float


def _labels(workload: Workload) -> array[int]:
    """The component of each identifier, by joining along the links that no hub is part of."""
    parent = array("I", range(workload.identifiers))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for left, right in workload.plain_links():
        one, two = root(left), root(right)
        if one != two:
            parent[max(one, two)] = min(one, two)
    return array("I", (root(number) for number in range(workload.identifiers)))


def worth(workload: Workload) -> Worth:
    """The figures with the hubs that the workload names; with none, without any limit."""
    labels = _labels(workload)
    sizes = Counter(labels)
    largest, members = sizes.most_common(1)[0]
    asked = [labels[lookup.starts[0]] for lookup in workload.lookups]
    peer = DictPeer()
    peer.load_links(workload)
    peer.load_clicks(workload)
    arguments = peer.prepare(workload.lookups[:SAMPLE], 1)
    begin_s = time.process_time()
    for argument in arguments:
        peer.call(argument)
    used_s = time.process_time() - begin_s
    return Worth(
        components=len(sizes),
        largest=members,
        mean_nodes=sum(sizes[label] for label in asked) / len(asked),
        share_in_largest=sum(label == largest for label in asked) / len(asked),
        lookups_per_s=len(arguments) / used_s,
    )


def unguarded(workload: Workload) -> Workload:
    """The workload with no identifier called a hub."""
    return replace(workload, hubs=frozenset())
