"""The redirect: the visitor always arrives, and the click is on the log before that if at all
possible.
"""

from __future__ import annotations

import logging
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from aiohttp import hdrs, web

from headwater import ids, limits
from headwater.edge import callers, cookies, deeplink, identifiers, signed, targets
from headwater.edge.accept import DeadlinePassed
from headwater.edge.client import kept
from headwater.edge.context import Edge
from headwater.edge.fields import cut_parameters
from headwater.edge.journal import submit
from headwater.edge.link_options import REQUIRE
from headwater.edge.links import Link, Program, well_formed_code
from headwater.edge.query import NO_QUERY, Query, split_target
from headwater.edge.responses import Redirect, expired_page, not_found_page, preview_page
from headwater.edge.targets import Target
from headwater.errors import JournalFull
from headwater.model.destination import TOKENS
from headwater.model.records import (
    ClickBody,
    Flag,
    Identifiers,
    Kind,
    Record,
    Source,
    Trust,
    encode,
)

log = logging.getLogger(__name__)

# Read here; never handed on to the destination.
_CONSUMED = {"u", "sig", "sig_expires", "consent", "hw_test", "external_click_id", "qr"}
_PREVIEW = "+"
_NO_VALUES = dict.fromkeys(TOKENS, "")
# Click ids that advertising systems add to the visits they are paid for.
AD_CLICK_IDS = ("gclid", "gbraid", "wbraid", "msclkid", "dclid", "yclid")
# Plain ints: an enum's member costs a look-up each time it is packed.
_CLICK, _BROWSER, _LINK = int(Kind.CLICK), int(Trust.BROWSER), int(Source.LINK)
_DENIED, _REFUSED = int(Flag.CONSENT_DENIED), int(Flag.DEEP_LINK_REFUSED)
_TEST, _QR, _TAMPERED = int(Flag.TEST), int(Flag.QR), int(Flag.LINK_TAMPERED)
_AHEAD, _NEW_VISITOR = int(Flag.PREFETCH), int(Flag.NEW_VISITOR)
_AD_CLICK_ID = int(Flag.AD_CLICK_ID)


class _Visit(NamedTuple):
    """A request for a link that is to be followed."""

    link: Link
    program: Program
    query: Query
    at_ms: int
    target: Target
    refused: bool
    """The deep link was refused."""
    tampered: bool
    """The program's links are signed, and this one's parameters are not."""


async def get_link(edge: Edge, request: web.BaseRequest, code: str) -> web.StreamResponse:
    """GET /c/{code}, and /{code} on a tracking domain; `code` is the raw path segment.

    A `+` behind the code shows where the link leads, and counts nothing.
    """
    if code.endswith(_PREVIEW):
        return _preview(_visit(edge, request, code.removesuffix(_PREVIEW)))
    visit = _visit(edge, request, code)
    if not isinstance(visit, _Visit):
        return visit
    if request.method == hdrs.METH_HEAD:
        # Nothing is recorded, so no click id is handed out that would be in no log.
        return Redirect(_location(visit, ""))
    click_id = ids.event_id(visit.at_ms)
    denied = _denied(request, visit)
    known = None if denied else cookies.read_known(request.headers.getall(hdrs.COOKIE, ()))
    visitor = known.visitor if known else ""
    flags = _flags(visit, denied)
    if not visitor and not denied:
        visitor = ids.visitor_id()
        flags |= _NEW_VISITOR
    try:
        await _record(edge, request, visit, click_id, visitor, flags)
        edge.meters.accepted("click")
    except DeadlinePassed:
        edge.meters.unaccepted("deadline")
    except JournalFull:
        edge.meters.unaccepted("journal_full")
    except Exception as error:  # noqa: BLE001 - whatever it was, the visitor arrives
        edge.meters.unaccepted("error")
        log.error("click not recorded", extra={"fields": {"error": type(error).__name__}})
    known_until = known.until_day if known else 0
    cookie = _cookie(edge, request, visit, visitor, known_until) if visitor else None
    return Redirect(_location(visit, ids.event_text("clk", click_id)), cookie)


def _visit(edge: Edge, request: web.BaseRequest, code: str) -> _Visit | web.StreamResponse:
    """What a code leads to now, or the page that says it leads nowhere."""
    table = edge.table
    if not well_formed_code(code):
        return not_found_page()
    link = table.link(callers.host_of(request) if table.has_domains else "", code)
    program = table.programs.get(link.program) if link else None
    if link is None or program is None:
        return not_found_page()
    at_ms = edge.now_ms()
    is_served = (
        link.active
        and table.program_active(program)
        and table.partner_active(program.number, link.partner)
    )
    if link.expires_ms is not None and at_ms >= link.expires_ms:
        return _expired(edge, link, program) if is_served else expired_page()
    if not is_served:
        return not_found_page()
    text = split_target(request.raw_path)[1]
    query = Query(text) if text else NO_QUERY
    tampered = bool(
        query
        and program.options.signing
        and signed.is_tampered(edge.identity_key, program, link, query, at_ms)
    )
    if tampered and program.options.signing == REQUIRE:
        query = signed.unsigned(query)
    wanted = query.get("u") if query else None
    if (
        wanted is not None
        and "u" not in query.repeated
        and deeplink.allowed(
            wanted, hosts=program.hosts, suffixes=program.suffixes, http=program.http
        )
    ):
        target = targets.deep(wanted, link, program)
        return _Visit(link, program, query, at_ms, target, False, tampered)
    target = _own_target(edge, request, link, program)
    return _Visit(link, program, query, at_ms, target, wanted is not None, tampered)


def _own_target(edge: Edge, request: web.BaseRequest, link: Link, program: Program) -> Target:
    """The link's destination for this visitor."""
    prepared = edge.targets.of(link, program)
    if not prepared.rules:
        return prepared.own
    return targets.chosen(
        prepared, request.headers.get(hdrs.USER_AGENT), callers.country_of(edge, request)
    )


def _expired(edge: Edge, link: Link, program: Program) -> web.StreamResponse:
    """Where a link leads whose time is over. Nothing is recorded, so there is no click id."""
    target = edge.targets.of(link, program).expired
    return expired_page() if target is None else Redirect(target.head + target.tail)


def _preview(visit: _Visit | web.StreamResponse) -> web.StreamResponse:
    """A page that says where a link leads."""
    if isinstance(visit, _Visit):
        return preview_page(visit.target.head + visit.target.tail)
    return preview_page(visit.location) if isinstance(visit, Redirect) else visit


async def _record(
    edge: Edge,
    request: web.BaseRequest,
    visit: _Visit,
    click_id: bytes,
    visitor: str,
    flags: int,
) -> None:
    """Put the click on the log and wait until it is safe, up to the accept deadline.

    Raises JournalFull, DeadlinePassed, or what the journal failed with.
    """
    link, program, query = visit.link, visit.program, visit.query
    denied = bool(flags & _DENIED)
    caller = callers.caller(edge, request)
    if caller.request is not None and callers.is_ahead(caller.request):
        flags |= _AHEAD
    body = ClickBody(
        program.number,
        link.partner,
        link.number,
        flags,
        _identifiers(edge, program, query, visitor, denied),
        _parameters(query) if query else {},
        kept(edge.networks, caller, program.brand, visit.at_ms, denied=denied),
    )
    record = encode(
        Record(_CLICK, click_id, program.brand, visit.at_ms, None, _BROWSER, _LINK, body)
    )
    future = submit(edge, program.brand, record)
    edge.click_wait.limit(future)
    await future


def _flags(visit: _Visit, denied: bool) -> int:
    flags = visit.link.flags | _DENIED if denied else visit.link.flags
    if visit.tampered:
        flags |= _TAMPERED
    query = visit.query
    if not query:
        return flags
    if visit.refused:
        flags |= _REFUSED
    if query.raw("hw_test") == "1":
        flags |= _TEST
    if query.raw("qr") == "1":
        flags |= _QR
    if any(name in query for name in AD_CLICK_IDS):
        flags |= _AD_CLICK_ID
    return flags


def _identifiers(
    edge: Edge, program: Program, query: Query, visitor: str, denied: bool
) -> Identifiers:
    if denied:
        return ()
    key, brand = edge.identity_key, program.brand
    found: Identifiers = (identifiers.visitor(key, brand, visitor),) if visitor else ()
    external = query.get("external_click_id") if query else None
    if external:
        found = (*identifiers.external_click(key, brand, external), *found)
    return found


def _parameters(query: Query) -> dict[str, str]:
    """What the click carries to reports."""
    return cut_parameters(query.get)


def _denied(request: web.BaseRequest, visit: _Visit) -> bool:
    if callers.says_gpc(request):
        return True
    said = visit.query.get("consent") if visit.query else None
    if said in ("granted", "denied"):
        return said == "denied"
    return visit.program.denied


def _location(visit: _Visit, click_id: str) -> str:
    """The destination byte for byte, with what is added to its query before the fragment."""
    program, target = visit.program, visit.target
    head, tail = target.head, target.tail
    if target.pieces:
        values = _values(visit, click_id)
        head, tail = (targets.filled(pieces, values) for pieces in target.pieces)
    added = "" if target.is_closed or not click_id else f"{program.click_param}={click_id}"
    if program.forward and visit.query:
        added = "&".join([*_forwarded(visit), *([added] if added else [])])
    location = f"{head}{target.joint}{added}{tail}" if added else head + tail
    if len(location) > limits.LOCATION_BYTES_MAX and visit.query:
        return _location(visit._replace(query=NO_QUERY), click_id)
    return location


def _values(visit: _Visit, click_id: str) -> dict[str, str]:
    """What tokens of a destination stand for; nothing, where the visit says nothing of it."""
    link, program = visit.link, visit.program
    return {
        **_NO_VALUES,
        **(_parameters(visit.query) if visit.query else {}),
        "click_id": click_id,
        "partner_id": ids.object_text("prt", link.partner),
        "program": program.code,
        "link_id": ids.object_text("lnk", link.number),
        "timestamp": str(visit.at_ms // 1000),
    }


def forwarded_names(program: Program, target: Target) -> list[str]:
    """Names of the parameters that a visit's query may hand on to a destination."""
    kept_back = {*target.names, *_CONSUMED, program.click_param}
    return [name for name in program.forward if name not in kept_back]


def _forwarded(visit: _Visit) -> list[str]:
    """The parameters the program wants handed on, but none its destination names already."""
    pairs = []
    for name in forwarded_names(visit.program, visit.target):
        raw = visit.query.raw(name)
        if raw is None:
            continue
        value = unquote_to_bytes(raw.replace("+", " ").encode("utf-8", "surrogateescape"))
        pairs.append(f"{quote_from_bytes(name.encode(), '')}={quote_from_bytes(value, '')}")
    return pairs


def _cookie(
    edge: Edge, request: web.BaseRequest, visit: _Visit, visitor: str, known_until: int
) -> str | None:
    secure = callers.is_secure(edge, request)
    return cookies.header(
        visitor,
        known_until=known_until,
        now_ms=visit.at_ms,
        age_s=edge.table.cookie_age_s(visit.program),
        secure=secure,
        same_site=secure and cookies.site(callers.host_of(request)) == visit.program.site,
    )
