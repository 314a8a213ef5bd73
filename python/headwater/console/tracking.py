"""Routes of enrolments, links and tracking domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import UNSET

from headwater import clock
from headwater.console import checks, fields, fraud_config, paging, shapes, views
from headwater.console.answers import Answer
from headwater.console.catalog import program_row, written
from headwater.console.context import Console, Request, not_found, origin
from headwater.console.events import number_of
from headwater.ledger import enrolling, objects, queries
from headwater.ledger.schema import domains, links, partners, programs

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


def _leaves(url: str | None, program: Mapping[str, Any]) -> None:
    """Raise RequestRefused when a link's own destination leaves its program."""
    if url is None:
        return
    try:
        checks.within_program(url, program)
    except ValueError as error:
        raise objects.refused_field("destination_url", "invalid_destination", str(error)) from None


def _utm(utm: shapes.Utm) -> dict[str, str]:
    return {name: value for name, value in fields.given(utm).items() if value is not None}


def _time_ms(text: str | None) -> int | None:
    return None if text is None else clock.parse_iso_ms(text)


def _domain(text: str | None) -> int | str | None:
    """A domain's id or external id, or its host: a host has no colon and no `dom_`."""
    if text is None:
        return None
    if text.startswith("ext:"):
        return text[4:]
    head, _, tail = text.partition("dom_")
    return int(tail) if not head and tail.isdecimal() and len(tail) <= 10 else text


async def create_link(console: Console, request: Request) -> Answer:
    body: shapes.LinkIn = request.body
    link = enrolling.LinkRequest(
        code=body.code,
        domain=_domain(body.domain),
        destination_url=body.destination_url,
        utm=_utm(body.utm),
        expires_ms=_time_ms(body.expires_at),
        honeypot=body.honeypot,
    )
    saved = await console.run(
        enrolling.create_link,
        console.ledger,
        origin(body),
        program=fields.parse_reference("prg", body.program_id),
        partner=fields.parse_reference("prt", body.partner_id),
        request=link,
        check=partial(_leaves, body.destination_url),
    )
    view = views.link(console.config, saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_links(console: Console, request: Request) -> Answer:
    query: shapes.LinksQuery = request.query
    program = await number_of(console, programs, "prg", query.program_id)
    partner = await number_of(console, partners, "prt", query.partner_id)
    rows = await console.run(
        queries.link_page,
        console.ledger,
        program=program,
        partner=partner,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    view: Callable[[dict[str, Any]], views.Link] = partial(views.link, console.config)
    return Answer(paging.page(query, rows, view, paging.by_number))


async def read_link(console: Console, request: Request) -> Answer:
    row = await console.run(
        queries.object_row, console.ledger, links, request.reference("id", "lnk")
    )
    if row is None:
        raise not_found()
    return Answer(views.link(console.config, row))


async def change_link(console: Console, request: Request) -> Answer:
    given = fields.given(request.body)
    if "expires_at" in given:
        given["expires_ms"] = _time_ms(given.pop("expires_at"))
    if "utm" in given:
        given["utm"] = _utm(given["utm"])
    saved = await console.run(
        enrolling.change_link,
        console.ledger,
        request.reference("id", "lnk"),
        given,
        partial(_leaves, given.get("destination_url")),
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
    return Answer(views.DomainAllowed(domain=row["host"], allowed=True))
