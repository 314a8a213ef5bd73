"""Erasures carried into archive and ledger: what was erased is in no file; nothing else moves."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from headwater import clock, limits
from headwater.config import Config
from headwater.journal.archive import archive_held, read_segment
from headwater.ledger import erasing, matching, rewriting
from headwater.matcher.recovery import rebuild
from headwater.model.records import ErasureBody, IdentifierType
from headwater.ops import rewrite_replay
from headwater.ops.doctor import findings
from headwater.ops.rewrite import run_rewrite
from headwater.ops.verify import run_verify
from rewrite_tools import held_in
from simulate_tools import DAY_MS, HOUR_MS, T0, Scene, edit_ledger, scene_in
from terms_tools import percent

Identifier = tuple[int, bytes]
WAIT_MS = limits.ERASURE_WAIT_MS
SITES = ("written", "listed", "removed", "page:1", "page:3", "rows", "finished")


def named(kind: IdentifierType, name: str) -> Identifier:
    """A digest that stands in no file by chance."""
    return (kind, hashlib.blake2b(f"{kind} {name}".encode(), digest_size=16).digest())


def visitor(name: str) -> Identifier:
    return named(IdentifierType.VISITOR, name)


def mail(name: str) -> Identifier:
    return named(IdentifierType.EMAIL, name)


def customer(name: str) -> Identifier:
    return named(IdentifierType.CUSTOMER, name)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with scene_in(tmp_path) as opened:
        yield opened


def erase(scene: Scene, at_ms: int, *identifiers: Identifier, scope: str = "person") -> None:
    """Asked for in the past of this log: it is taken to be of a day before."""
    body = ErasureBody(scope, False, False, tuple(sorted(identifiers)))
    erasing.request_erasure(scene.ledger, scene.brand, body)
    scene.publish(at_ms)


def visit(scene: Scene, at_ms: int, name: str, order: int, partner: int = 0) -> None:
    """Somebody clicks, says who it is, and buys."""
    person = (customer(name), mail(name), mail(f"{name} hashed otherwise"))
    body = {"identifiers": (visitor(name),)}
    scene.send(at_ms, scene.click(at_ms, partner, 1000 + order, **body))
    scene.send(at_ms + 1000, scene.identify(at_ms + 1000, visitor(name), *sorted(person)))
    sale = scene.sale(at_ms + 2000, order, 0, only=(customer(name), mail(name)))
    scene.send(at_ms + 2000, sale)


def of(name: str) -> list[Identifier]:
    return [customer(name), mail(name), mail(f"{name} hashed otherwise"), visitor(name)]


def decided(scene: Scene) -> dict[str, list[Any]]:
    """All that was decided and is owed, without who it was."""
    tables = ("conversions", "credits", "actions", "book_entries", "clicks", "conversion_reports")
    path = scene.data / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = {}
        for table in tables:
            found = connection.execute(f"SELECT * FROM {table}").fetchall()
            rows[table] = [
                tuple(
                    cell if not isinstance(cell, bytes) or len(cell) == 16 else len(cell)
                    for cell in row
                )
                for row in found
            ]
        return rows


def rewrite(scene: Scene) -> tuple[int, int]:
    """What `headwater rewrite --now` does, when the file with the erasure is finished."""
    scene.take_over()
    return run_rewrite(Config(data=scene.data), now=True)


def assert_as_it_was(scene: Scene, before: dict[str, list[Any]]) -> None:
    assert decided(scene) == before
    assert run_verify(Config(data=scene.data)) == 0
    (row,) = matching.partition_rows(scene.ledger)
    assert rebuild(scene.ledger, scene.data, row).chain_digest == row.chain_digest


def test_an_erased_person_is_in_no_file_and_nothing_is_decided_otherwise(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.terms(percent(10))
    for number, name in enumerate(("ada", "bob", "cleo")):
        visit(scene, T0 + number * HOUR_MS, name, number)
    erase(scene, T0 + 2 * DAY_MS, mail("ada"))
    visit(scene, T0 + 4 * DAY_MS, "dora", 7)
    before = decided(scene)
    assert all(held_in(scene.data, digest) for _, digest in of("ada"))
    assert rewrite(scene) == (1, 0)
    for _, digest in of("ada"):
        assert held_in(scene.data, digest) == []
    for name in ("bob", "cleo", "dora"):
        assert all(held_in(scene.data, digest) for _, digest in of(name))
    capsys.readouterr()
    assert_as_it_was(scene, before)
    told = capsys.readouterr().out
    # Her click, identify and sale, and the erasure itself.
    places = told.split("touched by erasures: ")[1].split(", ")
    assert [place.partition("-")[0].strip() for place in places] == [
        str(ms) for ms in (T0, T0 + 1000, T0 + 2000, T0 + 2 * DAY_MS)
    ]
    assert rewriting.unfinished_rewrites(scene.ledger) == []
    assert rewrite(scene) == (0, 0)


def test_who_came_back_is_new_and_is_kept(scene: Scene) -> None:
    visit(scene, T0, "ada", 1)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    visit(scene, T0 + 4 * DAY_MS, "ada", 2)
    before = decided(scene)
    assert rewrite(scene) == (1, 0)
    assert_as_it_was(scene, before)
    frames = dict(archive(scene))
    for _, digest in of("ada"):
        there = [position for position, frame in frames.items() if digest in frame]
        assert min(there)[0] >= T0 + 4 * DAY_MS
    (first, second) = explanations(scene)
    assert not any(digest in first for _, digest in of("ada"))
    assert all(digest in second for _, digest in of("ada")[:2])
    # The members of the first are shown no more, under their pseudonyms as under their digests.
    members = [(k, d) for k, d in msgpack.unpackb(first, strict_map_key=False)["members"]]
    persons = {each for each in members if each[0] != IdentifierType.CLICK}
    assert {kind for kind, _ in persons} == {1, 3, 8}
    assert erasing.erased_of(scene.ledger, scene.brand, T0, members) >= persons
    assert not erasing.erased_of(scene.ledger, scene.brand, T0 + 4 * DAY_MS, members)


def archive(scene: Scene) -> list[tuple[matching.Position, bytes]]:
    """Every frame of the archive, by its position."""
    return [
        (entry.position, entry.frame)
        for segment in matching.archive_manifest(scene.ledger, 0)
        for entry in read_segment(scene.data / "archive" / "p0" / segment.name, segment.length)
    ]


def explanations(scene: Scene) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(scene.data / "ledger.sqlite")) as connection:
        found = connection.execute("SELECT explain FROM conversions ORDER BY conversion_id")
        return [explain for (explain,) in found]


def test_an_identifier_alone_goes_and_what_it_linked_stays_linked(scene: Scene) -> None:
    visit(scene, T0, "ada", 1)
    erase(scene, T0 + 2 * DAY_MS, mail("ada"), scope="identifier")
    before = decided(scene)
    assert rewrite(scene) == (1, 0)
    assert held_in(scene.data, mail("ada")[1]) == []
    assert held_in(scene.data, customer("ada")[1])
    assert_as_it_was(scene, before)


def test_erasures_follow_one_another(scene: Scene) -> None:
    """Also of one who came back, and of two at once, in files that were written anew before."""
    for order, name in enumerate(("ada", "bob", "cleo")):
        visit(scene, T0 + order * HOUR_MS, name, order)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    assert rewrite(scene) == (1, 0)
    visit(scene, T0 + 4 * DAY_MS, "ada", 7)
    erase(scene, T0 + 5 * DAY_MS, customer("bob"))
    erase(scene, T0 + 5 * DAY_MS, customer("ada"))
    erase(scene, T0 + 5 * DAY_MS, customer("ada"))
    before = decided(scene)
    assert rewrite(scene) == (3, 0)
    for _, digest in [*of("ada"), *of("bob")]:
        assert held_in(scene.data, digest) == []
    assert all(held_in(scene.data, digest) for _, digest in of("cleo"))
    assert_as_it_was(scene, before)


@pytest.mark.parametrize("site", SITES)
def test_killed_anywhere_it_goes_on_and_finishes(scene: Scene, site: str) -> None:
    for order in range(4):
        visit(scene, T0 + order * HOUR_MS, f"person {order}", order)
    erase(scene, T0 + 2 * DAY_MS, customer("person 1"))
    erase(scene, T0 + 2 * DAY_MS, customer("person 2"))
    before = decided(scene)
    scene.take_over()
    command = [sys.executable, "-m", "headwater", "rewrite", "--now", "--data", str(scene.data)]
    environment = {**os.environ, "HEADWATER_FAULT": f"rewrite.{site}"}
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # What has been begun is finished without being asked for.
    again = run_rewrite(Config(data=scene.data), now=site == "written")
    assert again == ((0, 0) if site == "finished" else (2, 0))
    rewriting.fold_in(scene.ledger)
    for name in ("person 1", "person 2"):
        for _, digest in of(name):
            assert held_in(scene.data, digest) == []
    assert_as_it_was(scene, before)
    listed = {fact.name for fact in matching.archive_manifest(scene.ledger, 0)}
    assert {path.name for path in (scene.data / "archive" / "p0").iterdir()} == listed


def test_it_waits_until_one_is_old_and_then_takes_all(scene: Scene) -> None:
    visit(scene, T0, "ada", 1)
    visit(scene, T0, "bob", 2)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    erase(scene, T0 + 2 * DAY_MS, customer("bob"))
    scene.take_over()
    settings = Config(data=scene.data)
    assert run_rewrite(settings, now=False) == (0, 2)
    (finding,) = [each for each in findings(settings) if each.part == "erasures"]
    assert finding.ok
    age(scene, limits.ERASURE_LATE_MS + HOUR_MS)
    (finding,) = [each for each in findings(settings) if each.part == "erasures"]
    assert not finding.ok
    assert finding.seen.startswith("2 wait")
    assert run_rewrite(settings, now=False) == (2, 0)
    (finding,) = [each for each in findings(settings) if each.part == "erasures"]
    assert finding.ok


def age(scene: Scene, by_ms: int) -> None:
    """Have the first erasure be asked for earlier."""
    first = "(SELECT min(event_id) FROM erasure_requests)"
    statement = f"UPDATE erasure_requests SET created_ms = ? WHERE event_id = {first}"
    edit_ledger(scene.data, statement, clock.now_ms() - by_ms)


@pytest.mark.parametrize(("age_ms", "done"), [(WAIT_MS - 60_000, 0), (WAIT_MS, 1)])
def test_the_wait_ends_to_the_millisecond_and_no_sooner(
    scene: Scene, age_ms: int, done: int
) -> None:
    visit(scene, T0, "ada", 1)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    scene.take_over()
    age(scene, age_ms)
    assert run_rewrite(Config(data=scene.data), now=False) == (done, 1 - done)


def test_what_is_still_written_to_is_left_alone(scene: Scene) -> None:
    """A file ends after a day of the log's time, or with its writer."""
    visit(scene, T0, "ada", 1)
    erase(scene, T0 + HOUR_MS, customer("ada"))
    settings = Config(data=scene.data)
    assert run_rewrite(settings, now=True) == (0, 1)
    scene.tick(T0 + limits.ARCHIVE_SEGMENT_MS - 1)
    assert run_rewrite(settings, now=True) == (0, 1)
    scene.tick(T0 + limits.ARCHIVE_SEGMENT_MS)
    before = decided(scene)
    assert run_rewrite(settings, now=True) == (1, 0)
    assert_as_it_was(scene, before)


def test_a_partners_own_address_stays_with_the_partner(scene: Scene) -> None:
    """An order under it is a self-referral, in every replay."""
    digest = mail("ada")[1]
    partner = scene.partners[0]
    value = {"program": scene.program, "partner": partner, "status": "active"}
    record = scene._record(5, T0, ["enrolment", 1, 99, {**value, "emails": [digest]}], scene.brand)
    scene.send(T0, record)
    visit(scene, T0 + 1000, "ada", 1)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    before = decided(scene)
    assert rewrite(scene) == (1, 0)
    assert held_in(scene.data, digest)
    assert held_in(scene.data, customer("ada")[1]) == []
    assert_as_it_was(scene, before)


def test_a_frame_set_aside_is_rewritten_and_stays_set_aside(scene: Scene) -> None:
    visit(scene, T0, "ada", 1)
    damaged = bytearray(scene.frame(scene.identify(T0 + 5000, visitor("ada"), customer("ada"))))
    damaged[40] ^= 0xFF
    scene.commit(T0 + 5000, bytes(damaged))
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    before = decided(scene)
    assert rewrite(scene) == (1, 0)
    for _, digest in of("ada"):
        assert held_in(scene.data, digest) == []
    assert_as_it_was(scene, before)
    with contextlib.closing(sqlite3.connect(scene.data / "ledger.sqlite")) as connection:
        ((reason, frame),) = connection.execute("SELECT reason, frame FROM quarantine")
    assert reason == "bad_checksum"
    assert frame in dict(archive(scene)).values()


@pytest.mark.parametrize("is_touched", [False, True])
def test_damage_is_found_in_what_was_rewritten_too(scene: Scene, is_touched: bool) -> None:
    visit(scene, T0, "ada", 1)
    visit(scene, T0 + HOUR_MS, "bob", 2)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    assert rewrite(scene) == (1, 0)
    assert run_verify(Config(data=scene.data)) == 0
    wanted = T0 + 1000 if is_touched else T0 + HOUR_MS
    (frame,) = [frame for position, frame in archive(scene) if position[0] == wanted]
    (path,) = [p for p in (scene.data / "archive").rglob("*.archive") if frame in p.read_bytes()]
    path.write_bytes(path.read_bytes().replace(frame, frame[:-1] + bytes([frame[-1] ^ 1])))
    assert run_verify(Config(data=scene.data)) == 1


def test_snapshots_from_before_are_removed_and_later_ones_still_compare(scene: Scene) -> None:
    visit(scene, T0, "ada", 1)
    snapshot(scene)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    visit(scene, T0 + 4 * DAY_MS, "bob", 2)
    scene.take_over()
    settings = Config(data=scene.data)
    assert run_rewrite(settings, now=True) == (0, 1), "a start would have to replay everything"
    snapshot(scene)
    before = decided(scene)
    assert run_rewrite(settings, now=True) == (1, 0)
    (kept,) = matching.snapshot_facts(scene.ledger, 0)
    assert kept.position[0] >= T0 + 4 * DAY_MS
    assert [path.name for path in (scene.data / "snapshots").rglob("*.snap")] == [kept.name]
    for _, digest in of("ada"):
        assert held_in(scene.data, digest) == []
    assert_as_it_was(scene, before)


def snapshot(scene: Scene) -> None:
    """Write a snapshot of what is committed, and list it."""
    engine = scene.partition.engine
    content = engine.view().to_bytes()
    folder = scene.data / "snapshots" / "p0"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{scene.partition.epoch:08d}-{engine.position[0]}-{engine.position[1]}.snap"
    (folder / name).write_bytes(content)
    fact = matching.SnapshotFact(
        name=name,
        epoch=scene.partition.epoch,
        position=engine.position,
        chain_digest=engine.chain_digest,
        digest=hashlib.blake2b(content, digest_size=32).digest(),
        length=len(content),
    )
    matching.add_snapshot(scene.ledger, 0, scene.partition.epoch, fact, kept=9)


def test_pseudonyms_that_decide_otherwise_are_drawn_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a person's two customer ids the lower counts: which that is, no pseudonym may change."""
    draws = []

    def spoiled(groups: Any) -> dict[bytes, bytes]:
        pairs = rewrite_replay.draw(groups)
        draws.append(len(pairs))
        if len(draws) % 3:
            # All become one: nothing is linked as it was.
            return dict.fromkeys(pairs, bytes(16))
        return pairs

    for order in range(4):
        visit(scene, T0 + order * HOUR_MS, f"person {order}", order)
    for order in range(3):
        erase(scene, T0 + 2 * DAY_MS + order, customer(f"person {order}"))
    before = decided(scene)
    scene.take_over()
    monkeypatch.setattr("headwater.ops.rewrite.draw", spoiled)
    assert run_rewrite(Config(data=scene.data), now=True) == (3, 0)
    assert len(draws) == 3
    assert_as_it_was(scene, before)


def test_erasures_are_tried_in_halves_and_one_that_stands_alone_is_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    hard = customer("person 1")[1]

    def spoiled(groups: Any) -> dict[bytes, bytes]:
        pairs = rewrite_replay.draw(groups)
        # It becomes somebody else, who is there and stays.
        return {**pairs, hard: customer("person 4")[1]} if hard in pairs else pairs

    for order in range(5):
        visit(scene, T0 + order * HOUR_MS, f"person {order}", order)
    for order in range(4):
        erase(scene, T0 + 2 * DAY_MS + order, customer(f"person {order}"))
    before = decided(scene)
    scene.take_over()
    monkeypatch.setattr("headwater.ops.rewrite.draw", spoiled)
    settings = Config(data=scene.data)
    assert run_rewrite(settings, now=True) == (3, 1)
    assert held_in(scene.data, hard)
    assert_as_it_was(scene, before)
    monkeypatch.undo()
    assert run_rewrite(settings, now=True) == (1, 0)
    assert held_in(scene.data, hard) == []
    assert_as_it_was(scene, before)


def test_only_one_runs_at_a_time_and_waits_for_readers(scene: Scene) -> None:
    visit(scene, T0, "ada", 1)
    erase(scene, T0 + 2 * DAY_MS, customer("ada"))
    scene.take_over()
    command = [sys.executable, "-m", "headwater", "rewrite", "--now", "--data", str(scene.data)]
    with archive_held(scene.data):
        first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            until(lambda: any((scene.data / "archive").rglob("*.rewritten-1.archive")))
            second = subprocess.run(command, capture_output=True, text=True, check=False)
            assert second.returncode == 1
            assert "another rewrite runs" in second.stderr
            assert rewriting.unfinished_rewrites(scene.ledger) == []
            assert first.poll() is None
        except BaseException:
            first.kill()
            raise
    out, _ = first.communicate(timeout=200)
    assert out == "1 erasures carried into archive and ledger, 0 wait\n"
    assert run_verify(Config(data=scene.data)) == 0


def until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        clock.sleep(0.01)
    raise AssertionError("not in time")
