"""Changes of one object that are told for many others.

A partner's status and address decide over all its enrolments, a program's destination over all
links that have none of their own. Such a change is noted in `config_spreads` in the transaction
that makes it, and carried to the others a bounded number of rows a transaction; whoever finds the
note later, after a crash, goes on from where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from headwater import limits
from headwater.ledger import values
from headwater.ledger.engine import Ledger
from headwater.ledger.enrolling import Rewrite
from headwater.ledger.objects import Reference, Saved, find, saved, update
from headwater.ledger.outbox import announce, newest_revision, take_revisions
from headwater.ledger.schema import config_spreads, enrolments, links, partners, programs
from headwater.ledger.values import Identify
from headwater.model.records import Identifiers

# Each object of a step takes two rows, its own and the outbox's; the note and the counter two.
_STEP_OBJECTS: Final = (limits.TRANSACTION_ROWS_MAX - 2) // 2


def change_partner(
    ledger: Ledger, reference: Reference, columns: Mapping[str, Any], *, identify: Identify
) -> Saved | None:
    """Set columns of a partner; a new status or e-mail address is told for all its enrolments.
    None: no such partner.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        before = find(connection, partners, reference)
        if before is None:
            return None
        row = update(connection, partners, before, revision, columns)
        result = saved(connection, revision, row, values.partner_change(row), created=False)
        concerns_many = any(row[name] != before[name] for name in ("status", "email"))
        if concerns_many:
            _note_spread(connection, "partner", row["id"])
    return _carried(ledger, "partner", result, identify) if concerns_many else result


def change_program(
    ledger: Ledger,
    reference: Reference,
    columns: Mapping[str, Any],
    fraud: Rewrite | None = None,
) -> Saved | None:
    """Set columns of a program; `attribution` sets those of its members that are given, `fraud`
    makes the fraud rules of those there are. A new destination is told for the links that have
    none of their own. None: no such program.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        before = find(connection, programs, reference)
        if before is None:
            return None
        if "attribution" in columns:
            merged = {**before["attribution"], **columns["attribution"]}
            columns = {**columns, "attribution": merged}
        if fraud is not None:
            columns = {**columns, "fraud": fraud(before["fraud"])}
        row = update(connection, programs, before, revision, columns)
        result = saved(connection, revision, row, values.program_change(row), created=False)
        concerns_many = row["destination_url"] != before["destination_url"]
        if concerns_many:
            _note_spread(connection, "program", row["id"])
    return _carried(ledger, "program", result, _nobody) if concerns_many else result


def _nobody(_brand: int, _email: str) -> Identifiers:
    """The links of a program name no person."""
    return ()


def _carried(ledger: Ledger, kind: str, result: Saved, identify: Identify) -> Saved:
    """Carry the object's change to the end, together with whoever else does."""
    while spread_step(ledger, kind, result.row["id"], identify):
        pass
    return Saved(result.row, created=False, revision=newest_revision(ledger))


def _note_spread(connection: sa.Connection, kind: str, number: int) -> None:
    key = {"object": kind, "number": number}
    again = connection.execute(
        sa.update(config_spreads)
        .filter_by(**key)
        .values(after=0, serial=config_spreads.c.serial + 1)
    )
    if not again.rowcount:
        connection.execute(sa.insert(config_spreads).values(**key, after=0, serial=1))


def unfinished_spreads(ledger: Ledger) -> list[tuple[str, int]]:
    """Changes whose carrying somebody began and has not finished."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(config_spreads.c.object, config_spreads.c.number).limit(
                limits.RECOVERY_ROWS_MAX
            )
        )
        return [(row.object, row.number) for row in rows]


def spread_step(ledger: Ledger, kind: str, number: int, identify: Identify) -> bool:
    """Carry one object's change to the next of those it concerns, in one transaction.

    False when that was the last of them, or nothing was left to do.
    """
    key = {"object": kind, "number": number}
    with ledger.write() as connection:
        first = take_revisions(connection, _STEP_OBJECTS)
        after = connection.scalar(sa.select(config_spreads.c.after).filter_by(**key))
        if after is None:
            return False
        step = _program_step
        if kind == "partner":
            step = partial(_partner_step, identify)
        last, count = step(connection, first, number, after)
        unfinished = count == _STEP_OBJECTS
        if unfinished:
            connection.execute(sa.update(config_spreads).filter_by(**key).values(after=last))
        else:
            connection.execute(sa.delete(config_spreads).filter_by(**key))
        return unfinished


def _partner_step(
    identify: Identify, connection: sa.Connection, first: int, number: int, after: int
) -> tuple[int, int]:
    partner = find(connection, partners, number)
    if partner is None:
        raise AssertionError("a partner is never deleted")
    rows = connection.execute(
        sa.select(enrolments, programs.c.brand_id)
        .join(programs, programs.c.id == enrolments.c.program_id)
        .where(enrolments.c.partner_id == number, enrolments.c.id > after)
        .order_by(enrolments.c.id)
        .limit(_STEP_OBJECTS)
    ).mappings()
    changes, last = [], after
    for revision, row in enumerate([dict(each) for each in rows], first):
        update(connection, enrolments, row, revision, {})
        brand = row["brand_id"]
        identity = identify(brand, partner["email"])
        changes.append(values.enrolment_change(row, brand, partner, identity))
        last = row["id"]
    announce(connection, first, changes)
    return last, len(changes)


def _program_step(
    connection: sa.Connection, first: int, number: int, after: int
) -> tuple[int, int]:
    rows = connection.execute(
        sa.select(
            links, programs.c.brand_id, programs.c.destination_url.label("program_destination")
        )
        .join(programs, programs.c.id == links.c.program_id)
        .where(links.c.program_id == number, links.c.id > after)
        .where(links.c.destination_url.is_(None))
        .order_by(links.c.id)
        .limit(_STEP_OBJECTS)
    ).mappings()
    changes, last = [], after
    for revision, row in enumerate([dict(each) for each in rows], first):
        url = row["program_destination"]
        changed = update(connection, links, row, revision, {"url": url})
        changes.append(values.link_change(changed, row["brand_id"]))
        last = row["id"]
    announce(connection, first, changes)
    return last, len(changes)
