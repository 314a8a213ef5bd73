"""The postback: a conversion reported by networks that can only GET."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from headwater import limits
from headwater.edge import decide, flat, statuses
from headwater.edge.auth import EVENTS, key_of, refuse_partner
from headwater.edge.context import Edge
from headwater.edge.conversion import Origin, prepare, prepare_rejection
from headwater.edge.query import Query, split_target
from headwater.edge.responses import text_answer
from headwater.edge.text import bytes_count, is_plain
from headwater.errors import FieldFault, RequestRefused
from headwater.model.identifiers import looks_like_email
from headwater.model.reasons import status_of
from headwater.model.records import Source, Trust

_ROUTE = "postback"
_OK = "OK"
# What a network waits for in the answer: no character that could begin a page.
_ANSWER = re.compile(r"[\x20-\x3b\x3d\x3f-\x7e]{1,64}", re.ASCII)


async def get_postback(edge: Edge, request: web.BaseRequest) -> web.Response:
    """GET /postback: 200 `OK`, or what `return` asks for; else the reason's status with its code
    as text.
    """
    try:
        query = Query(split_target(request.raw_path)[1])
        report = flat.read(edge.table, query)
        answer = await _take(edge, query, report)
    except RequestRefused as refusal:
        edge.meters.refused(_ROUTE, refusal.code)
        headers = {name: refusal.headers[name] for name in refusal.headers}
        headers.pop("WWW-Authenticate", None)
        return text_answer(refusal.code, refusal.status or status_of(refusal.code), headers)
    return text_answer(answer)


async def _take(edge: Edge, query: Query, report: flat.Flat) -> str:
    """Record what is reported; the answer's text. Raises RequestRefused."""
    token = report.controls.get("token")
    credential = token.encode("utf-8", "replace") if token else None
    key = key_of(edge.table, credential, EVENTS)
    refuse_partner(key)
    if query.overflow:
        raise RequestRefused("too_many_parameters")
    report.named.refuse_conflicts()
    answer = report.controls.get("return", _OK)
    if not _ANSWER.fullmatch(answer):
        fault = FieldFault("return", "invalid", "1 to 64 printable ASCII characters but < and >.")
        raise RequestRefused("invalid", fault.detail, faults=(fault,))
    origin = Origin(Source.POSTBACK, Trust.SERVER, brand=key.brand)
    try:
        prepared = prepare(edge, report.fields, origin)
    except RequestRefused as refusal:
        if refusal.code not in statuses.KEPT:
            raise
        await _keep_rejection(edge, refusal.code, report.fields, origin)
        return answer
    status, _decision = await decide.report(edge, prepared, wait=True)
    if status == decide.ANSWERED["conflict"]:
        raise RequestRefused("order_conflict")
    return answer


async def _keep_rejection(edge: Edge, code: str, body: dict[str, Any], origin: Origin) -> None:
    """Record that a network takes back, or never gave, what it might have reported before."""
    order_id = str(body.get("order_id", ""))
    is_good = is_plain(order_id) and bytes_count(order_id) <= limits.ORDER_ID_BYTES_MAX
    is_good = is_good and not looks_like_email(order_id)
    report = prepare_rejection(edge, code, body, origin, order_id=order_id if is_good else None)
    edge.meters.rejected(_ROUTE, code)
    await decide.safe(edge, decide.submit(edge, report.brand, report.record), "rejection")
