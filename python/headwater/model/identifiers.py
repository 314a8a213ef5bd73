"""Identifiers: from the values of a request to keyed digests. Raw values go no further."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from headwater import _core, ids
from headwater.model.reasons import REASONS
from headwater.model.records import IdentifierType, TypeAndDigest

TYPES: Final[dict[str, IdentifierType]] = {
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
"""Field of a request to type of the graph. A click id is no digest: it is the id itself."""

# Nothing in it repeats without a bound: anybody may send a text of many kilobytes.
_EMAIL = re.compile(r"[^@\s/](?:@|%(?:25){0,3}40)[^@\s/]{1,255}?\.[^@\s./]", re.ASCII)
_COOKIE = re.compile(r"([0-7][0-9a-hjkmnp-tv-z]{25})\.[0-9]{1,6}", re.ASCII)


@dataclass(slots=True)
class Digested:
    """What a request's identifiers came to. `blocked` fields hold a value that links nobody."""

    found: set[TypeAndDigest] = field(default_factory=set)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """Field and reason code of each malformed value."""
    blocked: list[str] = field(default_factory=list)


def digested(
    key: bytes,
    brand: int,
    value_of: Callable[[str], str | None],
    country: str | None,
    *,
    with_email_sha1: bool,
) -> Digested:
    """The digests of a request's identifiers but the click id; `value_of` gives a field's value.

    `country` is for telephone numbers without a country code. `with_email_sha1`: a plain address
    gives two digests, for those who know only its SHA-1.
    """
    result = Digested()
    for name, kind in TYPES.items():
        value = value_of(name)
        if not value:
            continue
        if name == "visitor_id":
            value = visitor_of(value)
        if name == "customer_id" and looks_like_email(value):
            result.faults.append((name, "pii_in_customer_id"))
            continue
        try:
            digest = _core.identifier_digest(key, brand, name, value, country)
        except ValueError as error:
            code = getattr(error, "code", "")
            result.faults.append((name, code if code in REASONS else "invalid_identifier"))
            continue
        if digest is None:
            result.blocked.append(name)
            continue
        result.found.add((int(kind), digest))
        if name == "email" and with_email_sha1:
            result.found.add((int(kind), _email_sha1(key, brand, value)))
    return result


def of_email(key: bytes, brand: int, email: str) -> tuple[TypeAndDigest, ...]:
    """The identifiers that an address has with a brand; none for what no event could carry."""
    found = digested(key, brand, {"email": email}.get, None, with_email_sha1=True).found
    return tuple(sorted(found))


def visitor_of(value: str) -> str:
    """The visitor id in a cookie's value, which also tells until when it lives; any other value
    is a brand's own id, and stays as it is.
    """
    match = _COOKIE.fullmatch(value)
    return match[1] if match else value


def click_id(text: str) -> bytes | None:
    """The 16 bytes of a click id, or None when it has not the form of one."""
    try:
        return ids.parse_event("clk", text)
    except ValueError:
        return None


def looks_like_email(text: str) -> bool:
    """Whether a text holds an e-mail address, plain or percent-encoded, once or more often."""
    return ("@" in text or "%" in text) and _EMAIL.search(text) is not None


def _email_sha1(key: bytes, brand: int, email: str) -> bytes:
    """The second digest of a plain address: a caller who knows only its SHA-1 meets it there."""
    hashed = hashlib.sha1(email.strip().lower().encode(), usedforsecurity=False).hexdigest()
    digest = _core.identifier_digest(key, brand, "email_sha1", hashed)
    if digest is None:
        raise ValueError("a hash is never blocked")
    return digest
