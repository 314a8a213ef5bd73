"""The tag's events: POST /v1/collect. No key; what a page says is a browser's word."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from multidict import istr

from headwater import ids, limits
from headwater.edge import cookies, decide, naming, once, page_address
from headwater.edge.accept import DeadlinePassed
from headwater.edge.body import PAGES, read_body
from headwater.edge.callers import browser_origin, host_of, is_secure
from headwater.edge.context import Decision, Edge
from headwater.edge.conversion import Origin, prepare, prepare_rejection
from headwater.edge.fields import ClickIn, IdentifyIn
from headwater.edge.journal import submit
from headwater.edge.links import Key, Program
from headwater.edge.naming import Named
from headwater.edge.observations import Observation, prepare_click, prepare_identify, prepare_page
from headwater.edge.origins import host_of as host_of_origin
from headwater.edge.responses import SERVER, json_answer, problem
from headwater.errors import FieldFault, JournalError, RequestRefused
from headwater.model.records import Flag, Source

log = logging.getLogger(__name__)

_SOURCE = "tag"
_ORIGIN = istr("Origin")
# Of a page without an origin of its own: a sandboxed frame, a file.
_OPAQUE = "null"
# What a page may not say of its visitor: the request itself shows it, or only a server knows.
_NOT_TAKEN = ("ip", "user_agent", "occurred_at", "touch_type")
# Of a click the same as of a tracking link: a page that knows the hash of somebody's address
# must not put clicks under it.
_NOT_OF_CLICKS = ("customer_id", "profile_id", "email", "email_sha256", "email_sha1", "phone",
                  "phone_sha256", "device_id", "click_id")  # fmt: skip
# What the tag says beside an event's fields.
_EXTRA = frozenset(("url", "cookie_origin", "event_id"))
_OF_CLICKS = naming.names_of(ClickIn) | _EXTRA
_NAMES = {
    "conversion": naming.OF_CONVERSIONS | _EXTRA,
    "identify": naming.names_of(IdentifyIn) | _EXTRA,
}
_ANYBODY = Key(0, b"", frozenset(), None, None)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "content-type",
    "Access-Control-Max-Age": "86400",
}


@dataclass(slots=True)
class _Sent:
    """One event of a page, with what the request shows of page and visitor."""

    type: Any
    body: dict[str, Any]
    program: Program | None
    page: str
    """Origin of the page; "" when it has none."""
    is_own: bool
    """Page and tracking host share a registrable domain: the cookie is the brand's own."""
    denied: bool
    origin: Origin
    named: Named
    made_visitor: bool = False


async def options_collect(edge: Edge, request: web.BaseRequest) -> web.Response:
    """OPTIONS /v1/collect: a preflight names no program, so any program's pages may ask."""
    origin = request.headers.get(_ORIGIN, "")
    headers = {"Server": SERVER, "Vary": "Origin"}
    if origin and edge.table.any_allows(origin):
        headers |= _PREFLIGHT | _sharing(origin)
    return web.Response(status=204, headers=headers)


async def post_collect(edge: Edge, request: web.BaseRequest) -> web.Response:
    """POST /v1/collect: one event. What is refused is recorded by its reason."""
    body, _raw = await read_body(request, limits.COLLECT_BODY_BYTES_MAX, PAGES)
    if not isinstance(body, dict):
        raise RequestRefused("invalid", "An event is an object.")
    sent = _read(edge, request, body)
    try:
        _refuse_strangers(sent)
        handle = _HANDLERS.get(sent.type) if isinstance(sent.type, str) else None
        if handle is None:
            raise RequestRefused("unknown_type", f"The type is one of {', '.join(_HANDLERS)}.")
        response = await handle(edge, request, sent)
    except RequestRefused as refusal:
        edge.meters.refused("collect", refusal.code)
        response = problem(refusal)
        await _record_refusal(edge, refusal, sent)
    if sent.page and sent.program is not None and sent.program.origins.allow(sent.page):
        response.headers.update(_sharing(sent.page))
    response.headers["Vary"] = "Origin"
    return response


def _sharing(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}


def _read(edge: Edge, request: web.BaseRequest, body: Mapping[str, Any]) -> _Sent:
    """The event under the names of the API, and what goes with it."""
    program = edge.table.program(naming.program_code(body.items()))
    kind = body.get("type")
    given = [(name, value) for name, value in body.items() if name != "type"]
    own = _NAMES.get(kind, _OF_CLICKS) if isinstance(kind, str) else _OF_CLICKS
    named = naming.named(given, program.aliases if program else {}, own)
    fields = named.fields
    page = request.headers.get(_ORIGIN, "")
    page = "" if page == _OPAQUE else page
    is_own = bool(page) and cookies.site(host_of_origin(page)) == cookies.site(host_of(request))
    origin = browser_origin(edge, request, Source.TAG)
    url = page_address.kept(_text(fields.get("url")))
    origin.caller = origin.caller._replace(referrer=url or origin.caller.referrer)
    if not page:
        # Nobody vouches for whose page it is, so the cookie is not taken from it either.
        origin.visitor = None
    consent = fields.get("consent")
    denied = origin.gpc or consent == "denied"
    if program is not None and consent not in ("granted", "denied"):
        denied = denied or program.denied
    for name in _NOT_TAKEN:
        fields.pop(name, None)
    if kind != "page":
        fields.pop("url", None)
    if origin.visitor and is_own:
        # The script's id of the same browser adds nothing to the cookie's.
        fields.pop("visitor_id", None)
    _name_origin_of_cookie(fields, origin, is_own)
    return _Sent(kind, fields, program, page, is_own, denied, origin, named)


def _name_origin_of_cookie(fields: dict[str, Any], origin: Origin, is_own: bool) -> None:
    """Keep with a conversion by which kind of cookie its visitor was known."""
    said = fields.pop("cookie_origin", None)
    if origin.visitor:
        origin.params = {"cookie_origin": "http" if is_own else "third_party"}
    elif said == "js":
        origin.params = {"cookie_origin": "js"}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _refuse_strangers(sent: _Sent) -> None:
    """Raise RequestRefused for pages of others, and for visitor ids that were not given out."""
    if sent.program and sent.page and not sent.program.origins.allow(sent.page):
        raise RequestRefused("origin_not_allowed")
    sent.named.refuse_conflicts()
    visitor = sent.body.get("visitor_id")
    if visitor and not (isinstance(visitor, str) and cookies.is_visitor(visitor)):
        fault = FieldFault("visitor_id", "invalid_identifier", "Not a visitor id of the tag.")
        raise RequestRefused("invalid_identifier", fault.detail, faults=(fault,))
    sent.origin.idempotency_key = once.take_key(sent.body)


async def _record_refusal(edge: Edge, refusal: RequestRefused, sent: _Sent) -> None:
    """Keep a refused event as a rejection. What was not safe, or was recorded already, is none."""
    if refusal.code in ("unavailable", "order_conflict", "method_disabled"):
        return
    edge.meters.rejected(_SOURCE, refusal.code)
    try:
        report = prepare_rejection(edge, refusal.code, sent.body, sent.origin)
        future = submit(edge, report.brand, report.record)
        edge.click_wait.limit(future)
        await future
        edge.meters.accepted("rejection")
    except (JournalError, DeadlinePassed, RequestRefused):
        edge.meters.rejected(_SOURCE, "unavailable")


# ---- Events ----------------------------------------------------------------------------------


async def _page(edge: Edge, request: web.BaseRequest, sent: _Sent) -> web.Response:
    _give_visitor(sent)
    return await _observed(edge, request, sent, prepare_page(edge, sent.body, sent.origin))


async def _identify(edge: Edge, request: web.BaseRequest, sent: _Sent) -> web.Response:
    _give_visitor(sent)
    return await _observed(edge, request, sent, prepare_identify(edge, sent.body, sent.origin))


async def _click(edge: Edge, request: web.BaseRequest, sent: _Sent) -> web.Response:
    """A click without a redirect: the landing page tells of it itself."""
    for name in _NOT_OF_CLICKS:
        sent.body.pop(name, None)
    code = sent.body.get("link")
    if isinstance(code, str):
        link = edge.table.link(host_of(request), code)
        if link is not None and link.expires_ms is not None and edge.now_ms() >= link.expires_ms:
            raise RequestRefused("link_expired")
        if link is not None:
            sent.body["link"] = ids.object_text("lnk", link.number)
    _give_visitor(sent)
    if sent.made_visitor:
        sent.origin.flags |= Flag.NEW_VISITOR
    # The page itself is where the click led; where it came from the page says.
    sent.origin.caller = sent.origin.caller._replace(referrer=None)
    prepared = prepare_click(edge, sent.body, sent.origin, _ANYBODY)
    return await _observed(edge, request, sent, prepared)


async def _consent(edge: Edge, request: web.BaseRequest, sent: _Sent) -> web.Response:
    """The visitor's choice: nothing is recorded, the cookie is given or taken back."""
    if sent.program is None:
        raise RequestRefused("unknown_program")
    had_cookie = sent.origin.visitor is not None
    _give_visitor(sent)
    response = _answer(edge, request, sent, {}, 200)
    if sent.denied and had_cookie:
        secure = is_secure(edge, request)
        response.headers["Set-Cookie"] = cookies.taken_back(secure=secure, same_site=sent.is_own)
    return response


async def _conversion(edge: Edge, request: web.BaseRequest, sent: _Sent) -> web.Response:
    prepared = prepare(edge, sent.body, sent.origin)
    warnings = prepared.warnings + sent.named.warnings
    found = await _repeated(edge, sent, prepared.conversion_text)
    if found is not None:
        return _answer(edge, request, sent, _outcome(found, [], warnings), 200)
    wait = edge.waiting_decisions < limits.COLLECT_WAITERS_MAX
    status, decision = await decide.report(edge, prepared, wait=wait)
    if status == decide.ANSWERED["conflict"]:
        raise RequestRefused(
            "order_conflict", extra={"conversion_id": prepared.conversion_text, "pixels": []}
        )
    # A partner's pixel is fired for the first report alone.
    pixels = decision.get("pixels", []) if status == decide.ANSWERED["created"] else []
    return _answer(edge, request, sent, _outcome(decision, pixels, warnings), status)


async def _repeated(edge: Edge, sent: _Sent, text: str) -> Decision | None:
    """The decision of an event that was sent before under its id, if there is one."""
    if sent.origin.idempotency_key is None or sent.body.get("order_id"):
        return None
    try:
        return await edge.hub.get(text)
    except Exception:  # noqa: BLE001 - whatever keeps Redis from answering, it is sent again
        return None


def _outcome(decision: Mapping[str, Any], pixels: list[Any], warnings: list[str]) -> dict[str, Any]:
    """What a page is told of its conversion: not who earned it, nor what was thought of it."""
    return {
        "conversion_id": decision["conversion_id"],
        "pixels": pixels,
        "warnings": warnings,
    }


async def _observed(
    edge: Edge, request: web.BaseRequest, sent: _Sent, prepared: Observation
) -> web.Response:
    future = decide.submit(edge, prepared.brand, prepared.record)
    await decide.safe(edge, future, prepared.kind)
    is_click = sent.type == "click"
    text = ids.event_text("clk" if is_click else "evt", prepared.event_id)
    name = "click_id" if is_click else "event_id"
    value = {name: text, "warnings": prepared.warnings + sent.named.warnings}
    return _answer(edge, request, sent, value, 201 if is_click else 202)


# ---- The cookie ------------------------------------------------------------------------------


def _give_visitor(sent: _Sent) -> None:
    """Make a visitor id where the brand's own cookie may be set and there is none yet."""
    if sent.is_own and not sent.denied and not sent.origin.visitor and sent.program is not None:
        sent.origin = replace(sent.origin, visitor=ids.visitor_id())
        sent.made_visitor = True


def _answer(
    edge: Edge, request: web.BaseRequest, sent: _Sent, value: dict[str, Any], status: int
) -> web.Response:
    """`cookie`: what of the visitor's browser the next event may count on. `http`: the cookie
    came and is the brand's own; `set`: it is given now; `none`: there is none; `denied`.
    """
    if sent.denied:
        cookie = "denied"
    elif sent.made_visitor:
        cookie = "set"
    else:
        cookie = "http" if sent.origin.visitor and sent.is_own else "none"
    age_s = edge.table.cookie_age_s(sent.program) if sent.program else 0
    response = json_answer({**value, "cookie": cookie, "cookie_age_s": age_s}, status)
    if sent.made_visitor or (sent.type == "click" and cookie == "http"):
        cookie_text = _cookie(edge, request, sent, age_s)
        if cookie_text is not None:
            response.headers["Set-Cookie"] = cookie_text
    return response


def _cookie(edge: Edge, request: web.BaseRequest, sent: _Sent, age_s: int) -> str | None:
    known = cookies.read_known(request.headers.getall("Cookie", ()))
    return cookies.header(
        sent.origin.visitor or "",
        known_until=known.until_day if known else 0,
        now_ms=edge.now_ms(),
        age_s=age_s,
        secure=is_secure(edge, request),
        same_site=sent.is_own,
    )


_Handler = Callable[[Edge, web.BaseRequest, _Sent], Awaitable[web.Response]]
_HANDLERS: dict[str, _Handler] = {
    "page": _page,
    "identify": _identify,
    "conversion": _conversion,
    "click": _click,
    "consent": _consent,
}
