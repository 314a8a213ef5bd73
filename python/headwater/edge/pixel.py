"""The pixel: a conversion reported by an image. The shopper sees a GIF whatever happens."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import hdrs, web

from headwater.edge import cookies, flat, once
from headwater.edge.accept import DeadlinePassed
from headwater.edge.callers import browser_origin, host_of
from headwater.edge.context import Edge
from headwater.edge.conversion import Origin, prepare, prepare_rejection
from headwater.edge.journal import submit
from headwater.edge.query import Query, split_target
from headwater.edge.responses import gif
from headwater.errors import JournalError, RequestRefused
from headwater.model.records import Source

log = logging.getLogger(__name__)

_SOURCE = "pixel"


async def get_pixel(edge: Edge, request: web.BaseRequest) -> web.Response:
    """GET /px.gif. The GIF waits until the report is safe, up to the accept deadline."""
    if request.method == hdrs.METH_HEAD:
        return gif()
    try:
        await _record(edge, request)
    except (JournalError, DeadlinePassed):
        edge.meters.rejected(_SOURCE, "unavailable")
    except Exception as error:  # noqa: BLE001 - a shop's page is never broken by us
        edge.meters.rejected(_SOURCE, "internal_error")
        log.error("pixel failed", extra={"fields": {"error": type(error).__name__}})
    return gif()


def _name_origin_of_cookie(
    edge: Edge, request: web.BaseRequest, origin: Origin, body: dict[str, Any]
) -> None:
    """Keep with a conversion whose cookie it was that its visitor came with: of the brand's own
    tracking host, or of another site's.
    """
    program = edge.table.program(str(body.get("program", "")))
    if origin.visitor and program is not None:
        is_own = cookies.site(host_of(request)) == program.site
        origin.params = {"cookie_origin": "http" if is_own else "third_party"}


async def _record(edge: Edge, request: web.BaseRequest) -> None:
    query = Query(split_target(request.raw_path)[1])
    sent = flat.read(edge.table, query)
    body = sent.fields
    origin = browser_origin(edge, request, Source.PIXEL)
    kind = "conversion"
    try:
        if query.overflow:
            raise RequestRefused("too_many_parameters")
        sent.named.refuse_conflicts()
        _name_origin_of_cookie(edge, request, origin, body)
        origin.idempotency_key = once.take_key(body)
        report = prepare(edge, body, origin)
    except RequestRefused as refusal:
        edge.meters.rejected(_SOURCE, refusal.code)
        if refusal.code == "method_disabled":
            return
        kind = "rejection"
        report = prepare_rejection(edge, refusal.code, body, origin)
    future = submit(edge, report.brand, report.record)
    edge.click_wait.limit(future)
    await future
    edge.meters.accepted(kind)
