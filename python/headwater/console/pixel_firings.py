"""Routes of what partner pixels fired: of one order, of all of them, and again by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater import clock, ids
from headwater.console import events, paging, pixel_explain, pixel_views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found
from headwater.console.own_links import Reach, reach_of
from headwater.console.pixel_shapes import FiringsQuery
from headwater.console.views import Page
from headwater.errors import RequestRefused
from headwater.ledger import firing_queries, firings
from headwater.ledger.engine import Ledger
from headwater.ledger.firing_queries import ConversionPixels, FiringFilter
from headwater.ledger.schema import partners, pixels, programs
from headwater.ledger.values import ACTIVE

Row = Mapping[str, Any]


# ---- Of one order ----------------------------------------------------------------------------


async def read_conversion_pixels(console: Console, request: Request) -> Answer:
    conversion, found = await _own(console, request)
    return Answer(
        pixel_views.conversion_pixels(
            conversion["conversion_id"], found.firings, found.attempts, found.decisions
        )
    )


async def explain_conversion_pixels(console: Console, request: Request) -> Answer:
    conversion, found = await _own(console, request)
    partner = reach_of(request).partner
    walks = await console.run(_walks, console.ledger, conversion, found, partner)
    conversion_id = ids.event_text("cnv", conversion["conversion_id"])
    return Answer(pixel_explain.PixelExplanation(conversion_id=conversion_id, walks=walks))


async def _own(console: Console, request: Request) -> tuple[Row, ConversionPixels]:
    """The conversion in the path, and what its pixels did, as far as the caller may know.

    Raises RequestRefused `not_found`, for a partner also where it has no part in the conversion.
    """
    conversion = await events.settled_conversion(console, request)
    reach = reach_of(request)
    found = await console.run(
        firing_queries.pixels_of_conversion,
        console.ledger,
        conversion["conversion_id"],
        reach.partner,
    )
    if not _is_of(reach, conversion, found):
        raise not_found()
    return conversion, found


def _is_of(reach: Reach, conversion: Row, found: ConversionPixels) -> bool:
    if reach.brand not in (None, conversion["brand"]):
        return False
    credited = {partner for partner, _click, _share in conversion["credits"]}
    has_part = reach.partner in credited or found.actions or found.firings or found.decisions
    return reach.partner is None or bool(has_part)


def _walks(
    ledger: Ledger, conversion: Row, found: ConversionPixels, partner: int | None
) -> list[pixel_explain.PixelWalk]:
    credited = [owner for owner, _click, _share in conversion["credits"]]
    known = [row["partner"] for rows in (found.actions, found.decisions) for row in rows]
    # In their order, each once.
    asked = [partner] if partner is not None else list(dict.fromkeys(credited + known))
    if not asked:
        return [pixel_explain.nobody(conversion)]
    kind = firing_queries.event_kind(ledger, conversion["event_type"])
    return [
        pixel_explain.walk(owner, _facts(ledger, conversion, kind, found, owner)) for owner in asked
    ]


def _facts(
    ledger: Ledger, conversion: Row, kind: str | None, found: ConversionPixels, partner: int
) -> pixel_explain.Facts:
    action = next((row for row in found.actions if row["partner"] == partner), None)
    decision = pixel_explain.chosen([row for row in found.decisions if row["partner"] == partner])
    firing = None
    if decision:
        fired = (row for row in found.firings if row["partner"] == partner)
        firing = next((row for row in fired if row["pixel"] == decision["pixel"]), None)
    attempts = [row for row in found.attempts if firing and row["event_id"] == firing["event_id"]]
    return pixel_explain.Facts(
        conversion=conversion,
        is_credited=any(owner == partner for owner, _click, _share in conversion["credits"]),
        event_kind=kind,
        standing=firing_queries.standing(ledger, conversion["program"], partner),
        action=action,
        decision=decision,
        firing=firing,
        attempt=attempts[-1] if attempts else None,
    )


# ---- Of all of them --------------------------------------------------------------------------


async def report_firings(console: Console, request: Request) -> Answer:
    query: FiringsQuery = request.query
    reach = reach_of(request)
    partner = await events.number_of(console, partners, "prt", query.partner_id)
    if reach.partner is not None:
        if partner not in (None, reach.partner):
            raise RequestRefused("forbidden")
        partner = reach.partner
    wanted = FiringFilter(
        partner=partner,
        brand=reach.brand,
        program=await events.number_of(console, programs, "prg", query.program_id),
        pixel=await events.number_of(console, pixels, "pxl", query.pixel_id),
        state=query.state,
        since_ms=None if query.since is None else clock.parse_iso_ms(query.since),
        until_ms=None if query.until is None else clock.parse_iso_ms(query.until),
    )
    rows, last = await console.run(
        firing_queries.firing_page,
        console.ledger,
        wanted,
        before=paging.decode(query.cursor, tuple[int, bytes]),
        count=query.limit,
    )
    return Answer(
        Page(
            items=[pixel_views.firing(row) for row in rows],
            next_cursor=None if last is None else paging.encode(last),
        )
    )


async def resend_firing(console: Console, request: Request) -> Answer:
    """Under its own id, with its whole schedule. A firing that waits already is left to wait."""
    event_id = request.event("evt")
    row = await _firing(console, event_id)
    await _require_open(console, row)
    if not await console.run(firings.resend, console.ledger, event_id, clock.now_ms()):
        raise RequestRefused("conflict", "it waits to be sent already, or was the browser's")
    return Answer(pixel_views.firing(await _firing(console, event_id)))


async def _firing(console: Console, event_id: bytes) -> Row:
    row = await console.run(firing_queries.firing_row, console.ledger, event_id)
    if row is None:
        raise not_found()
    return row


async def _require_open(console: Console, firing: Row) -> None:
    """Raises RequestRefused `conflict` where the firing would be given up at once."""
    number = firing["pixel"]
    found = await console.run(firing_queries.pixel_rows, console.ledger, [number])
    if number not in found or found[number]["status"] != ACTIVE:
        raise RequestRefused("conflict", "its pixel is paused or deleted")
    endpoint = await console.run(firing_queries.endpoints, console.ledger, [number])
    if number in endpoint and endpoint[number]["disabled_ms"] is not None:
        raise RequestRefused("conflict", "its pixel is disabled: enable it first")
    if not await console.run(
        firing_queries.is_in_program, console.ledger, firing["program"], firing["partner"]
    ):
        raise RequestRefused("conflict", "its partner is not in the program any more")
