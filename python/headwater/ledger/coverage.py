"""How the conversions of a period were reported, and what their decisions rest on.

By conversions as they are now: a report that came later than the period counts with its order.
Test orders are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from headwater.ledger.engine import Ledger
from headwater.ledger.fraud_reports import Span, conversion_pages
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
    """Each conversion of a span with its reports, oldest first."""
    for page in conversion_pages(ledger, span, conversions.c.status, conversions.c.explain):
        with ledger.read() as connection:
            reports = _reports_of(connection, [row.conversion_id for row in page])
        for row in page:
            yield Reported(row.status, row.explain, reports[row.conversion_id])


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
