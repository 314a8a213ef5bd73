"""Managers' decisions: asked for by the console, carried out by the book, noted by the matcher.

A decision is a record on the log, between the changes of the configuration and in their order, as
an erasure is. What came of it is a row of `decisions_log`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from headwater import clock, ids, limits
from headwater.errors import RequestRefused
from headwater.ledger import audit
from headwater.ledger.engine import Ledger
from headwater.ledger.outbox import append_records, take_revisions
from headwater.ledger.schema import (
    brands,
    config_outbox,
    decision_requests,
    decisions_log,
    management_requests,
)
from headwater.model.book import DecisionEntry
from headwater.model.records import NO_SUBJECT, DecisionBody, Kind, Record, Source, Trust

_OBJECT = "decision"


@dataclass(frozen=True, slots=True)
class DecisionRequested:
    """A decision that is in the outbox. `revision` is the one to wait for."""

    event_id: bytes
    revision: int
    request: bytes
    """Names all that were asked for together."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a request came under, so that it is carried out once however often it comes."""

    name: bytes
    """Digest of the caller, the route and the caller's Idempotency-Key."""
    body_digest: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision that was asked for, and what came of it; None: nothing yet."""

    event_id: bytes
    brand: int
    created_ms: int
    action: str
    subject: bytes
    entry: DecisionEntry | None


# ---- The console's side --------------------------------------------------------------------


def request_decisions(
    ledger: Ledger, decisions: Sequence[tuple[int, DecisionBody]], key: RequestKey | None = None
) -> list[DecisionRequested]:
    """Put decisions, each with its brand, on their way to the log, in their order and together.

    At most `DECISIONS_AT_ONCE_MAX` of them. A subject is 16 bytes, `NO_SUBJECT` where there is
    none: a record that is not well formed would stop everything behind it. Those that came under
    the same `key` before are given back instead; RequestRefused `idempotency_conflict` when that
    was another request.
    """
    if not decisions and key is None:
        return []
    if any(len(body.subject) != len(NO_SUBJECT) for _brand, body in decisions):
        raise ValueError("a decision's subject is 16 bytes")
    now_ms = clock.now_ms()
    request = ids.event_id(now_ms)
    records = [_record(now_ms, request, brand, body) for brand, body in decisions]
    with ledger.write() as connection:
        if key is not None:
            before = _requested_before(connection, key, now_ms)
            if before or not decisions:
                return before
        first = take_revisions(connection, len(records))
        if key is not None:
            connection.execute(
                sa.insert(management_requests).values(
                    name=key.name, body_digest=key.body_digest, request=request, created_ms=now_ms
                )
            )
        append_records(connection, first, _OBJECT, records)
        _note(connection, first, request, now_ms, records, decisions)
    return [
        DecisionRequested(record.event_id, revision, request)
        for revision, record in enumerate(records, first)
    ]


def _record(now_ms: int, request: bytes, brand: int, body: DecisionBody) -> Record:
    of_request = {"actor": audit.current_actor(), "request": ids.event_text("evt", request)}
    return Record(
        kind=Kind.DECISION,
        event_id=ids.event_id(now_ms),
        brand=brand,
        accept_ms=now_ms,
        claim_ms=None,
        trust=Trust.SERVER,
        source=Source.CONSOLE,
        body=body._replace(params={**of_request, **body.params}),
    )


def _note(
    connection: sa.Connection,
    first_revision: int,
    request: bytes,
    now_ms: int,
    records: Sequence[Record],
    decisions: Sequence[tuple[int, DecisionBody]],
) -> None:
    """Write down what was asked for: to find it again, and for the audit log."""
    asked = []
    noted: list[audit.Noted] = []
    for ordinal, (record, (brand, body)) in enumerate(zip(records, decisions, strict=True)):
        asked.append(
            {
                "event_id": record.event_id,
                "brand": brand,
                "revision": first_revision + ordinal,
                "created_ms": now_ms,
                "request": request,
                "ordinal": ordinal,
                "action": body.action,
                "subject": body.subject,
            }
        )
        changes = [
            {"member": name, "before": None, "after": text} for name, text in body.params.items()
        ]
        kind, _, verb = body.action.partition(".")
        noted.append((kind, subject_text(brand, body.action, body.subject), verb, changes))
    connection.execute(sa.insert(decision_requests), asked)
    audit.note(connection, noted)


_PREFIXES: Final = {"action": "act", "order": "cnv", "conversion": "cnv", "clicks": "clk"}


def subject_text(brand: int, action: str, subject: bytes) -> str:
    """The id of what a decision is about; the brand's where it names nothing."""
    prefix = _PREFIXES.get(action.partition(".")[0])
    if prefix is None or subject == NO_SUBJECT:
        return ids.object_text("brd", brand)
    return ids.event_text(prefix, subject)


def _requested_before(
    connection: sa.Connection, key: RequestKey, now_ms: int
) -> list[DecisionRequested]:
    """What the same request asked for. Keys that are too old are forgotten."""
    oldest_ms = now_ms - limits.IDEMPOTENCY_KEPT_S * 1000
    connection.execute(
        sa.delete(management_requests).where(management_requests.c.created_ms < oldest_ms)
    )
    known = connection.execute(
        sa.select(management_requests).where(management_requests.c.name == key.name)
    ).first()
    if known is None:
        return []
    if known.body_digest != key.body_digest:
        raise RequestRefused("idempotency_conflict")
    columns = decision_requests.c
    rows = connection.execute(
        sa.select(columns.event_id, columns.revision, columns.request)
        .where(columns.request == known.request)
        .order_by(columns.ordinal)
    )
    return [DecisionRequested(*row) for row in rows]


def come_to(ledger: Ledger, request: bytes) -> int:
    """How many decisions of a request the book has come to."""
    of_request = decisions_log.c.request == ids.event_text("evt", request)
    with ledger.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).where(of_request)) or 0


def asked_together(ledger: Ledger, request: bytes) -> list[Asked]:
    """The decisions of one request, in their order, with what has come of them."""
    return _asked(ledger, decision_requests.c.request == request)


def asked_by_id(ledger: Ledger, event_id: bytes) -> Asked | None:
    """One decision that was asked for; None: there is none."""
    found = _asked(ledger, decision_requests.c.event_id == event_id)
    return found[0] if found else None


def _asked(ledger: Ledger, condition: sa.ColumnElement[bool]) -> list[Asked]:
    columns = decision_requests.c
    asked = (
        columns.event_id,
        columns.brand,
        columns.created_ms,
        columns.action,
        columns.subject,
    )
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(*asked).where(condition).order_by(columns.request, columns.ordinal)
        ).all()
        entries = _entries(connection, [row.event_id for row in rows])
    return [Asked(*row, entries.get(row.event_id)) for row in rows]


def decision_entries(ledger: Ledger, event_ids: Iterable[bytes]) -> dict[bytes, DecisionEntry]:
    """What came of decisions, by event id; those that are not committed are absent."""
    with ledger.read() as connection:
        return _entries(connection, list(event_ids))


def _entries(connection: sa.Connection, event_ids: list[bytes]) -> dict[bytes, DecisionEntry]:
    rows = connection.execute(
        sa.select(decisions_log).where(decisions_log.c.event_id.in_(event_ids))
    )
    return {row.event_id: DecisionEntry._make(row) for row in rows}


def brand_numbers(ledger: Ledger) -> list[int]:
    """Every brand's number."""
    with ledger.read() as connection:
        return list(connection.scalars(sa.select(brands.c.id).order_by(brands.c.id)))


# ---- The matcher's side --------------------------------------------------------------------

# Positions in the engine's outcome rows.
_EVENT, _KIND = 0, 1


def confirm_decisions(connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Mark the outbox rows of a batch's decisions."""
    decided = [{"of_event": row[_EVENT]} for row in rows if row[_KIND] == Kind.DECISION]
    if decided:
        connection.execute(
            sa.update(config_outbox)
            .where(
                config_outbox.c.revision.in_(
                    sa.select(decision_requests.c.revision).where(
                        decision_requests.c.event_id == sa.bindparam("of_event")
                    )
                )
            )
            .values(committed=True),
            decided,
        )
