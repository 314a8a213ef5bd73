"""What the routes of actions, orders and clicks under review take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from headwater import limits
from headwater.console import checks
from headwater.console.event_shapes import Verdict
from headwater.console.fields import (
    Body,
    Id,
    PageQuery,
    Rule,
    Text,
    Time,
    refers,
    time_text,
)
from headwater.console.shapes import Currency
from headwater.console.terms_shapes import Amount, Items

State = Literal["pending", "approved", "reversed", "locked", "paid"]
Kind = Literal["conversion", "clicks"]
Move = Literal["approve", "reverse", "reset", "pay"]
Reason = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z][A-Za-z0-9_]{0,62}$",
        description="A reversal reason of the field, or one of the program's own.",
    ),
]
Day = Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
EventId = Annotated[str, Meta(min_length=30, max_length=30)]
OrderId = Annotated[str, Meta(min_length=1, max_length=limits.ORDER_ID_BYTES_MAX)]

_OWNERS: Final = {
    "brand_id": refers("brd"),
    "program_id": refers("prg"),
    "partner_id": refers("prt"),
    "since": Rule(time_text),
    "until": Rule(time_text),
    "pay_until": Rule(time_text),
    "day": Rule(checks.day),
    "since_day": Rule(checks.day),
    "until_day": Rule(checks.day),
}


class ActionsQuery(PageQuery):
    """Actions tracked from `since` on and before `until`, and due to be paid before `pay_until`."""

    rules: ClassVar[Mapping[str, Rule]] = _OWNERS

    program_id: Id | None = None
    partner_id: Id | None = None
    state: State | None = None
    kind: Kind | None = None
    conversion_id: EventId | None = None
    order_id: OrderId | None = None
    since: Time | None = None
    until: Time | None = None
    pay_until: Time | None = None
    test: bool | None = None


class MoveIn(Body):
    """`note` is for managers alone; partners are shown the reason."""

    reason: Reason | None = None
    note: Text | None = None


class ReverseIn(Body):
    reason: Reason
    note: Text | None = None


class ModifyIn(Body):
    """What is left of the order: `amount` of its currency, and its lines if it has any."""

    rules: ClassVar[Mapping[str, Rule]] = {"currency": Rule(checks.currency, "currency_unknown")}

    amount: Amount
    reason: Reason
    currency: Currency | None = None
    items: Items | None = None
    note: Text | None = None


class CompensateIn(Body):
    """`payout`: added to what the partner is owed, or with a minus taken off it."""

    payout: Annotated[str, Meta(pattern="^-?[0-9]{1,15}([.][0-9]{1,3})?$")]
    reason: Reason | None = None
    note: Text | None = None


class ActionsFilter(Body):
    """As the list's, of one program. `state` left out: those the move is possible for."""

    rules: ClassVar[Mapping[str, Rule]] = _OWNERS

    program_id: Id
    partner_id: Id | None = None
    state: State | None = None
    kind: Kind | None = None
    since: Time | None = None
    until: Time | None = None
    pay_until: Time | None = None


ActionIds = Annotated[list[EventId], Meta(min_length=1, max_length=limits.DECISIONS_AT_ONCE_MAX)]


class BulkIn(Body):
    """Either `action_ids` or `filter`. Each action is moved by itself."""

    parts: ClassVar[Mapping[str, type[Body]]] = {"filter": ActionsFilter}

    move: Move
    action_ids: ActionIds | None = None
    filter: ActionsFilter | None = None
    reason: Reason | None = None
    note: Text | None = None


class AttributeIn(Body):
    """`click_id`: the click of the partner that earned it, if there is one."""

    rules: ClassVar[Mapping[str, Rule]] = {"partner_id": refers("prt", "unknown_partner")}

    partner_id: Id
    click_id: EventId | None = None
    reason: Reason | None = None
    note: Text | None = None


class _OrderNamed(Body, kw_only=True):
    rules: ClassVar[Mapping[str, Rule]] = {
        "program_id": refers("prg", "unknown_program"),
        "currency": Rule(checks.currency, "currency_unknown"),
    }

    program_id: Id
    event: Text
    order_id: OrderId
    line: Annotated[str, Meta(min_length=1, max_length=limits.PARAMETER_BYTES_MAX)] = "main"
    reason: Reason
    note: Text | None = None


class OrderReverseIn(_OrderNamed, kw_only=True):
    """An order by its own id, also one that has not come yet."""


class OrderModifyIn(_OrderNamed, kw_only=True):
    """What is left of an order, also of one that has not come yet."""

    amount: Amount
    currency: Currency | None = None
    items: Items | None = None


class SettleIn(Body):
    """`until` left out: now. `brand_id` left out: every brand the key reaches."""

    rules: ClassVar[Mapping[str, Rule]] = {"brand_id": refers("brd"), "until": Rule(time_text)}

    brand_id: Id | None = None
    until: Time | None = None


# ---- Clicks under review -------------------------------------------------------------------

Standing = Literal["payable", "invalid", "duplicate", "rejected", "over_cap"]


class PendingQuery(PageQuery):
    """Clicks of days that are not locked; `day` is one of the program's time zone."""

    rules: ClassVar[Mapping[str, Rule]] = {
        **_OWNERS,
        "partner": refers("prt"),
        "program": refers("prg"),
    }

    program_id: Id | None = None
    partner_id: Id | None = None
    program: Annotated[str, Meta(description="The same as `program_id`.")] | None = None
    partner: Annotated[str, Meta(description="The same as `partner_id`.")] | None = None
    day: Day | None = None
    verdict: Verdict | None = None
    standing: Standing | None = None
    score_from: Annotated[int, Meta(ge=0, le=100)] = 0


class ClicksFilter(Body):
    """Clicks of one partner's day. Of a list any one holds; empty: all."""

    rules: ClassVar[Mapping[str, Rule]] = _OWNERS

    program_id: Id
    partner_id: Id
    day: Day
    verdict: Annotated[list[Verdict], Meta(max_length=4)] = msgspec.field(default_factory=list)
    standing: Annotated[list[Standing], Meta(max_length=5)] = msgspec.field(default_factory=list)
    score_from: Annotated[int, Meta(ge=0, le=100)] = 0


class AcceptIn(Body):
    """Either `click_ids` or `filter`."""

    parts: ClassVar[Mapping[str, type[Body]]] = {"filter": ClicksFilter}

    click_ids: ActionIds | None = None
    filter: ClicksFilter | None = None
    reason: Reason | None = None
    note: Text | None = None


class RejectIn(Body):
    """Either `click_ids` or `filter`."""

    parts: ClassVar[Mapping[str, type[Body]]] = {"filter": ClicksFilter}

    reason: Reason
    click_ids: ActionIds | None = None
    filter: ClicksFilter | None = None
    note: Text | None = None


class PayoutsQuery(PageQuery):
    """Days from `since_day` to `until_day`, both included."""

    rules: ClassVar[Mapping[str, Rule]] = _OWNERS

    program_id: Id | None = None
    partner_id: Id | None = None
    since_day: Day | None = None
    until_day: Day | None = None


class BalanceQuery(Body):
    rules: ClassVar[Mapping[str, Rule]] = _OWNERS

    brand_id: Id | None = None
    program_id: Id | None = None
    partner_id: Id | None = None


class AuditQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = {"since": Rule(time_text), "until": Rule(time_text)}

    actor: Text | None = None
    object: Text | None = None
    object_id: Text | None = None
    since: Time | None = None
    until: Time | None = None
