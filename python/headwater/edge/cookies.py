"""The visitor cookie: one first-party value, unguessable, worth nothing outside its brand.

A browser does not tell how long a cookie still lives, so its value says until which day: it is
written again only when that changes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

from publicsuffixlist import PublicSuffixList

from headwater import limits

NAME = "hw_visitor"
# 26 characters of 5 bits hold 130; the first of 128 bits is at most 7. One character over and over
# is a placeholder, which recognises nobody.
_VISITOR = r"(?!(?P<only>.)(?P=only){25})[0-7][0-9a-hjkmnp-tv-z]{25}"
_VALUE = re.compile(rf"(?P<visitor>{_VISITOR})(?:\.(?P<until_day>[0-9]{{1,6}}))?", re.ASCII)
_ADDRESS = re.compile(r"[0-9.]+|.*:.*", re.ASCII)
_DAY_S = 86_400


class Known(NamedTuple):
    """A visitor whose browser sent its cookie."""

    visitor: str
    until_day: int
    """The day since 1970 on which the cookie ends, as it says itself; 0: it does not say."""


def is_visitor(value: str) -> bool:
    """Whether `value` is a visitor id this server could have given."""
    match = _VALUE.fullmatch(value)
    return match is not None and match["until_day"] is None


def read(headers: Iterable[str]) -> str | None:
    """The visitor id in the values of the Cookie header, or None."""
    known = read_known(headers)
    return known.visitor if known else None


def read_known(headers: Iterable[str]) -> Known | None:
    """The first well-formed visitor cookie in the values of the Cookie header, or None.

    Anything else in there, quotes, duplicates, `$Version`, broken pairs, is passed over.
    """
    for header in headers:
        if NAME not in header:
            continue
        for pair in header.split(";"):
            name, _, value = pair.strip(" \t").partition("=")
            match = _VALUE.fullmatch(value) if name == NAME else None
            if match is not None:
                return Known(match["visitor"], int(match["until_day"] or 0))
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


def header(
    visitor: str, *, known_until: int, now_ms: int, age_s: int, secure: bool, same_site: bool
) -> str | None:
    """The Set-Cookie value that makes the visitor's cookie live `age_s` from now on; None when it
    does so already, to the day. `known_until` is the day of the cookie the browser sent, 0: none.

    Nothing is shortened: the cookie is of all programs of the host. `secure`: the browser came
    over TLS; `same_site`: the tracking host and the destination share a registrable domain, so
    that no cross-site sending is needed. Without TLS a browser drops SameSite=None, so Lax is all
    that can be asked for.
    """
    now_s = now_ms // 1000
    until_day = (now_s + age_s) // _DAY_S
    if until_day <= known_until <= (now_s + limits.COOKIE_AGE_S_MAX) // _DAY_S:
        return None
    return _text(f"{visitor}.{until_day}", age_s, secure=secure, same_site=same_site)


def taken_back(*, secure: bool, same_site: bool) -> str:
    """The Set-Cookie value that makes a browser forget the visitor."""
    return _text("", 0, secure=secure, same_site=same_site)


def _text(value: str, age_s: int, *, secure: bool, same_site: bool) -> str:
    text = f"{NAME}={value}; Max-Age={age_s}; Path=/; HttpOnly"
    if not secure:
        return text + "; SameSite=Lax"
    return text + ("; Secure; SameSite=Lax" if same_site else "; Secure; SameSite=None")
