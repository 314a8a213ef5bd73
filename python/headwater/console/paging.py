"""Cursors: where a page of a list ended, as an opaque text that is checked when it comes back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from headwater.console.fields import PageQuery
from headwater.console.views import Page
from headwater.errors import FieldFault, RequestRefused

T = TypeVar("T")
K = TypeVar("K")
_NUMBER_MAX: Final = (1 << 63) - 1


def encode(position: Any) -> str:
    """A cursor for a number, bytes, or a tuple of them."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).rstrip(b"=").decode()


def decode(cursor: str | None, kind: type[K]) -> K | None:
    """The position in a cursor; None when there is none. Raises RequestRefused."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        position = msgspec.msgpack.decode(raw, type=kind)
        # Only what `encode` writes is taken: one position has one cursor.
        if encode(position) == cursor and _is_in_range(position):
            return position
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        pass
    fault = FieldFault("cursor", "invalid_cursor", "not a cursor this list gave")
    raise RequestRefused("invalid_cursor", faults=(fault,))


def _is_in_range(position: Any) -> bool:
    """Whether the numbers of a position are such as SQL holds."""
    parts = position if isinstance(position, tuple) else (position,)
    return all(0 <= part <= _NUMBER_MAX for part in parts if isinstance(part, int))


def page(
    query: PageQuery,
    rows: Sequence[dict[str, Any]],
    view: Callable[[dict[str, Any]], T],
    position: Callable[[dict[str, Any]], Any],
) -> Page[T]:
    """One page of `rows`, which were asked for one more than the limit."""
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return Page(
        items=[view(row) for row in shown],
        next_cursor=encode(position(shown[-1])) if more else None,
    )


def by_number(row: dict[str, Any]) -> int:
    """The position in a list ordered by number."""
    return int(row["id"])


def after_number(query: PageQuery) -> int:
    """The number a list goes on after. Raises RequestRefused for a cursor of another list."""
    return decode(query.cursor, int) or 0
