"""What of partners a caller may read: an admin all of it, a partner its own."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from headwater.console.context import Console, Request, not_found
from headwater.console.keys import is_admin
from headwater.errors import RequestRefused
from headwater.ledger import linking, queries
from headwater.ledger.schema import partners

NOBODY: Final = 0
"""A number nothing has."""


class Reach(NamedTuple):
    """What a key is bound to; None: to nothing."""

    partner: int | None
    brand: int | None


def reach_of(request: Request) -> Reach:
    """How far the caller's key reaches."""
    key = request.key
    if key is None:
        raise AssertionError("the route asks for a key")
    return Reach(None, None) if is_admin(key) else Reach(key["partner_id"], key["brand_id"])


def bound(asked: int | None, own: int | None) -> int | None:
    """What is asked for within what the key is bound to: nothing outside of it."""
    if own is None:
        return asked
    return own if asked in (None, own) else NOBODY


def brand_of(request: Request) -> int | None:
    """The brand the caller's key is bound to; None: it reaches all of them.

    Raises RequestRefused `forbidden` for a partner's key: what is asked for is no partner's.
    """
    reach = reach_of(request)
    if reach.partner is not None:
        raise RequestRefused("forbidden")
    return reach.brand


async def own_link(console: Console, request: Request) -> dict[str, Any]:
    """The link in the path. Raises RequestRefused `not_found`, also for another partner's."""
    row = await console.run(linking.link_row, console.ledger, request.reference("id", "lnk"))
    reach = reach_of(request)
    if (
        row is None
        or reach.partner not in (None, row["partner_id"])
        or reach.brand not in (None, row["program"]["brand_id"])
    ):
        raise not_found()
    return row


async def own_partner(console: Console, request: Request) -> tuple[int, int | None]:
    """The number of the partner in the path, and the brand the caller's key is bound to.

    Raises RequestRefused: `forbidden` when the key is another partner's, whether or not there is
    the partner that is named; `not_found` to others, also for a partner of other brands alone.
    """
    row = await console.run(
        queries.object_row, console.ledger, partners, request.reference("id", "prt")
    )
    reach = reach_of(request)
    if reach.partner is not None:
        if row is None or row["id"] != reach.partner:
            raise RequestRefused("forbidden")
        return row["id"], reach.brand
    if row is None or not await _is_reached(console, reach.brand, row["id"]):
        raise not_found()
    return row["id"], reach.brand


async def _is_reached(console: Console, brand: int | None, partner: int) -> bool:
    return brand is None or await console.run(queries.is_partner_of, console.ledger, brand, partner)
