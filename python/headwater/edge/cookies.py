"""The visitor cookie: one first-party value, unguessable, worth nothing outside its brand."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from publicsuffixlist import PublicSuffixList

NAME = "hw_visitor"
# 26 characters of 5 bits hold 130; the first of 128 bits is at most 7.
_VALUE = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)
_ADDRESS = re.compile(r"[0-9.]+|.*:.*", re.ASCII)


def is_visitor(value: str) -> bool:
    """Whether `value` is one this server could have given."""
    return _VALUE.fullmatch(value) is not None


def read(headers: Iterable[str]) -> str | None:
    """The first well-formed visitor id in the values of the Cookie header, or None.

    Anything else in there, quotes, duplicates, `$Version`, broken pairs, is passed over.
    """
    for header in headers:
        if NAME not in header:
            continue
        for pair in header.split(";"):
            name, _, value = pair.strip(" \t").partition("=")
            if name == NAME and is_visitor(value):
                return value
    return None


@functools.lru_cache(maxsize=4096)
def site(host: str) -> str:
    """The registrable domain of a host in lower case; an address or bare name is its own site."""
    if _ADDRESS.fullmatch(host):
        return host
    found: str | None = _suffixes().privatesuffix(host)
    return found or host


@functools.lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def header(value: str, *, age_s: int, secure: bool, same_site: bool) -> str:
    """The Set-Cookie value. `secure`: the browser came over TLS; `same_site`: the tracking host
    and the destination share a registrable domain, so that no cross-site sending is needed.

    Without TLS a browser drops SameSite=None, so Lax is all that can be asked for.
    """
    text = f"{NAME}={value}; Max-Age={age_s}; Path=/; HttpOnly"
    if not secure:
        return text + "; SameSite=Lax"
    return text + ("; Secure; SameSite=Lax" if same_site else "; Secure; SameSite=None")
