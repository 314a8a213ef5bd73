"""Routes of promo codes."""

from __future__ import annotations

from headwater.console import fields, paging, shapes, views
from headwater.console.answers import Answer
from headwater.console.catalog import program_row, written
from headwater.console.context import Console, Request, not_found, origin
from headwater.ledger import promo_codes, queries


async def create_promo_code(console: Console, request: Request) -> Answer:
    body: shapes.PromoCodeIn = request.body
    program = request.reference("id", "prg")
    saved = await console.run(
        promo_codes.create_promo_code,
        console.ledger,
        origin(body),
        program=program,
        partner=fields.parse_reference("prt", body.partner_id),
        code=body.code,
    )
    if saved is None:
        raise not_found()
    view = views.promo_code(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_promo_codes(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    program = await program_row(console, request)
    rows = await console.run(
        queries.promo_code_page,
        console.ledger,
        program["id"],
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, views.promo_code, paging.by_number))


async def change_promo_code(console: Console, request: Request) -> Answer:
    saved = await console.run(
        promo_codes.change_promo_code,
        console.ledger,
        request.reference("id", "pmo"),
        fields.given(request.body),
    )
    if saved is None:
        raise not_found()
    view = views.promo_code(saved.row, request.warnings)
    await console.published(saved, view.id)
    return Answer(view)


async def delete_promo_code(console: Console, request: Request) -> Answer:
    saved = await console.run(
        promo_codes.delete_promo_code, console.ledger, request.reference("id", "pmo")
    )
    if saved is None:
        raise not_found()
    view = views.promo_code(saved.row)
    await console.published(saved, view.id)
    return Answer(view)
