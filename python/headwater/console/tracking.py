"""Routes of enrolments, links and tracking domains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import UNSET

from headwater.console import checks, fields, fraud_config, link_orders, paging, shapes, views
from headwater.console.answers import Answer
from headwater.console.catalog import program_row, written
from headwater.console.context import Console, Request, not_found, origin
from headwater.console.events import number_of
from headwater.console.own_links import own_link, reach_of
from headwater.ledger import enrolling, linking, objects, queries
from headwater.ledger.schema import domains, partners, programs

# ---- Enrolments ----------------------------------------------------------------------------


async def enrol(console: Console, request: Request) -> Answer:
    body: shapes.EnrolmentIn = request.body
    enrolled = await console.run(
        enrolling.enrol,
        console.ledger,
        origin(body),
        request.reference("id", "prg"),
        request.reference("partner_id", "prt"),
        body.status,
        identify=console.identify,
        fraud=fraud_config.replacement(body.fraud),
    )
    return await _enrolled(console, request, enrolled)


async def change_enrolment(console: Console, request: Request) -> Answer:
    body: shapes.EnrolmentPatch = request.body
    enrolled = await console.run(
        enrolling.change_enrolment,
        console.ledger,
        request.reference("id", "prg"),
        request.reference("partner_id", "prt"),
        None if body.status is UNSET else body.status,
        identify=console.identify,
        fraud=fraud_config.rewrite(body.fraud),
    )
    return await _enrolled(console, request, enrolled)


async def _enrolled(
    console: Console, request: Request, enrolled: enrolling.Enrolled | None
) -> Answer:
    if enrolled is None:
        raise not_found()
    saved = enrolled.enrolment
    view = views.enrolment(console.config, saved.row, enrolled.link, request.warnings)
    await console.published(saved, view.default_link.id)
    return written(saved, view)


async def list_enrolments(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    program = await program_row(console, request)
    rows = await console.run(
        queries.enrolment_page,
        console.ledger,
        program["id"],
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(
        paging.page(
            query,
            rows,
            lambda row: views.enrolment(console.config, row, row["link"]),
            paging.by_number,
        )
    )


# ---- Links ---------------------------------------------------------------------------------


async def create_link(console: Console, request: Request) -> Answer:
    saved = await console.run(
        linking.create_link, console.ledger, link_orders.order_of(request.body)
    )
    view = views.link(console.config, saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_links(console: Console, request: Request) -> Answer:
    query: shapes.LinksQuery = request.query
    program = await number_of(console, programs, "prg", query.program_id)
    partner = await number_of(console, partners, "prt", query.partner_id)
    reach = reach_of(request)
    if reach.partner is not None:
        partner = reach.partner if partner in (None, reach.partner) else 0
    rows = await console.run(
        linking.link_page,
        console.ledger,
        {
            "program_id": program,
            "partner_id": partner,
            "code_key": query.code and query.code.lower(),
            "host": query.domain,
            "status": query.status,
        },
        brand=reach.brand,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    view: Callable[[dict[str, Any]], views.Link] = partial(views.link, console.config)
    return Answer(paging.page(query, rows, view, paging.by_number))


async def read_link(console: Console, request: Request) -> Answer:
    return Answer(views.link(console.config, await own_link(console, request)))


async def change_link(console: Console, request: Request) -> Answer:
    columns = link_orders.columns_of(fields.given(request.body))
    saved = await console.run(
        linking.change_link,
        console.ledger,
        request.reference("id", "lnk"),
        columns,
        link_orders.stays_within(columns),
    )
    if saved is None:
        raise not_found()
    view = views.link(console.config, saved.row, request.warnings)
    await console.published(saved, view.id)
    return Answer(view)


# ---- Domains -------------------------------------------------------------------------------


async def create_domain(console: Console, request: Request) -> Answer:
    body: shapes.DomainIn = request.body
    saved = await console.run(
        objects.create_domain,
        console.ledger,
        origin(body),
        brand=fields.parse_reference("brd", body.brand_id),
        host=body.domain,
    )
    view = views.domain(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_domains(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    rows = await console.run(
        queries.object_page,
        console.ledger,
        domains,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, views.domain, paging.by_number))


async def domain_allowed(console: Console, request: Request) -> Answer:
    query: shapes.AllowedQuery = request.query
    try:
        host = checks.domain(query.domain.removesuffix("."))
    except ValueError:
        raise not_found() from None
    row = await console.run(queries.domain_by_host, console.ledger, host)
    if row is None:
        raise not_found()
    return Answer(views.DomainAllowed(allowed=True))
