"""How much of a partner's month managers have reversed, where the terms bound it.

A month is one of UTC, so that a program's change of zone moves nothing, and holds what actions
tracked in it paid, those that were reversed included, but not what the engine took away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from headwater.book.calendar import month_of
from headwater.book.context import Context
from headwater.book.money import MICROS
from headwater.book.pricing import NOTHING, add_tally, compact
from headwater.model.book import CONVERSION, REVERSED, Action, ActionFlag

TAKEN_AWAY: Final = frozenset({"REATTRIBUTED", "FRAUD_REJECTED"})
"""Reasons the engine's decisions reverse for; only its decisions give such an action back."""


_TAKEN: Final = "taken_minor"
# Of `change_json`: what managers have taken off an action that is not reversed.


def count_month(context: Context, before: Action | None, after: Action) -> None:
    """Count a move in the month of its action."""
    if before is not None:
        _add(context, before, -1)
    _add(context, after, 1)


def _add(context: Context, action: Action, sign: int) -> None:
    if _bound_ppm(context, action) is None:
        return
    taken_minor = _taken_minor(action)
    if not action.payout_minor + taken_minor:
        return
    is_reversed = action.state == REVERSED
    if is_reversed and action.reason in TAKEN_AWAY:
        return
    amount_minor = action.payout_minor + taken_minor
    add_tally(context, _key("earned", action), action.brand, sign * amount_minor)
    off_minor = amount_minor if is_reversed else taken_minor
    if off_minor:
        add_tally(context, _key("reversed", action), action.brand, sign * off_minor)


def is_beyond(context: Context, losses: Iterable[tuple[Action, int]]) -> bool:
    """Whether the terms let these open actions not lose so many minor units each: the share of
    a month would be passed. None of it is counted yet.
    """
    lost: dict[str, int] = {}
    for action, minor in losses:
        bound_ppm = _bound_ppm(context, action)
        if bound_ppm is None or minor <= 0:
            continue
        key = _key("reversed", action)
        lost[key] = lost.get(key, 0) + minor
        taken = context.store.tally(key) + lost[key]
        if taken * MICROS > bound_ppm * context.store.tally(_key("earned", action)):
            return True
    return False


def with_taken(context: Context, action: Action, change_json: str, paid_minor: int) -> str:
    """`change_json` of an action that a manager lets pay `paid_minor` from now on, with what
    managers have taken off it.
    """
    change = {key: value for key, value in json.loads(change_json).items() if key != _TAKEN}
    taken_minor = max(0, _taken_minor(action) + action.payout_minor - paid_minor)
    if taken_minor and _bound_ppm(context, action) is not None:
        change[_TAKEN] = taken_minor
    return compact(change)


def _taken_minor(action: Action) -> int:
    if action.change_json == NOTHING:
        return 0
    taken_minor: int = json.loads(action.change_json).get(_TAKEN, 0)
    return taken_minor


def _bound_ppm(context: Context, action: Action) -> int | None:
    """The largest share that may be reversed; None: there is no bound."""
    terms = context.settings.numbered(action.terms)
    if terms is None or terms.reversal_max_ppm >= MICROS or action.kind != CONVERSION:
        return None
    return None if action.flags & ActionFlag.TEST else terms.reversal_max_ppm


def _key(what: str, action: Action) -> str:
    month = month_of(action.tracked_ms, "UTC").isoformat()
    return f"{what}/{action.program}/{action.partner}/{action.payout_currency}/{month}"
