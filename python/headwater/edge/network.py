"""What a record may say of an address: list flags, country, and digests that meet for two days."""

from __future__ import annotations

import functools
import hashlib
from typing import Protocol

from headwater import limits
from headwater.edge.address import Place
from headwater.edge.lists import Lists
from headwater.model.records import Network

_PERSON = b"hw-address-v1"
_DIGEST_BYTES = 8


class DayKeys(Protocol):
    """Keys by day: see headwater.journal.daily_keys."""

    @property
    def changes(self) -> int: ...
    def key(self, day: int) -> bytes | None: ...


class NoKeys:
    """Keys of a process that has none: nothing is digested."""

    changes = 0

    def key(self, day: int) -> bytes | None:  # noqa: ARG002
        return None


def digest_of(key: bytes, line: bytes, brand: int) -> bytes:
    """The digest of an address under one day's key; of no use in another brand."""
    return hashlib.blake2b(
        brand.to_bytes(8, "little") + line, digest_size=_DIGEST_BYTES, key=key, person=_PERSON
    ).digest()


class Networks:
    """Makes the network of a client. `lists` and `keys` may change at any time."""

    def __init__(self, lists: Lists | None = None, keys: DayKeys | None = None) -> None:
        self.lists = lists or Lists()
        self.keys = keys or NoKeys()
        self._changes = self.keys.changes
        self._digested = functools.lru_cache(maxsize=limits.ADDRESSES_REMEMBERED_MAX)(self._digest)

    def of(
        self, at: Place, user_agent: str | None, brand: int, now_ms: int, *, denied: bool
    ) -> Network:
        """The network of an address; with consent `denied` without digests."""
        addresses = self.lists.addresses
        flags, country = addresses.of(at)
        flags |= addresses.crawler(at, user_agent)
        if denied:
            return Network(None, None, flags, country, addresses.version)
        day = now_ms // limits.DAY_MS
        return Network(
            self._under(day, at.line, brand),
            self._under(day - 1, at.line, brand),
            flags,
            country,
            addresses.version,
        )

    def _under(self, day: int, line: bytes, brand: int) -> bytes | None:
        keys = self.keys
        if keys.changes != self._changes:
            # What was made with a key that is gone goes with it.
            self._changes = keys.changes
            self._digested.cache_clear()
        return self._digested(line, brand, day) if keys.key(day) is not None else None

    def _digest(self, line: bytes, brand: int, day: int) -> bytes | None:
        key = self.keys.key(day)
        return None if key is None else digest_of(key, line, brand)
