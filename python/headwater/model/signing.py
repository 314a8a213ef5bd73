"""Signed links: a program's secrets, and the signature over what a link's query says.

A secret is made of the deployment's key and a salt that is kept with the program, so that it
stands in no table, no record and no backup of either.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from headwater.model.destination import SUB_IDS

SIGNATURE: Final = "sig"
EXPIRY: Final = "sig_expires"
DEEP_LINK: Final = "u"
COVERED: Final = (*SUB_IDS, DEEP_LINK, EXPIRY)
"""Parameters a signature covers, in the order of its message."""

SECRETS_MAX: Final = 2
"""Secrets of a program that are valid at once: the newest, and the one before while links are
signed anew."""

SHOPIFY: Final = "shopify webhooks"
"""What secrets of Shopify's webhooks are sealed for."""

_LABEL: Final = b"headwater link signing\0"


def secret(key: bytes, program: int, salt: str) -> str:
    """The secret of a program's salt, under the deployment's `key`."""
    message = _LABEL + program.to_bytes(8, "big") + bytes.fromhex(salt)
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def message(program: str, partner: str, values: Mapping[str, str]) -> bytes:
    """What is signed: lines `name=value` of the program's code, the partner's id, and the covered
    parameters that are there.

    Of a value all bytes but letters, digits, `-`, `.`, `_` and `~` are percent-encoded, so no
    value can pass for two.
    """
    lines = [f"program={_encoded(program)}", f"partner={_encoded(partner)}"]
    lines += [f"{name}={_encoded(values[name])}" for name in COVERED if name in values]
    return "\n".join(lines).encode("ascii")


def sign(secret_text: str, program: str, partner: str, values: Mapping[str, str]) -> str:
    """The signature, 64 hexadecimal digits. `values` are decoded."""
    signed = message(program, partner, values)
    return hmac.new(secret_text.encode("ascii"), signed, hashlib.sha256).hexdigest()


def holds(
    secrets: Sequence[str],
    signature: str,
    program: str,
    partner: str,
    values: Mapping[str, str],
    now_s: int,
) -> bool:
    """Whether one of the secrets made this signature, and its time is not over.

    Every secret is tried and every comparison takes its whole time, whatever the first says.
    """
    given = signature.encode("utf-8", "surrogatepass")
    found = False
    for text in secrets:
        made = sign(text, program, partner, values).encode("ascii")
        found |= hmac.compare_digest(made, given)
    return found and _in_time(values.get(EXPIRY), now_s)


def _in_time(expiry: str | None, now_s: int) -> bool:
    if expiry is None:
        return True
    is_number = expiry.isascii() and expiry.isdecimal() and len(expiry) <= 12
    return is_number and now_s < int(expiry)


def _encoded(value: str) -> str:
    return quote(value, safe="", errors="surrogatepass")
