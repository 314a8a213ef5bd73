"""Promo codes: which partner a code's use credits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

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
    refused_field,
    require,
    saved,
    taken,
    update,
)
from headwater.ledger.outbox import take_revisions
from headwater.ledger.schema import enrolments, partners, programs, promo_codes


def create_promo_code(
    ledger: Ledger, origin: Origin, *, program: Reference, partner: Reference, code: str
) -> Saved | None:
    """A code, in upper case, of an enrolled partner; None when there is no such program.

    Raises RequestRefused for a partner that is unknown or not enrolled, and for a code or an
    external id that the program has already. A deleted code is free again.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        owner = find(connection, programs, program)
        if owner is None:
            return None
        within = promo_codes.c.program_id == owner["id"]
        before = earlier(connection, promo_codes, origin, within)
        if before:
            return before
        partner_row = require(connection, partners, partner, "partner_id", code="unknown_partner")
        enrolled = taken(
            connection,
            enrolments.c.program_id == owner["id"],
            enrolments.c.partner_id == partner_row["id"],
        )
        if not enrolled:
            raise refused_field(
                "partner_id", "unknown_partner", "the partner is not enrolled in the program"
            )
        if taken(connection, within, promo_codes.c.code == code, _is_live()):
            raise refused_field("code", "conflict", "the program has this code already")
        columns = {"program_id": owner["id"], "partner_id": partner_row["id"], "code": code}
        row = insert(connection, promo_codes, revision, origin, columns)
        return saved(
            connection,
            revision,
            row,
            values.promo_code_change(row, owner["brand_id"]),
            created=True,
        )


def change_promo_code(
    ledger: Ledger, reference: Reference, columns: Mapping[str, Any]
) -> Saved | None:
    """Set the status of a code; None when there is no such code.

    Raises RequestRefused `conflict` when it was deleted: its text may be another's by now.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, promo_codes, reference)
        if row is None:
            return None
        if row["status"] == values.DELETED:
            raise RequestRefused("conflict", "this code was deleted")
        return _update(connection, row, revision, columns)


def delete_promo_code(ledger: Ledger, reference: Reference) -> Saved | None:
    """Take a code out of use, for good; None when there is no such code."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, promo_codes, reference)
        if row is None:
            return None
        if row["status"] == values.DELETED:
            return Saved(row, created=False, revision=row["revision"])
        return _update(connection, row, revision, {"status": values.DELETED})


def _update(
    connection: sa.Connection, row: dict[str, Any], revision: int, columns: Mapping[str, Any]
) -> Saved:
    program = find(connection, programs, row["program_id"])
    if program is None:
        raise AssertionError("a promo code has a program")
    row = update(connection, promo_codes, row, revision, columns)
    change = values.promo_code_change(row, program["brand_id"])
    return saved(connection, revision, row, change, created=False)


def _is_live() -> sa.ColumnElement[bool]:
    return promo_codes.c.status != values.DELETED
