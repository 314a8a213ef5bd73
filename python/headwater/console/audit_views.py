"""The route of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater import clock, ids
from headwater.console import paging
from headwater.console.action_shapes import AuditQuery
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.views import View
from headwater.ledger import audit


class AuditChange(View):
    """Of a secret, and of an address, both are null: only that it changed is told."""

    member: str
    before: Any
    after: Any


class AuditEntry(View):
    """One change that was asked for. `actor` is the id of an API key, or what of the system did it.

    `verb`: made, changed, deleted; of a decision, what was decided.
    """

    id: str
    at: str
    actor: str
    object: str
    object_id: str
    verb: str
    changes: list[AuditChange]


async def list_audit(console: Console, request: Request) -> Answer:
    query: AuditQuery = request.query
    wanted = audit.AuditFilter(
        actor=query.actor,
        object=query.object,
        object_id=query.object_id,
        since_ms=None if query.since is None else clock.parse_iso_ms(query.since),
        until_ms=None if query.until is None else clock.parse_iso_ms(query.until),
    )
    rows = await console.run(
        audit.audit_page,
        console.ledger,
        wanted,
        before=paging.decode(query.cursor, int),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, _entry, paging.by_number))


def _entry(row: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=ids.object_text("aud", row["id"]),
        at=clock.iso_ms(row["at_ms"]),
        actor=row["actor"],
        object=row["object"],
        object_id=row["object_id"],
        verb=row["verb"],
        changes=[AuditChange(**change) for change in row["changes"]],
    )
