"""The pixel: a conversion reported by an image. The shopper sees a GIF whatever happens."""

from __future__ import annotations

import logging

from aiohttp import hdrs, web

from headwater.edge import flat, once
from headwater.edge.accept import DeadlinePassed
from headwater.edge.callers import browser_origin
from headwater.edge.context import Edge
from headwater.edge.conversion import prepare, prepare_rejection
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


async def _record(edge: Edge, request: web.BaseRequest) -> None:
    query = Query(split_target(request.raw_path)[1])
    program = edge.table.program(query.get("program") or "")
    body = flat.fields(query, program.aliases if program else {})
    origin = browser_origin(edge, request, Source.PIXEL)
    kind = "conversion"
    try:
        if query.overflow:
            raise RequestRefused("too_many_parameters")
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
