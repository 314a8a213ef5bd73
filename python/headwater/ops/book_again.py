"""The book of a partition made again, on a ledger of its own, from what an engine gives out."""

from __future__ import annotations

import functools

from headwater.book.book import Book
from headwater.ledger.book_replay import rebook
from headwater.ledger.engine import Ledger
from headwater.matcher.ordering import ordered
from headwater.matcher.partition import decode_outcomes, merge_outcomes


class BookAgain:
    """A book that follows an engine. Clicks it reads where they are: in `real`."""

    def __init__(self, real: Ledger, scratch: Ledger, partition: int) -> None:
        self.scratch = scratch
        self._real, self._partition = real, partition
        self._book = Book(partition)

    def take(self, outcomes: bytes) -> None:
        """Book the outcomes of one apply, in a transaction of their own. Raises LedgerError."""
        merged = merge_outcomes({}, decode_outcomes(outcomes))
        run = functools.partial(self._book.apply, outcomes=merged, runs=ordered(merged))
        rebook(self.scratch, self._real, self._partition, merged, run)
