"""What may be asked of other people's servers: URLs by their form, addresses by a table.

One strict reading of a URL: whatever two parsers could take for different hosts is refused. The
table lists what is not public by name, since `ipaddress.is_global` takes for public what a
translator leads to loopback.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS: Final = frozenset((80, 443, 8080, 8443))
"""Ports of web servers: others speak other protocols, which a crafted line might talk to."""

_DENIED_4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carriers' translators; metadata of one cloud
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # metadata of one cloud
            "169.254.0.0/16",  # link-local, metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments, metadata of one cloud
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
# Public IPv6 is within 2000::/3; these parts of it are not. Outside stand loopback, unique local,
# link-local and multicast addresses, IPv4-mapped ones and NAT64's 64:ff9b::/96.
_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
_DENIED_6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)
DENIED: Final[tuple[Network, ...]] = (*_DENIED_4, *_DENIED_6)

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][!-\[\]-~]*)?",
    re.ASCII,
)
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
# A last label like this makes a browser's parser read the host as an IPv4 address.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_HOST_CHARACTERS_MAX: Final = 253


class Rules(NamedTuple):
    """What a deployment allows beside https to public addresses."""

    http: bool = False
    allow: tuple[Network, ...] = ()
    """Networks that are reached although they are not public, on any port."""


def rules_of(http: bool, allow: Iterable[str]) -> Rules:
    """Rules of what a configuration says, which was checked when it was read."""
    return Rules(http, tuple(map(ipaddress.ip_network, allow)))


class Target(NamedTuple):
    """A URL that may be asked, as far as its form goes."""

    scheme: str
    host: str
    """Without brackets."""
    port: int
    path: str
    """The request target: path and query as they are sent."""
    is_literal: bool
    """The host is an address."""


def target_of(url: str, rules: Rules) -> Target | None:
    """The parts of a URL; None for one that is never asked: not absolute, not https (nor http
    where the rules allow it), with userinfo or fragment, with a host that is neither a DNS name
    in ASCII nor an address in its usual form.
    """
    match = _URL.fullmatch(url)
    if match is None or "#" in url:
        return None
    scheme, host = match["scheme"], match["host"]
    if scheme == "http" and not rules.http:
        return None
    port = int(match["port"] or (443 if scheme == "https" else 80))
    if not 0 < port < 65_536:
        return None
    path = match["target"] or "/"
    if path.startswith("?"):
        path = f"/{path}"
    if path.find("?") == len(path) - 1:
        # No client sends a question mark that nothing follows.
        path = path[:-1]
    literal = _literal(host)
    if literal is not None:
        return Target(scheme, str(literal), port, path, True)
    if not _is_name(host):
        return None
    return Target(scheme, host.lower(), port, path, False)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1])
        return ipaddress.IPv4Address(host)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return (
        len(host) <= _HOST_CHARACTERS_MAX
        and all(_LABEL.fullmatch(label) for label in labels)
        and not _NUMBER.fullmatch(labels[-1])
    )


def is_reachable(address: str, port: int, rules: Rules) -> bool:
    """Whether a connection to an address may be opened. What cannot be read as one may not."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if any(found in network for network in rules.allow):
        return True
    if port not in PORTS:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in _DENIED_4)
    if found.scope_id is not None or found not in _PUBLIC_6:
        return False
    return not any(found in network for network in _DENIED_6)


def fault_of(url: str, rules: Rules) -> str | None:
    """Why a URL is refused when it is saved, in a sentence; None when nothing is known against
    it: where its name leads is seen at each connection.
    """
    target = target_of(url, rules)
    if target is None:
        schemes = "https or http" if rules.http else "https"
        return f"Not an absolute {schemes} URL of a host, without userinfo and fragment."
    if target.is_literal and not is_reachable(target.host, target.port, rules):
        return "The address is not public, or its port is not one of web servers."
    if not rules.allow and target.port not in PORTS:
        return f"The port is not one of {', '.join(map(str, sorted(PORTS)))}."
    return None
