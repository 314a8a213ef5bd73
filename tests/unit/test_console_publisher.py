"""The publisher: a change arrives at the log and at the edges once, whatever dies between.

Method: the ledger and the server are real. A publisher that is killed is one that is stopped at
the step; its successor is a new one, with another name on the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import pytest
import redis
import sqlalchemy as sa

from console_tools import controls_on, frames_on, ledger_of, redis_in, told_to_edges, until
from headwater import _core, ids
from headwater.config import Config
from headwater.console import publisher as publisher_module
from headwater.console.lookups import Lookups
from headwater.console.publisher import Publisher
from headwater.errors import JournalError
from headwater.journal import config_feed
from headwater.ledger import enrolling, matching, objects, outbox, spreads
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Origin
from headwater.ledger.schema import config_outbox
from headwater.ops import doctor
from ledger_tools import acquired, batch, conversion_outcome, identify, with_program

T = TypeVar("T")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path, partitions=2)


@pytest.fixture
def ledger(config: Config) -> Iterator[Ledger]:
    with ledger_of(config) as opened:
        yield opened


@pytest.fixture
def store(config: Config) -> Iterator[redis.Redis]:
    with redis_in(config) as client:
        yield client


class Killed(BaseException):
    """The process ends here."""


def publisher_of(config: Config, ledger: Ledger) -> Publisher:
    return Publisher(
        ledger, config.effective_redis_url, ids.producer_id(), _core.encode_frame, identify
    )


async def published(config: Config, ledger: Ledger, seconds: float = 60.0) -> bool:
    """Whether a new publisher gets everything out."""
    publisher = publisher_of(config, ledger)
    await publisher.start()
    try:
        return await publisher.wait(outbox.newest_revision(ledger), seconds)
    finally:
        await publisher.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def event_ids(store: redis.Redis) -> Counter[bytes]:
    return Counter(record.event_id for record in controls_on(store))


def test_a_change_is_on_the_log_before_the_edges_hear_of_it(
    config: Config, ledger: Ledger, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_program(ledger)
    seen: list[tuple[int, int]] = []

    async def publish_config(client: Any, entries: Any) -> None:
        seen.append((len(controls_on(store)), len(told_to_edges(store))))
        await original(client, entries)

    original = config_feed.publish_config
    monkeypatch.setattr(publisher_module, "publish_config", publish_config)
    assert run(published(config, ledger))
    assert seen == [(2, 0)]
    assert sorted(told_to_edges(store)) == ["brand:1", "program:1"]


@pytest.mark.parametrize("site", ["publish.begun", "publish.appended", "publish.told"])
def test_a_change_survives_the_death_of_the_publisher_and_arrives_once(
    config: Config,
    ledger: Ledger,
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    site: str,
) -> None:
    """The configuration cannot split: the engine takes the program's revision once, edges too."""
    with_program(ledger)

    def reach(reached: str) -> None:
        if reached == site:
            raise Killed

    async def killed() -> None:
        publisher = publisher_of(config, ledger)
        with pytest.raises(Killed):
            await publisher._run()

    monkeypatch.setattr("headwater.faults.reach", reach)
    run(killed())
    monkeypatch.undo()
    assert outbox.not_appended(ledger).announcements != []
    assert run(published(config, ledger))
    assert outbox.not_appended(ledger).announcements == []
    assert set(event_ids(store).values()) == {1 if site == "publish.begun" else 2}
    log: Any = store.xrange("hw:config:log")
    assert [entry_id for entry_id, _ in log] == [b"1-0", b"2-0"] or len(log) == 1
    assert sorted(told_to_edges(store)) == ["brand:1", "program:1"]
    engine = _core.Engine(0)
    entries: Any = store.xrange("hw:in:0")
    frames = []
    for entry_id, fields in entries:
        ms, _, seq = entry_id.partition(b"-")
        frames.append((int(ms), int(seq), fields[b"f"]))
    outcomes = msgpack.unpackb(engine.apply(frames), strict_map_key=False)
    taken = [tuple(row[1:4]) for row in outcomes["controls"]]
    # Of a brand the engine keeps nothing, and says so each time.
    assert Counter(taken)["program", 1, 2] == 1
    assert set(taken) == {("brand", 1, 1), ("program", 1, 2)}


@pytest.mark.parametrize("member", ["control", "value"])
def test_a_row_that_is_no_record_stops_nothing_behind_it_and_is_told(
    config: Config, ledger: Ledger, store: redis.Redis, member: str
) -> None:
    """No route writes one: somebody's hand at the table."""
    with_program(ledger)
    brand = config_outbox.c.object == "brand"
    with ledger.write() as connection:
        connection.execute(sa.update(config_outbox).where(brand).values({member: b"\xc1 not"}))
    assert run(published(config, ledger))
    assert [record.body[0] for record in controls_on(store)] == ["program"]
    assert list(told_to_edges(store)) == ["program:1"]
    store.flushall()
    assert run(published(config, ledger)), "nor when the log is put back"
    assert list(told_to_edges(store)) == ["program:1"]
    told = [each for each in doctor.findings(config) if each.part == "change 1"]
    assert [(each.ok, each.seen.split(" c")[0]) for each in told] == [(False, "brand 1")]


def test_an_append_without_an_answer_is_sent_again_byte_for_byte(
    config: Config, ledger: Ledger, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_program(ledger)
    failed = 0

    async def fails_once(client: Any, entries: Any) -> None:
        nonlocal failed
        if not failed:
            failed += 1
            raise JournalError("no answer")
        await original(client, entries)

    original = config_feed.publish_config
    monkeypatch.setattr(publisher_module, "publish_config", fails_once)
    assert run(published(config, ledger))
    entries: Any = store.xrange("hw:in:0")
    assert len(entries) == 2
    assert len({fields[b"f"] for _, fields in entries}) == 1


def test_what_is_saved_while_redis_is_away_is_published_when_it_is_back(
    config: Config, ledger: Ledger
) -> None:
    with_program(ledger)
    assert not run(published(config, ledger, 0.3))
    with redis_in(config) as store:
        assert run(published(config, ledger))
        assert len(controls_on(store)) == 2


async def _while_publishing(config: Config, ledger: Ledger, act: Any, holds: Any) -> None:
    publisher = publisher_of(config, ledger)
    await publisher.start()
    try:
        assert await publisher.wait(outbox.newest_revision(ledger), 5.0)
        act()
        await asyncio.to_thread(until, holds)
    finally:
        await publisher.close()


def test_a_flushed_server_gets_objects_and_uncommitted_controls_back(
    config: Config, ledger: Ledger, store: redis.Redis
) -> None:
    brand, program = with_program(ledger)

    def flush() -> None:
        # The brand's control is committed; the program's was lost with the log.
        controls = [(brand, "brand", brand, 1)]
        matching.commit(ledger, [batch(acquired(ledger), controls=controls)], lease_until_ms=0)
        store.flushall()

    def is_back() -> bool:
        records = controls_on(store)
        return len(told_to_edges(store)) == 2 and [record.body[0] for record in records] == [
            "program"
        ]

    run(_while_publishing(config, ledger, flush, is_back))
    assert program == 1


def test_a_new_generation_has_uncommitted_controls_appended_again(
    config: Config, ledger: Ledger, store: redis.Redis
) -> None:
    with_program(ledger)
    store.set("hw:generation", "1:a")
    run(
        _while_publishing(
            config,
            ledger,
            lambda: store.set("hw:generation", "2:b"),
            lambda: set(event_ids(store).values()) == {2},
        )
    )


@pytest.mark.parametrize("is_flushed", [False, True])
def test_edges_keep_what_they_heard_whenever_publishers_die(
    config: Config,
    ledger: Ledger,
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    is_flushed: bool,
) -> None:
    """What was answered is never taken from the edges for a moment, committed yet or not."""
    with_program(ledger)
    assert run(published(config, ledger))

    def dies(reached: str) -> None:
        raise Killed(reached)

    async def killed() -> None:
        publisher = publisher_of(config, ledger)
        with pytest.raises(Killed):
            await publisher._run()

    objects.create_brand(ledger, Origin(), name="one more")
    with monkeypatch.context() as patched:
        patched.setattr("headwater.faults.reach", dies)
        run(killed())
    seed: Any = store.get("hw:config:seed")
    if is_flushed:
        store.flushall()
    with monkeypatch.context() as patched:
        patched.setattr("headwater.faults.reach", dies)
        run(killed())
    assert {"brand:1", "program:1"} <= set(told_to_edges(store))
    assert is_flushed or store.get("hw:config:seed") == seed, "nothing was seeded anew"
    assert run(published(config, ledger))
    assert sorted(told_to_edges(store)) == ["brand:1", "brand:2", "program:1"]


def test_an_older_configuration_in_redis_is_replaced_at_the_start(
    config: Config, ledger: Ledger, store: redis.Redis
) -> None:
    brand, _ = with_program(ledger)
    assert run(published(config, ledger))
    # An older append-only file, restored: objects of then, and the mark that they are whole.
    store.hset("hw:config:objects", "brand:1", msgpack.packb([1, "brand", 1, {"name": "older"}]))
    store.delete("hw:config:log")
    assert objects.change_brand(ledger, brand, {"name": "New"}) is not None
    assert run(published(config, ledger))
    assert told_to_edges(store)["brand:1"][3]["name"] == "New"


def test_frames_stay_within_their_bounds(
    config: Config, ledger: Ledger, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.limits.FRAME_RECORDS_MAX", 3)
    for number in range(10):
        objects.create_brand(ledger, Origin(), name=str(number))
    assert run(published(config, ledger))
    counts = [
        _core.frame_header(frame)[2]
        for partition in (0, 1)
        for frame in frames_on(store, partition)
    ]
    assert counts == [3, 2, 3, 2]


def test_a_change_for_many_that_somebody_left_is_finished(
    config: Config, ledger: Ledger, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, program = with_program(ledger)
    columns = {"name": "P", "email": "", "status": "active"}
    partner = objects.create_partner(ledger, Origin(), columns=columns).row["id"]
    enrolling.enrol(ledger, Origin(), program, partner, None, identify=identify)
    with monkeypatch.context() as patched:

        def dies(*_arguments: Any) -> bool:
            raise Killed

        patched.setattr(spreads, "spread_step", dies)
        with pytest.raises(Killed):
            spreads.change_partner(ledger, partner, {"status": "paused"}, identify=identify)
    run(
        _while_publishing(
            config,
            ledger,
            lambda: None,
            lambda: told_to_edges(store)["enrolment:1"][3]["status"] == "paused",
        )
    )


def test_an_edges_question_for_an_old_decision_is_answered_from_the_ledger(
    config: Config, ledger: Ledger, store: redis.Redis
) -> None:
    conversion_id = bytes(range(16))
    row = conversion_outcome(conversion_id, reason="no_touch")
    matching.commit(ledger, [batch(acquired(ledger), conversions=[row])], lease_until_ms=0)
    known, unknown, decided = (
        ids.event_text("cnv", raw) for raw in (conversion_id, bytes(16), bytes([7]) * 16)
    )
    newer = msgpack.packb({"status": "newer"})
    store.set(f"hw:decision:{decided}", newer)

    async def answered() -> None:
        lookups = Lookups(ledger, config.effective_redis_url)
        await lookups.start()
        try:
            store.rpush("hw:lookup", "nonsense", decided, unknown, known)
            await asyncio.to_thread(until, lambda: store.exists(f"hw:decision:{known}"))
        finally:
            await lookups.close()

    run(answered())
    found: Any = store.get(f"hw:decision:{known}")
    assert msgpack.unpackb(found)["reason"] == "no_touch"
    none: Any = store.get(f"hw:decision:{unknown}")
    assert msgpack.unpackb(none) is None
    assert 0 < store.ttl(f"hw:decision:{unknown}") <= 2
    assert store.get(f"hw:decision:{decided}") == newer
