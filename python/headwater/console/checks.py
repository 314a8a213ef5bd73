"""Rules for values of the management API that a type cannot say.

Each function gives the value as it is stored, or raises ValueError with a sentence that does not
repeat the value.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList
from yarl import URL

from headwater import limits
from headwater.model import aliases
from headwater.model import destination as tokens
from headwater.model.attribution import WHOLE_PPM
from headwater.model.currency import EXPONENTS

PROGRAM_CODE: Final = "[a-z0-9_-]{1,64}"
LINK_CODE: Final = f"[A-Za-z0-9_-]{{1,{limits.LINK_CODE_CHARACTERS_MAX}}}"
PARAMETER: Final = "[A-Za-z][A-Za-z0-9_-]{0,63}"

# First path segments the edge serves or may serve: a link of a tracking domain is `/{code}`.
RESERVED_CODES: Final = frozenset(
    (
        "admin", "api", "app", "assets", "c", "collect", "console", "favicon", "headwater",
        "health", "healthz", "login", "logout", "metrics", "openapi", "postback", "px", "pixel",
        "qr", "readyz", "robots", "static", "status", "tag", "v1", "v2", "well-known",
    )
)  # fmt: skip

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_IPV6 = re.compile(r"\[[0-9a-f:.]{2,45}\]", re.ASCII)
# Scheme and authority up to the first /, ? or #; nothing in it that parsers read differently.
_ABSOLUTE = re.compile(
    r"https?://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?#][\x21-\x5b\x5d-\x7e]*)?",
    re.ASCII | re.IGNORECASE,
)
_ID = re.compile(r"[a-z]{3}_[0-9]+", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")
_HOST_CHARACTERS_MAX: Final = 253
_PORT_MAX: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def day(text: str) -> str:
    """A day of the calendar, 2026-01-31."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("no such day") from None


def destination(url: str) -> str:
    """An absolute http(s) URL that can be sent in a Location header byte for byte, but for its
    tokens.
    """
    if not url.isascii() or any(not 0x20 < ord(character) < 0x7F for character in url):
        raise ValueError("only printable ASCII is taken: percent-encode everything else")
    if len(url) > limits.URL_BYTES_MAX:
        raise ValueError(f"longer than {limits.URL_BYTES_MAX} bytes")
    match = _ABSOLUTE.fullmatch(url)
    if match is None:
        raise ValueError("not an absolute http or https URL with a plain host and no user name")
    _destination_host(url, match)
    return tokens.checked(url)


def destination_host(url: str) -> str:
    """The host of a URL that `destination` took, in lower case."""
    return (urlsplit(url).hostname or "").lower()


def _destination_host(url: str, match: re.Match[str]) -> None:
    """Two parsers that share no code have to see the same host, and it has to be one."""
    named = match["host"].lower()
    if not (_is_host(named) or _IPV6.fullmatch(named)):
        raise ValueError("its host is not a host name")
    if match["port"] is not None and not 0 < int(match["port"]) <= _PORT_MAX:
        raise ValueError("its port is not one")
    try:
        seen = (urlsplit(url).hostname, URL(url, encoded=True).raw_host)
    except ValueError:
        raise ValueError("not a URL") from None
    bare = named.strip("[]")
    if any((host or "").lower().strip("[]") != bare for host in seen):
        raise ValueError("parsers disagree on its host")


def _is_host(text: str) -> bool:
    return len(text) <= _HOST_CHARACTERS_MAX and _HOST.fullmatch(text) is not None


def host(text: str) -> str:
    """A host name in lower case, without port, path, or trailing dot; IDN as punycode."""
    lowered = text.lower() if text.isascii() else ""
    if not _is_host(lowered):
        raise ValueError("not a host name: letters, digits, hyphens and dots; IDN as punycode")
    return lowered


def domain(text: str) -> str:
    """A tracking domain: a host name with a dot that is not an address."""
    lowered = host(text)
    if "." not in lowered or lowered.rsplit(".", 1)[1].isdecimal():
        raise ValueError("not a domain name")
    return lowered


def deep_link_hosts(entries: Sequence[str]) -> list[str]:
    """Hosts deep links may lead to: `shop.example`, or `*.shop.example` for those below it."""
    hosts = []
    for entry in entries:
        wild, rest = ("*.", entry[2:]) if entry.startswith("*.") else ("", entry)
        name = host(rest)
        if wild and _suffixes().is_public(name):
            raise ValueError("anybody may register a host below this one")
        hosts.append(wild + name)
    return list(dict.fromkeys(hosts))


@functools.cache
def _suffixes() -> PublicSuffixList:
    # A top-level name that is not listed is of somebody's own network.
    return PublicSuffixList(accept_unknown=False)


def allowed_origins(entries: Sequence[str]) -> list[str]:
    """Origins as browsers send them: scheme, host, and a port that is not the default one."""
    origins = []
    for entry in entries:
        parts = urlsplit(destination(entry))
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("an origin has no path")
        scheme, authority = parts.scheme.lower(), parts.netloc.lower()
        if parts.port == _DEFAULT_PORTS[scheme]:
            authority = authority.rpartition(":")[0]
        origins.append(f"{scheme}://{authority}")
    return list(dict.fromkeys(origins))


def within_program(url: str, program: Mapping[str, Any]) -> None:
    """Whether a link's destination stays on the hosts of its program."""
    found = destination_host(url)
    if found == destination_host(program["destination_url"]):
        return
    for entry in program["deep_link_hosts"]:
        if found == entry or (entry.startswith("*.") and found.endswith(entry[1:])):
            return
    raise ValueError("its host is neither the program's nor among its deep_link_hosts")


def timezone(name: str) -> str:
    """An IANA time zone."""
    if name != "UTC" and name not in _timezones():
        raise ValueError("not an IANA time zone")
    return name


@functools.cache
def _timezones() -> frozenset[str]:
    # Listed once, which walks a folder: a look-up by key would open a file of that name.
    return frozenset(zoneinfo.available_timezones())


def currency(code: str) -> str:
    if code not in EXPONENTS:
        raise ValueError("not an ISO 4217 currency code")
    return code


def email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError("not an e-mail address")
    return text


def link_code(code: str) -> str:
    if code.lower() in RESERVED_CODES:
        raise ValueError("this word is reserved")
    return code


def position_ppm(shares: Sequence[int]) -> list[int]:
    """Shares of the first, the middle and the last touch. Where there are two touches, they
    share by the ends' weights, so these cannot both be nothing.
    """
    if sum(shares) != WHOLE_PPM:
        raise ValueError("the three add up to 1000000")
    if shares[0] + shares[-1] == 0:
        raise ValueError("the first or the last has a share")
    return list(shares)


def class_order(classes: Sequence[str]) -> list[str]:
    """Classes of touches, the best first."""
    if len(set(classes)) != len(classes):
        raise ValueError("each class stands once")
    return list(classes)


def no_id(code: str) -> str:
    """A code that nobody takes for an id: where either is named, it is the one that was meant."""
    if _ID.fullmatch(code):
        raise ValueError("it reads like an id")
    return code


def promo_code(text: str) -> str:
    """A code as it is compared: without case, and without spaces around it."""
    code = text.strip().upper()
    if not code:
        raise ValueError("it is empty")
    if len(code.encode("utf-8")) > limits.PARAMETER_BYTES_MAX:
        raise ValueError(f"longer than {limits.PARAMETER_BYTES_MAX} bytes")
    return code


def parameter_names(names: Sequence[str]) -> list[str]:
    """Names of query parameters, each once."""
    for name in names:
        if not re.fullmatch(PARAMETER, name, re.ASCII):
            raise ValueError("a letter, then letters, digits, _ and -, at most 64")
    return list(dict.fromkeys(names))


def alias_table(table: Mapping[str, str]) -> dict[str, str]:
    """Names that senders use, each once in any case, to the fields they stand for."""
    parameter_names(list(table))
    lowered = [name.lower() for name in table]
    if len(set(lowered)) < len(lowered):
        raise ValueError("two names differ in case alone")
    if aliases.TAKEN.intersection(lowered):
        raise ValueError("a name of Headwater's own always means itself")
    for target in table.values():
        is_property = target.startswith(aliases.PROPERTY)
        if target not in aliases.TARGETS and not is_property:
            raise ValueError("each stands for a field of an event, or for properties.NAME")
    return dict(table)


def alias_presets(presets: Sequence[str]) -> list[str]:
    """Networks whose names are taken, each once."""
    return list(dict.fromkeys(presets))
