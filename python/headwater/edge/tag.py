"""The JavaScript tag: read and made small once, answered from memory."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.resources
import re
from typing import NamedTuple

import rjsmin
from aiohttp import hdrs, web

from headwater.edge.context import Edge
from headwater.edge.query import split_target
from headwater.edge.responses import SERVER

_HASHED = re.compile(r"/tag\.([0-9a-f]{16})\.js", re.ASCII)
_BRIEF = "public, max-age=3600, stale-while-revalidate=86400"
_FOREVER = "public, max-age=31536000, immutable"
_GZIP = re.compile(r"(?:^|[, ])(?:gzip|\*)(?! *; *q=0(?:\.0*)?(?:$|[, ]))", re.ASCII)
_HEADERS = {
    "Content-Type": "text/javascript; charset=utf-8",
    "Vary": "Accept-Encoding",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
    "Server": SERVER,
}


class Tag(NamedTuple):
    """The script as it is served; `digest` is the name of this version."""

    plain: bytes
    packed: bytes
    digest: str


@functools.lru_cache(maxsize=1)
def load() -> Tag:
    """The tag of this version of the package."""
    source = importlib.resources.files(__package__).joinpath("static", "tag.js").read_text("utf-8")
    plain = rjsmin.jsmin(source).encode()
    # No time of day in it: every process gives the same bytes.
    packed = gzip.compress(plain, compresslevel=9, mtime=0)
    return Tag(plain, packed, hashlib.sha256(plain).hexdigest()[:16])


def is_hashed(path: str) -> bool:
    """Whether a path has the form of a version of the tag."""
    return _HASHED.fullmatch(path) is not None


async def get_tag(_edge: Edge, request: web.BaseRequest) -> web.Response:
    """GET /tag.js: this version, to be asked for again within the hour."""
    return _answer(request, _BRIEF)


async def get_hashed_tag(_edge: Edge, request: web.BaseRequest) -> web.Response:
    """GET /tag.{hash}.js. A page that names another version is not broken by it: it gets this
    one, not to be kept.
    """
    match = _HASHED.fullmatch(split_target(request.raw_path)[0])
    is_this = match is not None and match[1] == load().digest
    return _answer(request, _FOREVER if is_this else _BRIEF)


def _answer(request: web.BaseRequest, cache_control: str) -> web.Response:
    tag = load()
    is_packed = _GZIP.search(request.headers.get(hdrs.ACCEPT_ENCODING, "").lower()) is not None
    mark = f'"{tag.digest}{"-gzip" if is_packed else ""}"'
    headers = {**_HEADERS, "Cache-Control": cache_control, "ETag": mark}
    if _is_held(request.headers.get(hdrs.IF_NONE_MATCH, ""), mark):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=tag.packed if is_packed else tag.plain, headers=headers)


def _is_held(sent: str, mark: str) -> bool:
    """Whether the sender holds what `mark` names; a proxy may have weakened the mark."""
    held = {each.strip().removeprefix("W/") for each in sent.split(",")}
    return mark in held or "*" in held
