"""The postback: a conversion reported by networks that can only GET."""

from __future__ import annotations

from aiohttp import web

from headwater.edge import decide, flat
from headwater.edge.auth import EVENTS, key_of, refuse_partner
from headwater.edge.context import Edge
from headwater.edge.conversion import Origin, prepare
from headwater.edge.query import Query, split_target
from headwater.edge.responses import text_answer
from headwater.errors import RequestRefused
from headwater.model.reasons import status_of
from headwater.model.records import Source, Trust

_ROUTE = "postback"


async def get_postback(edge: Edge, request: web.BaseRequest) -> web.Response:
    """GET /postback: 200 `OK`, else the reason's status with its code as text."""
    try:
        status = await _report(edge, request)
        if status == decide.ANSWERED["conflict"]:
            raise RequestRefused("order_conflict")
    except RequestRefused as refusal:
        edge.meters.refused(_ROUTE, refusal.code)
        headers = {name: refusal.headers[name] for name in refusal.headers}
        headers.pop("WWW-Authenticate", None)
        return text_answer(refusal.code, refusal.status or status_of(refusal.code), headers)
    return text_answer("OK")


async def _report(edge: Edge, request: web.BaseRequest) -> int:
    query = Query(split_target(request.raw_path)[1])
    token = query.get("token")
    credential = token.encode("utf-8", "replace") if token else None
    key = key_of(edge.table, credential, EVENTS)
    refuse_partner(key)
    if query.overflow:
        raise RequestRefused("too_many_parameters")
    program = edge.table.program(query.get("program") or "")
    body = flat.fields(query, program.aliases if program else {})
    report = prepare(edge, body, Origin(Source.POSTBACK, Trust.SERVER, brand=key.brand))
    status, _decision = await decide.report(edge, report, wait=True)
    return status
