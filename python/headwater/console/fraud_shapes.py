"""The configuration of fraud scoring as it is taken and answered.

The same language at three layers: the network's, a program's, an enrolment's; what a later layer
says wins, member by member. Whoever writes a rule that does not hold is told of every fault, and
nothing of it is kept: a rule that is passed over in silence would be a hole.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from headwater import limits
from headwater.console import checks
from headwater.console.fields import Body, Host, Rule, Table
from headwater.model.signals import signals

Mode = Literal["off", "shadow", "score", "enforce"]
Weight = Annotated[int, Meta(ge=0, le=100)]
# A ramp's ends are told in 32 bits.
Bound = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Score = Annotated[int, Meta(ge=1, le=100)]
UniqueWindow = Annotated[int, Meta(ge=limits.UNIQUE_WINDOW_S_MIN, le=limits.UNIQUE_WINDOW_S_MAX)]
Domains = Annotated[list[Host], Meta(max_length=limits.FRAUD_LIST_MAX)]
Sub = Annotated[str, Meta(min_length=1, max_length=limits.PARAMETER_BYTES_MAX)]
Subs = Annotated[list[Sub], Meta(max_length=limits.FRAUD_LIST_MAX)]
Prefix = Annotated[str, Meta(min_length=1, max_length=43)]
Prefixes = Annotated[list[Prefix], Meta(max_length=limits.FRAUD_LIST_MAX)]
Path = Annotated[str, Meta(min_length=1, max_length=limits.PARAMETER_BYTES_MAX)]
Paths = Annotated[list[Path], Meta(max_length=limits.FRAUD_LIST_MAX)]

_PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*", re.ASCII)
# Shorter prefixes are whole regions of the internet; longer ones than events keep cannot be told.
_PREFIX_BITS: Final = {4: range(8, 25), 6: range(16, 49)}


def domains(entries: Sequence[str]) -> list[str]:
    """Domains in lower case, each once."""
    return list(dict.fromkeys(checks.domain(entry) for entry in entries))


def prefixes(entries: Sequence[str]) -> list[str]:
    """Networks, each in its one form."""
    found = []
    for entry in entries:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            raise ValueError("not a network: an address, a slash, a number of bits") from None
        bits = _PREFIX_BITS[network.version]
        if network.prefixlen not in bits:
            raise ValueError(
                f"of IPv{network.version} a network has {bits[0]} to {bits[-1]} bits: "
                "of a longer one events do not keep enough"
            )
        found.append(str(network))
    return list(dict.fromkeys(found))


def subs(entries: Sequence[str]) -> list[str]:
    """Sub ids as they come, each once."""
    if any(len(entry.encode("utf-8")) > limits.PARAMETER_BYTES_MAX for entry in entries):
        raise ValueError(f"longer than {limits.PARAMETER_BYTES_MAX} bytes")
    return list(dict.fromkeys(entries))


def paths(entries: Sequence[str]) -> list[str]:
    """Beginnings of paths in lower case, without a slash at the end, each once."""
    if not all(_PATH.fullmatch(entry) for entry in entries):
        raise ValueError("a path begins with / and has no query: percent-encoded ASCII")
    found = [entry.rstrip("/").lower() for entry in entries]
    if not all(found):
        raise ValueError("/ alone is every page")
    return list(dict.fromkeys(found))


class RuleIn(Body, forbid_unknown_fields=True):
    """What is said of one signal. Below `low` it says nothing, from `high` on it counts in full;
    where less is worse (times), `low` is the larger. Null: nothing is said of it.
    """

    is_closed: ClassVar[bool] = True

    mode: Mode | UnsetType | None = UNSET
    weight: Weight | UnsetType | None = UNSET
    low: Bound | UnsetType | None = UNSET
    high: Bound | UnsetType | None = UNSET


class Allow(Body, forbid_unknown_fields=True):
    """Networks whose addresses count for no signal of addresses."""

    is_closed: ClassVar[bool] = True
    rules: ClassVar[Mapping[str, Rule]] = {"prefixes": Rule(prefixes)}

    prefixes: Prefixes | UnsetType | None = UNSET


class Deny(Body, forbid_unknown_fields=True):
    """Sources that are refused: domains of referring pages, first sub ids."""

    is_closed: ClassVar[bool] = True
    rules: ClassVar[Mapping[str, Rule]] = {"referrers": Rule(domains), "subs": Rule(subs)}

    referrers: Domains | UnsetType | None = UNSET
    subs: Subs | UnsetType | None = UNSET


def _is_signal(code: str) -> None:
    if code not in signals():
        raise ValueError("no signal has this code; see `headwater reasons`")


class FraudRules(Body, forbid_unknown_fields=True):
    """Fraud rules. A member left out says nothing, and in a PATCH keeps what is; null takes back
    what was said. `rules` are by the code of a signal. `referrers` are the domains of a partner's
    declared pages.
    """

    is_closed: ClassVar[bool] = True
    rules: ClassVar[Mapping[str, Rule]] = {
        "referrers": Rule(domains),
        "checkout_paths": Rule(paths),
    }
    parts: ClassVar[Mapping[str, type[Body]]] = {"allow": Allow, "deny": Deny}
    tables: ClassVar[Mapping[str, Table]] = {"rules": Table(RuleIn, _is_signal)}

    review_from: Score | UnsetType | None = UNSET
    unique_window_seconds: UniqueWindow | UnsetType | None = UNSET
    # `rules` is what bodies have of their checks; the attribute has another name.
    signal_rules: dict[str, RuleIn | None] | UnsetType | None = msgspec.field(
        default=UNSET, name="rules"
    )
    referrers: Domains | UnsetType | None = UNSET
    allow: Allow | UnsetType | None = UNSET
    deny: Deny | UnsetType | None = UNSET
    checkout_paths: Paths | UnsetType | None = UNSET
