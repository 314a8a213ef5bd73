"""Signatures of what is sent to partners, as Standard Webhooks has them.

A secret is made of the deployment's key and a salt that is kept with the pixel, so that it stands
in no table, no record and no backup of either.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

SECRETS_MAX: Final = 2
"""Secrets of a pixel that are valid at once: the newest, and the one before while the partner
changes over."""

_PREFIX: Final = "whsec_"
_LABEL: Final = b"headwater pixel signing\0"


def secret(key: bytes, pixel: int, salt: str) -> str:
    """The secret of a pixel's salt under the deployment's `key`: `whsec_` and base64."""
    message = _LABEL + pixel.to_bytes(8, "big") + bytes.fromhex(salt)
    made = hmac.new(key, message, hashlib.sha256).digest()
    return _PREFIX + base64.b64encode(made).decode("ascii")


def signature(secret_text: str, event_id: str, timestamp_s: int, payload: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 over `{id}.{timestamp}.{payload}`."""
    key = base64.b64decode(secret_text.removeprefix(_PREFIX), validate=True)
    signed = f"{event_id}.{timestamp_s}.".encode("ascii") + payload
    made = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode('ascii')}"


def headers(
    secrets: Sequence[str], event_id: str, timestamp_s: int, payload: bytes
) -> dict[str, str]:
    """The header fields of one attempt: signed under every valid secret, or under none."""
    named = {"webhook-id": event_id, "webhook-timestamp": str(timestamp_s)}
    if secrets:
        signed = [signature(text, event_id, timestamp_s, payload) for text in reversed(secrets)]
        named["webhook-signature"] = " ".join(signed)
    return named
