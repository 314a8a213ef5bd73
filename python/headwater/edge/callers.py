"""What a browser's request shows of its visitor."""

from __future__ import annotations

from aiohttp import hdrs, web
from multidict import istr

from headwater import limits
from headwater.edge import cookies
from headwater.edge.address import place
from headwater.edge.client import Caller
from headwater.edge.context import Edge
from headwater.edge.conversion import Origin
from headwater.edge.text import cut
from headwater.model.records import Request, Source, Trust

# Names made once: a look-up by one costs a third of one by a plain text.
SEC_GPC = istr("Sec-GPC")
FORWARDED_FOR = istr("X-Forwarded-For")
FORWARDED_PROTO = istr("X-Forwarded-Proto")
_FETCH_DEST = istr("Sec-Fetch-Dest")
_FETCH_MODE = istr("Sec-Fetch-Mode")
_FETCH_SITE = istr("Sec-Fetch-Site")
_FETCH_USER = istr("Sec-Fetch-User")
_PURPOSES = (istr("Sec-Purpose"), istr("Purpose"), istr("X-Purpose"), istr("X-Moz"))
_ACCEPT = istr("Accept")
_ACCEPT_LANGUAGE = istr("Accept-Language")
_AGENT_BRANDS = istr("Sec-CH-UA")
_AGENT_MOBILE = istr("Sec-CH-UA-Mobile")
_AGENT_PLATFORM = istr("Sec-CH-UA-Platform")
_AHEAD = ("prefetch", "prerender", "preview")
_VERSIONS = {(1, 0): 10, (1, 1): 11, (2, 0): 20}


def peer_address(request: web.BaseRequest) -> str:
    """The address at the other end of the socket; "" when there is none."""
    peer = request._transport_peername
    return peer[0] if isinstance(peer, tuple | list) and peer else ""


def address(edge: Edge, request: web.BaseRequest) -> str:
    """The visitor's address, through trusted proxies only."""
    peer = peer_address(request)
    if not edge.proxies:
        return peer
    return edge.proxies.client(peer, request.headers.getall(FORWARDED_FOR, ()))


def country_of(edge: Edge, request: web.BaseRequest) -> str | None:
    """The visitor's country, ISO 3166, where there is a list that tells it."""
    at = place(address(edge, request))
    return None if at is None else edge.networks.lists.addresses.of(at)[1]


def is_secure(edge: Edge, request: web.BaseRequest) -> bool:
    """Whether the visitor's own connection is TLS, as the nearest trusted proxy says."""
    if not edge.proxies or not edge.proxies.trusts(peer_address(request)):
        return False
    return _says_https(request)


def _says_https(request: web.BaseRequest) -> bool:
    proto = request.headers.get(FORWARDED_PROTO)
    if proto is None:
        return False
    return proto == "https" or proto.rpartition(",")[2].strip().lower() == "https"


def says_gpc(request: web.BaseRequest) -> bool:
    """Whether the browser asks not to be tracked (Global Privacy Control)."""
    return request.headers.get(SEC_GPC) == "1"


def host_of(request: web.BaseRequest) -> str:
    """The Host header in lower case, without a port and a trailing dot."""
    host = request.headers.get(hdrs.HOST, "").lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")


def caller(edge: Edge, request: web.BaseRequest) -> Caller:
    """The browser that sent this request."""
    headers = request.headers
    return Caller(
        address(edge, request),
        headers.get(hdrs.USER_AGENT),
        headers.get(hdrs.REFERER),
        _kept_request(edge, request),
    )


def _kept_request(edge: Edge, request: web.BaseRequest) -> Request:
    """What is kept of the request itself, each field in its bound."""
    get = request.headers.get
    is_proxied = bool(edge.proxies) and edge.proxies.trusts(peer_address(request))
    return Request(
        # A proxy speaks its own version to us, whatever the browser spoke to it.
        0 if is_proxied else _VERSIONS.get(request.version, 0),
        is_proxied and _says_https(request),
        _short(get(_FETCH_DEST), limits.FETCH_BYTES_MAX),
        _short(get(_FETCH_MODE), limits.FETCH_BYTES_MAX),
        _short(get(_FETCH_SITE), limits.FETCH_BYTES_MAX),
        _short(get(_FETCH_USER), limits.FETCH_BYTES_MAX),
        _purpose(request),
        _short(get(_ACCEPT), limits.ACCEPT_BYTES_MAX),
        _language(get(_ACCEPT_LANGUAGE)),
        _short(get(_AGENT_BRANDS), limits.AGENT_BRANDS_BYTES_MAX),
        _short(get(_AGENT_MOBILE), limits.AGENT_HINT_BYTES_MAX),
        _short(get(_AGENT_PLATFORM), limits.AGENT_HINT_BYTES_MAX),
    )


def is_ahead(request: Request) -> bool:
    """Whether the browser fetched before anybody asked it to: a prefetch, prerender, preview."""
    purpose = request.purpose
    return purpose is not None and _names_ahead(purpose)


def _names_ahead(purpose: str) -> bool:
    lower = purpose.lower()
    return any(word in lower for word in _AHEAD)


def _purpose(request: web.BaseRequest) -> str | None:
    """The header that tells of a fetch ahead, else the first there is."""
    get = request.headers.get
    found = None
    for name in _PURPOSES:
        value = get(name)
        if value is None:
            continue
        value = cut(value, limits.PURPOSE_BYTES_MAX)
        if _names_ahead(value):
            return value
        found = value if found is None else found
    return found


def _short(value: str | None, bytes_max: int) -> str | None:
    return value if value is None else cut(value, bytes_max)


def _language(header: str | None) -> str | None:
    """The first language of the list, which is the one the visitor reads best."""
    if header is None:
        return None
    first = header[: 4 * limits.LANGUAGE_BYTES_MAX].partition(",")[0].partition(";")[0].strip()
    return cut(first, limits.LANGUAGE_BYTES_MAX)


def browser_origin(edge: Edge, request: web.BaseRequest, source: Source) -> Origin:
    """The origin of a report that a browser sends by itself."""
    headers = request.headers
    gpc = says_gpc(request)
    return Origin(
        source,
        Trust.BROWSER,
        caller=caller(edge, request),
        visitor=None if gpc else cookies.read(headers.getall(hdrs.COOKIE, ())),
        gpc=gpc,
    )
