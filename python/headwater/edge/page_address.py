"""Addresses of pages, as they are kept: where on the site, and nothing that tells of a person."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from headwater import limits
from headwater.edge.cards import without_card
from headwater.edge.fields import CLICK_PARAMETERS, EventIn
from headwater.edge.query import Query, decode
from headwater.edge.text import cut, has_control
from headwater.model.identifiers import looks_like_email

_HIDDEN = "*"


class PageIn(EventIn, kw_only=True):
    """A page seen by the tag."""

    url: str | None = None
    referrer: str | None = None


def kept(url: str | None) -> str | None:
    """Scheme, host, path and the parameters of tracking links; None for what is no address.

    Every other parameter goes, whatever it holds, and so do user name, fragment, and parts of
    the path that hold an e-mail address.
    """
    if not url or len(url) > limits.LINE_BYTES_MAX or has_control(url):
        return None
    if without_card(url) is None:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    path = "/".join(map(_segment, parts.path.split("/")))
    query = Query(parts.query)
    pairs = [(name, query.get(name) or "") for name in CLICK_PARAMETERS if name in query]
    shown = "&".join(
        f"{name}={quote(cut(value, limits.PARAMETER_BYTES_MAX), '')}"
        for name, value in pairs
        if value and not looks_like_email(value)
    )
    authority = host if port is None else f"{host}:{port}"
    text = f"{parts.scheme}://{authority}{path}" + (f"?{shown}" if shown else "")
    return cut(text, limits.REFERRER_BYTES_MAX)


def referrer_kept(text: str | None) -> str | None:
    """A referrer as it is kept: its origin alone where it holds an e-mail address; None where it
    holds a card number, or an address in the origin itself.
    """
    text = without_card(text)
    if text is None or not looks_like_email(decode(text)):
        return text
    origin = "/".join(text.split("/", 3)[:3])
    return None if looks_like_email(decode(origin)) else origin


def _segment(raw: str) -> str:
    return _HIDDEN if looks_like_email(decode(raw)) else raw
