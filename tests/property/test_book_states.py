"""The state machine and the double entries that follow it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.book.entries import (
    EXPENSE,
    Cause,
    Entry,
    Position,
    account_of,
    compensation,
    entries,
)
from headwater.book.states import STATES, VERBS, Illegal, Standing, Verb, first, move

VERB = st.sampled_from(VERBS)


def reachable() -> set[Standing]:
    """Every standing there is, by trying every verb on every one that is found."""
    found = {first("automatic", is_review=False), first("manual", is_review=False)}
    waiting = list(found)
    while waiting:
        standing = waiting.pop()
        for verb in VERBS:
            moved = move(standing, verb)
            if isinstance(moved, Standing) and moved not in found:
                found.add(moved)
                waiting.append(moved)
    return found


def test_no_way_leads_back_from_what_is_closed() -> None:
    for standing in reachable():
        for verb in VERBS:
            moved = move(standing, verb)
            if isinstance(moved, Illegal) or not standing.is_closed:
                continue
            assert moved.is_closed
            if standing.state != moved.state:
                assert (standing.state, verb, moved.state) == ("locked", "pay", "paid")


def test_what_is_closed_is_locked_paid_or_reversed_and_only_that() -> None:
    for standing in reachable():
        if standing.is_closed:
            assert standing.state in ("locked", "paid", "reversed")
        else:
            assert standing.state in ("pending", "approved", "reversed")


LEGAL = {
    ("pending", "approve"): "approved",
    ("pending", "reverse"): "reversed",
    ("pending", "reset"): "pending",
    ("pending", "modify"): "pending",
    ("pending", "lock"): "locked",
    ("approved", "reverse"): "reversed",
    ("approved", "reset"): "pending",
    ("approved", "modify"): "approved",
    ("approved", "lock"): "locked",
    ("reversed", "reset"): "pending",
    ("reversed", "lock"): "reversed",
    ("locked", "pay"): "paid",
    ("locked", "compensate"): "locked",
    ("paid", "compensate"): "paid",
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", STATES)
def test_the_table_of_moves(state: str, verb: Verb) -> None:
    standing = Standing(state, is_closed=state in ("locked", "paid"))  # type: ignore[arg-type]
    moved = move(standing, verb)
    wanted = LEGAL.get((state, verb))
    assert (None if isinstance(moved, Illegal) else moved.state) == wanted
    if isinstance(moved, Illegal):
        late = verb in ("approve", "reverse", "reset", "modify")
        assert moved.code == ("action_locked" if standing.is_closed and late else "illegal_move")


def test_what_is_held_locks_only_when_a_person_has_approved_it() -> None:
    held = first("automatic", is_review=True)
    assert held == first("manual", is_review=False)
    assert move(held, "lock") == Illegal("action_held")
    approved = move(held, "approve")
    assert isinstance(approved, Standing)
    assert isinstance(move(approved, "lock"), Standing)
    back = move(approved, "reset")
    assert isinstance(back, Standing)
    assert move(back, "lock") == Illegal("action_held")
    reversed_ = move(held, "reverse")
    assert isinstance(reversed_, Standing)
    assert isinstance(move(reversed_, "lock"), Standing)


def test_a_reversed_action_whose_time_has_come_is_not_reset() -> None:
    standing: Standing | Illegal = first("automatic", is_review=False)
    for verb in ("reverse", "lock"):
        assert isinstance(standing, Standing)
        standing = move(standing, verb)  # type: ignore[arg-type]
    assert standing == Standing("reversed", is_closed=True)
    assert move(standing, "reset") == Illegal("action_locked")
    assert move(standing, "pay") == Illegal("illegal_move")


# ---- Entries ---------------------------------------------------------------------------------


def balances(book: list[Entry]) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in book:
        found[entry.account] += entry.amount_minor
    return found


def pairs_sum_to_zero(made: tuple[Entry, ...]) -> bool:
    return [entry.ordinal for entry in made] == list(range(len(made))) and all(
        one.amount_minor + two.amount_minor == 0 and one.account != two.account
        for one, two in list(pairwise(made))[::2]
    )


@given(
    st.integers(0, 10**12),
    st.lists(st.tuples(VERB, st.integers(-1000, 10**6)), max_size=30),
)
def test_the_book_balances_after_any_sequence_of_moves(
    earned: int, steps: list[tuple[Verb, int]]
) -> None:
    standing, amount, beside = first("automatic", is_review=False), earned, 0
    book = list(entries(Cause(b"a", b"0", 0), None, Position("pending", earned), "EUR"))
    for number, (verb, other) in enumerate(steps):
        moved, cause = move(standing, verb), Cause(b"a", str(number).encode(), number)
        if isinstance(moved, Illegal):
            continue
        if verb == "compensate":
            made = compensation(cause, moved.state, other, "EUR")
            beside += other
        else:
            before = Position(standing.state, amount)
            if verb == "modify":
                amount = abs(other)
            if verb == "reset":
                amount = earned
            made = entries(cause, before, Position(moved.state, amount), "EUR")
        assert pairs_sum_to_zero(made)
        assert all(entry.cause == cause for entry in made)
        book += made
        standing = moved
        expected: Counter[str] = Counter(partner_payable=beside)
        if moved.state != "reversed":
            expected[account_of(moved.state)] += amount
        expected[EXPENSE] = -sum(expected.values())
        assert {k: v for k, v in balances(book).items() if v} == {
            k: v for k, v in expected.items() if v
        }


def test_an_action_from_its_order_to_the_money() -> None:
    cause = Cause(b"a", b"e", 1)
    made = entries(cause, None, Position("pending", 500), "EUR")
    assert [(entry.account, entry.amount_minor) for entry in made] == [
        ("brand_expense", -500),
        ("partner_pending", 500),
    ]
    made = entries(cause, Position("pending", 500), Position("locked", 500), "EUR")
    assert [(entry.account, entry.amount_minor) for entry in made] == [
        ("partner_pending", -500),
        ("partner_payable", 500),
    ]
    assert entries(cause, Position("locked", 500), Position("locked", 500), "EUR") == ()
    made = compensation(cause, "paid", -200, "EUR")
    assert [(entry.account, entry.amount_minor) for entry in made] == [
        ("brand_expense", 200),
        ("partner_payable", -200),
    ]
    with pytest.raises(ValueError, match="closed"):
        compensation(cause, "pending", 1, "EUR")
