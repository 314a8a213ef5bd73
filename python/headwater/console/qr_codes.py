"""QR codes of links: what they encode is the link's address with `?qr=1`, so that a click by one
is told from others.
"""

from __future__ import annotations

import io
from typing import Annotated, Final, Literal

import segno
from msgspec import Meta

from headwater import limits
from headwater.console import views
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.fields import Body
from headwater.console.own_links import own_link
from headwater.ledger.objects import refused_field

SVG: Final = "image/svg+xml"
PNG: Final = "image/png"
_MARK: Final = "?qr=1"


class QrQuery(Body):
    """`size`: edge in pixels, the margin included; a PNG is the largest of whole pixels a module
    that fits. `margin` is in modules: readers want four.
    """

    size: Annotated[int, Meta(ge=limits.QR_PIXELS_MIN, le=limits.QR_PIXELS_MAX)] = 512
    margin: Annotated[int, Meta(ge=0, le=limits.QR_MARGIN_MAX)] = 4
    level: Annotated[
        Literal["L", "M", "Q", "H"], Meta(description="Error correction: 7, 15, 25, 30 %.")
    ] = "M"


async def read_link_qr_svg(console: Console, request: Request) -> Answer:
    code, query = await _qr(console, request)
    out = io.BytesIO()
    code.save(
        out,
        kind="svg",
        border=query.margin,
        light="#fff",
        xmldecl=False,
        svgclass=None,
        lineclass=None,
        omitsize=True,
        nl=False,
    )
    # The library writes sizes that are whole numbers of modules alone.
    size = f'<svg width="{query.size}" height="{query.size}"'.encode()
    return Answer(size + out.getvalue().removeprefix(b"<svg"), content_type=SVG)


async def read_link_qr_png(console: Console, request: Request) -> Answer:
    code, query = await _qr(console, request)
    edge = code.symbol_size(border=query.margin)[0]
    if query.size < edge:
        raise refused_field("size", "invalid", f"the code has {edge} modules, margin included")
    out = io.BytesIO()
    code.save(out, kind="png", border=query.margin, scale=query.size // edge)
    return Answer(out.getvalue(), content_type=PNG)


async def _qr(console: Console, request: Request) -> tuple[segno.QRCode, QrQuery]:
    """The code, and how it is to look."""
    query: QrQuery = request.query
    row = await own_link(console, request)
    url = views.link_url(console.config, row) + _MARK
    return segno.make_qr(url, error=query.level, boost_error=False), query
