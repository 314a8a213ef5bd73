"""Routes of brands, programs, event types and partners."""

from __future__ import annotations

from typing import Any

from headwater.console import fields, fraud_config, link_orders, paging, shapes, views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, not_found, origin
from headwater.ledger import objects, queries, spreads
from headwater.ledger.schema import brands, partners, programs
from headwater.model.attribution import completed


def written(saved: objects.Saved, body: Any) -> Answer:
    """201 for what was made now, 200 for what the same request made before."""
    return Answer(body, 201 if saved.created else 200)


# ---- Brands --------------------------------------------------------------------------------


async def create_brand(console: Console, request: Request) -> Answer:
    body: shapes.BrandIn = request.body
    saved = await console.run(objects.create_brand, console.ledger, origin(body), name=body.name)
    view = views.brand(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_brands(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    rows = await console.run(
        queries.object_page,
        console.ledger,
        brands,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, views.brand, paging.by_number))


async def read_brand(console: Console, request: Request) -> Answer:
    row = await console.run(
        queries.object_row, console.ledger, brands, request.reference("id", "brd")
    )
    if row is None:
        raise not_found()
    return Answer(views.brand(row))


async def change_brand(console: Console, request: Request) -> Answer:
    saved = await console.run(
        objects.change_brand,
        console.ledger,
        request.reference("id", "brd"),
        fields.given(request.body),
    )
    if saved is None:
        raise not_found()
    view = views.brand(saved.row, request.warnings)
    await console.published(saved, view.id)
    return Answer(view)


# ---- Programs ------------------------------------------------------------------------------


def _program_columns(given: dict[str, Any]) -> dict[str, Any]:
    columns = dict(given)
    if "attribution" in columns:
        columns["attribution"] = fields.given(columns["attribution"])
    if "utm" in columns:
        columns["utm"] = link_orders.utm_of(columns["utm"])
    return columns


async def create_program(console: Console, request: Request) -> Answer:
    body: shapes.ProgramIn = request.body
    given = fields.given(body)
    for name in ("brand_id", "external_id"):
        del given[name]
    columns = _program_columns({**given, "name": body.name or body.code})
    columns["attribution"] = completed(columns["attribution"])
    columns["fraud"] = fraud_config.made(body.fraud)
    columns |= {"link_salts": [], "shopify_secrets": []}
    saved = await console.run(
        objects.create_program,
        console.ledger,
        origin(body),
        brand=fields.parse_reference("brd", body.brand_id),
        columns=columns,
    )
    view = views.program(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_programs(console: Console, request: Request) -> Answer:
    query: shapes.ProgramsQuery = request.query
    within = []
    if query.brand_id is not None:
        brand = fields.parse_reference("brd", query.brand_id)
        owner = await console.run(queries.object_row, console.ledger, brands, brand)
        within.append(programs.c.brand_id == (owner["id"] if owner else 0))
    rows = await console.run(
        queries.object_page,
        console.ledger,
        programs,
        *within,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, views.program, paging.by_number))


async def read_program(console: Console, request: Request) -> Answer:
    return Answer(views.program(await program_row(console, request)))


async def program_row(console: Console, request: Request) -> dict[str, Any]:
    """The program in the path. Raises RequestRefused `not_found`."""
    row = await console.run(
        queries.object_row, console.ledger, programs, request.reference("id", "prg")
    )
    if row is None:
        raise not_found()
    return row


async def change_program(console: Console, request: Request) -> Answer:
    body: shapes.ProgramPatch = request.body
    columns = _program_columns(fields.given(body))
    columns.pop("fraud", None)
    saved = await console.run(
        spreads.change_program,
        console.ledger,
        request.reference("id", "prg"),
        columns,
        fraud_config.rewrite(body.fraud),
    )
    if saved is None:
        raise not_found()
    view = views.program(saved.row, request.warnings)
    await console.published(saved, view.id)
    return Answer(view)


# ---- Event types ---------------------------------------------------------------------------


async def create_event_type(console: Console, request: Request) -> Answer:
    body: shapes.EventTypeIn = request.body
    saved = await console.run(
        objects.create_event_type,
        console.ledger,
        origin(body),
        program=request.reference("id", "prg"),
        code=body.code,
        kind=body.kind,
        click_window_seconds=body.click_window_seconds,
    )
    if saved is None:
        raise not_found()
    view = views.event_type(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_event_types(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    program = await program_row(console, request)
    rows = await console.run(
        queries.event_type_page,
        console.ledger,
        program["id"],
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, views.event_type, paging.by_number))


async def change_event_type(console: Console, request: Request) -> Answer:
    saved = await console.run(
        objects.change_event_type,
        console.ledger,
        request.reference("id", "prg"),
        request.reference("event_type_id", "ety"),
        fields.given(request.body),
    )
    if saved is None:
        raise not_found()
    view = views.event_type(saved.row, request.warnings)
    await console.published(saved, view.id)
    return Answer(view)


# ---- Partners ------------------------------------------------------------------------------


def _partner_columns(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value or "" if name == "email" else value for name, value in given.items()}


async def create_partner(console: Console, request: Request) -> Answer:
    body: shapes.PartnerIn = request.body
    columns = _partner_columns({"name": body.name, "email": body.email, "status": body.status})
    saved = await console.run(objects.create_partner, console.ledger, origin(body), columns=columns)
    view = views.partner(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_partners(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    rows = await console.run(
        queries.object_page,
        console.ledger,
        partners,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, views.partner, paging.by_number))


async def read_partner(console: Console, request: Request) -> Answer:
    row = await console.run(
        queries.object_row, console.ledger, partners, request.reference("id", "prt")
    )
    if row is None:
        raise not_found()
    return Answer(views.partner(row))


async def change_partner(console: Console, request: Request) -> Answer:
    saved = await console.run(
        spreads.change_partner,
        console.ledger,
        request.reference("id", "prt"),
        _partner_columns(fields.given(request.body)),
        identify=console.identify,
    )
    if saved is None:
        raise not_found()
    view = views.partner(saved.row, request.warnings)
    await console.published(saved, view.id)
    return Answer(view)
