"""What the management API takes: one class a body or query, the source of checks and OpenAPI.

A field left out of a PATCH keeps what is; `null` clears a field that may be empty. Rules a type
cannot say are in `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from headwater import limits
from headwater.console import checks
from headwater.console.checks import LINK_CODE, PARAMETER, PROGRAM_CODE
from headwater.console.fields import (
    Body,
    Email,
    ExternalId,
    Host,
    Id,
    PageQuery,
    Rule,
    Status,
    Text,
    Time,
    Url,
    refers,
    time_text,
)
from headwater.console.fraud_shapes import FraudRules
from headwater.model.aliases import PRESETS, Preset
from headwater.model.attribution import (
    CLASSES,
    WHOLE_PPM,
    ExplicitClick,
    Model,
    OnConflict,
    TouchClass,
)
from headwater.model.destination import UTM_NAMES, checked

ProgramCode = Annotated[str, Meta(pattern=f"^{PROGRAM_CODE}$")]
LinkCode = Annotated[str, Meta(pattern=f"^{LINK_CODE}$")]
Parameter = Annotated[str, Meta(pattern=f"^{PARAMETER}$")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217.")]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166.")]
Window = Annotated[int, Meta(ge=limits.CLICK_WINDOW_S_MIN, le=limits.CLICK_WINDOW_S_MAX)]
Consent = Literal["granted", "denied"]
EventKind = Literal["click", "lead", "sale", "custom"]
Scope = Literal["events", "read", "finance", "admin"]
Method = Literal["pixel", "s2s", "shopify"]
Hosts = Annotated[list[Host], Meta(max_length=limits.PROGRAM_LIST_MAX)]
Urls = Annotated[list[Url], Meta(max_length=limits.PROGRAM_LIST_MAX)]
Parameters = Annotated[list[Parameter], Meta(max_length=limits.PROGRAM_LIST_MAX)]
AliasTarget = Annotated[str, Meta(pattern=rf"^(properties\.)?{PARAMETER}$")]
Aliases = Annotated[
    dict[Parameter, AliasTarget],
    Meta(
        max_length=limits.PROGRAM_LIST_MAX,
        description="Senders' names of fields to Headwater's, or to properties.NAME.",
    ),
]
AliasPresets = Annotated[
    list[Preset],
    Meta(
        max_length=len(PRESETS),
        description="Networks whose names are taken; the program's own aliases go first.",
    ),
]
Scopes = Annotated[list[Scope], Meta(min_length=1, max_length=4)]
UtmMode = Annotated[
    Literal["keep", "override"],
    Meta(description="Whether utm parameters a destination has already stay or give way."),
]
LinkSigning = Annotated[
    Literal["off", "report", "require"],
    Meta(description="What becomes of unsigned parameters, from the first secret on."),
]
Device = Literal["ios", "android", "mobile", "desktop"]


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
WebhookSecret = Annotated[
    str,
    Meta(
        # Shopify's have 32 to 64 characters; a short one could be guessed.
        min_length=16,
        max_length=limits.API_KEY_BYTES_MAX,
        pattern="^[\\x21-\\x7e]+$",
        description="As the shop shows it.",
    ),
]
PromoCode = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.PARAMETER_BYTES_MAX,
        description="Compared without case; kept in upper case.",
    ),
]

_DESTINATION: Final = Rule(checks.destination, "invalid_destination")


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


class Utm(Body):
    """Added to a destination; values may hold tokens such as `{partner_id}`."""

    rules: ClassVar[Mapping[str, Rule]] = dict.fromkeys(UTM_NAMES, Rule(checked))

    utm_source: Text | None = None
    utm_medium: Text | None = None
    utm_campaign: Text | None = None
    utm_term: Text | None = None
    utm_content: Text | None = None


_PROGRAM_RULES: Final = {
    "brand_id": refers("brd"),
    "destination_url": _DESTINATION,
    "deep_link_hosts": Rule(checks.deep_link_hosts),
    "allowed_origins": Rule(checks.allowed_origins),
    "timezone": Rule(checks.timezone),
    "currency": Rule(checks.currency, "currency_unknown"),
    "forward_params": Rule(checks.parameter_names),
    "aliases": Rule(checks.alias_table),
    "alias_presets": Rule(checks.alias_presets),
}
_PROGRAM_PARTS: Final[Mapping[str, type[Body]]] = {
    "attribution": Attribution,
    "fraud": FraudRules,
    "utm": Utm,
}


class ProgramIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = {**_PROGRAM_RULES, "code": Rule(checks.no_id)}
    parts: ClassVar[Mapping[str, type[Body]]] = _PROGRAM_PARTS

    brand_id: Id
    code: ProgramCode
    destination_url: Url
    currency: Currency
    name: Text | None = None
    deep_link_hosts: Hosts = msgspec.field(default_factory=list)
    timezone: Text = "UTC"
    click_window_seconds: Window = 30 * 86_400
    attribution: Attribution = msgspec.field(default_factory=Attribution)
    click_param: Parameter = "click_id"
    consent_default: Consent = "granted"
    forward_params: Parameters = msgspec.field(default_factory=list)
    allowed_origins: Urls = msgspec.field(default_factory=list)
    default_country: Country | None = None
    methods: list[Method] | None = None
    aliases: Aliases = msgspec.field(default_factory=dict)
    alias_presets: AliasPresets = msgspec.field(default_factory=list)
    fraud: FraudRules | None = None
    utm: Utm = msgspec.field(default_factory=Utm)
    utm_mode: UtmMode = "keep"
    link_signing: LinkSigning = "off"
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
    alias_presets: AliasPresets | UnsetType = UNSET
    fraud: FraudRules | UnsetType | None = UNSET
    utm: Utm | UnsetType = UNSET
    utm_mode: UtmMode | UnsetType = UNSET
    link_signing: LinkSigning | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class ShopifySecretIn(Body):
    secret: WebhookSecret


class EventTypeIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = {"code": Rule(checks.no_id)}

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


_ENROLMENT_PARTS: Final = {"fraud": FraudRules}


class EnrolmentIn(Body):
    """`fraud`, if it is given, takes the place of what was said of rules for the partner."""

    parts: ClassVar[Mapping[str, type[Body]]] = _ENROLMENT_PARTS

    status: Status | None = None
    fraud: FraudRules | UnsetType | None = UNSET
    external_id: ExternalId | None = None


class EnrolmentPatch(Body):
    parts: ClassVar[Mapping[str, type[Body]]] = _ENROLMENT_PARTS

    status: Status | UnsetType = UNSET
    fraud: FraudRules | UnsetType | None = UNSET


class LinkTarget(msgspec.Struct, kw_only=True):
    """A destination for visitors on some devices, from some countries, or both."""

    destination_url: Url
    devices: Annotated[list[Device], Meta(max_length=4)] = []
    countries: Annotated[list[Country], Meta(max_length=limits.PROGRAM_LIST_MAX)] = []


def link_targets(targets: list[LinkTarget]) -> list[LinkTarget]:
    """Destinations of which the first that fits a visitor is taken."""
    for target in targets:
        checks.destination(target.destination_url)
        if not target.devices and not target.countries:
            raise ValueError("each names devices or countries")
    return targets


Targets = Annotated[
    list[LinkTarget],
    Meta(max_length=limits.LINK_TARGETS_MAX, description="The first that fits is taken."),
]


def _unmoved(value: object) -> object:  # noqa: ARG001
    raise ValueError("a link keeps it for good: delete the link and make another of its code")


Honeypot = Annotated[
    bool,
    Meta(description="Nobody who sees the page can follow it: who does is no visitor."),
]
_LINK_RULES: Final = {
    "program_id": refers("prg", "unknown_program"),
    "partner_id": refers("prt", "unknown_partner"),
    "code": Rule(checks.link_code),
    "destination_url": _DESTINATION,
    "expires_at": Rule(time_text),
    "expired_destination_url": _DESTINATION,
    "targets": Rule(link_targets, "invalid_destination"),
}
_UNMOVED: Final = dict.fromkeys(("program_id", "partner_id", "code", "domain"), Rule(_unmoved))


class LinkIn(Body):
    rules: ClassVar[Mapping[str, Rule]] = _LINK_RULES
    parts: ClassVar[Mapping[str, type[Body]]] = {"utm": Utm}

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
    honeypot: Honeypot = False
    expired_destination_url: Url | None = None
    targets: Targets = msgspec.field(default_factory=list)
    external_id: ExternalId | None = None


class LinksIn(Body):
    links: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=limits.BULK_LINKS_MAX,
            description="Each as the body that makes one link.",
        ),
    ]


class LinkPatch(Body):
    """`program_id`, `partner_id`, `code` and `domain` are refused: clicks stay whose they are."""

    rules: ClassVar[Mapping[str, Rule]] = {**_LINK_RULES, **_UNMOVED}
    parts: ClassVar[Mapping[str, type[Body]]] = {"utm": Utm}

    program_id: Text | UnsetType = UNSET
    partner_id: Text | UnsetType = UNSET
    code: Text | UnsetType = UNSET
    domain: Text | UnsetType = UNSET
    destination_url: Url | UnsetType | None = UNSET
    utm: Utm | UnsetType = UNSET
    expires_at: Time | UnsetType | None = UNSET
    honeypot: Honeypot | UnsetType = UNSET
    expired_destination_url: Url | UnsetType | None = UNSET
    targets: Targets | UnsetType = UNSET
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


_QUERY_RULES: Final = {
    "brand_id": refers("brd"),
    "program_id": refers("prg"),
    "partner_id": refers("prt"),
}


class ProgramsQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = _QUERY_RULES

    brand_id: Id | None = None


class LinksQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = {**_QUERY_RULES, "domain": Rule(checks.domain)}

    program_id: Id | None = None
    partner_id: Id | None = None
    code: LinkCode | None = None
    domain: Host | None = None
    status: Literal["active", "paused", "deleted"] | None = None


class AllowedQuery(Body):
    domain: Annotated[str, Meta(max_length=255)]
