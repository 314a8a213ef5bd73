"""What scoring came to over a period, of one program: counts of clicks, and findings one by one.

Clicks are found by their ids, which are ordered by time, in the index of their program; a period
with more of them than is bearable is for the caller to refuse first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from headwater import ids, limits
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import clicks, conversions
from headwater.model.records import Flag

# An impression or a pop-up is a touch, and no click.
_NO_CLICK = int(Flag.SOFT_CLICK | Flag.IMPRESSION)


class Span(NamedTuple):
    """Times of acceptance from `since_ms` on and before `until_ms`, of one program."""

    program: int
    since_ms: int
    until_ms: int

    def clicks(self) -> list[sa.ColumnElement[bool]]:
        columns = clicks.c
        return [
            columns.program == self.program,
            columns.click_id >= ids.first_event_id(self.since_ms),
            columns.click_id < ids.first_event_id(self.until_ms),
        ]

    def conversions(self) -> list[sa.ColumnElement[bool]]:
        columns = conversions.c
        return [
            columns.program == self.program,
            columns.accept_ms >= self.since_ms,
            columns.accept_ms < self.until_ms,
        ]


class ClickCount(NamedTuple):
    """How many clicks of a partner came to the same."""

    partner: int
    verdict: str
    counted: str
    is_unique: bool
    clicks: int


class Finding(NamedTuple):
    """What was found of one click or conversion."""

    verdict: str
    fraud: bytes


def is_within(ledger: Ledger, span: Span, rows_max: int) -> bool:
    """Whether a span has no more clicks, and no more conversions, than that."""
    some = (
        sa.select(clicks.c.click_id).where(*span.clicks()).limit(rows_max + 1),
        sa.select(conversions.c.conversion_id).where(*span.conversions()).limit(rows_max + 1),
    )
    with ledger.read() as connection:
        counts = [
            connection.scalar(sa.select(sa.func.count()).select_from(each.subquery()))
            for each in some
        ]
    return all((count or 0) <= rows_max for count in counts)


def click_counts(ledger: Ledger, span: Span) -> list[ClickCount]:
    """The clicks of a span by partner, verdict, and how they count."""
    columns = clicks.c
    keys = (columns.partner, columns.verdict, columns.counted, columns.is_unique)
    statement = (
        sa.select(*keys, sa.func.count())
        .where(*span.clicks(), columns.flags.bitwise_and(_NO_CLICK) == 0)
        .group_by(*keys)
    )
    with ledger.read() as connection:
        return [
            ClickCount(partner, verdict, counted, bool(is_unique), count)
            for partner, verdict, counted, is_unique, count in connection.execute(statement)
        ]


def click_findings(ledger: Ledger, span: Span) -> Iterator[Finding]:
    """What was found of each click of a span that is no test, a page a transaction."""
    columns = clicks.c
    program, start, end = span.clicks()
    while True:
        statement = (
            sa.select(columns.click_id, columns.counted, columns.verdict, columns.fraud)
            # One lower bound: of two the index would be searched by the first.
            .where(program, start, end)
            .order_by(columns.click_id)
            .limit(limits.PAGE_ROWS_MAX)
        )
        with ledger.read() as connection:
            rows = connection.execute(statement).all()
        for row in rows:
            if row.counted != "test" and row.fraud:
                yield Finding(row.verdict, row.fraud)
        if len(rows) < limits.PAGE_ROWS_MAX:
            return
        start = columns.click_id > rows[-1].click_id


def conversion_findings(ledger: Ledger, span: Span) -> Iterator[Finding]:
    """What was found of each conversion of a span that is no test, a page a transaction."""
    for page in conversion_pages(ledger, span, conversions.c.verdict, conversions.c.fraud):
        for row in page:
            if row.fraud:
                yield Finding(row.verdict, row.fraud)


def conversion_pages(
    ledger: Ledger, span: Span, *wanted: sa.Column[Any]
) -> Iterator[list[sa.Row[*tuple[Any, ...]]]]:
    """The conversions of a span that are no tests, with their ids and the columns `wanted`, in
    the order of acceptance, a page a transaction.
    """
    columns = conversions.c
    program, _, end = span.conversions()
    position = (columns.accept_ms, columns.conversion_id)
    after: tuple[int, bytes] = (span.since_ms, b"")
    while True:
        statement = (
            sa.select(*position, columns.flags, *wanted)
            .where(program, end, sa.tuple_(*position) > sa.tuple_(*after))
            .order_by(*position)
            .limit(limits.PAGE_ROWS_MAX)
        )
        with ledger.read() as connection:
            rows = connection.execute(statement).all()
        yield [row for row in rows if not row.flags & Flag.TEST]
        if len(rows) < limits.PAGE_ROWS_MAX:
            return
        after = (rows[-1].accept_ms, rows[-1].conversion_id)
