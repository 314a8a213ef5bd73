"""The only module that draws randomness: ids, keys, producers.

An event's id is 16 bytes, written as a prefix and 26 characters of lower-case Crockford base32.
Objects of the configuration are numbered by the ledger and written as a prefix and the number.
"""

from __future__ import annotations

import os
import secrets

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
TEXT_LENGTH = 26
# Ten bits at a time: every redirect writes one id or two.
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_PAIR_SHIFTS = range(120, -1, -10)

# One system call is paid for this many ids; a refill is about 40 KiB.
_POOL_IDS = 4096
_RANDOM_BYTES = 10


class _Pool:
    """Random bytes drawn in bulk: os.urandom costs a system call each time."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0
        self._pid = 0

    def take(self) -> bytes:
        # A forked child must not hand out its parent's next ids.
        if self._at >= len(self._bytes) or self._pid != os.getpid():
            self._bytes = os.urandom(_POOL_IDS * _RANDOM_BYTES)
            self._at, self._pid = 0, os.getpid()
        end = self._at + _RANDOM_BYTES
        taken = self._bytes[self._at : end]
        self._at = end
        return taken


_pool = _Pool()


def event_id(at_ms: int) -> bytes:
    """16 bytes: 48 bits of time in milliseconds, big-endian, then 80 random bits.

    Ordered by time, and not to be guessed from another id.
    """
    return at_ms.to_bytes(6, "big") + _pool.take()


def first_event_id(at_ms: int) -> bytes:
    """The smallest event id of a time: bounds of a range over ids."""
    return at_ms.to_bytes(6, "big") + bytes(_RANDOM_BYTES)


def event_id_ms(raw: bytes) -> int:
    """The time an event id was made, in milliseconds."""
    return int.from_bytes(raw[:6], "big")


def visitor_id() -> str:
    """A fresh visitor id: 128 random bits as 26 characters."""
    return encode(os.urandom(16))


def encode(raw: bytes) -> str:
    """26 characters for 16 bytes; the order of texts is the order of the bytes."""
    number = int.from_bytes(raw, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _PAIR_SHIFTS])


def decode(text: str) -> bytes:
    """The 16 bytes of `encode`. Raises ValueError on any other text."""
    if len(text) != TEXT_LENGTH:
        raise ValueError("an id has 26 characters")
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise ValueError("not a character of an id")
        number = number << 5 | value
    if number >> 128:
        raise ValueError("an id has 128 bits")
    return number.to_bytes(16, "big")


def event_text(prefix: str, raw: bytes) -> str:
    """`clk_...`, `cnv_...`, `evt_...` for 16 bytes."""
    return f"{prefix}_{encode(raw)}"


def parse_event(prefix: str, text: str) -> bytes:
    """The bytes of an event's id. Raises ValueError when prefix or form is another."""
    head, _, tail = text.partition("_")
    if head != prefix:
        raise ValueError(f"not a {prefix}_ id")
    return decode(tail)


def object_text(prefix: str, number: int) -> str:
    """`prg_3`, `prt_17`: an object of the configuration."""
    return f"{prefix}_{number}"


def parse_object(prefix: str, text: str) -> int:
    """The number of an object's id. Raises ValueError when prefix or form is another."""
    head, _, tail = text.partition("_")
    if head != prefix or not tail.isascii() or not tail.isdigit() or len(tail) > 10:
        raise ValueError(f"not a {prefix}_ id")
    return int(tail)


def producer_id() -> int:
    """A process boot's name on the log: a random 63-bit number, so that SQL can hold it."""
    return secrets.randbits(63) | 1


def random_bytes(count: int) -> bytes:
    """Random bytes for ids that are made where no randomness is drawn, each to be used once."""
    return os.urandom(count)


def token() -> str:
    """An unguessable URL-safe text of 256 bits: API keys."""
    return secrets.token_urlsafe(32)


def secret_key() -> bytes:
    """32 random bytes: the key of identifier digests."""
    return os.urandom(32)


def link_salt() -> str:
    """What tells one secret of signed links from another: 128 random bits in hex."""
    return secrets.token_hex(16)


def nonce() -> bytes:
    """128 random bits, for one use."""
    return os.urandom(16)


def pseudonym() -> bytes:
    """16 random bytes in the place of a digest that is erased."""
    return os.urandom(16)


def link_code(length: int) -> str:
    """A random link code of `length` characters, without the ones people misread."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def jitter(bound: int) -> int:
    """A whole number from -bound to bound, both included."""
    return secrets.randbelow(2 * bound + 1) - bound
