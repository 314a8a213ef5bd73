"""Reads for the console and for checks: objects and events, one or a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from headwater import ids, limits
from headwater.ledger import values
from headwater.ledger.decisions import actions_of, credits_of
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Reference, find
from headwater.ledger.schema import (
    EVENT_TABLES,
    actions,
    clicks,
    conversion_reports,
    conversions,
    credit_shares,
    domains,
    enrolments,
    event_types,
    late_evidence,
    links,
    partitions,
    programs,
    promo_codes,
)
from headwater.model.records import Flag

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
    brand: int | None = None

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
        names = ("brand", "partner", "verdict", "counted")
        wanted = {name: getattr(self, name) for name in names}
        return [clicks.c[name] == value for name, value in wanted.items() if value is not None]


def click_page(
    ledger: Ledger,
    wanted: ClickFilter,
    *,
    before: bytes | None,
    count: int,
    scan: int = limits.PAGE_SCAN_ROWS_MAX,
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
    (partner, click id, share), its `actions`, its `reports` and its `late_evidence`, oldest first;
    None when it is not committed.
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
            "actions": actions_of(connection, [conversion_id]).get(conversion_id, []),
            "reports": [dict(report) for report in reports],
            "late_evidence": [dict(each) for each in late],
        }


_CONVERSION_ORDER: Final = (conversions.c.accept_ms, conversions.c.conversion_id)

Position = tuple[int, bytes]
"""Where a page of conversions ends: accept time and id of the last."""


@dataclass(frozen=True, slots=True)
class ConversionFilter:
    """Which conversions of a list: accepted from `since_ms` on and before `until_ms`; of a
    partner those with a credit or an action of it.
    """

    program: int | None = None
    brand: int | None = None
    partner: int | None = None
    status: str | None = None
    is_test: bool | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def range(self, before: Position | None) -> list[sa.ColumnElement[bool]]:
        """What an index serves."""
        found: list[sa.ColumnElement[bool]] = []
        if self.program is not None:
            found.append(conversions.c.program == self.program)
        if self.since_ms is not None:
            found.append(conversions.c.accept_ms >= self.since_ms)
        ends = [] if before is None else [before]
        if self.until_ms is not None:
            ends.append((self.until_ms, b""))
        if ends:
            found.append(sa.tuple_(*_CONVERSION_ORDER) < sa.tuple_(*min(ends)))
        return found

    def others(self) -> list[sa.ColumnElement[bool]]:
        """What has to be looked at conversion by conversion."""
        columns = conversions.c
        wanted = {"brand": self.brand, "status": self.status}
        found = [columns[name] == value for name, value in wanted.items() if value is not None]
        if self.is_test is not None:
            test = columns.flags.bitwise_and(int(Flag.TEST))
            found.append(test != 0 if self.is_test else test == 0)
        if self.partner is not None:
            parts = (
                sa.exists().where(
                    table.c.conversion_id == columns.conversion_id,
                    table.c.partner == self.partner,
                )
                for table in (credit_shares, actions)
            )
            found.append(sa.or_(*parts))
        return found


def conversion_page(
    ledger: Ledger,
    wanted: ConversionFilter,
    *,
    before: Position | None,
    count: int,
    scan: int = limits.PAGE_SCAN_ROWS_MAX,
) -> tuple[list[Row], Position | None]:
    """Up to `count` conversions accepted before a (time, id), the newest first, with their
    `credits` and `actions`, and the position to go on before; None at the end. Of `scan`
    conversions looked at without `count` hits there may be fewer.
    """
    newest_first = [column.desc() for column in _CONVERSION_ORDER]
    looked = (
        sa.select(*_CONVERSION_ORDER)
        .where(*wanted.range(before))
        .order_by(*newest_first)
        .limit(scan)
    )
    statement = CONVERSION.where(*wanted.range(before))
    if wanted.others():
        part = looked.subquery()
        among = conversions.c.conversion_id.in_(sa.select(part.c.conversion_id))
        statement = CONVERSION.where(among, *wanted.others())
    with ledger.read() as connection:
        found = connection.execute(statement.order_by(*newest_first).limit(count + 1))
        rows = found.mappings().all()
        named = [row["conversion_id"] for row in rows[:count]]
        given, made = credits_of(connection, named), actions_of(connection, named)
        page = [
            {**row, "credits": given[name], "actions": made.get(name, [])}
            for name, row in zip(named, rows, strict=False)
        ]
        if len(rows) > count:
            return page, (page[-1]["accept_ms"], page[-1]["conversion_id"])
        if not wanted.others():
            return page, None
        seen = connection.execute(looked).all()
        return page, (seen[-1][0], seen[-1][1]) if len(seen) == scan else None


def is_partner_of(ledger: Ledger, brand: int, partner: int) -> bool:
    """Whether a partner is, or was, in a program of a brand."""
    with ledger.read() as connection:
        found = connection.scalar(
            sa.select(sa.literal(1))
            .select_from(enrolments.join(programs, programs.c.id == enrolments.c.program_id))
            .where(programs.c.brand_id == brand, enrolments.c.partner_id == partner)
            .limit(1)
        )
        return found is not None


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
