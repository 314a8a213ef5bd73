"""From sums of rollups to rows of the performance report, and flat rows of an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from headwater import ids
from headwater.console.performance_shapes import Amounts, Performance, PerformanceRow
from headwater.ledger.rollup_reads import CLICK_MEASURES, SALE_MEASURES, SUB_IDS_REST, Sums
from headwater.model.currency import EXPONENTS, decimal_text

_PPM: Final = 1_000_000
_RATE_PLACES: Final = 6
# What one click earns is a part of a minor unit.
_MORE_PLACES: Final = 4
_CONVERSIONS: Final = {
    "conversions": "attributed_ppm",
    "conversions_review": "reviewed_ppm",
    "conversions_unattributed": "unattributed_ppm",
    "conversions_rejected": "rejected_ppm",
    "conversions_pending": "waiting_ppm",
    "conversions_test": "tests_ppm",
}
_OWED: Final = ("pending", "approved", "locked", "paid")
_FIELDS: Final = {"program": "program_id", "partner": "partner_id", "link": "link_id"}
_PREFIXES: Final = {"program": "prg", "partner": "prt", "link": "lnk"}


def _counts(sums: Sums) -> dict[str, Any]:
    clicks = dict(zip(CLICK_MEASURES, sums.clicks, strict=True))
    net = clicks["clicks"] - clicks["filtered"] - clicks["rejected"] - clicks["duplicates"]
    totals = dict.fromkeys(_CONVERSIONS.values(), 0)
    for sold in sums.sales.values():
        for name, amount in zip(SALE_MEASURES, sold, strict=True):
            if name in totals:
                totals[name] += amount
    return {
        "gross": clicks["clicks"],
        "filtered": clicks["filtered"],
        "rejected": clicks["rejected"],
        "duplicate": clicks["duplicates"],
        "net": net,
        "unique": clicks["uniques"],
        "review": clicks["reviewed"],
        "prefetch": clicks["prefetches"],
        "test": clicks["tests"],
        **{name: totals[measure] / _PPM for name, measure in _CONVERSIONS.items()},
        "conversion_rate": _per_click(totals["attributed_ppm"], net, 6, _RATE_PLACES),
    }


def _per_click(amount: int, clicks: int, exponent: int, places: int) -> str | None:
    """`amount` * 10 ** -exponent for each click, rounded half even; None without clicks."""
    if clicks <= 0:
        return None
    found = Decimal(amount).scaleb(-exponent) / clicks
    return str(found.quantize(Decimal(1).scaleb(-places)))


def _amounts(currency: str, sums: Sequence[int], net: int) -> Amounts:
    of = dict(zip(SALE_MEASURES, sums, strict=True))
    payout = sum(of[f"{state}_minor"] for state in _OWED) + of["compensated_minor"]
    exponent = EXPONENTS[currency]

    def text(measure: str) -> str:
        return decimal_text(of[measure], currency)

    return Amounts(
        currency=currency,
        order_value=text("order_minor"),
        revenue=text("revenue_minor"),
        payout=decimal_text(payout, currency),
        pending=text("pending_minor"),
        approved=text("approved_minor"),
        locked=text("locked_minor"),
        paid=text("paid_minor"),
        compensated=text("compensated_minor"),
        reversed=text("reversed_minor"),
        earnings_per_click=_per_click(payout, net, exponent, exponent + _MORE_PLACES),
        actions_pending=of["pending_actions"],
        actions_approved=of["approved_actions"],
        actions_locked=of["locked_actions"],
        actions_paid=of["paid_actions"],
        actions_reversed=of["reversed_actions"],
        actions_over_cap=of["over_cap_actions"],
    )


def _of_money(sums: Sums, net: int) -> list[Amounts]:
    """By currency; one in which nothing was ordered or paid is left out."""
    return [
        _amounts(currency, sold, net) for currency, sold in sorted(sums.sales.items()) if any(sold)
    ]


def performance(sums: Sums) -> Performance:
    """The sums without what they are grouped by."""
    counts = _counts(sums)
    return Performance(**counts, amounts=_of_money(sums, counts["net"]))


def row(groups: Sequence[str], key: Sequence[Any], sums: Sums) -> PerformanceRow:
    """One row of the report; `groups` name the parts of `key`."""
    counts = _counts(sums)
    return PerformanceRow(
        **dict(_named(groups, key)), **counts, amounts=_of_money(sums, counts["net"])
    )


def _named(groups: Sequence[str], key: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for name, value in zip(groups, key, strict=True):
        if name in _PREFIXES:
            yield _FIELDS[name], ids.object_text(_PREFIXES[name], value) if value else None
        elif name == "sub1":
            yield name, None if value == SUB_IDS_REST else value
        else:
            yield name, value or None


def columns(groups: Sequence[str]) -> list[str]:
    """Names of the columns of an export."""
    counts = [name for name in Performance.__struct_fields__ if name != "amounts"]
    return [*(_FIELDS.get(name, name) for name in groups), *counts, *Amounts.__struct_fields__]


def flat(groups: Sequence[str], key: Sequence[Any], sums: Sums) -> Iterator[dict[str, Any]]:
    """The rows of an export: one for each currency of a group. What is no money stands in the
    first alone, so that the sum of a column is the group's.
    """
    counts = _counts(sums)
    named = dict(_named(groups, key))
    nothing = dict.fromkeys(counts, 0) | {"conversion_rate": None}
    money = [
        {name: _number(name, getattr(each, name)) for name in Amounts.__struct_fields__}
        for each in _of_money(sums, counts["net"])
    ]
    for number, amounts in enumerate(money or [dict.fromkeys(Amounts.__struct_fields__)]):
        yield {**named, **(nothing if number else counts), **amounts}


def _number(name: str, value: Any) -> Any:
    """An amount as a number: below zero, its text would be taken for a formula."""
    return Decimal(value) if isinstance(value, str) and name != "currency" else value
