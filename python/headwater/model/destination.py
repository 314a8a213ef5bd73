"""Where a link leads: the destination's own bytes, utm parameters added to its query, and tokens
such as `{sub1}` that a click fills in.

Who wins where several name a utm parameter: the destination itself, then the link, then the
program, then the visitor's own. A program of mode `override` puts link and program first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_plus

UTM_NAMES: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
SUB_IDS: Final = tuple(f"sub{number}" for number in range(1, 11))
CLICK_ID: Final = "click_id"
TOKENS: Final = frozenset(
    (
        CLICK_ID,
        "partner_id",
        "program",
        "link_id",
        "timestamp",
        "shared_id",
        "source",
        *SUB_IDS,
        *UTM_NAMES,
    )
)
"""What stands in braces in a destination or a utm value. `timestamp` is in Unix seconds."""

TOKEN: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


class Parts(NamedTuple):
    """A destination cut where a redirect works on it."""

    head: str
    """Up to the fragment: the destination's own bytes."""
    added: str
    """Parameters its query is given, joined by `&`; they may hold tokens."""
    tail: str
    """The fragment, with its mark."""


def checked(text: str) -> str:
    """A destination or utm value whose tokens all are known. Raises ValueError."""
    if any(name not in TOKENS for name in TOKEN.findall(text)):
        raise ValueError("it holds an unknown token; write { as %7B where it is none")
    return text


def names_of(head: str) -> set[str]:
    """Names of the parameters in the query of a URL without a fragment."""
    query = head.partition("?")[2]
    return {_name(part) for part in query.split("&")} if query else set()


def parts(url: str, utm: Mapping[str, str], *, override: bool = False) -> Parts:
    """The destination with the parameters of `utm` that its query does not have; with `override`
    those it has give way.
    """
    head, mark, fragment = url.partition("#")
    given = {name: utm[name] for name in UTM_NAMES if utm.get(name)}
    if not given:
        return Parts(head, "", mark + fragment)
    present = names_of(head)
    if override and present & given.keys():
        path, _, query = head.partition("?")
        kept = [part for part in query.split("&") if _name(part) not in given]
        head, present = f"{path}?{'&'.join(kept)}" if kept else path, set()
    added = [f"{name}={_quoted(text)}" for name, text in given.items() if name not in present]
    return Parts(head, "&".join(added), mark + fragment)


def joint(head: str) -> str:
    """What stands between a URL without a fragment and one more parameter."""
    if "?" not in head:
        return "?"
    return "" if head.endswith(("?", "&")) else "&"


def with_utm(url: str, utm: Mapping[str, str], *, override: bool = False) -> str:
    """The whole URL of `parts`."""
    found = parts(url, utm, override=override)
    if not found.added:
        return found.head + found.tail
    return f"{found.head}{joint(found.head)}{found.added}{found.tail}"


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


def _quoted(text: str) -> str:
    """A utm value percent-encoded, but for its tokens."""
    found = []
    for index, piece in enumerate(TOKEN.split(text)):
        found.append(f"{{{piece}}}" if index % 2 else quote(piece, safe=""))
    return "".join(found)
