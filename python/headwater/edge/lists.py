"""The lists an edge looks addresses and mail domains up in, read again when their files change."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import maxminddb

from headwater import limits
from headwater.edge.address import Place
from headwater.edge.crawlers import Crawlers
from headwater.edge.list_files import (
    COUNTRY,
    CRAWLERS,
    DISPOSABLE,
    ListRefused,
    LoadedList,
    load,
    signature,
)
from headwater.edge.ranges import Ranges
from headwater.model.records import NetworkFlag

log = logging.getLogger(__name__)

Paths = Mapping[str, tuple[Path, ...]]
_Signature = tuple[tuple[int, int, int], ...]

_VERSION_BYTES = 6
_NEVER: Final[_Signature] = ((0, 0, 0),)
# Of each list of ranges: what holds of an address in it, and that it was there to look in.
_RANGE_FLAGS: Final = {
    "datacentre_strict": (NetworkFlag.DATACENTRE_STRICT, NetworkFlag.STRICT_LOADED),
    "datacentre_broad": (NetworkFlag.DATACENTRE_BROAD, NetworkFlag.BROAD_LOADED),
    "vpn": (NetworkFlag.VPN, NetworkFlag.VPN_LOADED),
    "tor": (NetworkFlag.TOR, NetworkFlag.TOR_LOADED),
}


class AddressLists:
    """The address lists in force. Never changed, only replaced as a whole."""

    def __init__(self, loaded: Mapping[str, LoadedList]) -> None:
        self._ranges: list[tuple[Ranges, int]] = []
        self._crawlers: Crawlers | None = None
        self._country: maxminddb.Reader | None = None
        self._loaded_flags = 0
        self.version: str | None = None
        """Short digest of all that is in the lists; None when there is none."""
        digest = hashlib.blake2b(digest_size=_VERSION_BYTES)
        for name in sorted(loaded):
            digest.update(name.encode() + b"\n" + loaded[name].digest)
            self.version = digest.hexdigest()
            self._add(name, loaded[name].content)
        self.packed = [(flag, *ranges.packed()) for ranges, flag in self._ranges]
        """What holds of an address in a list, a bit, and the list as `Ranges.packed` gives it."""
        self.of: Callable[[Place], tuple[int, str | None]] = functools.lru_cache(
            maxsize=limits.ADDRESSES_REMEMBERED_MAX
        )(self._of)

    def _add(self, name: str, content: Any) -> None:
        if name == CRAWLERS:
            self._crawlers = content
            self._loaded_flags |= int(NetworkFlag.CRAWLERS_LOADED)
        elif name == COUNTRY:
            self._country = content
            self._loaded_flags |= int(NetworkFlag.COUNTRY_LOADED)
        else:
            held, was_loaded = _RANGE_FLAGS[name]
            self._ranges.append((content, int(held)))
            self._loaded_flags |= int(was_loaded)

    @property
    def loaded_flags(self) -> int:
        """Bits of NetworkFlag: which lists there are."""
        return self._loaded_flags

    @property
    def crawler_names(self) -> list[str]:
        """In lower case, what user agents carry whose addresses are in the list of crawlers."""
        return self._crawlers.names if self._crawlers else []

    @property
    def has_countries(self) -> bool:
        return self._country is not None

    def _of(self, at: Place) -> tuple[int, str | None]:
        flags = self._loaded_flags
        for ranges, flag in self._ranges:
            if ranges.holds(at.version, at.number):
                flags |= flag
        return flags, _country(self._country, at) if self._country else None

    def crawler(self, at: Place, user_agent: str | None) -> int:
        """The bit of CRAWLER_VERIFIED or CRAWLER_FAKE, or 0."""
        if self._crawlers is None or not user_agent:
            return 0
        return self._crawlers.judge(user_agent, at.version, at.number)


def _country(database: maxminddb.Reader, at: Place) -> str | None:
    """ISO 3166 code, as MaxMind's databases and those of the ip-location-db project name it."""
    try:
        found: Any = database.get(at.text)
    except (ValueError, maxminddb.InvalidDatabaseError):
        return None
    if not isinstance(found, dict):
        return None
    country = found.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else found.get("country_code")
    is_code = isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha()
    return str(code).upper() if is_code else None


class Lists:
    """Every configured list, as good as its files were when they were last good."""

    def __init__(self, paths: Paths | None = None) -> None:
        """`paths`: files by name of the list; none of `disposable_email` is the package's."""
        self._paths = {name: found for name, found in (paths or {}).items() if found}
        self._read: dict[str, _Signature] = {}
        self._seen: dict[str, _Signature] = {}
        self._loaded: dict[str, LoadedList] = {}
        self.addresses = AddressLists({})
        self.disposable: frozenset[str] = frozenset()

    def load(self) -> None:
        """Read every list. Blocks; for a start, before anybody waits."""
        self.disposable = load(DISPOSABLE, ()).content
        changed = [name for name in self._paths if self._changed(name, at_once=True)]
        self._take(changed)

    def check(self) -> None:
        """Read the lists whose files changed since, and have stood still for one look: a file
        that is being written is left alone. Blocks; for a thread.
        """
        self._take([name for name in self._paths if self._changed(name, at_once=False)])

    async def follow(self) -> None:
        """Check until cancelled, in a thread."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.LISTS_CHECK_S)
            try:
                await loop.run_in_executor(None, self.check)
            except Exception:
                # A list that cannot be read must not end the reading of all others.
                log.exception("lists not checked")

    def is_disposable(self, email: str) -> bool:
        """Whether the domain of a mail address, or one it is part of, is a disposable one's."""
        domain = email.rpartition("@")[2].strip().lower().rstrip(".")
        if not domain.isascii():
            try:
                domain = domain.encode("idna").decode()
            except UnicodeError:
                return False
        while domain:
            if domain in self.disposable:
                return True
            domain = domain.partition(".")[2]
        return False

    def _changed(self, name: str, *, at_once: bool) -> bool:
        try:
            now = signature(self._paths[name])
        except OSError:
            now = ()
        before, self._seen[name] = self._seen.get(name, _NEVER), now
        if now == self._read.get(name, _NEVER) or not (at_once or now == before):
            return False
        self._read[name] = now
        return True

    def _take(self, names: list[str]) -> None:
        found = {name: each for name in names if (each := self._loaded_or_told(name))}
        if not found:
            return
        self._loaded.update(found)
        if DISPOSABLE in found:
            self.disposable = found[DISPOSABLE].content
        if found.keys() - {DISPOSABLE}:
            addresses = {name: each for name, each in self._loaded.items() if name != DISPOSABLE}
            self.addresses = AddressLists(addresses)
        for each in found.values():
            fields = {
                "list": each.name,
                "entries": each.entries,
                "bad_lines": each.bad_lines,
                "first_bad": each.first_bad,
                "version": self.addresses.version,
            }
            log.log(
                logging.WARNING if each.bad_lines else logging.INFO,
                "list loaded",
                extra={"fields": fields},
            )

    def _loaded_or_told(self, name: str) -> LoadedList | None:
        try:
            return load(name, self._paths[name])
        except ListRefused as refused:
            fields = {"list": name, "why": str(refused), "former_stays": name in self._loaded}
            log.error("list refused", extra={"fields": fields})
            return None
