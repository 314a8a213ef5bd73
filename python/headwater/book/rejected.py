"""What clicks that a manager rejected bring by conversions: nothing, whichever came first."""

from __future__ import annotations

from typing import Final

from headwater.book.context import Context
from headwater.model.book import Conversion

CLICK_REJECTED: Final = "CLICK_REJECTED"
REJECTED: Final = "rejected"
"""A manager's word on a click."""


def shares_of(conversion: Conversion) -> dict[int, int]:
    """The share of each partner in a conversion, in parts per million, in the order of credits."""
    shares: dict[int, int] = {}
    for partner, _click_id, share_ppm in conversion.credits:
        shares[partner] = shares.get(partner, 0) + share_ppm
    return shares


def _is_rejected(context: Context, click_id: bytes | None) -> bool:
    standing = context.store.standing(click_id) if click_id else None
    return standing is not None and standing.manager == REJECTED


def earns_nothing(context: Context, conversion: Conversion, partner: int) -> bool:
    """Whether every click that the conversion credits to a partner is rejected."""
    own = [click for owner, click, _share in conversion.credits if owner == partner]
    return bool(own) and all(_is_rejected(context, click) for click in own)


def paid_shares(context: Context, conversion: Conversion, partner: int) -> tuple[int, ...]:
    """The shares as one of the partners is paid by them: what its rejected clicks brought stands
    at the end, for nobody. A partner whose clicks are all rejected is reversed, and keeps its
    share.
    """
    shares = shares_of(conversion)
    if earns_nothing(context, conversion, partner):
        return tuple(shares.values())
    lost_ppm = sum(
        share_ppm
        for owner, click, share_ppm in conversion.credits
        if owner == partner and _is_rejected(context, click)
    )
    shares[partner] -= lost_ppm
    return (*shares.values(), lost_ppm) if lost_ppm else tuple(shares.values())
