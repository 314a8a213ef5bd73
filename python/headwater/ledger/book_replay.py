"""The book made again on a ledger of its own: whether it came out as the real one, what it pays.

Compared is what the book decides: what the courier and readers add to it is theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgpack
import sqlalchemy as sa

from headwater.ledger.book_store import BookStore
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import write_booked
from headwater.ledger.ownership import PartitionRow, Position, rows_of_partitions
from headwater.ledger.schema import (
    BOOK_TABLES,
    actions,
    book_entries,
    click_days,
    firings,
    pixel_decisions,
    waiting_leads,
)
from headwater.model.book import PENDING, Booked

# What a firing is; the rest of its columns is how its delivery goes.
_FIRING: Final = ("event_id", "pixel", "action_id", "conversion_id", "type", "url", "is_test")
_READ_ROWS: Final = 1000

Bookkeeper = Callable[[BookStore], Booked]


def book_state(ledger: Ledger) -> tuple[list[PartitionRow], dict[str, bytes]]:
    """Where the partitions stand, and at the same moment a digest of each table of the book."""
    digests = {}
    with ledger.read() as connection:
        for table in (*BOOK_TABLES, pixel_decisions, waiting_leads, firings):
            names = _FIRING if table is firings else [column.name for column in table.columns]
            digests[table.name] = _digest(connection, table, names)
        return rows_of_partitions(connection), digests


def _digest(connection: sa.Connection, table: sa.Table, names: Any) -> bytes:
    hashed = hashlib.blake2b(digest_size=32)
    columns = [table.columns[name] for name in names]
    rows = connection.execution_options(yield_per=_READ_ROWS).execute(
        sa.select(*columns).order_by(*table.primary_key)
    )
    for row in rows:
        hashed.update(msgpack.packb(tuple(row)))
    return hashed.digest()


def rebook(
    scratch: Ledger, real: Ledger, partition: int, outcomes: Mapping[str, Any], book: Bookkeeper
) -> None:
    """Run the book over outcomes that come again. Clicks are read where they are: in `real`."""
    with scratch.write() as connection:
        store = BookStore(scratch, connection, partition, outcomes, clicks_of=real)
        write_booked(scratch, connection, book(store))
        store.flush()


# ---- What it pays ----------------------------------------------------------------------------

_BRAND: Final = "brand_expense"
"""The account that is not a partner's."""


class OpenDay(NamedTuple):
    """A partner's clicks of a day that wait for their lock, and what they would pay."""

    partner: int
    day: str
    currency: str
    payout_micros: int


class ConversionPayout(NamedTuple):
    """What a conversion pays one partner."""

    conversion_id: bytes
    partner: int
    currency: str
    payout_minor: int


class Payouts(NamedTuple):
    """What the book has for the partners of a program, all of one moment."""

    positions: dict[int, Position]
    """Where each partition stood."""
    owed_minor: dict[tuple[int, str], int]
    """By partner and currency: of actions, with what was compensated."""
    open_days: list[OpenDay]


def payouts(ledger: Ledger, program: int, since_ms: int, until_ms: int) -> Payouts:
    """Of actions tracked from `since_ms` on and before `until_ms`; of open days all there are."""
    owed = (
        sa.select(
            actions.c.partner, book_entries.c.currency, sa.func.sum(book_entries.c.amount_minor)
        )
        .join(book_entries, book_entries.c.action_id == actions.c.action_id)
        .where(*_in_span(program, since_ms, until_ms))
        .group_by(actions.c.partner, book_entries.c.currency)
    )
    of = click_days.c
    days = sa.select(of.partner, of.day, of.currency, of.payout_micros).where(
        of.program == program, of.state == PENDING
    )
    with ledger.read() as connection:
        positions = {row.partition: row.position for row in rows_of_partitions(connection)}
        return Payouts(
            positions,
            {(partner, currency): minor for partner, currency, minor in connection.execute(owed)},
            [OpenDay._make(row) for row in connection.execute(days)],
        )


def conversion_payouts(
    ledger: Ledger, program: int, since_ms: int, until_ms: int
) -> Iterator[ConversionPayout]:
    """What each conversion of a span pays each of its partners, by conversion and partner."""
    paid = (
        sa.select(
            actions.c.conversion_id,
            actions.c.partner,
            actions.c.payout_currency,
            sa.func.sum(book_entries.c.amount_minor),
        )
        .join(book_entries, book_entries.c.action_id == actions.c.action_id)
        .where(*_in_span(program, since_ms, until_ms), actions.c.conversion_id.is_not(None))
        .group_by(actions.c.conversion_id, actions.c.partner, actions.c.payout_currency)
        .order_by(actions.c.conversion_id, actions.c.partner)
    )
    with ledger.read() as connection:
        for row in connection.execution_options(yield_per=_READ_ROWS).execute(paid):
            yield ConversionPayout._make(row)


def _in_span(program: int, since_ms: int, until_ms: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        actions.c.program == program,
        actions.c.tracked_ms >= since_ms,
        actions.c.tracked_ms < until_ms,
        book_entries.c.account != _BRAND,
    )
