"""Secrets that others gave, sealed: what a table, a record or a backup holds of them opens only
under the deployment's key.

A secret that has to be used again cannot be kept as a digest. It is hidden under HMAC-SHA256 in
counter mode and guarded by a second HMAC over what is hidden (encrypt, then authenticate); each
purpose and object has keys of its own, so that what was sealed for one opens for no other.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

NONCE_BYTES: Final = 16
_TAG_BYTES: Final = 32


class Broken(ValueError):
    """Not what was sealed under this key, for this purpose and object."""


def seal(key: bytes, purpose: str, number: int, text: str, nonce: bytes) -> str:
    """`text`, sealed for the object `number` of a purpose. `nonce` is drawn anew each time."""
    hide, guard = _keys(key, purpose, number)
    plain = text.encode("utf-8")
    hidden = nonce + _mixed(hide, nonce, plain)
    return (hidden + _tag(guard, hidden)).hex()


def opened(key: bytes, purpose: str, number: int, sealed: str) -> str:
    """The text that was sealed. Raises Broken."""
    hide, guard = _keys(key, purpose, number)
    try:
        raw = bytes.fromhex(sealed)
    except ValueError:
        raise Broken("not hexadecimal") from None
    hidden, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if len(hidden) < NONCE_BYTES or not hmac.compare_digest(tag, _tag(guard, hidden)):
        raise Broken("sealed under another key, or changed since")
    return _mixed(hide, hidden[:NONCE_BYTES], hidden[NONCE_BYTES:]).decode("utf-8")


def _keys(key: bytes, purpose: str, number: int) -> tuple[bytes, bytes]:
    what = purpose.encode("ascii") + b"\0" + number.to_bytes(8, "big")
    hide, guard = (_tag(key, b"headwater sealing\0" + use + what) for use in (b"hide", b"guard"))
    return hide, guard


def _mixed(hide: bytes, nonce: bytes, data: bytes) -> bytes:
    """`data` under a stream of bytes made of the nonce; the same again gives it back."""
    blocks = -(-len(data) // hashlib.sha256().digest_size)
    stream = b"".join(_tag(hide, nonce + block.to_bytes(4, "big")) for block in range(blocks))
    return bytes(one ^ other for one, other in zip(data, stream, strict=False))


def _tag(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
