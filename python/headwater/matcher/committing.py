"""The thread that commits a batch while the next one is read and applied.

What only a transaction may touch, the books and the sums of clicks, belongs to it. One commit is
under way at most, and nobody else uses the ledger meanwhile: the owner ends it first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from headwater import clock, faults, metrics
from headwater.book.book import Book
from headwater.ledger import matching
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import BookStore, Committed, PartitionBatch, Rollups
from headwater.matcher.health import Heartbeat
from headwater.matcher.ordering import ordered
from headwater.model.book import Booked

log = logging.getLogger(__name__)

Ranges = Mapping[int, Sequence[tuple[int, int]]]
"""Of each producer, the sequence numbers that are settled."""


class Applied(NamedTuple):
    """Batches of one read, for one transaction, and what is told when it is committed."""

    batches: Sequence[PartitionBatch]
    ranges: Mapping[int, Ranges]
    """By partition, as they are after the batch: the engine may be further when it is told."""
    lag_s: float


@dataclass(frozen=True, slots=True)
class _UnderWay:
    applied: Applied
    committed: Future[Committed]


class Committer:
    """Runs one transaction at a time in its thread; a context that ends with the last of them."""

    def __init__(self, ledger: Ledger, heartbeat: Heartbeat, lease_ms: int) -> None:
        self._ledger = ledger
        self._heartbeat = heartbeat
        self._lease_ms = lease_ms
        self._books: dict[int, Book] = {}
        self._rollups = Rollups()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._under_way: _UnderWay | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown()

    def keep_book(self, partition: int) -> None:
        """Open the book of a partition, with what the ledger keeps of its settings."""
        self._books[partition] = Book(partition, matching.settings_of(self._ledger, partition))

    @property
    def is_idle(self) -> bool:
        """Whether all that was begun has been ended, by `end`."""
        return self._under_way is None

    def begin(self, applied: Applied) -> None:
        """Commit in the thread; the commit before has been ended."""
        if self._under_way is not None:
            raise AssertionError("the commit before has been ended")
        self._under_way = _UnderWay(applied, self._thread.submit(self._commit, applied.batches))

    def is_done(self, within_s: float) -> bool:
        """Whether nothing is under way, or what is comes to its end within the time."""
        return self._under_way is None or bool(
            wait([self._under_way.committed], timeout=within_s).done
        )

    def end(self) -> tuple[Applied, Committed] | None:
        """Wait for the commit under way; what was applied and what came of it, or None.

        Raises what `matching.commit` raised: then this process may not go on.
        """
        if self._under_way is None:
            return None
        under_way, self._under_way = self._under_way, None
        return under_way.applied, under_way.committed.result()

    # ---- in the thread

    def _commit(self, batches: Sequence[PartitionBatch]) -> Committed:
        faults.reach("matcher.before_commit")
        self._heartbeat.calling()
        try:
            with cpu_counted("commit"):
                committed = matching.commit(
                    self._ledger,
                    batches,
                    lease_until_ms=clock.now_ms() + self._lease_ms,
                    book=self._book,
                    rollups=self._rollups,
                )
        except BaseException:
            self._heartbeat.called(ok=False)
            raise
        self._heartbeat.called(ok=True)
        return committed

    def _book(self, store: BookStore, batch: PartitionBatch) -> Booked:
        """What follows from a batch for what is owed; within the transaction."""
        runs = ordered(batch.outcomes)
        with cpu_counted("book"):
            booked = self._books[batch.partition].apply(store, batch.outcomes, runs)
        for kind, number, revision in booked.unread:
            fields = {"object": kind, "number": number, "revision": revision}
            log.warning("configuration not taken by the book", extra={"fields": fields})
        return booked


@contextmanager
def cpu_counted(step: str) -> Iterator[None]:
    """Add the CPU the block uses in this thread to the step's metric."""
    before_s = clock.thread_cpu_s()
    try:
        yield
    finally:
        metrics.MATCHER_CPU_SECONDS.labels(step).inc(clock.thread_cpu_s() - before_s)
