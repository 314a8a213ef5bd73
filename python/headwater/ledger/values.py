"""What of an object is told: to the engine (control) and to the edges (value).

Edges need what a redirect or an event is checked against; the engine only what decides credit.
Values hold numbers, texts, lists and None, and are small: a control record fits in 32 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headwater.ledger.outbox import Change
from headwater.model.attribution import control_members
from headwater.model.records import Identifiers

Row = Mapping[str, Any]

Identify = Callable[[int, str], Identifiers]
"""The identifiers that a partner's e-mail address has with a brand: none for an empty one."""

ACTIVE = "active"
PAUSED = "paused"
DELETED = "deleted"


def brand_change(row: Row) -> Change:
    value = {"name": row["name"], "partition": row["partition"], "status": row["status"]}
    return Change("brand", row["id"], row["id"], value, value)


def program_change(row: Row) -> Change:
    control = {
        "code": row["code"],
        "window_ms": row["click_window_seconds"] * 1000,
        **control_members(row["attribution"]),
        "currency": row["currency"],
        "timezone": row["timezone"],
        "status": row["status"],
        "destination_url": row["destination_url"],
        "deep_link_hosts": row["deep_link_hosts"],
        "fraud": row["fraud"],
    }
    names = (
        "code",
        "status",
        "destination_url",
        "deep_link_hosts",
        "click_param",
        "click_window_seconds",
        "currency",
        "consent_default",
        "forward_params",
        "allowed_origins",
        "default_country",
        "timezone",
        "methods",
        "aliases",
        "alias_presets",
        "utm",
        "utm_mode",
        "link_signing",
        "link_salts",
        "shopify_secrets",
    )
    value = {"brand": row["brand_id"], **{name: row[name] for name in names}}
    return Change("program", row["id"], row["brand_id"], control, value)


def event_type_change(row: Row, brand: int) -> Change:
    """A window of its own is told only where there is one."""
    control = {
        "program": row["program_id"],
        "code": row["code"],
        "kind": row["kind"],
        "status": row["status"],
    }
    value = dict(control)
    if row["click_window_seconds"] is not None:
        control["window_ms"] = row["click_window_seconds"] * 1000
        value["click_window_seconds"] = row["click_window_seconds"]
    return Change("event_type", row["id"], brand, control, value)


def partner_change(row: Row) -> Change:
    # Names of partners stay out of the log: it is kept for replay, and no name decides anything.
    control = {"status": row["status"]}
    value = {"name": row["name"], "status": row["status"], "external_id": row["external_id"]}
    return Change("partner", row["id"], 0, control, value)


def enrolment_change(row: Row, brand: int, partner: Row, identity: Identifiers) -> Change:
    """`status` is the effective one: active while partner and enrolment both are. `identity` are
    the partner's own identifiers as the brand would see them, were it a customer.
    """
    both = row["status"] == ACTIVE and partner["status"] == ACTIVE
    told = {
        "program": row["program_id"],
        "partner": row["partner_id"],
        "status": ACTIVE if both else PAUSED,
    }
    control = {**told, "fraud": row["fraud"], "identity": [list(each) for each in identity]}
    value = {**told, "default_link": row["default_link"]}
    return Change("enrolment", row["id"], brand, control, value)


def link_change(row: Row, brand: int) -> Change:
    control = {
        "program": row["program_id"],
        "partner": row["partner_id"],
        "code": row["code"],
        "status": row["status"],
    }
    value = {
        **control,
        "domain": row["host"] or None,
        "url": row["url"],
        "expires_ms": row["expires_ms"],
        "honeypot": row["honeypot"],
        "expired_url": row["expired_destination_url"],
        "utm": row["utm"],
        "targets": row["targets"],
        "external_id": row["external_id"],
    }
    if row["status"] == DELETED:
        return Change("link", row["id"], brand, control, None, is_deleted=True)
    return Change("link", row["id"], brand, control, value)


def promo_code_change(row: Row, brand: int) -> Change:
    """Edges pass codes on as they come: only the engine knows whose they are."""
    control = {
        "program": row["program_id"],
        "partner": row["partner_id"],
        "code": row["code"],
        "status": row["status"],
    }
    is_deleted = row["status"] == DELETED
    return Change(
        "promo_code", row["id"], brand, control, None, for_edges=False, is_deleted=is_deleted
    )


def domain_change(row: Row) -> Change:
    value = {"host": row["host"], "brand": row["brand_id"]}
    return Change("domain", row["id"], row["brand_id"], value, value)


def key_change(row: Row) -> Change:
    """The key's hash stays out of the log, which is archived: edges alone need it."""
    control = {"status": row["status"]}
    value = {
        "sha256": row["sha256"],
        "scopes": row["scopes"],
        "brand": row["brand_id"],
        "partner": row["partner_id"],
    }
    told = value if row["status"] == ACTIVE else None
    return Change("key", row["id"], row["brand_id"] or 0, control, told)
