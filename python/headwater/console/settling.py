"""The route that locks what is due now, without waiting for a tick."""

from __future__ import annotations

import json

from headwater import clock, ids, limits
from headwater.console import deciding
from headwater.console.action_shapes import SettleIn
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.deciding import Wanted, texts
from headwater.console.events import number_of
from headwater.console.own_links import bound, reach_of
from headwater.console.views import View
from headwater.ledger.deciding import Asked, brand_numbers
from headwater.ledger.schema import brands
from headwater.model.records import NO_SUBJECT


class SettledBrand(View):
    """`locked`: actions and days of clicks; null while the book has not come to it. `more`: there
    is more than one request locks.
    """

    brand_id: str
    decision_id: str
    locked: int | None
    more: bool


class Settled(View):
    """`more`: ask again, for the same brands or for those beyond the first of them."""

    until: str
    brands: list[SettledBrand]
    more: bool


async def settle(console: Console, request: Request) -> Answer:
    """However often it is asked, what is locked already is not locked again."""
    body: SettleIn = request.body
    until_ms = clock.now_ms() if body.until is None else clock.parse_iso_ms(body.until)
    named = await number_of(console, brands, "brd", body.brand_id)
    within = bound(named, reach_of(request).brand)
    numbers = await console.run(brand_numbers, console.ledger)
    chosen = [number for number in numbers if within in (None, number)]
    most = limits.DECISIONS_AT_ONCE_MAX
    params = texts(until_ms=until_ms)
    wanted = [Wanted(number, "program.settle", NO_SUBJECT, params) for number in chosen[:most]]
    told = [_settled(each) for each in await deciding.decided(console, request, wanted)]
    is_done = all(each.locked is not None for each in told)
    more = len(chosen) > most or any(each.more for each in told)
    view = Settled(until=clock.iso_ms(until_ms), brands=told, more=more)
    return Answer(view, 200 if is_done else 202)


def _settled(asked: Asked) -> SettledBrand:
    detail = {} if asked.entry is None else json.loads(asked.entry.detail_json)
    return SettledBrand(
        brand_id=ids.object_text("brd", asked.brand),
        decision_id=ids.event_text("evt", asked.event_id),
        locked=detail.get("locked"),
        more=bool(detail.get("more")),
    )
