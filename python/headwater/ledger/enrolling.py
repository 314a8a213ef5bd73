"""Enrolments and links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from headwater import ids, limits
from headwater.errors import RequestRefused
from headwater.ledger import values
from headwater.ledger.destination import with_utm
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
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import domains, enrolments, links, partners, programs
from headwater.ledger.values import Identify
from headwater.model.records import Identifiers

_CODE_CHARACTERS: Final = 7
# 32 ** 7 codes: ten collisions in a row mean a broken source of randomness.
_CODE_TRIES: Final = 10


Rewrite = Callable[[dict[str, Any]], dict[str, Any]]
"""New fraud rules of those there are. Raises RequestRefused when they do not hold together."""


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a link is made of. `domain` is a host, a number or an external id."""

    code: str | None = None
    domain: Reference | None = None
    destination_url: str | None = None
    utm: Mapping[str, str] | None = None
    expires_ms: int | None = None
    honeypot: bool = False


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
        row = _enrolment(connection, program_row["id"], partner_row["id"])
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
        if _enrolment(connection, program_row["id"], partner_row["id"]) is None:
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
    link = _insert_link(connection, revision, Origin(), program, partner["id"], LinkRequest())
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


def _enrolment(connection: sa.Connection, program: int, partner: int) -> dict[str, Any] | None:
    row = (
        connection.execute(
            sa.select(enrolments).where(
                enrolments.c.program_id == program, enrolments.c.partner_id == partner
            )
        )
        .mappings()
        .first()
    )
    return None if row is None else dict(row)


# ---- Links ---------------------------------------------------------------------------------


def create_link(
    ledger: Ledger,
    origin: Origin,
    *,
    program: Reference,
    partner: Reference,
    request: LinkRequest,
    check: Callable[[Mapping[str, Any]], None],
) -> Saved:
    """A link of an enrolled partner.

    `check` is given the program's row and raises when the destination leaves it. Raises
    RequestRefused for unknown objects, a taken code, or a partner that is not enrolled.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        program_row = require(connection, programs, program, "program_id", code="unknown_program")
        partner_row = require(connection, partners, partner, "partner_id", code="unknown_partner")
        before = earlier(connection, links, origin, links.c.program_id == program_row["id"])
        if before:
            return before
        if _enrolment(connection, program_row["id"], partner_row["id"]) is None:
            raise refused_field(
                "partner_id", "unknown_partner", "the partner is not enrolled in the program"
            )
        check(program_row)
        row = _insert_link(connection, revision, origin, program_row, partner_row["id"], request)
        change = values.link_change(row, program_row["brand_id"])
        return saved(connection, revision, row, change, created=True)


def change_link(
    ledger: Ledger,
    reference: Reference,
    columns: Mapping[str, Any],
    check: Callable[[Mapping[str, Any]], None],
) -> Saved | None:
    """Set destination_url, utm, expires_ms, honeypot or status of a link; None: no such link."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, links, reference)
        if row is None:
            return None
        program = find(connection, programs, row["program_id"])
        if program is None:
            raise AssertionError("a link has a program")
        check(program)
        merged = {**row, **columns}
        url = with_utm(merged["destination_url"] or program["destination_url"], merged["utm"])
        row = update(connection, links, row, revision, {**columns, "url": _fitting(url)})
        change = values.link_change(row, program["brand_id"])
        return saved(connection, revision, row, change, created=False)


def _insert_link(
    connection: sa.Connection,
    revision: int,
    origin: Origin,
    program: Mapping[str, Any],
    partner: int,
    request: LinkRequest,
) -> dict[str, Any]:
    domain = _domain(connection, program["brand_id"], request.domain)
    host = domain["host"] if domain else ""
    utm = dict(request.utm or {})
    columns = {
        "program_id": program["id"],
        "partner_id": partner,
        "domain_id": domain["id"] if domain else None,
        "host": host,
        "code": _free_code(connection, host, request.code),
        "destination_url": request.destination_url,
        "utm": utm,
        "url": _fitting(with_utm(request.destination_url or program["destination_url"], utm)),
        "expires_ms": request.expires_ms,
        "honeypot": request.honeypot,
    }
    columns["code_key"] = columns["code"].lower()
    return insert(connection, links, revision, origin, columns)


def _fitting(url: str) -> str:
    if len(url) > limits.URL_BYTES_MAX:
        raise refused_field(
            "utm", "value_too_long", f"the destination with them is over {limits.URL_BYTES_MAX}"
        )
    return url


def _domain(
    connection: sa.Connection, brand: int, reference: Reference | None
) -> dict[str, Any] | None:
    if reference is None:
        return None
    found = find(connection, domains, reference, domains.c.brand_id == brand)
    if found is None and isinstance(reference, str):
        row = connection.execute(
            sa.select(domains).where(
                domains.c.host == reference.lower(), domains.c.brand_id == brand
            )
        ).mappings()
        found = next((dict(each) for each in row), None)
    if found is None:
        raise refused_field("domain", "invalid", "not a tracking domain of the program's brand")
    return found


def _free_code(connection: sa.Connection, host: str, wanted: str | None) -> str:
    """The code wanted, or a random one, that no other link of the host has in any case."""
    for _ in range(1 if wanted else _CODE_TRIES):
        code = wanted or ids.link_code(_CODE_CHARACTERS)
        if not taken(connection, links.c.host == host, links.c.code_key == code.lower()):
            return code
    if wanted:
        raise refused_field("code", "conflict", "another link of this domain has this code")
    raise RequestRefused("internal_error", "no free link code was found")
