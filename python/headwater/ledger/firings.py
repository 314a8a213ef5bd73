"""The courier's side of the ledger: what is due, who sends it, what came of it.

A claim is a firing's own due time, set to when the claim ends: a courier that dies between the
request and its record leaves the firing due again, under the same event id. Results and claims
of one moment go in one transaction, as SQLite has one writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from headwater import ids, limits
from headwater.ledger import audit
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import (
    enrolments,
    firing_attempts,
    firings,
    partners,
    pixel_endpoints,
    pixels,
)

WAITING, DELIVERED, DEAD, CLIENT = "waiting", "delivered", "dead", "client"
_ACTIVE: Final = "active"
# Pixels with something due that are looked at in one turn.
_PIXELS_AT_ONCE: Final = 500


class Due(NamedTuple):
    """A pixel with firings that are due, and how deliveries to it go."""

    pixel: int
    partner: int
    failures: int
    is_off: bool
    """Disabled by its server's answers, or not active any more."""


class Claimed(NamedTuple):
    """A firing to be sent now."""

    event_id: bytes
    pixel: int
    partner: int
    url: str
    attempts: int
    """Made so far."""
    attempts_before: int
    """Those that count no more: they were before a person had it sent again."""
    at_ms: int
    salts: tuple[str, ...]
    """Of the secrets it is signed under."""


class Result(NamedTuple):
    """What came of one attempt."""

    firing: Claimed
    at_ms: int
    url: str
    """With secrets masked."""
    status: int | None
    latency_ms: int
    answer: bytes
    outcome: str
    code: str
    due_ms: int | None
    """When it is tried again; None: not any more."""
    is_breaker: bool
    """The pixel's server did not answer, or said that it cannot: it counts for the breaker."""


class Disabled(NamedTuple):
    """A pixel that a result disabled."""

    pixel: int
    code: str


class Exchange(NamedTuple):
    claimed: list[Claimed]
    disabled: list[Disabled]


# ---- What is due -----------------------------------------------------------------------------


def due_pixels(ledger: Ledger, now_ms: int, after: int = 0) -> list[Due]:
    """Pixels above a number that have firings due and may be sent to, in their order.

    Steps through the index from pixel to pixel: a million firings of one pixel cost one step.
    """
    column = firings.c
    is_waiting = column.state == WAITING
    step = sa.select(sa.func.min(column.pixel).label("pixel")).where(
        is_waiting, column.pixel > after
    )
    found = step.cte("found", recursive=True)
    following = (
        sa.select(sa.func.min(column.pixel))
        .where(is_waiting, column.pixel > found.c.pixel)
        .scalar_subquery()
    )
    found = found.union_all(sa.select(following).where(found.c.pixel.is_not(None)))
    first_due = (
        sa.select(sa.func.min(column.due_ms))
        .where(is_waiting, column.pixel == found.c.pixel)
        .scalar_subquery()
    )
    partner = (
        sa.select(column.partner)
        .where(is_waiting, column.pixel == found.c.pixel)
        .limit(1)
        .scalar_subquery()
    )
    endpoint = pixel_endpoints.c
    statement = (
        sa.select(
            found.c.pixel,
            partner,
            sa.func.coalesce(endpoint.failures, 0),
            endpoint.disabled_ms.is_not(None)
            | (sa.func.coalesce(pixels.c.status, _ACTIVE) != _ACTIVE),
        )
        .select_from(found)
        .outerjoin(pixel_endpoints, endpoint.pixel == found.c.pixel)
        .outerjoin(pixels, pixels.c.id == found.c.pixel)
        .where(
            found.c.pixel.is_not(None),
            first_due <= now_ms,
            sa.func.coalesce(endpoint.open_until_ms, 0) <= now_ms,
        )
        .limit(_PIXELS_AT_ONCE)
    )
    with ledger.read() as connection:
        rows = connection.execute(statement)
        return [Due(row[0], row[1], row[2], bool(row[3])) for row in rows]


def exchange(
    ledger: Ledger,
    now_ms: int,
    results: Sequence[Result],
    wanted: Mapping[int, int],
    off: Iterable[int] = (),
) -> Exchange:
    """Record results, give up what waits for pixels that are `off` or for a partner that has left
    the program, and claim up to so many firings of each pixel of `wanted`. One transaction of a
    few statements: the matcher waits for it to end.
    """
    found, left = _claimable(ledger, now_ms, wanted)
    with ledger.write() as connection:
        disabled = _record(connection, results)
        for pixel in off:
            _give_up(connection, pixel, now_ms)
        _give_up_left(connection, left, now_ms)
        taken = _claim(connection, now_ms, list(found))
    return Exchange([found[event_id] for event_id in found if event_id in taken], disabled)


def _claimable(
    ledger: Ledger, now_ms: int, wanted: Mapping[int, int]
) -> tuple[dict[bytes, Claimed], list[bytes]]:
    """What may be claimed, by event id, if nobody else does; and what is of a partner that is not
    in the program any more.
    """
    column, is_in = firings.c, _is_in_program()
    found: dict[bytes, Claimed] = {}
    left: list[bytes] = []
    with ledger.read() as connection:
        for pixel, room in wanted.items():
            rows = connection.execute(
                sa.select(firings, pixels.c.signing_salts, is_in.label("is_in"))
                .outerjoin(pixels, pixels.c.id == column.pixel)
                .outerjoin(partners, partners.c.id == column.partner)
                .outerjoin(
                    enrolments,
                    (enrolments.c.program_id == column.program)
                    & (enrolments.c.partner_id == column.partner),
                )
                .where(column.state == WAITING, column.pixel == pixel, column.due_ms <= now_ms)
                .order_by(column.due_ms)
                .limit(room)
            )
            for row in rows:
                if not row.is_in:
                    left.append(row.event_id)
                    continue
                found[row.event_id] = Claimed(
                    row.event_id,
                    row.pixel,
                    row.partner,
                    row.url,
                    row.attempts,
                    row.attempts_before,
                    row.at_ms,
                    tuple(row.signing_salts or ()),
                )
    return found, left


def _is_in_program() -> sa.ColumnElement[bool]:
    return sa.and_(
        sa.func.coalesce(enrolments.c.status, _ACTIVE) == _ACTIVE,
        sa.func.coalesce(partners.c.status, _ACTIVE) == _ACTIVE,
    )


def _claim(connection: sa.Connection, now_ms: int, event_ids: Sequence[bytes]) -> set[bytes]:
    """Claim those of the firings that are still to be had."""
    if not event_ids:
        return set()
    column = firings.c
    rows = connection.execute(
        sa.update(firings)
        .where(column.event_id.in_(event_ids), column.state == WAITING, column.due_ms <= now_ms)
        .values(due_ms=now_ms + limits.DELIVERY_CLAIM_MS)
        .returning(column.event_id)
    )
    return set(rows.scalars())


def _give_up(connection: sa.Connection, pixel: int, now_ms: int) -> None:
    """Firings of a pixel that is disabled are dead without an attempt; a part at a time."""
    column = firings.c
    due = (
        sa.select(column.event_id)
        .where(column.state == WAITING, column.pixel == pixel, column.due_ms <= now_ms)
        .order_by(column.due_ms)
        .limit(limits.TRANSACTION_ROWS_MAX)
    )
    connection.execute(
        sa.update(firings)
        .where(column.event_id.in_(due))
        .values(state=DEAD, code="endpoint_disabled")
    )


def _give_up_left(connection: sa.Connection, event_ids: Sequence[bytes], now_ms: int) -> None:
    """What waits for a partner that left is dead without an attempt."""
    if event_ids:
        column = firings.c
        connection.execute(
            sa.update(firings)
            .where(column.event_id.in_(event_ids), column.state == WAITING, column.due_ms <= now_ms)
            .values(state=DEAD, code="partner_inactive")
        )


# ---- What came of it -------------------------------------------------------------------------


def _record(connection: sa.Connection, results: Sequence[Result]) -> list[Disabled]:
    # A claim that ended before its record came may have been sent, and recorded, again.
    column = firings.c
    events = [result.firing.event_id for result in results]
    rows = connection.execute(
        sa.select(column.event_id, column.attempts).where(
            column.event_id.in_(events), column.state == WAITING
        )
    )
    made = {row[0]: row[1] for row in rows}
    # Each event once: two results of one attempt may come together.
    taken = [
        each for each in results if made.pop(each.firing.event_id, None) == each.firing.attempts
    ]
    if not taken:
        return []
    connection.execute(
        sa.update(firings)
        .where(column.event_id == sa.bindparam("of_event"))
        .values({name: sa.bindparam(name) for name in ("state", "attempts", "due_ms", "code")}),
        [_firing_after(result) for result in taken],
    )
    connection.execute(sa.insert(firing_attempts), [_attempt(result) for result in taken])
    return _note_endpoints(connection, taken)


def _firing_after(result: Result) -> dict[str, Any]:
    state = WAITING
    if result.due_ms is None:
        state = DELIVERED if result.code == "delivered" else DEAD
    return {
        "of_event": result.firing.event_id,
        "state": state,
        "attempts": result.firing.attempts + 1,
        "due_ms": result.due_ms or result.at_ms,
        "code": result.code,
    }


def _attempt(result: Result) -> dict[str, Any]:
    return {
        "event_id": result.firing.event_id,
        "attempt": result.firing.attempts + 1,
        "at_ms": result.at_ms,
        "url": result.url,
        "status": result.status,
        "latency_ms": result.latency_ms,
        "answer": result.answer,
        "outcome": result.outcome,
        "code": result.code,
    }


_FRESH: Final = {
    "failures": 0,
    "failing_since_ms": None,
    "open_until_ms": 0,
    "disabled_ms": None,
    "disabled_code": None,
    "delivered_count": 0,
    "failed_count": 0,
    "last_ms": 0,
}


def _note_endpoints(connection: sa.Connection, results: Sequence[Result]) -> list[Disabled]:
    """Bring the pixels' states up to results, in their order; those that are disabled by it."""
    column = pixel_endpoints.c
    rows = connection.execute(
        sa.select(pixel_endpoints).where(column.pixel.in_({each.firing.pixel for each in results}))
    ).mappings()
    known: dict[int, dict[str, Any]] = {row["pixel"]: dict(row) for row in rows}
    states: dict[int, dict[str, Any]] = {}
    disabled = []
    for result in results:
        pixel = result.firing.pixel
        state = states.get(pixel) or known.get(pixel) or {"pixel": pixel, **_FRESH}
        states[pixel] = {**state, **_after(state, result)}
        code = states[pixel]["disabled_code"]
        if code is not None and state["disabled_ms"] is None:
            disabled.append(Disabled(pixel, code))
            audit.note(connection, [_audited(pixel, "disable", None, code)])
    fresh = [state for pixel, state in states.items() if pixel not in known]
    if fresh:
        connection.execute(sa.insert(pixel_endpoints), fresh)
    changed = [{**state, "of_pixel": pixel} for pixel, state in states.items() if pixel in known]
    if changed:
        connection.execute(
            sa.update(pixel_endpoints)
            .where(column.pixel == sa.bindparam("of_pixel"))
            .values({name: sa.bindparam(name) for name in _FRESH}),
            changed,
        )
    return disabled


def _after(state: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """The members of a pixel's state that a result changes."""
    at_ms = result.at_ms
    if result.code == "delivered":
        return {
            "failures": 0,
            "failing_since_ms": None,
            "open_until_ms": 0,
            "delivered_count": state["delivered_count"] + 1,
            "last_ms": at_ms,
        }
    failures = state["failures"] + 1
    since_ms = state["failing_since_ms"] if state["failing_since_ms"] is not None else at_ms
    changed = {
        "failures": failures,
        "failing_since_ms": since_ms,
        "failed_count": state["failed_count"] + 1,
        "last_ms": at_ms,
    }
    if result.is_breaker and failures >= limits.BREAKER_FAILURES:
        # The exponent is bounded, as the figure is.
        doubled = limits.BREAKER_OPEN_MS << min(failures - limits.BREAKER_FAILURES, 10)
        changed["open_until_ms"] = at_ms + min(doubled, limits.BREAKER_OPEN_MS_MAX)
    is_failing = failures >= limits.DISABLE_FAILURES and at_ms - since_ms >= limits.DISABLE_AFTER_MS
    if result.code == "gone" or is_failing:
        changed["disabled_ms"] = at_ms
        changed["disabled_code"] = "gone" if result.code == "gone" else "failing"
    return changed


# ---- What people ask -------------------------------------------------------------------------


def resend(ledger: Ledger, event_id: bytes, now_ms: int) -> bool:
    """Send a dead or delivered firing again, under its own id and with its whole schedule; False
    when there is none, or it waits already, or it is the browser's.
    """
    column = firings.c
    with ledger.write() as connection:
        changed = connection.execute(
            sa.update(firings)
            .where(column.event_id == event_id, column.state.in_((DEAD, DELIVERED)))
            .values(
                state=WAITING,
                due_ms=now_ms,
                # The age of a firing counts from then on.
                at_ms=now_ms,
                attempts_before=column.attempts,
                code=None,
            )
        )
        if changed.rowcount == 0:
            return False
        audit.note(connection, [("firing", ids.event_text("evt", event_id), "resend", [])])
        return True


def enable(ledger: Ledger, pixel: int) -> bool:
    """Take up deliveries to a pixel that was disabled; False when it is not disabled."""
    column = pixel_endpoints.c
    with ledger.write() as connection:
        code = connection.scalar(
            sa.select(column.disabled_code).where(
                column.pixel == pixel, column.disabled_ms.is_not(None)
            )
        )
        if code is None:
            return False
        connection.execute(
            sa.update(pixel_endpoints)
            .where(column.pixel == pixel)
            .values(
                failures=0,
                failing_since_ms=None,
                open_until_ms=0,
                disabled_ms=None,
                disabled_code=None,
            )
        )
        audit.note(connection, [_audited(pixel, "enable", code, None)])
        return True


def _audited(pixel: int, verb: str, before: str | None, after: str | None) -> audit.Noted:
    change = {"member": "disabled", "before": before, "after": after}
    return "pixel", ids.object_text("pxl", pixel), verb, [change]


def disabled_pixels(ledger: Ledger) -> list[tuple[int, str]]:
    """Pixels nothing is sent to any more, and why: `gone` or `failing`."""
    column = pixel_endpoints.c
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(column.pixel, column.disabled_code)
            .where(column.disabled_ms.is_not(None))
            .order_by(column.pixel)
            .limit(limits.PAGE_ROWS_MAX)
        )
        return [(row[0], row[1]) for row in rows]


def backlog(ledger: Ledger, now_ms: int) -> tuple[int, int]:
    """Firings that wait, and the age in milliseconds of the one that is overdue longest."""
    column = firings.c
    with ledger.read() as connection:
        row = connection.execute(
            sa.select(sa.func.count(), sa.func.min(column.due_ms)).where(column.state == WAITING)
        ).one()
        return row[0], max(0, now_ms - row[1]) if row[1] is not None else 0
