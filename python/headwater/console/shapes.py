"""What the management API takes: one class a body or query, the source of checks and OpenAPI.

A field left out of a PATCH keeps what is; `null` clears a field that may be empty. Rules a type
cannot say are in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from headwater import clock, ids, limits
from headwater.console import checks
from headwater.console.checks import LINK_CODE, PARAMETER, PROGRAM_CODE
from headwater.ledger.objects import Reference
from headwater.model.attribution import (
    CLASSES,
    WHOLE_PPM,
    ExplicitClick,
    Model,
    OnConflict,
    TouchClass,
)

Text = Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARACTERS_MAX)]
Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TEXT_CHARACTERS_MAX + 4,
        description="An object's id, or `ext:` and its external id.",
    ),
]
ExternalId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TEXT_CHARACTERS_MAX,
        description="Your own id of the object, unique within its owner.",
    ),
]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.URL_BYTES_MAX,
        description="Absolute http(s) URL in ASCII; emitted byte for byte.",
    ),
]
Host = Annotated[str, Meta(min_length=1, max_length=255)]
Email = Annotated[str, Meta(min_length=3, max_length=254)]
Time = Annotated[str, Meta(min_length=1, max_length=40, description="RFC 3339, with any offset.")]
ProgramCode = Annotated[str, Meta(pattern=f"^{PROGRAM_CODE}$")]
LinkCode = Annotated[str, Meta(pattern=f"^{LINK_CODE}$")]
Parameter = Annotated[str, Meta(pattern=f"^{PARAMETER}$")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217.")]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166.")]
Window = Annotated[int, Meta(ge=limits.CLICK_WINDOW_S_MIN, le=limits.CLICK_WINDOW_S_MAX)]
Status = Literal["active", "paused"]
Consent = Literal["granted", "denied"]
EventKind = Literal["click", "lead", "sale", "custom"]
Scope = Literal["events", "read", "admin"]
Method = Literal["pixel", "s2s"]
Hosts = Annotated[list[Host], Meta(max_length=limits.PROGRAM_LIST_MAX)]
Urls = Annotated[list[Url], Meta(max_length=limits.PROGRAM_LIST_MAX)]
Parameters = Annotated[list[Parameter], Meta(max_length=limits.PROGRAM_LIST_MAX)]
Aliases = Annotated[dict[Parameter, Parameter], Meta(max_length=limits.PROGRAM_LIST_MAX)]
Scopes = Annotated[list[Scope], Meta(min_length=1, max_length=3)]


OwnWindow = Annotated[
    int,
    Meta(
        ge=limits.CLICK_WINDOW_S_MIN,
        le=limits.CLICK_WINDOW_S_MAX,
        description="Null: the program's window.",
    ),
]
Share = Annotated[int, Meta(ge=0, le=WHOLE_PPM)]
PositionShares = Annotated[
    list[Share],
    Meta(
        min_length=3,
        max_length=3,
        description="First, middle, last touch, in parts per million; their sum is 1,000,000.",
    ),
]
HalfLife = Annotated[int, Meta(ge=limits.HALF_LIFE_S_MIN, le=limits.HALF_LIFE_S_MAX)]
ClassOrder = Annotated[
    list[TouchClass],
    Meta(
        min_length=1,
        max_length=len(CLASSES),
        description="The best class first, each once; one left out never earns.",
    ),
]
Members = Annotated[int, Meta(ge=1, le=limits.PERSON_MEMBERS_MAX)]
Hops = Annotated[int, Meta(ge=1, le=limits.PERSON_HOPS_MAX)]
Neighbours = Annotated[int, Meta(ge=1, le=limits.PERSON_NEIGHBOURS_MAX)]
PromoCode = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.PARAMETER_BYTES_MAX,
        description="Compared without case; kept in upper case.",
    ),
]

EXTERNAL: Final = "ext:"


def parse_reference(prefix: str, text: str) -> Reference:
    """`prg_3` as 3, `ext:VALUE` as VALUE. Raises ValueError."""
    if text.startswith(EXTERNAL):
        value = text[len(EXTERNAL) :]
        if not 0 < len(value) <= limits.TEXT_CHARACTERS_MAX:
            raise ValueError("an external id has 1 to 255 characters")
        return value
    return ids.parse_object(prefix, text)


class Rule(NamedTuple):
    """What holds for a field beyond its type: `check` gives the value to keep, or ValueError."""

    check: Callable[[Any], Any]
    code: str = "invalid"


def refers(prefix: str, code: str = "invalid") -> Rule:
    def check(text: str) -> str:
        try:
            parse_reference(prefix, text)
        except ValueError:
            raise ValueError("no such object") from None
        return text

    return Rule(check, code)


# Years 2000 to 9999: beyond them a time is a slip, and cannot be written back.
_TIME_MS: Final = range(946_684_800_000, 253_402_300_800_000)


def time_text(text: str) -> str:
    try:
        at_ms = clock.parse_iso_ms(text)
    except (ValueError, OverflowError):
        raise ValueError("not an RFC 3339 time with an offset") from None
    if at_ms not in _TIME_MS:
        raise ValueError("not within the years 2000 to 9999")
    return text


_DESTINATION: Final = Rule(checks.destination, "invalid_destination")


class Body(msgspec.Struct, kw_only=True):
    """Base of what is taken."""

    rules: ClassVar[Mapping[str, Rule]] = {}
    parts: ClassVar[Mapping[str, type[Body]]] = {}
    """Fields whose own fields are told one by one when they are at fault."""


class BrandIn(Body):
    name: Text
    external_id: ExternalId | None = None


class BrandPatch(Body):
    name: Text | UnsetType = UNSET


class Attribution(Body):
    """How credit is shared. A member left out has its default, in a PATCH what it had."""

    rules: ClassVar[Mapping[str, Rule]] = {
        "position_ppm": Rule(checks.position_ppm),
        "class_order": Rule(checks.class_order),
    }

    model: Model | UnsetType = UNSET
    position_ppm: PositionShares | UnsetType = UNSET
    half_life_seconds: HalfLife | UnsetType = UNSET
    class_order: ClassOrder | UnsetType = UNSET
    soft_click_window_seconds: Window | UnsetType | None = UNSET
    impression_window_seconds: Window | UnsetType = UNSET
    explicit_click: ExplicitClick | UnsetType = UNSET
    on_conflict: OnConflict | UnsetType = UNSET
    per_partner_latest: bool | UnsetType | None = UNSET
    members_max: Members | UnsetType = UNSET
    hops_max: Hops | UnsetType = UNSET
    neighbours_max: Neighbours | UnsetType = UNSET


_PROGRAM_RULES: Final = {
    "brand_id": refers("brd"),
    "destination_url": _DESTINATION,
    "deep_link_hosts": Rule(checks.deep_link_hosts),
    "allowed_origins": Rule(checks.allowed_origins),
    "timezone": Rule(checks.timezone),
    "currency": Rule(checks.currency, "currency_unknown"),
    "forward_params": Rule(checks.parameter_names),
    "aliases": Rule(checks.aliases),
}
_PROGRAM_PARTS: Final = {"attribution": Attribution}


class ProgramIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = _PROGRAM_RULES
    parts: ClassVar[Mapping[str, type[Body]]] = _PROGRAM_PARTS

    brand_id: Id
    code: ProgramCode
    destination_url: Url
    currency: Currency
    name: Text | None = None
    deep_link_hosts: Hosts = []
    timezone: Text = "UTC"
    click_window_seconds: Window = 30 * 86_400
    attribution: Attribution = msgspec.field(default_factory=Attribution)
    click_param: Parameter = "click_id"
    consent_default: Consent = "granted"
    forward_params: Parameters = []
    allowed_origins: Urls = []
    default_country: Country | None = None
    methods: list[Method] | None = None
    aliases: Aliases = {}
    status: Status = "active"
    external_id: ExternalId | None = None


class ProgramPatch(Body):
    rules: ClassVar[Mapping[str, Rule]] = _PROGRAM_RULES
    parts: ClassVar[Mapping[str, type[Body]]] = _PROGRAM_PARTS

    name: Text | UnsetType = UNSET
    destination_url: Url | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    deep_link_hosts: Hosts | UnsetType = UNSET
    timezone: Text | UnsetType = UNSET
    click_window_seconds: Window | UnsetType = UNSET
    attribution: Attribution | UnsetType = UNSET
    click_param: Parameter | UnsetType = UNSET
    consent_default: Consent | UnsetType = UNSET
    forward_params: Parameters | UnsetType = UNSET
    allowed_origins: Urls | UnsetType = UNSET
    default_country: Country | UnsetType | None = UNSET
    methods: list[Method] | UnsetType | None = UNSET
    aliases: Aliases | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class EventTypeIn(Body):
    code: ProgramCode
    kind: EventKind
    click_window_seconds: OwnWindow | None = None
    external_id: ExternalId | None = None


class EventTypePatch(Body):
    click_window_seconds: OwnWindow | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET


class PromoCodeIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = {
        "code": Rule(checks.promo_code),
        "partner_id": refers("prt", "unknown_partner"),
    }

    code: PromoCode
    partner_id: Id
    external_id: ExternalId | None = None


class PromoCodePatch(Body):
    status: Status | UnsetType = UNSET


_PARTNER_RULES: Final = {"email": Rule(checks.email)}


class PartnerIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = _PARTNER_RULES

    name: Text
    email: Email | None = None
    status: Status = "active"
    external_id: ExternalId | None = None


class PartnerPatch(Body):
    rules: ClassVar[Mapping[str, Rule]] = _PARTNER_RULES

    name: Text | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET


class EnrolmentIn(Body):
    status: Status | None = None
    external_id: ExternalId | None = None


class Utm(Body):
    """Added to the destination, never over one that it has."""

    utm_source: Text | None = None
    utm_medium: Text | None = None
    utm_campaign: Text | None = None
    utm_term: Text | None = None
    utm_content: Text | None = None


_LINK_RULES: Final = {
    "program_id": refers("prg", "unknown_program"),
    "partner_id": refers("prt", "unknown_partner"),
    "code": Rule(checks.link_code),
    "destination_url": _DESTINATION,
    "expires_at": Rule(time_text),
}


class LinkIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = _LINK_RULES

    program_id: Id
    partner_id: Id
    code: LinkCode | None = None
    domain: (
        Annotated[
            str, Meta(min_length=1, max_length=259, description="Tracking domain: host or id.")
        ]
        | None
    ) = None
    destination_url: Url | None = None
    utm: Utm = msgspec.field(default_factory=Utm)
    expires_at: Time | None = None
    external_id: ExternalId | None = None


class LinkPatch(Body):
    rules: ClassVar[Mapping[str, Rule]] = _LINK_RULES

    destination_url: Url | UnsetType | None = UNSET
    utm: Utm | UnsetType = UNSET
    expires_at: Time | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET


class DomainIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = {
        "brand_id": refers("brd"),
        "domain": Rule(checks.domain),
    }

    brand_id: Id
    domain: Host
    external_id: ExternalId | None = None


class KeyIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = {
        "brand_id": refers("brd"),
        "partner_id": refers("prt"),
    }

    scopes: Scopes
    brand_id: Id | None = None
    partner_id: Id | None = None
    external_id: ExternalId | None = None


Limit = Annotated[int, Meta(ge=1, le=limits.PAGE_ROWS_MAX)]
Cursor = Annotated[str, Meta(max_length=200)]


class PageQuery(Body):
    limit: Limit = limits.PAGE_ROWS
    cursor: Cursor | None = None


_QUERY_RULES: Final = {
    "brand_id": refers("brd"),
    "program_id": refers("prg"),
    "partner_id": refers("prt"),
}


class ProgramsQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = _QUERY_RULES

    brand_id: Id | None = None


class LinksQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = _QUERY_RULES

    program_id: Id | None = None
    partner_id: Id | None = None


class EventsQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = _QUERY_RULES

    program_id: Id | None = None


class AllowedQuery(Body):
    domain: Annotated[str, Meta(max_length=255)]


def given(patch: Body) -> dict[str, Any]:
    """The fields of a PATCH that were sent."""
    return {
        field: value
        for field in patch.__struct_fields__
        if (value := getattr(patch, field)) is not UNSET
    }
