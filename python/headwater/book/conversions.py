"""What the engine decides of conversions, turned into actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from headwater.book.actions import (
    ORDER_REVERSED,
    Order,
    engine_flags,
    make,
    order_of,
    price_again,
    reverse,
)
from headwater.book.context import Cause, Context, digest
from headwater.book.rejected import CLICK_REJECTED, earns_nothing, shares_of
from headwater.book.reversals import TAKEN_AWAY
from headwater.book.states import Verb, first
from headwater.model.book import (
    CREDITED_BY_MANAGER,
    REVERSED,
    Action,
    ActionFlag,
    Conversion,
    Credits,
)
from headwater.model.records import Kind, Trust, decode

ATTRIBUTED: Final = "attributed"

# Positions in a row of the engine's outcomes; the columns before are those of `Conversion`.
_HEAD: Final = 14
_STATUS, _REASON, _REVISION, CREDITS, _VERDICT = 8, 9, 13, 14, 17


def take(context: Context, row: Sequence[Any]) -> Conversion | None:
    """Take a decision of the engine in: write it down, or keep the one that may not change.

    Returns the conversion if it is new in the book.
    """
    conversion_id = row[0]
    store, booked = context.store, context.booked
    known = store.conversion(conversion_id)
    if known is not None and row[_REVISION] <= known.revision:
        # The engine had forgotten the order.
        booked.kept.add(conversion_id)
        return None
    actions = store.actions_of(conversion_id) if known else []
    given: Credits = tuple((owner, click, share) for owner, click, share in row[CREDITS])
    if known is not None and any(action.locked_ms is not None for action in actions):
        booked.kept.add(conversion_id)
        _report_late(context, row, known, given)
        return None
    # What servers say of an order's content is what it is paid by.
    record = b"" if known and _is_weaker(row[-1], known.record) else row[-1] or b""
    record_known = record or (known.record if known else b"")
    conversion = Conversion._make((*row[:_HEAD], row[_VERDICT], record_known, given))
    if known is not None and any(action.flags & ActionFlag.MANUAL for action in actions):
        if given != known.credits:
            _report_late(context, row, known, given)
        conversion = conversion._replace(
            status=known.status, reason=known.reason, credits=known.credits
        )
    store.put_conversion(conversion)
    # What a manager said before in this batch is in the row, where it still stands.
    booked.credited.pop(conversion_id, None)
    former = booked.conversions.get(conversion_id)
    booked.conversions[conversion_id] = (
        *row[:_STATUS],
        conversion.status,
        conversion.reason,
        *row[_REASON + 1 : CREDITS],
        conversion.credits,
        *row[CREDITS + 1 : -1],
        record or (former[-1] if former else b""),
    )
    reconcile(context, conversion, actions)
    return conversion if known is None else None


def _is_weaker(record: bytes | None, known: bytes) -> bool:
    if not record or not known:
        return False
    return decode(known).trust == Trust.SERVER and decode(record).trust == Trust.BROWSER


def _report_late(context: Context, row: Sequence[Any], known: Conversion, given: Credits) -> None:
    """Note what would have been decided. A revision without a report of its own stands under an
    id made of the conversion and the revision.
    """
    if given == known.credits:
        return
    event_id, kind, accept_ms = digest("late", row[0], row[_REVISION]), Kind.CONVERSION, row[6]
    if row[-1]:
        record = decode(row[-1])
        event_id, accept_ms = record.event_id, record.accept_ms
    partners = [owner for owner, _click, _share in given]
    context.booked.late_evidence.append(
        (event_id, row[0], row[1], accept_ms, int(kind), partners, row[-1] or b"")
    )


def reconcile(
    context: Context,
    conversion: Conversion,
    actions: Sequence[Action],
    *,
    cause: Cause | None = None,
    is_manual: bool = False,
) -> None:
    """Bring the actions of a conversion to what it credits: those of partners that lost it are
    reversed, those of others made, or priced again.
    """
    cause = cause or Cause(conversion.conversion_id)
    is_given = conversion.reason == CREDITED_BY_MANAGER
    is_paid = conversion.status == ATTRIBUTED and (conversion.verdict != "reject" or is_given)
    shares = shares_of(conversion) if is_paid else {}
    reason = "REATTRIBUTED" if is_paid or conversion.status != "rejected" else "FRAUD_REJECTED"
    for action in actions:
        if action.partner not in shares and action.state != REVERSED:
            lost = action._replace(flags=action.flags & ~ActionFlag.MANUAL)
            reverse(context, lost, Cause(cause.event_id, cause.actor, reason, cause.note))
    order = order_of(context, conversion)
    by_partner = {action.partner: action for action in actions}
    for partner in shares:
        existing = by_partner.get(partner)
        if existing is None:
            if not context.settings.is_paused(conversion.program, partner):
                flags = ActionFlag.MANUAL if is_manual else 0
                _reversed_again(context, order, make(context, order, partner, cause, flags))
        else:
            _revise(context, order, existing, cause, is_manual=is_manual)


def _obstacle(context: Context, order: Order, partner: int) -> str | None:
    """What was decided before of the order, or of its clicks, that leaves a partner nothing."""
    if order.left.is_nothing:
        return ORDER_REVERSED
    rejected = earns_nothing(context, order.conversion, partner)
    return CLICK_REJECTED if rejected else None


def _reversed_again(context: Context, order: Order, action: Action) -> None:
    reason = _obstacle(context, order, action.partner)
    if reason is not None:
        reverse(context, action, Cause(order.conversion.conversion_id, reason=reason))


def _revise(
    context: Context, order: Order, action: Action, cause: Cause, *, is_manual: bool
) -> None:
    conversion = order.conversion
    terms = context.settings.terms(conversion.program, action.partner, conversion.accept_ms)
    is_held = first(terms.approve if terms else "automatic", conversion.verdict == "review").is_held
    fixed = action.flags & ~(ActionFlag.TEST | ActionFlag.HELD)
    if is_manual:
        fixed |= ActionFlag.MANUAL
    clicks = (click for owner, click, _share in conversion.credits if owner == action.partner)
    changes: dict[str, Any] = {
        "flags": fixed | engine_flags(conversion, is_held=is_held),
        "click_id": next(clicks, None),
    }
    waits_for = _obstacle(context, order, action.partner)
    is_waiting = action.reason in (ORDER_REVERSED, CLICK_REJECTED)
    is_refilled = is_waiting and waits_for is None
    is_back = is_manual or action.reason in TAKEN_AWAY or is_refilled
    if action.state == REVERSED and not is_back:
        # Its manager's word stands; what changed of the order is known when it is reset.
        if is_waiting:
            changes["reason"] = waits_for
        context.store.put_action(action._replace(**changes))
        return
    verb: Verb = "reset" if action.state == REVERSED else "modify"
    after = price_again(context, action, order, verb, cause, **changes)
    _reversed_again(context, order, after)
