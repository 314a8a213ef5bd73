"""Server-to-server routes: clicks, conversions, identifies, and batches of them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, NamedTuple

from aiohttp import hdrs, web

from headwater import ids, limits
from headwater.edge import decide, naming
from headwater.edge.auth import EVENTS, bearer, key_of, refuse_partner
from headwater.edge.body import read_body
from headwater.edge.context import Edge
from headwater.edge.conversion import Origin, prepare
from headwater.edge.fields import ClickIn, ConversionIn, IdentifyIn
from headwater.edge.links import Key
from headwater.edge.observations import prepare_click, prepare_identify
from headwater.edge.responses import json_answer
from headwater.edge.text import is_plain
from headwater.errors import FieldFault, RequestRefused
from headwater.model.reasons import status_of
from headwater.model.records import Source, Trust

IDEMPOTENCY_KEY = "Idempotency-Key"
# A batch gives way to other requests after this many events: a few milliseconds of work.
_BATCH_STEP = 64
_CONFLICT = b" order_conflict"


class _Accepted(NamedTuple):
    """One event of a batch on its way: its answer, and what the answer waits for."""

    status: int
    text: str
    kind: str
    future: asyncio.Future[bool]
    conversion_brand: int | None


class Once:
    """The Idempotency-Key of one request, if it has one.

    It is remembered after the body is found good, so that a refused one can be mended and sent
    again under the same key.
    """

    def __init__(self, request: web.BaseRequest, key: Key, raw: bytes, origin: Origin) -> None:
        self.origin = origin
        self.conflicted = False
        """The key came before with this body, and the answer was an order conflict."""
        self._name = ""
        value = request.headers.get(IDEMPOTENCY_KEY)
        if value is None:
            return
        if len(value) > limits.IDEMPOTENCY_KEY_BYTES_MAX or not is_plain(value):
            fault = FieldFault(IDEMPOTENCY_KEY, "invalid", "1 to 255 printable ASCII characters.")
            raise RequestRefused("invalid", fault.detail, faults=(fault,))
        path = request.raw_path.partition("?")[0]
        owner = f"brand {key.brand}" if key.brand is not None else f"key {key.number}"
        self._name = hashlib.sha256(f"{owner}\n{path}\n{value}".encode()).hexdigest()
        self._digest = hashlib.sha256(raw).digest()
        origin.idempotency_key = f"{path}\n{value}"

    async def check(self, edge: Edge) -> bool:
        """Whether the key came before. Raises RequestRefused when it came with another body."""
        if not self._name:
            return False
        found = await edge.memory.first(self._name, self._digest)
        if found is None:
            return False
        if not found.startswith(self._digest):
            raise RequestRefused("idempotency_conflict")
        self.conflicted = found.endswith(_CONFLICT)
        return True

    async def conflict(self, edge: Edge) -> None:
        """Remember that this request was answered with an order conflict."""
        if self._name:
            await edge.memory.replace(self._name, self._digest + _CONFLICT)


async def post_click(edge: Edge, request: web.BaseRequest) -> web.Response:
    """POST /v1/clicks"""
    key, body, once = await _admit(edge, request, limits.BODY_BYTES_MAX)
    named = naming.of_event(edge.table, body, ClickIn)
    prepared = prepare_click(edge, named.fields, once.origin, key)
    repeated = await once.check(edge)
    future = decide.submit(edge, prepared.brand, prepared.record)
    await decide.safe(edge, future, prepared.kind, repeated=repeated)
    text = ids.event_text("clk", prepared.event_id)
    return json_answer({"click_id": text, "warnings": prepared.warnings + named.warnings}, 201)


async def post_identify(edge: Edge, request: web.BaseRequest) -> web.Response:
    """POST /v1/identify"""
    key, body, once = await _admit(edge, request, limits.BODY_BYTES_MAX)
    refuse_partner(key)
    named = naming.of_event(edge.table, body, IdentifyIn)
    prepared = prepare_identify(edge, named.fields, once.origin)
    repeated = await once.check(edge)
    future = decide.submit(edge, prepared.brand, prepared.record)
    await decide.safe(edge, future, "identify", repeated=repeated)
    text = ids.event_text("evt", prepared.event_id)
    return json_answer({"event_id": text, "warnings": prepared.warnings + named.warnings}, 202)


async def post_conversion(edge: Edge, request: web.BaseRequest) -> web.Response:
    """POST /v1/conversions"""
    key, body, once = await _admit(edge, request, limits.BODY_BYTES_MAX)
    refuse_partner(key)
    named = naming.of_event(edge.table, body, ConversionIn)
    prepared = prepare(edge, named.fields, once.origin)
    repeated = await once.check(edge)
    at_once = _prefers_async(request)
    conversion_id = prepared.conversion_text
    conflict = RequestRefused("order_conflict", extra={"conversion_id": conversion_id})
    if once.conflicted:
        raise conflict
    status, decision = await decide.report(edge, prepared, wait=not at_once, repeated=repeated)
    if status == decide.ANSWERED["conflict"]:
        await once.conflict(edge)
        raise conflict
    headers = {"Location": f"/v1/conversions/{conversion_id}"}
    if at_once:
        headers["Preference-Applied"] = "respond-async"
    warnings = prepared.warnings + named.warnings
    answer = {**decide.public(decision), "warnings": warnings}
    return json_answer(answer, status, headers)


async def post_events(edge: Edge, request: web.BaseRequest) -> web.Response:
    """POST /v1/events: each event is accepted or refused for itself; none waits for a decision."""
    key, body, once = await _admit(edge, request, limits.BATCH_BODY_BYTES_MAX)
    if not isinstance(body, list):
        raise RequestRefused("invalid", "A batch is an array of events.")
    if len(body) > limits.BATCH_EVENTS_MAX:
        raise RequestRefused("batch_too_large", f"At most {limits.BATCH_EVENTS_MAX} events.")
    repeated = await once.check(edge)
    sent: list[_Accepted | RequestRefused] = []
    for index, event in enumerate(body):
        if index % _BATCH_STEP == _BATCH_STEP - 1:
            await asyncio.sleep(0)
        try:
            sent.append(_send(edge, event, _origin_of_member(once.origin, index), key))
        except RequestRefused as refusal:
            edge.meters.refused("events", refusal.code)
            sent.append(refusal)
    rows = [await _row(edge, index, each, repeated) for index, each in enumerate(sent)]
    await edge.memory.undecided(
        [
            (each.text, each.conversion_brand)
            for each, row in zip(sent, rows, strict=True)
            if isinstance(each, _Accepted)
            and each.conversion_brand is not None
            and row["code"] is None
        ]
    )
    return json_answer(rows, 207)


def _send(edge: Edge, event: Any, origin: Origin, key: Key) -> _Accepted:
    """Prepare one event of a batch and hand it to the journal."""
    if not isinstance(event, dict):
        raise RequestRefused("invalid", "An event is an object.")
    kind = event.get("type")
    body = {name: value for name, value in event.items() if name != "type"}
    if kind in ("conversion", "identify"):
        refuse_partner(key)
    if kind == "conversion":
        decide.refuse_without_ledger(edge)
        body = naming.of_event(edge.table, body, ConversionIn).fields
        report = prepare(edge, body, origin)
        future = decide.submit(edge, report.brand, report.record)
        return _Accepted(202, report.conversion_text, kind, future, report.brand)
    if kind == "click":
        body = naming.of_event(edge.table, body, ClickIn).fields
        click = prepare_click(edge, body, origin, key)
        future = decide.submit(edge, click.brand, click.record)
        return _Accepted(201, ids.event_text("clk", click.event_id), click.kind, future, None)
    if kind == "identify":
        body = naming.of_event(edge.table, body, IdentifyIn).fields
        identify = prepare_identify(edge, body, origin)
        future = decide.submit(edge, identify.brand, identify.record)
        return _Accepted(202, ids.event_text("evt", identify.event_id), kind, future, None)
    raise RequestRefused("unknown_type", "The type is click, identify or conversion.")


async def _row(
    edge: Edge, index: int, sent: _Accepted | RequestRefused, repeated: bool
) -> dict[str, Any]:
    if isinstance(sent, RequestRefused):
        status = sent.status or status_of(sent.code)
        return {"index": index, "status": status, "id": None, "code": sent.code}
    try:
        await decide.safe(edge, sent.future, sent.kind, repeated=repeated)
    except RequestRefused as refusal:
        return {"index": index, "status": 503, "id": None, "code": refusal.code}
    return {"index": index, "status": sent.status, "id": sent.text, "code": None}


async def _admit(edge: Edge, request: web.BaseRequest, bytes_max: int) -> tuple[Key, Any, Once]:
    """The key, the parsed body and the idempotency of a request; the key is judged first."""
    key = key_of(edge.table, bearer(request.headers.get(hdrs.AUTHORIZATION)), EVENTS)
    body, raw = await read_body(request, bytes_max)
    origin = Origin(Source.S2S, Trust.SERVER, brand=key.brand)
    return key, body, Once(request, key, raw, origin)


def _origin_of_member(origin: Origin, index: int) -> Origin:
    """A batch's key gives each of its events a key of its own."""
    if origin.idempotency_key is None:
        return origin
    member = f"{origin.idempotency_key}\n{index}"
    return Origin(origin.source, origin.trust, brand=origin.brand, idempotency_key=member)


def _prefers_async(request: web.BaseRequest) -> bool:
    header = request.headers.get("Prefer")
    if header is None:
        return False
    tokens = header.replace(";", ",").split(",")
    return any(token.strip().lower() == "respond-async" for token in tokens)
