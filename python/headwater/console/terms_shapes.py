"""What the routes of terms, exchange rates and money settings take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from headwater import limits
from headwater.book.money import rate_parts
from headwater.book.reasons import REVERSAL_REASONS
from headwater.console import checks
from headwater.console.fields import (
    Body,
    ExternalId,
    Id,
    PageQuery,
    Rule,
    Text,
    Time,
    refers,
    time_text,
)
from headwater.console.shapes import Country, Currency, Window

CpcMode = Literal["review", "instant"]
Approve = Literal["automatic", "manual"]
Locking = Annotated[
    dict[str, Any],
    Meta(
        description='`{"kind": "month_end", "months", "days"}`, `{"kind": "tracked", "days"}`, ...'
    ),
]
Payment = Annotated[
    dict[str, Any], Meta(description="`{months, days}` after the end of the month of the lock.")
]
Events = Annotated[
    dict[str, Any],
    Meta(description="By event type, its code or its id: `{groups, default, tiers}`."),
]
Caps = Annotated[
    list[dict[str, Any]],
    Meta(description="`{metric, period, scope, limit, event_type}` each."),
]
NoticeDays = Annotated[int, Meta(ge=0, le=limits.CHANGE_NOTICE_DAYS_MAX)]
Share = Annotated[int, Meta(ge=0, le=1_000_000)]
Amount = Annotated[
    str | int | float,
    Meta(description="A decimal number, as a text or as a number, of units of the currency."),
]

_TERMS_RULES: Final = {
    "partner_id": refers("prt", "unknown_partner"),
    "starts_at": Rule(time_text),
    "ends_at": Rule(time_text),
    "currency": Rule(checks.currency, "currency_unknown"),
}


class TermsIn(Body):
    """A member that is not known is refused: a misspelled one would be money.

    `partner_id` left out: for every partner without terms of its own. `starts_at` left out: as
    early as may be, which is now, or as soon as the notice that was promised is over.
    """

    rules: ClassVar[Mapping[str, Rule]] = _TERMS_RULES
    is_closed: ClassVar[bool] = True

    events: Events
    partner_id: Id | None = None
    starts_at: Time | None = None
    ends_at: Time | None = None
    currency: Currency | None = None
    window_seconds: Window | None = None
    locking: Locking = msgspec.field(
        default_factory=lambda: {"kind": "month_end", "months": 1, "days": 0}
    )
    payment: Payment = msgspec.field(default_factory=lambda: {"months": 0, "days": 0})
    change_notice_days: NoticeDays = 0
    reversal_max_ppm: Share = 1_000_000
    cpc_mode: CpcMode = "review"
    approve: Approve = "automatic"
    caps: Caps = msgspec.field(default_factory=list)
    external_id: ExternalId | None = None


class TermsPatch(Body):
    """Of terms that are in force only `ends_at` can be changed."""

    rules: ClassVar[Mapping[str, Rule]] = _TERMS_RULES
    is_closed: ClassVar[bool] = True

    events: Events | UnsetType = UNSET
    starts_at: Time | UnsetType = UNSET
    ends_at: Time | UnsetType | None = UNSET
    currency: Currency | UnsetType = UNSET
    window_seconds: Window | UnsetType | None = UNSET
    locking: Locking | UnsetType = UNSET
    payment: Payment | UnsetType = UNSET
    change_notice_days: NoticeDays | UnsetType = UNSET
    reversal_max_ppm: Share | UnsetType = UNSET
    cpc_mode: CpcMode | UnsetType = UNSET
    approve: Approve | UnsetType = UNSET
    caps: Caps | UnsetType = UNSET


class TermsQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = {"partner_id": refers("prt")}

    partner_id: Id | None = None


Sku = Annotated[str, Meta(min_length=1, max_length=limits.PARAMETER_BYTES_MAX)]
Quantity = Annotated[int, Meta(ge=0, le=limits.ITEM_QUANTITY_MAX)]


class ItemIn(msgspec.Struct, kw_only=True):
    """One line of an order. `subtotal`: of all its pieces together."""

    sku: Sku | None = None
    category: Sku | None = None
    quantity: Quantity = 1
    subtotal: Amount | None = None


Items = Annotated[list[ItemIn], Meta(max_length=limits.ITEMS_MAX)]


class PreviewIn(Body):
    """An order that there is not, and terms: those in force for the partner, or `terms`.

    `month_so_far`: what the partner's month holds before it, in the basis of the tiers. `fields`:
    what payout groups ask for besides.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "partner_id": refers("prt", "unknown_partner"),
        "currency": Rule(checks.currency, "currency_unknown"),
        "at": Rule(time_text),
    }
    parts: ClassVar[Mapping[str, type[Body]]] = {"terms": TermsIn}

    event: Text
    amount: Amount = 0
    partner_id: Id | None = None
    terms: TermsIn | None = None
    currency: Currency | None = None
    items: Items = msgspec.field(default_factory=list)
    customer_status: Literal["new", "existing"] | None = None
    country: Country | None = None
    promo_code: Text | None = None
    fields: Annotated[dict[str, str], Meta(max_length=limits.PROPERTIES_MAX)] = msgspec.field(
        default_factory=dict
    )
    month_so_far: Annotated[int, Meta(ge=0, le=limits.PAYOUT_MINOR_MAX)] = 0
    at: Time | None = None


def _rate(text: str) -> str:
    if max(rate_parts(text)) >= 2**63:
        raise ValueError("more digits than a record holds: 18 in all are enough")
    return text


class RateIn(Body):
    """`rate`: units of `currency_to` for one of `currency_from`, as a decimal number.

    `date` is the day it was published for; it is in force from `starts_at` on, now if left out.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "brand_id": refers("brd"),
        "currency_from": Rule(checks.currency, "currency_unknown"),
        "currency_to": Rule(checks.currency, "currency_unknown"),
        "rate": Rule(_rate),
        "date": Rule(checks.day),
        "starts_at": Rule(time_text),
    }

    brand_id: Id
    currency_from: Currency
    currency_to: Currency
    rate: Annotated[str, Meta(min_length=1, max_length=25)]
    source: Text
    date: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    starts_at: Time | None = None
    external_id: ExternalId | None = None


class RatesQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = {"brand_id": refers("brd")}

    brand_id: Id | None = None


def _own_reasons(codes: list[str]) -> list[str]:
    if any(code in REVERSAL_REASONS for code in codes):
        raise ValueError("a code of the field is there already")
    return sorted(set(codes))


Code = Annotated[str, Meta(pattern="^[A-Z][A-Z0-9_]{0,62}$")]


class MoneySettingsIn(Body):
    """`reversal_reasons`: the program's own, beside those of the field."""

    rules: ClassVar[Mapping[str, Rule]] = {"reversal_reasons": Rule(_own_reasons)}

    reversal_reasons: Annotated[list[Code], Meta(max_length=limits.PROGRAM_LIST_MAX)]
