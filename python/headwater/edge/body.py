"""Bodies of requests: admitted by type and size, read within a deadline, parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from headwater import limits
from headwater.edge import parse
from headwater.errors import RequestRefused

Parsers = Mapping[str, Callable[[bytes], Any]]
"""What takes a body of each media type."""
S2S: Parsers = {
    "application/json": parse.parse_json,
    "application/msgpack": parse.parse_msgpack,
}
# A page may send plain text to another host without asking first.
PAGES: Parsers = {"text/plain": parse.parse_json, "application/json": parse.parse_json}
_CHARSETS = {"", "utf-8", "utf8"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read_body(
    request: web.BaseRequest, bytes_max: int, parsers: Parsers = S2S
) -> tuple[Any, bytes]:
    """The parsed body and its bytes. Raises RequestRefused.

    What cannot be taken is refused before a byte of it is read.
    """
    headers = request.headers
    parser = _parser_of(headers.get(hdrs.CONTENT_TYPE, ""), parsers)
    if headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        raise RequestRefused("unsupported_media_type", "No Content-Encoding is taken.")
    length = request.content_length
    if length is not None and length > bytes_max:
        raise RequestRefused("body_too_large", f"At most {bytes_max} bytes.")
    await _expectation(request)
    raw = await _read(request, bytes_max)
    return parser(raw), raw


def _parser_of(content_type: str, parsers: Parsers) -> Callable[[bytes], Any]:
    kind, *parameters = content_type.split(";")
    parser = parsers.get(kind.strip().lower())
    charset = ""
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    if parser is None or charset not in _CHARSETS:
        raise RequestRefused("unsupported_media_type", f"Send {' or '.join(parsers)}, in UTF-8.")
    return parser


async def _expectation(request: web.BaseRequest) -> None:
    """Tell a sender that waits for it to go on: curl does for bodies over a KiB or so."""
    expectation = request.headers.get(hdrs.EXPECT)
    if expectation is None or request.version < (1, 1):
        return
    if expectation.strip().lower() != "100-continue":
        raise RequestRefused("expectation_failed")
    if request.transport is not None and not request.transport.is_closing():
        # Not through the request's writer, which would take it for the answer.
        request.transport.write(_CONTINUE)


async def _read(request: web.BaseRequest, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    count = 0
    content = request.content
    try:
        async with asyncio.timeout(limits.BODY_DEADLINE_S):
            while chunk := await content.readany():
                count += len(chunk)
                if count > bytes_max:
                    raise RequestRefused("body_too_large", f"At most {bytes_max} bytes.")
                chunks.append(chunk)
    except TimeoutError:
        raise RequestRefused("request_timeout", "The body did not arrive in time.") from None
    except (RequestPayloadError, HttpProcessingError):
        raise RequestRefused("malformed_request", "The body's framing is broken.") from None
    return b"".join(chunks)
