"""Records that wait for their frame, and the frame in flight, of one partition."""

from __future__ import annotations

from typing import Final, Protocol

from headwater.journal import keys
from headwater.journal.backlog import Backlog
from headwater.journal.resend import xadd_prefix
from headwater.journal.segment import ENTRY
from headwater.journal.spool import Location

# What a record alone in its frame costs on disk beyond its own bytes.
RECORD_COST_BYTES: Final = keys.HEADER_BYTES + ENTRY.size


class Waiter(Protocol):
    """Who is told what became of a record: a future, or what passes for one."""

    def done(self) -> bool: ...
    def set_result(self, is_in_redis: bool, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Lane:
    """One frame is in flight; what comes meanwhile makes up the next."""

    __slots__ = (
        "backlog",
        "futures",
        "gathered_bytes",
        "in_flight",
        "next_sequence",
        "partition",
        "prefix",
        "records",
        "scheduled",
    )

    def __init__(self, partition: int, backlog: Backlog) -> None:
        self.partition = partition
        self.backlog = backlog
        self.prefix = xadd_prefix(partition)
        self.records: list[bytes] = []
        self.futures: list[Waiter] = []
        self.gathered_bytes = 0
        self.next_sequence = 1
        self.in_flight: Frame | None = None
        self.scheduled = False

    def take(self, records_max: int, bytes_max: int) -> tuple[list[bytes], list[Waiter], int]:
        """Remove what fits into one frame: records, their futures, what they were charged."""
        records, futures, cost = self.records, self.futures, self.gathered_bytes
        if len(records) <= records_max and cost <= bytes_max:
            self.records, self.futures, self.gathered_bytes = [], [], 0
            return records, futures, cost
        size = keys.HEADER_BYTES
        count = 0
        for record in records[:records_max]:
            size += len(record)
            if size > bytes_max and count:
                break
            count += 1
        taken = records[:count]
        cost = sum(map(len, taken)) + count * RECORD_COST_BYTES
        self.records, self.futures = records[count:], futures[count:]
        self.gathered_bytes -= cost
        return taken, futures[:count], cost


class Frame:
    """A frame between the spool and its answer. Its bytes are in the spool, not here."""

    __slots__ = ("first", "futures", "lane", "last", "location", "sent_s", "settled", "syncing")

    def __init__(self, lane: Lane, first: int, last: int, futures: list[Waiter]) -> None:
        self.lane = lane
        self.first = first
        self.last = last
        self.futures = futures
        self.location = Location(0, 0, 0)
        self.sent_s = 0.0
        self.settled = False
        self.syncing = False

    def settle(self, outcome: bool | Exception) -> None:
        """Tell every caller; those that gave up are passed over."""
        self.settled = True
        futures, self.futures = self.futures, []
        if isinstance(outcome, Exception):
            for future in futures:
                if not future.done():
                    future.set_exception(outcome)
            return
        for future in futures:
            if not future.done():
                future.set_result(outcome)
