"""Identifiers: from the values of a request to keyed digests. Raw values go no further."""

from __future__ import annotations

import hashlib
import re

from headwater import _core, ids
from headwater.edge.fields import EventIn, Faults
from headwater.model.reasons import REASONS
from headwater.model.records import Identifiers, IdentifierType, Trust, TypeAndDigest

# Field of a request → type of the graph. A click id is no digest: it is the id itself.
TYPES: dict[str, IdentifierType] = {
    "customer_id": IdentifierType.CUSTOMER,
    "profile_id": IdentifierType.PROFILE,
    "email": IdentifierType.EMAIL,
    "email_sha256": IdentifierType.EMAIL,
    "email_sha1": IdentifierType.EMAIL,
    "phone": IdentifierType.PHONE,
    "phone_sha256": IdentifierType.PHONE,
    "device_id": IdentifierType.DEVICE,
    "external_click_id": IdentifierType.EXTERNAL_CLICK,
    "visitor_id": IdentifierType.VISITOR,
}
_EMAIL = re.compile(r"[^@\s]+(?:@|%40)[^@\s]+\.[^@\s.]+", re.IGNORECASE)


def click_id(text: str) -> bytes | None:
    """The 16 bytes of a click id, or None when it has not the form of one."""
    try:
        return ids.parse_event("clk", text)
    except ValueError:
        return None


def looks_like_email(text: str) -> bool:
    """Whether a customer id holds an e-mail address, plain or percent-encoded."""
    return _EMAIL.search(text) is not None


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
    found: set[TypeAndDigest] = set()
    for name, kind in TYPES.items():
        value = getattr(event, name)
        if not value:
            continue
        if name == "customer_id" and looks_like_email(value):
            faults.add(name, "pii_in_customer_id")
            continue
        try:
            digest = _core.identifier_digest(key, brand, name, value, country)
        except ValueError as error:
            code = getattr(error, "code", "")
            faults.add(name, code if code in REASONS else "invalid_identifier")
            continue
        if digest is not None:
            found.add((int(kind), digest))
            # A browser may tie one person identifier: of two digests the engine would keep any.
            if name == "email" and trust is Trust.SERVER:
                found.add((int(kind), _email_sha1(key, brand, value)))
    return tuple(sorted(found))


def _email_sha1(key: bytes, brand: int, email: str) -> bytes:
    """The second digest of a plain address: a caller who knows only its SHA-1 meets it there."""
    hashed = hashlib.sha1(email.strip().lower().encode(), usedforsecurity=False).hexdigest()
    digest = _core.identifier_digest(key, brand, "email_sha1", hashed)
    if digest is None:
        raise ValueError("a hash is never blocked")
    return digest
