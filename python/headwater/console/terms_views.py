"""Terms, exchange rates and settings of money as the management API answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from headwater import clock, ids
from headwater.console.views import Object, View, object_base

Row = Mapping[str, Any]


class Terms(Object, kw_only=True):
    """One version of the terms of a program, or of one partner's own. `partner_id` null: of every
    partner without terms of its own. `state`: `scheduled`, `begun`, or `over`; of several of one
    owner that have begun the last one counts. Event types are named by their ids.
    """

    program_id: str
    partner_id: str | None
    version: int
    state: str
    starts_at: str
    ends_at: str | None
    currency: str
    window_seconds: int | None
    locking: dict[str, Any]
    payment: dict[str, Any]
    change_notice_days: int
    reversal_max_ppm: int
    cpc_mode: str
    approve: str
    events: dict[str, Any]
    caps: list[dict[str, Any]]


class Rate(Object, kw_only=True):
    """Units of `currency_to` for one unit of `currency_from`."""

    brand_id: str
    currency_from: str
    currency_to: str
    rate: str
    source: str
    date: str
    starts_at: str


class ReversalReason(View):
    code: str
    meaning: str
    is_own: bool


class MoneySettings(View):
    """`reversal_reasons`: all that may be given, the program's own last."""

    program_id: str
    reversal_reasons: list[ReversalReason]
    warnings: list[str] | UnsetType = UNSET


class PreviewLine(View):
    """What one item would pay; `item` is its place in the order, null: the order as a whole."""

    item: int | None
    rule: str
    payout: str


class Preview(View):
    """`terms_id` null: those of the request, or none are in force. `reason`: why it would pay
    nothing though the terms pay something.
    """

    terms_id: str | None
    version: int | None
    currency: str
    order_amount: str
    payout: str
    rule: str
    reason: str | None
    lines: list[PreviewLine]
    lock_at: str | None
    pay_at: str | None
    warnings: list[str] | UnsetType = UNSET


def terms(row: Row, told: Row, state: str, warnings: Sequence[str] | UnsetType = UNSET) -> Terms:
    """`told`: its control value under the API's names of event types."""
    names = (
        "currency",
        "window_seconds",
        "locking",
        "payment",
        "change_notice_days",
        "reversal_max_ppm",
        "cpc_mode",
        "approve",
        "events",
        "caps",
    )
    return Terms(
        **object_base("trm", row, warnings),
        program_id=ids.object_text("prg", row["program_id"]),
        partner_id=ids.object_text("prt", row["partner_id"]) if row["partner_id"] else None,
        version=row["version"],
        state=state,
        starts_at=clock.iso_ms(row["from_ms"]),
        ends_at=None if told["until_ms"] is None else clock.iso_ms(told["until_ms"]),
        **{name: told[name] for name in names},
    )


def rate(row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> Rate:
    return Rate(
        **object_base("fxr", row, warnings),
        brand_id=ids.object_text("brd", row["brand_id"]),
        currency_from=row["currency_from"],
        currency_to=row["currency_to"],
        rate=row["rate"],
        source=row["source"],
        date=row["date"],
        starts_at=clock.iso_ms(row["from_ms"]),
    )
