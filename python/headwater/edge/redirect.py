"""The redirect: the visitor always arrives, and the click is on the log before that if at all
possible.
"""

from __future__ import annotations

import logging
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from aiohttp import hdrs, web

from headwater import ids
from headwater.edge import callers, cards, cookies, deeplink, identifiers
from headwater.edge.accept import DeadlinePassed
from headwater.edge.client import kept
from headwater.edge.context import Edge
from headwater.edge.fields import cut_parameters
from headwater.edge.journal import submit
from headwater.edge.links import Link, Program, well_formed_code
from headwater.edge.query import NO_QUERY, Query, split_target
from headwater.edge.responses import Redirect, expired_page, not_found_page
from headwater.errors import JournalFull
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
_CONSUMED = {"u", "sig", "consent", "hw_test", "external_click_id", "qr"}
# Click ids that advertising systems add to the visits they are paid for.
_AD_CLICK_IDS = ("gclid", "gbraid", "wbraid", "msclkid", "dclid", "yclid")
# Plain ints: an enum's member costs a look-up each time it is packed.
_CLICK, _BROWSER, _LINK = int(Kind.CLICK), int(Trust.BROWSER), int(Source.LINK)
_DENIED, _REFUSED = int(Flag.CONSENT_DENIED), int(Flag.DEEP_LINK_REFUSED)
_TEST, _QR = int(Flag.TEST), int(Flag.QR)
_AHEAD, _NEW_VISITOR = int(Flag.PREFETCH), int(Flag.NEW_VISITOR)
_AD_CLICK_ID = int(Flag.AD_CLICK_ID)


class _Visit(NamedTuple):
    """A request for a link that is to be followed."""

    link: Link
    program: Program
    query: Query
    at_ms: int
    head: str
    """The destination up to its fragment."""
    tail: str
    refused: bool
    """The deep link was refused."""


async def get_link(edge: Edge, request: web.BaseRequest, code: str) -> web.StreamResponse:
    """GET /c/{code}, and /{code} on a tracking domain; `code` is the raw path segment."""
    visit = _visit(edge, request, code)
    if not isinstance(visit, _Visit):
        return visit
    if request.method == hdrs.METH_HEAD:
        # Nothing is recorded, so no click id is handed out that would be in no log.
        return Redirect(_location(visit, ""))
    click_id = ids.event_id(visit.at_ms)
    denied = _denied(request, visit)
    visitor = "" if denied else cookies.read(request.headers.getall(hdrs.COOKIE, ())) or ""
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
    cookie = _cookie(edge, request, visit.program, visitor) if visitor else None
    return Redirect(_location(visit, ids.event_text("clk", click_id)), cookie)


def _visit(edge: Edge, request: web.BaseRequest, code: str) -> _Visit | web.Response:
    """What a code leads to now, or the page that says it leads nowhere."""
    table = edge.table
    if not well_formed_code(code):
        return not_found_page()
    link = table.link(callers.host_of(request) if table.has_domains else "", code)
    program = table.programs.get(link.program) if link else None
    if link is None or program is None:
        return not_found_page()
    at_ms = edge.now_ms()
    if link.expires_ms is not None and at_ms >= link.expires_ms:
        return expired_page()
    if not (
        link.active
        and table.program_active(program)
        and table.partner_active(program.number, link.partner)
    ):
        return not_found_page()
    text = split_target(request.raw_path)[1]
    if not text:
        return _Visit(link, program, NO_QUERY, at_ms, link.head, link.tail, False)
    query = Query(text)
    wanted = query.get("u")
    if wanted is None:
        return _Visit(link, program, query, at_ms, link.head, link.tail, False)
    if "u" in query.repeated or not deeplink.allowed(
        wanted, hosts=program.hosts, suffixes=program.suffixes, http=program.http
    ):
        return _Visit(link, program, query, at_ms, link.head, link.tail, True)
    head, mark, fragment = wanted.partition("#")
    return _Visit(link, program, query, at_ms, head, mark + fragment, False)


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
    query = visit.query
    if not query:
        return flags
    if visit.refused:
        flags |= _REFUSED
    if query.raw("hw_test") == "1":
        flags |= _TEST
    if query.raw("qr") == "1":
        flags |= _QR
    if any(name in query for name in _AD_CLICK_IDS):
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
    """What the click carries to reports. A card number is dropped where other routes refuse it."""
    params = cut_parameters(query.get)
    return {name: value for name, value in params.items() if not cards.looks_like_card(value)}


def _denied(request: web.BaseRequest, visit: _Visit) -> bool:
    if callers.says_gpc(request):
        return True
    said = visit.query.get("consent") if visit.query else None
    if said in ("granted", "denied"):
        return said == "denied"
    return visit.program.denied


def _location(visit: _Visit, click_id: str) -> str:
    """The destination byte for byte, with what is added to its query before the fragment."""
    program = visit.program
    added = [f"{program.click_param}={click_id}"] if click_id else []
    if program.forward and visit.query:
        added = _forwarded(visit) + added
    if not added:
        return visit.head + visit.tail
    head = visit.head
    joint = "" if head.endswith(("?", "&")) else "&" if "?" in head else "?"
    return f"{head}{joint}{'&'.join(added)}{visit.tail}"


def _forwarded(visit: _Visit) -> list[str]:
    """The parameters the program wants handed on, but none its destination names already."""
    held = Query(visit.head.partition("?")[2])
    pairs = []
    for name in visit.program.forward:
        raw = visit.query.raw(name)
        if raw is None or name in held or name in _CONSUMED or name == visit.program.click_param:
            continue
        value = unquote_to_bytes(raw.replace("+", " ").encode("utf-8", "surrogateescape"))
        pairs.append(f"{quote_from_bytes(name.encode(), '')}={quote_from_bytes(value, '')}")
    return pairs


def _cookie(edge: Edge, request: web.BaseRequest, program: Program, visitor: str) -> str:
    secure = callers.is_secure(edge, request)
    same_site = secure and cookies.site(callers.host_of(request)) == program.site
    return cookies.header(
        visitor, age_s=edge.table.cookie_age_s, secure=secure, same_site=same_site
    )
