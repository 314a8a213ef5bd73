"""Tracking links: made one by one or many at once, changed, deleted; and who had a code when.

A link is of one partner in one program for good, so that every click stays whose it was. A code
changes hands by deleting its link and making another, of another number, with the same code.

Where a link leads depends on its program too: rows given back hold the program's as `program`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from headwater import ids, limits
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
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import domains, enrolments, links, partners, programs
from headwater.model.destination import with_utm

Row = dict[str, Any]

_CODE_CHARACTERS: Final = 7
# 32 ** 7 codes: ten collisions in a row mean a broken source of randomness.
_CODE_TRIES: Final = 10
# Each link takes two rows, its own and the outbox's; the counter one.
_STEP_LINKS: Final = (limits.TRANSACTION_ROWS_MAX - 1) // 2


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a link is made of. `domain` is a host, a number or an external id."""

    code: str | None = None
    domain: Reference | None = None
    destination_url: str | None = None
    utm: Mapping[str, str] | None = None
    expires_ms: int | None = None
    expired_destination_url: str | None = None
    targets: Sequence[Mapping[str, Any]] = ()
    honeypot: bool = False


@dataclass(frozen=True, slots=True)
class LinkOrder:
    """A link to be made. `check` is given the program's row and raises RequestRefused when a
    destination leaves it.
    """

    origin: Origin
    program: Reference
    partner: Reference
    request: LinkRequest
    check: Callable[[Mapping[str, Any]], None]


# ---- Making --------------------------------------------------------------------------------


def create_link(ledger: Ledger, order: LinkOrder) -> Saved:
    """A link of an enrolled partner. Raises RequestRefused for unknown objects, a taken code, a
    destination outside the program, or a partner that is not enrolled.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        made = _create(connection, revision, order)
        if made.created:
            announce(connection, revision, [_change(made.row)])
        return made


def create_links(ledger: Ledger, orders: Sequence[LinkOrder]) -> list[Saved | RequestRefused]:
    """Links, a bounded number a transaction, each made or refused by itself."""
    found: list[Saved | RequestRefused] = []
    for step in _steps(orders):
        with ledger.write() as connection:
            first = take_revisions(connection, len(step))
            changes: list[Change] = []
            for order in step:
                try:
                    made = _create(connection, first + len(changes), order)
                except RequestRefused as refusal:
                    found.append(refusal)
                    continue
                found.append(made)
                if made.created:
                    changes.append(_change(made.row))
            announce(connection, first, changes)
    return found


def _steps(orders: Sequence[LinkOrder]) -> Iterator[Sequence[LinkOrder]]:
    for start in range(0, len(orders), _STEP_LINKS):
        yield orders[start : start + _STEP_LINKS]


def _create(connection: sa.Connection, revision: int, order: LinkOrder) -> Saved:
    """Insert a link that was not there, without announcing it. Refuses before it writes."""
    program = require(connection, programs, order.program, "program_id", code="unknown_program")
    partner = require(connection, partners, order.partner, "partner_id", code="unknown_partner")
    before = earlier(connection, links, order.origin, links.c.program_id == program["id"])
    if before:
        return replace(before, row={**before.row, "program": program})
    if enrolment_row(connection, program["id"], partner["id"]) is None:
        raise refused_field(
            "partner_id", "unknown_partner", "the partner is not enrolled in the program"
        )
    order.check(program)
    row = insert_link(connection, revision, order.origin, program, partner["id"], order.request)
    return Saved({**row, "program": program}, created=True, revision=revision)


def _change(row: Mapping[str, Any]) -> Change:
    return values.link_change(row, row["program"]["brand_id"])


def enrolment_row(connection: sa.Connection, program: int, partner: int) -> Row | None:
    """The enrolment of a partner in a program."""
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


def insert_link(
    connection: sa.Connection,
    revision: int,
    origin: Origin,
    program: Mapping[str, Any],
    partner: int,
    request: LinkRequest,
) -> Row:
    """Insert a link; its row. Raises RequestRefused for a taken code or an unknown domain."""
    domain = _domain(connection, program["brand_id"], request.domain)
    host = domain["host"] if domain else ""
    columns = {
        "program_id": program["id"],
        "partner_id": partner,
        "domain_id": domain["id"] if domain else None,
        "host": host,
        "destination_url": request.destination_url,
        "utm": dict(request.utm or {}),
        "url": request.destination_url or program["destination_url"],
        "expires_ms": request.expires_ms,
        "expired_destination_url": request.expired_destination_url,
        "targets": [dict(target) for target in request.targets],
        "honeypot": request.honeypot,
    }
    _require_fitting(columns, program)
    code = _free_code(connection, host, request.code)
    columns |= {"code": code, "code_key": code.lower()}
    return insert(connection, links, revision, origin, columns)


def _require_fitting(row: Mapping[str, Any], program: Mapping[str, Any]) -> None:
    """Raises RequestRefused when utm parameters make a destination too long."""
    for url in (row["url"], *(target["destination_url"] for target in row["targets"])):
        if len(with_utm(url, {**program["utm"], **row["utm"]})) > limits.URL_BYTES_MAX:
            raise refused_field(
                "utm", "value_too_long", f"the destination with them is over {limits.URL_BYTES_MAX}"
            )


def _domain(connection: sa.Connection, brand: int, reference: Reference | None) -> Row | None:
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
        if not taken(connection, *_has_code(host, code), links.c.status != values.DELETED):
            return code
    if wanted:
        raise refused_field("code", "conflict", "another link of this domain has this code")
    raise RequestRefused("internal_error", "no free link code was found")


def _has_code(host: str, code: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return links.c.host == host, links.c.code_key == code.lower()


# ---- Changing ------------------------------------------------------------------------------


def change_link(
    ledger: Ledger,
    reference: Reference,
    columns: Mapping[str, Any],
    check: Callable[[Mapping[str, Any]], None],
) -> Saved | None:
    """Set destinations, utm, expires_ms, honeypot or status of a link; None when there is none.

    Raises RequestRefused `conflict` when it was deleted: its code may be another's by now.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, links, reference)
        if row is None:
            return None
        if row["status"] == values.DELETED:
            raise RequestRefused("conflict", "this link was deleted")
        row["program"] = program = _program(connection, row)
        check(program)
        merged = {**row, **columns}
        url = merged["destination_url"] or program["destination_url"]
        _require_fitting({**merged, "url": url}, program)
        return _written(connection, row, revision, {**columns, "url": url})


def delete_link(ledger: Ledger, reference: Reference) -> Saved | None:
    """Take a link out of use for good and free its code; None when there is none.

    Raises RequestRefused `conflict` for the default link of an enrolment.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, links, reference)
        if row is None:
            return None
        row["program"] = _program(connection, row)
        if row["status"] == values.DELETED:
            return Saved(row, created=False, revision=row["revision"])
        if taken(connection, enrolments.c.default_link == row["id"], _of_pair(row)):
            raise RequestRefused("conflict", "it is the default link of its enrolment")
        return _written(connection, row, revision, {"status": values.DELETED})


def _of_pair(row: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(
        enrolments.c.program_id == row["program_id"], enrolments.c.partner_id == row["partner_id"]
    )


def _written(
    connection: sa.Connection, row: Row, revision: int, columns: Mapping[str, Any]
) -> Saved:
    row = update(connection, links, row, revision, columns)
    return saved(connection, revision, row, _change(row), created=False)


def _program(connection: sa.Connection, row: Mapping[str, Any]) -> Row:
    program = find(connection, programs, row["program_id"])
    if program is None:
        raise AssertionError("a link has a program")
    return program


# ---- Reading -------------------------------------------------------------------------------


def link_row(ledger: Ledger, reference: Reference) -> Row | None:
    """A link."""
    with ledger.read() as connection:
        row = find(connection, links, reference)
        return None if row is None else {**row, "program": _program(connection, row)}


def link_page(
    ledger: Ledger,
    within: Mapping[str, int | str | None],
    *,
    after: int,
    count: int,
    brand: int | None = None,
) -> list[Row]:
    """Links in the order of their numbers, of one brand if named. `within` names columns with the
    values they have to hold; None: any, but deleted links are only told to who asks for them.
    """
    wanted = [links.c[name] == value for name, value in within.items() if value is not None]
    if within.get("status") is None:
        wanted.append(links.c.status != values.DELETED)
    if brand is not None:
        of_brand = sa.select(programs.c.id).where(programs.c.brand_id == brand)
        wanted.append(links.c.program_id.in_(of_brand))
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(links).where(links.c.id > after, *wanted).order_by(links.c.id).limit(count)
        ).mappings()
        found = [dict(row) for row in rows]
        owners = {row["program_id"]: row for row in found}
        by_number = {number: _program(connection, row) for number, row in owners.items()}
        return [{**row, "program": by_number[row["program_id"]]} for row in found]


def holders(ledger: Ledger, row: Mapping[str, Any]) -> list[Row]:
    """The links that have had a link's code on its host, the newest first."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(links)
            .where(*_has_code(row["host"], row["code"]))
            .order_by(links.c.id.desc())
            .limit(limits.PAGE_ROWS_MAX)
        ).mappings()
        return [dict(each) for each in rows]
