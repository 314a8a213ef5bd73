"""Routes that read clicks and conversions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from headwater import clock, ids, limits
from headwater.console import event_views, explain_views, fields, paging
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found
from headwater.console.event_shapes import ClicksQuery, ConversionsQuery
from headwater.console.own_links import Reach, bound, brand_of, reach_of
from headwater.console.views import Page
from headwater.ledger import erasing, firing_queries, queries, revisions
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import partners, programs

Row = dict[str, Any]
# A record reaches the log this much later than it was accepted at most, outside of outages.
_ARRIVAL_MS = 2000


async def _settled(
    console: Console,
    find: Callable[[Ledger, bytes], Row | None],
    event_id: bytes,
    accepted_ms: int,
) -> Row:
    """The row, waiting while the matcher may not have come to an event accepted at that time.

    Raises RequestRefused `not_found` when it is not there once the matcher has passed it, or
    after READ_WAIT_MS.
    """
    deadline_s = clock.monotonic_s() + console.read_wait_ms / 1000
    while True:
        # Asked before the row: what is committed between the two is found.
        times_ms = await console.run(queries.engine_times_ms, console.ledger)
        row = await console.run(find, console.ledger, event_id)
        if row is not None:
            return row
        passed = bool(times_ms) and min(times_ms) > accepted_ms + _ARRIVAL_MS
        if passed or clock.monotonic_s() >= deadline_s:
            raise not_found()
        await asyncio.sleep(limits.READ_POLL_MS / 1000)


async def read_click(console: Console, request: Request) -> Answer:
    click_id = request.event("clk")
    row = await _settled(console, queries.click_row, click_id, ids.event_id_ms(click_id))
    reach = reach_of(request)
    if reach.brand not in (None, row["brand"]) or reach.partner not in (None, row["partner"]):
        raise not_found()
    row["revisions"] = await console.run(revisions.revisions_of, console.ledger, click_id)
    return Answer(event_views.click(row, reach.partner))


async def settled_conversion(console: Console, request: Request) -> Row:
    """The conversion in the path. Raises RequestRefused `not_found`."""
    # A conversion's id does not tell its time: it may have been accepted just now.
    conversion_id = request.event("cnv")
    return await _settled(console, queries.conversion_row, conversion_id, clock.now_ms())


async def read_conversion(console: Console, request: Request) -> Answer:
    row = await settled_conversion(console, request)
    reach = reach_of(request)
    if reach.brand not in (None, row["brand"]) or not _has_part(reach.partner, row):
        raise not_found()
    (view,) = await _views(console, [row], reach)
    return Answer(view)


def _has_part(partner: int | None, row: Row) -> bool:
    owners = {credit[0] for credit in row["credits"]} | {each.partner for each in row["actions"]}
    return partner is None or partner in owners


async def _views(console: Console, rows: list[Row], reach: Reach) -> list[event_views.Conversion]:
    """Conversions as the caller is told of them, each with the number of pixels it fired."""
    fired = await console.run(
        firing_queries.fired_counts,
        console.ledger,
        [row["conversion_id"] for row in rows],
        reach.partner,
    )
    told = [{**row, "pixels_fired": fired.get(row["conversion_id"], 0)} for row in rows]
    return [event_views.conversion(row, reach.partner) for row in told]


async def explain_conversion(console: Console, request: Request) -> Answer:
    brand = brand_of(request)
    row = await settled_conversion(console, request)
    if brand not in (None, row["brand"]):
        raise not_found()
    told = explain_views.explained(row)
    erased = await console.run(
        erasing.erased_of,
        console.ledger,
        row["brand"],
        row["accept_ms"],
        explain_views.identifiers_in(told),
    )
    return Answer(explain_views.explanation(row, told, erased))


async def number_of(console: Console, table: Any, prefix: str, text: str | None) -> int | None:
    """The number of the object a query names; 0, which none has, when there is none."""
    if text is None:
        return None
    reference = fields.parse_reference(prefix, text)
    if isinstance(reference, int):
        return reference
    row = await console.run(queries.object_row, console.ledger, table, reference)
    return row["id"] if row else 0


async def list_clicks(console: Console, request: Request) -> Answer:
    query: ClicksQuery = request.query
    reach = reach_of(request)
    wanted = queries.ClickFilter(
        program=await number_of(console, programs, "prg", query.program_id),
        partner=bound(await number_of(console, partners, "prt", query.partner_id), reach.partner),
        brand=reach.brand,
        verdict=query.verdict,
        counted=query.counted,
        since_ms=None if query.since is None else clock.parse_iso_ms(query.since),
        until_ms=None if query.until is None else clock.parse_iso_ms(query.until),
    )
    rows, last = await console.run(
        queries.click_page,
        console.ledger,
        wanted,
        before=paging.decode(query.cursor, bytes),
        count=query.limit,
    )
    return Answer(
        Page(
            items=[event_views.click(row, reach.partner) for row in rows],
            next_cursor=None if last is None else paging.encode(last),
        )
    )


async def list_conversions(console: Console, request: Request) -> Answer:
    query: ConversionsQuery = request.query
    reach = reach_of(request)
    wanted = queries.ConversionFilter(
        program=await number_of(console, programs, "prg", query.program_id),
        brand=reach.brand,
        partner=reach.partner,
        status=query.status,
        is_test=query.test,
        since_ms=None if query.since is None else clock.parse_iso_ms(query.since),
        until_ms=None if query.until is None else clock.parse_iso_ms(query.until),
    )
    rows, last = await console.run(
        queries.conversion_page,
        console.ledger,
        wanted,
        before=paging.decode(query.cursor, tuple[int, bytes]),
        count=query.limit,
    )
    return Answer(
        Page(
            items=await _views(console, rows, reach),
            next_cursor=None if last is None else paging.encode(last),
        )
    )
