"""The one state machine of actions.

    pending ── approve ──> approved       pending, approved ── reverse ──> reversed
    pending, approved ── lock ──> locked ── pay ──> paid

Until it locks, `reset` takes an action back to the state it was made in, and `modify` changes what
it pays. What is locked or paid never changes again: `compensate` books an amount beside it. An
action that is reversed when it is due to lock is closed: nothing but `compensate` moves it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

State = Literal["pending", "approved", "reversed", "locked", "paid"]
Verb = Literal["approve", "reverse", "reset", "modify", "lock", "pay", "compensate"]

STATES: Final[tuple[State, ...]] = get_args(State)
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an action stands."""

    state: State
    original: State = "pending"
    """The state it was made in."""
    is_held: bool = False
    """It waits for a person: it does not lock before it is approved."""
    is_closed: bool = False
    """Its lock time has come: it is locked or paid, or reversed for good."""


@dataclass(frozen=True, slots=True)
class Illegal:
    """A move that there is not; `code` is one of `headwater.model.reasons`."""

    code: Literal["illegal_move", "action_locked", "action_held"]


_OPEN: Final[dict[tuple[State, Verb], State]] = {
    ("pending", "approve"): "approved",
    ("pending", "reverse"): "reversed",
    ("pending", "modify"): "pending",
    ("pending", "lock"): "locked",
    ("approved", "reverse"): "reversed",
    ("approved", "modify"): "approved",
    ("approved", "lock"): "locked",
    ("reversed", "lock"): "reversed",
}
_CLOSED: Final[dict[tuple[State, Verb], State]] = {
    ("locked", "pay"): "paid",
    ("locked", "compensate"): "locked",
    ("paid", "compensate"): "paid",
    ("reversed", "compensate"): "reversed",
}


def first(approve: Literal["automatic", "manual"], is_review: bool) -> Standing:
    """Where an action stands when it is made: held where the terms or fraud scoring ask for a
    person, else one that locks by itself.
    """
    return Standing("pending", is_held=approve == "manual" or is_review)


def move(standing: Standing, verb: Verb) -> Standing | Illegal:
    """Where `verb` takes an action, or why it does not."""
    if standing.is_closed:
        closed = _CLOSED.get((standing.state, verb))
        if closed is not None:
            return replace(standing, state=closed)
        return Illegal("illegal_move" if verb in ("lock", "pay", "compensate") else "action_locked")
    if verb == "reset":
        return replace(standing, state=standing.original)
    state = _OPEN.get((standing.state, verb))
    if state is None:
        return Illegal("illegal_move")
    if verb == "lock":
        if standing.is_held and standing.state == "pending":
            return Illegal("action_held")
        return replace(standing, state=state, is_closed=True)
    return replace(standing, state=state)
