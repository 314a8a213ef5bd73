"""Why a conversion was decided so, as the management API answers it.

The engine's explanation is a map; a member it does not have counts as empty. Identifiers that
were erased since are shown as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgpack

from headwater import clock, ids
from headwater.console.fraud_views import FraudDetail, detail
from headwater.console.views import View
from headwater.model.records import IdentifierType, TypeAndDigest

Row = Mapping[str, Any]
Erased = frozenset[TypeAndDigest]
NOTHING_ERASED: Final[Erased] = frozenset()


class Identifier(View):
    """`key`: a click's id, or the first 8 hex digits of an identifier's digest, or `erased`."""

    type: str
    key: str


# `from` is no name for a field in Python, nor is `class`.
class Hop(View, rename={"from_": "from"}):
    """A link between two identifiers; without an event where two were named together."""

    from_: Identifier
    to: Identifier
    at: str
    event_id: str | None


class Candidate(View, rename={"class_": "class"}):
    """A touch that was found. `click_id` is null for the use of a promo code alone."""

    click_id: str | None
    partner_id: str
    touch_at: str
    class_: str
    path: list[Hop]
    outcome: str
    share_ppm: int


class NearestMiss(View):
    """The touch that came closest to a credit, and what kept it out."""

    click_id: str | None
    partner_id: str
    touch_at: str
    outcome: str
    missed_by_ms: int


class Explanation(View):
    """`evidence` and `links`: whose reports, and whose links, the decision rests on. `fraud`: what
    scoring found of the conversion, with what it has from its click; null where none was scored.
    """

    members: list[Identifier]
    candidates: list[Candidate]
    candidates_omitted: int
    hubs: list[Identifier]
    hubs_omitted: int
    cut: list[Hop]
    cut_omitted: int
    truncated: bool
    evidence: str | None
    links: str | None
    model: str | None
    nearest_miss: NearestMiss | None
    fraud: FraudDetail | None
    config_hash: str


# Type 0 is the conversion itself; the others are those of records, by their public names.
CONVERSION_TYPE: Final = 0
TYPE_NAMES: Final = {
    CONVERSION_TYPE: "conversion",
    IdentifierType.CUSTOMER: "customer_id",
    IdentifierType.PROFILE: "profile_id",
    IdentifierType.EMAIL: "email",
    IdentifierType.PHONE: "phone",
    IdentifierType.DEVICE: "device_id",
    IdentifierType.CLICK: "click_id",
    IdentifierType.EXTERNAL_CLICK: "external_click_id",
    IdentifierType.VISITOR: "visitor_id",
}
# Enough to tell the identifiers of one explanation apart, too little to look a visitor up by.
_KEY_BYTES: Final = 4
_ERASED: Final = "erased"
_NO_EVENT: Final = bytes(16)
# What a candidate without a class was, before there were others.
_CLICK: Final = "click"


def explained(row: Row) -> dict[str, Any]:
    """The engine's explanation in a conversion's row."""
    told: dict[str, Any] = msgpack.unpackb(row["explain"], strict_map_key=False)
    return told


def identifiers_in(told: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    """Every identifier an explanation names, more than once if it does."""
    yield from told.get("members", ())
    yield from told.get("hubs", ())
    hops = [*told.get("cut", ())]
    for candidate in told.get("candidates", ()):
        hops += candidate.get("path", ())
    for each in hops:
        yield each["from"]
        yield each["to"]


def explanation(row: Row, told: Mapping[str, Any], erased: Erased = NOTHING_ERASED) -> Explanation:
    """The engine's explanation `told`, with ids as texts and digests cut."""
    miss = told.get("nearest_miss")
    return Explanation(
        members=[identifier(each, erased) for each in told.get("members", ())],
        candidates=[_candidate(each, erased) for each in told.get("candidates", ())],
        candidates_omitted=told.get("candidates_omitted", 0),
        hubs=[identifier(each, erased) for each in told.get("hubs", ())],
        hubs_omitted=told.get("hubs_omitted", 0),
        cut=[hop(each, erased) for each in told.get("cut", ())],
        cut_omitted=told.get("cut_omitted", 0),
        truncated=told.get("truncated", False),
        evidence=told.get("evidence"),
        links=told.get("links"),
        model=told.get("model"),
        nearest_miss=None if miss is None else nearest_miss(miss),
        fraud=detail(row),
        config_hash=row["config_hash"].hex(),
    )


def _candidate(told: Mapping[str, Any], erased: Erased) -> Candidate:
    return Candidate(
        click_id=click_text(told.get("click_id")),
        partner_id=ids.object_text("prt", told["partner"]),
        touch_at=clock.iso_ms(told["touch_ms"]),
        class_=class_of(told),
        path=[hop(each, erased) for each in told.get("path", ())],
        outcome=told["outcome"],
        share_ppm=told.get("share_ppm", 0),
    )


def class_of(told: Mapping[str, Any]) -> str:
    """The class of a candidate."""
    found: str = told.get("class", _CLICK)
    return found


def nearest_miss(told: Mapping[str, Any]) -> NearestMiss:
    return NearestMiss(
        click_id=click_text(told.get("click_id")),
        partner_id=ids.object_text("prt", told["partner"]),
        touch_at=clock.iso_ms(told["touch_ms"]),
        outcome=told["outcome"],
        missed_by_ms=told.get("missed_by_ms", 0),
    )


def click_text(click_id: bytes | None) -> str | None:
    return None if click_id is None else ids.event_text("clk", click_id)


def hop(told: Mapping[str, Any], erased: Erased = NOTHING_ERASED) -> Hop:
    return Hop(
        from_=identifier(told["from"], erased),
        to=identifier(told["to"], erased),
        at=clock.iso_ms(told["at_ms"]),
        event_id=_event(told, erased),
    )


def _event(told: Mapping[str, Any], erased: Erased) -> str | None:
    """A click proves the steps that end at it; its event id is its own id."""
    event_id = told["event_id"]
    if event_id == _NO_EVENT or (IdentifierType.CLICK, event_id) in erased:
        return None
    is_click = told["to"][0] == IdentifierType.CLICK and told["to"][1] == event_id
    return ids.event_text("clk" if is_click else "evt", event_id)


def identifier(told: Sequence[Any], erased: Erased = NOTHING_ERASED) -> Identifier:
    kind, digest = told
    name = TYPE_NAMES.get(kind, "unknown")
    if kind == CONVERSION_TYPE:
        return Identifier(type=name, key=ids.event_text("cnv", digest))
    if (kind, digest) in erased:
        return Identifier(type=name, key=_ERASED)
    if kind == IdentifierType.CLICK:
        return Identifier(type=name, key=ids.event_text("clk", digest))
    return Identifier(type=name, key=digest[:_KEY_BYTES].hex())
