"""Reads for the console and for checks: objects and events, one or a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from headwater import ids, limits
from headwater.ledger import values
from headwater.ledger.decisions import credits_of
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Reference, find
from headwater.ledger.schema import (
    EVENT_TABLES,
    clicks,
    conversion_reports,
    conversions,
    domains,
    enrolments,
    event_types,
    late_evidence,
    links,
    partitions,
    programs,
    promo_codes,
)

Row = dict[str, Any]


# ---- Objects -------------------------------------------------------------------------------


def object_row(
    ledger: Ledger, table: sa.Table, reference: Reference, *within: sa.ColumnElement[bool]
) -> Row | None:
    """One object of the configuration; None when there is none."""
    with ledger.read() as connection:
        return find(connection, table, reference, *within)


def object_page(
    ledger: Ledger,
    table: sa.Table,
    *within: sa.ColumnElement[bool],
    after: int = 0,
    count: int,
) -> list[Row]:
    """Up to `count` objects with numbers above `after`, by number."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(table).where(table.c.id > after, *within).order_by(table.c.id).limit(count)
        ).mappings()
        return [dict(row) for row in rows]


def program_by_code(ledger: Ledger, code: str) -> Row | None:
    """The program of a code, which is unique in the deployment."""
    with ledger.read() as connection:
        row = connection.execute(sa.select(programs).where(programs.c.code == code)).mappings()
        return next((dict(each) for each in row), None)


def event_type_page(ledger: Ledger, program: int, *, after: int, count: int) -> list[Row]:
    """A program's event types."""
    within = event_types.c.program_id == program
    return object_page(ledger, event_types, within, after=after, count=count)


def promo_code_page(ledger: Ledger, program: int, *, after: int, count: int) -> list[Row]:
    """A program's promo codes, without the deleted ones."""
    within = (promo_codes.c.program_id == program, promo_codes.c.status != values.DELETED)
    return object_page(ledger, promo_codes, *within, after=after, count=count)


def enrolment_page(ledger: Ledger, program: int, *, after: int, count: int) -> list[Row]:
    """A program's enrolments, each with its default link's row under `link`."""
    within = enrolments.c.program_id == program
    page = object_page(ledger, enrolments, within, after=after, count=count)
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(links).where(links.c.id.in_([row["default_link"] for row in page]))
        ).mappings()
        found = {row["id"]: dict(row) for row in rows}
    return [{**row, "link": found[row["default_link"]]} for row in page]


def domain_by_host(ledger: Ledger, host: str) -> Row | None:
    """The tracking domain of a host in lower case."""
    with ledger.read() as connection:
        row = (
            connection.execute(sa.select(domains).where(domains.c.host == host)).mappings().first()
        )
        return None if row is None else dict(row)


# ---- Events --------------------------------------------------------------------------------


def click_row(ledger: Ledger, click_id: bytes) -> Row | None:
    """One click; None when it is not committed."""
    with ledger.read() as connection:
        row = (
            connection.execute(sa.select(clicks).where(clicks.c.click_id == click_id))
            .mappings()
            .first()
        )
        return None if row is None else dict(row)


@dataclass(frozen=True, slots=True)
class ClickFilter:
    """Which clicks of a list: accepted from `since_ms` on and before `until_ms`."""

    program: int | None = None
    partner: int | None = None
    verdict: str | None = None
    counted: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def range(self, before: bytes | None) -> list[sa.ColumnElement[bool]]:
        """What an index serves."""
        columns = clicks.c
        found = []
        if self.program is not None:
            found.append(columns.program == self.program)
        if self.since_ms is not None:
            found.append(columns.click_id >= ids.first_event_id(self.since_ms))
        ends = [] if before is None else [before]
        if self.until_ms is not None:
            ends.append(ids.first_event_id(self.until_ms))
        if ends:
            # One upper bound: of two the index would be searched by the first.
            found.append(columns.click_id < min(ends))
        return found

    def others(self) -> list[sa.ColumnElement[bool]]:
        """What has to be looked at click by click."""
        wanted = {"partner": self.partner, "verdict": self.verdict, "counted": self.counted}
        return [clicks.c[name] == value for name, value in wanted.items() if value is not None]


def click_page(
    ledger: Ledger,
    wanted: ClickFilter,
    *,
    before: bytes | None,
    count: int,
    scan: int = limits.CLICK_PAGE_SCAN_ROWS_MAX,
) -> tuple[list[Row], bytes | None]:
    """Up to `count` clicks with ids below `before`, the newest first, and the id to go on below;
    None at the end. Of `scan` clicks looked at without `count` hits there may be fewer.
    """
    looked = (
        sa.select(clicks.c.click_id)
        .where(*wanted.range(before))
        .order_by(clicks.c.click_id.desc())
        .limit(scan)
    )
    statement = sa.select(clicks).where(*wanted.range(before))
    if wanted.others():
        statement = sa.select(clicks).where(clicks.c.click_id.in_(looked), *wanted.others())
    statement = statement.order_by(clicks.c.click_id.desc()).limit(count + 1)
    with ledger.read() as connection:
        rows = [dict(row) for row in connection.execute(statement).mappings()]
        if len(rows) > count:
            return rows[:count], rows[count - 1]["click_id"]
        if not wanted.others():
            return rows, None
        part = looked.subquery()
        number, last = connection.execute(
            sa.select(sa.func.count(), sa.func.min(part.c.click_id))
        ).one()
        return rows, last if number == scan else None


CONVERSION = (
    sa.select(
        conversions,
        programs.c.code.label("program_code"),
        event_types.c.code.label("event_code"),
    )
    .outerjoin(programs, programs.c.id == conversions.c.program)
    .outerjoin(event_types, event_types.c.id == conversions.c.event_type)
)
"""A conversion as last decided, with the codes of its program and event type."""


def conversion_row(ledger: Ledger, conversion_id: bytes) -> Row | None:
    """One conversion as last decided, with the codes of program and event type, its `credits`
    (partner, click id, share), its `reports` and its `late_evidence`, oldest first; None when it
    is not committed.
    """
    with ledger.read() as connection:
        row = (
            connection.execute(CONVERSION.where(conversions.c.conversion_id == conversion_id))
            .mappings()
            .first()
        )
        if row is None:
            return None
        reports = connection.execute(
            sa.select(conversion_reports)
            .where(conversion_reports.c.conversion_id == conversion_id)
            .order_by(conversion_reports.c.accept_ms, conversion_reports.c.event_id)
        ).mappings()
        late = connection.execute(
            sa.select(late_evidence)
            .where(late_evidence.c.conversion_id == conversion_id)
            .order_by(late_evidence.c.event_id)
            .limit(limits.PAGE_ROWS_MAX)
        ).mappings()
        return {
            **row,
            "credits": credits_of(connection, [conversion_id])[conversion_id],
            "reports": [dict(report) for report in reports],
            "late_evidence": [dict(each) for each in late],
        }


def conversion_page(
    ledger: Ledger, program: int | None, *, before: tuple[int, bytes] | None, count: int
) -> list[Row]:
    """Conversions accepted before a (time, id), the newest first, with their `credits`."""
    order = (conversions.c.accept_ms, conversions.c.conversion_id)
    statement = CONVERSION.order_by(*(column.desc() for column in order)).limit(count)
    if program is not None:
        statement = statement.where(conversions.c.program == program)
    if before is not None:
        statement = statement.where(sa.tuple_(*order) < sa.tuple_(*before))
    with ledger.read() as connection:
        rows = connection.execute(statement).mappings().all()
        given = credits_of(connection, [row["conversion_id"] for row in rows])
        return [{**row, "credits": given[row["conversion_id"]]} for row in rows]


def engine_times_ms(ledger: Ledger) -> list[int]:
    """The time each partition has been committed up to."""
    with ledger.read() as connection:
        return list(connection.scalars(sa.select(partitions.c.time_ms)))


def row_counts(ledger: Ledger, tables: Sequence[sa.Table] = EVENT_TABLES) -> dict[str, int]:
    """Rows of each table: for `demo` and tests, it reads whole indexes."""
    with ledger.read() as connection:
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in tables
        }
