"""Clicks that are paid for, as the management API looks at them: under review, and by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from headwater.ledger.engine import Ledger
from headwater.ledger.schema import (
    actions,
    click_days,
    click_revisions,
    click_standings,
    clicks,
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PendingFilter:
    """Which clicks are wanted; None: all. 0 as a number: none, for nothing has it."""

    brand: int | None = None
    program: int | None = None
    partner: int | None = None
    day: str | None = None
    verdict: str | None = None
    standing: str | None = None
    score_from: int = 0


Place = tuple[int, int, str, str, bytes]
"""Program, partner, day, currency, click id: the order of the list."""

_DAY_KEY = (
    click_days.c.program,
    click_days.c.partner,
    click_days.c.day,
    click_days.c.currency,
)


def pending_page(
    ledger: Ledger, wanted: PendingFilter, *, after: Place | None, count: int
) -> list[Row]:
    """Clicks of days that wait to be locked, after a place; each with its `touch_ms` and the bytes
    of what scoring found last, `fraud`.

    Goes from day to day: the clicks of days that are locked, which are nearly all, are not
    looked at.
    """
    found: list[Row] = []
    with ledger.read() as connection:
        for key in _pending_days(connection, wanted, after):
            past = after[-1] if after is not None and after[:-1] == tuple(key) else b""
            clicks_of_day = _clicks_of_day(wanted, tuple(key), past, count - len(found))
            found += (dict(row) for row in connection.execute(clicks_of_day).mappings())
            if len(found) >= count:
                break
        again = _scored_again(connection, [row for row in found if row["revision"]])
    return [{**row, "fraud": again.get(row["click_id"], row["fraud"])} for row in found]


def _pending_days(
    connection: sa.Connection, wanted: PendingFilter, after: Place | None
) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    columns = click_days.c
    statement = (
        sa.select(*_DAY_KEY)
        .where(columns.state == "pending", columns.mode == "review")
        .order_by(*_DAY_KEY)
    )
    for column, value in (
        (columns.brand, wanted.brand),
        (columns.program, wanted.program),
        (columns.partner, wanted.partner),
        (columns.day, wanted.day),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if after is not None:
        statement = statement.where(sa.tuple_(*_DAY_KEY) >= sa.tuple_(*after[:-1]))
    return connection.execute(statement).all()


def _clicks_of_day(
    wanted: PendingFilter, key: tuple[Any, ...], past: bytes, count: int
) -> sa.Select[*tuple[Any, ...]]:
    of = click_standings.c
    program, partner, day, currency = key
    statement = (
        sa.select(click_standings, clicks.c.touch_ms, clicks.c.fraud)
        .join(clicks, clicks.c.click_id == of.click_id)
        .where(
            of.program == program,
            of.partner == partner,
            of.day == day,
            of.currency == currency,
            of.click_id > past,
            of.standing != "late",
        )
        .order_by(of.click_id)
        .limit(count)
    )
    if wanted.verdict is not None:
        statement = statement.where(of.verdict == wanted.verdict)
    if wanted.standing is not None:
        statement = statement.where(of.standing == wanted.standing)
    if wanted.score_from:
        statement = statement.where(of.score >= wanted.score_from)
    return statement


def _scored_again(connection: sa.Connection, rows: Sequence[Row]) -> dict[bytes, bytes]:
    """What the newest scores of clicks found that were scored again."""
    columns = click_revisions.c
    found = connection.execute(
        sa.select(columns.click_id, columns.fraud)
        .where(columns.click_id.in_([row["click_id"] for row in rows]))
        .order_by(columns.click_id, columns.revision)
    )
    return {row.click_id: row.fraud for row in found}


def brands_of_clicks(ledger: Ledger, click_ids: Sequence[bytes]) -> dict[bytes, int]:
    """The brand of each click there is."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(clicks.c.click_id, clicks.c.brand).where(clicks.c.click_id.in_(click_ids))
        )
        return {row.click_id: row.brand for row in rows}


class DayKey(NamedTuple):
    """Which row of the payouts report comes after which."""

    day: str
    program: int
    partner: int
    currency: str


_DAY_ORDER = (
    click_days.c.day,
    click_days.c.program,
    click_days.c.partner,
    click_days.c.currency,
)


@dataclass(frozen=True, slots=True)
class DayFilter:
    """Days from `since_day` to `until_day`, both included; None: all."""

    brand: int | None = None
    program: int | None = None
    partner: int | None = None
    since_day: str | None = None
    until_day: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        columns = click_days.c
        found = [
            column == value
            for column, value in (
                (columns.brand, self.brand),
                (columns.program, self.program),
                (columns.partner, self.partner),
            )
            if value is not None
        ]
        if self.since_day is not None:
            found.append(columns.day >= self.since_day)
        if self.until_day is not None:
            found.append(columns.day <= self.until_day)
        return found


_BOOKED = actions.c.payout_minor + actions.c.compensated_minor


def day_page(ledger: Ledger, wanted: DayFilter, *, after: DayKey | None, count: int) -> list[Row]:
    """Days of clicks after a place, each with the `action_state` and the `booked_minor` of its
    action, None while there is none.
    """
    statement = (
        sa.select(
            click_days,
            actions.c.state.label("action_state"),
            _BOOKED.label("booked_minor"),
        )
        .outerjoin(actions, actions.c.action_id == click_days.c.action_id)
        .where(*wanted.conditions())
        .order_by(*_DAY_ORDER)
        .limit(count)
    )
    if after is not None:
        statement = statement.where(sa.tuple_(*_DAY_ORDER) > sa.tuple_(*after))
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


class DayTotal(NamedTuple):
    """All days of a filter in one currency."""

    currency: str
    gross: int
    invalid: int
    duplicate: int
    rejected: int
    over_cap: int
    payable: int
    payout_micros: int
    booked_minor: int


def day_totals(ledger: Ledger, wanted: DayFilter) -> list[DayTotal]:
    """Sums over the days of a filter, by currency."""
    columns = click_days.c
    names = ("gross", "invalid", "duplicate", "rejected", "over_cap", "payable", "payout_micros")
    statement = (
        sa.select(
            columns.currency,
            *(sa.func.sum(columns[name]) for name in names),
            sa.func.coalesce(sa.func.sum(_BOOKED), 0),
        )
        .outerjoin(actions, actions.c.action_id == columns.action_id)
        .where(*wanted.conditions())
        .group_by(columns.currency)
        .order_by(columns.currency)
    )
    with ledger.read() as connection:
        return [DayTotal(row[0], *map(int, row[1:])) for row in connection.execute(statement)]
