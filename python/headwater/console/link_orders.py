"""From what a request says of links to what the ledger is asked to make; many links at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from headwater import clock
from headwater.console import bodies, checks, fields, shapes, views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request, origin
from headwater.errors import FieldFault, RequestRefused
from headwater.ledger import linking, objects
from headwater.ledger.objects import Saved
from headwater.model.reasons import status_of


def order_of(body: shapes.LinkIn) -> linking.LinkOrder:
    """The order of one link."""
    columns = columns_of(fields.given(body))
    request = linking.LinkRequest(
        code=body.code,
        domain=_domain(body.domain),
        **{name: columns[name] for name in _REQUEST_COLUMNS},
    )
    return linking.LinkOrder(
        origin(body),
        fields.parse_reference("prg", body.program_id),
        fields.parse_reference("prt", body.partner_id),
        request,
        stays_within(columns),
    )


_REQUEST_COLUMNS = (
    "destination_url",
    "utm",
    "expires_ms",
    "expired_destination_url",
    "targets",
    "honeypot",
)


def columns_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a link that were given, as columns."""
    columns = dict(given)
    if "expires_at" in columns:
        text = columns.pop("expires_at")
        columns["expires_ms"] = None if text is None else clock.parse_iso_ms(text)
    if "utm" in columns:
        columns["utm"] = utm_of(columns["utm"])
    if "targets" in columns:
        columns["targets"] = [msgspec.to_builtins(target) for target in columns["targets"]]
    return columns


def utm_of(utm: shapes.Utm) -> dict[str, str]:
    """The utm parameters that have a value."""
    return {name: value for name, value in fields.given(utm).items() if value is not None}


def stays_within(columns: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
    """A check that no destination among a link's columns leaves the program it is given."""
    urls = [
        ("destination_url", columns.get("destination_url")),
        ("expired_destination_url", columns.get("expired_destination_url")),
        *(("targets", target["destination_url"]) for target in columns.get("targets", ())),
    ]
    return partial(_leaves, [(field, url) for field, url in urls if url is not None])


def _leaves(urls: Iterable[tuple[str, str]], program: Mapping[str, Any]) -> None:
    for field, url in urls:
        try:
            checks.within_program(url, program)
        except ValueError as error:
            raise objects.refused_field(field, "invalid_destination", str(error)) from None


def _domain(text: str | None) -> int | str | None:
    """A domain's id or external id, or its host: a host has no colon and no `dom_`."""
    if text is None:
        return None
    if text.startswith("ext:"):
        return text[4:]
    head, _, tail = text.partition("dom_")
    return int(tail) if not head and tail.isdecimal() and len(tail) <= 10 else text


# ---- Many at once --------------------------------------------------------------------------


async def create_links(console: Console, request: Request) -> Answer:
    """Each link is made or refused by itself; answers stand in the order of the request."""
    body: shapes.LinksIn = request.body
    results: list[views.LinkResult | None] = [None] * len(body.links)
    orders: list[tuple[int, linking.LinkOrder]] = []
    for index, item in enumerate(body.links):
        try:
            link, _ = bodies.decode(shapes.LinkIn, item)
            orders.append((index, order_of(link)))
        except RequestRefused as refusal:
            results[index] = _refused(index, refusal)
    made = await console.run(linking.create_links, console.ledger, [order for _, order in orders])
    newest: Saved | None = None
    for (index, _), outcome in zip(orders, made, strict=True):
        if isinstance(outcome, RequestRefused):
            results[index] = _refused(index, outcome)
            continue
        results[index] = _made(console, index, outcome)
        if newest is None or outcome.revision > newest.revision:
            newest = outcome
    if newest is not None:
        await console.published(newest, views.link(console.config, newest.row).id)
    return Answer([result for result in results if result is not None], 207)


def _made(console: Console, index: int, saved: Saved) -> views.LinkResult:
    link = views.link(console.config, saved.row)
    return views.LinkResult(
        index=index,
        status=201 if saved.created else 200,
        id=link.id,
        code=None,
        link=views.ShortLink(id=link.id, code=link.code, url=link.url),
        errors=[],
    )


def _refused(index: int, refusal: RequestRefused) -> views.LinkResult:
    faults: tuple[FieldFault, ...] = refusal.faults
    return views.LinkResult(
        index=index,
        status=refusal.status or status_of(refusal.code),
        id=None,
        code=refusal.code,
        link=None,
        errors=[views.LinkFault(field=f.field, code=f.code, detail=f.detail) for f in faults],
    )
