"""Actions as the management API answers them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from headwater import clock, ids
from headwater.console import money_texts
from headwater.console.views import View
from headwater.ledger.actions import History
from headwater.model.book import ActionFlag

Row = Mapping[str, Any]


class AppliedRate(View):
    """The exchange rate that was fixed at the order's time."""

    currency_from: str
    currency_to: str
    numerator: int
    denominator: int
    source: str
    date: str


class Action(View):
    """The payable result of a conversion for one partner, or of a partner's clicks of a day.

    `amount` is what is left of `order_amount`, `revenue` the partner's part of it in
    `payout_currency`. `payout_exact` has what clicks add up to below a minor unit. `compensated`
    was added, or taken off, after the lock. `held`: it waits for a person's approval. `rule` is
    what of the terms pays; a partner is not told the number of a group.
    """

    id: str
    program_id: str
    partner_id: str
    event_type_id: str
    kind: str
    conversion_id: str | None
    click_id: str | None
    day: str | None
    order_id: str | None
    line: str
    state: str
    original_state: str
    reason: str | None
    held: bool
    test: bool
    over_cap: bool
    instant: bool
    manual: bool
    tracked_at: str
    lock_at: str
    locked_at: str | None
    pay_at: str | None
    currency: str
    order_amount: str
    amount: str
    payout_currency: str
    revenue: str
    payout: str
    payout_exact: str
    compensated: str
    rate: AppliedRate | None
    terms_id: str | None
    terms_version: int | None
    rule: str
    share_ppm: int


class Move(View):
    """One step of an action's life. `cause_id` is what of the log gave rise to it; `note` and who
    exactly the `actor` was are told to managers alone.
    """

    revision: int
    at: str
    verb: str
    state_before: str | None
    state: str
    reason: str | None
    note: str | None
    actor: str
    cause_id: str
    payout: str


class Item(View):
    sku: str
    category: str
    quantity: int
    subtotal: str
    payout: str


class Entry(View):
    """One line of the double-entry book: an even one and the next sum to zero."""

    revision: int
    ordinal: int
    account: str
    at: str
    currency: str
    amount: str
    cause_id: str


class ActionHistory(Action, kw_only=True):
    moves: list[Move]
    items: list[Item]
    entries: list[Entry]


def _event(prefix: str, raw: bytes | None) -> str | None:
    return None if raw is None else ids.event_text(prefix, raw)


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else clock.iso_ms(at_ms)


def _members(row: Row, *, for_partner: bool) -> dict[str, Any]:
    flags = ActionFlag(row["flags"])
    currency, paid_in = row["currency"], row["payout_currency"]
    rate = json.loads(row["rate_json"])
    return {
        "id": ids.event_text("act", row["action_id"]),
        "program_id": ids.object_text("prg", row["program"]),
        "partner_id": ids.object_text("prt", row["partner"]),
        "event_type_id": ids.object_text("ety", row["event_type"]),
        "kind": row["kind"],
        "conversion_id": _event("cnv", row["conversion_id"]),
        "click_id": _event("clk", row["click_id"]),
        "day": row["click_day"],
        "order_id": row["order_id"],
        "line": row["line"],
        "state": row["state"],
        "original_state": row["original_state"],
        "reason": row["reason"],
        "held": bool(flags & ActionFlag.HELD) and row["state"] == "pending",
        "test": bool(flags & ActionFlag.TEST),
        "over_cap": bool(flags & ActionFlag.OVER_CAP),
        "instant": bool(flags & ActionFlag.INSTANT),
        "manual": bool(flags & ActionFlag.MANUAL),
        "tracked_at": clock.iso_ms(row["tracked_ms"]),
        "lock_at": clock.iso_ms(row["lock_ms"]),
        "locked_at": _time(row["locked_ms"]),
        "pay_at": _time(row["pay_ms"]),
        "currency": currency,
        "order_amount": money_texts.text(row["order_minor"], currency),
        "amount": money_texts.text(row["left_minor"], currency),
        "payout_currency": paid_in,
        "revenue": money_texts.text(row["revenue_minor"], paid_in),
        "payout": money_texts.text(row["payout_minor"], paid_in),
        "payout_exact": money_texts.micros_text(row["payout_micros"], paid_in),
        "compensated": money_texts.text(row["compensated_minor"], paid_in),
        "rate": AppliedRate(**rate) if rate else None,
        "terms_id": ids.object_text("trm", row["terms"]) if row["terms"] else None,
        "terms_version": row["terms_version"] or None,
        "rule": _unnumbered(row["rule"]) if for_partner else row["rule"],
        "share_ppm": row["share_ppm"],
    }


_GROUP: Final = re.compile(r"groups\.\d+")


def _unnumbered(rule: str) -> str:
    """A rule as a partner is told of it: the number would count groups that are for others."""
    told = [
        "+".join(dict.fromkeys(_GROUP.sub("groups", part).split("+"))) for part in rule.split(", ")
    ]
    return ", ".join(dict.fromkeys(told))


def action(row: Row, *, for_partner: bool = False) -> Action:
    return Action(**_members(row, for_partner=for_partner))


def history(found: History, *, for_partner: bool) -> ActionHistory:
    row = found.action
    currency, paid_in = row["currency"], row["payout_currency"]
    return ActionHistory(
        **_members(row, for_partner=for_partner),
        moves=[_move(move, paid_in, for_partner=for_partner) for move in found.moves],
        items=[
            Item(
                sku=item["sku"],
                category=item["category"],
                quantity=item["quantity"],
                subtotal=money_texts.text(item["subtotal_minor"], currency),
                payout=money_texts.text(item["payout_minor"], paid_in),
            )
            for item in found.items
        ],
        entries=[
            Entry(
                revision=entry["revision"],
                ordinal=entry["ordinal"],
                account=entry["account"],
                at=clock.iso_ms(entry["at_ms"]),
                currency=entry["currency"],
                amount=money_texts.text(entry["amount_minor"], entry["currency"]),
                cause_id=ids.event_text("evt", entry["cause"]),
            )
            for entry in found.entries
        ],
    )


_SYSTEM = ("system", "shopify", "settle")


def _move(move: Row, currency: str, *, for_partner: bool) -> Move:
    actor = move["actor"]
    if for_partner and actor not in _SYSTEM:
        actor = "manager"
    return Move(
        revision=move["revision"],
        at=clock.iso_ms(move["at_ms"]),
        verb=move["verb"],
        state_before=move["state_before"] or None,
        state=move["state"],
        reason=move["reason"],
        note=None if for_partner else move["note"] or None,
        actor=actor,
        cause_id=ids.event_text("evt", move["cause"]),
        payout=money_texts.text(move["payout_minor"], currency),
    )
