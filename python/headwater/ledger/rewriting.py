"""Erasures carried into what was written before them: the archive's list, then all rows.

What is replaced stands in a row of `rewrites` from the moment the archive's files change until the
last row of the ledger has: whoever dies in between goes on with the same pseudonyms. With that row
the last trace of which pseudonym was whose is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgpack
import sqlalchemy as sa

from headwater import clock, faults, limits
from headwater.ledger.engine import Ledger
from headwater.ledger.ownership import Position
from headwater.ledger.schema import (
    archive_segments,
    brands,
    clicks,
    config_outbox,
    conversion_reports,
    conversions,
    erased_identifiers,
    erasure_requests,
    erasures,
    late_evidence,
    observations,
    others,
    quarantine,
    rejections,
    rewrites,
    snapshots,
)

# The engine takes accept times up to this much ahead of its own.
_AHEAD_MS: Final = 2000
# Parameters of one statement.
_DIGESTS_AT_ONCE: Final = 500


class WaitingErasure(NamedTuple):
    """An erasure that is committed, and not yet carried into what was written before it."""

    event_id: bytes
    partition: int
    created_ms: int
    identifiers: tuple[tuple[int, bytes], ...]
    """What it forgot, by type and digest."""


class Pseudonym(NamedTuple):
    """What stands in the place of an erased digest from now on."""

    digest: bytes
    pseudonym: bytes
    until_ms: int
    """In rows of the ledger whose record was accepted until then."""


class Rewrite(NamedTuple):
    """Erasures of one partition that are being carried into the ledger."""

    partition: int
    erasures: Sequence[bytes]
    pseudonyms: Sequence[Pseudonym]
    dropped: Sequence[tuple[str, str]]
    """Folder and name of files that are no longer listed."""


class NewSegment(NamedTuple):
    """A file that takes the place of one of the archive."""

    former: str
    name: str
    length: int


Change = Callable[[bytes, int], bytes]
"""The bytes of a column of a row accepted at a time, with erased digests replaced."""


# ---- What there is to do ---------------------------------------------------------------------


def waiting_erasures(ledger: Ledger) -> list[WaitingErasure]:
    """Those of every partition, in the order in which they were asked for."""
    statement = (
        sa.select(
            erasures.c.event_id,
            brands.c.partition,
            erasure_requests.c.created_ms,
            erasures.c.report,
        )
        .join(erasure_requests, erasure_requests.c.event_id == erasures.c.event_id)
        .join(brands, brands.c.id == erasures.c.brand)
        .where(~erasures.c.dry_run, erasure_requests.c.rewritten_ms.is_(None))
        .order_by(erasure_requests.c.created_ms, erasures.c.event_id)
    )
    with ledger.read() as connection:
        return [
            WaitingErasure(row.event_id, row.partition, row.created_ms, _forgotten(row.report))
            for row in connection.execute(statement)
        ]


def _forgotten(report: bytes) -> tuple[tuple[int, bytes], ...]:
    told = msgpack.unpackb(report, strict_map_key=False)
    return tuple((kind, digest) for kind, digest in told["identifiers"])


def erased_until(ledger: Ledger, digests: Iterable[bytes]) -> dict[bytes, int]:
    """By digest, up to which accept time a row may be of before its last erasure."""
    with ledger.read() as connection:
        return {row["digest"]: row["erased_ms"] + _AHEAD_MS for row in _erased(connection, digests)}


def _erased(connection: sa.Connection, digests: Iterable[bytes]) -> list[sa.RowMapping]:
    """What is noted of digests; a digest is of one brand and one type."""
    wanted = sorted(set(digests))
    found: list[sa.RowMapping] = []
    for start in range(0, len(wanted), _DIGESTS_AT_ONCE):
        chunk = wanted[start : start + _DIGESTS_AT_ONCE]
        statement = sa.select(erased_identifiers).where(erased_identifiers.c.digest.in_(chunk))
        found += connection.execute(statement).mappings().all()
    return found


def _note_rewritten(connection: sa.Connection, event_ids: Iterable[bytes]) -> None:
    of_events = [{"of_event": event_id} for event_id in event_ids]
    if of_events:
        connection.execute(
            sa.update(erasure_requests)
            .where(erasure_requests.c.event_id == sa.bindparam("of_event"))
            .values(rewritten_ms=clock.now_ms()),
            of_events,
        )


# ---- A rewrite from its beginning to its end ---------------------------------------------------


def begin_rewrite(
    ledger: Ledger, rewrite: Rewrite, segments: Iterable[NewSegment], before: Position
) -> None:
    """Put the new files on the archive's list, in one transaction with what is still to do.

    Snapshots from before `before` are taken off theirs: they hold what was erased.
    """
    with ledger.write() as connection:
        connection.execute(
            sa.insert(rewrites).values(
                partition=rewrite.partition,
                erasures=msgpack.packb(rewrite.erasures),
                pseudonyms=msgpack.packb(rewrite.pseudonyms),
                dropped=msgpack.packb(rewrite.dropped),
            )
        )
        for segment in segments:
            connection.execute(
                sa.update(archive_segments)
                .where(
                    archive_segments.c.partition == rewrite.partition,
                    archive_segments.c.name == segment.former,
                )
                .values(name=segment.name, length=segment.length, sealed=True)
            )
        position = sa.tuple_(snapshots.c.stream_ms, snapshots.c.stream_seq)
        connection.execute(
            sa.delete(snapshots).where(
                snapshots.c.partition == rewrite.partition, position < before
            )
        )
        _hide_pseudonyms(connection, rewrite.pseudonyms)


def _hide_pseudonyms(connection: sa.Connection, pseudonyms: Sequence[Pseudonym]) -> None:
    """What is erased under its digest is erased under its pseudonym."""
    of = {each.digest: each.pseudonym for each in pseudonyms}
    rows = [{**row, "digest": of[row["digest"]]} for row in _erased(connection, of)]
    if rows:
        connection.execute(sa.insert(erased_identifiers), rows)


def unfinished_rewrites(ledger: Ledger) -> list[Rewrite]:
    """Those that a death has interrupted."""
    with ledger.read() as connection:
        return [
            Rewrite(
                row.partition,
                msgpack.unpackb(row.erasures),
                [Pseudonym(*each) for each in msgpack.unpackb(row.pseudonyms)],
                [(folder, name) for folder, name in msgpack.unpackb(row.dropped)],
            )
            for row in connection.execute(sa.select(rewrites).order_by(rewrites.c.partition))
        ]


def finish_rewrite(ledger: Ledger, rewrite: Rewrite) -> None:
    """Forget what the pseudonyms stand for. To be called when every row has been looked at."""
    with ledger.write() as connection:
        until_ms = {each.digest: each.until_ms for each in rewrite.pseudonyms}
        # One that was erased again since is still known by its digest in later rows.
        over = [
            {f"of_{name}": row[name] for name in ("brand", "type", "digest")}
            for row in _erased(connection, until_ms)
            if row["erased_ms"] <= until_ms[row["digest"]]
        ]
        columns = erased_identifiers.c
        if over:
            connection.execute(
                sa.delete(erased_identifiers).where(
                    columns.brand == sa.bindparam("of_brand"),
                    columns.type == sa.bindparam("of_type"),
                    columns.digest == sa.bindparam("of_digest"),
                ),
                over,
            )
        _note_rewritten(connection, rewrite.erasures)
        connection.execute(sa.delete(rewrites).where(rewrites.c.partition == rewrite.partition))


def fold_in(ledger: Ledger) -> bool:
    """Bring what was overwritten out of the files beside the database too; whether all is."""
    with ledger.read() as connection:
        if connection.dialect.name != "sqlite":
            return True
        # No transaction: the driver is in its own mode, and a checkpoint may not be within one.
        connection.exec_driver_sql("COMMIT")
        busy, *_frames = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        connection.exec_driver_sql("BEGIN")
        return not busy


# ---- The ledger's rows -------------------------------------------------------------------------

_HOLDERS: Final[tuple[tuple[sa.Table, str, tuple[str, ...]], ...]] = (
    (observations, "accept_ms", ("record",)),
    (clicks, "accept_ms", ("record",)),
    (conversions, "accept_ms", ("explain", "record")),
    (conversion_reports, "accept_ms", ("record",)),
    (rejections, "accept_ms", ("record",)),
    (late_evidence, "accept_ms", ("record",)),
    (others, "accept_ms", ("record",)),
    (erasures, "accept_ms", ("report", "record")),
    (config_outbox, "created_ms", ("control",)),
)
"""Where records and explanations are kept, and when each was accepted."""


def rewrite_rows(ledger: Ledger, until_ms: int, change: Change, change_frame: Change) -> None:
    """Change every record, explanation and frame of what was accepted up to a time. Said again it
    changes nothing: whoever was interrupted begins anew.
    """
    for table, time, columns in _HOLDERS:
        _rewrite_table(ledger, table, table.c[time] <= until_ms, (time, columns), change)
    is_before = quarantine.c.stream_ms <= until_ms
    _rewrite_table(ledger, quarantine, is_before, ("stream_ms", ("frame",)), change_frame)


def _rewrite_table(
    ledger: Ledger,
    table: sa.Table,
    condition: sa.ColumnElement[bool],
    names: tuple[str, tuple[str, ...]],
    change: Change,
) -> None:
    if table is config_outbox:
        # Others name what partners are known by, which is theirs.
        condition = sa.and_(condition, table.c.object == "erasure")
    time, columns = names
    key = list(table.primary_key.columns)
    wanted = [*key, table.c[time], *(table.c[name] for name in columns)]
    page = sa.select(*wanted).where(condition).order_by(*key).limit(limits.REWRITE_ROWS)
    after: Sequence[Any] | None = None
    while True:
        following = page if after is None else page.where(_is_after(key, after))
        with ledger.read() as connection:
            rows = connection.execute(following).mappings().all()
        found = [row for row in rows if _changed(row, time, columns, change)]
        if found:
            _update(ledger, table, found, names, change)
            faults.reach("rewrite.page")
        if len(rows) < limits.REWRITE_ROWS:
            return
        after = [rows[-1][column.name] for column in key]


def _is_after(key: Sequence[sa.Column[Any]], after: Sequence[Any]) -> sa.ColumnElement[bool]:
    values = [sa.literal(value, column.type) for column, value in zip(key, after, strict=True)]
    return sa.tuple_(*key) > sa.tuple_(*values)


def _changed(
    row: sa.RowMapping, time: str, columns: Iterable[str], change: Change
) -> dict[str, bytes]:
    changed = {name: change(row[name], row[time]) for name in columns}
    return {name: value for name, value in changed.items() if value != row[name]}


def _update(
    ledger: Ledger,
    table: sa.Table,
    found: Iterable[sa.RowMapping],
    names: tuple[str, tuple[str, ...]],
    change: Change,
) -> None:
    """Change rows as they are now: the matcher may have decided anew since they were read."""
    time, columns = names
    with ledger.write() as connection:
        for known in found:
            is_it = sa.and_(*(each == known[each.name] for each in table.primary_key.columns))
            row = connection.execute(sa.select(table).where(is_it)).mappings().one()
            values = _changed(row, time, columns, change)
            if values:
                connection.execute(sa.update(table).where(is_it).values(**values))
