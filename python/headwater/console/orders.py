"""Routes of decisions on whole orders: reversed, modified, given to a partner by hand."""

from __future__ import annotations

from typing import Any

from headwater import _core
from headwater.console import action_views, deciding
from headwater.console.action_shapes import AttributeIn, OrderModifyIn, OrderReverseIn, ReverseIn
from headwater.console.actions import event_id, left_of
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request, not_found
from headwater.console.deciding import Decision, Wanted, texts
from headwater.console.events import number_of
from headwater.console.own_links import reach_of
from headwater.console.terms_values import event_type_of
from headwater.console.views import View
from headwater.errors import FieldFault, RequestRefused
from headwater.ledger import actions, queries, terms
from headwater.ledger.objects import refused_field
from headwater.ledger.schema import partners, programs

Row = dict[str, Any]


class OrderDecided(View):
    """What was decided, and the order's actions as they are then."""

    decision: Decision
    actions: list[action_views.Action]


async def _conversion(console: Console, request: Request) -> Row:
    row = await console.run(queries.conversion_row, console.ledger, request.event("cnv"))
    if row is None or reach_of(request).brand not in (None, row["brand"]):
        raise not_found()
    return row


async def _decided(console: Console, request: Request, wanted: Wanted) -> Answer:
    """200 with the order's actions; 202 when the book, or the order, has not come yet."""
    (asked,) = await deciding.decided(console, request, [wanted])
    entry = deciding.require_applied(asked)
    if entry is None or entry.outcome != "applied":
        return deciding.taken(asked)
    rows = await console.run(actions.actions_of_conversion, console.ledger, wanted.subject)
    return Answer(
        OrderDecided(
            decision=deciding.view(asked), actions=[action_views.action(row) for row in rows]
        )
    )


async def reverse_conversion(console: Console, request: Request) -> Answer:
    body: ReverseIn = request.body
    row = await _conversion(console, request)
    params = texts(reason=body.reason, note=body.note)
    wanted = Wanted(row["brand"], "order.reverse", row["conversion_id"], params)
    return await _decided(console, request, wanted)


async def modify_conversion(console: Console, request: Request) -> Answer:
    row = await _conversion(console, request)
    params = left_of(request.body, row["currency"])
    wanted = Wanted(row["brand"], "order.modify", row["conversion_id"], params)
    return await _decided(console, request, wanted)


async def attribute_conversion(console: Console, request: Request) -> Answer:
    body: AttributeIn = request.body
    row = await _conversion(console, request)
    partner = await number_of(console, partners, "prt", body.partner_id) or 0
    if not await console.run(terms.is_enrolled, console.ledger, row["program"], partner):
        raise RequestRefused("partner_not_in_program")
    if body.click_id is not None:
        click = await console.run(
            queries.click_row, console.ledger, event_id("clk", body.click_id, "click_id")
        )
        if click is None or (click["program"], click["partner"]) != (row["program"], partner):
            detail = "no click of this partner in the conversion's program"
            raise refused([FieldFault("click_id", "invalid", detail)])
    params = texts(partner=partner, click_id=body.click_id, reason=body.reason, note=body.note)
    wanted = Wanted(row["brand"], "conversion.attribute", row["conversion_id"], params)
    return await _decided(console, request, wanted)


# ---- By the order's own id, also before it comes -------------------------------------------


async def _named(console: Console, request: Request) -> tuple[Row, bytes]:
    """The program a body names, and the id every report of the order meets on."""
    body: OrderReverseIn | OrderModifyIn = request.body
    number = await number_of(console, programs, "prg", body.program_id)
    program = await console.run(queries.object_row, console.ledger, programs, number or 0)
    if program is None or reach_of(request).brand not in (None, program["brand_id"]):
        raise refused_field("program_id", "unknown_program", "no such program")
    owner = await console.run(terms.owner_of, console.ledger, program, terms.TEMPLATE)
    event_type = event_type_of(owner.event_types, body.event)
    if event_type is None:
        raise refused_field("event", "unknown_event_type", "not an event type of the program")
    parts = [str(program["brand_id"]), str(program["id"]), str(event_type)]
    key = await console.identity_key()
    return program, _core.conversion_digest(key, [*parts, body.order_id, body.line])


async def reverse_order(console: Console, request: Request) -> Answer:
    body: OrderReverseIn = request.body
    program, conversion_id = await _named(console, request)
    params = texts(reason=body.reason, note=body.note)
    wanted = Wanted(program["brand_id"], "order.reverse", conversion_id, params)
    return await _decided(console, request, wanted)


async def modify_order(console: Console, request: Request) -> Answer:
    program, conversion_id = await _named(console, request)
    known = await console.run(queries.conversion_row, console.ledger, conversion_id)
    currency = program["currency"] if known is None else known["currency"]
    params = left_of(request.body, currency)
    wanted = Wanted(program["brand_id"], "order.modify", conversion_id, params)
    return await _decided(console, request, wanted)
