"""Enrolments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from headwater.ledger import values
from headwater.ledger.engine import Ledger
from headwater.ledger.linking import LinkRequest, enrolment_row, insert_link
from headwater.ledger.objects import (
    Origin,
    Reference,
    Saved,
    find,
    insert,
    refused_field,
    saved,
    update,
)
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import enrolments, links, partners, programs
from headwater.ledger.values import Identify
from headwater.model.records import Identifiers

Rewrite = Callable[[dict[str, Any]], dict[str, Any]]
"""New fraud rules of those there are. Raises RequestRefused when they do not hold together."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An enrolment after a write, with its default link."""

    enrolment: Saved
    link: dict[str, Any]


# ---- Enrolments ----------------------------------------------------------------------------


def enrol(
    ledger: Ledger,
    origin: Origin,
    program: Reference,
    partner: Reference,
    status: str | None,
    *,
    identify: Identify,
    fraud: Rewrite | None = None,
) -> Enrolled | None:
    """Enrol a partner in a program, or find it enrolled; `status` None keeps what is, and so does
    `fraud`, which else makes the fraud rules of those there are.

    The default link is made in the same transaction. None when program or partner is unknown.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection, 2)
        program_row = find(connection, programs, program)
        partner_row = find(connection, partners, partner)
        if program_row is None or partner_row is None:
            return None
        row = enrolment_row(connection, program_row["id"], partner_row["id"])
        identity = identify(program_row["brand_id"], partner_row["email"])
        if row is not None:
            return _changed(
                connection,
                revision,
                row,
                _columns(row, status, fraud),
                partial(
                    values.enrolment_change,
                    brand=program_row["brand_id"],
                    partner=partner_row,
                    identity=identity,
                ),
            )
        rules = {} if fraud is None else fraud({})
        columns = {"status": status or values.ACTIVE, "fraud": rules}
        return _enrol(connection, origin, revision, program_row, partner_row, columns, identity)


def change_enrolment(
    ledger: Ledger,
    program: Reference,
    partner: Reference,
    status: str | None,
    *,
    identify: Identify,
    fraud: Rewrite | None = None,
) -> Enrolled | None:
    """As `enrol`, of a partner that is enrolled; None also when it is not."""
    with ledger.read() as connection:
        program_row = find(connection, programs, program)
        partner_row = find(connection, partners, partner)
        if program_row is None or partner_row is None:
            return None
        # An enrolment is never deleted: it is there afterwards too.
        if enrolment_row(connection, program_row["id"], partner_row["id"]) is None:
            return None
    numbers = (program_row["id"], partner_row["id"])
    return enrol(ledger, Origin(), *numbers, status, identify=identify, fraud=fraud)


def _columns(row: dict[str, Any], status: str | None, fraud: Rewrite | None) -> dict[str, Any]:
    """The columns of an enrolment that are to change."""
    wanted = {
        "status": status or row["status"],
        "fraud": row["fraud"] if fraud is None else fraud(row["fraud"]),
    }
    return {name: value for name, value in wanted.items() if value != row[name]}


def _changed(
    connection: sa.Connection,
    revision: int,
    row: dict[str, Any],
    columns: dict[str, Any],
    change: Callable[[dict[str, Any]], Change],
) -> Enrolled:
    kept = Saved(row, created=False, revision=row["revision"])
    if columns:
        row = update(connection, enrolments, row, revision, columns)
        kept = saved(connection, revision, row, change(row), created=False)
    link = find(connection, links, row["default_link"])
    if link is None:
        raise AssertionError("an enrolment has a default link")
    return Enrolled(kept, link)


def _enrol(
    connection: sa.Connection,
    origin: Origin,
    revision: int,
    program: dict[str, Any],
    partner: dict[str, Any],
    columns: dict[str, Any],
    identity: Identifiers,
) -> Enrolled:
    within = enrolments.c.program_id == program["id"]
    if origin.external_id is not None and find(connection, enrolments, origin.external_id, within):
        raise refused_field("external_id", "conflict", "another enrolment has this external id")
    link = insert_link(connection, revision, Origin(), program, partner["id"], LinkRequest())
    columns = {
        "program_id": program["id"],
        "partner_id": partner["id"],
        "default_link": link["id"],
        **columns,
    }
    row = insert(connection, enrolments, revision + 1, origin, columns)
    brand = program["brand_id"]
    announce(
        connection,
        revision,
        [
            values.link_change(link, brand),
            values.enrolment_change(row, brand, partner, identity),
        ],
    )
    return Enrolled(Saved(row, created=True, revision=revision + 1), link)
