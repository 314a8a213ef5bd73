"""Terms as objects of the configuration: versions of a program's, and of its partners' own.

What may be said in terms is the book's to know; here is who they belong to, and what stands
beside them. What is checked is checked in the transaction that writes, so no two requests make
the same version, and none slips in before another's notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from headwater import clock
from headwater.errors import RequestRefused
from headwater.ledger import values
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import (
    Origin,
    Reference,
    Saved,
    earlier,
    find,
    insert,
    require,
    saved,
    taken,
    update,
)
from headwater.ledger.outbox import Change, take_revisions
from headwater.ledger.schema import enrolments, event_types, partners, programs, terms

Row = Mapping[str, Any]
TEMPLATE = 0
"""The partner of terms that hold for everybody without terms of its own."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose terms they are, and what there is of them."""

    program: Row
    partner: int
    event_types: Sequence[Row]
    own: Sequence[Row]
    """Terms of the owner that are not deleted, the oldest version first."""
    template: Sequence[Row]
    """The same of the program's template; empty for the template itself."""


Make = Callable[[Owner, int], dict[str, Any]]
"""From the owner and the time now to a control value without its version. Raises
RequestRefused."""

Alter = Callable[[Owner, Row, int], dict[str, Any]]
"""From the owner, the row and the time now to the columns to set. Raises RequestRefused."""


def create_terms(
    ledger: Ledger, origin: Origin, *, program: Reference, partner: Reference | None, make: Make
) -> Saved | None:
    """The next version of an owner's terms; None when there is no such program.

    Raises RequestRefused `partner_not_in_program`, or what `make` does.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, programs, program)
        if row is None:
            return None
        before = earlier(connection, terms, origin, terms.c.program_id == row["id"])
        if before:
            return before
        owner = _owner(connection, row, _partner(connection, row, partner))
        value = make(owner, clock.now_ms())
        newest = connection.scalar(
            sa.select(sa.func.max(terms.c.version)).where(*_of(row["id"], owner.partner))
        )
        value["version"] = (newest or 0) + 1
        columns = {
            "program_id": row["id"],
            "partner_id": owner.partner,
            "version": value["version"],
            "from_ms": value["from_ms"],
            "value": value,
        }
        made = insert(connection, terms, revision, origin, columns)
        return saved(connection, revision, made, _change(made, row["brand_id"]), created=True)


def change_terms(ledger: Ledger, reference: Reference, alter: Alter) -> Saved | None:
    """Set columns of terms; None when there are no such terms, or they are deleted."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, terms, reference, terms.c.status != values.DELETED)
        if row is None:
            return None
        program = require(connection, programs, row["program_id"], "program_id")
        owner = _owner(connection, program, row["partner_id"])
        columns = alter(owner, row, clock.now_ms())
        row = update(connection, terms, row, revision, columns)
        change = _change(row, program["brand_id"])
        return saved(connection, revision, row, change, created=False)


def _partner(connection: sa.Connection, program: Row, reference: Reference | None) -> int:
    if reference is None:
        return TEMPLATE
    partner = require(connection, partners, reference, "partner_id", code="unknown_partner")
    columns = enrolments.c
    enrolled = (columns.program_id == program["id"], columns.partner_id == partner["id"])
    if not taken(connection, *enrolled):
        raise RequestRefused("partner_not_in_program")
    return int(partner["id"])


def _of(program: int, partner: int) -> tuple[sa.ColumnElement[bool], ...]:
    return terms.c.program_id == program, terms.c.partner_id == partner


def _owner(connection: sa.Connection, program: Row, partner: int) -> Owner:
    def rows(table: sa.Table, *where: sa.ColumnElement[bool]) -> list[Row]:
        statement = sa.select(table).where(*where).order_by(table.c.id)
        return [dict(row) for row in connection.execute(statement).mappings()]

    live = terms.c.status != values.DELETED
    return Owner(
        program=program,
        partner=partner,
        event_types=rows(event_types, event_types.c.program_id == program["id"]),
        own=rows(terms, live, *_of(program["id"], partner)),
        template=[] if partner == TEMPLATE else rows(terms, live, *_of(program["id"], TEMPLATE)),
    )


def control_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """As terms stand on the log: the book goes by the value as it is, the engine by its window, in
    its own unit.
    """
    told = dict(value)
    if told.get("window_seconds") is not None:
        told["window_ms"] = told["window_seconds"] * 1000
    return told


def _change(row: Row, brand: int) -> Change:
    value = control_of(row["value"])
    is_deleted = row["status"] == values.DELETED
    return Change("terms", row["id"], brand, value, None, for_edges=False, is_deleted=is_deleted)


def terms_row(ledger: Ledger, reference: Reference) -> dict[str, Any] | None:
    """Terms that are not deleted, with their `brand`; None when there are none."""
    with ledger.read() as connection:
        row = find(connection, terms, reference, terms.c.status != values.DELETED)
        if row is None:
            return None
        brand = connection.scalar(
            sa.select(programs.c.brand_id).where(programs.c.id == row["program_id"])
        )
        return {**row, "brand": brand}


def terms_page(
    ledger: Ledger, program: int, owners: Sequence[int] | None, *, after: int, count: int
) -> list[dict[str, Any]]:
    """Terms of a program with numbers above `after`, of some owners if named."""
    statement = (
        sa.select(terms)
        .where(terms.c.program_id == program, terms.c.id > after, terms.c.status != values.DELETED)
        .order_by(terms.c.id)
        .limit(count)
    )
    if owners is not None:
        statement = statement.where(terms.c.partner_id.in_(owners))
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def owner_of(ledger: Ledger, program: Row, partner: int) -> Owner:
    """An owner as it stands, for looking at only."""
    with ledger.read() as connection:
        return _owner(connection, program, partner)


def has_terms(ledger: Ledger, program: int) -> bool:
    """Whether there ever were terms in a program, of whomever."""
    with ledger.read() as connection:
        return taken(connection, terms.c.program_id == program)


def is_enrolled(ledger: Ledger, program: int, partner: int) -> bool:
    """Whether a partner is in a program, active or not."""
    columns = enrolments.c
    with ledger.read() as connection:
        return taken(connection, columns.program_id == program, columns.partner_id == partner)
