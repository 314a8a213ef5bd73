"""From rows of conversions and actions to what they add to cells of rollups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from headwater import limits
from headwater.ledger.rollup_tables import (
    QUARTER_MS,
    SALE_MEASURES,
    Grain,
)
from headwater.model.book import REVERSED, Action, ActionFlag
from headwater.model.click_cells import click_origin
from headwater.model.records import Flag

Cells = dict[tuple[Any, ...], list[int]]
"""Sums by program, quarter hour, dimensions and currency."""

NO_CLICK: Final = int(Flag.SOFT_CLICK | Flag.IMPRESSION)
_SALE_AT: Final = {name: at for at, name in enumerate(SALE_MEASURES)}
_STATUS_AT: Final = {
    "attributed": _SALE_AT["attributed_ppm"],
    "unattributed": _SALE_AT["unattributed_ppm"],
    "rejected": _SALE_AT["rejected_ppm"],
    "pending": _SALE_AT["waiting_ppm"],
}
_WHOLE_PPM: Final = 1_000_000


# ---- Dimensions ----------------------------------------------------------------------------


class Origin(NamedTuple):
    """What a click was made through, from where, and with what."""

    link: int
    sub1: str
    country: str
    device: str


NOWHERE: Final = Origin(0, "", "", "")


def origin_of(record: bytes) -> Origin:
    """What a click's record says of it."""
    return Origin._make(click_origin(record))


# ---- Sales ---------------------------------------------------------------------------------


class Conversion(NamedTuple):
    """What of a conversion's row is counted."""

    conversion_id: bytes
    program: int
    accept_ms: int
    status: str
    amount_minor: int
    currency: str
    flags: int
    verdict: str


Credit = tuple[int, bytes | None, int]
"""Partner, click, share in parts per million."""


def add_conversion(
    cells: Cells,
    conversion: Conversion,
    credits_given: Sequence[Credit],
    origins: Mapping[bytes, Origin],
    sign: int,
) -> None:
    """Add a conversion to the cells of its credits, or take it away (`sign` -1)."""
    given = credits_given or ((0, None, _WHOLE_PPM),)
    whole = sum(share for _partner, _click, share in given) or 1
    # Sums have 64 bits; what is beyond belief is paid nothing, and counted without its value.
    is_believed = abs(conversion.amount_minor) <= limits.PAID_ORDER_MINOR_MAX
    order_minor = conversion.amount_minor if is_believed else 0
    before = taken = 0
    for partner, click_id, share_ppm in given:
        before += share_ppm
        # Each credit's part of the order, rounded so that the parts make the whole.
        upto = order_minor * before // whole
        amount_minor, taken = upto - taken, upto
        origin = origins.get(click_id, NOWHERE) if click_id else NOWHERE
        bucket = conversion.accept_ms // QUARTER_MS
        key = (conversion.program, bucket, partner, *origin, conversion.currency)
        cell = _sale(cells, key)
        if conversion.flags & Flag.TEST:
            cell[_SALE_AT["tests_ppm"]] += sign * share_ppm
            continue
        cell[_STATUS_AT[conversion.status]] += sign * share_ppm
        if conversion.status == "attributed":
            cell[_SALE_AT["order_minor"]] += sign * amount_minor
            if conversion.verdict == "review":
                cell[_SALE_AT["reviewed_ppm"]] += sign * share_ppm


def add_action(cells: Cells, action: Action, origins: Mapping[bytes, Origin], sign: int) -> None:
    """Add an action to its cell, or take it away (`sign` -1)."""
    if action.flags & ActionFlag.TEST:
        return
    origin = origins.get(action.click_id, NOWHERE) if action.click_id else NOWHERE
    bucket = action.tracked_ms // QUARTER_MS
    cell = _sale(cells, (action.program, bucket, action.partner, *origin, action.payout_currency))
    cell[_SALE_AT[f"{action.state}_actions"]] += sign
    cell[_SALE_AT[f"{action.state}_minor"]] += sign * action.payout_minor
    cell[_SALE_AT["compensated_minor"]] += sign * action.compensated_minor
    if action.flags & ActionFlag.OVER_CAP:
        cell[_SALE_AT["over_cap_actions"]] += sign
    if action.state != REVERSED:
        cell[_SALE_AT["revenue_minor"]] += sign * action.revenue_minor


def _sale(cells: Cells, key: tuple[Any, ...]) -> list[int]:
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = [0] * len(SALE_MEASURES)
    return cell


# ---- Rows ----------------------------------------------------------------------------------


def row_of(grain: Grain, key: tuple[Any, ...], sums: Sequence[int]) -> tuple[Any, ...]:
    """The row of a grain's table that a cell of all dimensions is part of."""
    program, bucket, partner, link, sub1, country, device, *currency = key
    has = grain.dimensions
    return (
        grain.number,
        program,
        bucket - bucket % grain.quarters,
        partner if "partner" in has else 0,
        link if "link" in has else 0,
        sub1 if "sub1" in has else "",
        country if "country" in has else "",
        device if "device" in has else "",
        *currency,
        *sums,
    )
