"""Keys of server-to-server callers: found by the SHA-256 of what they send."""

from __future__ import annotations

import hashlib
import hmac

from headwater import limits
from headwater.edge.links import Key, LinkTable
from headwater.errors import RequestRefused

EVENTS = "events"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="headwater"'}


def bearer(header: str | None) -> bytes | None:
    """The credential of an Authorization header, as bytes, or None."""
    if header is None:
        return None
    scheme, _, credential = header.partition(" ")
    if scheme.lower() != "bearer":
        return None
    return credential.strip(" ").encode("utf-8", "surrogateescape")


def key_of(table: LinkTable, credential: bytes | None, scope: str) -> Key:
    """The key whose secret `credential` is. Raises RequestRefused: unauthorized or forbidden."""
    found = None
    if credential and len(credential) <= limits.API_KEY_BYTES_MAX:
        digest = hashlib.sha256(credential).digest()
        found = table.key(digest)
        if found is not None and not hmac.compare_digest(found.digest, digest):
            found = None
    if found is None:
        raise RequestRefused("unauthorized", "A valid key is needed.", headers=_CHALLENGE)
    if scope not in found.scopes:
        raise RequestRefused("forbidden", f"The key has no scope {scope}.")
    return found


def refuse_partner(key: Key) -> None:
    """Raise forbidden for a key of a partner: it reports its own clicks and nothing else.

    What it said of identifiers and orders would count as the brand's own word.
    """
    if key.partner is not None:
        raise RequestRefused("forbidden", "The key is a partner's: it reports clicks only.")
