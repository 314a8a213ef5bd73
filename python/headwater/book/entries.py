"""Double entry: what is owed and to whom, as pairs of entries that sum to zero.

The brand's expense goes down by what a partner's account goes up. Where a partner's money stands
is said by the account: pending, approved, payable once locked, paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from headwater.book.states import State

Account = Literal[
    "brand_expense", "partner_pending", "partner_approved", "partner_payable", "partner_paid"
]

EXPENSE: Final = "brand_expense"
_ACCOUNTS: Final[dict[State, Account]] = {
    "pending": "partner_pending",
    "approved": "partner_approved",
    "reversed": EXPENSE,
    "locked": "partner_payable",
    "paid": "partner_paid",
}


class Cause(NamedTuple):
    """What an entry traces to."""

    action_id: bytes
    event_id: bytes
    """The record of the log that caused it; of a tick, the action's own conversion."""
    at_ms: int
    """Time of the log."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the book. Two in a row are a pair, and sum to zero."""

    cause: Cause
    ordinal: int
    """Place among the entries of its cause, from 0; an even one and the next are a pair."""
    account: Account
    amount_minor: int
    """Above zero: the account has more."""
    currency: str


class Position(NamedTuple):
    """What an action holds in the book: its state's account has the amount."""

    state: State
    amount_minor: int


def account_of(state: State) -> Account:
    """The account that has what an action in `state` pays; a reversed one pays nothing."""
    return _ACCOUNTS[state]


def entries(
    cause: Cause, before: Position | None, after: Position, currency: str
) -> tuple[Entry, ...]:
    """What takes the book from `before` (None: the action is new) to `after`.

    What the partner held moves as a whole, then the difference comes from the brand. A move that
    changes neither account nor amount books nothing.
    """
    held = 0 if before is None or before.state == "reversed" else before.amount_minor
    source = EXPENSE if before is None else account_of(before.state)
    target = account_of(after.state)
    moved = () if source == target else _pair(cause, 0, source, target, held, currency)
    if target == EXPENSE:
        return moved
    difference = after.amount_minor - held
    return moved + _pair(cause, len(moved), EXPENSE, target, difference, currency)


def compensation(cause: Cause, state: State, amount_minor: int, currency: str) -> tuple[Entry, ...]:
    """An amount beside a closed action: above zero a make-good, below zero a clawback.

    It is payable, whatever became of the action's own amount: what is paid is never taken back,
    the next payment is smaller.
    """
    if state not in ("locked", "paid", "reversed"):
        raise ValueError("only a closed action is compensated")
    return _pair(cause, 0, EXPENSE, "partner_payable", amount_minor, currency)


def _pair(
    cause: Cause, ordinal: int, source: Account, target: Account, amount_minor: int, currency: str
) -> tuple[Entry, ...]:
    if not amount_minor:
        return ()
    return (
        Entry(cause, ordinal, source, -amount_minor, currency),
        Entry(cause, ordinal + 1, target, amount_minor, currency),
    )
