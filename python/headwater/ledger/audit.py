"""The audit log: who changed what, written in the transaction that makes the change.

Who asks is of the request, not of every function on the way: the console names it once, and
every write within finds it. What nobody asked for, such as a change that follows from another, is
not in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from headwater import clock, ids
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import audit_log
from headwater.model.pixels import masked

Row = Mapping[str, Any]

_actor: ContextVar[str | None] = ContextVar("headwater_actor", default=None)

_ENROLMENT: Final = "enrolment"
OBJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "brands": ("brand", "brd"),
    "domains": ("domain", "dom"),
    # The API has no id of an enrolment: it is called by its program and its partner.
    "enrolments": (_ENROLMENT, ""),
    "event_types": ("event_type", "ety"),
    "exchange_rates": ("exchange_rate", "fxr"),
    "keys": ("key", "key"),
    "links": ("link", "lnk"),
    "partners": ("partner", "prt"),
    "pixels": ("pixel", "pxl"),
    "programs": ("program", "prg"),
    "promo_codes": ("promo_code", "pmo"),
    "terms": ("terms", "trm"),
}
"""Tables of objects: what one is called, and the prefix of its id."""

SECRET: Final = frozenset(
    ("sha256", "link_salts", "shopify_secrets", "signing_salts", "email", "request_digest")
)
"""Members of which only that they changed is told."""
# URLs of partners may hold their passwords.
_MASKED: Final = frozenset(("template", "test_url"))
_OF_EVERY_WRITE: Final = frozenset(("id", "revision", "created_ms", "updated_ms", "request_digest"))


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Let what is written inside the block be noted as the doing of `actor`."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> str:
    """Who asks; `system` when nobody does."""
    return _actor.get() or "system"


def note_object(
    connection: sa.Connection, table: sa.Table, number: int, before: Row | None, after: Row
) -> None:
    """Note an object that was made (`before` None) or changed, if somebody asked for it."""
    if _actor.get() is None or table.name not in OBJECTS:
        return
    changes = [
        _change(member, None if before is None else before.get(member), after[member])
        for member in sorted(after.keys() - _OF_EVERY_WRITE)
        if before is None or before.get(member) != after[member]
    ]
    if not changes:
        return
    verb = "made" if before is None else "changed"
    if before is not None and after.get("status", before.get("status")) == "deleted":
        verb = "deleted"
    kind, prefix = OBJECTS[table.name]
    if kind == _ENROLMENT:
        pair = after if before is None else before
        program = ids.object_text("prg", pair["program_id"])
        object_id = f"{program}/{ids.object_text('prt', pair['partner_id'])}"
    else:
        object_id = ids.object_text(prefix, number)
    note(connection, [(kind, object_id, verb, changes)])


def _change(member: str, before: object, after: object) -> dict[str, Any]:
    if member in SECRET:
        before = after = None
    elif member in _MASKED:
        before, after = (each and masked(str(each)) for each in (before, after))
    return {"member": member, "before": before, "after": after}


Noted = tuple[str, str, str, Sequence[Mapping[str, Any]]]
"""Kind of object, its id, verb, changes."""


def note(connection: sa.Connection, noted: Sequence[Noted]) -> None:
    """Note what was done to objects, by whoever asks now."""
    now_ms, actor = clock.now_ms(), current_actor()
    rows = [
        {
            "at_ms": now_ms,
            "actor": actor,
            "object": kind,
            "object_id": object_id,
            "verb": verb,
            "changes": list(changes),
        }
        for kind, object_id, verb, changes in noted
    ]
    if rows:
        connection.execute(sa.insert(audit_log), rows)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; None: all."""

    actor: str | None = None
    object: str | None = None
    object_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def audit_page(
    ledger: Ledger, wanted: AuditFilter, *, before: int | None, count: int
) -> list[dict[str, Any]]:
    """Entries with numbers below `before`, the newest first."""
    columns = audit_log.c
    statement = sa.select(audit_log).order_by(columns.id.desc()).limit(count)
    if before is not None:
        statement = statement.where(columns.id < before)
    for column, value in (
        (columns.actor, wanted.actor),
        (columns.object, wanted.object),
        (columns.object_id, wanted.object_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.since_ms is not None:
        statement = statement.where(columns.at_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        statement = statement.where(columns.at_ms < wanted.until_ms)
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]
