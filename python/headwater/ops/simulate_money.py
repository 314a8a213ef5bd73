"""What two books pay, set side by side: by partner and currency, conversion by conversion."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from headwater.book.calendar import day_start_ms
from headwater.ledger.book_replay import (
    ConversionPayout,
    OpenDay,
    Payouts,
    conversion_payouts,
    payouts,
)
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import Position
from headwater.ops.book_again import BookAgain
from headwater.ops.simulate_rules import Span

MICROS: Final = 1_000_000

Owner = tuple[int, str]
"""A partner and a currency."""


class Paid(NamedTuple):
    """What one conversion pays one partner."""

    currency: str
    minor: int


Sides = tuple[Mapping[int, Paid], Mapping[int, Paid]]
"""What a conversion pays by partner, under either rules."""


class Books(NamedTuple):
    """The books of both replays, each on a ledger of its own."""

    before: BookAgain
    after: BookAgain


class PartnerPayout(NamedTuple):
    """What one partner is owed in one currency under both rules, in minor units."""

    before_minor: int
    after_minor: int

    @property
    def difference_minor(self) -> int:
        return self.after_minor - self.before_minor


@dataclass
class MoneyComparison:
    partners: dict[Owner, PartnerPayout]
    conversions: dict[bytes, Sides]
    """Of the conversions that are paid otherwise, and of those that were asked for."""
    is_repeated: bool | None
    """Whether the first book owes what the ledger's does; None: the ledger has gone on."""

    @property
    def totals(self) -> dict[str, PartnerPayout]:
        """All partners together, by currency."""
        before: Counter[str] = Counter()
        after: Counter[str] = Counter()
        for (_partner, currency), payout in self.partners.items():
            before[currency] += payout.before_minor
            after[currency] += payout.after_minor
        currencies = sorted({currency for _partner, currency in self.partners})
        return {each: PartnerPayout(before[each], after[each]) for each in currencies}


@contextlib.contextmanager
def scratch_books(ledger: Ledger, partition: int) -> Iterator[Books]:
    """Two books that start with nothing; they are gone afterwards. Raises LedgerError."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-simulate-"))
        made = []
        for name in Books._fields:
            scratch = open_ledger(f"sqlite:///{folder}/{name}.sqlite")
            stack.callback(scratch.close)
            made.append(BookAgain(ledger, scratch, partition))
        yield Books(*made)


class Asked(NamedTuple):
    """Whose money is compared, and where the replay ended."""

    program: int
    zone: str
    span: Span
    partition: int
    position: Position


def compare_money(
    ledger: Ledger, books: Books, asked: Asked, moved: Collection[bytes]
) -> MoneyComparison:
    """Both books took the same log. `moved`: conversions to tell of in any case."""
    before, _position = _owed(books.before.scratch, asked)
    after, _position = _owed(books.after.scratch, asked)
    real, position = _owed(ledger, asked)
    names = sorted(before.keys() | after.keys())
    return MoneyComparison(
        {name: PartnerPayout(before.get(name, 0), after.get(name, 0)) for name in names},
        dict(_conversions(books, asked, moved)),
        real == before if position == asked.position else None,
    )


def _owed(ledger: Ledger, asked: Asked) -> tuple[dict[Owner, int], Position | None]:
    """What partners are owed, zeros left out, and where the asked partition stood then."""
    found = payouts(ledger, asked.program, *asked.span)
    owed = Counter(found.owed_minor)
    owed.update(_waiting(found, asked))
    return {name: minor for name, minor in owed.items() if minor}, found.positions.get(
        asked.partition
    )


def _waiting(found: Payouts, asked: Asked) -> dict[Owner, int]:
    """Whole minor units of what clicks would pay that wait for their lock."""
    micros: Counter[Owner] = Counter()
    for day in found.open_days:
        if _is_in(day, asked):
            micros[day.partner, day.currency] += day.payout_micros
    return {name: total // MICROS for name, total in micros.items()}


def _is_in(day: OpenDay, asked: Asked) -> bool:
    start_ms = day_start_ms(date.fromisoformat(day.day), asked.zone)
    return asked.span.since_ms <= start_ms < asked.span.until_ms


def _conversions(
    books: Books, asked: Asked, moved: Collection[bytes]
) -> Iterator[tuple[bytes, Sides]]:
    """A conversion at a time, so that no more is kept than is told."""
    sides = (_of_side(book, asked, side) for side, book in enumerate(books))
    together = heapq.merge(*sides, key=_conversion)
    for conversion_id, rows in itertools.groupby(together, key=_conversion):
        paid: tuple[dict[int, Paid], dict[int, Paid]] = ({}, {})
        for each, side in rows:
            paid[side][each.partner] = Paid(each.currency, each.payout_minor)
        if paid[0] != paid[1] or conversion_id in moved:
            yield conversion_id, paid


def _of_side(book: BookAgain, asked: Asked, side: int) -> Iterator[tuple[ConversionPayout, int]]:
    for each in conversion_payouts(book.scratch, asked.program, *asked.span):
        yield each, side


def _conversion(told: tuple[ConversionPayout, int]) -> bytes:
    return told[0].conversion_id
