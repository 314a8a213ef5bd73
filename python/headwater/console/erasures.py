"""Routes of erasures: what is known of somebody is forgotten, or it is shown what would be."""

from __future__ import annotations

import asyncio

from headwater import clock, limits
from headwater.console import erasure_views, fields, paging
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request, not_found
from headwater.console.event_shapes import ErasureIn, ErasuresQuery
from headwater.errors import FieldFault
from headwater.ledger import erasing, queries
from headwater.ledger.schema import brands
from headwater.model.identifiers import TYPES, click_id, digested
from headwater.model.reasons import REASONS
from headwater.model.records import ErasureBody, Identifiers, IdentifierType

_CLICK_ID = "click_id"


async def create_erasure(console: Console, request: Request) -> Answer:
    """Digests what is named as an edge does, with the deployment's key, and waits a while for
    what came of it; it stands all the same when that takes longer.
    """
    body: ErasureIn = request.body
    _require_identifier(body)
    brand, country = await console.run(
        erasing.brand_and_country, console.ledger, fields.parse_reference("brd", body.brand_id)
    )
    key = await console.identity_key()
    requested = await console.run(
        erasing.request_erasure,
        console.ledger,
        brand,
        ErasureBody(body.scope, body.dry_run, body.force, _identifiers(key, brand, body, country)),
    )
    wait_s = console.read_wait_ms / 1000
    await console.publisher.wait(requested.revision, wait_s)
    erasure = await _settled(console, requested.event_id, wait_s)
    view = erasure_views.erasure(erasure, request.warnings)
    if erasure.report is None:
        return Answer(view, 202, {"Location": f"/v1/erasures/{view.id}"})
    return Answer(view)


def _require_identifier(body: ErasureIn) -> None:
    if body.click_id is None and all(getattr(body, name) is None for name in TYPES):
        detail = "an erasure names at least one identifier"
        raise refused([FieldFault("identifiers", "no_identifier", detail)])


def _identifiers(key: bytes, brand: int, body: ErasureIn, country: str | None) -> Identifiers:
    """The digests of what is named. Raises RequestRefused with every field at fault."""
    result = digested(key, brand, lambda name: getattr(body, name), country, with_email_sha1=True)
    faults = [FieldFault(name, code, REASONS[code].meaning) for name, code in result.faults]
    faults += [
        FieldFault(name, "invalid_identifier", "a value like this stands for nobody")
        for name in result.blocked
    ]
    if body.click_id is not None:
        click = click_id(body.click_id)
        if click is None:
            faults.append(FieldFault(_CLICK_ID, "invalid_identifier", "not the form of a click id"))
        else:
            result.found.add((int(IdentifierType.CLICK), click))
    if faults:
        raise refused(faults)
    return tuple(sorted(result.found))


async def _settled(console: Console, event_id: bytes, wait_s: float) -> erasing.Erasure:
    """The erasure, with its report if the matcher commits it within the time."""
    deadline_s = clock.monotonic_s() + wait_s
    while True:
        found = await console.run(erasing.erasure_by_id, console.ledger, event_id)
        if found is None:
            raise not_found()
        if found.report is not None or clock.monotonic_s() >= deadline_s:
            return found
        await asyncio.sleep(limits.READ_POLL_MS / 1000)


async def read_erasure(console: Console, request: Request) -> Answer:
    return Answer(erasure_views.erasure(await _settled(console, request.event("evt"), 0.0)))


async def list_erasures(console: Console, request: Request) -> Answer:
    query: ErasuresQuery = request.query
    brand = None
    if query.brand_id is not None:
        reference = fields.parse_reference("brd", query.brand_id)
        row = await console.run(queries.object_row, console.ledger, brands, reference)
        brand = row["id"] if row else 0
    rows = await console.run(
        erasing.erasure_page,
        console.ledger,
        brand,
        before=paging.decode(query.cursor, bytes),
        count=query.limit + 1,
    )
    return Answer(
        paging.page(
            query,
            rows,
            lambda row: erasure_views.erasure(row["erasure"]),
            lambda row: row["event_id"],
        )
    )
