"""What the shapes of bodies and queries are made of: common fields, and rules beyond a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta

from headwater import clock, ids, limits
from headwater.ledger.objects import Reference

Text = Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARACTERS_MAX)]
Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TEXT_CHARACTERS_MAX + 4,
        description="An object's id, or `ext:` and its external id.",
    ),
]
ExternalId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TEXT_CHARACTERS_MAX,
        description="Your own id of the object, unique within its owner.",
    ),
]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.URL_BYTES_MAX,
        description="Absolute http(s) URL in ASCII; emitted byte for byte.",
    ),
]
Host = Annotated[str, Meta(min_length=1, max_length=255)]
Email = Annotated[str, Meta(min_length=3, max_length=254)]
Time = Annotated[str, Meta(min_length=1, max_length=40, description="RFC 3339, with any offset.")]
Status = Literal["active", "paused"]

EXTERNAL: Final = "ext:"


def parse_reference(prefix: str, text: str) -> Reference:
    """`prg_3` as 3, `ext:VALUE` as VALUE. Raises ValueError."""
    if text.startswith(EXTERNAL):
        value = text[len(EXTERNAL) :]
        if not 0 < len(value) <= limits.TEXT_CHARACTERS_MAX:
            raise ValueError("an external id has 1 to 255 characters")
        return value
    return ids.parse_object(prefix, text)


class Rule(NamedTuple):
    """What holds for a field beyond its type: `check` gives the value to keep, or ValueError."""

    check: Callable[[Any], Any]
    code: str = "invalid"


def refers(prefix: str, code: str = "invalid") -> Rule:
    def check(text: str) -> str:
        try:
            parse_reference(prefix, text)
        except ValueError:
            raise ValueError("no such object") from None
        return text

    return Rule(check, code)


# Years 2000 to 9999: beyond them a time is a slip, and cannot be written back.
_TIME_MS: Final = range(946_684_800_000, 253_402_300_800_000)


def time_text(text: str) -> str:
    try:
        at_ms = clock.parse_iso_ms(text)
    except (ValueError, OverflowError):
        raise ValueError("not an RFC 3339 time with an offset") from None
    if at_ms not in _TIME_MS:
        raise ValueError("not within the years 2000 to 9999")
    return text


class Table(NamedTuple):
    """A field that maps names to bodies, each told by its name when it is at fault."""

    shape: type[Body]
    check_name: Callable[[str], None]
    """Raises ValueError for a name that is not taken."""


class Body(msgspec.Struct, kw_only=True):
    """Base of what is taken."""

    rules: ClassVar[Mapping[str, Rule]] = {}
    parts: ClassVar[Mapping[str, type[Body]]] = {}
    """Fields whose own fields are told one by one when they are at fault."""
    tables: ClassVar[Mapping[str, Table]] = {}
    is_closed: ClassVar[bool] = False
    """A field that is not known is a fault."""


Limit = Annotated[int, Meta(ge=1, le=limits.PAGE_ROWS_MAX)]
Cursor = Annotated[str, Meta(max_length=200)]


class PageQuery(Body):
    limit: Limit = limits.PAGE_ROWS
    cursor: Cursor | None = None


def given(patch: Body) -> dict[str, Any]:
    """The fields of a PATCH that were sent."""
    return {
        field: value
        for field in patch.__struct_fields__
        if (value := getattr(patch, field)) is not UNSET
    }
