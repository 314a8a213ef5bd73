"""A connection to an edge, and events that become safe when a test says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import REGISTRY

from edge_tools import Running
from headwater.journal.lane import Block, Waiter


@contextmanager
def opened(edge: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def settle(edge: Running, outcome: bool | Exception = True) -> None:
    """Let the events that wait be safe, and those that follow."""
    edge.writer.outcome = outcome
    waiting, edge.waiting = edge.waiting, []  # type: ignore[attr-defined]
    for waiter in waiting:
        edge.loop.call_soon_threadsafe(waiter.tell, outcome, 1)


def keep_waiting(edge: Running) -> None:
    """From now on no event becomes safe until `settle`."""
    edge.writer.outcome = None
    edge.waiting = []  # type: ignore[attr-defined]
    put = edge.writer.put

    def noted(partition: int, records: Sequence[bytes] | Block, waiter: Waiter) -> None:
        put(partition, records, waiter)
        if edge.writer.outcome is None:
            edge.waiting.extend([waiter] * len(records))  # type: ignore[attr-defined]

    edge.writer.put = noted  # type: ignore[method-assign, assignment]


def value(name: str, **labels: str) -> float:
    """A metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
