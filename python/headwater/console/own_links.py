"""Which links a caller may read: an admin all of them, a partner its own."""

from __future__ import annotations

from typing import Any, NamedTuple

from headwater.console.context import Console, Request, not_found
from headwater.console.keys import is_admin
from headwater.ledger import linking


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
