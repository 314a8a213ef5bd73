"""Exports of clicks, conversions and actions: a list whole, read and written a page at a time.

A partner's key gets rows of its own, without what it is told nowhere else: addresses, browsers and
scores of clicks, and of conversions the order, its amount and who else has credit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from headwater import clock, ids, limits
from headwater.console import action_views, export
from headwater.console.action_views import Action
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found
from headwater.console.events import number_of
from headwater.console.export_shapes import (
    ActionsExport,
    ClicksExport,
    ConversionsExport,
    ExportFilter,
)
from headwater.console.own_links import reach_of
from headwater.console.reports import period_ms
from headwater.ledger import actions, queries
from headwater.ledger.actions import ActionFilter
from headwater.ledger.queries import ClickFilter, ConversionFilter
from headwater.ledger.schema import partners, programs
from headwater.model.currency import decimal_text
from headwater.model.records import ClickBody, Flag, Source, Trust, decode, touch_type

Row = Mapping[str, Any]
K = TypeVar("K")

_DAYS: Final = 30
_SUB_IDS: Final = tuple(f"sub{number}" for number in range(1, 11))
_CLICK: Final = (
    *("click_id", "program_id", "partner_id", "link_id", "at", "occurred_at", "touch_type"),
    *("verdict", "counted", "unique", "test", *_SUB_IDS),
)
_CLICK_MORE: Final = (
    *("brand_id", "source", "trust", "score", "referrer", "user_agent", "address_prefix"),
)
_CONVERSION: Final = (
    *("conversion_id", "program_id", "program", "event", "line", "status", "reason"),
    *("partner_id", "click_id", "share_ppm", "occurred_at", "accepted_at", "test"),
)
_CONVERSION_MORE: Final = (
    *("brand_id", "order_id", "amount", "currency", "verdict", "score", "revision"),
)
_RATE: Final = ("rate_numerator", "rate_denominator", "rate_source", "rate_date")
_ACTION: Final = (*(name for name in Action.__struct_fields__ if name != "rate"), *_RATE)
_ACTION_AMOUNTS: Final = frozenset(
    ("order_amount", "amount", "revenue", "payout", "payout_exact", "compensated")
)


class Asked(NamedTuple):
    """Whose rows of which period are asked for, within what the caller's key reaches."""

    brand: int | None
    program: int | None
    partner: int | None
    since_ms: int
    until_ms: int
    is_partner: bool
    """The caller is one."""


async def _asked(console: Console, request: Request, query: ExportFilter) -> Asked:
    """Raises RequestRefused for a period that is none, and for what is another partner's."""
    reach = reach_of(request)
    partner = await number_of(console, partners, "prt", query.partner_id)
    if reach.partner is not None and partner not in (None, reach.partner):
        raise not_found()
    return Asked(
        reach.brand,
        await number_of(console, programs, "prg", query.program_id),
        partner if reach.partner is None else reach.partner,
        *period_ms(query.since, query.until, _DAYS),
        is_partner=reach.partner is not None,
    )


async def _pages(
    console: Console,
    read: Callable[[K | None], tuple[list[dict[str, Any]], K | None]],
    told: Callable[[Row], Iterable[dict[str, Any]]],
) -> AsyncIterator[list[dict[str, Any]]]:
    """Each page is read on its own, so that no slow reader holds the ledger."""
    before: K | None = None
    while True:
        found, before = await console.run(read, before)
        if found:
            yield [each for row in found for each in told(row)]
        if before is None:
            return


# ---- Clicks ----------------------------------------------------------------------------------


async def export_clicks(console: Console, request: Request) -> Answer:
    query: ClicksExport = request.query
    asked = await _asked(console, request, query)
    wanted = ClickFilter(
        program=asked.program,
        partner=asked.partner,
        verdict=query.verdict,
        counted=query.counted,
        since_ms=asked.since_ms,
        until_ms=asked.until_ms,
        brand=asked.brand,
    )

    def read(before: bytes | None) -> tuple[list[dict[str, Any]], bytes | None]:
        count = limits.PAGE_ROWS_MAX
        return queries.click_page(console.ledger, wanted, before=before, count=count)

    columns = _CLICK if asked.is_partner else _CLICK + _CLICK_MORE
    return export.answer(columns, _pages(console, read, _click), query.format, "clicks")


def _click(row: Row) -> Iterator[dict[str, Any]]:
    body = ClickBody._make(decode(row["record"]).body)
    address_prefix, user_agent, referrer = body.client[:3]
    yield {
        "click_id": ids.event_text("clk", row["click_id"]),
        "program_id": ids.object_text("prg", row["program"]),
        "partner_id": ids.object_text("prt", row["partner"]),
        "link_id": ids.object_text("lnk", row["link"]) if row["link"] else None,
        "at": clock.iso_ms(row["accept_ms"]),
        "occurred_at": clock.iso_ms(row["touch_ms"]),
        "touch_type": touch_type(row["flags"]),
        "verdict": row["verdict"],
        "counted": row["counted"],
        "unique": bool(row["is_unique"]),
        "test": bool(row["flags"] & Flag.TEST),
        **{name: body.params.get(name) for name in _SUB_IDS},
        "brand_id": ids.object_text("brd", row["brand"]),
        "source": Source(row["source"]).name.lower(),
        "trust": Trust(row["trust"]).name.lower(),
        "score": row["score"],
        "referrer": referrer,
        "user_agent": user_agent,
        "address_prefix": address_prefix,
    }


# ---- Conversions -----------------------------------------------------------------------------


async def export_conversions(console: Console, request: Request) -> Answer:
    """A row for each credit; one for a conversion without any."""
    query: ConversionsExport = request.query
    asked = await _asked(console, request, query)
    wanted = ConversionFilter(
        program=asked.program,
        brand=asked.brand,
        partner=asked.partner,
        status=query.status,
        is_test=query.test,
        since_ms=asked.since_ms,
        until_ms=asked.until_ms,
    )

    def read(
        before: tuple[int, bytes] | None,
    ) -> tuple[list[dict[str, Any]], tuple[int, bytes] | None]:
        count = limits.PAGE_ROWS_MAX
        return queries.conversion_page(console.ledger, wanted, before=before, count=count)

    def told(row: Row) -> Iterator[dict[str, Any]]:
        given = [each for each in row["credits"] if asked.partner in (None, each[0])]
        for credit in given or [(None, None, None)]:
            yield _conversion(row, *credit)

    columns = _CONVERSION if asked.is_partner else _CONVERSION + _CONVERSION_MORE
    return export.answer(columns, _pages(console, read, told), query.format, "conversions")


def _conversion(
    row: Row, partner: int | None, click_id: bytes | None, share_ppm: int | None
) -> dict[str, Any]:
    return {
        "conversion_id": ids.event_text("cnv", row["conversion_id"]),
        "program_id": ids.object_text("prg", row["program"]),
        "program": row["program_code"],
        "event": row["event_code"],
        "line": row["line"],
        "status": row["status"],
        "reason": row["reason"],
        "partner_id": None if partner is None else ids.object_text("prt", partner),
        "click_id": None if click_id is None else ids.event_text("clk", click_id),
        "share_ppm": share_ppm,
        "occurred_at": clock.iso_ms(row["occurred_ms"]),
        "accepted_at": clock.iso_ms(row["accept_ms"]),
        "test": bool(row["flags"] & Flag.TEST),
        "brand_id": ids.object_text("brd", row["brand"]),
        "order_id": row["order_id"],
        "amount": decimal_text(row["amount_minor"], row["currency"]),
        "currency": row["currency"],
        "verdict": row["verdict"],
        "score": row["score"],
        "revision": row["revision"],
    }


# ---- Actions ---------------------------------------------------------------------------------


async def export_actions(console: Console, request: Request) -> Answer:
    query: ActionsExport = request.query
    asked = await _asked(console, request, query)
    wanted = ActionFilter(
        brand=asked.brand,
        program=asked.program,
        partner=asked.partner,
        states=None if query.state is None else [query.state],
        kind=query.kind,
        since_ms=asked.since_ms,
        until_ms=asked.until_ms,
        is_test=query.test,
    )

    def read(
        before: tuple[int, bytes] | None,
    ) -> tuple[list[dict[str, Any]], tuple[int, bytes] | None]:
        count = limits.PAGE_ROWS_MAX
        rows = actions.action_page(console.ledger, wanted, before=before, count=count)
        is_last = len(rows) < count
        return rows, None if is_last else (rows[-1]["tracked_ms"], rows[-1]["action_id"])

    told = partial(_action, for_partner=asked.is_partner)
    return export.answer(_ACTION, _pages(console, read, told), query.format, "actions")


def _action(row: Row, *, for_partner: bool) -> Iterator[dict[str, Any]]:
    told = msgspec.structs.asdict(action_views.action(row, for_partner=for_partner))
    rate = told.pop("rate")
    # As numbers: below zero, a text would be taken for a formula.
    amounts = {name: Decimal(told[name]) for name in _ACTION_AMOUNTS}
    values = (rate.numerator, rate.denominator, rate.source, rate.date) if rate else (None,) * 4
    yield {**told, **amounts, **dict(zip(_RATE, values, strict=True))}
