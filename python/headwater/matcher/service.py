"""The matcher's loop: read, apply, archive, commit, tell; then tick, trim, snapshot.

A batch is one step after another, but the next one is read and applied while one that takes long
commits in its thread. Whatever needs engine, archive and ledger at one position, such as a snapshot
or a new generation, settles that commit first. The heartbeat has its own thread.
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
from headwater.errors import Fenced, HeadwaterError, JournalError, LedgerError
from headwater.journal.stream import GenerationChanged, StreamReader
from headwater.ledger import matching
from headwater.ledger.decisions import recent_decisions
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import Committed, PartitionRow
from headwater.matcher import outcomes
from headwater.matcher.committing import Applied, Committer, cpu_counted
from headwater.matcher.health import Heartbeat
from headwater.matcher.partition import Partition
from headwater.matcher.recovery import Entry, rebuild
from headwater.matcher.snapshots import Snapshots

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
        self._committer = Committer(ledger, heartbeat, settings.lease_ms)
        self._reader: StreamReader
        self._snapshots = Snapshots(ledger, self._data, settings.snapshot_every_ms)
        self._housekept_s = 0.0
        self._untold = False
        self._told_again_s = 0.0
        self._revised: dict[str, bytes] = {}
        self._renewed_s = 0.0
        self._is_busy = False
        self._read_s = 0.0

    def stop(self, *_signal: object) -> None:
        self._stop = True

    def run(self) -> int:
        """Until stopped, fenced, or ended by a ledger that fails; the exit code."""
        with _file_lock(self._data / "matcher.lock") as alone, self._committer:
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
            self._committer.keep_book(row.partition)

    def _drain(self) -> None:
        """Commit what is on the log already; whoever adds more than that may wait for a start."""
        until_s = clock.monotonic_s() + limits.DRAIN_S
        while self._step() and clock.monotonic_s() < until_s:
            pass
        self._settle()

    def _step(self) -> bool:
        """One read and its batch, if any, which goes on committing; whether there was one."""
        try:
            self._gather()
            with cpu_counted("read"):
                read = self._reader.read(
                    {number: item.engine.position for number, item in self._partitions.items()},
                    limits.BATCH_FRAMES_MAX,
                    limits.READ_BLOCK_MS if self._committer.is_idle else 0,
                )
            if read:
                self._batch(read)
            else:
                self._is_busy = False
            if not self._stop:
                self._housekeeping()
            return bool(read)
        except GenerationChanged as change:
            self._settle()
            self._begin_generation(change)
        except JournalError as error:
            _redis_failed(error)
            self._settle()
            self._renew()
            clock.sleep(RETRY_S)
        return False

    def _gather(self) -> None:
        """Settle the commit under way, and let clicks gather, where many come, for so long after
        the last read: a batch costs as much as hundreds of clicks, whatever is in it.

        A commit that takes longer goes on beside the next batch.
        """
        until_s = self._read_s + limits.BATCH_GATHER_MS / 1000
        left_s = max(0.0, until_s - clock.monotonic_s())
        if self._is_settling_due() or self._committer.is_done(left_s):
            self._settle()
            if not self._stop:
                self._between_batches()
            if self._is_busy and not self._stop:
                clock.sleep(max(0.0, until_s - clock.monotonic_s()))
        self._read_s = clock.monotonic_s()

    def _is_settling_due(self) -> bool:
        """Whether something waits that can only be done while no batch is under way."""
        return self._is_telling_due() or self._snapshots.is_due(list(self._partitions.values()))

    def _is_telling_due(self) -> bool:
        waited_s = clock.monotonic_s() - self._told_again_s
        return self._untold and waited_s >= limits.LEASE_RENEW_MS / 1000

    def _between_batches(self) -> None:
        """What needs engines, archive and ledger at one position."""
        self._snapshots.step(list(self._partitions.values()))
        self._renew()
        if self._is_telling_due():
            self._tell_again()

    def _batch(self, read: dict[int, list[Entry]]) -> None:
        with cpu_counted("apply"):
            applied = self._applied(read)
        clicks = sum(len(batch.outcomes["clicks"]) for batch in applied.batches)
        self._is_busy = clicks >= limits.BATCH_BUSY_CLICKS
        self._settle()
        self._committer.begin(applied)

    def _settle(self) -> None:
        """Wait for the commit under way, if any, and tell of it. Then engines, archive and ledger
        stand at one position, unless another batch has been applied meanwhile.
        """
        ended = self._committer.end()
        if ended is None:
            return
        faults.reach("matcher.committed")
        applied, committed = ended
        self._renewed_s = clock.monotonic_s()
        for batch in applied.batches:
            self._partitions[batch.partition].committed(batch)
            outcomes.count(batch.outcomes)
        metrics.MATCHER_LAG_SECONDS.set(applied.lag_s)
        with cpu_counted("tell"):
            self._tell(applied, committed)
        faults.reach("matcher.told")

    def _applied(self, read: dict[int, list[Entry]]) -> Applied:
        """What the engines made of the entries, on disk in the archive."""
        batches = []
        for number, entries in read.items():
            try:
                batches.append(self._partitions[number].apply(entries))
            except _core.EnginePoisonedError as panic:
                self._settle()
                self._panicked(number, entries, panic)
                raise
        ranges = {
            batch.partition: {
                producer: self._partitions[batch.partition].engine.ranges(producer)
                for producer in batch.outcomes["producers"]
            }
            for batch in batches
        }
        return Applied(batches, ranges, self._lag_s(read))

    def _lag_s(self, read: dict[int, list[Entry]]) -> float:
        """Age of the newest entry when the batch was full, so that more is waiting; else 0."""
        waiting = [
            entries[-1][0] for entries in read.values() if len(entries) >= limits.BATCH_FRAMES_MAX
        ]
        return max(0.0, (clock.now_ms() - min(waiting)) / 1000) if waiting else 0.0

    def _tell(self, applied: Applied, committed: Committed) -> None:
        """Tell of a commit. What Redis does not take is told again when it can be."""
        decided = [batch.outcomes for batch in applied.batches]
        told = outcomes.decisions_to_tell(self._ledger, decided, committed)
        self._revised.update(outcomes.revised(self._ledger, decided, told, committed))
        try:
            self._reader.publish(applied.ranges, told)
            self._keep_revised()
        except JournalError as error:
            self._untold = True
            _redis_failed(error)

    def _keep_revised(self) -> None:
        """Store what was decided again without a report; kept until Redis has it."""
        self._reader.keep_decisions(self._revised.items())
        self._revised.clear()

    def _tell_again(self) -> None:
        """What an edge may not have heard: every committed range, and the last decisions. An edge
        that sends nothing more would hear of its last frames by nothing else, and keep them until
        its spool is too old to take any event.
        """
        self._untold, self._told_again_s = True, clock.monotonic_s()
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
            _redis_failed(error)

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
            _redis_failed(error)
            clock.sleep(RETRY_S)
            return
        self._tell_again()

    def _housekeeping(self) -> None:
        """What goes by the committed positions, wherever the engines are."""
        now_s = clock.monotonic_s()
        if now_s - self._housekept_s >= limits.LEASE_RENEW_MS / 1000:
            self._housekept_s = now_s
            # Before anything is added: a full server refuses everything but this.
            for item in self._partitions.values():
                self._reader.trim(item.number, item.position)
            self._reader.status(msgpack.packb(self._status()))
            self._reader.watch_memory()
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


def _redis_failed(error: JournalError) -> None:
    log.warning("redis not usable", extra={"fields": {"why": str(error)[:200]}})
    metrics.REDIS_FAILURES.inc()


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
