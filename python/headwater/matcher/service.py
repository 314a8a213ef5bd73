"""The matcher's loop: read, apply, archive, commit, tell; then tick, trim, snapshot.

The loop is synchronous on purpose: a batch is one step after another, and between batches the
engine, the archive and the ledger stand at one position. The heartbeat has its own thread.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from headwater import _core, clock, config, faults, limits, metrics
from headwater.book.book import Book
from headwater.errors import Fenced, HeadwaterError, JournalError, LedgerError
from headwater.journal.stream import GenerationChanged, StreamReader
from headwater.ledger import matching
from headwater.ledger.decisions import recent_decisions
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import (
    BookStore,
    Committed,
    PartitionBatch,
    PartitionRow,
    Rollups,
)
from headwater.matcher import outcomes
from headwater.matcher.health import Heartbeat
from headwater.matcher.ordering import ordered
from headwater.matcher.partition import Partition
from headwater.matcher.recovery import Entry, rebuild
from headwater.matcher.snapshots import Snapshots
from headwater.model.book import Booked

log = logging.getLogger(__name__)

EXIT_FENCED = 3
EXIT_PANIC = 70
EXIT_LEDGER = 75
RETRY_S = 0.2
# Decisions of the last minute are told again after a start: the edge that waits may not have
# heard of those that were committed just before the end.
TOLD_AGAIN_MS = 60_000


class Matcher:
    """Owns every partition of the deployment; one instance a process."""

    def __init__(self, settings: config.Config, ledger: Ledger, heartbeat: Heartbeat) -> None:
        self._config = settings
        self._ledger = ledger
        self._heartbeat = heartbeat
        self._data = settings.data
        self._stop = False
        self._partitions: dict[int, Partition] = {}
        self._books: dict[int, Book] = {}
        self._rollups = Rollups()
        self._reader: StreamReader
        self._snapshots = Snapshots(ledger, self._data, settings.snapshot_every_ms)
        self._housekept_s = 0.0
        self._untold = False
        self._revised: dict[str, bytes] = {}
        self._renewed_s = 0.0
        self._is_busy = False
        self._read_s = 0.0

    def stop(self, *_signal: object) -> None:
        self._stop = True

    def run(self) -> int:
        """Until stopped, fenced, or ended by a ledger that fails; the exit code."""
        with _file_lock(self._data / "matcher.lock") as alone:
            rows = self._acquire(alone)
            if rows is None:
                return 0
            self._rebuild(rows)
            self._snapshots.forget_unlisted(list(self._partitions.values()))
            self._reader = StreamReader(self._config.effective_redis_url, sorted(self._partitions))
            self._reader.expect(rows[0].generation, rows[0].redis_run_id)
            self._tell_again()
            while not self._stop:
                self._step()
            self._drain()
            return self._finish()

    def _acquire(self, alone: bool) -> list[PartitionRow] | None:
        """Every partition with its epoch raised; None when stopped while waiting.

        With the folder's lock in hand the former owner is dead; without it, its lease must end.
        """
        owner = f"{socket.gethostname()}:{os.getpid()}"
        rows: list[PartitionRow] = []
        while not self._stop:
            self._heartbeat.calling()
            try:
                matching.ensure_partitions(self._ledger, self._config.partitions)
                rows += matching.acquire(
                    self._ledger,
                    set(range(self._config.partitions)) - {row.partition for row in rows},
                    owner,
                    clock.now_ms(),
                    self._config.lease_ms,
                    force=alone,
                )
            except LedgerError as error:
                self._heartbeat.called(ok=False)
                log.warning("ledger not usable", extra={"fields": {"why": str(error)[:200]}})
            else:
                self._heartbeat.called(ok=True)
                if len(rows) == self._config.partitions:
                    return rows
            clock.sleep(RETRY_S)
        return None

    def _rebuild(self, rows: list[PartitionRow]) -> None:
        for row in rows:
            engine = rebuild(self._ledger, self._data, row)
            quarantined = matching.quarantined(self._ledger, row.partition)
            self._partitions[row.partition] = Partition(row, engine, self._data, quarantined)
            settings = matching.settings_of(self._ledger, row.partition)
            self._books[row.partition] = Book(row.partition, settings)

    def _drain(self) -> None:
        """Commit what is on the log already; whoever adds more than that may wait for a start."""
        until_s = clock.monotonic_s() + limits.DRAIN_S
        while self._step() and clock.monotonic_s() < until_s:
            pass

    def _step(self) -> bool:
        """One read and its batch, if any; whether there was one."""
        try:
            self._gather()
            with _cpu_counted("read"):
                read = self._reader.read(
                    {number: item.position for number, item in self._partitions.items()},
                    limits.BATCH_FRAMES_MAX,
                    limits.READ_BLOCK_MS,
                )
            if read:
                self._batch(read)
            else:
                self._is_busy = False
            if not self._stop:
                self._housekeeping()
            return bool(read)
        except GenerationChanged as change:
            self._begin_generation(change)
        except JournalError as error:
            log.warning("redis not usable", extra={"fields": {"why": str(error)[:200]}})
            metrics.REDIS_FAILURES.inc()
            self._renew()
            clock.sleep(RETRY_S)
        return False

    def _gather(self) -> None:
        """Let clicks gather, where many come, for so long after the last read: a batch costs as
        much as hundreds of clicks, whatever is in it.
        """
        if self._is_busy and not self._stop:
            gathered_s = clock.monotonic_s() - self._read_s
            clock.sleep(max(0.0, limits.BATCH_GATHER_MS / 1000 - gathered_s))
        self._read_s = clock.monotonic_s()

    def _batch(self, read: dict[int, list[Entry]]) -> None:
        with _cpu_counted("apply"):
            batches = self._applied(read)
        faults.reach("matcher.before_commit")
        self._heartbeat.calling()
        try:
            with _cpu_counted("commit"):
                committed = matching.commit(
                    self._ledger,
                    batches,
                    lease_until_ms=clock.now_ms() + self._config.lease_ms,
                    book=self._book,
                    rollups=self._rollups,
                )
        except BaseException:
            self._heartbeat.called(ok=False)
            raise
        self._heartbeat.called(ok=True)
        faults.reach("matcher.committed")
        self._renewed_s = clock.monotonic_s()
        for batch in batches:
            self._partitions[batch.partition].committed(batch)
            outcomes.count(batch.outcomes)
        clicks = sum(len(batch.outcomes["clicks"]) for batch in batches)
        self._is_busy = clicks >= limits.BATCH_BUSY_CLICKS
        metrics.MATCHER_LAG_SECONDS.set(self._lag_s(read))
        with _cpu_counted("tell"):
            self._tell(batches, committed)
        faults.reach("matcher.told")

    def _book(self, store: BookStore, batch: PartitionBatch) -> Booked:
        """What follows from a batch for what is owed; within the transaction."""
        runs = ordered(batch.outcomes)
        with _cpu_counted("book"):
            booked = self._books[batch.partition].apply(store, batch.outcomes, runs)
        for kind, number, revision in booked.unread:
            fields = {"object": kind, "number": number, "revision": revision}
            log.warning("configuration not taken by the book", extra={"fields": fields})
        return booked

    def _applied(self, read: dict[int, list[Entry]]) -> list[PartitionBatch]:
        """What the engines made of the entries, on disk in the archive."""
        batches = []
        for number, entries in read.items():
            try:
                batches.append(self._partitions[number].apply(entries))
            except _core.EnginePoisonedError as panic:
                self._panicked(number, entries, panic)
                raise
        return batches

    def _lag_s(self, read: dict[int, list[Entry]]) -> float:
        """Age of the newest entry when the batch was full, so that more is waiting; else 0."""
        waiting = [
            entries[-1][0] for entries in read.values() if len(entries) >= limits.BATCH_FRAMES_MAX
        ]
        return max(0.0, (clock.now_ms() - min(waiting)) / 1000) if waiting else 0.0

    def _tell(self, batches: list[PartitionBatch], committed: Committed) -> None:
        decided = [batch.outcomes for batch in batches]
        told = outcomes.decisions_to_tell(self._ledger, decided, committed)
        ranges = {
            batch.partition: {
                producer: self._partitions[batch.partition].engine.ranges(producer)
                for producer in batch.outcomes["producers"]
            }
            for batch in batches
        }
        self._revised.update(outcomes.revised(self._ledger, decided, told, committed))
        try:
            self._reader.publish(ranges, told)
            self._keep_revised()
        except JournalError:
            self._untold = True
            raise

    def _keep_revised(self) -> None:
        """Store what was decided again without a report; kept until Redis has it."""
        self._reader.keep_decisions(self._revised.items())
        self._revised.clear()

    def _tell_again(self) -> None:
        """What an edge may not have heard: every committed range, and the last decisions. An edge
        that sends nothing more would hear of its last frames by nothing else, and keep them until
        its spool is too old to take any event.
        """
        self._untold = True
        try:
            self._reader.publish(
                {item.number: item.engine.seen() for item in self._partitions.values()}, ()
            )
            self._reader.keep_decisions(
                (found["conversion_id"], msgpack.packb(found))
                for found in recent_decisions(self._ledger, clock.now_ms() - TOLD_AGAIN_MS)
            )
            self._keep_revised()
            self._untold = False
        except JournalError as error:
            log.warning("redis not usable", extra={"fields": {"why": str(error)[:200]}})

    def _begin_generation(self, change: GenerationChanged) -> None:
        """Redis is not the server, or does not hold the log, that the ledger's positions are of.

        Configuration that is not committed goes on the log first, so that no click resent by an
        edge precedes the link it came through; then the generation is named, and edges resend.
        """
        log.warning("redis generation changed", extra={"fields": {"why": str(change)}})
        try:
            number = matching.begin_generation(self._ledger, self._owned(), change.run_id)
            for item in self._partitions.values():
                item.generation = number
            first = {
                item.number: item.control_frames(
                    matching.uncommitted_controls(self._ledger, item.number)
                )
                for item in self._partitions.values()
            }
            self._reader.begin_generation(
                number,
                {item.number: item.position for item in self._partitions.values()},
                {item.number: item.tick_frame() for item in self._partitions.values()},
                first,
            )
        except JournalError as error:
            log.warning("redis not usable", extra={"fields": {"why": str(error)[:200]}})
            clock.sleep(RETRY_S)
            return
        self._tell_again()

    def _housekeeping(self) -> None:
        now_s = clock.monotonic_s()
        self._snapshots.step(list(self._partitions.values()))
        if now_s - self._housekept_s >= limits.LEASE_RENEW_MS / 1000:
            self._housekept_s = now_s
            self._renew()
            # Before anything is added: a full server refuses everything but this.
            for item in self._partitions.values():
                self._reader.trim(item.number, item.position)
            self._reader.status(msgpack.packb(self._status()))
            self._reader.watch_memory()
            if self._untold:
                self._tell_again()
        for item in self._partitions.values():
            if now_s - item.ticked_s >= limits.TICK_MS / 1000:
                item.ticked_s = now_s
                self._reader.append(item.number, item.tick_frame())

    def _renew(self) -> None:
        """Keep the lease, and see by it whether the ledger can be written."""
        if clock.monotonic_s() - self._renewed_s < limits.LEASE_RENEW_MS / 1000:
            return
        self._heartbeat.calling()
        try:
            matching.renew(self._ledger, self._owned(), clock.now_ms() + self._config.lease_ms)
        except BaseException:
            self._heartbeat.called(ok=False)
            raise
        self._heartbeat.called(ok=True)
        self._renewed_s = clock.monotonic_s()

    def _status(self) -> dict[str, Any]:
        return {
            **self._heartbeat.facts(),
            "positions": {item.number: item.position for item in self._partitions.values()},
        }

    def _panicked(
        self, number: int, entries: list[Entry], panic: _core.EnginePoisonedError
    ) -> None:
        """Count the panic against its frame; the second one sets the frame aside."""
        at = (panic.ms, panic.seq)
        epoch = self._partitions[number].epoch
        count = matching.note_panic(self._ledger, number, epoch, at)
        log.error(
            "engine panicked",
            extra={"fields": {"partition": number, "at": at, "count": count}},
        )
        if count >= limits.PANICS_BEFORE_QUARANTINE:
            frame = next(frame for ms, seq, frame in entries if (ms, seq) == at)
            matching.add_quarantine(self._ledger, number, epoch, at, "panic", frame)

    def _owned(self) -> list[tuple[int, int]]:
        return [(item.number, item.epoch) for item in self._partitions.values()]

    def _finish(self) -> int:
        """A clean stop: snapshots are written, so that the next start has nothing to replay."""
        self._snapshots.finish(list(self._partitions.values()))
        for item in self._partitions.values():
            item.close()
        matching.release(self._ledger, self._owned())
        return 0


@contextmanager
def _cpu_counted(step: str) -> Iterator[None]:
    """Add the CPU the block uses to the step's metric."""
    before_s = clock.process_cpu_s()
    try:
        yield
    finally:
        metrics.MATCHER_CPU_SECONDS.labels(step).inc(clock.process_cpu_s() - before_s)


@contextmanager
def _file_lock(path: Path) -> Iterator[bool]:
    """True inside when the lock was free: the former owner on this host is dead."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def run_matcher(settings: config.Config) -> int:
    """Run the role until SIGTERM; the exit code tells the supervisor's log why it ended."""
    heartbeat = Heartbeat(settings.data / "run")
    heartbeat.start()
    ledger: Ledger | None = None
    try:
        ledger = open_ledger(settings.effective_ledger_url)
        matcher = Matcher(settings, ledger, heartbeat)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, matcher.stop)
        return matcher.run()
    except Fenced as error:
        log.error("fenced", extra={"fields": {"why": str(error)}})
        return EXIT_FENCED
    except _core.EnginePoisonedError:
        return EXIT_PANIC
    except LedgerError as error:
        # Whether a COMMIT that failed took effect is not known here; the next start asks the
        # ledger, under a higher epoch.
        log.error("ledger failed", extra={"fields": {"why": str(error)[:500]}})
        return EXIT_LEDGER
    except (HeadwaterError, _core.CoreError, OSError):
        # A frame of a newer version, a disk that is full: the next start stops there again.
        log.exception("matcher stopped")
        return 1
    finally:
        heartbeat.stop()
        if ledger:
            ledger.close()
