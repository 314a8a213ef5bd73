"""What managers decide, and shops report of their orders: records on the log, each with one row
that says what came of it.

A decision that cannot be carried out changes nothing and is written down as refused, with a code.
The subject has to belong to the record's brand: whoever may write for one brand moves nothing of
another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from headwater import limits
from headwater.book import orders, reviews
from headwater.book.actions import (
    Refused,
    compensate,
    is_credited,
    moved,
    order_of,
    post,
    price_again,
    reverse,
    would_pay,
)
from headwater.book.click_days import is_over
from headwater.book.context import Cause, Context
from headwater.book.conversions import reconcile
from headwater.book.decided import Decided, amount, number, reason, whole
from headwater.book.locking import lock_due
from headwater.book.pricing import compact
from headwater.book.rejected import earns_nothing
from headwater.book.reversals import is_beyond, with_taken
from headwater.model.book import (
    CONVERSION,
    CREDITED_BY_MANAGER,
    REVERSED,
    Action,
    ActionFlag,
    DecisionEntry,
    kept_text,
)
from headwater.model.records import DecisionBody, Kind, decode

Detail = Mapping[str, Any]
Handler = Callable[[Context, Decided], Detail]

# Positions in a row of the engine's outcomes.
_EVENT, _KIND, _BRAND, _ACCEPT_MS, _RECORD = range(5)


def decide(context: Context, row: Sequence[Any]) -> None:
    """Carry a decision out, unless it was before."""
    if row[_KIND] != Kind.DECISION or context.store.decision(row[_EVENT]) is not None:
        return
    body = DecisionBody._make(decode(row[_RECORD]).body)
    said = Decided(
        *(row[_EVENT], row[_BRAND], row[_ACCEPT_MS], kept_text(body.action)),
        *(body.subject, dict(body.params)),
    )
    code, detail, outcome = None, {}, "applied"
    try:
        # A handler refuses before it writes: nothing takes back what it put.
        handler = _HANDLERS.get(said.action)
        if handler is None:
            raise Refused("unknown_decision")
        detail = dict(handler(context, said))
        outcome = detail.pop("outcome", outcome)
    except Refused as refused:
        outcome, code, detail = "refused", refused.code, refused.detail
    context.store.put_decision(
        DecisionEntry(
            event_id=said.event_id,
            brand=said.brand,
            accept_ms=row[_ACCEPT_MS],
            at_ms=context.at_ms,
            action=said.action,
            subject=said.subject,
            actor=said.actor,
            request=said.text("request"),
            reason=said.text("reason") or None,
            note=said.text("note"),
            outcome=outcome,
            code=code,
            detail_json=compact(detail),
        )
    )


# ---- Of one action


def _action(context: Context, said: Decided) -> Action:
    action = context.store.action(said.subject)
    if action is None or action.brand != said.brand:
        raise Refused("not_found")
    if action.revision >= limits.ACTION_MOVES_MAX and said.action != "action.pay":
        raise Refused("too_many_moves")
    if action.conversion_id:
        context.booked.moved.add(action.conversion_id)
    return action


def _cause(context: Context, said: Decided, program: int) -> Cause:
    return Cause(said.event_id, said.actor, reason(context, said, program), said.text("note"))


def _shown(action: Action) -> Detail:
    return {"state": action.state, "payout_minor": action.payout_minor}


def _approve(context: Context, said: Decided) -> Detail:
    action = _action(context, said)
    cause = _cause(context, said, action.program)
    return _shown(post(context, action, moved(action, "approve"), "approve", cause))


def _reverse(context: Context, said: Decided) -> Detail:
    action = _action(context, said)
    cause = _cause(context, said, action.program)
    return _shown(_reversed(context, action, cause))


def _reversed(context: Context, action: Action, cause: Cause) -> Action:
    if action.state != REVERSED and is_beyond(context, [(action, action.payout_minor)]):
        raise Refused("reversal_max")
    return reverse(context, action, cause)


def _reset(context: Context, said: Decided) -> Detail:
    action = _action(context, said)
    cause = _cause(context, said, action.program)
    conversion = context.store.conversion(action.conversion_id or b"")
    if action.kind != CONVERSION or conversion is None:
        raise Refused("illegal_move", state=action.state)
    if not is_credited(conversion, action) or earns_nothing(context, conversion, action.partner):
        raise Refused("not_credited")
    order = order_of(context, conversion)
    if order.left.is_nothing:
        raise Refused("order_reversed")
    change = with_taken(context, action, "{}", would_pay(context, action, order, "{}"))
    return _shown(price_again(context, action, order, "reset", cause, change_json=change))


def _modify(context: Context, said: Decided) -> Detail:
    action = _action(context, said)
    cause = _cause(context, said, action.program)
    conversion = context.store.conversion(action.conversion_id or b"")
    if action.kind != CONVERSION or conversion is None:
        raise Refused("illegal_move", state=action.state)
    left_minor = amount(said, conversion.currency)
    items = orders.checked_items(said)
    if left_minor == 0 and conversion.amount_minor != 0:
        return _shown(_reversed(context, action, cause))
    change = compact({"amount_minor": left_minor, "items": items})
    order = order_of(context, conversion)
    moved(action, "modify")
    paid_minor = would_pay(context, action, order, change)
    if is_beyond(context, [(action, action.payout_minor - paid_minor)]):
        raise Refused("reversal_max")
    change = with_taken(context, action, change, paid_minor)
    return _shown(price_again(context, action, order, "modify", cause, change_json=change))


def _pay(context: Context, said: Decided) -> Detail:
    action = _action(context, said)
    cause = _cause(context, said, action.program)
    if action.click_day and not is_over(context, action.program, action.click_day):
        # It still grows, and what comes after it is paid nobody could pay.
        raise Refused("illegal_move", state=action.state)
    return _shown(post(context, action, moved(action, "pay"), "pay", cause))


def _compensate(context: Context, said: Decided) -> Detail:
    action = _action(context, said)
    cause = _cause(context, said, action.program)
    if action.flags & ActionFlag.TEST:
        raise Refused("illegal_move", state=action.state)
    most = limits.PAYOUT_MINOR_MAX
    amount_minor = whole(said, "payout_minor", -most, most)
    if abs(action.compensated_minor + amount_minor) > most:
        raise Refused("invalid", field="payout_minor")
    return _shown(compensate(context, action, amount_minor, cause))


# ---- Of a conversion


def _attribute(context: Context, said: Decided) -> Detail:
    conversion = context.store.conversion(said.subject)
    if conversion is None or conversion.brand != said.brand:
        raise Refused("not_found")
    partner = number(said, "partner")
    click_id = orders.click_id(context, said, conversion.program, partner)
    if not context.settings.is_enrolled(conversion.program, partner):
        raise Refused("partner_not_in_program")
    if context.settings.is_paused(conversion.program, partner):
        raise Refused("partner_inactive")
    actions = context.store.actions_of(conversion.conversion_id)
    if any(action.locked_ms is not None for action in actions):
        raise Refused("action_locked")
    cause = _cause(context, said, conversion.program)
    credits_given = ((partner, click_id, 1_000_000),)
    conversion = conversion._replace(
        status="attributed", reason=CREDITED_BY_MANAGER, credits=credits_given
    )
    context.store.put_conversion(conversion)
    context.booked.credited[conversion.conversion_id] = credits_given
    context.booked.moved.add(conversion.conversion_id)
    reconcile(context, conversion, actions, cause=cause, is_manual=True)
    return {"partner": partner}


def _settle(context: Context, said: Decided) -> Detail:
    until_ms = whole(said, "until_ms", 0, 2**62)
    cause = Cause(said.event_id, said.actor, None, said.text("note"))
    most = limits.LOCKED_AT_ONCE_MAX
    locked = lock_due(context, until_ms, most, brand=said.brand, cause=cause)
    return {"locked": locked, "more": locked == most}


_HANDLERS: Final[Mapping[str, Handler]] = {
    "action.approve": _approve,
    "action.reverse": _reverse,
    "action.reset": _reset,
    "action.modify": _modify,
    "action.pay": _pay,
    "action.compensate": _compensate,
    "order.reverse": orders.reverse_order,
    "order.modify": orders.modify_order,
    "reverse": orders.shop_reversed,
    "modify": orders.shop_modified,
    "conversion.attribute": _attribute,
    "clicks.accept": reviews.accept,
    "clicks.reject": reviews.reject,
    "program.settle": _settle,
}
