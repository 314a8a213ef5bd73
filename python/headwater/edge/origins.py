"""Which pages may report events to a program: by the Origin header their browser sends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult

_ORIGIN = re.compile(r"(https?)://([a-z0-9_.-]+)", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins(NamedTuple):
    """Origins as browsers write them, and domains all of whose hosts count."""

    exact: frozenset[str]
    below: frozenset[tuple[str, str]]
    """Scheme and domain; a host below the domain counts, the domain itself does not."""

    def allow(self, origin: str) -> bool:
        """Whether a page of `origin` may report."""
        if origin in self.exact:
            return True
        match = _ORIGIN.fullmatch(origin) if self.below else None
        if match is None:
            return False
        scheme, host = match.groups()
        labels = host.split(".")
        return any((scheme, ".".join(labels[at:])) in self.below for at in range(1, len(labels)))

    @classmethod
    def of_all(cls, several: Iterable[Origins]) -> Origins:
        """What any of `several` allows."""
        listed = list(several)
        return cls(
            frozenset().union(*(each.exact for each in listed)),
            frozenset().union(*(each.below for each in listed)),
        )


def read_origins(value: Mapping[str, Any], destination: SplitResult) -> Origins:
    """The origins a program's value allows; where it names none, those of its destination and
    of the hosts its deep links may lead to.
    """
    named = [str(entry).lower() for entry in value.get("allowed_origins") or ()]
    if named:
        return Origins(frozenset(named), frozenset())
    scheme = destination.scheme.lower()
    schemes = ("https", "http") if scheme == "http" else ("https",)
    hosts = [str(entry).lower() for entry in value.get("deep_link_hosts") or ()]
    exact = {f"{each}://{host}" for each in schemes for host in hosts if host[:2] != "*."}
    below = {(each, host[2:]) for each in schemes for host in hosts if host[:2] == "*."}
    port = destination.port
    end = "" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    exact.add(f"{scheme}://{destination.hostname or ''}{end}")
    return Origins(frozenset(exact), frozenset(below))


def host_of(origin: str) -> str:
    """The host of an origin, without its port."""
    host = origin.partition("://")[2]
    return host if host.endswith("]") else host.rpartition(":")[0] or host
