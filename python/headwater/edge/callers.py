"""What a browser's request shows of its visitor."""

from __future__ import annotations

from aiohttp import hdrs, web
from multidict import istr

from headwater.edge import cookies
from headwater.edge.context import Edge
from headwater.edge.conversion import Origin
from headwater.model.records import Source, Trust

SEC_GPC = istr("Sec-GPC")
FORWARDED_FOR = istr("X-Forwarded-For")
FORWARDED_PROTO = istr("X-Forwarded-Proto")


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


def is_secure(edge: Edge, request: web.BaseRequest) -> bool:
    """Whether the visitor's own connection is TLS, as the nearest trusted proxy says."""
    if not edge.proxies or not edge.proxies.trusts(peer_address(request)):
        return False
    proto = request.headers.get(FORWARDED_PROTO, "")
    return proto.rpartition(",")[2].strip().lower() == "https"


def says_gpc(request: web.BaseRequest) -> bool:
    """Whether the browser asks not to be tracked (Global Privacy Control)."""
    return request.headers.get(SEC_GPC) == "1"


def host_of(request: web.BaseRequest) -> str:
    """The Host header in lower case, without a port and a trailing dot."""
    host = request.headers.get(hdrs.HOST, "").lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")


def browser_origin(edge: Edge, request: web.BaseRequest, source: Source) -> Origin:
    """The origin of a report that a browser sends by itself."""
    headers = request.headers
    gpc = says_gpc(request)
    return Origin(
        source,
        Trust.BROWSER,
        address=address(edge, request),
        user_agent=headers.get(hdrs.USER_AGENT),
        referrer=headers.get(hdrs.REFERER),
        visitor=None if gpc else cookies.read(headers.getall(hdrs.COOKIE, ())),
        gpc=gpc,
    )
