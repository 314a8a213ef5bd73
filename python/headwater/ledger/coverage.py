"""How the conversions of a period were reported, and what their decisions rest on.

By conversions as they are now: a report that came later than the period counts with its order.
Test orders are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.fraud_reports import Span
from headwater.ledger.schema import conversion_reports, conversions
from headwater.model.records import Flag, Trust

_NO_TEST = conversions.c.flags.bitwise_and(int(Flag.TEST)) == 0
# What contradicts an order is no report of it.
_COUNTS = conversion_reports.c.outcome != "conflict"


class Ways(NamedTuple):
    """Conversions that browsers alone reported, servers alone, and both."""

    browser: int
    server: int
    both: int


class Reported(NamedTuple):
    """A conversion and the records of its reports, each with its trust."""

    status: str
    explain: bytes
    reports: list[tuple[int, bytes]]


def is_within(ledger: Ledger, span: Span, rows_max: int) -> bool:
    """Whether a span has no more conversions than that."""
    some = sa.select(conversions.c.conversion_id).where(*span.conversions()).limit(rows_max + 1)
    with ledger.read() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(some.subquery()))
    return (count or 0) <= rows_max


def ways(ledger: Ledger, span: Span) -> Ways:
    """By which ways the conversions of a span were reported."""
    trust = conversion_reports.c.trust
    each = (
        sa.select(
            sa.func.max(sa.case((trust == int(Trust.BROWSER), 1), else_=0)).label("browser"),
            sa.func.max(sa.case((trust == int(Trust.SERVER), 1), else_=0)).label("server"),
        )
        .select_from(conversions)
        .join(
            conversion_reports,
            conversion_reports.c.conversion_id == conversions.c.conversion_id,
        )
        .where(*span.conversions(), _NO_TEST, _COUNTS)
        .group_by(conversions.c.conversion_id)
        .subquery()
    )
    keys = (each.c.browser, each.c.server)
    with ledger.read() as connection:
        rows = connection.execute(sa.select(*keys, sa.func.count()).group_by(*keys)).all()
    found = {(browser, server): count for browser, server, count in rows}
    return Ways(found.get((1, 0), 0), found.get((0, 1), 0), found.get((1, 1), 0))


def reported(ledger: Ledger, span: Span) -> Iterator[Reported]:
    """Each conversion of a span with its reports, oldest first, a page a transaction."""
    columns = conversions.c
    program, _, end = span.conversions()
    position = sa.tuple_(columns.accept_ms, columns.conversion_id)
    after: tuple[int, bytes] = (span.since_ms, b"")
    while True:
        statement = (
            sa.select(
                columns.accept_ms,
                columns.conversion_id,
                columns.flags,
                columns.status,
                columns.explain,
            )
            .where(program, end, position > sa.tuple_(*after))
            .order_by(columns.accept_ms, columns.conversion_id)
            .limit(limits.PAGE_ROWS_MAX)
        )
        with ledger.read() as connection:
            rows = connection.execute(statement).all()
            reports = _reports_of(connection, [row.conversion_id for row in rows])
        for row in rows:
            if not row.flags & Flag.TEST:
                yield Reported(row.status, row.explain, reports[row.conversion_id])
        if len(rows) < limits.PAGE_ROWS_MAX:
            return
        after = (rows[-1].accept_ms, rows[-1].conversion_id)


def _reports_of(
    connection: sa.Connection, conversion_ids: list[bytes]
) -> dict[bytes, list[tuple[int, bytes]]]:
    columns = conversion_reports.c
    found: dict[bytes, list[tuple[int, bytes]]] = {each: [] for each in conversion_ids}
    if found:
        rows = connection.execute(
            sa.select(columns.conversion_id, columns.trust, columns.record)
            .where(columns.conversion_id.in_(conversion_ids), _COUNTS)
            .order_by(columns.conversion_id, columns.accept_ms, columns.event_id)
        )
        for row in rows:
            found[row.conversion_id].append((row.trust, row.record))
    return found
