"""Clicks and identifies that a server reports: from their fields to records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwater import ids, limits
from headwater.edge import cards, identifiers, page_address
from headwater.edge.context import Edge
from headwater.edge.conversion import (
    Origin,
    claim_ms,
    client_of,
    consent_denied,
    keyed_id,
    read_program,
)
from headwater.edge.fields import ClickIn, EventIn, Faults, IdentifyIn, cut_parameters, read
from headwater.edge.links import Key, Link, Program
from headwater.edge.page_address import PageIn
from headwater.edge.text import cut
from headwater.errors import RequestRefused
from headwater.model.identifiers import TYPES
from headwater.model.records import (
    CLICK,
    TOUCH_FLAGS,
    ClickBody,
    Flag,
    Identifiers,
    IdentifierType,
    IdentifyBody,
    Kind,
    PageViewBody,
    Record,
    encode,
)

# What a partner may know of a visit: its own click's id in its system, and the cookie.
_OF_CLICKS = ("external_click_id", "visitor_id")


@dataclass(slots=True)
class Observation:
    """A click or an identify ready for the journal."""

    event_id: bytes
    brand: int
    record: bytes
    warnings: list[str]
    kind: str
    """What it counts as: a click, or a touch that is none."""


def prepare_click(edge: Edge, body: Mapping[str, Any], origin: Origin, key: Key) -> Observation:
    """The record of a reported click. Raises RequestRefused with every fault."""
    now_ms = edge.now_ms()
    cards.refuse_cards(body)
    faults = Faults()
    event, warnings = read(ClickIn, body, faults)
    program = read_program(edge, event.program, origin.brand, origin.method, faults)
    claimed = claim_ms(event, now_ms, faults)
    link = _link(edge, event, program, faults) if event.link else None
    partner = _partner(edge, event, program, link, faults)
    if program is None or partner is None:
        faults.raise_any()
        raise RequestRefused("unknown_program")
    if key.partner not in (None, partner):
        raise RequestRefused("forbidden", "The key is another partner's.")
    if key.partner is not None:
        warnings += _forget_persons(event)
    denied = consent_denied(event, program, origin.gpc)
    known = _observed(edge, event, program, origin, denied, faults)
    client = client_of(edge, event, origin, program, now_ms, denied, faults)
    referrer = page_address.referrer_kept(event.referrer)
    if referrer and not denied:
        client = client._replace(referrer=cut(referrer, limits.REFERRER_BYTES_MAX))
    faults.raise_any()
    event_id = _event_id(edge, program, origin, now_ms)
    touch = event.touch_type or CLICK
    body_out = ClickBody(
        program=program.number,
        partner=partner,
        link=link.number if link else 0,
        flags=_flags(event, denied)
        | origin.flags
        | TOUCH_FLAGS[touch]
        | (link.flags if link else 0),
        identifiers=known,
        params=cut_parameters(lambda name: getattr(event, name), warnings),
        client=client,
    )
    record = _record(Kind.CLICK, event_id, program, now_ms, claimed, origin, body_out)
    return Observation(event_id, program.brand, record, warnings, touch)


def prepare_identify(edge: Edge, body: Mapping[str, Any], origin: Origin) -> Observation:
    """The record of a reported identify. Raises RequestRefused with every fault."""
    now_ms = edge.now_ms()
    cards.refuse_cards(body)
    faults = Faults()
    event, warnings = read(IdentifyIn, body, faults)
    program = read_program(edge, event.program, origin.brand, origin.method, faults)
    claimed = claim_ms(event, now_ms, faults)
    if not identifiers.given(event):
        faults.add("identifiers", "no_identifier", "An identify needs one identifier.")
    if program is None:
        faults.raise_any()
        raise RequestRefused("unknown_program")
    denied = consent_denied(event, program, origin.gpc)
    known = _observed(edge, event, program, origin, denied, faults)
    client = client_of(edge, event, origin, program, now_ms, denied, faults)
    faults.raise_any()
    event_id = _event_id(edge, program, origin, now_ms)
    body_out = IdentifyBody(program.number, _flags(event, denied), known, client)
    record = _record(Kind.IDENTIFY, event_id, program, now_ms, claimed, origin, body_out)
    return Observation(event_id, program.brand, record, warnings, "identify")


def prepare_page(edge: Edge, body: Mapping[str, Any], origin: Origin) -> Observation:
    """The record of a page seen by the tag. Raises RequestRefused with every fault."""
    now_ms = edge.now_ms()
    cards.refuse_cards(body)
    faults = Faults()
    event, warnings = read(PageIn, body, faults)
    program = read_program(edge, event.program, origin.brand, origin.method, faults)
    if program is None:
        faults.raise_any()
        raise RequestRefused("unknown_program")
    denied = consent_denied(event, program, origin.gpc)
    known = _observed(edge, event, program, origin, denied, faults)
    client = client_of(edge, event, origin, program, now_ms, denied, faults)
    faults.raise_any()
    event_id = _event_id(edge, program, origin, now_ms)
    url = None if denied else page_address.kept(event.url)
    body_out = PageViewBody(program.number, url, _flags(event, denied), known, client)
    record = _record(Kind.PAGE_VIEW, event_id, program, now_ms, None, origin, body_out)
    return Observation(event_id, program.brand, record, warnings, "page_view")


def _record(
    kind: Kind,
    event_id: bytes,
    program: Program,
    now_ms: int,
    claimed: int | None,
    origin: Origin,
    body: tuple[object, ...],
) -> bytes:
    return encode(
        Record(
            kind=int(kind),
            event_id=event_id,
            brand=program.brand,
            accept_ms=now_ms,
            claim_ms=claimed,
            trust=int(origin.trust),
            source=int(origin.source),
            body=body,
        )
    )


def _event_id(edge: Edge, program: Program, origin: Origin, now_ms: int) -> bytes:
    if not origin.idempotency_key:
        return ids.event_id(now_ms)
    # A click id is ordered by time: the key decides the id from its bytes alone, so a repeat
    # meets the first, and its age is told by the record's accept time.
    return keyed_id(edge, "event", program.brand, origin.idempotency_key)


def _flags(event: EventIn, denied: bool) -> int:
    flags = Flag.CONSENT_DENIED if denied else Flag(0)
    return int(flags | Flag.TEST) if event.test else int(flags)


def _forget_persons(event: ClickIn) -> list[str]:
    """Drop what names persons and devices from a partner's click, and say so.

    A partner that knows the hash of somebody's address could otherwise put its click under that
    person: it would earn the person's next order, and be told of it.
    """
    named = [name for name in TYPES if name not in _OF_CLICKS and getattr(event, name)]
    for name in named:
        setattr(event, name, None)
    return [f"field ignored, for the key is a partner's: {name}" for name in named]


def _observed(
    edge: Edge, event: EventIn, program: Program, origin: Origin, denied: bool, faults: Faults
) -> Identifiers:
    """All identifiers of the event, a click id among them; with consent denied that alone."""
    found = identifiers.digests(
        edge.identity_key, program.brand, event, program.default_country, faults, origin.trust
    )
    if origin.visitor:
        cookie = identifiers.visitor(edge.identity_key, program.brand, origin.visitor)
        found = tuple(sorted({*found, cookie}))
    if denied:
        found = ()
    if not event.click_id:
        return found
    click = identifiers.click_id(event.click_id)
    if click is None:
        faults.add("click_id", "invalid_identifier", "Not the form of a click id.")
        return found
    return tuple(sorted((*found, (int(IdentifierType.CLICK), click))))


def _link(edge: Edge, event: ClickIn, program: Program | None, faults: Faults) -> Link | None:
    """The link an event names by id, external id or code, if it belongs to the event's program."""
    found = edge.table.named_link(program.number if program else 0, event.link or "")
    if found is None or program is None or found.program != program.number or not found.active:
        if program is not None:
            faults.add("link", "unknown_link")
        return None
    return found


def _partner(
    edge: Edge, event: ClickIn, program: Program | None, link: Link | None, faults: Faults
) -> int | None:
    """The partner the click belongs to: the link's, which the named one must not contradict."""
    if not event.partner and not event.link:
        faults.add("partner", "required", "A click names a partner or a link.")
        return None
    named = link.partner if link else None
    if event.partner:
        number = edge.table.partner_number(event.partner) or 0
        if named not in (None, number):
            faults.add("partner", "unknown_partner", "The link is another partner's.")
            return None
        named = number
    if named is None or program is None:
        return None
    if not edge.table.partner_active(program.number, named):
        faults.add("partner", "unknown_partner")
        return None
    return named
