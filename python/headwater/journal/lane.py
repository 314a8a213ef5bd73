"""Records that wait for their frame, and the frame in flight, of one partition."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from headwater.journal import keys
from headwater.journal.backlog import Backlog
from headwater.journal.resend import xadd_prefix
from headwater.journal.segment import ENTRY
from headwater.journal.spool import Location

# What a record alone in its frame costs on disk beyond its own bytes.
RECORD_COST_BYTES: Final = keys.HEADER_BYTES + ENTRY.size


class Block(Protocol):
    """Several records in one piece, which a frame takes as one."""

    @property
    def size_bytes(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, at: int, /) -> bytes: ...


class Waiter(Protocol):
    """Who is told what became of records."""

    def tell(self, outcome: bool | Exception, number: int, /) -> None:
        """So many are safe, in Redis (True) or on disk alone (False), or are not known to be."""
        ...


class Caller:
    """The waiter of one record: a future, which may have been given up."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[bool]) -> None:
        self._future = future

    def tell(self, outcome: bool | Exception, number: int, /) -> None:  # noqa: ARG002
        if self._future.done():
            return
        if isinstance(outcome, Exception):
            self._future.set_exception(outcome)
        else:
            self._future.set_result(outcome)


Waiting = list[tuple[Waiter, int]]
"""Waiters in the order of their records, each with how many are its."""


class Taken(NamedTuple):
    """What goes by one frame."""

    records: Sequence[bytes | Block]
    number: int
    """Of records, those in blocks too."""
    waiting: Waiting
    cost: int
    """What it was charged."""


class Lane:
    """One frame is in flight; what comes meanwhile makes up the next."""

    __slots__ = (
        "backlog",
        "count",
        "gathered_bytes",
        "in_flight",
        "next_sequence",
        "partition",
        "prefix",
        "records",
        "scheduled",
        "waiting",
    )

    def __init__(self, partition: int, backlog: Backlog) -> None:
        self.partition = partition
        self.backlog = backlog
        self.prefix = xadd_prefix(partition)
        self.records: list[bytes | Block] = []
        self.count = 0
        """Records, those in blocks too."""
        self.waiting: Waiting = []
        self.gathered_bytes = 0
        self.next_sequence = 1
        self.in_flight: Frame | None = None
        self.scheduled = False

    def add(self, records: Sequence[bytes] | Block, waiter: Waiter, cost: int) -> None:
        """Gather records that are charged so much."""
        if isinstance(records, Sequence):
            self.records.extend(records)
        else:
            self.records.append(records)
        self.count += len(records)
        self.waiting.append((waiter, len(records)))
        self.gathered_bytes += cost

    def take(self, records_max: int, bytes_max: int) -> Taken:
        """Remove what fits into one frame."""
        if self.count <= records_max and self.gathered_bytes <= bytes_max:
            taken = Taken(self.records, self.count, self.waiting, self.gathered_bytes)
            self.records, self.waiting, self.count, self.gathered_bytes = [], [], 0, 0
            return taken
        records: list[bytes] = []
        for part in self.records:
            if isinstance(part, bytes):
                records.append(part)
            else:
                records.extend(part[at] for at in range(len(part)))
        size = keys.HEADER_BYTES
        count = 0
        for record in records[:records_max]:
            size += len(record)
            if size > bytes_max and count:
                break
            count += 1
        cost = sum(map(len, records[:count])) + count * RECORD_COST_BYTES
        self.records = list(records[count:])
        self.count -= count
        self.gathered_bytes -= cost
        return Taken(records[:count], count, self._take_waiting(count), cost)

    def _take_waiting(self, count: int) -> Waiting:
        """Remove whoever waits for the first `count` records; the last may wait for more."""
        taken: Waiting = []
        for at, (waiter, number) in enumerate(self.waiting):
            if number > count:
                taken.append((waiter, count))
                self.waiting = [(waiter, number - count), *self.waiting[at + 1 :]]
                return taken
            taken.append((waiter, number))
            count -= number
            if not count:
                self.waiting = self.waiting[at + 1 :]
                return taken
        self.waiting = []
        return taken


class Frame:
    """A frame between the spool and its answer. Its bytes are in the spool, not here."""

    __slots__ = ("first", "lane", "last", "location", "sent_s", "settled", "syncing", "waiting")

    def __init__(self, lane: Lane, first: int, last: int, waiting: Waiting) -> None:
        self.lane = lane
        self.first = first
        self.last = last
        self.waiting = waiting
        self.location = Location(0, 0, 0)
        self.sent_s = 0.0
        self.settled = False
        self.syncing = False

    def settle(self, outcome: bool | Exception) -> None:
        """Tell every waiter."""
        self.settled = True
        waiting, self.waiting = self.waiting, []
        for waiter, number in waiting:
            waiter.tell(outcome, number)
