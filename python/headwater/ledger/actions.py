"""Actions as the management API looks at them: lists, one with its history, and what is owed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import (
    action_items,
    action_moves,
    actions,
    book_balances,
    book_entries,
    conversions,
    enrolments,
    programs,
)

Row = dict[str, Any]
_ORDER = (actions.c.tracked_ms, actions.c.action_id)


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """Which actions are wanted; None: all. 0 as a number: none, for nothing has it."""

    brand: int | None = None
    program: int | None = None
    partner: int | None = None
    event_type: int | None = None
    states: Sequence[str] | None = None
    kind: str | None = None
    conversion_id: bytes | None = None
    order_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    pay_until_ms: int | None = None
    """Due to be paid before that."""
    is_test: bool | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        columns = actions.c
        found = [
            column == value
            for column, value in (
                (columns.brand, self.brand),
                (columns.program, self.program),
                (columns.partner, self.partner),
                (columns.event_type, self.event_type),
                (columns.kind, self.kind),
                (columns.conversion_id, self.conversion_id),
            )
            if value is not None
        ]
        if self.states is not None:
            found.append(columns.state.in_(self.states))
        if self.order_id is not None:
            # Conversions are found by the order's id; actions by their conversion.
            found.append(
                columns.conversion_id.in_(
                    sa.select(conversions.c.conversion_id).where(
                        conversions.c.order_id == self.order_id
                    )
                )
            )
        if self.since_ms is not None:
            found.append(columns.tracked_ms >= self.since_ms)
        if self.until_ms is not None:
            found.append(columns.tracked_ms < self.until_ms)
        if self.pay_until_ms is not None:
            found.append(columns.pay_ms < self.pay_until_ms)
        if self.is_test is not None:
            test = columns.flags.bitwise_and(1)
            found.append(test != 0 if self.is_test else test == 0)
        return found


def with_states(wanted: ActionFilter, states: Sequence[str]) -> ActionFilter:
    """The filter, for actions in some states."""
    return replace(wanted, states=states)


def action_page(
    ledger: Ledger, wanted: ActionFilter, *, before: tuple[int, bytes] | None, count: int
) -> list[Row]:
    """Actions tracked before a (time, id), the newest first."""
    statement = (
        sa.select(actions)
        .where(*wanted.conditions())
        .order_by(*(column.desc() for column in _ORDER))
        .limit(count)
    )
    if before is not None:
        statement = statement.where(sa.tuple_(*_ORDER) < sa.tuple_(*before))
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def chosen(ledger: Ledger, wanted: ActionFilter, count: int) -> list[Row]:
    """Actions of a filter, those tracked first before the others."""
    statement = sa.select(actions).where(*wanted.conditions()).order_by(*_ORDER).limit(count)
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def actions_by_id(ledger: Ledger, action_ids: Sequence[bytes]) -> dict[bytes, Row]:
    """The actions there are among some ids."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(actions).where(actions.c.action_id.in_(action_ids))
        ).mappings()
        return {row["action_id"]: dict(row) for row in rows}


def actions_of_conversion(ledger: Ledger, conversion_id: bytes) -> list[Row]:
    """A conversion's actions, in the order of their ids."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(actions)
            .where(actions.c.conversion_id == conversion_id)
            .order_by(actions.c.action_id)
        ).mappings()
        return [dict(row) for row in rows]


class History(NamedTuple):
    """An action with all that was written of it, at one moment."""

    action: Row
    moves: list[Row]
    items: list[Row]
    entries: list[Row]


def history(ledger: Ledger, action_id: bytes) -> History | None:
    """One action with its moves, items and entries, in their orders; None: there is none."""
    with ledger.read() as connection:

        def rows(table: sa.Table) -> list[Row]:
            statement = (
                sa.select(table)
                .where(table.c.action_id == action_id)
                .order_by(*table.primary_key)
                # Each move has four entries at most.
                .limit(4 * (limits.ACTION_MOVES_MAX + 2))
            )
            return [dict(row) for row in connection.execute(statement).mappings()]

        found = rows(actions)
        if not found:
            return None
        return History(found[0], rows(action_moves), rows(action_items), rows(book_entries))


class Balance(NamedTuple):
    """What stands on one account of a partner in a program."""

    partner: int
    program: int
    currency: str
    account: str
    amount_minor: int


def balances(
    ledger: Ledger,
    *,
    brand: int | None = None,
    program: int | None = None,
    partner: int | None = None,
) -> list[Balance]:
    """Sums of the double-entry book by partner, program, currency and account, in that order, as
    they are kept with its entries; of the brand, the program or the partner alone.
    """
    columns = book_balances.c
    keys = (columns.partner, columns.program, columns.currency, columns.account)
    statement = sa.select(*keys, columns.amount_minor)
    if brand is not None:
        of_brand = sa.select(programs.c.id).where(programs.c.brand_id == brand)
        statement = statement.where(columns.program.in_(of_brand))
    if program is not None:
        statement = statement.where(columns.program == program)
    if partner is not None:
        joined = sa.select(enrolments.c.program_id).where(enrolments.c.partner_id == partner)
        statement = statement.where(columns.partner == partner, columns.program.in_(joined))
    with ledger.read() as connection:
        found = [Balance(*row) for row in connection.execute(statement)]
    return sorted(found)
