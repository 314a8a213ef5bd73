"""Answers: problem documents, pages, the pixel. None repeats what was sent."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from headwater.errors import FieldFault, RequestRefused
from headwater.model.reasons import REASONS, status_of

SERVER = "headwater"
PROBLEM = "application/problem+json"

GIF = base64.b64decode("R0lGODlhAQABAPAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
_GIF_HEADERS = {
    "Content-Type": "image/gif",
    "Cache-Control": "no-store, no-cache, must-revalidate, private",
    "Pragma": "no-cache",
    "Expires": "0",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
    "Server": SERVER,
}
_JSON_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": SERVER,
}
_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Server": SERVER,
}
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    "<title>{title}</title>"
    "<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;"
    "padding:0 1rem;color:#222;overflow-wrap:anywhere}}h1{{font-size:1.4rem}}</style>"
    "<h1>{title}</h1><p>{text}</p></html>"
)
_NOT_FOUND = _PAGE.format(
    title="This link leads nowhere",
    text="It may have been mistyped, or it is no longer in use.",
).encode()
_EXPIRED = _PAGE.format(title="This link has expired", text="The offer it led to is over.").encode()


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON body."""
    merged = {**_JSON_HEADERS, **headers} if headers else _JSON_HEADERS
    return web.Response(status=status, body=msgspec.json.encode(value), headers=merged)


def problem(refusal: RequestRefused) -> web.Response:
    """The problem document of a refusal (RFC 9457)."""
    status = refusal.status or status_of(refusal.code)
    reason = REASONS.get(refusal.code)
    document: dict[str, Any] = {
        "type": f"urn:headwater:reason:{refusal.code}",
        "title": reason.meaning if reason else "Refused.",
        "status": status,
        "code": refusal.code,
        "detail": refusal.detail or (reason.meaning if reason else ""),
        "errors": [_fault(fault) for fault in refusal.faults],
        **refusal.extra,
    }
    headers = {**_JSON_HEADERS, "Content-Type": PROBLEM, **refusal.headers}
    return web.Response(status=status, body=msgspec.json.encode(document), headers=headers)


def _fault(fault: FieldFault) -> dict[str, str]:
    return {"field": fault.field, "code": fault.code, "detail": fault.detail}


def text_answer(
    text: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A line of plain text."""
    return web.Response(
        status=status,
        body=text.encode("ascii"),
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Server": SERVER,
            **(headers or {}),
        },
    )


def gif() -> web.Response:
    """The transparent pixel, whatever was asked."""
    return web.Response(status=200, body=GIF, headers=_GIF_HEADERS)


def not_found_page() -> web.Response:
    """For a person who followed a link that is not there."""
    return web.Response(status=404, body=_NOT_FOUND, headers=_PAGE_HEADERS)


def expired_page() -> web.Response:
    """For a person who followed a link whose time is over."""
    return web.Response(status=410, body=_EXPIRED, headers=_PAGE_HEADERS)


def preview_page(url: str) -> web.Response:
    """For a person who asks where a link leads before following it."""
    page = _PAGE.format(
        title="Where this link leads",
        text=f"<code>{html.escape(url)}</code></p><p>This look was not counted as a click.",
    )
    return web.Response(status=200, body=page.encode(), headers=_PAGE_HEADERS)


class Redirect(web.StreamResponse):
    """A 302 whose bytes are put together here: Location leaves byte for byte as it is given, and
    none of the machinery of an ordinary answer, a fifth of a redirect's cost, is needed.
    """

    HEAD = (
        "302 Found\r\nCache-Control: no-store\r\nX-Robots-Tag: noindex\r\n"
        "Referrer-Policy: no-referrer-when-downgrade\r\n"
        f"Server: {SERVER}\r\nContent-Length: 0\r\n"
    )

    def __init__(self, location: str, cookie: str | None = None) -> None:
        # What was stored was judged, and so was what is added to it; a line break here would be
        # a header of the sender's making, so it is judged at the last moment too.
        if not (location.isascii() and location.isprintable()):
            raise ValueError("a Location is printable ASCII")
        self.location = location
        self.cookie = cookie
        self._keep_alive: bool | None = None
        self._request: web.BaseRequest | None = None

    @property
    def status(self) -> int:
        return 302

    async def prepare(self, request: web.BaseRequest) -> None:
        """Take the request that is answered; nothing is written yet."""
        self._request = request
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - there is no body
        """Write the answer. Raises ConnectionResetError when nobody is there any more."""
        request = self._request
        transport = request.transport if request is not None else None
        if request is None or transport is None or transport.is_closing():
            raise ConnectionResetError("the visitor left")
        is_old = request.version == (1, 0)
        connection = ""
        if not self._keep_alive:
            connection = "Connection: close\r\n"
        elif is_old:
            connection = "Connection: keep-alive\r\n"
        cookie = f"Set-Cookie: {self.cookie}\r\n" if self.cookie else ""
        transport.write(
            f"HTTP/1.{0 if is_old else 1} {self.HEAD}Location: {self.location}\r\n{cookie}"
            f"{connection}Date: {rfc822_formatted_time()}\r\n\r\n".encode("ascii")
        )
        if request.protocol.writing_paused:
            await request.protocol._drain_helper()
