"""From a prepared report to its answer: safe first, then decided, or said to be undecided."""

from __future__ import annotations

import asyncio
from typing import Any

from headwater import limits
from headwater.edge import journal
from headwater.edge.accept import DeadlinePassed
from headwater.edge.context import Decision, Edge
from headwater.edge.conversion import Report
from headwater.edge.memory import PENDING
from headwater.errors import JournalError, JournalFull, RequestRefused

RETRY_AFTER = {"Retry-After": "5"}
ANSWERED = {"created": 201, "repeat": 200, "merged": 200, "conflict": 409}
_NOT_EVALUATED: dict[str, Any] = {"score": 0, "verdict": "accept", "codes": ["not_evaluated"]}


def unavailable(detail: str) -> RequestRefused:
    """The event was not accepted; the sender is told when to come again."""
    return RequestRefused("unavailable", detail, headers=RETRY_AFTER)


def undecided(conversion_id: str, brand: int) -> Decision:
    """What is said of a conversion that is safe and not yet decided."""
    return {
        "conversion_id": conversion_id,
        "brand": brand,
        "status": PENDING,
        "reason": None,
        "credits": [],
        "fraud": _NOT_EVALUATED,
        "actions": [],
        "pixels": [],
    }


def submit(edge: Edge, brand: int, record: bytes) -> asyncio.Future[bool]:
    """Hand a record to the journal. Raises RequestRefused when it takes none."""
    try:
        return journal.submit(edge, brand, record)
    except JournalFull:
        raise unavailable("The buffer is full.") from None


async def safe(
    edge: Edge, future: asyncio.Future[bool], kind: str, *, repeated: bool = False
) -> bool:
    """Wait until a record is safe: True in Redis, False in the spool alone.

    `repeated`: the event was sent before under its Idempotency-Key; it is counted once. Raises
    RequestRefused when it is not safe in time, or the journal failed.
    """
    edge.event_wait.limit(future)
    try:
        in_redis = await future
    except (DeadlinePassed, JournalError, OSError, ValueError) as error:
        raise unavailable("The event could not be made safe.") from error
    if not repeated:
        edge.meters.accepted(kind)
    return in_redis


def refuse_without_ledger(edge: Edge) -> None:
    """Raise when neither Redis nor the ledger works: no conversion can be promised then."""
    if not edge.writer.redis_ok and not edge.ledger.ok:
        raise unavailable("Neither the buffer nor the ledger answers.")


async def report(
    edge: Edge, prepared: Report, *, wait: bool, repeated: bool = False
) -> tuple[int, Decision]:
    """Record a conversion and answer it: (HTTP status, decision).

    Statuses are those of the API: 201 created, 200 again, 202 not yet decided, 409 conflict.
    `repeated`: the request's Idempotency-Key came before, so that the report carries the first
    one's event id, which the engine passes over in silence. Raises RequestRefused when the report
    was not accepted.
    """
    refuse_without_ledger(edge)
    if repeated:
        found = await _stored(edge, prepared.conversion_text)
        if found is not None:
            return 200, found
    if wait and edge.waiting_decisions < limits.DECISION_WAITERS_MAX:
        answered = await _report_and_wait(edge, prepared, repeated)
        if answered is not None:
            return answered
    else:
        future = submit(edge, prepared.brand, prepared.record)
        await safe(edge, future, "conversion", repeated=repeated)
    await edge.memory.undecided([(prepared.conversion_text, prepared.brand)])
    return 202, undecided(prepared.conversion_text, prepared.brand)


async def _report_and_wait(
    edge: Edge, prepared: Report, repeated: bool
) -> tuple[int, Decision] | None:
    """Status and decision; None when the report is safe and no decision came in time."""
    # Registered first: the decision may be back before the journal's answer is looked at.
    expected = edge.hub.expect(prepared.event_id)
    edge.waiting_decisions += 1
    try:
        future = submit(edge, prepared.brand, prepared.record)
        in_redis = await safe(edge, future, "conversion", repeated=repeated)
        if not in_redis or edge.ledger.known_down:
            return None
        message = await _told(edge, expected)
        if message is not None:
            return ANSWERED.get(message["outcome"], 200), message["decision"]
        # A repeat that overtook its own first report is told nothing; what is stored answers it.
        # Any other report may be in conflict with what is stored, and is not answered by it.
        found = await _stored(edge, prepared.conversion_text) if repeated else None
        return None if found is None else (200, found)
    finally:
        edge.waiting_decisions -= 1
        edge.hub.forget(prepared.event_id)


async def _told(edge: Edge, expected: asyncio.Future[Any]) -> dict[str, Any] | None:
    """The message about an event; None when it does not come in time, or the hub gives up."""
    edge.decision_wait.limit(expected)
    try:
        message: dict[str, Any] | None = await expected
    except DeadlinePassed:
        return None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None
    return message


async def _stored(edge: Edge, conversion_id: str) -> Decision | None:
    """The decision Redis holds, if there is one and Redis answers."""
    try:
        found = await edge.hub.get(conversion_id)
    except Exception:  # noqa: BLE001 - whatever keeps Redis from answering, the event is safe
        return None
    return None if found is None or found.get("status") == PENDING else found


def fraud_for_partners(fraud: dict[str, Any]) -> dict[str, Any]:
    """The verdict alone: who knew the signals could try what gets past them."""
    return {"score": None, "verdict": fraud["verdict"], "codes": []}


def public(decision: Decision) -> dict[str, Any]:
    """A decision as it is answered."""
    return {name: value for name, value in decision.items() if name != "brand"}
