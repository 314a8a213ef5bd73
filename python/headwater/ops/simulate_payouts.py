"""The money of a simulation told: a table for people, members of JSON and cells for programs.

Amounts are decimal texts of units of their currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from headwater import ids
from headwater.model.currency import decimal_text
from headwater.ops.simulate_money import MoneyComparison, Paid, PartnerPayout

CSV_COLUMNS: Final = ("payout_before", "currency_before", "payout_after", "currency_after")
_HEADINGS: Final = ("before", "after", "difference")


def payouts_table(money: MoneyComparison, names: Mapping[int, str]) -> Table:
    """A partner and currency a row, the largest difference first; then all of each currency."""
    table = Table("partner", "name", "currency", title="Payout")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    ordered = sorted(
        money.partners.items(), key=lambda item: (-abs(item[1].difference_minor), item[0])
    )
    for (partner, currency), payout in ordered:
        name = Text(names.get(partner, ""))
        table.add_row(ids.object_text("prt", partner), name, currency, *_cells(payout, currency))
    table.add_section()
    for currency, payout in money.totals.items():
        table.add_row("all", "", currency, *_cells(payout, currency))
    return table


def _cells(payout: PartnerPayout, currency: str) -> tuple[str, ...]:
    sign = "+" if payout.difference_minor > 0 else ""
    before, after, difference = _amounts(payout, currency)
    return before, after, sign + difference


def _amounts(payout: PartnerPayout, currency: str) -> tuple[str, ...]:
    amounts = (*payout, payout.difference_minor)
    return tuple(decimal_text(minor, currency) for minor in amounts)


def payouts_member(money: MoneyComparison, names: Mapping[int, str]) -> dict[str, Any]:
    """`payouts` of the JSON object."""
    return {
        "totals": [
            {"currency": currency, **_named(payout, currency)}
            for currency, payout in money.totals.items()
        ],
        "partners": [
            {
                "partner_id": ids.object_text("prt", partner),
                "name": names.get(partner),
                "currency": currency,
                **_named(payout, currency),
            }
            for (partner, currency), payout in money.partners.items()
        ],
    }


def _named(payout: PartnerPayout, currency: str) -> dict[str, str]:
    return dict(zip(_HEADINGS, _amounts(payout, currency), strict=True))


def paid_member(paid: Mapping[int, Paid]) -> list[dict[str, str]]:
    """What one conversion pays each of its partners."""
    return [
        {
            "partner_id": ids.object_text("prt", partner),
            "payout": decimal_text(each.minor, each.currency),
            "currency": each.currency,
        }
        for partner, each in sorted(paid.items())
    ]


def paid_cells(before: Paid | None, after: Paid | None) -> tuple[str, ...]:
    """Cells under CSV_COLUMNS."""
    sides = (
        (decimal_text(p.minor, p.currency), p.currency) if p else ("", "") for p in (before, after)
    )
    return tuple(cell for side in sides for cell in side)
