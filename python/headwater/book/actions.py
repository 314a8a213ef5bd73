"""Actions: how one is made, moves, and is written to the double-entry book."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final, NamedTuple

from headwater.book import entries as double
from headwater.book.calendar import pay_at_ms
from headwater.book.context import Cause, Context, digest
from headwater.book.facts import items_of
from headwater.book.left import Left, items_left, left_after
from headwater.book.pricing import NOTHING, Priced, give_back, priced, take_again
from headwater.book.reversals import count_month
from headwater.book.states import Illegal, Standing, State, Verb, first, move
from headwater.model.book import (
    CONVERSION,
    PENDING,
    REVERSED,
    Action,
    ActionFlag,
    ActionMove,
    BookEntry,
    Conversion,
    OrderChange,
)
from headwater.model.records import Flag

ORDER_REVERSED: Final = "ORDER_REVERSED"


class Refused(Exception):
    """A move, or a decision, that does not happen. `code` is one of `headwater.model.reasons`."""

    def __init__(self, code: str, **detail: object) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class Order(NamedTuple):
    """A conversion, and what is left of it."""

    conversion: Conversion
    left: Left
    """As reported, or as the last decision on the whole order says."""


def order_of(context: Context, conversion: Conversion, *more: OrderChange) -> Order:
    """What is left of a conversion's order after the decisions on it, and `more`."""
    items = items_of(conversion.record) if conversion.record else ()
    changes = context.store.order_changes(conversion.conversion_id)
    applied = [change for change in changes if change.state == "applied"]
    return Order(conversion, left_after(conversion.amount_minor, items, [*applied, *more]))


def left_of(order: Order, action: Action) -> Left:
    """What is left of the order for one action, which may have a modification of its own."""
    if action.change_json == NOTHING:
        return order.left
    change = json.loads(action.change_json)
    if "amount_minor" not in change:
        return order.left
    items = order.left.items
    if change.get("items"):
        items = items_left(change["items"], items_of(order.conversion.record))
    return Left(change["amount_minor"], items)


def is_credited(conversion: Conversion, action: Action) -> bool:
    """Whether the conversion still credits the action's partner. One that it does not credit is
    reversed, and stays so.
    """
    return any(owner == action.partner for owner, _click, _share in conversion.credits)


def make(context: Context, order: Order, partner: int, cause: Cause, flags: int = 0) -> Action:
    """A new action of a conversion for one of its partners."""
    conversion = order.conversion
    terms = context.settings.terms(conversion.program, partner, conversion.accept_ms)
    standing = first(terms.approve if terms else "automatic", conversion.verdict == "review")
    click_ids = (click for owner, click, _share in conversion.credits if owner == partner)
    blank = Action(
        action_id=digest("conversion", conversion.conversion_id, partner),
        partition=context.partition,
        brand=conversion.brand,
        program=conversion.program,
        partner=partner,
        event_type=conversion.event_type,
        kind=CONVERSION,
        conversion_id=conversion.conversion_id,
        click_id=next(click_ids, None),
        click_day=None,
        order_id=conversion.order_id,
        line=conversion.line,
        state=standing.state,
        original_state=standing.original,
        reason=None,
        tracked_ms=conversion.accept_ms,
        lock_ms=0,
        due_ms=None,
        locked_ms=None,
        pay_ms=None,
        currency=conversion.currency,
        order_minor=conversion.amount_minor,
        left_minor=order.left.amount_minor,
        payout_currency=conversion.currency,
        revenue_minor=0,
        payout_micros=0,
        payout_minor=0,
        compensated_minor=0,
        rate_json=NOTHING,
        terms=0,
        terms_version=0,
        rule="",
        share_ppm=0,
        flags=flags | engine_flags(conversion, is_held=standing.is_held),
        charges_json=NOTHING,
        change_json=NOTHING,
        revision=0,
    )
    found = priced(context, blank, conversion, order.left)
    if found.items:
        context.store.put_items(found.action.action_id, found.items)
    return post(context, None, found.action, "create", cause)


def engine_flags(conversion: Conversion, *, is_held: bool) -> int:
    """The flags of an action that follow from its conversion."""
    test = ActionFlag.TEST if conversion.flags & Flag.TEST else 0
    return int(test | (ActionFlag.HELD if is_held else 0))


def standing(action: Action) -> Standing:
    """Where an action stands in the state machine."""
    state: State = action.state  # type: ignore[assignment]
    original: State = action.original_state  # type: ignore[assignment]
    is_held = bool(action.flags & ActionFlag.HELD)
    return Standing(state, original, is_held, is_closed=action.locked_ms is not None)


def moved(action: Action, verb: Verb) -> Action:
    """The action in the state that `verb` takes it to. Raises Refused when there is no such
    move.
    """
    to = move(standing(action), verb)
    if isinstance(to, Illegal):
        raise Refused(to.code, state=action.state)
    return action._replace(state=to.state)


def reverse(context: Context, action: Action, cause: Cause) -> Action:
    """Take an action back; what it held of caps and tiers is free again."""
    after = moved(action, "reverse")._replace(reason=cause.reason, charges_json=NOTHING)
    give_back(context, action)
    return post(context, action, after, "reverse", cause)


def price_again(
    context: Context, action: Action, order: Order, verb: Verb, cause: Cause, **changes: Any
) -> Action:
    """Let an action pay for what is left of its order now. Without an effect nothing is written.

    Raises Refused, before anything is written, when there is no such move, or when the order does
    not credit the action's partner.
    """
    if not is_credited(order.conversion, action):
        raise Refused("not_credited")
    after = moved(action, verb)._replace(**changes)
    if after.state == REVERSED:
        give_back(context, action)
        after = after._replace(charges_json=NOTHING)
        return action if after == action else post(context, action, after, verb, cause)
    found = _priced_again(context, action, after, order)
    if found.action == action:
        return action
    if found.items or action.terms:
        context.store.put_items(action.action_id, found.items)
    return post(context, action, found.action, verb, cause)


def _priced_again(context: Context, action: Action, after: Action, order: Order) -> Priced:
    """`after` with what it pays now. Where that does not fit in a cap it keeps what it has."""
    if action.state != REVERSED:
        give_back(context, action)
    left = left_of(order, after)
    found = priced(context, after, order.conversion, left)
    is_kept = action.charges_json != NOTHING and found.action.flags & ActionFlag.OVER_CAP
    if is_kept and action.state != REVERSED:
        take_again(context, action)
        return Priced(after._replace(left_minor=left.amount_minor))
    return found


def would_pay(context: Context, action: Action, order: Order, change_json: str) -> int:
    """What an open action would pay for what is left of its order, in minor units."""
    after = action._replace(change_json=change_json)
    found = _priced_again(context, action, after, order).action
    give_back(context, found)
    take_again(context, action)
    return found.payout_minor


def lock(context: Context, action: Action, cause: Cause) -> Action:
    """Close an action: from now on only a compensation is booked beside it."""
    if action.state == REVERSED:
        closed = action._replace(locked_ms=context.at_ms, due_ms=None)
        context.store.put_action(closed)
        context.note_move(action, closed)
        return closed
    terms = context.settings.numbered(action.terms)
    zone = context.settings.zone(action.program)
    pay_ms = pay_at_ms(action.lock_ms, terms.payment, zone) if terms else None
    after = moved(action, "lock")._replace(locked_ms=context.at_ms, pay_ms=pay_ms)
    return post(context, action, after, "lock", cause)


def compensate(context: Context, action: Action, amount_minor: int, cause: Cause) -> Action:
    """Book an amount beside a closed action, above zero for the partner, below for the brand."""
    after = moved(action, "compensate")
    after = after._replace(compensated_minor=action.compensated_minor + amount_minor)
    return post(context, action, after, "compensate", cause)


def post(context: Context, before: Action | None, after: Action, verb: str, cause: Cause) -> Action:
    """Write a move, with its entries."""
    after = after._replace(
        revision=(before.revision if before else 0) + 1,
        due_ms=_due_ms(after),
    )
    count_month(context, before, after)
    context.store.put_action(after)
    context.store.add_move(
        ActionMove(
            after.action_id,
            after.revision,
            after.brand,
            context.at_ms,
            verb,
            before.state if before else "",
            after.state,
            cause.reason,
            cause.note,
            cause.actor,
            cause.event_id,
            after.payout_minor,
        )
    )
    book(context, before, after, cause)
    context.note_move(before, after)
    return after


def _due_ms(action: Action) -> int | None:
    is_waiting = action.state == PENDING and action.flags & ActionFlag.HELD
    return None if action.locked_ms is not None or is_waiting else action.lock_ms


def book(context: Context, before: Action | None, after: Action, cause: Cause) -> None:
    """Write the entries of a move."""
    why = double.Cause(after.action_id, cause.event_id, context.at_ms)
    now = _position(after)
    lines: list[double.Entry] = []
    if before is not None and before.payout_currency != after.payout_currency:
        nothing = double.Position("reversed", 0)
        lines += double.entries(why, _position(before), nothing, before.payout_currency)
        before = None
    was = _position(before) if before else None
    lines += double.entries(why, was, now, after.payout_currency)
    added = after.compensated_minor - (before.compensated_minor if before else 0)
    if added and not after.flags & ActionFlag.TEST:
        lines += double.compensation(why, now.state, added, after.payout_currency)
    for ordinal, line in enumerate(lines):
        put_entry(context, after, replace(line, ordinal=ordinal))


def _position(action: Action) -> double.Position:
    """What of the action is on the partner's accounts: nothing of a test."""
    amount_minor = 0 if action.flags & ActionFlag.TEST else action.payout_minor
    return double.Position(standing(action).state, amount_minor)


def put_entry(context: Context, action: Action, line: double.Entry, *, grows: bool = False) -> None:
    context.store.put_entry(
        BookEntry(
            action.action_id,
            action.revision,
            line.ordinal,
            line.account,
            action.brand,
            action.program,
            action.partner,
            context.at_ms,
            line.currency,
            line.amount_minor,
            line.cause.event_id,
        ),
        grows=grows,
    )
