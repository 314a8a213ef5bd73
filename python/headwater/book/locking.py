"""What time does: actions and days of clicks that are due are locked."""

from __future__ import annotations

from headwater.book.actions import lock, order_of, price_again
from headwater.book.click_days import is_over, lock_day
from headwater.book.context import Cause, Context
from headwater.book.pricing import has_to_be_priced_at_lock
from headwater.model.book import REVERSED, Action


def lock_due(
    context: Context,
    until_ms: int,
    count: int,
    *,
    brand: int | None = None,
    cause: Cause | None = None,
) -> int:
    """Lock what is due by `until_ms`, the earliest first, `count` at most; how many there were.

    A day of clicks that is not over stays open, whatever `until_ms` says: clicks are still to come.
    """
    # Also of programs that pay no clicks any more.
    due = context.store.due_click_days(until_ms, count, brand)
    days = [day for day in due if is_over(context, day.program, day.day)]
    for day in days:
        lock_day(context, day, cause)
    actions = context.store.due_actions(until_ms, count - len(days), brand)
    for action in actions:
        lock_one(context, action, cause or Cause(action.action_id))
    return len(days) + len(actions)


def lock_one(context: Context, action: Action, cause: Cause) -> None:
    """Lock one action; what the whole month changes of its payout is settled first."""
    if action.state != REVERSED and has_to_be_priced_at_lock(context, action):
        conversion = context.store.conversion(action.conversion_id or b"")
        if conversion is not None:
            order = order_of(context, conversion)
            action = price_again(context, action, order, "modify", cause)
    lock(context, action, cause)
