"""While a batch commits, the next is read and applied; nothing that others see runs ahead of the
ledger, and nothing of a batch applied beside a commit that failed is ever kept.

Method: the matcher itself, in a thread, on a real Redis server and ledger; its commits are held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import sqlalchemy as sa

from console_tools import until
from headwater import _core, clock, ids, limits
from headwater.config import Config
from headwater.errors import HeadwaterError, LedgerError
from headwater.journal import keys
from headwater.ledger import matching
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.schema import clicks
from headwater.matcher.committing import Applied, Committer
from headwater.matcher.health import Heartbeat
from headwater.matcher.service import Matcher
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    IdentifierType,
    Kind,
    Record,
    Source,
    Trust,
    encode,
)
from journal_tools import Server

PRODUCER = 9
CLICKS = limits.BATCH_BUSY_CLICKS
NOTHING = Applied([], {}, 0.0)


class Held:
    """Takes the place of `matching.commit`: each waits until it is let go, or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commit = matching.commit
        self.begun = 0
        self._let_go = threading.Semaphore(0)
        self.fails = False
        monkeypatch.setattr(matching, "commit", self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.begun += 1
        assert self._let_go.acquire(timeout=60)
        if self.fails:
            raise LedgerError("the disk is gone")
        return self.commit(*arguments, **named)

    def let_go(self, count: int = 1) -> None:
        self._let_go.release(count)


class Running:
    """A matcher of one partition at work in a thread."""

    def __init__(self, server: Server) -> None:
        self.config = Config(data=server.config.data, partitions=1)
        self.ledger: Ledger = open_ledger(self.config.effective_ledger_url)
        self.heartbeat = Heartbeat(self.config.data / "run")
        self.matcher = Matcher(self.config, self.ledger, self.heartbeat)
        self.store = server.client()
        self.ended: list[int | BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.ended.append(self.matcher.run())
        except HeadwaterError as error:
            self.ended.append(error)

    def wait_ready(self) -> None:
        """Until it has named the log's generation and has nothing to do."""
        until(lambda: self.store.get(keys.GENERATION) is not None and self.lag() == 0)

    def lag(self) -> int:
        """Entries the ledger does not have."""
        return int(self.store.xlen(keys.stream(0)) - len(self._entries_until(self.committed)))

    def _entries_until(self, position: tuple[int, int]) -> list[Any]:
        return self.store.xrange(keys.stream(0), max=f"{position[0]}-{position[1]}")

    @property
    def committed(self) -> tuple[int, int]:
        return matching.partition_rows(self.ledger)[0].position

    @property
    def applied(self) -> tuple[int, int]:
        return self.matcher._partitions[0].engine.position

    def told(self) -> list[list[int]]:
        """Ranges of the tests' producer that edges were told are committed."""
        found = self.store.hget(keys.committed(0), keys.producer_name(PRODUCER))
        return [] if found is None else msgpack.unpackb(found)

    def clicks(self) -> int:
        with self.ledger.read() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(clicks)) or 0)

    def close(self) -> None:
        self.matcher.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.store.close()
        self.ledger.close()


def click() -> bytes:
    now_ms = clock.now_ms()
    visitor = ((int(IdentifierType.VISITOR), ids.event_id(now_ms)),)
    body = ClickBody(1, 1, 0, 0, visitor, {}, NO_CLIENT)
    record = Record(
        Kind.CLICK, ids.event_id(now_ms), 1, now_ms, None, Trust.SERVER, Source.S2S, body
    )
    return encode(record)


def put(running: Running, number: int) -> tuple[int, int]:
    """The `number`-th frame of the tests on the log, full of clicks; its position."""
    frame = _core.encode_frame(0, PRODUCER, number * CLICKS + 1, [click() for _ in range(CLICKS)])
    name: Any = running.store.xadd(keys.stream(0), {keys.FRAME_FIELD: frame})
    ms, _, sequence = name.partition(b"-")
    return int(ms), int(sequence)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.stop()


Start = Callable[[], Running]


@pytest.fixture
def start(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a matcher that no tick disturbs, and that gathers long enough for a second frame."""
    monkeypatch.setattr(limits, "TICK_MS", 3_600_000)
    monkeypatch.setattr(limits, "BATCH_GATHER_MS", 500)
    running: list[Running] = []

    def begin() -> Running:
        running.append(Running(server))
        running[-1].wait_ready()
        return running[-1]

    yield begin
    monkeypatch.undo()
    for each in running:
        each.close()


def test_the_next_batch_is_applied_beside_a_commit_and_nobody_sees_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start()
    before = running.committed
    held = Held(monkeypatch)
    first = put(running, 0)
    until(lambda: held.begun == 1)
    second = put(running, 1)
    until(lambda: running.applied == second)
    # Long enough for housekeeping to trim and to tell what it takes for committed.
    clock.sleep(1.5 * limits.LEASE_RENEW_MS / 1000)
    assert (running.committed, running.clicks(), running.told()) == (before, 0, [])
    assert running.matcher._partitions[0].position == before
    assert len(running.store.xrange(keys.stream(0), min=f"({before[0]}-{before[1]}")) == 2
    assert held.begun == 1
    held.let_go()
    until(lambda: running.told() == [[1, CLICKS]])
    assert running.committed == first
    assert running.clicks() == CLICKS
    held.let_go()
    until(lambda: running.told() == [[1, 2 * CLICKS]])
    assert (running.committed, running.clicks()) == (second, 2 * CLICKS)
    held.let_go(100)


def test_what_was_applied_beside_a_commit_that_failed_is_applied_again_after_a_start(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start()
    before = running.committed
    held = Held(monkeypatch)
    put(running, 0)
    until(lambda: held.begun == 1)
    second = put(running, 1)
    until(lambda: running.applied == second)
    held.fails = True
    held.let_go(2)
    until(lambda: bool(running.ended))
    assert isinstance(running.ended[0], LedgerError)
    assert held.begun == 1, "the second was never tried"
    assert (running.committed, running.clicks(), running.told()) == (before, 0, [])
    monkeypatch.setattr(matching, "commit", held.commit)
    again = start()
    until(lambda: again.told() == [[1, 2 * CLICKS]])
    assert (again.committed, again.clicks()) == (second, 2 * CLICKS)


def test_a_clean_stop_waits_for_the_commit_under_way(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start()
    held = Held(monkeypatch)
    put(running, 0)
    until(lambda: held.begun == 1)
    second = put(running, 1)
    until(lambda: running.applied == second)
    running.matcher.stop()
    held.let_go(100)
    until(lambda: bool(running.ended))
    assert running.ended == [0]
    assert (running.committed, running.clicks()) == (second, 2 * CLICKS)
    assert running.told() == [[1, 2 * CLICKS]]


def test_another_generation_begins_when_the_commit_under_way_has_ended(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start()
    held = Held(monkeypatch)
    first = put(running, 0)
    until(lambda: held.begun == 1)
    running.store.set(keys.GENERATION, "77:of-somebody-else")
    clock.sleep(0.3)
    assert running.store.get(keys.GENERATION) == b"77:of-somebody-else"
    held.let_go(100)
    until(lambda: running.store.get(keys.GENERATION) != b"77:of-somebody-else")
    until(lambda: running.told() == [[1, CLICKS]])
    assert (running.committed >= first, running.clicks()) == (True, CLICKS)


def test_one_commit_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    nothing: Any = None
    with Committer(nothing, Heartbeat(tmp_path), 5000) as committer:
        committer.begin(NOTHING)
        assert not committer.is_done(0)
        with pytest.raises(AssertionError):
            committer.begin(NOTHING)
        held.fails = True
        held.let_go()
        with pytest.raises(LedgerError):
            committer.end()
        assert committer.is_idle
        assert committer.end() is None
