"""The performance report: clicks, conversions and money by any grouping, over rollups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from headwater import clock, limits
from headwater.console import export, paging
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request, not_found
from headwater.console.fields import parse_reference
from headwater.console.own_links import Reach, reach_of
from headwater.console.performance_shapes import (
    DAY,
    ExportQuery,
    PerformanceFilter,
    PerformanceQuery,
    PerformanceReport,
)
from headwater.console.performance_sums import Asked, Key, gathered, page_of, total_of
from headwater.console.performance_views import columns, flat, performance, row
from headwater.errors import FieldFault, RequestRefused
from headwater.ledger import queries
from headwater.ledger.rollup_reads import QUARTER_MS, TooManyCells
from headwater.ledger.schema import links, partners, programs

DAY_MS: Final = limits.DAY_MS
_DAYS: Final = 30
# Rows of an export that are read together, but for the rest of their day or partners.
_EXPORT_ROWS: Final = 2000


# ---- Routes --------------------------------------------------------------------------------


async def report_performance(console: Console, request: Request) -> Answer:
    query: PerformanceQuery = request.query
    asked = await _asked(console, request, query)
    after = paging.decode(query.cursor, tuple[int | str, ...])
    if after is not None and not asked.takes(after):
        raise RequestRefused("invalid_cursor")
    try:
        total = await console.run(total_of, console.ledger, asked)
        page = await console.run(page_of, console.ledger, asked, after, query.limit)
    except TooManyCells as error:
        raise _too_large(error) from None
    except TypeError:
        # A key of other groups, which no row can be compared with.
        raise RequestRefused("invalid_cursor") from None
    return Answer(
        PerformanceReport(
            since=clock.iso_ms(asked.first * QUARTER_MS),
            until=clock.iso_ms(asked.end * QUARTER_MS),
            timezone=asked.timezone,
            group=list(asked.groups),
            total=performance(total),
            rows=[row(asked.groups, key, sums) for key, sums in page.rows],
            next_cursor=None if page.after is None else paging.encode(page.after),
        )
    )


async def export_performance(console: Console, request: Request) -> Answer:
    """The rows of the whole report, as they are made."""
    query: ExportQuery = request.query
    asked = await _asked(console, request, query)
    try:
        pages = _pages(console, asked)
        # What is refused is refused before the first byte.
        first = await anext(pages)
    except TooManyCells as error:
        raise _too_large(error) from None

    async def rows() -> AsyncIterator[list[dict[str, Any]]]:
        yield first
        async for page in pages:
            yield page

    return export.answer(columns(asked.groups), rows(), query.format, "performance")


async def _pages(console: Console, asked: Asked) -> AsyncIterator[list[dict[str, Any]]]:
    """Some days or partners at a time where these are asked for; else all groups at once."""
    after: Key | None = None
    while True:
        found, after = await console.run(gathered, console.ledger, asked, after, _EXPORT_ROWS)
        yield [flattened for key, sums in found for flattened in flat(asked.groups, key, sums)]
        if after is None:
            return


def _too_large(error: Exception) -> RequestRefused:
    less = "a shorter time, one program or partner, or by day or partner first"
    detail = f"the report would be made of {error}; ask for {less}"
    return refused([FieldFault("group", "invalid", detail)])


# ---- What is asked for ---------------------------------------------------------------------


async def _asked(console: Console, request: Request, query: PerformanceFilter) -> Asked:
    """Raises RequestRefused for what there is not, and for what the caller's key does not reach."""
    reach = reach_of(request)
    program = None
    if query.program_id is not None:
        program = await _found(console, programs, "prg", query.program_id)
        if reach.brand not in (None, program["brand_id"]):
            raise not_found()
    within = None if program is None else program["id"]
    only: dict[str, Any] = {}
    if query.partner_id is not None:
        partner = await _found(console, partners, "prt", query.partner_id)
        await _require_reached(console, reach, partner["id"])
        only["partner"] = partner["id"]
    if query.link_id is not None:
        link = await _found(console, links, "lnk", query.link_id)
        if reach.partner not in (None, link["partner_id"]):
            raise not_found()
        of = await _found(console, programs, "prg", f"prg_{link['program_id']}")
        if reach.brand not in (None, of["brand_id"]):
            raise not_found()
        # All that came of a link is of its program and partner, and found by them.
        only = {"partner": link["partner_id"], **only, "link": link["id"]}
        within = within or of["id"]
    if reach.partner is not None:
        only["partner"] = reach.partner
    for name in ("sub1", "country", "device"):
        if getattr(query, name) is not None:
            only[name] = getattr(query, name)
    first, end = _period(query)
    names = query.group.split(",") if query.group else []
    return Asked(
        groups=[*(name for name in names if name == DAY), *(n for n in names if n != DAY)],
        timezone=query.timezone or (program["timezone"] if program else "UTC"),
        first=first,
        end=end,
        program=within,
        brand=reach.brand,
        only=only,
    )


async def _require_reached(console: Console, reach: Reach, partner: int) -> None:
    """Raises RequestRefused `not_found` for another partner, or one of other brands alone."""
    if reach.partner not in (None, partner):
        raise not_found()
    if reach.brand is not None and not await console.run(
        queries.is_partner_of, console.ledger, reach.brand, partner
    ):
        raise not_found()


async def _found(console: Console, table: Any, prefix: str, text: str) -> dict[str, Any]:
    reference = parse_reference(prefix, text)
    found = await console.run(queries.object_row, console.ledger, table, reference)
    if found is None:
        raise not_found()
    return found


def _period(query: PerformanceFilter) -> tuple[int, int]:
    """The quarter hours asked for. Raises RequestRefused when there are none, or too many."""
    until_ms = clock.now_ms() if query.until is None else clock.parse_iso_ms(query.until)
    since_ms = until_ms - _DAYS * DAY_MS
    if query.since is not None:
        since_ms = clock.parse_iso_ms(query.since)
    if since_ms >= until_ms:
        raise refused([FieldFault("since", "invalid", "it is not before `until`")])
    if until_ms - since_ms > limits.ROLLUP_DAYS_MAX * DAY_MS:
        detail = f"this report spans at most {limits.ROLLUP_DAYS_MAX} days"
        raise refused([FieldFault("since", "invalid", detail)])
    return since_ms // QUARTER_MS, -(-until_ms // QUARTER_MS)
