"""Conversions that come as a query: pixel and postback. Flat names become the fields of the API."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from headwater.edge import statuses
from headwater.edge.links import LinkTable
from headwater.edge.naming import OF_CONVERSIONS, Named, named, program_code
from headwater.edge.query import Query
from headwater.model.aliases import STATUS_LISTS

_TRUE = {"1", "true", "yes"}
_PAYMENT = ("card_number", "cvv", "expiry")
# Not of the conversion: read elsewhere, or there to defeat caches.
_CONTROLS = ("token", "return", "cb", "_")
_TIMES = ("occurred_at", "checkout_started_at")
_LOST_PLUS = re.compile(r"(.*[0-9]) ([0-9]{2}:[0-9]{2})", re.ASCII)
_OWN = OF_CONVERSIONS | {*_PAYMENT, *_CONTROLS, *STATUS_LISTS, "hw_test", "event_id"}


@dataclass(slots=True)
class Flat:
    """A conversion out of a query, and what the query says beside it."""

    fields: dict[str, Any]
    named: Named
    controls: dict[str, str] = field(default_factory=dict)


def read(table: LinkTable, query: Query) -> Flat:
    """The fields of a conversion in a query, by the aliases of the program it names."""
    pairs = query.items()
    program = table.program(program_code(pairs))
    found = named(_one_test(pairs), program.aliases if program else {}, _OWN)
    flat = Flat({}, found)
    payment: dict[str, str] = {}
    for name, value in found.fields.items():
        if name in _PAYMENT:
            payment[name] = value
        elif name in _CONTROLS:
            flat.controls[name] = value
        elif name == "test":
            flat.fields["test"] = value.lower() in _TRUE
        elif value:
            flat.fields[name] = value
    if payment:
        flat.fields["payment"] = payment
    for name in _TIMES:
        if name in flat.fields:
            flat.fields[name] = _with_plus(flat.fields[name])
    statuses.read_lists(flat.fields)
    return flat


def _one_test(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """`hw_test`, the name links have for it, is `test`."""
    return [("test" if name.lower() == "hw_test" else name, value) for name, value in pairs]


def _with_plus(text: str) -> str:
    """An offset's plus sign that was not encoded arrives as a space."""
    match = _LOST_PLUS.fullmatch(text)
    return f"{match[1]}+{match[2]}" if match and "T" in text.upper() else text
