"""Handlers of terms, exchange rates and settings of money."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from headwater import clock
from headwater.book.money import rate_parts
from headwater.book.reasons import REVERSAL_REASONS
from headwater.console import fields, paging, terms_values, terms_views
from headwater.console.answers import Answer
from headwater.console.catalog import program_row, written
from headwater.console.context import Console, Request, not_found, origin
from headwater.console.events import number_of
from headwater.console.own_links import reach_of
from headwater.console.terms_shapes import (
    MoneySettingsIn,
    RateIn,
    RatesQuery,
    TermsIn,
    TermsPatch,
    TermsQuery,
)
from headwater.ledger import queries, rates
from headwater.ledger import terms as store
from headwater.ledger.objects import Saved
from headwater.ledger.schema import brands, partners, programs
from headwater.ledger.terms import TEMPLATE

Row = dict[str, Any]


def _view(
    row: Row, warnings: list[str] | UnsetType = UNSET, partner: int | None = None
) -> terms_views.Terms:
    """`partner`: as this partner is told of them."""
    value = row["value"]
    if partner is not None:
        value = terms_values.partners_value(value, partner)
    told = terms_values.api_value(value)
    return terms_views.terms(row, told, terms_values.state_of(row, clock.now_ms()), warnings)


async def _published(console: Console, request: Request, saved: Saved) -> Answer:
    view = _view(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def create_terms(console: Console, request: Request) -> Answer:
    body: TermsIn = request.body
    program = await program_row(console, request)
    saved = await console.run(
        store.create_terms,
        console.ledger,
        origin(body, program["id"]),
        program=program["id"],
        partner=body.partner_id and fields.parse_reference("prt", body.partner_id),
        make=lambda owner, now_ms: terms_values.value_of(owner, body, now_ms),
    )
    if saved is None:
        raise not_found()
    return await _published(console, request, saved)


async def list_terms(console: Console, request: Request) -> Answer:
    query: TermsQuery = request.query
    program = await own_program(console, request)
    owners = None
    wanted = await number_of(console, partners, "prt", query.partner_id)
    if query.partner_id is not None:
        owners = [wanted or -1]
    reach = reach_of(request)
    if reach.partner is not None:
        mine = await _owners_shown(console, program, reach.partner)
        owners = mine if owners is None else [each for each in owners if each in mine]
    rows = await console.run(
        store.terms_page,
        console.ledger,
        program["id"],
        owners,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(
        paging.page(query, rows, lambda row: _view(row, partner=reach.partner), paging.by_number)
    )


async def _owners_shown(console: Console, program: Row, partner: int) -> list[int]:
    """Whose terms a partner sees: its own; the template while it has none, for it holds then."""
    owner = await console.run(store.owner_of, console.ledger, program, partner)
    return [partner] if owner.own else [partner, TEMPLATE]


async def own_program(console: Console, request: Request) -> Row:
    """The program in the path, if the key reaches it. Raises RequestRefused `not_found`."""
    program = await program_row(console, request)
    reach = reach_of(request)
    if reach.brand not in (None, program["brand_id"]):
        raise not_found()
    if reach.partner is not None and not await console.run(
        store.is_enrolled, console.ledger, program["id"], reach.partner
    ):
        raise not_found()
    return program


async def _terms(console: Console, request: Request) -> Row:
    """The terms in the path, if the key reaches them. Raises RequestRefused `not_found`."""
    row = await console.run(store.terms_row, console.ledger, request.reference("id", "trm"))
    reach = reach_of(request)
    if row is None or reach.brand not in (None, row["brand"]):
        raise not_found()
    program = await console.run(queries.object_row, console.ledger, programs, row["program_id"])
    if program is None:
        raise not_found()
    if reach.partner is not None:
        is_in = await console.run(
            store.is_enrolled, console.ledger, row["program_id"], reach.partner
        )
        shown = await _owners_shown(console, program, reach.partner)
        if not is_in or row["partner_id"] not in shown:
            raise not_found()
    return row


async def read_terms(console: Console, request: Request) -> Answer:
    row = await _terms(console, request)
    return Answer(_view(row, partner=reach_of(request).partner))


async def change_terms(console: Console, request: Request) -> Answer:
    body: TermsPatch = request.body
    row = await _terms(console, request)
    saved = await console.run(
        store.change_terms,
        console.ledger,
        row["id"],
        lambda owner, row, now_ms: terms_values.altered(owner, row, body, now_ms),
    )
    if saved is None:
        raise not_found()
    return await _published(console, request, saved)


async def delete_terms(console: Console, request: Request) -> Answer:
    row = await _terms(console, request)
    saved = await console.run(
        store.change_terms,
        console.ledger,
        row["id"],
        lambda _owner, row, now_ms: terms_values.deleted(row, now_ms),
    )
    if saved is None:
        raise not_found()
    return await _published(console, request, saved)


# ---- Exchange rates ------------------------------------------------------------------------


async def create_rate(console: Console, request: Request) -> Answer:
    body: RateIn = request.body
    names = ("currency_from", "currency_to", "rate", "source", "date")
    columns: Row = {name: getattr(body, name) for name in names}
    at_ms = clock.now_ms() if body.starts_at is None else clock.parse_iso_ms(body.starts_at)
    saved = await console.run(
        rates.create_rate,
        console.ledger,
        origin(body),
        brand=fields.parse_reference("brd", body.brand_id),
        columns={**columns, "from_ms": at_ms},
        fraction=rate_parts(body.rate),
    )
    view = terms_views.rate(saved.row, request.warnings)
    await console.published(saved, view.id)
    return written(saved, view)


async def list_rates(console: Console, request: Request) -> Answer:
    query: RatesQuery = request.query
    brand = await number_of(console, brands, "brd", query.brand_id)
    bound = reach_of(request).brand
    if bound is not None:
        brand = bound if brand in (None, bound) else 0
    rows = await console.run(
        rates.rate_page,
        console.ledger,
        brand,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    return Answer(paging.page(query, rows, terms_views.rate, paging.by_number))


# ---- Settings of money ---------------------------------------------------------------------


def _settings(program: Row, own: list[str]) -> terms_views.MoneySettings:
    reasons = [
        terms_views.ReversalReason(code=code, meaning=reason.meaning, is_own=False)
        for code, reason in REVERSAL_REASONS.items()
        if reason.actor == "manager"
    ]
    reasons += [
        terms_views.ReversalReason(code=code, meaning="The program's own.", is_own=True)
        for code in own
    ]
    return terms_views.MoneySettings(
        program_id=f"prg_{program['id']}",
        reversal_reasons=reasons,
    )


async def read_money_settings(console: Console, request: Request) -> Answer:
    program = await own_program(console, request)
    own = await console.run(rates.reversal_reasons, console.ledger, program["id"])
    return Answer(_settings(program, own))


async def put_money_settings(console: Console, request: Request) -> Answer:
    body: MoneySettingsIn = request.body
    program = await own_program(console, request)
    saved = await console.run(
        rates.put_reversal_reasons, console.ledger, program["id"], body.reversal_reasons
    )
    if saved is None:
        raise not_found()
    view = _settings(program, body.reversal_reasons)
    view.warnings = request.warnings
    await console.published(saved, view.program_id)
    return Answer(view)
