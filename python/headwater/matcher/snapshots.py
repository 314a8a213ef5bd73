"""Snapshots written beside the running engine: a cheap view is taken, a thread writes it out."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import threading
from pathlib import Path

from headwater import _core, clock, limits
from headwater.ledger import matching
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import SnapshotFact
from headwater.matcher.partition import Partition
from headwater.matcher.recovery import snapshot_folder

log = logging.getLogger(__name__)


class Snapshots:
    """Writes one snapshot at a time; lists it in the ledger only when it is on disk."""

    def __init__(self, ledger: Ledger, data: Path, every_ms: int) -> None:
        self._ledger = ledger
        self._data = data
        self._every_ms = every_ms
        self._thread: threading.Thread | None = None
        self._done: tuple[Partition, SnapshotFact] | None = None

    def forget_unlisted(self, partitions: list[Partition]) -> None:
        """Delete the files of earlier owners that no list names: what a crash or a full disk
        left half written, and what was taken off the list just before the end.
        """
        for partition in partitions:
            listed = {fact.name for fact in matching.snapshot_facts(self._ledger, partition.number)}
            for path in snapshot_folder(self._data, partition.number).glob("*.snap"):
                epoch = path.name.partition("-")[0]
                if path.name not in listed and epoch.isdecimal() and int(epoch) < partition.epoch:
                    path.unlink(missing_ok=True)

    def is_due(self, partitions: list[Partition]) -> bool:
        """Whether `step` has anything to do."""
        if self._thread is not None:
            return not self._thread.is_alive()
        return self._due(partitions) is not None

    def step(self, partitions: list[Partition]) -> None:
        """List what was finished and begin what is due. Called between batches only, so that a
        view is never ahead of what the ledger has committed.
        """
        if self._thread is not None:
            if self._thread.is_alive():
                return
            self._thread = None
            self._list_done()
        due = self._due(partitions)
        if due is not None:
            self._begin(due)

    def _due(self, partitions: list[Partition]) -> Partition | None:
        now_s = clock.monotonic_s()
        for partition in partitions:
            is_late = now_s >= partition.snapshot_s + self._every_ms / 1000
            if is_late and partition.position != partition.snapshot_position:
                return partition
        return None

    def finish(self, partitions: list[Partition]) -> None:
        """Write one of every partition that moved, and wait: a clean stop restarts fast."""
        for partition in partitions:
            self._join()
            if partition.position != partition.snapshot_position:
                self._begin(partition)
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._list_done()

    def _begin(self, partition: Partition) -> None:
        partition.snapshot_s = clock.monotonic_s()
        fact = SnapshotFact(
            name=f"{partition.epoch:08d}-{partition.position[0]}-{partition.position[1]}.snap",
            epoch=partition.epoch,
            position=partition.position,
            chain_digest=partition.engine.chain_digest,
            digest=b"",
            length=0,
        )
        self._thread = threading.Thread(
            target=self._write, args=(partition, fact, partition.engine.view()), name="snapshot"
        )
        self._thread.start()

    def _write(self, partition: Partition, fact: SnapshotFact, view: _core.SnapshotView) -> None:
        folder = snapshot_folder(self._data, partition.number)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            content = view.to_bytes()
            handle = os.open(folder / fact.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            directory = os.open(folder, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
        except OSError as error:
            log.exception("snapshot not written", extra={"fields": {"why": str(error)}})
            # Half a file would keep a full disk full.
            (folder / fact.name).unlink(missing_ok=True)
            return
        digest = hashlib.blake2b(content, digest_size=32).digest()
        self._done = (partition, dataclasses.replace(fact, digest=digest, length=len(content)))

    def _list_done(self) -> None:
        if self._done is None:
            return
        partition, fact = self._done
        self._done = None
        partition.snapshot_position = fact.position
        dropped = matching.add_snapshot(
            self._ledger, partition.number, partition.epoch, fact, kept=limits.SNAPSHOTS_KEPT
        )
        for name in dropped:
            (snapshot_folder(self._data, partition.number) / name).unlink(missing_ok=True)
