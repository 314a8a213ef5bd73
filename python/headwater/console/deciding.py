"""Asking the book: a decision is a record on the log, and its outcome is waited for a while."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from headwater import clock, ids, limits
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found
from headwater.console.own_links import reach_of
from headwater.console.views import View
from headwater.errors import FieldFault, RequestRefused
from headwater.ledger import deciding
from headwater.ledger.deciding import Asked, RequestKey
from headwater.model.book import DecisionEntry
from headwater.model.reasons import REASONS
from headwater.model.records import DecisionBody

PENDING = "pending"
REFUSED = "refused"
_CONFLICT = 409


class Wanted(NamedTuple):
    """One decision to ask for."""

    brand: int
    action: str
    subject: bytes
    params: dict[str, str]


class Decision(View):
    """A decision on its way. `status`: `pending` until the book has come to it; then `applied`,
    `refused` with the `code` why, or `waiting` for an order that has not come yet.
    """

    id: str
    status: str
    code: str | None
    decision: str
    subject_id: str
    at: str
    detail: dict[str, Any]


def view(asked: Asked) -> Decision:
    entry = asked.entry
    return Decision(
        id=ids.event_text("evt", asked.event_id),
        status=PENDING if entry is None else entry.outcome,
        code=None if entry is None else entry.code,
        decision=asked.action,
        subject_id=deciding.subject_text(asked.brand, asked.action, asked.subject),
        at=clock.iso_ms(asked.created_ms if entry is None else entry.at_ms),
        detail={} if entry is None else json.loads(entry.detail_json),
    )


async def read_decision(console: Console, request: Request) -> Answer:
    """A decision by its id, if the key reaches its brand. Partners are told of none."""
    asked = await console.run(deciding.asked_by_id, console.ledger, request.event("evt"))
    if asked is None or reach_of(request).brand not in (None, asked.brand):
        raise not_found()
    return Answer(view(asked))


async def decided(console: Console, request: Request, wanted: Sequence[Wanted]) -> list[Asked]:
    """What came of decisions, in their order; of those that take longer nothing yet.

    They are on their way for good once this is called, also when nobody waits any more. Raises
    RequestRefused `idempotency_conflict`.
    """
    bodies = [(each.brand, DecisionBody(each.action, each.subject, each.params)) for each in wanted]
    requested = await console.run(
        deciding.request_decisions, console.ledger, bodies, key=_key(request)
    )
    if not requested:
        return []
    deadline_s = clock.monotonic_s() + console.read_wait_ms / 1000
    await console.publisher.wait(requested[-1].revision, console.read_wait_ms / 1000)
    request_id = requested[0].request
    while await console.run(deciding.come_to, console.ledger, request_id) < len(requested):
        if clock.monotonic_s() >= deadline_s:
            break
        await asyncio.sleep(limits.READ_POLL_MS / 1000)
    return await console.run(deciding.asked_together, console.ledger, request_id)


def _key(request: Request) -> RequestKey | None:
    if request.idempotency_key is None:
        return None
    if request.key is None:
        raise AssertionError("the route asks for a key")
    name = [str(request.key["id"]), request.target, request.idempotency_key]
    return RequestKey(_digest(name), _digest([type(request.body).__name__, request.body]))


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(value), digest_size=16).digest()


def require_applied(asked: Asked) -> DecisionEntry | None:
    """The outcome; None when there is none yet. Raises RequestRefused when it was refused."""
    entry = asked.entry
    if entry is not None and entry.outcome == REFUSED:
        raise refusal(entry)
    return entry


def refusal(entry: DecisionEntry) -> RequestRefused:
    """Why the book refused, as a request is refused."""
    code = entry.code or "illegal_move"
    detail = json.loads(entry.detail_json)
    faults: tuple[FieldFault, ...] = ()
    if "field" in detail:
        faults = (FieldFault(str(detail["field"]), code, REASONS[code].meaning),)
    extra = {"state": detail["state"]} if "state" in detail else {}
    return RequestRefused(code, status=status_of(code), faults=faults, extra=extra)


def status_of(code: str) -> int:
    """The HTTP status of a refused decision: a code that refuses no request is a conflict."""
    reason = REASONS.get(code)
    return reason.status if reason and reason.status else _CONFLICT


def outcome_of(asked: Asked | None) -> tuple[int, str | None]:
    """Status and code of one of many, as it would have been answered alone; None: it is not there,
    or not the caller's.
    """
    if asked is None:
        return 404, "not_found"
    if asked.entry is None or asked.entry.outcome == "waiting":
        return 202, None
    code = asked.entry.code
    return (200, None) if code is None else (status_of(code), code)


def taken(asked: Asked) -> Answer:
    """202: it is on its way, and can be looked at."""
    told = view(asked)
    return Answer(told, 202, {"Location": f"/v1/decisions/{told.id}"})


def texts(**params: str | int | None) -> dict[str, str]:
    """The parameters of a decision: those that are given, as texts."""
    return {name: str(value) for name, value in params.items() if value is not None}
