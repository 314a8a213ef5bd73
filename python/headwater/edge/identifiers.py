"""The identifiers of an event, digested; its faults noted."""

from __future__ import annotations

from headwater import _core
from headwater.edge.fields import EventIn, Faults
from headwater.model.identifiers import TYPES, click_id, digested
from headwater.model.records import Identifiers, IdentifierType, Trust, TypeAndDigest

__all__ = ["click_id", "digests", "external_click", "given", "visitor"]


def visitor(key: bytes, brand: int, value: str) -> TypeAndDigest:
    """The identifier of a visitor cookie's value, which `cookies.is_visitor` has judged."""
    digest = _core.identifier_digest(key, brand, "visitor_id", value)
    if digest is None:
        raise ValueError("a visitor id is never blocked")
    return IdentifierType.VISITOR, digest


def external_click(key: bytes, brand: int, value: str) -> Identifiers:
    """The identifier of an external click id on a link; nothing when it cannot be one."""
    try:
        digest = _core.identifier_digest(key, brand, "external_click_id", value)
    except ValueError:
        return ()
    return ((IdentifierType.EXTERNAL_CLICK, digest),) if digest else ()


def given(event: EventIn) -> bool:
    """Whether the event names any identifier at all; an empty one is none."""
    return bool(event.click_id) or any(getattr(event, name) for name in TYPES)


def digests(
    key: bytes, brand: int, event: EventIn, country: str | None, faults: Faults, trust: Trust
) -> Identifiers:
    """The event's identifiers but the click id, strongest first, each once.

    Values on the block list are passed over; malformed ones are noted as faults.
    """
    # A browser may tie one person identifier: of two digests the engine would keep any.
    result = digested(
        key,
        brand,
        lambda name: getattr(event, name),
        country,
        with_email_sha1=trust is Trust.SERVER,
    )
    for name, code in result.faults:
        faults.add(name, code)
    return tuple(sorted(result.found))
