"""The transaction of a batch: all or nothing, by the owner only, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headwater import ids
from headwater.errors import Fenced, LedgerError
from headwater.ledger import matching, objects, outbox, queries
from headwater.ledger.decisions import decision_by_id, recent_decisions
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import SegmentFact, SnapshotFact
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    click_outcome,
    conversion_outcome,
    erasure_outcome,
    late_evidence_outcome,
    ledger_in,
    report_outcome,
    revised_outcome,
    with_program,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def commit(ledger: Ledger, *batches: matching.PartitionBatch) -> None:
    matching.commit(ledger, batches, lease_until_ms=NOW_MS + 9000)


def clicks_in(ledger: Ledger) -> int:
    return queries.row_counts(ledger)["clicks"]


def test_a_commit_moves_the_position_with_its_rows(ledger: Ledger) -> None:
    row = acquired(ledger)
    click = click_outcome()
    commit(ledger, batch(row, to=(5, 1), clicks=[list(click)]))
    after = matching.partition_rows(ledger)[0]
    assert (after.position, after.chain_digest, after.time_ms, after.lease_until_ms) == (
        (5, 1),
        bytes([1]) * 32,
        NOW_MS,
        NOW_MS + 9000,
    )
    stored = queries.click_row(ledger, click[0])
    assert stored is not None
    assert tuple(stored.values()) == click


@pytest.mark.parametrize(
    "stale",
    [
        {"epoch": 0},
        {"epoch": 99},
        {"generation": 3},
        {"from_position": (0, 1)},
        {"from_position": (4, 0)},
    ],
    ids=str,
)
def test_who_is_not_the_owner_writes_nothing(ledger: Ledger, stale: dict[str, object]) -> None:
    row = acquired(ledger)
    attempt = replace(batch(row, clicks=[click_outcome()]), **stale)  # type: ignore[arg-type]
    with pytest.raises(Fenced):
        commit(ledger, attempt)
    assert clicks_in(ledger) == 0
    assert matching.partition_rows(ledger)[0].position == (0, 0)


def test_one_stale_partition_stops_the_whole_transaction(ledger: Ledger) -> None:
    mine, lost = acquired(ledger, 0), acquired(ledger, 1)
    acquired(ledger, 1, owner="another")
    with pytest.raises(Fenced):
        commit(ledger, batch(mine, clicks=[click_outcome()]), batch(lost))
    assert clicks_in(ledger) == 0


def test_a_commit_repeated_after_an_ambiguous_answer_is_not_applied_twice(ledger: Ledger) -> None:
    row = acquired(ledger)
    first = batch(row, to=(7, 0), clicks=[click_outcome()])
    commit(ledger, first)
    with pytest.raises(Fenced):
        commit(ledger, first)
    again = acquired(ledger)
    assert (again.position, again.epoch) == ((7, 0), row.epoch + 1)
    assert clicks_in(ledger) == 1


def test_an_owner_that_was_taken_over_while_it_slept_is_fenced(ledger: Ledger) -> None:
    sleeper = acquired(ledger, owner="sleeper")
    successor = acquired(ledger, owner="successor")
    commit(ledger, batch(successor, to=(3, 0)))
    with pytest.raises(Fenced):
        commit(ledger, batch(sleeper, to=(4, 0), clicks=[click_outcome()]))
    with pytest.raises(Fenced):
        matching.renew(ledger, [(0, sleeper.epoch)], NOW_MS)
    fact = SnapshotFact("s", sleeper.epoch, (1, 0), bytes(32), bytes(32), 10)
    with pytest.raises(Fenced):
        matching.add_snapshot(ledger, 0, sleeper.epoch, fact, kept=2)
    with pytest.raises(Fenced):
        matching.add_quarantine(ledger, 0, sleeper.epoch, (1, 0), "panic", b"f")
    assert clicks_in(ledger) == 0
    assert matching.snapshot_facts(ledger, 0) == []


def test_an_id_that_is_there_already_is_passed_over(ledger: Ledger) -> None:
    """The engine's memory of ids is bounded: what it takes for new may be long in the ledger."""
    click = click_outcome()
    row = acquired(ledger)
    commit(ledger, batch(row, to=(1, 0), clicks=[click]))
    commit(ledger, batch(acquired(ledger), to=(2, 0), clicks=[click_outcome(), click]))
    assert clicks_in(ledger) == 2
    assert matching.partition_rows(ledger)[0].position == (2, 0)


def test_every_kind_of_outcome_has_its_table(ledger: Ledger) -> None:
    conversion_id = bytes(range(16))
    event = ids.event_id(NOW_MS)
    first = click_outcome()
    commit(
        ledger,
        batch(
            acquired(ledger),
            clicks=[first, click_outcome()],
            decision_revised=[revised_outcome(first[0], 1)],
            observations=[(event, 3, 1, 1, NOW_MS, 1, 4, b"r")],
            conversions=[
                conversion_outcome(conversion_id, credits_given=((1, bytes(16), 1_000_000),))
            ],
            reports=[report_outcome(conversion_id), report_outcome(conversion_id, "repeat")],
            rejections=[(event, 1, None, NOW_MS, 2, "unknown_program", b"r")],
            others=[(event, 6, 1, NOW_MS, b"r")],
            erasures=[erasure_outcome(event)],
            late_evidence=[late_evidence_outcome(event, conversion_id)],
            quarantined=[(1, 0, "bad_checksum", b"frame")],
        ),
    )
    assert queries.row_counts(ledger) == {
        "clicks": 2,
        "click_revisions": 1,
        "observations": 1,
        "conversions": 1,
        "credits": 1,
        "conversion_reports": 2,
        "rejections": 1,
        "erasures": 1,
        "late_evidence": 1,
        "others": 1,
        "quarantine": 1,
    }
    # The engine finds a bad checksum again by itself: replay is not told to skip it.
    assert matching.quarantined(ledger, 0) == {}


def test_a_later_revision_replaces_decision_and_credits(ledger: Ledger) -> None:
    conversion_id, click_id = bytes(16), ids.event_id(NOW_MS)
    shares = ((4, click_id, 600_000), (2, click_id, 400_000))
    commit(
        ledger,
        batch(
            acquired(ledger),
            to=(1, 0),
            conversions=[
                conversion_outcome(conversion_id, revision=1, reason="no_touch"),
                conversion_outcome(conversion_id, revision=2, credits_given=shares),
            ],
        ),
    )
    decided = decision_by_id(ledger, conversion_id)
    assert decided is not None
    assert [credit["partner_id"] for credit in decided["credits"]] == ["prt_4", "prt_2"]
    last = conversion_outcome(conversion_id, revision=3, credits_given=((9, click_id, 1_000_000),))
    commit(ledger, batch(acquired(ledger), to=(2, 0), conversions=[last]))
    decided = decision_by_id(ledger, conversion_id)
    assert decided is not None
    assert decided["credits"] == [
        {"partner_id": "prt_9", "click_id": ids.event_text("clk", click_id), "share_ppm": 1_000_000}
    ]
    assert (decided["status"], decided["reason"], decided["brand"]) == ("attributed", None, 1)


def test_a_revision_that_is_not_newer_changes_nothing_and_is_named(ledger: Ledger) -> None:
    """An order the engine has forgotten, reported again, begins at its first revision."""
    old, new = bytes(16), bytes([1]) * 16
    credit = ((4, ids.event_id(NOW_MS), 1_000_000),)
    first = conversion_outcome(old, revision=2, credits_given=credit)
    commit(ledger, batch(acquired(ledger), to=(1, 0), conversions=[first]))
    again = [conversion_outcome(new, revision=1), conversion_outcome(old, revision=1)]
    committed = matching.commit(
        ledger, [batch(acquired(ledger), to=(2, 0), conversions=again)], lease_until_ms=0
    )
    assert committed.decided_before == {old}
    kept, made = decision_by_id(ledger, old), decision_by_id(ledger, new)
    assert kept is not None
    assert [credit["partner_id"] for credit in kept["credits"]] == ["prt_4"]
    assert made is not None
    assert made["status"] == "unattributed"


@pytest.mark.parametrize("nothing", [b"", None])
def test_what_is_decided_again_without_a_report_keeps_its_record(
    ledger: Ledger, nothing: bytes | None
) -> None:
    """Late evidence moves a credit; what was reported of the order stays."""
    conversion_id, same_batch = bytes(16), bytes([1]) * 16
    first = conversion_outcome(conversion_id)
    other = conversion_outcome(same_batch, revision=1)
    credit = ((4, ids.event_id(NOW_MS), 1_000_000),)
    again, other_again = (
        (*conversion_outcome(row[0], revision=2, credits_given=credit)[:-1], nothing)
        for row in (first, other)
    )
    commit(ledger, batch(acquired(ledger), to=(1, 0), conversions=[first]))
    commit(ledger, batch(acquired(ledger), to=(2, 0), conversions=[again, other, other_again]))
    for row in (first, other):
        kept = queries.conversion_row(ledger, row[0])
        assert kept is not None
        assert (kept["record"], kept["revision"], kept["status"]) == (row[-1], 2, "attributed")
    reported = conversion_outcome(conversion_id, revision=3, amount_minor=99)
    commit(ledger, batch(acquired(ledger), to=(3, 0), conversions=[reported]))
    kept = queries.conversion_row(ledger, conversion_id)
    assert kept is not None
    assert kept["record"] == reported[-1] != first[-1]


def test_recent_decisions_come_oldest_first_over_pages(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.limits.PAGE_ROWS_MAX", 2)
    rows = [
        conversion_outcome(bytes([number]) * 16, accept_ms=NOW_MS + number // 2)
        for number in range(7)
    ]
    commit(ledger, batch(acquired(ledger), conversions=rows))
    told = [each["conversion_id"] for each in recent_decisions(ledger, NOW_MS + 1)]
    assert told == [ids.event_text("cnv", bytes([number]) * 16) for number in range(2, 7)]


# ---- Ownership


def test_a_lease_keeps_others_out_until_it_ends(ledger: Ledger) -> None:
    (first,) = matching.acquire(ledger, [0], "first", NOW_MS, 1000)
    assert matching.acquire(ledger, [0], "second", NOW_MS + 999, 1000) == []
    (second,) = matching.acquire(ledger, [0], "second", NOW_MS + 1000, 1000)
    assert (second.epoch, second.owner) == (first.epoch + 1, "second")
    (forced,) = matching.acquire(ledger, [0], "third", NOW_MS + 1001, 1000, force=True)
    assert forced.epoch == second.epoch + 1


def test_an_owner_that_starts_again_need_not_wait_for_its_own_lease(ledger: Ledger) -> None:
    first = matching.acquire(ledger, [0, 1], "host", NOW_MS, 1000)
    again = matching.acquire(ledger, [0, 1], "host", NOW_MS + 1, 1000)
    assert [row.epoch for row in again] == [row.epoch + 1 for row in first]


def test_what_is_released_is_free_at_once(ledger: Ledger) -> None:
    (row,) = matching.acquire(ledger, [0], "first", NOW_MS, 60_000)
    matching.release(ledger, [(0, row.epoch)])
    assert len(matching.acquire(ledger, [0], "second", NOW_MS, 1000)) == 1
    # A release that comes late takes nothing from the next owner.
    matching.release(ledger, [(0, row.epoch)])
    assert matching.acquire(ledger, [0], "third", NOW_MS, 1000) == []


def test_a_renewed_lease_lasts(ledger: Ledger) -> None:
    row = acquired(ledger)
    matching.renew(ledger, [(0, row.epoch)], NOW_MS + 77_000)
    assert matching.partition_rows(ledger)[0].lease_until_ms == NOW_MS + 77_000


def test_a_generation_is_one_above_the_highest_of_all(ledger: Ledger) -> None:
    zero, one = acquired(ledger, 0), acquired(ledger, 1)
    assert matching.begin_generation(ledger, [(0, zero.epoch)], "run-a") == 1
    assert matching.begin_generation(ledger, [(0, zero.epoch), (1, one.epoch)], "run-b") == 2
    rows = matching.partition_rows(ledger)
    assert [(row.generation, row.redis_run_id) for row in rows] == [(2, "run-b")] * 2
    with pytest.raises(Fenced):
        matching.begin_generation(ledger, [(0, zero.epoch), (1, 99)], "run-c")
    assert matching.partition_rows(ledger)[0].generation == 2


def test_the_number_of_partitions_is_fixed_at_the_first_start(ledger: Ledger) -> None:
    matching.ensure_partitions(ledger, 2)
    with pytest.raises(LedgerError, match="begun with 2 partitions"):
        matching.ensure_partitions(ledger, 4)


# ---- Files and frames


def test_a_segment_grows_in_place(ledger: Ledger) -> None:
    row = acquired(ledger)
    first = SegmentFact("a", (1, 0), (2, 0), 100, sealed=False)
    commit(ledger, replace(batch(row, to=(2, 0)), archive=[first]))
    grown = SegmentFact("a", (1, 0), (4, 0), 300, sealed=True)
    nxt = SegmentFact("b", (5, 0), (6, 0), 50, sealed=False)
    row = acquired(ledger)
    commit(ledger, replace(batch(row, to=(6, 0)), archive=[grown, nxt]))
    assert matching.archive_manifest(ledger, 0) == [grown, nxt]
    assert matching.archive_manifest(ledger, 1) == []


def test_old_snapshots_are_taken_off_the_list(ledger: Ledger) -> None:
    row = acquired(ledger)
    facts = [
        SnapshotFact(f"s{at}", row.epoch, (at, 0), bytes(32), bytes([at]) * 32, at)
        for at in range(1, 5)
    ]
    dropped = [matching.add_snapshot(ledger, 0, row.epoch, fact, kept=2) for fact in facts]
    assert dropped == [[], [], ["s1"], ["s2"]]
    assert matching.snapshot_facts(ledger, 0) == [facts[3], facts[2]]


def test_panics_are_counted_and_an_order_to_set_aside_stands_once(ledger: Ledger) -> None:
    row = acquired(ledger)
    counts = [matching.note_panic(ledger, 0, row.epoch, (9, 1)) for _ in range(2)]
    assert counts == [1, 2]
    for reason in ("panic", "another"):
        matching.add_quarantine(ledger, 0, row.epoch, (9, 1), reason, b"frame")
    assert matching.quarantined(ledger, 0) == {(9, 1): "panic"}


def test_controls_are_uncommitted_until_their_commit(ledger: Ledger) -> None:
    with_program(ledger)
    waiting = outbox.not_appended(ledger).announcements
    assert matching.uncommitted_controls(ledger, 0) == [row.control for row in waiting]
    outbox.mark_appended(ledger, [row.revision for row in waiting])
    assert matching.uncommitted_controls(ledger, 0) == [row.control for row in waiting]
    controls = [(1, waiting[0].object, waiting[0].number, waiting[0].revision)]
    commit(ledger, batch(acquired(ledger), controls=controls))
    assert matching.uncommitted_controls(ledger, 0) == [row.control for row in waiting[1:]]


def test_a_newer_revision_confirms_the_older_ones_of_its_object(ledger: Ledger) -> None:
    """An older revision that comes late is passed over by the engine, and never reported."""
    brand, _ = with_program(ledger)
    objects.change_brand(ledger, brand, {"name": "New"})
    waiting = outbox.not_appended(ledger).announcements
    outbox.mark_appended(ledger, [row.revision for row in waiting])
    commit(ledger, batch(acquired(ledger), controls=[(brand, "brand", brand, waiting[2].revision)]))
    assert matching.uncommitted_controls(ledger, 0) == [waiting[1].control]


def test_threads_may_share_a_ledger(ledger: Ledger) -> None:
    """Goal: the documented promise. Method: writers and readers at once, all rows arrive."""
    rows = {number: acquired(ledger, number) for number in (0, 1)}
    faults: list[LedgerError] = []

    def write(number: int) -> None:
        row = rows[number]
        try:
            for step in range(20):
                at = replace(row, position=(step, 0))
                commit(ledger, batch(at, to=(step + 1, 0), clicks=[click_outcome()]))
                clicks_in(ledger)
        except LedgerError as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert clicks_in(ledger) == 40
