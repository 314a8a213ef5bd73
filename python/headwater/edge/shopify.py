"""Shopify's webhooks: orders as the shop itself tells them, and what becomes of them.

The signature covers the body alone. So an order is held to be cancelled because its body says so,
not because of the topic, and a refund is the same one by its own id, whatever it is sent as.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import hashlib
import hmac
import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import web

from headwater import ids, limits
from headwater.edge import decide, shopify_order
from headwater.edge.body import read_body
from headwater.edge.context import Edge
from headwater.edge.conversion import (
    MAIN_LINE,
    Origin,
    Report,
    keyed_id,
    order_conversion_id,
    prepare,
    prepare_rejection,
)
from headwater.edge.links import EventType, Program
from headwater.edge.parse import parse_json
from headwater.edge.responses import json_answer
from headwater.edge.shopify_order import PLATFORM, Change
from headwater.edge.text import is_plain
from headwater.errors import RequestRefused
from headwater.model import sealing, signing
from headwater.model.records import DecisionBody, Kind, Record, Source, Trust, encode

log = logging.getLogger(__name__)

PREFIX: Final = "/v1/shopify/"
SIGNATURE: Final = "X-Shopify-Hmac-Sha256"
TOPIC: Final = "X-Shopify-Topic"
WEBHOOK_ID: Final = "X-Shopify-Webhook-Id"
_REPORTS = ("orders/create", "orders/paid", "orders/updated")
_CANCELLED, _UPDATED, _REFUND = "orders/cancelled", "orders/updated", "refunds/create"
TOPICS: Final = (*_REPORTS, _CANCELLED, _REFUND)
"""Those that are read; of any other it is counted that it came."""
# What is at fault here leaves nothing to report.
_NEEDED = {"program", "event", "order_id", "amount", "currency", "identifiers"}
_RAW = {"application/json": bytes}


class _Prepared(NamedTuple):
    """What a webhook comes to: a conversion, a change of one, or both."""

    conversion_id: bytes
    report: Report | None
    change: bytes | None
    """The record of the change."""


async def post_webhook(edge: Edge, request: web.BaseRequest) -> web.Response:
    """POST /v1/shopify/{program}: 200 for whatever the shop need not send again."""
    program, raw = await _admit(edge, request)
    topic = request.headers.get(TOPIC, "")
    if topic not in TOPICS:
        edge.meters.refused(PLATFORM, "unknown_topic")
        return json_answer({"conversion_id": None, "code": "unknown_topic"})
    event_type = edge.table.sale_event(program.number)
    try:
        if event_type is None:
            raise RequestRefused("unknown_event_type", "The program has no sales.")
        prepared = _prepare(edge, program, event_type, topic, request, raw)
    except RequestRefused as refusal:
        if refusal.code == "method_disabled":
            raise
        await _record_refusal(edge, program, event_type, refusal)
        return json_answer({"conversion_id": None, "code": refusal.code})
    await _keep(edge, program, prepared, await _is_repeat(edge, program, topic, request, raw))
    text = ids.event_text("cnv", prepared.conversion_id)
    return json_answer({"conversion_id": text, "code": None})


# ---- Who sends it ----------------------------------------------------------------------------


async def _admit(edge: Edge, request: web.BaseRequest) -> tuple[Program, bytes]:
    """The program and the body that its shop has signed. Raises RequestRefused."""
    code = request.raw_path.partition("?")[0].removeprefix(PREFIX)
    program = edge.table.program(code)
    secrets = _secrets(edge.identity_key, program) if program else ()
    signature = _signature(request.headers.get(SIGNATURE, ""))
    if program is None or not secrets or signature is None:
        # Before a byte of the body is read. A program that is not there looks like any other.
        raise _unauthorized()
    raw, _same = await read_body(request, limits.SHOPIFY_BODY_BYTES_MAX, _RAW)
    holds = False
    for secret in secrets:
        made = hmac.new(secret, raw, hashlib.sha256).digest()
        holds |= hmac.compare_digest(made, signature)
    if not holds:
        raise _unauthorized()
    if program.methods is not None and PLATFORM not in program.methods:
        raise RequestRefused("method_disabled")
    return program, raw


def _unauthorized() -> RequestRefused:
    return RequestRefused("unauthorized", "No secret of the program made this signature.")


def _signature(header: str) -> bytes | None:
    try:
        found = base64.b64decode(header.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == hashlib.sha256().digest_size else None


def _secrets(key: bytes, program: Program) -> tuple[bytes, ...]:
    return _opened(key, program.number, program.options.shopify)


@functools.lru_cache(maxsize=1024)
def _opened(key: bytes, number: int, sealed: tuple[str, ...]) -> tuple[bytes, ...]:
    found = []
    for each in sealed:
        try:
            found.append(sealing.opened(key, signing.SHOPIFY, number, each).encode())
        except sealing.Broken:
            # Restored beside another key: the shop's webhooks are refused until it is given anew.
            log.error("shopify secret unreadable", extra={"fields": {"program": number}})
    return tuple(found)


# ---- What it says ----------------------------------------------------------------------------


def _prepare(
    edge: Edge,
    program: Program,
    event_type: EventType,
    topic: str,
    request: web.BaseRequest,
    raw: bytes,
) -> _Prepared:
    body = parse_json(raw)
    if not isinstance(body, dict):
        raise RequestRefused("invalid", "A webhook's body is an object.")
    now_ms = edge.now_ms()
    report, change = None, None
    number = shopify_order.order_number(
        *((body.get("order_id"), "order_id") if topic == _REFUND else (body.get("id"), "id"))
    )
    if topic == _REFUND:
        change = shopify_order.refund(body, now_ms)
    else:
        change = shopify_order.cancellation(body, now_ms)
        if topic == _CANCELLED and change is None:
            raise RequestRefused("invalid", "The order's body does not say it is cancelled.")
        if topic in _REPORTS:
            fields = shopify_order.conversion(body, now_ms)
            named = {**fields, "program": program.code, "event": event_type.code}
            report = _report(edge, named, _origin(program, topic, request, raw))
        if topic == _UPDATED and change is None:
            change = shopify_order.modification(body, now_ms)
    conversion_id = order_conversion_id(edge, program, event_type, number, MAIN_LINE)
    record = None if change is None else _decision(edge, program, conversion_id, change, now_ms)
    return _Prepared(conversion_id, report, record)


def _origin(program: Program, topic: str, request: web.BaseRequest, raw: bytes) -> Origin:
    return Origin(
        Source.S2S,
        Trust.SERVER,
        brand=program.brand,
        platform=PLATFORM,
        params={"platform": PLATFORM},
        idempotency_key=_name(program, topic, request, raw),
    )


def _name(program: Program, topic: str, request: web.BaseRequest, raw: bytes) -> str:
    """What every delivery of one webhook has in common."""
    given = request.headers.get(WEBHOOK_ID, "")
    if not is_plain(given) or len(given) > limits.IDEMPOTENCY_KEY_BYTES_MAX:
        given = hashlib.sha256(raw).hexdigest()
    return f"{PLATFORM}\n{program.number}\n{topic}\n{given}"


def _report(edge: Edge, fields: Mapping[str, Any], origin: Origin) -> Report:
    """The order's record. What is at fault and can be left out is."""
    left = dict(fields)
    try:
        report = prepare(edge, left, origin)
    except RequestRefused as refusal:
        at_fault = {fault.field.partition("[")[0] for fault in refusal.faults}
        if not at_fault or at_fault & _NEEDED:
            raise
        left = {name: value for name, value in left.items() if name not in at_fault}
        report = prepare(edge, left, origin)
    if len(report.record) > limits.RECORD_BYTES_MAX:
        left.pop("items", None)
        report = prepare(edge, left, origin)
    return report


def _decision(
    edge: Edge, program: Program, conversion_id: bytes, change: Change, now_ms: int
) -> bytes:
    return encode(
        Record(
            kind=int(Kind.DECISION),
            event_id=keyed_id(
                edge, "decision", program.brand, f"{PLATFORM}\n{program.number}\n{change.key}"
            ),
            brand=program.brand,
            accept_ms=now_ms,
            claim_ms=None,
            trust=int(Trust.SERVER),
            source=int(Source.S2S),
            body=DecisionBody(change.action, conversion_id, change.params),
        )
    )


# ---- Keeping it ------------------------------------------------------------------------------


async def _is_repeat(
    edge: Edge, program: Program, topic: str, request: web.BaseRequest, raw: bytes
) -> bool:
    """Whether the delivery came before; it is written again all the same, and counted once."""
    name = hashlib.sha256(_name(program, topic, request, raw).encode()).hexdigest()
    return await edge.memory.first(name, b"1") is not None


async def _keep(edge: Edge, program: Program, prepared: _Prepared, repeated: bool) -> None:
    """Return when everything the webhook comes to is safe. Raises RequestRefused."""
    report, records = prepared.report, []
    if report is not None:
        decide.refuse_without_ledger(edge)
        records.append(("conversion", report.record))
    if prepared.change is not None:
        records.append(("decision", prepared.change))
    async with asyncio.TaskGroup() as group:
        waits = [
            group.create_task(_safe(edge, program.brand, kind, record, repeated))
            for kind, record in records
        ]
    for wait in waits:
        if (refusal := wait.result()) is not None:
            raise refusal
    if report is not None and not repeated:
        await edge.memory.undecided([(report.conversion_text, program.brand)])


async def _safe(
    edge: Edge, brand: int, kind: str, record: bytes, repeated: bool
) -> RequestRefused | None:
    """Write one record; what kept it from being safe, if anything did."""
    try:
        await decide.safe(edge, decide.submit(edge, brand, record), kind, repeated=repeated)
    except RequestRefused as refusal:
        return refusal
    return None


async def _record_refusal(
    edge: Edge, program: Program, event_type: EventType | None, refusal: RequestRefused
) -> None:
    """Keep what will never be taken as a rejection: the shop would only send it again."""
    edge.meters.refused(PLATFORM, refusal.code)
    edge.meters.rejected(PLATFORM, refusal.code)
    named = {"program": program.code, "event": event_type.code if event_type else ""}
    origin = Origin(Source.S2S, Trust.SERVER, brand=program.brand, platform=PLATFORM)
    report = prepare_rejection(edge, refusal.code, named, origin)
    await decide.safe(edge, decide.submit(edge, report.brand, report.record), "rejection")
