"""Routes of partner pixels: made, read, changed, deleted, signed, tried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from headwater import ids
from headwater.book import macros
from headwater.book.pixel_check import Checked, check_pixel
from headwater.console import fields, paging, pixel_sample, pixel_views, views
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.catalog import written
from headwater.console.context import Console, Request, not_found, origin
from headwater.console.keys import is_admin
from headwater.console.own_links import own_partner, reach_of
from headwater.console.pixel_shapes import ANY, PixelIn, PixelPatch
from headwater.console.views import Page
from headwater.ledger import firing_queries, firings, partner_pixels, queries
from headwater.ledger.objects import Saved, refused_field
from headwater.ledger.schema import partners, programs
from headwater.model import signing, webhooks
from headwater.model.destination import SUB_IDS
from headwater.model.outbound import Rules, rules_of
from headwater.model.pixels import ANY_PROGRAM, NOT_FOR_SALES

Row = dict[str, Any]

_CHECKED: Final = (
    "commission",
    "product_id",
    "type",
    "template",
    "rule",
    "delay_seconds",
    "test_url",
)
_TEST_SUB_IDS: Final = SUB_IDS[:5]


def _rules(console: Console) -> Rules:
    return rules_of(console.config.egress_http, console.config.egress_allow)


def _required(checked: Checked) -> Checked:
    """What was checked, unless it has faults. Raises RequestRefused with all of them."""
    if checked.faults:
        raise refused(list(checked.faults))
    return checked


# ---- One or many -----------------------------------------------------------------------------


async def create_pixel(console: Console, request: Request) -> Answer:
    body: PixelIn = request.body
    checked = await _checked(console, body)
    saved = await console.run(
        partner_pixels.create_pixel,
        console.ledger,
        origin(body),
        partner=request.reference("id", "prt"),
        columns={**checked.columns, "status": body.status},
    )
    return await _told(console, saved, [*request.warnings, *checked.warnings])


async def _checked(console: Console, body: PixelIn) -> Checked:
    """A pixel's columns. Raises RequestRefused: for an unknown program, for what does not fit."""
    number = ANY_PROGRAM
    if body.program_id not in (None, ANY):
        reference = fields.parse_reference("prg", body.program_id)
        program = await console.run(queries.object_row, console.ledger, programs, reference)
        if program is None:
            raise refused_field("program_id", "unknown_program", "no such program")
        number = program["id"]
    value = {name: getattr(body, name) for name in _CHECKED}
    return _required(check_pixel({**value, "program": number or None}, _rules(console)))


async def _told(console: Console, saved: Saved | None, warnings: Sequence[str]) -> Answer:
    """The answer of a write, once the log knows of it."""
    if saved is None:
        raise not_found()
    await console.published(saved, ids.object_text("pxl", saved.row["id"]))
    (view,) = await _views(console, [saved.row], warnings)
    return written(saved, view)


async def _views(
    console: Console, rows: Sequence[Row], warnings: Sequence[str] | None = None
) -> list[pixel_views.Pixel]:
    numbers = [row["id"] for row in rows]
    endpoints = await console.run(firing_queries.endpoints, console.ledger, numbers)
    fired = await console.run(firing_queries.last_fired_ms, console.ledger, numbers)
    told = UNSET if warnings is None else warnings
    return [
        pixel_views.pixel(row, endpoints.get(row["id"]), fired.get(row["id"]), told) for row in rows
    ]


async def list_pixels(console: Console, request: Request) -> Answer:
    query: fields.PageQuery = request.query
    partner, brand = await own_partner(console, request)
    rows = await console.run(
        partner_pixels.pixel_page,
        console.ledger,
        partner,
        brand,
        after=paging.after_number(query),
        count=query.limit + 1,
    )
    page: Page[Row] = paging.page(query, rows, lambda row: row, paging.by_number)
    items = [_shown(request, view) for view in await _views(console, page.items)]
    return Answer(Page(items=items, next_cursor=page.next_cursor))


async def read_pixel(console: Console, request: Request) -> Answer:
    (view,) = await _views(console, [await _own_pixel(console, request)])
    return Answer(_shown(request, view))


def _shown(request: Request, view: pixel_views.Pixel) -> pixel_views.Pixel:
    """As the caller is told of a pixel: the secrets in its URLs are the partner's."""
    is_own = is_admin(request.key or {"scopes": ()}) or reach_of(request).partner is not None
    return view if is_own else pixel_views.without_secrets(view)


async def _own_pixel(console: Console, request: Request) -> Row:
    """The pixel in the path, of the partner in it. Raises RequestRefused `not_found`."""
    partner, brand = await own_partner(console, request)
    reference = request.reference("pixel_id", "pxl")
    row = await console.run(partner_pixels.pixel_row, console.ledger, partner, reference, brand)
    if row is None:
        raise not_found()
    return row


async def change_pixel(console: Console, request: Request) -> Answer:
    body: PixelPatch = request.body
    given, rules = fields.given(body), _rules(console)
    warnings = list(request.warnings)

    def change(row: Mapping[str, Any]) -> Mapping[str, Any]:
        checked = _required(check_pixel({**_value(row, given), **given}, rules))
        warnings.extend(checked.warnings)
        return {**checked.columns, "status": given.get("status", row["status"])}

    saved = await console.run(
        partner_pixels.change_pixel,
        console.ledger,
        request.reference("id", "prt"),
        request.reference("pixel_id", "pxl"),
        change,
    )
    return await _told(console, saved, warnings)


def _value(row: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A pixel's row as `check_pixel` takes it; a delay that the new rule has not is left out."""
    rule = given.get("rule", row["rule"])
    has_delay = row["delay_ms"] and rule in (None, NOT_FOR_SALES)
    return {
        **{name: row[name] for name in ("commission", "type", "template", "rule", "test_url")},
        "program": row["program_number"] or None,
        "product_id": pixel_views.product_of(row["slot"]),
        "delay_seconds": row["delay_ms"] // 1000 if has_delay else None,
    }


async def delete_pixel(console: Console, request: Request) -> Answer:
    saved = await console.run(
        partner_pixels.delete_pixel,
        console.ledger,
        request.reference("id", "prt"),
        request.reference("pixel_id", "pxl"),
    )
    return await _told(console, saved, [])


async def enable_pixel(console: Console, request: Request) -> Answer:
    """Deliveries begin again; a pixel that is not disabled stays as it is."""
    row = await _own_pixel(console, request)
    await console.run(firings.enable, console.ledger, row["id"])
    (view,) = await _views(console, [row])
    return Answer(view)


# ---- Secrets ---------------------------------------------------------------------------------


async def create_pixel_secret(console: Console, request: Request) -> Answer:
    """A secret, told this once; of earlier ones the newest stays valid."""
    salt = ids.link_salt()
    saved = await console.run(
        partner_pixels.add_salt,
        console.ledger,
        request.reference("id", "prt"),
        request.reference("pixel_id", "pxl"),
        salt,
    )
    if saved is None:
        raise not_found()
    pixel = ids.object_text("pxl", saved.row["id"])
    await console.published(saved, pixel)
    secret = webhooks.secret(await console.identity_key(), saved.row["id"], salt)
    valid = len(saved.row["signing_salts"])
    return Answer(pixel_views.PixelSecret(pixel_id=pixel, secret=secret, valid=valid), 201)


async def retire_pixel_secrets(console: Console, request: Request) -> Answer:
    """From now on the newest secret alone is valid."""
    saved = await console.run(
        partner_pixels.keep_newest_salt,
        console.ledger,
        request.reference("id", "prt"),
        request.reference("pixel_id", "pxl"),
    )
    return await _told(console, saved, [])


# ---- Trying out ------------------------------------------------------------------------------


async def preview_pixel(console: Console, request: Request) -> Answer:
    return Answer(await _preview(console, await _own_pixel(console, request), []))


async def preview_new_pixel(console: Console, request: Request) -> Answer:
    """As the body that makes a pixel, which is not made."""
    body: PixelIn = request.body
    checked = await _checked(console, body)
    reference = request.reference("id", "prt")
    owner = await console.run(queries.object_row, console.ledger, partners, reference)
    if owner is None:
        raise not_found()
    row = {**checked.columns, "id": 0, "partner_id": owner["id"]}
    return Answer(await _preview(console, row, [*request.warnings, *checked.warnings]))


async def _preview(console: Console, row: Row, warnings: list[str]) -> pixel_views.PixelPreview:
    program = None
    if row["program_number"] != ANY_PROGRAM:
        program = await console.run(
            queries.object_row, console.ledger, programs, row["program_number"]
        )
    values = pixel_sample.values(row, program)
    kind, template = row["type"], row["template"]
    return pixel_views.PixelPreview(
        type=kind,
        url=macros.render_url(macros.source_of(kind, template), values),
        rendered=macros.preview(kind, template, values),
        values=macros.values_in(template, values),
        warnings=warnings,
    )


async def read_test_links(console: Console, request: Request) -> Answer:
    """Every answer has sub ids of its own, so that what comes of a test is told from any other."""
    row = await _own_pixel(console, request)
    _partner, brand = await own_partner(console, request)
    found = await console.run(
        firing_queries.links_to_test,
        console.ledger,
        row["partner_id"],
        row["program_number"],
        brand,
    )
    key = await console.identity_key()
    values = {name: f"test-{ids.encode(ids.nonce())}" for name in _TEST_SUB_IDS}
    return Answer(
        pixel_views.PixelTestLinks(
            test_url=row["test_url"],
            links=[
                pixel_views.PixelTestLink(
                    program_id=ids.object_text("prg", link["program_id"]),
                    url=views.link_url(console.config, link) + _query(key, link, values),
                )
                for link in found
            ],
            values=values,
        )
    )


def _query(key: bytes, link: Row, values: Mapping[str, str]) -> str:
    """The query of a test link, signed where the program's links are."""
    program = link["program"]
    sent = {"hw_test": "1", **values}
    if program["link_salts"]:
        secret = signing.secret(key, program["id"], program["link_salts"][-1])
        partner = ids.object_text("prt", link["partner_id"])
        sent[signing.SIGNATURE] = signing.sign(secret, program["code"], partner, values)
    return "?" + "&".join(f"{name}={value}" for name, value in sent.items())
