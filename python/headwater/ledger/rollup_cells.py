"""From rows of clicks, conversions and actions to what they add to cells of rollups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from headwater import limits
from headwater.ledger.rollup_tables import (
    CLICK_MEASURES,
    QUARTER_MS,
    SALE_MEASURES,
    Grain,
)
from headwater.model.book import REVERSED, Action, ActionFlag
from headwater.model.devices import device_of
from headwater.model.records import Flag

Cells = dict[tuple[Any, ...], list[int]]
"""Sums by program, quarter hour and dimensions; of sales also by currency."""

NO_CLICK: Final = int(Flag.SOFT_CLICK | Flag.IMPRESSION)
_CLICK_AT: Final = {name: at for at, name in enumerate(CLICK_MEASURES)}
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


class _Params(msgspec.Struct, gc=False):
    sub1: str = ""


class _Network(msgspec.Struct, array_like=True, gc=False):
    address: msgspec.Raw
    address_before: msgspec.Raw
    flags: int
    country: str | None


class _Client(msgspec.Struct, array_like=True, gc=False):
    address_prefix: msgspec.Raw
    user_agent: str | None
    referrer: msgspec.Raw
    network: _Network | None = None


class _Body(msgspec.Struct, array_like=True, gc=False):
    program: int
    partner: int
    link: int
    flags: int
    identifiers: msgspec.Raw
    params: _Params
    client: _Client


class _Record(msgspec.Struct, array_like=True, gc=False):
    kind: int
    event_id: msgspec.Raw
    brand: int
    accept_ms: int
    claim_ms: msgspec.Raw
    trust: int
    source: int
    body: _Body


# Reads a tenth of what a click's record holds, in a tenth of the time.
_read = msgspec.msgpack.Decoder(_Record).decode


def origin_of(record: bytes) -> Origin:
    """What a click's record says of it."""
    body = _read(record).body
    network = body.client.network
    return Origin(
        body.link,
        body.params.sub1,
        (network.country or "") if network else "",
        device_of(body.client.user_agent) if body.client.user_agent else "",
    )


# ---- Clicks --------------------------------------------------------------------------------

# Positions in a row of clicks.
CLICK, _PROGRAM, _PARTNER, _LINK, _ACCEPT_MS = 0, 2, 3, 4, 5
_FLAGS, _VERDICT, _COUNTED, _IS_UNIQUE, _RECORD = 9, 10, 11, 12, 16

ClickCounts = dict[tuple[Any, ...], int]
"""Clicks by program, quarter hour, partner, link, sub id, country, device, and by verdict, how
they count, and whether they are unique."""


def count_clicks(rows: Iterable[Sequence[Any]], apart: frozenset[bytes]) -> ClickCounts:
    """Clicks by all that tells their cells. Those in `apart`, and touches that are no clicks, are
    counted as none.
    """
    counts: ClickCounts = {}
    read, get = _read, counts.get
    for row in rows:
        body = read(row[_RECORD]).body
        client = body.client
        network, agent = client.network, client.user_agent
        key = (
            row[_PROGRAM],
            row[_ACCEPT_MS] // QUARTER_MS,
            row[_PARTNER],
            row[_LINK],
            body.params.sub1,
            (network.country or "") if network else "",
            device_of(agent) if agent else "",
            row[_VERDICT],
            row[_COUNTED],
            row[_IS_UNIQUE],
        )
        is_counted = not row[_FLAGS] & NO_CLICK and row[CLICK] not in apart
        counts[key] = get(key, 0) + is_counted
    return counts


def add_clicks(
    cells: Cells, key: tuple[Any, ...], standing: tuple[str, str, int], count: int
) -> None:
    """Add clicks that stand alike to their cell; `count` may be below zero."""
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = [0] * len(CLICK_MEASURES)
    verdict, counted, is_unique = standing
    if counted == "test":
        cell[_CLICK_AT["tests"]] += count
        return
    if counted == "prefetch":
        cell[_CLICK_AT["prefetches"]] += count
        return
    cell[_CLICK_AT["clicks"]] += count
    if verdict == "filtered":
        cell[_CLICK_AT["filtered"]] += count
    elif verdict == "reject":
        cell[_CLICK_AT["rejected"]] += count
    elif counted == "duplicate":
        cell[_CLICK_AT["duplicates"]] += count
    else:
        if verdict == "review":
            cell[_CLICK_AT["reviewed"]] += count
        if is_unique:
            cell[_CLICK_AT["uniques"]] += count


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
