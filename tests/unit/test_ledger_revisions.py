"""What later evidence makes of a click: the history keeps all, the click has the newest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.ledger import matching, queries
from headwater.ledger.engine import Ledger
from headwater.ledger.revisions import revisions_of
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    click_outcome,
    ledger_in,
    revised_outcome,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def commit(ledger: Ledger, **outcomes: list[Any]) -> None:
    row = acquired(ledger)
    matching.commit(ledger, [batch(row, **outcomes)], lease_until_ms=NOW_MS)


def state(ledger: Ledger, click_id: bytes) -> tuple[Any, ...]:
    row = queries.click_row(ledger, click_id)
    assert row is not None
    names = ("verdict", "counted", "is_unique", "score", "raw_ppm", "fraud")
    return tuple(row[name] for name in names)


def test_a_revision_changes_the_click_and_is_kept(ledger: Ledger) -> None:
    click, other = click_outcome(), click_outcome()
    commit(ledger, clicks=[click, other])
    change = revised_outcome(click[0], 1, counted="duplicate", is_unique=0, fraud=b"f")
    commit(ledger, decision_revised=[change])
    assert state(ledger, click[0]) == ("review", "duplicate", 0, 50, 500_000, b"f")
    assert state(ledger, other[0]) == ("accept", "counted", 1, 0, 0, b"")
    (kept,) = revisions_of(ledger, click[0])
    assert tuple(kept.values()) == (change[0], change[3], change[2], *change[4:])
    stored = queries.click_row(ledger, click[0])
    assert stored is not None
    assert stored["record"] == click[-1]


def test_a_click_and_its_revisions_may_come_in_one_batch(ledger: Ledger) -> None:
    click = click_outcome()
    changes = [revised_outcome(click[0], number, score=40 + number) for number in (1, 2, 3)]
    commit(ledger, clicks=[click], decision_revised=changes)
    assert state(ledger, click[0])[3] == 43
    assert [row["score"] for row in revisions_of(ledger, click[0])] == [41, 42, 43]


def test_repeats_and_older_revisions_change_nothing(ledger: Ledger) -> None:
    """Goal: at each order of arrival over batches, the click has the highest revision."""
    for order in itertools.permutations((1, 2, 3)):
        click = click_outcome()
        commit(ledger, clicks=[click])
        changes = {number: revised_outcome(click[0], number, score=number) for number in order}
        for number in (*order, *order):
            commit(ledger, decision_revised=[changes[number]])
        assert state(ledger, click[0])[3] == 3
        assert [row["revision"] for row in revisions_of(ledger, click[0])] == [1, 2, 3]


def test_an_engine_that_counts_anew_does_not_undo_what_is_there(ledger: Ledger) -> None:
    click = click_outcome()
    commit(ledger, clicks=[click], decision_revised=[revised_outcome(click[0], 1, score=90)])
    commit(ledger, clicks=[click], decision_revised=[revised_outcome(click[0], 1, score=1)])
    assert state(ledger, click[0])[3] == 90
    assert [row["score"] for row in revisions_of(ledger, click[0])] == [90]


def test_a_revision_of_a_click_that_is_not_there_is_kept(ledger: Ledger) -> None:
    commit(ledger, decision_revised=[revised_outcome(bytes(16), 1)])
    assert len(revisions_of(ledger, bytes(16))) == 1
