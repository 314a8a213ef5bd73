"""Partner pixels as objects of the configuration.

A change is written with what the log is told of it. A pixel of one program goes by the lane of
its brand; one of all programs is told to every lane, as the partner may be in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from headwater import limits
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
    taken,
    update,
)
from headwater.ledger.outbox import Change as Announced
from headwater.ledger.outbox import announce, take_revisions
from headwater.ledger.schema import enrolments, partitions, partners, pixels, programs
from headwater.model.pixels import ANY_PROGRAM, POSTBACK, control_number, control_value
from headwater.model.webhooks import SECRETS_MAX

Row = Mapping[str, Any]
Change = Callable[[Row], Mapping[str, Any]]
"""From a pixel's row to the columns that change, within the transaction that writes them."""

OBJECT = "pixel"
"""The name of its control records."""


def create_pixel(
    ledger: Ledger, origin: Origin, *, partner: Reference, columns: Mapping[str, Any]
) -> Saved | None:
    """A pixel of a partner; `columns` as `check_pixel` gives them. None: no such partner.

    Raises RequestRefused `partner_not_in_program` for a program the partner is not in, `conflict`
    for a slot that has a pixel already, and `too_many_values` at the bound of pixels.
    """
    with ledger.write() as connection:
        first, lanes = _begin(connection)
        owner = find(connection, partners, partner)
        if owner is None:
            return None
        within = pixels.c.partner_id == owner["id"]
        before = earlier(connection, pixels, origin, within)
        if before:
            return before
        _require_room(connection, owner["id"])
        new = {"signing_salts": [], **columns, "partner_id": owner["id"]}
        brand = _brand_of(connection, new)
        _require_free(connection, new)
        row = insert(connection, pixels, first + lanes - 1, origin, new)
        return _told(connection, first, lanes, row, brand, created=True)


def change_pixel(
    ledger: Ledger, partner: Reference, reference: Reference, change: Change
) -> Saved | None:
    """Set the columns of a pixel that `change` gives for its row; None when the partner has no
    such pixel.

    Raises RequestRefused as `create_pixel` does, `conflict` for one that was deleted, and what
    `change` raises.
    """
    return _changed(ledger, partner, reference, change)


def delete_pixel(ledger: Ledger, partner: Reference, reference: Reference) -> Saved | None:
    """Take a pixel out of use, for good; its slot is free again. None: no such pixel."""
    return _changed(ledger, partner, reference, lambda _row: {"status": values.DELETED})


def add_salt(ledger: Ledger, partner: Reference, reference: Reference, salt: str) -> Saved | None:
    """Make a salt the newest of a postback, which is signed from then on; the oldest gives way.

    Raises RequestRefused `invalid` for a pixel that the browser fires.
    """

    def added(row: Row) -> dict[str, Any]:
        if row["type"] != POSTBACK:
            raise refused_field("type", "invalid", "only a postback is signed")
        return {"signing_salts": [*row["signing_salts"], salt][-SECRETS_MAX:]}

    return _changed(ledger, partner, reference, added)


def keep_newest_salt(ledger: Ledger, partner: Reference, reference: Reference) -> Saved | None:
    """Forget every salt of a pixel but the newest: the change of its secret is over."""
    return _changed(
        ledger,
        partner,
        reference,
        lambda row: {"signing_salts": row["signing_salts"][-1:]},
    )


def pixel_row(
    ledger: Ledger, partner: int, reference: Reference, brand: int | None = None
) -> dict[str, Any] | None:
    """A pixel of the partner, deleted or not, as far as `pixel_page` shows it."""
    with ledger.read() as connection:
        return find(connection, pixels, reference, *_within(partner, brand))


def pixel_page(
    ledger: Ledger, partner: int, brand: int | None, *, after: int, count: int
) -> list[dict[str, Any]]:
    """The partner's pixels that are not deleted, by number; with `brand`, those of the brand's
    programs and of all programs.
    """
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(pixels)
            .where(
                pixels.c.id > after,
                pixels.c.status != values.DELETED,
                *_within(partner, brand),
            )
            .order_by(pixels.c.id)
            .limit(count)
        ).mappings()
        return [dict(row) for row in rows]


def _within(partner: int, brand: int | None) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [pixels.c.partner_id == partner]
    if brand is not None:
        of_brand = sa.select(programs.c.id).where(programs.c.brand_id == brand)
        column = pixels.c.program_number
        found.append((column == ANY_PROGRAM) | column.in_(of_brand))
    return found


def _changed(
    ledger: Ledger, partner: Reference, reference: Reference, change: Change
) -> Saved | None:
    with ledger.write() as connection:
        first, lanes = _begin(connection)
        owner = find(connection, partners, partner)
        row = owner and find(connection, pixels, reference, pixels.c.partner_id == owner["id"])
        if not row:
            return None
        columns = change(row)
        if row["status"] == values.DELETED:
            if columns.get("status") == values.DELETED:
                return Saved(row, created=False, revision=row["revision"])
            raise RequestRefused("conflict", "this pixel was deleted")
        new = {**row, **columns}
        if new["program_number"] != row["program_number"]:
            # The lanes it leaves would never hear of it.
            raise refused_field("program_id", "invalid", "make another pixel for that program")
        brand = _brand_of(connection, new)
        if new["status"] != values.DELETED:
            _require_free(connection, new)
        row = update(connection, pixels, row, first + lanes - 1, columns)
        return _told(connection, first, lanes, row, brand, created=False)


def _begin(connection: sa.Connection) -> tuple[int, int]:
    """The first of as many revisions as there are lanes, and their number."""
    lanes = connection.scalar(sa.select(sa.func.count()).select_from(partitions)) or 1
    return take_revisions(connection, lanes), lanes


def _require_room(connection: sa.Connection, partner: int) -> None:
    count = connection.scalar(
        sa.select(sa.func.count())
        .select_from(pixels)
        .where(pixels.c.partner_id == partner, pixels.c.status != values.DELETED)
    )
    if (count or 0) >= limits.PIXELS_PER_PARTNER_MAX:
        raise RequestRefused(
            "too_many_values", f"a partner has at most {limits.PIXELS_PER_PARTNER_MAX} pixels"
        )


def _brand_of(connection: sa.Connection, row: Row) -> int:
    """The brand of the pixel's program; 0 for one of all programs."""
    number = row["program_number"]
    if number == ANY_PROGRAM:
        return 0
    program = find(connection, programs, number)
    if program is None or not taken(
        connection,
        enrolments.c.program_id == number,
        enrolments.c.partner_id == row["partner_id"],
    ):
        raise refused_field(
            "program_id", "partner_not_in_program", "the partner is not enrolled in the program"
        )
    brand: int = program["brand_id"]
    return brand


def _require_free(connection: sa.Connection, row: Row) -> None:
    same = [
        pixels.c[name] == row[name]
        for name in ("partner_id", "program_number", "commission", "slot")
    ]
    others = pixels.c.id != row.get("id", 0)
    if taken(connection, *same, others, pixels.c.status != values.DELETED):
        raise refused_field(
            "product_id", "conflict", "the partner has a pixel for this program, type and slot"
        )


def _told(
    connection: sa.Connection,
    first: int,
    lanes: int,
    row: dict[str, Any],
    brand: int,
    *,
    created: bool,
) -> Saved:
    """Announce a pixel to the lane of its brand, or to all of them."""
    value = control_value(row)
    is_deleted = row["status"] == values.DELETED
    where: list[int | None] = list(range(lanes)) if brand == 0 else [None]
    announce(
        connection,
        first + lanes - len(where),
        [
            Announced(
                OBJECT,
                row["id"] if lane is None else control_number(row["id"], lane),
                brand,
                value,
                None,
                for_edges=False,
                is_deleted=is_deleted,
                partition=lane,
            )
            for lane in where
        ],
    )
    return Saved(row, created=created, revision=first + lanes - 1)
