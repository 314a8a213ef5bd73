"""What a link and its program say of where a click goes, as the configuration feed tells it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

# The destination was judged when the link was made; a header is made of it here, so what could
# break the header is judged once more.
_DESTINATION = re.compile(r"https?://[\x21-\x5b\x5d-\x7e]+", re.ASCII | re.IGNORECASE)
REPORT, REQUIRE = "report", "require"

Value = dict[str, Any]


class Rule(NamedTuple):
    """A destination for visitors of some devices, of some countries, or both; empty: of all."""

    devices: frozenset[str]
    countries: frozenset[str]
    url: str


class LinkOptions(NamedTuple):
    utm: dict[str, str]
    rules: tuple[Rule, ...]
    """The first that fits decides."""
    expired_url: str | None


class ProgramOptions(NamedTuple):
    utm: dict[str, str]
    utm_override: bool
    signing: str | None
    """None: signatures are not looked at, as before a program's first secret."""
    salts: tuple[str, ...]
    shopify: tuple[str, ...]
    """Secrets of Shopify's webhooks, sealed."""


def require_emittable(url: str) -> None:
    """Raises ValueError for what cannot stand in a Location."""
    if not _DESTINATION.fullmatch(url):
        raise ValueError("the destination cannot be emitted")


def of_link(value: Value) -> LinkOptions:
    """Raises ValueError, TypeError, KeyError for what cannot be read."""
    expired = value.get("expired_url")
    if expired is not None:
        require_emittable(expired)
    return LinkOptions(
        _texts(value.get("utm")),
        tuple(_rule(each) for each in value.get("targets") or ()),
        expired,
    )


def of_program(value: Value) -> ProgramOptions:
    """Raises ValueError, TypeError for what cannot be read."""
    signing = value.get("link_signing")
    salts = tuple(str(salt) for salt in value.get("link_salts") or ())
    return ProgramOptions(
        _texts(value.get("utm")),
        value.get("utm_mode") == "override",
        signing if salts and signing in (REPORT, REQUIRE) else None,
        salts,
        tuple(str(sealed) for sealed in value.get("shopify_secrets") or ()),
    )


def _rule(value: Value) -> Rule:
    url = str(value["destination_url"])
    require_emittable(url)
    return Rule(frozenset(value.get("devices") or ()), frozenset(value.get("countries") or ()), url)


def _texts(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError("utm parameters have names")
    return {str(name): str(text) for name, text in value.items()}
