"""The list of crawlers' user agents as the control records an engine takes it from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from importlib import metadata, resources
from typing import Any, Final, NamedTuple

from headwater.errors import HeadwaterError

_PACKAGE: Final = "crawler-user-agents"
_MODULE: Final = "crawleruseragents"
_FILE: Final = "crawler-user-agents.json"
# A control record holds 32 KiB and 4096 entries; its head and version need little of that.
_CHUNK_BYTES: Final = 24 * 1024
_CHUNK_PATTERNS: Final = 4000


class BotList(NamedTuple):
    """Patterns in the order of the list; `left_out` are those added on or after a day."""

    version: str
    patterns: tuple[str, ...]
    left_out: int


def installed(before: date | None = None) -> BotList:
    """The list of the package that is installed, or what of it was there before a day.

    A pattern without a date is of the list's first years. Raises HeadwaterError.
    """
    try:
        version = metadata.version(_PACKAGE)
        content = resources.files(_MODULE).joinpath(_FILE).read_text("utf-8")
    except (metadata.PackageNotFoundError, ModuleNotFoundError, OSError) as error:
        raise HeadwaterError(f"the package {_PACKAGE} is not installed") from error
    return listed(json.loads(content), version, before)


def listed(entries: Sequence[dict[str, Any]], version: str, before: date | None) -> BotList:
    """The list of such entries, or what of it was there before a day."""
    known = [entry for entry in entries if before is None or _added(entry) < before]
    patterns = tuple(dict.fromkeys(entry["pattern"] for entry in known))
    name = version if before is None else f"{version} before {before.isoformat()}"
    return BotList(name, patterns, len(entries) - len(known))


def _added(entry: dict[str, Any]) -> date:
    text = str(entry.get("addition_date") or "").replace("/", "-")
    try:
        return date.fromisoformat(text)
    except ValueError:
        return date.min


def chunks(bots: BotList) -> Iterator[tuple[int, dict[str, object]]]:
    """Number and value of each control record that together are the list."""
    parts: list[list[str]] = [[]]
    size = 0
    for pattern in bots.patterns:
        needed = len(pattern.encode()) + 5
        if size + needed > _CHUNK_BYTES or len(parts[-1]) == _CHUNK_PATTERNS:
            parts.append([])
            size = 0
        parts[-1].append(pattern)
        size += needed
    for number, patterns in enumerate(parts):
        value = {"version": bots.version, "chunk": number, "chunks": len(parts)}
        yield number, {**value, "patterns": patterns}
