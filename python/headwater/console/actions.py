"""Routes that list and read actions, and those that move one."""

from __future__ import annotations

from typing import Any

from headwater import clock, ids
from headwater.console import action_views, deciding, money_texts, paging
from headwater.console.action_shapes import ActionsQuery, CompensateIn, ModifyIn, MoveIn, ReverseIn
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request, not_found
from headwater.console.deciding import Wanted, texts
from headwater.console.events import number_of
from headwater.console.own_links import bound, reach_of
from headwater.errors import FieldFault
from headwater.ledger import actions
from headwater.ledger.actions import ActionFilter
from headwater.ledger.schema import partners, programs
from headwater.model.currency import EXPONENTS

Row = dict[str, Any]


def event_id(prefix: str, text: str, field: str) -> bytes:
    """An event id of a body or a query. Raises RequestRefused with `field` at fault."""
    try:
        return ids.parse_event(prefix, text)
    except ValueError:
        raise refused([FieldFault(field, "invalid", f"not a {prefix}_ id")]) from None


async def filter_of(console: Console, request: Request, asked: Any) -> ActionFilter:
    """The filter a query, or the body of a request for many, asks for."""
    reach = reach_of(request)
    state, conversion = asked.state, getattr(asked, "conversion_id", None)

    def time_ms(text: str | None) -> int | None:
        return None if text is None else clock.parse_iso_ms(text)

    return ActionFilter(
        brand=reach.brand,
        program=await number_of(console, programs, "prg", asked.program_id),
        partner=bound(await number_of(console, partners, "prt", asked.partner_id), reach.partner),
        states=None if state is None else [state],
        kind=asked.kind,
        conversion_id=None if conversion is None else event_id("cnv", conversion, "conversion_id"),
        order_id=getattr(asked, "order_id", None),
        since_ms=time_ms(asked.since),
        until_ms=time_ms(asked.until),
        pay_until_ms=time_ms(asked.pay_until),
        is_test=getattr(asked, "test", None),
    )


async def list_actions(console: Console, request: Request) -> Answer:
    query: ActionsQuery = request.query
    for_partner = reach_of(request).partner is not None
    rows = await console.run(
        actions.action_page,
        console.ledger,
        await filter_of(console, request, query),
        before=paging.decode(query.cursor, tuple[int, bytes]),
        count=query.limit + 1,
    )
    return Answer(
        paging.page(
            query,
            rows,
            lambda row: action_views.action(row, for_partner=for_partner),
            lambda row: (row["tracked_ms"], row["action_id"]),
        )
    )


def is_reached(request: Request, row: Row) -> bool:
    """Whether the caller's key reaches an action."""
    reach = reach_of(request)
    return reach.brand in (None, row["brand"]) and reach.partner in (None, row["partner"])


async def read_action(console: Console, request: Request) -> Answer:
    found = await console.run(actions.history, console.ledger, request.event("act"))
    if found is None or not is_reached(request, found.action):
        raise not_found()
    for_partner = reach_of(request).partner is not None
    return Answer(action_views.history(found, for_partner=for_partner))


# ---- Moves of one action -------------------------------------------------------------------


async def _action(console: Console, request: Request) -> Row:
    action_id = request.event("act")
    row = (await console.run(actions.actions_by_id, console.ledger, [action_id])).get(action_id)
    if row is None or not is_reached(request, row):
        raise not_found()
    return row


async def _move(
    console: Console, request: Request, verb: str, row: Row, params: dict[str, str]
) -> Answer:
    """200 with the action as it is then; 202 when the book has not come to it yet."""
    wanted = Wanted(row["brand"], f"action.{verb}", row["action_id"], params)
    (asked,) = await deciding.decided(console, request, [wanted])
    if deciding.require_applied(asked) is None:
        return deciding.taken(asked)
    return Answer(action_views.action(await _action(console, request)))


async def approve_action(console: Console, request: Request) -> Answer:
    return await _plainly(console, request, "approve")


async def reverse_action(console: Console, request: Request) -> Answer:
    return await _plainly(console, request, "reverse")


async def reset_action(console: Console, request: Request) -> Answer:
    return await _plainly(console, request, "reset")


async def pay_action(console: Console, request: Request) -> Answer:
    return await _plainly(console, request, "pay")


async def _plainly(console: Console, request: Request, verb: str) -> Answer:
    body: MoveIn | ReverseIn = request.body
    row = await _action(console, request)
    return await _move(console, request, verb, row, texts(reason=body.reason, note=body.note))


async def modify_action(console: Console, request: Request) -> Answer:
    row = await _action(console, request)
    return await _move(console, request, "modify", row, left_of(request.body, row["currency"]))


def left_of(body: ModifyIn | Any, currency: str) -> dict[str, str]:
    """What is left of an order, as a decision says it. Raises RequestRefused."""
    given = body.currency or currency
    if given not in EXPONENTS:
        raise refused([FieldFault("currency", "currency_unknown", "not an ISO 4217 currency")])
    items = None if body.items is None else money_texts.items_json(body.items, given)
    return texts(
        amount_minor=money_texts.minor("amount", body.amount, given),
        currency=given,
        items=items,
        reason=body.reason,
        note=body.note,
    )


async def compensate_action(console: Console, request: Request) -> Answer:
    body: CompensateIn = request.body
    row = await _action(console, request)
    sign = -1 if body.payout.startswith("-") else 1
    amount = body.payout.removeprefix("-")
    payout_minor = sign * money_texts.minor("payout", amount, row["payout_currency"])
    params = texts(payout_minor=payout_minor, reason=body.reason, note=body.note)
    return await _move(console, request, "compensate", row, params)
