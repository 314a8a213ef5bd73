"""Routes of reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headwater import clock, ids, limits
from headwater.console import fields, paging
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request
from headwater.console.event_shapes import UnattributedQuery
from headwater.console.explain_views import NearestMiss, explained, nearest_miss
from headwater.console.own_links import brand_of
from headwater.console.views import View
from headwater.errors import FieldFault
from headwater.ledger import queries, reports
from headwater.ledger.objects import refused_field
from headwater.ledger.reports import Period
from headwater.ledger.schema import programs

DAY_MS: Final = 86_400_000
_DAYS: Final = 30


class ReasonCount(View):
    reason: str | None
    count: int


class Unattributed(View):
    """A conversion without credit. `nearest_miss`: the touch that came closest, if any did."""

    conversion_id: str
    program_id: str
    program: str | None
    event: str | None
    order_id: str | None
    line: str
    occurred_at: str
    accepted_at: str
    reason: str | None
    nearest_miss: NearestMiss | None


class UnattributedReport(View):
    """`counts` are of the whole period, from `since` on and before `until`, by the time of
    acceptance; `items` are one page of it, the newest first. Test orders are not in it.
    """

    since: str
    until: str
    total: int
    counts: list[ReasonCount]
    items: list[Unattributed]
    next_cursor: str | None


async def report_unattributed(console: Console, request: Request) -> Answer:
    query: UnattributedQuery = request.query
    brand = brand_of(request)
    since_ms, until_ms = period_ms(query.since, query.until, _DAYS)
    period = Period(since_ms, until_ms, await _program(console, query.program, brand), brand)
    counts = await console.run(reports.unattributed_counts, console.ledger, period)
    rows = await console.run(
        reports.unattributed_page,
        console.ledger,
        period,
        before=paging.decode(query.cursor, tuple[int, bytes]),
        count=query.limit + 1,
    )
    page = paging.page(
        query, rows, _unattributed, lambda row: (row["accept_ms"], row["conversion_id"])
    )
    return Answer(
        UnattributedReport(
            since=clock.iso_ms(period.since_ms),
            until=clock.iso_ms(period.until_ms),
            total=sum(count for _, count in counts),
            counts=[ReasonCount(reason=reason, count=count) for reason, count in counts],
            items=page.items,
            next_cursor=page.next_cursor,
        )
    )


def period_ms(since: str | None, until: str | None, days: int) -> tuple[int, int]:
    """The period asked for; `days` long where nothing is said. Raises RequestRefused when it is
    none, or too long.
    """
    until_ms = clock.now_ms() if until is None else clock.parse_iso_ms(until)
    since_ms = until_ms - days * DAY_MS if since is None else clock.parse_iso_ms(since)
    if since_ms >= until_ms:
        raise refused([FieldFault("since", "invalid", "it is not before `until`")])
    if until_ms - since_ms > limits.REPORT_DAYS_MAX * DAY_MS:
        detail = f"a report spans at most {limits.REPORT_DAYS_MAX} days"
        raise refused([FieldFault("since", "invalid", detail)])
    return since_ms, until_ms


async def _program(console: Console, text: str | None, brand: int | None) -> int | None:
    """The program a query names by id or by code. Raises RequestRefused when there is none, or it
    is another brand's.
    """
    if text is None:
        return None
    try:
        reference = fields.parse_reference("prg", text)
    except ValueError:
        row = await console.run(queries.program_by_code, console.ledger, text)
    else:
        row = await console.run(queries.object_row, console.ledger, programs, reference)
    if row is None or brand not in (None, row["brand_id"]):
        raise refused_field("program", "unknown_program", "no program has this code or id")
    return int(row["id"])


def _unattributed(row: Mapping[str, Any]) -> Unattributed:
    miss = explained(row).get("nearest_miss")
    return Unattributed(
        conversion_id=ids.event_text("cnv", row["conversion_id"]),
        program_id=ids.object_text("prg", row["program"]),
        program=row["program_code"],
        event=row["event_code"],
        order_id=row["order_id"],
        line=row["line"],
        occurred_at=clock.iso_ms(row["occurred_ms"]),
        accepted_at=clock.iso_ms(row["accept_ms"]),
        reason=row["reason"],
        nearest_miss=None if miss is None else nearest_miss(miss),
    )
