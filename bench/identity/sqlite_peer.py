"""SQLite: a recursive query over links packed into a table without row ids."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.identity.peer import InProcess, Size, in_batches
from bench.identity.workload import WINDOW_MS, Lookup, Workload

_TABLES = """
CREATE TABLE identifiers (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE links (one INTEGER, two INTEGER, PRIMARY KEY (one, two)) WITHOUT ROWID;
CREATE TABLE clicks (identifier INTEGER, at_ms INTEGER, number INTEGER,
    PRIMARY KEY (identifier, at_ms, number)) WITHOUT ROWID;
"""
_WALK = """
WITH RECURSIVE met(number) AS (
    SELECT number FROM identifiers WHERE key IN (?1, ?2, ?3)
    UNION SELECT two FROM met JOIN links ON one = met.number)
SELECT clicks.number FROM met JOIN clicks ON identifier = met.number AND at_ms > ?4 AND at_ms <= ?5
"""
_NUMBERED = "INSERT INTO identifiers (key) VALUES (?) ON CONFLICT DO NOTHING"
_FIND = "SELECT number FROM identifiers WHERE key = ?"
_TRANSACTION_ROWS = 1000
_STARTS_MAX = 3


class SqlitePeer(InProcess):
    """A file with a write-ahead log and a cache that holds all of it."""

    name = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hw-bench-")
        self._path = Path(self._folder.name) / "graph.sqlite"
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = wal; PRAGMA synchronous = normal;"
            "PRAGMA cache_size = -1000000; PRAGMA mmap_size = 4000000000;"
        )
        self._database.executescript(_TABLES)
        self._links_bytes = 0
        self._workload: Workload | None = None

    def _number(self, key: bytes) -> int:
        found = self._database.execute(_FIND, (key,)).fetchone()
        if found is None:
            return self._database.execute(_NUMBERED, (key,)).lastrowid or 0
        number: int = found[0]
        return number

    def load_links(self, workload: Workload) -> int:
        rows = 0
        self._database.execute("BEGIN")
        for left, right in workload.plain_links():
            one, two = self._number(workload.key(left)), self._number(workload.key(right))
            self._database.executemany(
                "INSERT OR IGNORE INTO links VALUES (?, ?)", ((one, two), (two, one))
            )
            rows = self._step(rows)
        self._finish()
        self._links_bytes = self._path.stat().st_size
        return rows

    def load_clicks(self, workload: Workload) -> int:
        rows = 0
        self._database.execute("BEGIN")
        for on, at_ms, number in workload.plain_clicks():
            row = (self._number(workload.key(on)), at_ms, number)
            self._database.execute("INSERT INTO clicks VALUES (?, ?, ?)", row)
            rows = self._step(rows)
        self._finish()
        self._workload = workload
        return rows

    def _step(self, rows: int) -> int:
        if (rows + 1) % _TRANSACTION_ROWS == 0:
            self._database.execute("COMMIT")
            self._database.execute("BEGIN")
        return rows + 1

    def _finish(self) -> None:
        self._database.execute("COMMIT")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def prepare(self, lookups: Sequence[Lookup], batch: int) -> list[Any]:
        assert self._workload is not None
        asked = []
        for at_ms, starts, _ in lookups:
            keys = [self._workload.key(start) for start in starts]
            padded = (*keys, *[keys[0]] * (_STARTS_MAX - len(keys)))
            asked.append((*padded, at_ms - WINDOW_MS, at_ms))
        return in_batches(asked, batch)

    def call(self, argument: list[tuple[Any, ...]]) -> list[list[int]]:
        execute = self._database.execute
        return [[row[0] for row in execute(_WALK, asked)] for asked in argument]

    def size_bytes(self) -> Size:
        return Size(self._links_bytes, self._path.stat().st_size - self._links_bytes)

    def close(self) -> None:
        self._database.close()
        self._folder.cleanup()
