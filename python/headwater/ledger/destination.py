"""The URL a link emits: the destination's own bytes, with the link's utm parameters added."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote_plus

UTM_NAMES = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")


def with_utm(url: str, utm: Mapping[str, str]) -> str:
    """`url` with the parameters of `utm` that its query does not have yet.

    Nothing else changes: the destination's own bytes are kept, and a fragment stays at the end.
    """
    head, mark, fragment = url.partition("#")
    path, question, query = head.partition("?")
    present = {unquote_plus(part.partition("=")[0]) for part in query.split("&")}
    added = [
        f"{name}={quote(utm[name], safe='')}"
        for name in UTM_NAMES
        if utm.get(name) and name not in present
    ]
    if not added:
        return url
    joined = "&".join(([query] if query else []) + added)
    return f"{path}?{joined}{mark}{fragment}" if question or joined else url
