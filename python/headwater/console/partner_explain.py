"""The route by which a partner asks why it was credited for a conversion, or was not."""

from __future__ import annotations

from typing import Any

from headwater import ids
from headwater.console import partner_views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.event_shapes import PartnerExplainQuery
from headwater.console.own_links import own_partner
from headwater.console.partner_views import PartnerExplanation
from headwater.ledger import partner_queries, queries
from headwater.ledger.engine import Ledger
from headwater.ledger.partner_queries import Looked

Row = dict[str, Any]


async def explain_to_partner(console: Console, request: Request) -> Answer:
    """Answers 200 with no touches alike for a conversion that there is not, and for one that the
    partner has no touch in: the answer is true of both, and tells nobody which order ids there
    are. For the same reason it never waits for what the matcher may be about to commit.
    """
    partner, brand = await own_partner(console, request)
    found = await console.run(
        _explain, console.ledger, partner, brand, request.path["ref"], request.query
    )
    return Answer(found)


def _explain(
    ledger: Ledger, partner: int, brand: int | None, ref: str, query: PartnerExplainQuery
) -> PartnerExplanation:
    """What the partner is told of a conversion, of its own click, or of an order."""
    click_id = _event("clk", ref)
    if click_id is not None:
        click = queries.click_row(ledger, click_id)
        if click is None or click["partner"] != partner or brand not in (None, click["brand"]):
            return partner_views.nothing()
        looked = partner_queries.conversions_of_click(ledger, click)
        return partner_views.explanation(
            partner,
            looked.conversions,
            {click_id: click},
            asked=click,
            truncated=looked.truncated,
        )
    looked = _conversions(ledger, partner, brand, ref, query)
    rows = [row for row in looked.conversions if brand in (None, row["brand"])]
    clicks = partner_queries.click_rows(ledger, partner_views.click_ids(partner, rows))
    return partner_views.explanation(partner, rows, clicks, truncated=looked.truncated)


def _conversions(
    ledger: Ledger, partner: int, brand: int | None, ref: str, query: PartnerExplainQuery
) -> Looked:
    conversion_id = _event("cnv", ref)
    if conversion_id is not None:
        row = queries.conversion_row(ledger, conversion_id)
        return Looked([] if row is None else [row])
    return partner_queries.conversions_of_order(
        ledger, partner, ref, program=query.program, event=query.event, brand=brand
    )


def _event(prefix: str, text: str) -> bytes | None:
    try:
        return ids.parse_event(prefix, text)
    except ValueError:
        return None
