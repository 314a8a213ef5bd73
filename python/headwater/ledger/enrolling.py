"""Enrolments and links, and changes of one object that are told for many others.

A partner's status decides over all its enrolments, a program's destination over all links that
have none of their own. Such a change is noted in `config_spreads` in the transaction that makes
it, and carried to the others a bounded number of rows a transaction; whoever finds the note later,
after a crash, goes on from where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from headwater.ledger.outbox import announce, newest_revision, take_revisions
from headwater.ledger.schema import (
    config_spreads,
    domains,
    enrolments,
    links,
    partners,
    programs,
)

# Each object of a step takes two rows, its own and the outbox's; the note and the counter two.
_STEP_OBJECTS: Final = (limits.TRANSACTION_ROWS_MAX - 2) // 2
_CODE_CHARACTERS: Final = 7
# 32 ** 7 codes: ten collisions in a row mean a broken source of randomness.
_CODE_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a link is made of. `domain` is a host, a number or an external id."""

    code: str | None = None
    domain: Reference | None = None
    destination_url: str | None = None
    utm: Mapping[str, str] | None = None
    expires_ms: int | None = None


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
) -> Enrolled | None:
    """Enrol a partner in a program, or find it enrolled; `status` None keeps what is.

    The default link is made in the same transaction. None when program or partner is unknown.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection, 2)
        program_row = find(connection, programs, program)
        partner_row = find(connection, partners, partner)
        if program_row is None or partner_row is None:
            return None
        row = _enrolment(connection, program_row["id"], partner_row["id"])
        if row is None:
            return _enrol(connection, origin, revision, program_row, partner_row, status)
        kept = Saved(row, created=False, revision=row["revision"])
        if status is not None and status != row["status"]:
            row = update(connection, enrolments, row, revision, {"status": status})
            change = values.enrolment_change(row, program_row["brand_id"], partner_row["status"])
            kept = saved(connection, revision, row, change, created=False)
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
    status: str | None,
) -> Enrolled:
    within = enrolments.c.program_id == program["id"]
    if origin.external_id is not None and find(connection, enrolments, origin.external_id, within):
        raise refused_field("external_id", "conflict", "another enrolment has this external id")
    link = _insert_link(connection, revision, Origin(), program, partner["id"], LinkRequest())
    columns = {
        "program_id": program["id"],
        "partner_id": partner["id"],
        "default_link": link["id"],
        "status": status or values.ACTIVE,
    }
    row = insert(connection, enrolments, revision + 1, origin, columns)
    brand = program["brand_id"]
    announce(
        connection,
        revision,
        [
            values.link_change(link, brand),
            values.enrolment_change(row, brand, partner["status"]),
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
    """Set destination_url, utm, expires_ms or status of a link; None when there is none."""
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


# ---- Changes that concern many -------------------------------------------------------------


def change_partner(
    ledger: Ledger, reference: Reference, columns: Mapping[str, Any]
) -> Saved | None:
    """Set columns of a partner; a new status is told for all its enrolments. None: no partner."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        before = find(connection, partners, reference)
        if before is None:
            return None
        row = update(connection, partners, before, revision, columns)
        result = saved(connection, revision, row, values.partner_change(row), created=False)
        concerns_many = row["status"] != before["status"]
        if concerns_many:
            _note_spread(connection, "partner", row["id"])
    return _carried(ledger, "partner", result) if concerns_many else result


def change_program(
    ledger: Ledger, reference: Reference, columns: Mapping[str, Any]
) -> Saved | None:
    """Set columns of a program; `attribution` sets those of its members that are given. A new
    destination is told for the links that have none of their own. None: no such program.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        before = find(connection, programs, reference)
        if before is None:
            return None
        if "attribution" in columns:
            merged = {**before["attribution"], **columns["attribution"]}
            columns = {**columns, "attribution": merged}
        row = update(connection, programs, before, revision, columns)
        result = saved(connection, revision, row, values.program_change(row), created=False)
        concerns_many = row["destination_url"] != before["destination_url"]
        if concerns_many:
            _note_spread(connection, "program", row["id"])
    return _carried(ledger, "program", result) if concerns_many else result


def _carried(ledger: Ledger, kind: str, result: Saved) -> Saved:
    """Carry the object's change to the end, together with whoever else does."""
    while spread_step(ledger, kind, result.row["id"]):
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


def spread_step(ledger: Ledger, kind: str, number: int) -> bool:
    """Carry one object's change to the next of those it concerns, in one transaction.

    False when that was the last of them, or nothing was left to do.
    """
    key = {"object": kind, "number": number}
    with ledger.write() as connection:
        first = take_revisions(connection, _STEP_OBJECTS)
        after = connection.scalar(sa.select(config_spreads.c.after).filter_by(**key))
        if after is None:
            return False
        step = _partner_step if kind == "partner" else _program_step
        last, count = step(connection, first, number, after)
        unfinished = count == _STEP_OBJECTS
        if unfinished:
            connection.execute(sa.update(config_spreads).filter_by(**key).values(after=last))
        else:
            connection.execute(sa.delete(config_spreads).filter_by(**key))
        return unfinished


def _partner_step(
    connection: sa.Connection, first: int, number: int, after: int
) -> tuple[int, int]:
    rows = connection.execute(
        sa.select(enrolments, programs.c.brand_id, partners.c.status.label("partner_status"))
        .join(programs, programs.c.id == enrolments.c.program_id)
        .join(partners, partners.c.id == enrolments.c.partner_id)
        .where(enrolments.c.partner_id == number, enrolments.c.id > after)
        .order_by(enrolments.c.id)
        .limit(_STEP_OBJECTS)
    ).mappings()
    changes, last = [], after
    for revision, row in enumerate([dict(each) for each in rows], first):
        update(connection, enrolments, row, revision, {})
        changes.append(values.enrolment_change(row, row["brand_id"], row["partner_status"]))
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
        url = with_utm(row["program_destination"], row["utm"])
        changed = update(connection, links, row, revision, {"url": url})
        changes.append(values.link_change(changed, row["brand_id"]))
        last = row["id"]
    announce(connection, first, changes)
    return last, len(changes)
