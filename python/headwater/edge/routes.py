"""Which handler a request goes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from headwater import clock
from headwater.edge import (
    callers,
    collect,
    events,
    openapi,
    pixel,
    postback,
    redirect,
    shopify,
    status,
    tag,
)
from headwater.edge.context import Edge
from headwater.edge.responses import not_found_page, problem
from headwater.errors import RequestRefused

Handle = Callable[[Edge, web.BaseRequest], Awaitable[web.StreamResponse]]

_LINKS = "/c/"
_NANOSECONDS = 1e9


class Route(NamedTuple):
    """`name` is the label in the metrics."""

    name: str
    methods: Mapping[str, Handle]


def _read(name: str, handle: Handle) -> Route:
    return Route(name, {hdrs.METH_GET: handle, hdrs.METH_HEAD: handle})


ROUTES: dict[str, Route] = {
    "/px.gif": _read("pixel", pixel.get_pixel),
    "/tag.js": _read("tag", tag.get_tag),
    "/v1/collect": Route(
        "collect",
        {hdrs.METH_POST: collect.post_collect, hdrs.METH_OPTIONS: collect.options_collect},
    ),
    "/v1/clicks": Route("clicks", {hdrs.METH_POST: events.post_click}),
    "/v1/identify": Route("identify", {hdrs.METH_POST: events.post_identify}),
    "/v1/events": Route("events", {hdrs.METH_POST: events.post_events}),
    "/v1/conversions": Route(
        "conversions",
        {hdrs.METH_POST: events.post_conversion, hdrs.METH_GET: status.get_conversion},
    ),
    "/postback": Route("postback", {hdrs.METH_GET: postback.get_postback}),
    openapi.PATH: _read("openapi", openapi.get_openapi),
    "/healthz": _read("healthz", status.get_healthz),
    "/readyz": _read("readyz", status.get_readyz),
    "/robots.txt": _read("robots", status.get_robots),
    "/.well-known/gpc.json": _read("gpc", status.get_gpc),
}
_CONVERSION = Route("conversion", {hdrs.METH_GET: status.get_conversion})
_SHOPIFY = Route("shopify", {hdrs.METH_POST: shopify.post_webhook})
_HASHED_TAG = _read("tag", tag.get_hashed_tag)
_VERSIONS = (HttpVersion11, HttpVersion10)
_REDIRECT = "redirect"
_OTHER = "other"


def make_handler(edge: Edge) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The one handler of the server: measures, routes, and turns refusals into answers."""
    meters = edge.meters

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        began_ns = clock.perf_ns()
        name = _REDIRECT
        try:
            # Not the public attribute, which would remember what it is about to be changed from.
            if request._version not in _VERSIONS:
                # The answer is in a version that every peer can read.
                request._version = HttpVersion10
                raise RequestRefused("http_version")
            response: web.StreamResponse
            target = request.raw_path
            if target.startswith(_LINKS):
                response = await _link(edge, request, len(_LINKS))
            else:
                name, response = await _route(edge, request)
        except RequestRefused as refusal:
            meters.refused(name, refusal.code)
            response = problem(refusal)
        if edge.draining or not request.content.is_eof() or not request.raw_path.startswith("/"):
            # What is left of a refused body is not waited for, nor a tunnel begun.
            response.force_close()
        meters.observe(name, (clock.perf_ns() - began_ns) / _NANOSECONDS)
        return response

    return handle


async def _route(edge: Edge, request: web.BaseRequest) -> tuple[str, web.StreamResponse]:
    target = request.raw_path
    if not target.startswith("/"):
        # Absolute and authority forms are for proxies, which this is not.
        code = "method_not_allowed" if request.method == hdrs.METH_CONNECT else "malformed_request"
        raise RequestRefused(code)
    path = target.partition("?")[0].partition("#")[0]
    route = ROUTES.get(path)
    if route is None:
        if path.startswith(status.CONVERSIONS + "/"):
            route = _CONVERSION
        elif path.startswith(shopify.PREFIX):
            route = _SHOPIFY
        elif tag.is_hashed(path):
            route = _HASHED_TAG
        elif edge.table.has_domains and edge.table.is_domain(callers.host_of(request)):
            return _REDIRECT, await _link(edge, request, 1)
        else:
            return _OTHER, _unknown(edge, path)
    handle = route.methods.get(request.method)
    try:
        if handle is None:
            raise _not_allowed(route.methods)
        return route.name, await handle(edge, request)
    except RequestRefused as refusal:
        edge.meters.refused(route.name, refusal.code)
        return route.name, problem(refusal)


async def _link(edge: Edge, request: web.BaseRequest, start: int) -> web.StreamResponse:
    if request.method not in _LINK_METHODS:
        raise _not_allowed(_LINK_METHODS)
    target = request.raw_path
    if "?" in target or "#" in target:
        target = target.partition("?")[0].partition("#")[0]
    return await redirect.get_link(edge, request, target[start:])


_LINK_METHODS = {hdrs.METH_GET: None, hdrs.METH_HEAD: None}


def _not_allowed(methods: Mapping[str, object]) -> RequestRefused:
    return RequestRefused("method_not_allowed", headers={hdrs.ALLOW: ", ".join(methods)})


def _unknown(edge: Edge, path: str) -> web.Response:
    """A page for people; a problem document for callers of the API."""
    edge.meters.refused(_OTHER, "not_found")
    return problem(RequestRefused("not_found")) if path.startswith("/v1/") else not_found_page()
