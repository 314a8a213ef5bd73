"""The rows of partner pixels within the matcher's transaction, for one lane of the log.

What is only written is gathered and goes in bulk at `flush`; leads that wait are read back, and
are written at once. Make a store for each batch of a lane, inside its transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgpack
import sqlalchemy as sa

from headwater import limits
from headwater.ledger.engine import Ledger
from headwater.ledger.firings import CLIENT, WAITING
from headwater.ledger.schema import (
    firings,
    pixel_decisions,
    pixel_versions,
    waiting_lead_identifiers,
    waiting_leads,
)
from headwater.model.pixels import NEVER_MS, POSTBACK, Firing, Lead, Pixel, PixelDecision

# Identifiers of one statement: SQLite takes a thousand alternatives at most.
_PAIRS_AT_ONCE = 100


class PixelStore:
    """A `book.pixels.Store` over the ledger."""

    def __init__(self, ledger: Ledger, connection: sa.Connection, partition: int) -> None:
        self._ledger = ledger
        self._connection = connection
        self._partition = partition
        self._pixels: dict[int, list[Pixel]] = {}
        self._next_due: int | None = None
        self._is_next_known = False
        self._firings: list[Firing] = []
        self._decisions: dict[tuple[bytes, int], PixelDecision] = {}

    def flush(self) -> None:
        """Write what was gathered. Call it before the transaction ends."""
        if self._firings:
            self._connection.exec_driver_sql(
                self._ledger.insert_sql(firings, or_ignore=True), list(map(_row, self._firings))
            )
            self._firings.clear()
        if self._decisions:
            self._connection.exec_driver_sql(
                self._ledger.cached_sql(_upsert_decisions), list(self._decisions.values())
            )
            self._decisions.clear()

    # ---- Definitions

    def put_pixel(self, pixel: Pixel, revision: int) -> None:
        self.drop_pixel(pixel.number)
        self._connection.execute(
            sa.insert(pixel_versions).values(
                partition=self._partition,
                pixel=pixel.number,
                partner=pixel.partner,
                revision=revision,
                value=msgpack.packb(pixel),
            )
        )

    def drop_pixel(self, number: int) -> None:
        self._pixels.clear()
        self._connection.execute(
            sa.delete(pixel_versions).where(
                pixel_versions.c.partition == self._partition, pixel_versions.c.pixel == number
            )
        )

    def pixels_of(self, partner: int) -> Sequence[Pixel]:
        found = self._pixels.get(partner)
        if found is None:
            rows = self._connection.exec_driver_sql(
                self._ledger.cached_sql(_pixels_of), (self._partition, partner)
            )
            found = self._pixels[partner] = [Pixel(*msgpack.unpackb(row[0])) for row in rows]
        return found

    # ---- What is sent, and why

    def add_firing(self, firing: Firing) -> None:
        self._firings.append(firing)

    def put_decision(self, decision: PixelDecision) -> None:
        self._decisions[decision.action_id, decision.pixel] = decision

    def decisions_of(self, action_id: bytes) -> Sequence[PixelDecision]:
        self.flush()
        rows = self._connection.execute(
            sa.select(pixel_decisions)
            .where(pixel_decisions.c.action_id == action_id)
            .order_by(pixel_decisions.c.pixel)
        )
        return [PixelDecision(*row) for row in rows]

    # ---- Leads

    def add_lead(self, lead: Lead) -> None:
        firing = lead.firing
        values = {
            "event_id": firing.event_id,
            "partition": self._partition,
            "brand": firing.brand,
            "program": firing.program,
            "partner": firing.partner,
            "pixel": firing.pixel,
            "action_id": firing.action_id,
            "conversion_id": firing.conversion_id,
            "type": firing.type,
            "url": firing.url,
            "is_test": firing.is_test,
            "due_ms": lead.due_ms,
            "order_id": lead.order_id,
        }
        if self._was_fired(firing.event_id):
            return
        added = self._connection.execute(_or_ignored(self._connection, waiting_leads), values)
        if added.rowcount != 1:
            return
        if lead.identifiers:
            self._connection.execute(
                sa.insert(waiting_lead_identifiers),
                [
                    {
                        "brand": firing.brand,
                        "type": kind,
                        "digest": digest,
                        "event_id": firing.event_id,
                    }
                    for kind, digest in lead.identifiers
                ],
            )
        self._is_next_known = False

    def _was_fired(self, event_id: bytes) -> bool:
        self.flush()
        statement = sa.select(sa.literal(1)).where(firings.c.event_id == event_id)
        return self._connection.execute(statement).first() is not None

    def drop_lead(self, event_id: bytes) -> None:
        for table in (waiting_leads, waiting_lead_identifiers):
            self._connection.execute(sa.delete(table).where(table.c.event_id == event_id))
        self._is_next_known = False

    def park_lead(self, event_id: bytes) -> None:
        self._connection.execute(
            sa.update(waiting_leads)
            .where(waiting_leads.c.event_id == event_id)
            .values(due_ms=NEVER_MS)
        )
        self._is_next_known = False

    def forget_in_leads(self, brand: int, identifiers: Iterable[tuple[int, bytes]]) -> None:
        named = waiting_lead_identifiers.c
        for kind, digest in identifiers:
            self._connection.execute(
                sa.delete(waiting_lead_identifiers).where(
                    named.brand == brand, named.type == int(kind), named.digest == digest
                )
            )

    def _first_due_ms(self) -> int | None:
        """When the first lead is due; None: none waits."""
        if not self._is_next_known:
            self._next_due = self._connection.scalar(
                sa.select(sa.func.min(waiting_leads.c.due_ms)).where(
                    waiting_leads.c.partition == self._partition
                )
            )
            self._is_next_known = True
        return self._next_due

    def leads_due(self, until_ms: int, count: int) -> Sequence[Lead]:
        first_ms = self._first_due_ms()
        if first_ms is None or first_ms > until_ms:
            return []
        column = waiting_leads.c
        return self._leads(
            column.partition == self._partition, column.due_ms <= until_ms, count=count
        )

    def leads_of_action(self, action_id: bytes) -> Sequence[Lead]:
        return self._leads(waiting_leads.c.action_id == action_id)

    def leads_of_visitor(
        self,
        brand: int,
        program: int,
        order_id: str | None,
        identifiers: Iterable[tuple[int, bytes]],
        count: int,
    ) -> Sequence[Lead]:
        if self._first_due_ms() is None:
            return []
        column, named = waiting_leads.c, waiting_lead_identifiers.c
        same: list[sa.ColumnElement[bool]] = []
        if order_id is not None:
            same.append(column.order_id == order_id)
        pairs = sorted({(int(kind), digest) for kind, digest in identifiers})
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            any_of = sa.or_(
                *(
                    sa.and_(named.brand == brand, named.type == kind, named.digest == digest)
                    for kind, digest in pairs[start : start + _PAIRS_AT_ONCE]
                )
            )
            same.append(column.event_id.in_(sa.select(named.event_id).where(any_of)))
        # One look for each: an index serves each, and none serves any of them.
        found = {
            lead.firing.event_id: lead
            for condition in same
            for lead in self._leads(
                condition, column.brand == brand, column.program == program, count=count
            )
        }
        return sorted(found.values(), key=lambda lead: (lead.due_ms, lead.firing.event_id))[:count]

    def _leads(self, *condition: sa.ColumnElement[bool], count: int | None = None) -> list[Lead]:
        """The lane is only asked for where nothing else names it: its index finds every lead."""
        rows = self._connection.execute(
            sa.select(waiting_leads)
            .where(*condition)
            .order_by(waiting_leads.c.due_ms, waiting_leads.c.event_id)
            .limit(count)
        ).mappings()
        # The identifiers have done their service: only rows are compared with them.
        return [_lead(row) for row in rows]


def _row(firing: Firing) -> tuple[Any, ...]:
    """A row of the outbox: due at once, or the browser's."""
    state = WAITING if firing.type == POSTBACK else CLIENT
    *head, at_ms = firing
    return (*head, at_ms, state, at_ms, 0, 0, None)


def _lead(row: Mapping[str, Any] | sa.RowMapping) -> Lead:
    firing = Firing(
        row["event_id"],
        row["brand"],
        row["program"],
        row["partner"],
        row["pixel"],
        row["action_id"],
        row["conversion_id"],
        row["type"],
        row["url"],
        row["is_test"],
        0,
    )
    return Lead(firing, row["due_ms"], row["order_id"], ())


def _insert(dialect: sa.Dialect, table: sa.Table) -> Any:
    # The two dialects spell it alike, and only they have it.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(table)


def _or_ignored(connection: sa.Connection, table: sa.Table) -> Any:
    return _insert(connection.dialect, table).on_conflict_do_nothing()


def _pixels_of(dialect: sa.Dialect) -> str:
    column = pixel_versions.c
    statement = sa.select(column.value).where(
        column.partition == sa.bindparam(None), column.partner == sa.bindparam(None)
    )
    return str(statement.compile(dialect=dialect))


def _upsert_decisions(dialect: sa.Dialect) -> str:
    statement = _insert(dialect, pixel_decisions)
    changed = {name: statement.excluded[name] for name in ("at_ms", "code")}
    keys = [column.name for column in pixel_decisions.primary_key.columns]
    return str(
        statement.on_conflict_do_update(index_elements=keys, set_=changed).compile(dialect=dialect)
    )


# ---- For answers -----------------------------------------------------------------------------


def client_pixels(
    ledger: Ledger, conversion_ids: Sequence[bytes]
) -> dict[bytes, list[dict[str, str]]]:
    """What the browser that reported a conversion is to fire: `type` and `url` of each; only
    conversions that have some.
    """
    column = firings.c
    found: dict[bytes, list[dict[str, str]]] = {}
    if not conversion_ids:
        return found
    with ledger.read() as connection:
        for start in range(0, len(conversion_ids), limits.TRANSACTION_ROWS_MAX):
            part = conversion_ids[start : start + limits.TRANSACTION_ROWS_MAX]
            rows = connection.execute(
                sa.select(column.conversion_id, column.type, column.url)
                .where(column.conversion_id.in_(part), column.state == CLIENT)
                .order_by(column.conversion_id, column.event_id)
            )
            for conversion_id, kind, url in rows:
                found.setdefault(conversion_id, []).append({"type": kind, "url": url})
    return found
