"""What follows from the book for partner pixels, in the order of the log.

Partners are told once a record is through: what it makes and takes back again, such as the action
of an order that was canceled before it came, is told to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgpack

from headwater.book import pixels
from headwater.book.context import Context
from headwater.model.book import PENDING, REVERSED, Action, ActionFlag
from headwater.model.pixels import Earned, Told
from headwater.model.records import (
    ClickBody,
    ControlBody,
    ConversionBody,
    Flag,
    Record,
    Source,
    decode,
)

SALE: Final = "sale"
REJECTED: Final = "rejected"

# Positions in a row of the engine's outcomes.
_BRAND, _PROGRAM, _EVENT_TYPE, _ORDER, _STATUS, _FLAGS, _EXPLAIN = 1, 2, 3, 4, 8, 12, 15


def configure(context: Context, control: Record) -> None:
    """Take a change of the configuration in, as far as pixels hang on it."""
    body = ControlBody._make(control.body)
    kind, number, revision = body[:3]
    value: dict[str, Any] | None = body.value
    if kind == "pixel":
        pixels.on_pixel(context.store.pixels, number, revision, value)


def tell_due(context: Context) -> None:
    """Fire what has waited until now. To be called before each record is looked at."""
    settings = context.settings
    pixels.on_time(
        context.store.pixels,
        context.at_ms,
        lambda program, partner: not settings.is_paused(program, partner),
    )


def tell_sale(context: Context, row: Sequence[Any]) -> None:
    """Let a sale, credited to whomever, cancel the waiting leads of its visitor."""
    if context.settings.event_type(row[_EVENT_TYPE]).kind != SALE or row[_STATUS] == REJECTED:
        return
    pixels.on_sale(
        context.store.pixels,
        brand=row[_BRAND],
        program=row[_PROGRAM],
        order_id=row[_ORDER],
        identifiers=_members(row[_EXPLAIN]),
        is_test=bool(row[_FLAGS] & Flag.TEST),
        at_ms=context.at_ms,
    )


def forget(context: Context, row: Sequence[Any]) -> None:
    """Let no waiting lead be known by what an erasure forgot: who comes under it later is new."""
    _event_id, brand, _accept_ms, _scope, is_dry_run, report, _record = row
    if not is_dry_run:
        told = msgpack.unpackb(report, strict_map_key=False)
        context.store.pixels.forget_in_leads(
            brand, [(kind, digest) for kind, digest in told.get("identifiers", ())]
        )


def _members(explanation: bytes) -> Iterator[tuple[int, bytes]]:
    """The visitor as the identity graph sees it. Read only when a lead waits."""
    told = msgpack.unpackb(explanation, strict_map_key=False)
    yield from ((kind, digest) for kind, digest in told.get("members", ()))


def tell(context: Context, *, is_first: bool) -> None:
    """Tell of what the record that was looked at has made and moved. `is_first`: it is the first
    decision of its conversion.
    """
    store = context.store.pixels
    for before, after in context.moved.values():
        if before is None:
            if store.pixels_of(after.partner):
                _tell_made(context, after, is_first=is_first)
        elif after.state == REVERSED and _is_closed_now(before, after):
            pixels.on_close(store, after.action_id)
        elif _may_concern(before, after):
            _tell_moved(context, after)
    context.moved.clear()


def _may_concern(before: Action, after: Action) -> bool:
    """Whether a move may fire what was not, or stop what waits."""
    was_over = before.flags & ActionFlag.OVER_CAP and not after.flags & ActionFlag.OVER_CAP
    return _is_held(before) or REVERSED in (before.state, after.state) or bool(was_over)


def _is_closed_now(before: Action, after: Action) -> bool:
    return before.locked_ms is None and after.locked_ms is not None


def _tell_moved(context: Context, action: Action) -> None:
    pixels.on_move(
        context.store.pixels,
        _earned(context, action),
        _told(context, action),
        context.at_ms,
        is_in=not context.settings.is_paused(action.program, action.partner),
    )


def _tell_made(context: Context, action: Action, *, is_first: bool) -> None:
    store = context.store.pixels
    earned = _earned(context, action)
    if context.settings.is_paused(action.program, action.partner):
        pixels.on_action_of_inactive(store, earned, context.at_ms)
        return
    told = _told(context, action)._replace(is_first=is_first)
    if action.state != REVERSED:
        pixels.on_action(store, earned, told, context.at_ms)
        return
    # Made and reversed by one record: it is held back in between, for nobody to hear of.
    held = earned._replace(state=action.original_state, is_held=True)
    pixels.on_action(store, held, told, context.at_ms)
    _tell_moved(context, action)


def _is_held(action: Action) -> bool:
    return bool(action.flags & ActionFlag.HELD) and action.state == PENDING


def _earned(context: Context, action: Action) -> Earned:
    event_type = context.settings.event_type(action.event_type)
    return Earned(
        action_id=action.action_id,
        brand=action.brand,
        program=action.program,
        program_code=context.settings.code(action.program),
        partner=action.partner,
        event_type=action.event_type,
        event_code=event_type.code,
        event_kind=event_type.kind,
        conversion_id=action.conversion_id,
        click_id=action.click_id,
        order_id=action.order_id,
        line=action.line,
        state=action.state,
        is_held=_is_held(action),
        is_test=bool(action.flags & ActionFlag.TEST),
        is_over_cap=bool(action.flags & ActionFlag.OVER_CAP),
        tracked_ms=action.tracked_ms,
        currency=action.currency,
        order_minor=action.order_minor,
        payout_currency=action.payout_currency,
        payout_minor=action.payout_minor,
    )


def _told(context: Context, action: Action) -> Told:
    conversion = context.store.conversion(action.conversion_id) if action.conversion_id else None
    report = decode(conversion.record) if conversion and conversion.record else None
    body = ConversionBody._make(report.body) if report else None
    found = context.store.click_record(action.click_id) if action.click_id else None
    click = decode(found) if found else None
    return Told(
        accept_ms=action.tracked_ms,
        source=report.source if report else Source.S2S,
        is_denied=bool(body and body.flags & Flag.CONSENT_DENIED),
        is_first=False,
        conversion=body,
        click=ClickBody._make(click.body) if click else None,
        click_ms=context.store.click_ms(action.click_id) if action.click_id else None,
    )
