"""Rollups in the ledger: bounds, repeats, what fails on the way, and long logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from book_tools import DAY_MS, SALE, event
from headwater import limits
from headwater.book.context import digest
from headwater.errors import LedgerError
from headwater.ledger import matching
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import Rollups
from headwater.ledger.rollup_reads import Reading, Scope, marks_of
from headwater.ledger.rollup_tables import QUARTER_MS, SUB_IDS_REST
from headwater.ledger.schema import click_rollup_changes, click_rollups, sale_rollups
from headwater.model.records import Flag
from ledger_tools import NOW_MS, acquired, batch, click_outcome, ledger_in
from rollup_tools import Traffic, commit_all, faults, marks, stored

VERDICTS = ("accept", "accept", "review", "reject", "filtered")
COUNTED = ("counted", "counted", "duplicate", "prefetch", "test")
MOVES = ("approve", "reverse", "reset", "modify", "pay", "compensate")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def by_sub_id(ledger: Ledger, partner: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, sums in stored(ledger, click_rollups, 0).items():
        if key[2] == partner:
            found[key[4]] = found.get(key[4], 0) + sums["clicks"]
    return found


def test_sub_ids_beyond_the_bound_are_summed_up_together_for_their_partner_alone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ROLLUP_SUB_IDS_MAX", 2)
    log = Traffic()
    for sub1 in ("a", "b", "", "c", "d", "a"):
        log.visit(1, sub1=sub1)
    log.visit(2, sub1="z")
    log.wait(DAY_MS)
    log.visit(1, sub1="c")
    commit_all(ledger, log, (3, 5, 7))
    assert by_sub_id(ledger, 1) == {"a": 2, "b": 1, "": 1, SUB_IDS_REST: 2, "c": 1}
    assert by_sub_id(ledger, 2) == {"z": 1}


def test_the_bound_of_sub_ids_holds_them_all(ledger: Ledger) -> None:
    log = Traffic()
    for number in range(limits.ROLLUP_SUB_IDS_MAX + 1):
        log.visit(sub1=f"s{number}")
    commit_all(ledger, log)
    found = by_sub_id(ledger, 1)
    assert found.pop(SUB_IDS_REST) == 1
    assert len(found) == limits.ROLLUP_SUB_IDS_MAX


def test_a_click_the_ledger_had_before_is_not_counted_again(ledger: Ledger) -> None:
    first, second = click_outcome(flags=0), click_outcome(NOW_MS + 1, flags=0)
    for rows in ([first], [first, second], [second]):
        matching.commit(ledger, [batch(acquired(ledger), clicks=rows)], lease_until_ms=0)
    assert by_sub_id(ledger, 1) == {"x/y": 2}
    assert faults(ledger, limits.ROLLUP_SUB_IDS_MAX) == []


def test_what_a_failed_transaction_knew_is_forgotten(ledger: Ledger) -> None:
    rollups = Rollups()
    rows = [click_outcome(flags=0)]
    row = acquired(ledger)
    with pytest.raises(LedgerError):
        # The second batch is of a partition that is not at this position.
        matching.commit(
            ledger,
            [batch(row, clicks=rows), batch(row, clicks=rows, conversions=[("x",)])],
            lease_until_ms=0,
            rollups=rollups,
        )
    assert stored(ledger, click_rollups, 0) == {}
    for _ in range(2):
        made = batch(acquired(ledger), clicks=[click_outcome(flags=0)])
        matching.commit(ledger, [made], lease_until_ms=0, rollups=rollups)
    assert by_sub_id(ledger, 1) == {"x/y": 2}
    assert faults(ledger, limits.ROLLUP_SUB_IDS_MAX) == []


def test_a_quarter_hour_is_summed_up_when_it_has_been_over_for_a_minute(ledger: Ledger) -> None:
    log = Traffic()
    quarter = NOW_MS // QUARTER_MS + 1
    log.now_ms = quarter * QUARTER_MS
    log.visit()
    log.now_ms = (quarter + 1) * QUARTER_MS + limits.ROLLUP_FOLD_AFTER_MS - 2001
    log.tick()
    commit_all(ledger, log)
    assert marks(ledger)[1].folded == quarter
    log.wait(1000)
    log.tick()
    commit_all(ledger, log)
    assert marks(ledger)[1].folded == quarter + 1


def test_so_many_programs_are_summed_up_at_once(ledger: Ledger) -> None:
    log = Traffic()
    count = limits.ROLLUP_FOLDS_MAX + 1
    for program in range(1, count + 1):
        log.visit(program=program)
    begun = log.now_ms // QUARTER_MS
    commit_all(ledger, log)
    for done in (limits.ROLLUP_FOLDS_MAX, count):
        log.wait(DAY_MS if done < count else 0)
        log.tick()
        commit_all(ledger, log)
        folded = [mark for mark in marks(ledger).values() if mark.folded > begun + 1]
        assert len(folded) == done
    assert faults(ledger, limits.ROLLUP_SUB_IDS_MAX) == []


# ---- Changes that wait to be written to their cells ------------------------------------------


def waiting(ledger: Ledger) -> int:
    """How many batches' changes wait."""
    with ledger.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(click_rollup_changes)) or 0


def reported(ledger: Ledger, *groups: str, **only: Any) -> dict[tuple[Any, ...], int]:
    """Clicks by what a report groups them by."""
    with ledger.read() as connection:
        scope = Scope(marks_of(connection), groups, only)
        found = Reading(connection).grouped(scope, 0, 2 * NOW_MS // QUARTER_MS)
        return {key: sums.clicks[0] for key, sums in found.items()}


@pytest.mark.parametrize(
    ("cells_max", "changes_max", "kept"), [(3, 9, [1, 2, 0]), (9, 3, [1, 2, 0]), (9, 4, [1, 2, 3])]
)
def test_changes_of_batches_wait_up_to_a_bound_and_reports_have_them(
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    cells_max: int,
    changes_max: int,
    kept: list[int],
) -> None:
    monkeypatch.setattr(limits, "ROLLUP_CHANGED_CELLS_MAX", cells_max)
    monkeypatch.setattr(limits, "ROLLUP_CHANGES_MAX", changes_max)
    log, rollups, found = Traffic(), Rollups(), []
    # Who begins anew writes what waits, and looks for what is to be summed up.
    commit_all(ledger, log)
    log.visit(0, country="DE")
    commit_all(ledger, log, rollups=rollups)
    for partner in (1, 2, 3):
        log.visit(partner, sub1="a", country="DE")
        commit_all(ledger, log, rollups=rollups)
        found.append(waiting(ledger))
        expected = {(each,): 1 for each in range(partner + 1)}
        assert reported(ledger, "partner") == expected
        assert reported(ledger, "partner", country="DE") == expected
        assert reported(ledger, "partner", country="US") == {}
        assert faults(ledger, limits.ROLLUP_SUB_IDS_MAX) == []
    assert found == kept


def test_changes_are_written_before_their_quarter_hour_is_summed_up(ledger: Ledger) -> None:
    log, rollups = Traffic(), Rollups()
    log.visit()
    commit_all(ledger, log)
    log.visit()
    commit_all(ledger, log, rollups=rollups)
    log.visit()
    commit_all(ledger, log, rollups=rollups)
    assert waiting(ledger) > 0
    log.wait(2 * QUARTER_MS)
    log.tick()
    commit_all(ledger, log, rollups=rollups)
    assert waiting(ledger) == 0
    assert reported(ledger) == {(): 3}
    assert faults(ledger, limits.ROLLUP_SUB_IDS_MAX) == []


# ---- Long logs -----------------------------------------------------------------------------


def long_log(seed: int) -> Traffic:
    """Four hundred steps of all kinds over half a year."""
    random, log = Random(seed), Traffic(kinds=("sale", "click"))
    pay: dict[str, Any] = {"default": {"kind": "percent", "ppm": 100_001}}
    per_click = {"default": {"kind": "flat", "amount_micros": 250_000}}
    log.terms(events={str(SALE): pay, "3": per_click})
    clicks = [_visit(log, random)]
    for step in range(400):
        kind = random.randrange(10)
        if kind < 4:
            clicks.append(_visit(log, random))
        elif kind < 6:
            _order(log, random, clicks, 1 + step)
        elif kind == 6:
            scores = (random.choice(VERDICTS), random.choice(COUNTED))
            log.scored_again(random.choice(clicks), 1 + step, *scores)
        elif kind == 7:
            _decide(log, random)
        else:
            log.wait(random.randrange(2 * DAY_MS))
            log.tick()
    return log


def _visit(log: Traffic, random: Random) -> bytes:
    return log.visit(
        random.choice((1, 2, 3)),
        program=random.choice((1, 1, 2)),
        link=random.choice((0, 1, 2)),
        sub1=random.choice(("", "a", "b", "c", "d")),
        country=random.choice((None, "DE", "US")),
        device=random.choice(("", "desktop", "ios", "android")),
        verdict=random.choice(VERDICTS),
        counted=random.choice(COUNTED),
        is_unique=random.choice((0, 1)),
        flags=random.choice((0, 0, 0, int(Flag.IMPRESSION))),
        late_ms=random.choice((0, 0, 0, DAY_MS // 2, 40 * DAY_MS)),
    )


def _order(log: Traffic, random: Random, clicks: list[bytes], revision: int) -> None:
    partners = random.sample((1, 2, 3), random.choice((0, 1, 2, 3)))
    shares = [1_000_000 // max(1, len(partners))] * len(partners)
    for at in range(1_000_000 - sum(shares) if shares else 0):
        shares[at] += 1
    log.conversion(
        random.randrange(12),
        *(
            (each, share, random.choice(clicks))
            for each, share in zip(partners, shares, strict=True)
        ),
        revision=revision,
        amount_minor=random.randrange(3000),
        currency=random.choice(("EUR", "EUR", "JPY")),
        verdict=random.choice(("accept", "review", "reject")),
        test=random.random() < 0.1,
    )


def _decide(log: Traffic, random: Random) -> None:
    number, partner = random.randrange(12), random.choice((1, 2, 3))
    if random.random() < 0.2:
        log.decision("conversion.attribute", event(10**6 + number), partner=partner)
        return
    amount_minor = random.randrange(-50, 3000)
    params = {"amount_minor": amount_minor, "payout_minor": amount_minor}
    action_id = digest("conversion", event(10**6 + number), partner)
    log.decision(f"action.{random.choice(MOVES)}", action_id, **params)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_long_log_is_summed_up_alike_wherever_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(limits, "ROLLUP_SUB_IDS_MAX", 2)
    monkeypatch.setattr(limits, "ROLLUP_FOLDS_MAX", 1)
    random = Random(seed)
    cuts = sorted(random.sample(range(400), 30))
    found: list[Any] = []
    for name, chosen, restarts in (
        ("some", cuts, False),
        ("whole", [], False),
        ("restarts", cuts, True),
    ):
        with ledger_in(tmp_path / name) as ledger:
            commit_all(ledger, long_log(seed), chosen, restarts=restarts)
            assert faults(ledger, 2) == [], name
            found.append([stored(ledger, table, 0) for table in (click_rollups, sale_rollups)])
    assert all(each == found[0] for each in found)
    assert len(found[0][0]) > 100
    assert len(found[0][1]) > 5
