"""The matcher's side of the ledger: who owns a partition, and the one transaction of a batch.

Exactly once rests on `commit`: its first statement moves the partition's position from where the
batch was read to where it ends, on condition that owner (epoch), generation and position are
still those the batch was made under. Whoever lost the partition, or repeats a batch whose COMMIT
went through unanswered, changes no row and gets Fenced. After any other LedgerError from `commit`
the outcome is unknown: acquire again, which raises the epoch, and go on from the position read.

The engine's memory of ids is bounded, the ledger's is not. An event that the engine takes for new
and the ledger has, such as one sent again under its key a week later, leaves the ledger as it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from headwater import clock, faults
from headwater.errors import Fenced
from headwater.ledger.book_store import BookStore, settings_of
from headwater.ledger.deciding import confirm_decisions
from headwater.ledger.decisions import decision, decision_by_id, recent_decisions
from headwater.ledger.engine import Ledger
from headwater.ledger.erasing import note_erasures
from headwater.ledger.manifest import (
    SegmentFact,
    SnapshotFact,
    add_quarantine,
    add_snapshot,
    archive_manifest,
    list_segments,
    note_panic,
    quarantined,
    snapshot_facts,
    uncommitted_controls,
)
from headwater.ledger.ownership import (
    CHAIN_START,
    PartitionRow,
    Position,
    acquire,
    begin_generation,
    ensure_partitions,
    partition_rows,
    release,
    renew,
)
from headwater.ledger.revisions import write_revisions
from headwater.ledger.rollups import Rollups
from headwater.ledger.schema import (
    clicks,
    config_outbox,
    conversion_reports,
    conversions,
    credit_shares,
    late_evidence,
    observations,
    others,
    partitions,
    quarantine,
    rejections,
)
from headwater.model.book import CREDITED_BY_MANAGER, Action, Booked, Credits
from headwater.model.click_cells import ClickRows

__all__ = [
    "CHAIN_START",
    "BookStore",
    "Committed",
    "PartitionBatch",
    "PartitionRow",
    "Position",
    "Rollups",
    "SegmentFact",
    "SnapshotFact",
    "acquire",
    "add_quarantine",
    "add_snapshot",
    "archive_manifest",
    "begin_generation",
    "commit",
    "decision",
    "decision_by_id",
    "ensure_partitions",
    "note_panic",
    "partition_rows",
    "quarantined",
    "recent_decisions",
    "release",
    "renew",
    "settings_of",
    "snapshot_facts",
    "uncommitted_controls",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """What one partition's frames between two positions came to."""

    partition: int
    epoch: int
    generation: int
    from_position: Position
    to_position: Position
    chain_digest: bytes
    time_ms: int
    outcomes: Mapping[str, Any]
    """The engine's outcomes, decoded; rows are sequences in the order of the columns."""
    archive: Sequence[SegmentFact] = field(default_factory=tuple)


Bookkeeper = Callable[[BookStore, PartitionBatch], Booked]
"""Runs the book over a batch, with the store of its rows."""


@dataclass(slots=True)
class Committed:
    """What the answers of a committed batch have to go by."""

    decided_before: set[bytes] = field(default_factory=set)
    """Conversions of which the ledger keeps a decision that the engine has forgotten, or that may
    not change any more."""
    actions: dict[bytes, list[Action]] = field(default_factory=dict)
    """By conversion, of those that were decided in the batch."""
    moved: set[bytes] = field(default_factory=set)
    """Conversions whose answer is another by a manager's decision."""


# ---- The transaction of a batch ------------------------------------------------------------


def commit(
    ledger: Ledger,
    batches: Sequence[PartitionBatch],
    *,
    lease_until_ms: int,
    book: Bookkeeper | None = None,
    rollups: Rollups | None = None,
) -> Committed:
    """Commit outcomes, the book, positions and archive facts of all `batches`, all or none.

    Raises Fenced when a partition is not where its batch began, under the same owner: nothing is
    written, and this process may not go on. Raises LedgerError otherwise: see the module's head.
    """
    committed = Committed()
    rollups = rollups or Rollups()
    with ledger.write() as connection:
        faults.reach("commit.begun")
        for batch in batches:
            _move_position(ledger, connection, batch, lease_until_ms)
        faults.reach("commit.position")
        for batch in batches:
            booked, store = Booked(), None
            outcomes = batch.outcomes
            if book is not None:
                # Before anything is written: the book sees what precedes a record on the log.
                store = BookStore(ledger, connection, batch.partition, outcomes)
                booked = book(store, batch)
                outcomes = {**outcomes, "conversions": list(booked.conversions.values())}
            committed.decided_before |= booked.kept
            with rollups.counting(ledger, connection, batch, booked, store) as known_clicks:
                known = _insert_outcomes(ledger, connection, batch, outcomes)
                known_clicks.update(known.clicks)
                if store is not None:
                    _insert_late_evidence(ledger, connection, booked.late_evidence)
                    _credit(ledger, connection, booked.credited)
                    store.flush()
            committed.decided_before |= known.conversions
            committed.actions.update(booked.actions)
            committed.moved |= booked.moved
        faults.reach("commit.rows")
        for batch in batches:
            list_segments(ledger, connection, batch.partition, batch.epoch, batch.archive)
        faults.reach("commit.before")
    faults.reach("commit.after")
    return committed


def write_booked(ledger: Ledger, connection: sa.Connection, booked: Booked) -> None:
    """Write what the book left of the engine's decisions, and nothing else of a batch."""
    if booked.conversions:
        _insert_conversions(ledger, connection, list(booked.conversions.values()))
    _insert_late_evidence(ledger, connection, booked.late_evidence)
    _credit(ledger, connection, booked.credited)


def _move(dialect: sa.Dialect) -> str:
    # The driver's text has the new values in the order of the columns, then the conditions.
    columns = partitions.c
    new = (columns.lease_until_ms, columns.stream_ms, columns.stream_seq, columns.chain_digest)
    at = (columns.partition, columns.epoch, columns.generation, *new[1:3])
    statement = (
        sa.update(partitions)
        .values({column: sa.bindparam(f"new_{column.name}") for column in (*new, columns.time_ms)})
        .where(*(column == sa.bindparam(f"of_{column.name}") for column in at))
    )
    return str(statement.compile(dialect=dialect))


def _move_position(
    ledger: Ledger, connection: sa.Connection, batch: PartitionBatch, lease_until_ms: int
) -> None:
    changed = connection.exec_driver_sql(
        ledger.cached_sql(_move),
        (
            lease_until_ms,
            *batch.to_position,
            batch.chain_digest,
            batch.time_ms,
            batch.partition,
            batch.epoch,
            batch.generation,
            *batch.from_position,
        ),
    )
    if changed.rowcount != 1:
        raise Fenced(
            f"partition {batch.partition} is not at {batch.from_position} under epoch "
            f"{batch.epoch} and generation {batch.generation}"
        )


# The outcome's key, and the table whose columns its rows are.
_PLAIN: Final = (
    ("observations", observations),
    ("reports", conversion_reports),
    ("rejections", rejections),
    ("others", others),
)


class _Known(NamedTuple):
    """What of a batch the ledger had before, and keeps."""

    clicks: set[bytes]
    conversions: set[bytes]


def _insert_outcomes(
    ledger: Ledger,
    connection: sa.Connection,
    batch: PartitionBatch,
    outcomes: Mapping[str, Any],
) -> _Known:
    """Write a batch's rows."""
    known_clicks = _insert_clicks(ledger, connection, outcomes.get("clicks", ClickRows()))
    for key, table in _PLAIN:
        rows = outcomes.get(key)
        if rows:
            sql = ledger.insert_sql(table, or_ignore=True)
            inserted = connection.exec_driver_sql(sql, list(map(tuple, rows))).rowcount
            if inserted != len(rows):
                fields = {"table": table.name, "count": len(rows) - inserted}
                log.warning("events were in the ledger before", extra={"fields": fields})
    if outcomes.get("decision_revised"):
        write_revisions(ledger, connection, outcomes["decision_revised"])
    if outcomes.get("late_evidence"):
        _insert_late_evidence(ledger, connection, outcomes["late_evidence"])
    if outcomes.get("erasures"):
        note_erasures(ledger, connection, outcomes["erasures"], batch.time_ms)
    decided_before: set[bytes] = set()
    if outcomes.get("conversions"):
        decided_before = _insert_conversions(ledger, connection, outcomes["conversions"])
    if outcomes.get("others"):
        confirm_decisions(connection, outcomes["others"])
    if outcomes.get("controls"):
        _confirm_controls(connection, outcomes["controls"])
    if outcomes.get("quarantined"):
        now_ms = clock.now_ms()
        rows = [
            (batch.partition, ms, seq, reason, frame, False, now_ms)
            for ms, seq, reason, frame in outcomes["quarantined"]
        ]
        connection.exec_driver_sql(ledger.insert_sql(quarantine), rows)
    return _Known(known_clicks, decided_before)


def _insert_clicks(ledger: Ledger, connection: sa.Connection, rows: ClickRows) -> set[bytes]:
    """Write clicks; the ids of those the ledger had."""
    if not rows:
        return set()
    sql = ledger.insert_sql(clicks, or_ignore=True)
    write = partial(ledger.execute_many, connection, sql, rows.parameters())
    return _written(connection, clicks, sql, rows, write)


def _written(
    connection: sa.Connection,
    table: sa.Table,
    sql: str,
    rows: ClickRows | Sequence[tuple[Any, ...]],
    write: Callable[[], int],
) -> set[bytes]:
    """Run a statement that passes over rows the ledger had; the ids of those. `write` runs it for
    all rows at once, and tells how many it wrote.
    """
    connection.exec_driver_sql("SAVEPOINT rows_written")
    if write() == len(rows):
        connection.exec_driver_sql("RELEASE SAVEPOINT rows_written")
        return set()
    # One by one, to learn which of them the ledger had.
    connection.exec_driver_sql("ROLLBACK TO SAVEPOINT rows_written")
    connection.exec_driver_sql("RELEASE SAVEPOINT rows_written")
    known = {row[0] for row in rows if not connection.exec_driver_sql(sql, row).rowcount}
    fields = {"table": table.name, "count": len(known)}
    log.warning("events were in the ledger before", extra={"fields": fields})
    return known


# Where a row of late evidence holds the list of partners.
_PARTNERS_AT: Final = 5


def _insert_late_evidence(
    ledger: Ledger, connection: sa.Connection, rows: Sequence[Sequence[Any]]
) -> None:
    if rows:
        connection.exec_driver_sql(
            ledger.insert_sql(late_evidence, or_ignore=True),
            [
                (*row[:_PARTNERS_AT], json.dumps(list(row[_PARTNERS_AT])), *row[_PARTNERS_AT + 1 :])
                for row in rows
            ],
        )


def _confirm_controls(connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Mark the outbox rows of what the engine took: with each revision also the older ones of
    the object, which the engine passes over from now on and never reports.
    """
    columns = config_outbox.c
    connection.execute(
        sa.update(config_outbox)
        .where(
            columns.object == sa.bindparam("of_object"),
            columns.number == sa.bindparam("of_number"),
            columns.revision <= sa.bindparam("of_revision"),
            ~columns.committed,
        )
        .values(committed=True),
        [
            {"of_object": kind, "of_number": number, "of_revision": revision}
            for _brand, kind, number, revision, *_ in rows
        ],
    )


# Where a conversion's row holds its credits; the columns of the table are the rest, in order.
_CREDITS_AT: Final = 14


def _insert_conversions(
    ledger: Ledger, connection: sa.Connection, rows: Sequence[Sequence[Any]]
) -> set[bytes]:
    """Write the newest revision of each conversion, and its credits in place of the former; the
    ids of those that came with a revision the ledger has already.
    """
    newest = _newest(rows)
    sql = ledger.cached_sql(_upsert_conversions)
    values = [(*row[:_CREDITS_AT], *row[_CREDITS_AT + 1 :]) for row in newest.values()]
    write = partial(ledger.execute_many, connection, sql, values)
    passed_over = _written(connection, conversions, sql, values, write)
    written = [row for row in newest.values() if row[0] not in passed_over]
    _write_credits(ledger, connection, {row[0]: row[_CREDITS_AT] for row in written})
    return passed_over


def _write_credits(
    ledger: Ledger, connection: sa.Connection, given: Mapping[bytes, Sequence[Sequence[Any]]]
) -> None:
    """Write the credits of conversions in place of the former."""
    if not given:
        return
    connection.execute(
        sa.delete(credit_shares).where(
            credit_shares.c.conversion_id == sa.bindparam("of_conversion")
        ),
        [{"of_conversion": conversion_id} for conversion_id in given],
    )
    shares = [
        (conversion_id, ordinal, partner, click_id, share_ppm)
        for conversion_id, credits_given in given.items()
        for ordinal, (partner, click_id, share_ppm) in enumerate(credits_given)
    ]
    if shares:
        connection.exec_driver_sql(ledger.insert_sql(credit_shares), shares)


def _credit(ledger: Ledger, connection: sa.Connection, credited: Mapping[bytes, Credits]) -> None:
    """Give conversions to the partners a manager named."""
    if not credited:
        return
    connection.execute(
        sa.update(conversions)
        .where(conversions.c.conversion_id == sa.bindparam("of_conversion"))
        .values(status="attributed", reason=CREDITED_BY_MANAGER),
        [{"of_conversion": conversion_id} for conversion_id in credited],
    )
    _write_credits(ledger, connection, credited)


def _newest(rows: Sequence[Sequence[Any]]) -> dict[bytes, Sequence[Any]]:
    """The last row of each conversion. What is decided again without a report comes without a
    record: the one that is there stays.
    """
    newest: dict[bytes, Sequence[Any]] = {}
    for row in rows:
        before = newest.get(row[0])
        record = row[-1] or (before[-1] if before else b"")
        newest[row[0]] = (*row[:-1], record)
    return newest


def _upsert_conversions(dialect: sa.Dialect) -> str:
    # The two dialects spell it alike, and only they have it.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    statement = insert(conversions)
    changed: dict[str, sa.ColumnElement[Any]] = {
        column.name: statement.excluded[column.name]
        for column in conversions.columns
        if not column.primary_key
    }
    # No parameter: the driver's text takes those of the row alone.
    is_there = sa.func.length(statement.excluded.record) > sa.literal_column("0")
    changed["record"] = sa.case((is_there, statement.excluded.record), else_=conversions.c.record)
    return str(
        statement.on_conflict_do_update(
            index_elements=["conversion_id"],
            set_=changed,
            where=statement.excluded.revision > conversions.c.revision,
        ).compile(dialect=dialect)
    )
