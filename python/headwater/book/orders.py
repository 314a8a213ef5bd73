"""Decisions on whole orders: modified and reversed as shops refund them, also before they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headwater import ids, limits
from headwater.book.actions import (
    ORDER_REVERSED,
    Order,
    Refused,
    is_credited,
    order_of,
    price_again,
    reverse,
    would_pay,
)
from headwater.book.context import Cause, Context
from headwater.book.decided import Decided, amount, reason, said_ms
from headwater.book.left import items_left
from headwater.book.pricing import NOTHING
from headwater.book.rejected import CLICK_REJECTED, earns_nothing
from headwater.book.reversals import is_beyond, with_taken
from headwater.book.states import Verb
from headwater.model.book import (
    CANCELED,
    LEFT,
    REFUND,
    REVERSED,
    TOTAL,
    Action,
    Conversion,
    DecisionEntry,
    OrderChange,
)
from headwater.model.records import NO_SUBJECT, ClickBody, decode


def checked_items(said: Decided) -> str:
    """The items that are left, as the decision says them; empty when it does not.

    Raises Refused for what is no such list.
    """
    text = said.text("items")
    if not text:
        return ""
    try:
        items = items_left(text, ())
    except ValueError:
        raise Refused("invalid", field="items") from None
    if len(items) > limits.ITEMS_MAX:
        raise Refused("too_many_values", field="items")
    return text


def click_id(context: Context, said: Decided, program: int, partner: int) -> bytes | None:
    """The click a manager names: one of that partner in the program, for what it carries is told
    to the partner. Raises Refused for another.
    """
    text = said.text("click_id")
    if not text:
        return None
    try:
        found = context.store.click_record(ids.parse_event("clk", text))
    except ValueError:
        found = None
    record = decode(found) if found else None
    click = ClickBody._make(record.body) if record and record.brand == said.brand else None
    if click is None or (click.program, click.partner) != (program, partner):
        raise Refused("invalid", field="click_id")
    return ids.parse_event("clk", text)


def reverse_order(context: Context, said: Decided) -> Mapping[str, Any]:
    """Reverse every action of an order."""
    return _change(context, said, CANCELED)


def modify_order(context: Context, said: Decided) -> Mapping[str, Any]:
    """Let every action of an order pay for what is left of it."""
    return _change(context, said, LEFT)


def shop_reversed(context: Context, said: Decided) -> Mapping[str, Any]:
    """What a shop says was taken back: an amount, or the whole order (docs/shopify.md)."""
    return _change(context, said, REFUND if "amount_minor" in said.params else CANCELED)


def shop_modified(context: Context, said: Decided) -> Mapping[str, Any]:
    """What a shop says an order comes to before refunds, which it tells one by one."""
    return _change(context, said, TOTAL)


def _change(context: Context, said: Decided, kind: str) -> Mapping[str, Any]:
    if said.subject == NO_SUBJECT:
        raise Refused("not_found")
    conversion = context.store.conversion(said.subject)
    if conversion is not None and conversion.brand != said.brand:
        raise Refused("not_found")
    known = context.store.order_changes(said.subject)
    refund_id = said.text("refund_id") if kind == REFUND else ""
    if refund_id and any(
        change.refund_id == refund_id and change.brand == said.brand for change in known
    ):
        return {"repeated": True}
    if len(known) >= limits.ACTION_MOVES_MAX:
        raise Refused("too_many_moves")
    currency = conversion.currency if conversion else said.text("currency")
    is_whole = kind == CANCELED
    amount_minor = 0 if is_whole else amount(said, currency)
    items_json = "" if is_whole else checked_items(said)
    if kind == LEFT and amount_minor == 0 and (conversion is None or conversion.amount_minor):
        kind = CANCELED
    change = OrderChange(
        conversion_id=said.subject,
        ordinal=len(known) + 1,
        event_id=said.event_id,
        brand=said.brand,
        at_ms=context.at_ms,
        kind=kind,
        said_ms=said_ms(said),
        refund_id=refund_id,
        amount_minor=amount_minor,
        currency=currency,
        items_json=items_json,
        reason=_reason(context, said, conversion),
        actor=said.actor,
        note=said.text("note") or said.text("cause"),
        state="waiting",
    )
    if conversion is None:
        context.store.put_order_change(change)
        return {"outcome": "waiting"}
    return _apply(context, conversion, change, is_choice=_is_choice(said))


def _is_choice(said: Decided | DecisionEntry | None) -> bool:
    """A shop's word on its orders is a fact, a manager's a choice that the terms may bound."""
    return said is not None and said.action.startswith("order.")


_SHOP_REASONS: Final = {
    "order_cancelled": None,
    "order_refunded": "ITEM_RETURNED",
    "order_updated": "ORDER_UPDATE",
}


def _reason(context: Context, said: Decided, conversion: Conversion | None) -> str | None:
    if said.text("by") and said.text("reason") in _SHOP_REASONS:
        return _SHOP_REASONS[said.text("reason")]
    return reason(context, said, conversion.program if conversion else 0)


def apply_waiting(context: Context, conversion: Conversion) -> None:
    """Carry out what was decided of an order before it came, in the order of the log."""
    for change in context.store.order_changes(conversion.conversion_id):
        if change.state != "waiting":
            continue
        entry = context.store.decision(change.event_id)
        outcome, code = "applied", None
        try:
            if change.brand != conversion.brand:
                raise Refused("not_found")
            if change.currency not in ("", conversion.currency):
                raise Refused("currency_mismatch")
            _apply(context, conversion, change, is_choice=_is_choice(entry))
        except Refused as refused:
            outcome, code = "refused", refused.code
            context.store.put_order_change(change._replace(state=outcome))
        if entry is not None:
            context.store.put_decision(entry._replace(outcome=outcome, code=code))


def _apply(
    context: Context, conversion: Conversion, change: OrderChange, *, is_choice: bool = False
) -> Mapping[str, Any]:
    """Move every open action of the order; those that are closed stay as they are."""
    actions = context.store.actions_of(conversion.conversion_id)
    opened = [action for action in actions if action.locked_ms is None]
    if actions and not opened:
        raise Refused("action_locked")
    change = change._replace(state="applied", currency=conversion.currency)
    if is_choice and is_beyond(context, _losses(context, conversion, opened, change)):
        raise Refused("reversal_max")
    context.store.put_order_change(change)
    context.booked.moved.add(conversion.conversion_id)
    cause = Cause(change.event_id, change.actor, change.reason, change.note)
    order = order_of(context, conversion)
    for action in opened:
        is_canceled = change.kind == CANCELED
        _follow(context, order, action, cause, is_canceled=is_canceled, is_choice=is_choice)
    return {"moved": len(opened), "locked": len(actions) - len(opened)}


def _losses(
    context: Context, conversion: Conversion, opened: list[Action], change: OrderChange
) -> Iterator[tuple[Action, int]]:
    """What actions would lose by one more change of their order."""
    order = order_of(context, conversion, change)
    for action in opened:
        if action.state == REVERSED or not is_credited(conversion, action):
            continue
        nothing = order.left.is_nothing
        paid_minor = 0 if nothing else would_pay(context, action, order, NOTHING)
        yield action, action.payout_minor - paid_minor


def _follow(
    context: Context,
    order: Order,
    action: Action,
    cause: Cause,
    *,
    is_canceled: bool,
    is_choice: bool,
) -> None:
    """Bring an open action to what is left of its order. One that was reversed because nothing
    was left is back when something is; what a manager reversed stays so.
    """
    if order.left.is_nothing:
        if action.state != REVERSED:
            given = cause.reason if is_canceled else None
            why = Cause(cause.event_id, cause.actor, given or ORDER_REVERSED, cause.note)
            reverse(context, action, why)
    elif not is_credited(order.conversion, action):
        pass
    elif earns_nothing(context, order.conversion, action.partner):
        if action.reason == ORDER_REVERSED:
            context.store.put_action(action._replace(reason=CLICK_REJECTED))
    elif action.state != REVERSED or action.reason == ORDER_REVERSED:
        # The newer word on the order: it takes the place of one on the action alone.
        verb: Verb = "reset" if action.state == REVERSED else "modify"
        paid_minor = action.payout_minor
        if is_choice:
            paid_minor = would_pay(context, action, order, NOTHING)
        change_json = with_taken(context, action, NOTHING, paid_minor)
        price_again(context, action, order, verb, cause, change_json=change_json)
