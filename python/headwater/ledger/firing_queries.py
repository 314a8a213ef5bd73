"""What people ask of partner pixels: what was fired, what came of it, and why others were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.firings import DEAD
from headwater.ledger.linking import link_row
from headwater.ledger.schema import (
    actions,
    enrolments,
    event_types,
    firing_attempts,
    firings,
    partners,
    pixel_decisions,
    pixel_endpoints,
    pixels,
)
from headwater.ledger.values import ACTIVE
from headwater.model.pixels import ANY_PROGRAM

Row = dict[str, Any]
Position = tuple[int, bytes]
"""Where a page of the log ends: time and event id of its last firing."""


# ---- How pixels do ---------------------------------------------------------------------------


def endpoints(ledger: Ledger, numbers: Sequence[int]) -> dict[int, Row]:
    """How deliveries go, by pixel; pixels nothing was sent to are left out."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(pixel_endpoints).where(pixel_endpoints.c.pixel.in_(numbers))
        ).mappings()
        return {row["pixel"]: dict(row) for row in rows}


def last_fired_ms(ledger: Ledger, numbers: Sequence[int]) -> dict[int, int]:
    """When each pixel was fired last; one index step a pixel."""
    last = (
        sa.select(sa.func.max(firings.c.at_ms))
        .where(firings.c.pixel == pixels.c.id)
        .scalar_subquery()
    )
    with ledger.read() as connection:
        rows = connection.execute(sa.select(pixels.c.id, last).where(pixels.c.id.in_(numbers)))
        return {number: at_ms for number, at_ms in rows if at_ms is not None}


# ---- Of one conversion -----------------------------------------------------------------------


def fired_counts(
    ledger: Ledger, conversion_ids: Sequence[bytes], partner: int | None = None
) -> dict[bytes, int]:
    """How many pixels, of all partners or of one, each conversion fired; those with none are left
    out.
    """
    column = firings.c.conversion_id
    statement = sa.select(column, sa.func.count()).where(column.in_(conversion_ids))
    if partner is not None:
        statement = statement.where(firings.c.partner == partner)
    with ledger.read() as connection:
        rows = connection.execute(statement.group_by(column))
        return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True)
class ConversionPixels:
    """What is known of the pixels of a conversion, of one partner or of all of them."""

    actions: list[Row]
    """Action id, partner, state and reason of each."""
    firings: list[Row]
    attempts: list[Row]
    decisions: list[Row]


def pixels_of_conversion(
    ledger: Ledger, conversion_id: bytes, partner: int | None = None
) -> ConversionPixels:
    """Everything in one read, so that its parts agree."""

    def rows(table: sa.Table, *columns: sa.ColumnElement[Any]) -> list[Row]:
        statement = (
            sa.select(*columns or (table,))
            .where(table.c.conversion_id == conversion_id)
            .order_by(*table.primary_key.columns)
            .limit(limits.PAGE_ROWS_MAX)
        )
        if partner is not None:
            statement = statement.where(table.c.partner == partner)
        return [dict(row) for row in connection.execute(statement).mappings()]

    named = actions.c
    with ledger.read() as connection:
        fired = rows(firings)
        return ConversionPixels(
            rows(actions, named.action_id, named.partner, named.state, named.reason),
            fired,
            _attempts(connection, [row["event_id"] for row in fired]),
            rows(pixel_decisions),
        )


def _attempts(connection: sa.Connection, event_ids: Sequence[bytes]) -> list[Row]:
    rows = connection.execute(
        sa.select(firing_attempts)
        .where(firing_attempts.c.event_id.in_(event_ids))
        .order_by(firing_attempts.c.event_id, firing_attempts.c.attempt)
        .limit(limits.PAGE_ROWS_MAX)
    ).mappings()
    return [dict(row) for row in rows]


def standing(ledger: Ledger, program: int, partner: int) -> str | None:
    """The status of a partner's enrolment in a program as it is now; None: there is none."""
    with ledger.read() as connection:
        found: str | None = connection.scalar(
            sa.select(enrolments.c.status).where(
                enrolments.c.program_id == program, enrolments.c.partner_id == partner
            )
        )
        return found


def is_in_program(ledger: Ledger, program: int, partner: int) -> bool:
    """Whether a partner, and its enrolment in a program, are active."""
    with ledger.read() as connection:
        status = connection.scalar(sa.select(partners.c.status).where(partners.c.id == partner))
    return status == ACTIVE == standing(ledger, program, partner)


def event_kind(ledger: Ledger, event_type: int) -> str | None:
    """The kind of an event type: click, lead, sale or custom."""
    with ledger.read() as connection:
        found: str | None = connection.scalar(
            sa.select(event_types.c.kind).where(event_types.c.id == event_type)
        )
        return found


def pixel_rows(ledger: Ledger, numbers: Sequence[int]) -> dict[int, Row]:
    """Pixels by their numbers, deleted ones too."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(pixels).where(pixels.c.id.in_(numbers))).mappings()
        return {row["id"]: dict(row) for row in rows}


# ---- The log ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FiringFilter:
    """Which firings of the log: fired from `since_ms` on and before `until_ms`."""

    partner: int | None = None
    brand: int | None = None
    program: int | None = None
    pixel: int | None = None
    state: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def range(self, before: Position | None) -> list[sa.ColumnElement[bool]]:
        """What an index serves."""
        columns = firings.c
        found: list[sa.ColumnElement[bool]] = []
        if self.pixel is not None:
            found.append(columns.pixel == self.pixel)
        elif self.partner is not None:
            found.append(columns.partner == self.partner)
        elif self._is_of_the_dead:
            # As the partial index is declared: a parameter would not be known to match it.
            found.append(columns.state == sa.literal_column(f"'{DEAD}'"))
        if self.since_ms is not None:
            found.append(columns.at_ms >= self.since_ms)
        if self.until_ms is not None:
            found.append(columns.at_ms < self.until_ms)
        if before is not None:
            found.append(sa.tuple_(columns.at_ms, columns.event_id) < sa.tuple_(*before))
        return found

    @property
    def _is_of_the_dead(self) -> bool:
        return self.state == DEAD and self.partner is None and self.pixel is None

    def others(self) -> list[sa.ColumnElement[bool]]:
        """What has to be looked at firing by firing."""
        wanted: Mapping[str, Any] = {
            "brand": self.brand,
            "program": self.program,
            "partner": self.partner if self.pixel is not None else None,
            "state": None if self._is_of_the_dead else self.state,
        }
        return [firings.c[name] == value for name, value in wanted.items() if value is not None]


def firing_page(
    ledger: Ledger,
    wanted: FiringFilter,
    *,
    before: Position | None,
    count: int,
    scan: int = limits.FIRING_PAGE_SCAN_ROWS_MAX,
) -> tuple[list[Row], Position | None]:
    """Up to `count` firings before a position, the newest first, and the position to go on
    before; None at the end. Of `scan` firings looked at without `count` hits there may be fewer.
    """
    order = (firings.c.at_ms.desc(), firings.c.event_id.desc())
    within, others = wanted.range(before), wanted.others()
    looked = (
        sa.select(firings.c.at_ms, firings.c.event_id)
        .where(*within)
        .order_by(*order)
        .limit(scan)
        .subquery()
    )
    statement = sa.select(firings).where(*within)
    if others:
        found = sa.select(looked.c.event_id)
        statement = sa.select(firings).where(firings.c.event_id.in_(found), *others)
    with ledger.read() as connection:
        rows = connection.execute(statement.order_by(*order).limit(count + 1)).mappings().all()
        if len(rows) > count:
            return list(map(dict, rows[:count])), _position(rows[count - 1])
        if not others:
            return list(map(dict, rows)), None
        last = connection.execute(sa.select(looked).offset(scan - 1)).mappings().first()
        return list(map(dict, rows)), None if last is None else _position(last)


def _position(row: sa.RowMapping) -> Position:
    return row["at_ms"], row["event_id"]


def firing_row(ledger: Ledger, event_id: bytes) -> Row | None:
    """One firing; None when there is none."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(firings).where(firings.c.event_id == event_id))
        return next((dict(row) for row in rows.mappings()), None)


# ---- Tests of a partner ----------------------------------------------------------------------


def links_to_test(
    ledger: Ledger, partner: int, program: int, brand: int | None = None
) -> list[Row]:
    """Default links of the partner's active enrolments: of one program, or of all (0), as
    `linking` gives links.
    """
    wanted = [enrolments.c.partner_id == partner, enrolments.c.status == ACTIVE]
    if program != ANY_PROGRAM:
        wanted.append(enrolments.c.program_id == program)
    with ledger.read() as connection:
        numbers = list(
            connection.scalars(
                sa.select(enrolments.c.default_link)
                .where(*wanted)
                .order_by(enrolments.c.program_id)
                .limit(limits.TEST_LINKS_MAX)
            )
        )
    found = (link_row(ledger, number) for number in numbers)
    return [row for row in found if row is not None and brand in (None, row["program"]["brand_id"])]
