"""`headwater snippet`: what a brand pastes into its pages."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import urlencode

from headwater.config import Config
from headwater.ops.client import ConsoleClient

KINDS = ("tag", "pixel", "shopify", "shopify-theme")
_SHOPIFY = {"shopify": "shopify.js", "shopify-theme": "shopify-theme.html"}
_DEFAULT_CLICK_PARAM = "click_id"
# What the shop's own template puts in; upper case, so that what was forgotten is seen.
_PLACEHOLDERS = {"order_id": "ORDER_ID", "amount": "AMOUNT", "customer_id": "CUSTOMER_ID"}


def run_snippet(settings: Config, *, program: str, kind: str) -> str:
    """The text to paste for a program. Raises HeadwaterError."""
    console = ConsoleClient.of(settings)
    found = console.program(program)
    address = tracking_address(settings, console, found["brand_id"])
    event = _event_type(console, found["id"])
    if kind in _SHOPIFY:
        return _shopify(_SHOPIFY[kind], found, address, event)
    values = {
        "address": escape(address),
        "attributes": _attributes(found),
        "event": escape(event),
        "currency": escape(found["currency"]),
        "pixel": _pixel(found, address, event),
    }
    return _template(f"{kind}.html").format(**values)


def tracking_address(settings: Config, console: ConsoleClient, brand_id: str) -> str:
    """The brand's own tracking domain; without one, the public listener."""
    for domain in _listed(console, "/v1/domains"):
        if domain["brand_id"] == brand_id:
            return f"https://{domain['domain']}"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _listed(console: ConsoleClient, path: str) -> Iterator[dict[str, Any]]:
    """Every object of a list, page by page."""
    cursor = ""
    while True:
        page = console.get(f"{path}?limit=500{cursor}")
        yield from page["items"]
        if not page.get("next_cursor"):
            return
        cursor = f"&cursor={page['next_cursor']}"


def _event_type(console: ConsoleClient, program_id: str) -> str:
    """The code of what a confirmation page reports: a sale where the program has one."""
    kinds: dict[str, str] = {}
    for each in _listed(console, f"/v1/programs/{program_id}/event-types"):
        kinds.setdefault(each["kind"], each["code"])
    return next((kinds[kind] for kind in ("sale", "lead", "custom") if kind in kinds), "sale")


def _attributes(program: dict[str, Any]) -> str:
    """What the tag is told of the program, where it is not as the tag assumes."""
    named = {"program": program["code"]}
    if program["click_param"] != _DEFAULT_CLICK_PARAM:
        named["click-param"] = program["click_param"]
    if program["consent_default"] == "denied":
        named["consent"] = "denied"
    return "".join(f' data-{name}="{escape(value)}"' for name, value in named.items())


def _pixel(program: dict[str, Any], address: str, event: str) -> str:
    query = {"program": program["code"], "event": event, **_PLACEHOLDERS}
    query["currency"] = program["currency"]
    source = escape(f"{address}/px.gif?{urlencode(query)}")
    return f'<img src="{source}" width="1" height="1" alt="">'


def _shopify(name: str, program: dict[str, Any], address: str, event: str) -> str:
    text = _template(name)
    for name, value in (
        ("ADDRESS", address),
        ("PROGRAM", program["code"]),
        ("EVENT", event),
        ("PARAM", program["click_param"]),
    ):
        text = text.replace(f'"{name}"', json.dumps(value), 1)
    return text


def _template(name: str) -> str:
    found = importlib.resources.files(__package__).joinpath("snippets", name)
    return found.read_text("utf-8")
