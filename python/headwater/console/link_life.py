"""Routes of a link's end, and of who had its code when."""

from __future__ import annotations

from headwater import clock, ids
from headwater.console import views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found
from headwater.ledger import linking
from headwater.ledger.values import DELETED


async def delete_link(console: Console, request: Request) -> Answer:
    saved = await console.run(linking.delete_link, console.ledger, request.reference("id", "lnk"))
    if saved is None:
        raise not_found()
    view = views.link(console.config, saved.row)
    await console.published(saved, view.id)
    return Answer(view)


async def read_link_history(console: Console, request: Request) -> Answer:
    row = await console.run(linking.link_row, console.ledger, request.reference("id", "lnk"))
    if row is None:
        raise not_found()
    rows = await console.run(linking.holders, console.ledger, row)
    return Answer(
        views.LinkHistory(
            code=row["code"],
            domain=row["host"] or None,
            holders=[_holder(each) for each in rows],
        )
    )


def _holder(row: views.Row) -> views.LinkHolder:
    return views.LinkHolder(
        link_id=ids.object_text("lnk", row["id"]),
        program_id=ids.object_text("prg", row["program_id"]),
        partner_id=ids.object_text("prt", row["partner_id"]),
        since=clock.iso_ms(row["created_ms"]),
        # Nothing changes a deleted link any more.
        until=clock.iso_ms(row["updated_ms"]) if row["status"] == DELETED else None,
    )
