"""One name for each field: what other networks call it, in any case, becomes the API's own."""

from __future__ import annotations

import re
import string
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from headwater import limits
from headwater.edge import cards
from headwater.edge.fields import ConversionIn, address_left_out
from headwater.edge.links import LinkTable
from headwater.edge.parse import Number
from headwater.edge.text import cut
from headwater.errors import FieldFault, RequestRefused
from headwater.model.aliases import CREDENTIAL, ITEM_NAMES, PROPERTY
from headwater.model.identifiers import looks_like_email
from headwater.model.reasons import REASONS

_HASHED_EMAIL = {40: "email_sha1", 64: "email_sha256"}
_HEX = re.compile(r"[0-9A-Fa-f]+", re.ASCII)
_ITEM = {"sku": "sku", "qty": "quantity", "amt": "subtotal", "cat": "category", "name": "name"}


@dataclass(slots=True)
class Named:
    """An event under the API's own names."""

    fields: dict[str, Any]
    conflicts: list[str] = field(default_factory=list)
    """Fields that two names gave different values."""
    cut: list[str] = field(default_factory=list)
    """Properties whose values were too long and are cut."""
    left_out: list[str] = field(default_factory=list)
    """Properties whose values held an e-mail address."""

    @property
    def warnings(self) -> list[str]:
        """What the sender is told of it."""
        bound = limits.PARAMETER_BYTES_MAX
        told = [f"value cut to {bound} bytes: {name}" for name in self.cut]
        return told + [address_left_out(name) for name in self.left_out]

    def refuse_conflicts(self) -> None:
        """Raise RequestRefused when a field has two values: nobody can say which is meant."""
        if self.conflicts:
            detail = REASONS["alias_conflict"].meaning
            faults = tuple(
                FieldFault(name, "alias_conflict", detail) for name in dict.fromkeys(self.conflicts)
            )
            raise RequestRefused("alias_conflict", detail, faults=faults)


def named(
    pairs: Iterable[tuple[str, Any]], aliases: Mapping[str, str], own: frozenset[str]
) -> Named:
    """The event in `pairs` of name and value, under the names in `own`.

    `aliases` are the program's, in lower case. What has an alias and no field of its own in this
    event is kept among its properties; what has neither keeps the name it was sent under. Empty
    values count as absent: a template whose value was missing.
    """
    found = Named({})
    extra: dict[str, Any] = {}
    for sent, value in pairs:
        lower = sent.lower()
        target = aliases.get(lower)
        name = _own_name(sent, lower, target, value, own)
        is_property = target is not None and name.startswith(PROPERTY) and "properties" in own
        if not is_property and name not in own:
            # No field of this event: its reader says so, whatever else was sent.
            found.fields.setdefault(sent, value)
        elif value is None or value == "":
            continue
        elif is_property:
            name = name.removeprefix(PROPERTY)
            if isinstance(value, str) and looks_like_email(value):
                # Judged before it is cut: of half an address nobody could tell.
                found.left_out.append(name)
            else:
                _put(found, extra, name, _kept(name, value, found))
        else:
            _put(found, found.fields, name, value)
    _add_properties(found, extra)
    if "items" in own and not ITEM_NAMES.isdisjoint(found.fields):
        _gather_items(found)
    return found


def _put(found: Named, place: dict[str, Any], name: str, value: Any) -> None:
    if name not in place:
        place[name] = value
    elif _text(place[name]) != _text(value):
        found.conflicts.append(name)


def _own_name(sent: str, lower: str, target: str | None, value: Any, own: frozenset[str]) -> str:
    if target is None:
        return lower if lower in own else sent
    if target == CREDENTIAL:
        # A secret: never a property.
        return target
    if target not in own and "properties" in own and not target.startswith(PROPERTY):
        return PROPERTY + target
    if target == "email" and isinstance(value, str) and _HEX.fullmatch(value):
        # A network's one field for an address takes it plain or hashed.
        return _HASHED_EMAIL.get(len(value), target)
    return target


def _kept(name: str, value: Any, found: Named) -> Any:
    """A property's value: a text, cut and noted where it is too long."""
    if isinstance(value, Number):
        value = value.text
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    kept = cut(value, limits.PARAMETER_BYTES_MAX)
    if len(kept) != len(value):
        # Judged whole: half a card number is none that could be found later.
        cards.refuse_cards(value)
        found.cut.append(name)
    return kept


def _add_properties(found: Named, extra: dict[str, Any]) -> None:
    """Put what is kept beside the fields to the event's own properties, which go first."""
    if not extra:
        return
    given = found.fields.get("properties") or {}
    if not isinstance(given, dict):
        return
    for name, value in extra.items():
        if name in given and _text(given[name]) != _text(value):
            found.conflicts.append(PROPERTY + name)
    names = cut(",".join(dict.fromkeys(found.cut)), limits.PARAMETER_BYTES_MAX)
    flagged = {"truncated": names} if names else {}
    found.fields["properties"] = flagged | extra | given


def _gather_items(found: Named) -> None:
    """Turn numbered names of items into the array that they stand for."""
    items: dict[int, dict[str, Any]] = {}
    for name in ITEM_NAMES.intersection(found.fields):
        part = name.rstrip(string.digits)
        number = int(name.removeprefix(part))
        items.setdefault(number, {})[_ITEM[part]] = found.fields.pop(name)
    if found.fields.get("items"):
        found.conflicts.append("items")
        return
    found.fields["items"] = [_item(items[number]) for number in sorted(items)]


def _item(values: dict[str, Any]) -> dict[str, Any]:
    quantity = values.get("quantity")
    if isinstance(quantity, str) and quantity.isascii() and quantity.isdigit():
        # A longer text stays one, and is refused as such.
        values["quantity"] = int(quantity) if len(quantity) < 11 else quantity
    return values


def _text(value: Any) -> Any:
    """A value as it is compared: a number and its text are one."""
    if isinstance(value, Number):
        return value.text
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def program_code(pairs: Iterable[tuple[str, Any]]) -> str:
    """The program an event names, whose aliases its names are read by; "" when it names none."""
    for name, value in pairs:
        if name.lower() == "program" and isinstance(value, str) and value:
            return value
    return ""


def of_event(table: LinkTable, body: Any, shape: type[msgspec.Struct]) -> Named:
    """A parsed body under the names of `shape`. What is no object is left for its reader.

    Raises RequestRefused where two names of a field have different values.
    """
    if not isinstance(body, dict):
        return Named(body)
    program = table.program(program_code(body.items()))
    own = OF_CONVERSIONS if shape is ConversionIn else names_of(shape)
    found = named(body.items(), program.aliases if program else {}, own)
    found.refuse_conflicts()
    return found


def names_of(shape: type[msgspec.Struct]) -> frozenset[str]:
    """The names of an event's fields."""
    known = _names.get(shape)
    if known is None:
        known = _names[shape] = frozenset(typing.get_type_hints(shape))
    return known


_names: dict[type, frozenset[str]] = {}
OF_CONVERSIONS: Final = names_of(ConversionIn) | ITEM_NAMES
"""The names of a conversion's fields, and of its items' parts."""
