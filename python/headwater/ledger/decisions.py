"""A conversion's decision as edges answer it: the same from an outcome and from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from headwater import ids, limits
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import actions, conversions, credit_shares
from headwater.model import fraud
from headwater.model.book import Action
from headwater.model.currency import decimal_text

Credit = tuple[int, bytes | None, int]
"""Partner number, click id (None: a promo code's use), share in parts per million."""

Scored = tuple[str, int, bytes]
"""Verdict, score, and the bytes of what was found."""

_COLUMNS: Final = (
    conversions.c.conversion_id,
    conversions.c.brand,
    conversions.c.accept_ms,
    conversions.c.status,
    conversions.c.reason,
    conversions.c.verdict,
    conversions.c.score,
    conversions.c.fraud,
)


def decision(
    conversion_id: bytes,
    brand: int,
    status: str,
    reason: str | None,
    credits_given: Iterable[Sequence[Any]],
    scored: Scored,
    actions_of: Iterable[Action] = (),
) -> dict[str, Any]:
    """The map that is stored in Redis, published to the waiting edge, and answered from.

    `credits_given` are (partner number, click id, share_ppm) rows. Ids are texts, but `brand`,
    which never leaves the deployment, is a number. What is only in shadow is not told.
    """
    verdict, score, findings = scored
    return {
        "conversion_id": ids.event_text("cnv", conversion_id),
        "status": status,
        "reason": reason,
        "credits": [
            {
                "partner_id": ids.object_text("prt", partner),
                "click_id": None if click_id is None else ids.event_text("clk", click_id),
                "share_ppm": share_ppm,
            }
            for partner, click_id, share_ppm in credits_given
        ],
        "fraud": {"score": score, "verdict": verdict, "codes": fraud.codes(findings)},
        "actions": [_action(action) for action in actions_of],
        "pixels": [],
        "brand": brand,
    }


def _action(action: Action) -> dict[str, Any]:
    return {
        "action_id": ids.event_text("act", action.action_id),
        "partner_id": ids.object_text("prt", action.partner),
        "state": action.state,
        "reason": action.reason,
        "payout": decimal_text(action.payout_minor, action.payout_currency),
        "currency": action.payout_currency,
    }


def decision_by_id(ledger: Ledger, conversion_id: bytes) -> dict[str, Any] | None:
    """The newest decision of one conversion; None when the ledger has none."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(*_COLUMNS).where(conversions.c.conversion_id == conversion_id)
        ).all()
        found = _decisions(connection, rows)
    return found[0] if found else None


def recent_decisions(ledger: Ledger, since_ms: int) -> Iterator[dict[str, Any]]:
    """Decisions of conversions accepted since a time, oldest first.

    For filling Redis again after it lost what it held. Reads a page at a time, so that no long
    read keeps the WAL from being folded in.
    """
    position = sa.tuple_(conversions.c.accept_ms, conversions.c.conversion_id)
    after: tuple[int, bytes] = (since_ms, b"")
    while True:
        page = (
            sa.select(*_COLUMNS)
            .where(position > sa.tuple_(*after))
            .order_by(conversions.c.accept_ms, conversions.c.conversion_id)
            .limit(limits.PAGE_ROWS_MAX)
        )
        with ledger.read() as connection:
            rows = connection.execute(page).all()
            found = _decisions(connection, rows)
        yield from found
        if len(rows) < limits.PAGE_ROWS_MAX:
            return
        after = (rows[-1].accept_ms, rows[-1].conversion_id)


def _decisions(
    connection: sa.Connection, rows: Sequence[sa.Row[*tuple[Any, ...]]]
) -> list[dict[str, Any]]:
    found = [row.conversion_id for row in rows]
    given, made = credits_of(connection, found), actions_of(connection, found)
    return [
        decision(
            row.conversion_id,
            row.brand,
            row.status,
            row.reason,
            given[row.conversion_id],
            (row.verdict, row.score, row.fraud),
            made.get(row.conversion_id, ()),
        )
        for row in rows
    ]


def actions_of(
    connection: sa.Connection, conversion_ids: Sequence[bytes]
) -> dict[bytes, list[Action]]:
    """The actions of each conversion, by their ids; those with none are left out."""
    made: dict[bytes, list[Action]] = {}
    if conversion_ids:
        rows = connection.execute(
            sa.select(actions)
            .where(actions.c.conversion_id.in_(conversion_ids))
            .order_by(actions.c.action_id)
        )
        for row in rows:
            made.setdefault(row.conversion_id, []).append(Action._make(row))
    return made


def credits_of(
    connection: sa.Connection, conversion_ids: Sequence[bytes]
) -> dict[bytes, list[Credit]]:
    """The credits of each conversion, in their order; an empty list where none was given."""
    given: dict[bytes, list[Credit]] = {conversion_id: [] for conversion_id in conversion_ids}
    if given:
        rows = connection.execute(
            sa.select(credit_shares)
            .where(credit_shares.c.conversion_id.in_(list(given)))
            .order_by(credit_shares.c.conversion_id, credit_shares.c.ordinal)
        )
        for row in rows:
            given[row.conversion_id].append((row.partner, row.click_id, row.share_ppm))
    return given
