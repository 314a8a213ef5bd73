"""Reads: a decision by id or by order, and the state of this process."""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web

from headwater import ids, limits
from headwater.edge import decide
from headwater.edge.auth import EVENTS, bearer, key_of
from headwater.edge.context import Decision, Edge
from headwater.edge.conversion import MAIN_LINE, order_conversion_id
from headwater.edge.links import Key
from headwater.edge.memory import PENDING
from headwater.edge.query import Query, split_target
from headwater.edge.responses import json_answer, text_answer
from headwater.errors import FieldFault, RequestRefused

CONVERSIONS = "/v1/conversions"
_GPC = {"gpc": True, "lastUpdate": "2026-01-01"}
_PUBLIC_HEADERS = {"Cache-Control": "public, max-age=86400"}
_LOOKUP_S = limits.READ_WAIT_MS / 1000


async def get_conversion(edge: Edge, request: web.BaseRequest) -> web.Response:
    """GET /v1/conversions/{id}, or by ?program=&event=&order_id=[&line=]"""
    key = key_of(edge.table, bearer(request.headers.get(hdrs.AUTHORIZATION)), EVENTS)
    path, query = split_target(request.raw_path)
    text = path[len(CONVERSIONS) + 1 :]
    if not text:
        text = _by_order(edge, Query(query), key)
    try:
        ids.parse_event("cnv", text)
    except ValueError:
        raise RequestRefused("not_found") from None
    found = await _find(edge, text)
    if key.brand not in (None, found.get("brand")) or not _is_credited(found, key.partner):
        raise RequestRefused("not_found")
    if found["status"] == PENDING:
        found = decide.undecided(text, found["brand"])
    if key.partner is not None:
        found = {
            **found,
            "credits": _credits_of(found, key.partner),
            "fraud": decide.fraud_for_partners(found["fraud"]),
        }
    return json_answer({**decide.public(found), "warnings": []})


def _is_credited(decision: Decision, partner: int | None) -> bool:
    """Whether `partner` has a credit of the decision; None stands for no partner in particular."""
    return partner is None or bool(_credits_of(decision, partner))


def _credits_of(decision: Decision, partner: int) -> list[Any]:
    """The credits of one partner: who shares a conversion with it is not told."""
    text = ids.object_text("prt", partner)
    return [credit for credit in decision.get("credits", ()) if credit["partner_id"] == text]


def _by_order(edge: Edge, query: Query, key: Key) -> str:
    """The id of the conversion an order's key names."""
    faults = tuple(
        FieldFault(name, "required", "The parameter is missing.")
        for name in ("program", "event", "order_id")
        if not query.get(name)
    )
    if faults:
        raise RequestRefused("required", "Name program, event and order_id.", faults=faults)
    program = edge.table.program(query.get("program") or "")
    if program is None or key.brand not in (None, program.brand):
        raise RequestRefused("not_found")
    event_type = edge.table.event_type(program.number, query.get("event") or "")
    if event_type is None:
        raise RequestRefused("not_found")
    order_id = query.get("order_id") or ""
    line = query.get("line") or MAIN_LINE
    return ids.event_text("cnv", order_conversion_id(edge, program, event_type, order_id, line))


async def _find(edge: Edge, text: str) -> Decision:
    """The decision from Redis, else from the ledger through the console, else what this process
    remembers. Raises RequestRefused: not_found, or unavailable when nobody could be asked.
    """
    answered = False
    try:
        found = await edge.hub.get(text)
        answered = edge.writer.redis_ok
        if found is None and answered:
            found = await edge.hub.lookup(text, _LOOKUP_S)
    except Exception:  # noqa: BLE001 - whatever keeps Redis or the console from answering
        found, answered = None, False
    found = found or edge.memory.remembered(text)
    if found is None:
        raise RequestRefused("not_found") if answered else decide.unavailable("Try again.")
    return found


async def get_healthz(_edge: Edge, _request: web.BaseRequest) -> web.Response:
    """GET /healthz: this process answers."""
    return json_answer({"status": "ok"})


async def get_readyz(edge: Edge, _request: web.BaseRequest) -> web.Response:
    """GET /readyz: 200 while this edge can redirect and accept events durably."""
    configured = edge.feed.fresh or edge.feed.revision > 0
    ready = configured and edge.writer.accepting and edge.gate() and not edge.draining
    parts = {
        "redis": edge.writer.redis_ok,
        "ledger": not edge.ledger.known_down,
        "configuration": edge.feed.fresh,
        "spool": edge.writer.accepting,
    }
    state: dict[str, Any] = {
        "status": "ready" if ready else "draining" if edge.draining else "not_ready",
        "degraded": [name for name, works in parts.items() if not works],
        **parts,
        "spool_bytes": edge.writer.spool_bytes,
        "configuration_revision": edge.feed.revision,
        "unsafe_redis": edge.config.allow_unsafe_redis,
    }
    return json_answer(state, 200 if ready else 503)


async def get_robots(_edge: Edge, _request: web.BaseRequest) -> web.Response:
    """GET /robots.txt: a tracking host is nothing to index."""
    return text_answer("User-agent: *\nDisallow: /\n", headers=_PUBLIC_HEADERS)


async def get_gpc(_edge: Edge, _request: web.BaseRequest) -> web.Response:
    """GET /.well-known/gpc.json: Global Privacy Control is honored here."""
    return json_answer(_GPC, headers=_PUBLIC_HEADERS)
