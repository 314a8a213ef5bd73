"""What the performance report takes and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from headwater import limits
from headwater.console.checks import timezone
from headwater.console.fields import Body, Id, Limit, Rule, Time, refers, time_text
from headwater.console.views import View
from headwater.model.devices import DEVICES

DAY: Final = "day"
GROUPS: Final = (DAY, "program", "partner", "link", "sub1", "country", "device")


def groups(text: str) -> str:
    """Names of what a report is grouped by. Raises ValueError."""
    names = text.split(",") if text else []
    if len(set(names)) != len(names) or not set(names) <= set(GROUPS):
        raise ValueError(f"some of {', '.join(GROUPS)}, once each, with commas between")
    return text


def device(text: str) -> str:
    if text not in DEVICES:
        raise ValueError(f"one of {', '.join(DEVICES)}")
    return text


def country(text: str) -> str:
    if not (len(text) == 2 and text.isascii() and text.isupper()):
        raise ValueError("a country is two capital letters of ISO 3166")
    return text


def zone(text: str) -> str:
    timezone(text)
    return text


class PerformanceFilter(Body):
    """Times are those of acceptance, from `since` on and before `until`, widened to whole quarter
    hours; `until` is now unless given, `since` 30 days before it. Days are those of `timezone`:
    unless given that of the program, or UTC.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "group": Rule(groups),
        "timezone": Rule(zone),
        "since": Rule(time_text),
        "until": Rule(time_text),
        "program_id": refers("prg"),
        "partner_id": refers("prt"),
        "link_id": refers("lnk"),
        "country": Rule(country),
        "device": Rule(device),
    }

    group: Annotated[
        str,
        Meta(
            max_length=100,
            description="What rows are grouped by, with commas between: some of "
            f"{', '.join(GROUPS)}.",
        ),
    ] = "partner"
    timezone: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    since: Time | None = None
    until: Time | None = None
    program_id: Id | None = None
    partner_id: Id | None = None
    link_id: Id | None = None
    sub1: Annotated[str, Meta(max_length=limits.TEXT_CHARACTERS_MAX)] | None = None
    country: Annotated[str, Meta(min_length=2, max_length=2)] | None = None
    device: Annotated[str, Meta(min_length=1, max_length=10)] | None = None


class PerformanceQuery(PerformanceFilter):
    """A page by days, or by partner first, has fewer rows than `limit`, or none, where more would
    be read for it than one answer may; the others follow as long as there is a `next_cursor`.
    """

    limit: Limit = limits.PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=2000, description="Of the page before.")] | None = None


class ExportQuery(PerformanceFilter):
    """`format`: `csv` (RFC 4180, UTF-8, with a head) or `jsonl` (an object a line)."""

    format: Literal["csv", "jsonl"] = "csv"


# ---- Answers -------------------------------------------------------------------------------


class Amounts(View):
    """What a group came to in one currency, as decimal texts. `order_value` is what orders with
    credit were reported with, `revenue` what is left of them by their actions. `payout` is what
    is owed and was paid: pending, approved, locked and paid actions, and compensations. Actions
    are counted by state; those over a cap are in their state, too. `earnings_per_click` is
    `payout` for each click that counts.
    """

    currency: str
    order_value: str
    revenue: str
    payout: str
    pending: str
    approved: str
    locked: str
    paid: str
    compensated: str
    reversed: str
    earnings_per_click: str | None
    actions_pending: int
    actions_approved: int
    actions_locked: int
    actions_paid: int
    actions_reversed: int
    actions_over_cap: int


class Performance(View):
    """`gross` is all clicks but tests and prefetches that nobody came after. `filtered` is
    declared automation (general invalid traffic), `rejected` sophisticated invalid traffic,
    `duplicate` what is neither and repeats another click; `net` is the rest. `review` and
    `unique` are parts of net.

    `conversions` are those with credit, in parts where several share one; `conversions_review`
    are a part of them. The others have no credit, are rejected, or wait to be confirmed; test
    orders stand apart. `conversion_rate` is conversions for each click that counts.
    """

    gross: int
    filtered: int
    rejected: int
    duplicate: int
    net: int
    unique: int
    review: int
    prefetch: int
    test: int
    conversions: float
    conversions_review: float
    conversions_unattributed: float
    conversions_rejected: float
    conversions_pending: float
    conversions_test: float
    conversion_rate: str | None
    amounts: list[Amounts]


class PerformanceRow(Performance, kw_only=True):
    """What is grouped by, and what came of it. Null: none, or not known; of `sub1`: those beyond
    the number a partner's day has apart.
    """

    day: str | UnsetType = UNSET
    program_id: str | UnsetType = UNSET
    partner_id: str | UnsetType | None = UNSET
    link_id: str | UnsetType | None = UNSET
    sub1: str | UnsetType | None = UNSET
    country: str | UnsetType | None = UNSET
    device: str | UnsetType | None = UNSET


class PerformanceReport(View):
    """Rows in the order of what they are grouped by, days first; `total` is of all pages."""

    since: str
    until: str
    timezone: str
    group: list[str]
    total: Performance
    rows: list[PerformanceRow]
    next_cursor: str | None
