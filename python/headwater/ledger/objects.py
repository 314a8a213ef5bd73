"""Objects of the configuration: brands, programs, event types, partners, domains.

Every write is one transaction with what the log and the edges are told of it (`outbox`). The
answer names the revision to wait for until they know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from headwater import clock
from headwater.errors import FieldFault, RequestRefused
from headwater.ledger import values
from headwater.ledger.audit import note_object
from headwater.ledger.engine import Ledger
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import brands, domains, event_types, partitions, partners, programs

Reference = int | str
"""An object's number, or its external id."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An object after a write. `revision` is the newest the log has to carry for it."""

    row: dict[str, Any]
    created: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object comes from: the caller's name for it, and a digest of the request.

    The same request under the same external id finds the object it made; another is a conflict.
    """

    external_id: str | None = None
    request_digest: bytes | None = None


# ---- Finding -------------------------------------------------------------------------------


def find(
    connection: sa.Connection,
    table: sa.Table,
    reference: Reference,
    *within: sa.ColumnElement[bool],
) -> dict[str, Any] | None:
    """The object of `table` that `reference` names; None when there is none.

    Raises RequestRefused `conflict` when an external id names objects of several owners.
    """
    column = table.c.id if isinstance(reference, int) else table.c.external_id
    rows = connection.execute(
        sa.select(table).where(column == reference, *within).limit(2)
    ).mappings()
    found = [dict(row) for row in rows]
    if len(found) > 1:
        raise RequestRefused(
            "conflict", "several objects have this external id; name the object by its id"
        )
    return found[0] if found else None


def require(
    connection: sa.Connection,
    table: sa.Table,
    reference: Reference,
    field: str,
    *within: sa.ColumnElement[bool],
    code: str = "invalid",
) -> dict[str, Any]:
    """Like `find`. Raises RequestRefused with `field` at fault when there is none."""
    found = find(connection, table, reference, *within)
    if found is None:
        raise refused_field(field, code, "no such object")
    return found


def refused_field(field: str, code: str, detail: str) -> RequestRefused:
    return RequestRefused(code, f"{field}: {detail}", faults=(FieldFault(field, code, detail),))


# ---- Writing -------------------------------------------------------------------------------


def earlier(
    connection: sa.Connection,
    table: sa.Table,
    origin: Origin,
    *owner: sa.ColumnElement[bool],
) -> Saved | None:
    """What the same request made before. Raises RequestRefused when another request did."""
    if origin.external_id is None:
        return None
    row = find(connection, table, origin.external_id, *owner)
    if row is None:
        return None
    if row["request_digest"] != origin.request_digest:
        raise refused_field(
            "external_id", "conflict", "another object has this external id already"
        )
    return Saved(row, created=False, revision=row["revision"])


def insert(
    connection: sa.Connection,
    table: sa.Table,
    revision: int,
    origin: Origin,
    columns: Mapping[str, Any],
) -> dict[str, Any]:
    """Insert an object with what all objects have; the row with its number."""
    now_ms = clock.now_ms()
    row = {
        "status": values.ACTIVE,
        **columns,
        "external_id": origin.external_id,
        "request_digest": origin.request_digest,
        "revision": revision,
        "created_ms": now_ms,
        "updated_ms": now_ms,
    }
    key = connection.execute(sa.insert(table).values(row)).inserted_primary_key
    if key is None:
        raise AssertionError("an inserted row has a key")
    note_object(connection, table, key[0], None, row)
    return {"id": key[0], **row}


def update(
    connection: sa.Connection,
    table: sa.Table,
    row: Mapping[str, Any],
    revision: int,
    columns: Mapping[str, Any],
) -> dict[str, Any]:
    """Change `columns` of an object; the row as it is then."""
    changed = {**columns, "revision": revision, "updated_ms": clock.now_ms()}
    connection.execute(sa.update(table).where(table.c.id == row["id"]).values(changed))
    note_object(connection, table, row["id"], row, changed)
    return {**row, **changed}


def taken(connection: sa.Connection, *condition: sa.ColumnElement[bool]) -> bool:
    """Whether a row like this is there already."""
    return connection.execute(sa.select(sa.literal(1)).where(*condition)).first() is not None


def saved(
    connection: sa.Connection, revision: int, row: dict[str, Any], change: Change, *, created: bool
) -> Saved:
    """Announce one change of one object."""
    announce(connection, revision, [change])
    return Saved(row, created=created, revision=revision)


# ---- Brands, partners ----------------------------------------------------------------------


def create_brand(ledger: Ledger, origin: Origin, *, name: str) -> Saved:
    """A brand, on the partition that has the fewest.

    Raises RequestRefused when the external id is another brand's.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        before = earlier(connection, brands, origin)
        if before:
            return before
        partition = connection.execute(
            sa.select(partitions.c.partition)
            .outerjoin(brands, brands.c.partition == partitions.c.partition)
            .group_by(partitions.c.partition)
            .order_by(sa.func.count(brands.c.id), partitions.c.partition)
            .limit(1)
        ).scalar_one()
        row = insert(connection, brands, revision, origin, {"name": name, "partition": partition})
        return saved(connection, revision, row, values.brand_change(row), created=True)


def change_brand(ledger: Ledger, reference: Reference, columns: Mapping[str, Any]) -> Saved | None:
    """Set columns of a brand; None when there is no such brand."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, brands, reference)
        if row is None:
            return None
        row = update(connection, brands, row, revision, columns)
        return saved(connection, revision, row, values.brand_change(row), created=False)


def create_partner(ledger: Ledger, origin: Origin, *, columns: Mapping[str, Any]) -> Saved:
    """A partner of the deployment. Raises RequestRefused for a taken external id."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        before = earlier(connection, partners, origin)
        if before:
            return before
        row = insert(connection, partners, revision, origin, columns)
        return saved(connection, revision, row, values.partner_change(row), created=True)


# ---- Programs, event types, domains --------------------------------------------------------


def create_program(
    ledger: Ledger, origin: Origin, *, brand: Reference, columns: Mapping[str, Any]
) -> Saved:
    """A program of a brand; `columns` are those of the table that the caller decides.

    Raises RequestRefused for an unknown brand, a taken code, or a taken external id.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        owner = require(connection, brands, brand, "brand_id")
        before = earlier(connection, programs, origin, programs.c.brand_id == owner["id"])
        if before:
            return before
        if taken(connection, programs.c.code == columns["code"]):
            raise refused_field("code", "conflict", "another program has this code")
        row = insert(connection, programs, revision, origin, {**columns, "brand_id": owner["id"]})
        return saved(connection, revision, row, values.program_change(row), created=True)


def create_event_type(
    ledger: Ledger,
    origin: Origin,
    *,
    program: Reference,
    code: str,
    kind: str,
    click_window_seconds: int | None = None,
) -> Saved | None:
    """An event type of a program; None when there is no such program.

    Raises RequestRefused when the program has the code or external id already.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        owner = find(connection, programs, program)
        if owner is None:
            return None
        within = event_types.c.program_id == owner["id"]
        before = earlier(connection, event_types, origin, within)
        if before:
            return before
        if taken(connection, within, event_types.c.code == code):
            raise refused_field("code", "conflict", "the program has an event type of this code")
        columns = {
            "program_id": owner["id"],
            "code": code,
            "kind": kind,
            "click_window_seconds": click_window_seconds,
        }
        row = insert(connection, event_types, revision, origin, columns)
        change = values.event_type_change(row, owner["brand_id"])
        return saved(connection, revision, row, change, created=True)


def change_event_type(
    ledger: Ledger, program: Reference, reference: Reference, columns: Mapping[str, Any]
) -> Saved | None:
    """Set columns of a program's event type; None when there is no such one."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        owner = find(connection, programs, program)
        if owner is None:
            return None
        row = find(connection, event_types, reference, event_types.c.program_id == owner["id"])
        if row is None:
            return None
        row = update(connection, event_types, row, revision, columns)
        change = values.event_type_change(row, owner["brand_id"])
        return saved(connection, revision, row, change, created=False)


def create_domain(ledger: Ledger, origin: Origin, *, brand: Reference, host: str) -> Saved:
    """A tracking domain of a brand. Raises RequestRefused when it is taken."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        owner = require(connection, brands, brand, "brand_id")
        before = earlier(connection, domains, origin, domains.c.brand_id == owner["id"])
        if before:
            return before
        if taken(connection, domains.c.host == host):
            raise refused_field("domain", "conflict", "this domain is registered already")
        row = insert(connection, domains, revision, origin, {"brand_id": owner["id"], "host": host})
        return saved(connection, revision, row, values.domain_change(row), created=True)
