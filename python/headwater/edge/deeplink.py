"""Deep links: a destination named in the query, taken only when it cannot leave the program.

Two parsers that share no code must agree on what the URL's scheme and host are, and the text
itself must spell them in the one plain way; whatever browsers read differently is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from yarl import URL

from headwater import limits

# Scheme and host in lower case; then the end, a path, a query or a fragment. No userinfo, port,
# trailing dot, percent-encoding or empty label fits.
_PLAIN = re.compile(
    r"(https?)://([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)"
    r"(?:[/?#][\x21-\x5b\x5d-\x7e]*)?",
    re.ASCII,
)


def allowed(url: str, *, hosts: Collection[str], suffixes: tuple[str, ...], http: bool) -> bool:
    """Whether `url`, decoded once, may be redirected to.

    `hosts` are exact hosts; `suffixes` start with a dot and stand for subdomains only; `http`
    tells whether plain http is taken.
    """
    if len(url) > limits.URL_BYTES_MAX:
        return False
    match = _PLAIN.fullmatch(url)
    if match is None or (match[1] == "http" and not http):
        return False
    host = match[2]
    if host not in hosts and not host.endswith(suffixes):
        return False
    return _agreed(url) == (match[1], host)


def _agreed(url: str) -> tuple[str, str] | None:
    try:
        first = urlsplit(url)
        second = URL(url, encoded=True)
        if first.username or first.port or second.raw_user or second.explicit_port:
            return None
        seen = (first.scheme, first.hostname)
        if seen != (second.scheme, second.raw_host) or first.hostname is None:
            return None
    except ValueError:
        return None
    return first.scheme, first.hostname
