"""The performance report: clicks, conversions and money by any grouping, over rollups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

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
from headwater.console.performance_views import columns, flat, performance, row
from headwater.errors import FieldFault, RequestRefused
from headwater.ledger import queries, rollup_reads
from headwater.ledger.engine import Ledger
from headwater.ledger.rollup_reads import DAY_QUARTERS, QUARTER_MS, Scope, Sums, TooManyCells
from headwater.ledger.schema import links, partners, programs

DAY_MS: Final = limits.DAY_MS
_DAYS: Final = 30
# Days that are read together: a page of them.
_DAYS_AT_ONCE: Final = 50

Key = tuple[Any, ...]
Found = list[tuple[Key, Sums]]


class Asked(NamedTuple):
    """A report that was asked for, checked against the ledger."""

    groups: Sequence[str]
    """As asked, days first."""
    timezone: str
    first: int
    """In quarter hours, as `end`."""
    end: int
    program: int | None
    brand: int | None
    only: dict[str, Any]

    def scope(self, connection: Any, groups: Sequence[str]) -> Scope:
        marks = rollup_reads.marks_of(connection, program=self.program, brand=self.brand)
        return Scope(marks, groups, self.only)


# ---- Routes --------------------------------------------------------------------------------


async def report_performance(console: Console, request: Request) -> Answer:
    query: PerformanceQuery = request.query
    asked = await _asked(console, request, query)
    after = paging.decode(query.cursor, tuple[int | str, ...])
    if after is not None and len(after) != len(asked.groups):
        raise RequestRefused("invalid_cursor")
    try:
        total = await console.run(total_of, console.ledger, asked)
        found = await console.run(page_of, console.ledger, asked, after, query.limit + 1)
    except (TooManyCells, TypeError) as error:
        raise _too_large(error) from None
    shown = found[: query.limit]
    return Answer(
        PerformanceReport(
            since=clock.iso_ms(asked.first * QUARTER_MS),
            until=clock.iso_ms(asked.end * QUARTER_MS),
            timezone=asked.timezone,
            group=list(asked.groups),
            total=performance(total),
            rows=[row(asked.groups, key, sums) for key, sums in shown],
            next_cursor=paging.encode(shown[-1][0]) if len(found) > query.limit else None,
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
    """A day at a time where days are asked for; else the groups are there at once."""
    cuts: Iterable[Cut] = [("", asked.first, asked.end)]
    if DAY in asked.groups:
        cuts = _days(asked)
    for cut in cuts:
        found = await console.run(_of_cut, console.ledger, asked, cut)
        yield [flattened for key, sums in found for flattened in flat(asked.groups, key, sums)]


def _too_large(error: Exception) -> RequestRefused:
    detail = f"the report would be made of {error}; ask for less at once"
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
        only["link"] = link["id"]
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
        program=None if program is None else program["id"],
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


# ---- Sums ----------------------------------------------------------------------------------

Cut = tuple[str, int, int]
"""A day's name, or none; its first quarter hour, and its end."""


def _days(asked: Asked, since: str = "") -> Iterator[Cut]:
    """The days of a report from the one named on; the first and the last may be cut."""
    zone = ZoneInfo(asked.timezone)
    first = asked.first
    while first < asked.end:
        day = datetime.fromtimestamp(first * QUARTER_MS / 1000, zone).date()
        following = day + timedelta(days=1)
        midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
        # Where a change of the clock leaves out midnight, the day ends with what is left of it.
        end = max(round(midnight.timestamp() * 1000) // QUARTER_MS, first + 1)
        if day.isoformat() >= since:
            yield day.isoformat(), first, min(end, asked.end)
        first = end


def _of_cut(ledger: Ledger, asked: Asked, cut: Cut) -> Found:
    """The groups of one day, or of the whole period, in their order."""
    name, first, end = cut
    with ledger.read() as connection:
        inner = [each for each in asked.groups if each != DAY]
        groups = rollup_reads.grouped(connection, asked.scope(connection, inner), first, end)
    head: Key = (name,) if DAY in asked.groups else ()
    return [((*head, *key), groups[key]) for key in sorted(groups)]


def _of_cuts(ledger: Ledger, asked: Asked, cuts: Iterable[Cut]) -> Iterator[Found]:
    """The groups of each cut. Days of 24 hours are read together where sums of quarter hours are
    kept of what is asked for.
    """
    groups = set(asked.groups)
    is_plain = DAY in groups and groups <= {DAY, "program", "partner"}
    is_plain = is_plain and asked.only.keys() <= {"partner"}
    # A day of all partners is a page by itself.
    at_once = 1 if groups - asked.only.keys() >= {"partner"} else _DAYS_AT_ONCE
    run: list[Cut] = []
    for cut in cuts:
        if not (is_plain and cut[2] - cut[1] == DAY_QUARTERS):
            yield from _of_run(ledger, asked, run)
            run = []
            yield _of_cut(ledger, asked, cut)
            continue
        run.append(cut)
        if len(run) == at_once:
            yield from _of_run(ledger, asked, run)
            run = []
    yield from _of_run(ledger, asked, run)


def _of_run(ledger: Ledger, asked: Asked, run: Sequence[Cut]) -> Iterator[Found]:
    """The groups of each of some days of 24 hours that follow one another."""
    if not run:
        return
    inner = [each for each in asked.groups if each != DAY]
    with ledger.read() as connection:
        scope = asked.scope(connection, inner)
        groups = rollup_reads.by_day(connection, scope, run[0][1], run[-1][2])
    days: list[Found] = [[] for _ in run]
    for key in sorted(groups):
        days[key[0]].append(((run[key[0]][0], *key[1:]), groups[key]))
    yield from days


def total_of(ledger: Ledger, asked: Asked) -> Sums:
    with ledger.read() as connection:
        groups = rollup_reads.grouped(
            connection, asked.scope(connection, ()), asked.first, asked.end
        )
    return groups.get((), Sums())


def page_of(ledger: Ledger, asked: Asked, after: Key | None, count: int) -> Found:
    """Rows after a key, no more than so many; days that are not shown are not read."""
    cuts: Iterator[Cut] = iter([("", asked.first, asked.end)])
    if DAY in asked.groups:
        cuts = _days(asked, str(after[0]) if after else "")
    found: Found = []
    for groups in _of_cuts(ledger, asked, cuts):
        found += [each for each in groups if after is None or each[0] > after]
        if len(found) >= count:
            break
    return found[:count]
