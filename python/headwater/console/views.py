"""What the management API answers: one class an object, and how a row becomes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from headwater import clock, ids
from headwater.config import Config
from headwater.console.fraud_shapes import FraudRules
from headwater.model.destination import with_utm

Row = Mapping[str, Any]
T = TypeVar("T")


class View(msgspec.Struct, kw_only=True):
    """Base of what is answered. Times are RFC 3339 in UTC with milliseconds."""


class Object(View):
    """What every object of the configuration has."""

    id: str
    status: str
    external_id: str | None
    created_at: str
    updated_at: str
    warnings: list[str] | UnsetType = UNSET


class Brand(Object, kw_only=True):
    name: str


class Attribution(View):
    """`soft_click_window_seconds` null: the click window; `per_partner_latest` null: as the
    model has it, true where credit is split.
    """

    model: str
    position_ppm: list[int]
    half_life_seconds: int
    class_order: list[str]
    soft_click_window_seconds: int | None
    impression_window_seconds: int
    explicit_click: str
    on_conflict: str
    per_partner_latest: bool | None
    members_max: int
    hops_max: int
    neighbours_max: int


class Program(Object, kw_only=True):
    """`link_secrets` counts the secrets that sign links now, `shopify_secrets` those that sign
    Shopify's webhooks.
    """

    brand_id: str
    code: str
    name: str
    destination_url: str
    deep_link_hosts: list[str]
    timezone: str
    currency: str
    click_window_seconds: int
    attribution: Attribution
    click_param: str
    consent_default: str
    forward_params: list[str]
    allowed_origins: list[str]
    default_country: str | None
    methods: list[str] | None
    aliases: dict[str, str]
    alias_presets: list[str]
    fraud: FraudRules
    utm: dict[str, str]
    utm_mode: str
    link_signing: str
    link_secrets: int
    shopify_secrets: int


class EventType(Object, kw_only=True):
    program_id: str
    code: str
    kind: str
    click_window_seconds: int | None


class PromoCode(Object, kw_only=True):
    """A code whose use credits the partner. `code` is in upper case."""

    program_id: str
    partner_id: str
    code: str


class Partner(Object, kw_only=True):
    name: str
    email: str | None


class ShortLink(View):
    id: str
    code: str
    url: str


class Enrolment(View):
    program_id: str
    partner_id: str
    status: str
    external_id: str | None
    created_at: str
    updated_at: str
    fraud: FraudRules
    default_link: ShortLink
    warnings: list[str] | UnsetType = UNSET


class LinkTarget(View):
    destination_url: str
    devices: list[str]
    countries: list[str]


class Link(Object, kw_only=True):
    """`url` is what visitors click; `target_url` is where it leads, tokens not filled in."""

    code: str
    url: str
    program_id: str
    partner_id: str
    domain: str | None
    destination_url: str | None
    target_url: str
    utm: dict[str, str]
    expires_at: str | None
    honeypot: bool
    expired_destination_url: str | None
    targets: list[LinkTarget]


class LinkFault(View):
    field: str
    code: str
    detail: str


class LinkResult(View):
    """What became of one link of many. `status` is what it would have been answered alone, `code`
    the reason of its refusal.
    """

    index: int
    status: int
    id: str | None
    code: str | None
    link: ShortLink | None
    errors: list[LinkFault]


class LinkHolder(View):
    """`until` null: it has the code now."""

    link_id: str
    program_id: str
    partner_id: str
    since: str
    until: str | None


class LinkHistory(View):
    """The links that have had one code of one domain, the newest first."""

    code: str
    domain: str | None
    holders: list[LinkHolder]


class LinkSecret(View):
    """A secret, told once; `valid` counts the program's secrets that sign links now."""

    program_id: str
    secret: str
    valid: int


class ShopifySecret(View):
    """`valid` counts the program's secrets that sign Shopify's webhooks now."""

    program_id: str
    valid: int


class Domain(Object, kw_only=True):
    brand_id: str
    domain: str


class DomainAllowed(View):
    """Told to whoever asks: yes, and nothing else."""

    allowed: bool


class Key(Object, kw_only=True):
    """`key` is the secret itself, told once."""

    scopes: list[str]
    brand_id: str | None
    partner_id: str | None
    key: str | UnsetType = UNSET


class Page(msgspec.Struct, Generic[T], kw_only=True):
    """One page; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None


def object_base(prefix: str, row: Row, warnings: Sequence[str] | UnsetType) -> dict[str, Any]:
    """The members that every object has."""
    return {
        "id": ids.object_text(prefix, row["id"]),
        "status": row["status"],
        "external_id": row["external_id"],
        "created_at": clock.iso_ms(row["created_ms"]),
        "updated_at": clock.iso_ms(row["updated_ms"]),
        "warnings": UNSET if isinstance(warnings, UnsetType) else list(warnings),
    }


def _optional(prefix: str, number: int | None) -> str | None:
    return None if number is None else ids.object_text(prefix, number)


def fraud_rules(stored: Mapping[str, Any]) -> FraudRules:
    """Fraud rules as they are kept; they were checked when they came."""
    return msgspec.convert(stored, FraudRules)


def brand(row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> Brand:
    return Brand(**object_base("brd", row, warnings), name=row["name"])


_PROGRAM_COLUMNS = (
    "code",
    "name",
    "destination_url",
    "deep_link_hosts",
    "timezone",
    "currency",
    "click_window_seconds",
    "click_param",
    "consent_default",
    "forward_params",
    "allowed_origins",
    "default_country",
    "methods",
    "aliases",
    "alias_presets",
    "utm",
    "utm_mode",
    "link_signing",
)


def program(row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> Program:
    return Program(
        **object_base("prg", row, warnings),
        brand_id=ids.object_text("brd", row["brand_id"]),
        attribution=Attribution(**row["attribution"]),
        fraud=fraud_rules(row["fraud"]),
        link_secrets=len(row["link_salts"]),
        shopify_secrets=len(row["shopify_secrets"]),
        **{name: row[name] for name in _PROGRAM_COLUMNS},
    )


def event_type(row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> EventType:
    return EventType(
        **object_base("ety", row, warnings),
        program_id=ids.object_text("prg", row["program_id"]),
        code=row["code"],
        kind=row["kind"],
        click_window_seconds=row["click_window_seconds"],
    )


def promo_code(row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> PromoCode:
    return PromoCode(
        **object_base("pmo", row, warnings),
        program_id=ids.object_text("prg", row["program_id"]),
        partner_id=ids.object_text("prt", row["partner_id"]),
        code=row["code"],
    )


def partner(row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> Partner:
    return Partner(
        **object_base("prt", row, warnings), name=row["name"], email=row["email"] or None
    )


def link_url(config: Config, row: Row) -> str:
    """The address visitors click: `/c/{code}` of the shared listener, `/{code}` of a domain."""
    if row["host"]:
        return f"https://{row['host']}/{row['code']}"
    if config.public_url:
        return f"{config.public_url}/c/{row['code']}"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{config.port}/c/{row['code']}"


def enrolment(
    config: Config, row: Row, link_row: Row, warnings: Sequence[str] | UnsetType = UNSET
) -> Enrolment:
    return Enrolment(
        program_id=ids.object_text("prg", row["program_id"]),
        partner_id=ids.object_text("prt", row["partner_id"]),
        status=row["status"],
        external_id=row["external_id"],
        created_at=clock.iso_ms(row["created_ms"]),
        updated_at=clock.iso_ms(row["updated_ms"]),
        fraud=fraud_rules(row["fraud"]),
        default_link=ShortLink(
            id=ids.object_text("lnk", link_row["id"]),
            code=link_row["code"],
            url=link_url(config, link_row),
        ),
        warnings=UNSET if isinstance(warnings, UnsetType) else list(warnings),
    )


def link(config: Config, row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> Link:
    program = row["program"]
    utm = {**program["utm"], **row["utm"]}
    return Link(
        **object_base("lnk", row, warnings),
        code=row["code"],
        url=link_url(config, row),
        program_id=ids.object_text("prg", row["program_id"]),
        partner_id=ids.object_text("prt", row["partner_id"]),
        domain=row["host"] or None,
        destination_url=row["destination_url"],
        target_url=with_utm(row["url"], utm, override=program["utm_mode"] == "override"),
        utm=row["utm"],
        expires_at=None if row["expires_ms"] is None else clock.iso_ms(row["expires_ms"]),
        honeypot=row["honeypot"],
        expired_destination_url=row["expired_destination_url"],
        targets=[LinkTarget(**target) for target in row["targets"]],
    )


def domain(row: Row, warnings: Sequence[str] | UnsetType = UNSET) -> Domain:
    return Domain(
        **object_base("dom", row, warnings),
        brand_id=ids.object_text("brd", row["brand_id"]),
        domain=row["host"],
    )


def key(
    row: Row, warnings: Sequence[str] | UnsetType = UNSET, secret: str | UnsetType = UNSET
) -> Key:
    return Key(
        **object_base("key", row, warnings),
        scopes=row["scopes"],
        brand_id=_optional("brd", row["brand_id"]),
        partner_id=_optional("prt", row["partner_id"]),
        key=secret,
    )
