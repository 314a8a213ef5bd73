"""Routes of clicks under review: looked at by partner and day, accepted and rejected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from headwater import clock, ids
from headwater.console import deciding, money_texts, paging
from headwater.console.action_shapes import AcceptIn, ClicksFilter, PendingQuery, RejectIn
from headwater.console.actions import event_id
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request
from headwater.console.deciding import Wanted, texts
from headwater.console.events import number_of
from headwater.console.own_links import bound, reach_of
from headwater.console.views import View
from headwater.errors import FieldFault
from headwater.ledger import pending_clicks, queries
from headwater.ledger.deciding import Asked
from headwater.ledger.pending_clicks import PendingFilter
from headwater.ledger.schema import partners, programs
from headwater.model import fraud
from headwater.model.records import NO_SUBJECT

Row = Mapping[str, Any]


class PendingClick(View):
    """A click that is paid for once its day locks, unless it is rejected. `codes`: what scoring
    found, of which a partner is told nothing; `standing`: which count of its day it is in;
    `decision`: a manager's, null: none yet.
    """

    click_id: str
    program_id: str
    partner_id: str
    day: str
    at: str
    verdict: str
    score: int | None
    codes: list[str]
    standing: str
    decision: str | None
    reason: str | None
    payout: str
    currency: str


class ReviewItem(View):
    """What became of one of many. `status` is what it would have been answered alone."""

    index: int
    id: str
    status: int
    code: str | None
    decision_id: str | None


class Review(View):
    """`changed` clicks were decided on now, `unchanged` ones by a filter had been, or are locked;
    null while the book has not come to all of it. `more`: ask again for the rest of the filter.
    """

    changed: int | None
    unchanged: int | None
    more: bool
    items: list[ReviewItem] | UnsetType = UNSET


async def list_pending(console: Console, request: Request) -> Answer:
    query: PendingQuery = request.query
    reach = reach_of(request)
    is_partner = reach.partner is not None
    program, partner = query.program_id or query.program, query.partner_id or query.partner
    wanted = PendingFilter(
        brand=reach.brand,
        program=await number_of(console, programs, "prg", program),
        partner=bound(await number_of(console, partners, "prt", partner), reach.partner),
        day=query.day,
        verdict=query.verdict,
        standing=query.standing,
        # How far a partner could go would be told by what it is shown.
        score_from=0 if is_partner else query.score_from,
    )
    rows = await console.run(
        pending_clicks.pending_page,
        console.ledger,
        wanted,
        after=paging.decode(query.cursor, tuple[int, int, str, str, bytes]),
        count=query.limit + 1,
    )
    names = ("program", "partner", "day", "currency", "click_id")
    return Answer(
        paging.page(
            query,
            rows,
            lambda row: _pending(row, is_whole=not is_partner),
            lambda row: tuple(row[name] for name in names),
        )
    )


def _pending(row: Row, *, is_whole: bool) -> PendingClick:
    return PendingClick(
        click_id=ids.event_text("clk", row["click_id"]),
        program_id=ids.object_text("prg", row["program"]),
        partner_id=ids.object_text("prt", row["partner"]),
        day=row["day"],
        at=clock.iso_ms(row["touch_ms"]),
        verdict=row["verdict"],
        score=row["score"] if is_whole else None,
        codes=fraud.codes(row["fraud"]) if is_whole else [],
        standing=row["standing"],
        decision=row["manager"] or None,
        reason=row["reason"],
        payout=money_texts.micros_text(row["payout_micros"], row["currency"]),
        currency=row["currency"],
    )


# ---- Decisions -----------------------------------------------------------------------------


async def accept_clicks(console: Console, request: Request) -> Answer:
    return await _review(console, request, "clicks.accept")


async def reject_clicks(console: Console, request: Request) -> Answer:
    return await _review(console, request, "clicks.reject")


async def _review(console: Console, request: Request, action: str) -> Answer:
    body: AcceptIn | RejectIn = request.body
    if (body.click_ids is None) == (body.filter is None):
        raise refused([FieldFault("click_ids", "invalid", "either ids or a filter")])
    params = texts(reason=body.reason, note=body.note)
    if body.filter is not None:
        return await _by_filter(console, request, action, body.filter, params)
    return await _by_id(console, request, action, body.click_ids or [], params)


async def _by_filter(
    console: Console,
    request: Request,
    action: str,
    wanted: ClicksFilter,
    params: dict[str, str],
) -> Answer:
    """One decision: the book chooses the clicks, at its place on the log."""
    number = await number_of(console, programs, "prg", wanted.program_id)
    program = await console.run(queries.object_row, console.ledger, programs, number or 0)
    if program is None or reach_of(request).brand not in (None, program["brand_id"]):
        detail = "no such program"
        raise refused([FieldFault("filter.program_id", "unknown_program", detail)])
    partner = await number_of(console, partners, "prt", wanted.partner_id)
    if not partner:
        detail = "no such partner"
        raise refused([FieldFault("filter.partner_id", "unknown_partner", detail)])
    chosen = {
        "verdict": wanted.verdict,
        "standing": wanted.standing,
        "score_from": wanted.score_from,
    }
    params = {
        **params,
        **texts(program=program["id"], partner=partner, day=wanted.day, filter=json.dumps(chosen)),
    }
    asking = [Wanted(program["brand_id"], action, NO_SUBJECT, params)]
    (asked,) = await deciding.decided(console, request, asking)
    entry = deciding.require_applied(asked)
    if entry is None:
        view = Review(changed=None, unchanged=None, more=False)
        location = f"/v1/decisions/{ids.event_text('evt', asked.event_id)}"
        return Answer(view, 202, {"Location": location})
    detail = json.loads(entry.detail_json)
    return Answer(Review(**{name: detail[name] for name in ("changed", "unchanged", "more")}))


async def _by_id(
    console: Console, request: Request, action: str, texts_: list[str], params: dict[str, str]
) -> Answer:
    """A decision for each click. One alone is refused as such; of many each is told apart."""
    named = [event_id("clk", text, f"click_ids.{place}") for place, text in enumerate(texts_)]
    brands = await console.run(pending_clicks.brands_of_clicks, console.ledger, named)
    own = reach_of(request).brand
    known = [each for each in named if each in brands and own in (None, brands[each])]
    wanted = [Wanted(brands[each], action, each, params) for each in known]
    asked = await deciding.decided(console, request, wanted)
    found = {each.subject: each for each in asked}
    items = [_item(place, each, found.get(each)) for place, each in enumerate(named)]
    done = [each.entry for each in asked if each.entry is not None]
    is_done = len(done) == len(asked)
    changed = sum(entry.outcome == "applied" for entry in done)
    view = Review(
        changed=changed if is_done else None,
        unchanged=len(named) - changed if is_done else None,
        more=False,
        items=items,
    )
    return Answer(view, 200 if is_done else 202)


def _item(index: int, click_id: bytes, asked: Asked | None) -> ReviewItem:
    status, code = deciding.outcome_of(asked)
    return ReviewItem(
        index=index,
        id=ids.event_text("clk", click_id),
        status=status,
        code=code,
        decision_id=None if asked is None else ids.event_text("evt", asked.event_id),
    )
