"""What routes of partner pixels take. What its fields have to be together is `book.pixel_check`'s
to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from headwater import limits
from headwater.console.fields import (
    Body,
    ExternalId,
    Id,
    PageQuery,
    Rule,
    Status,
    Time,
    parse_reference,
    refers,
    time_text,
)

Commission = Literal["cpa", "cpc", "cpl"]
Type = Literal["postback", "image", "iframe"]
LeadRule = Literal["do_not_fire_for_sales", "fire_for_all_partials"]
FiringState = Literal["waiting", "delivered", "dead", "client"]
ProgramOrAll = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.TEXT_CHARACTERS_MAX + 4,
        description="A program's id, `ext:` and its external id, or `*`: all of the partner's.",
    ),
]
Product = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.PARAMETER_BYTES_MAX,
        description="Of a CPA pixel: the product whose upsell fires it, `*` for every upsell.",
    ),
]
Template = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.PIXEL_TEMPLATE_BYTES_MAX,
        description="The URL, or the one tag, with macros; kept as it is.",
    ),
]
Delay = Annotated[
    int,
    Meta(
        ge=limits.LEAD_DELAY_MS_MIN // 1000,
        le=limits.LEAD_DELAY_MS_MAX // 1000,
        description="Of a CPL pixel that does not fire for sales.",
    ),
]
TestUrl = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.URL_BYTES_MAX,
        description="Where the partner's own test starts.",
    ),
]
ANY: Final = "*"


def _program_or_all(text: str) -> str:
    if text != ANY:
        try:
            parse_reference("prg", text)
        except ValueError:
            raise ValueError("no such program, nor *") from None
    return text


class PixelIn(Body):
    """`rule` and `delay_seconds` are of a CPL pixel alone, `product_id` of a CPA pixel alone."""

    rules: ClassVar[Mapping[str, Rule]] = {"program_id": Rule(_program_or_all, "unknown_program")}

    commission: Commission
    type: Type
    template: Template
    program_id: ProgramOrAll | None = None
    product_id: Product | None = None
    rule: LeadRule | None = None
    delay_seconds: Delay | None = None
    test_url: TestUrl | None = None
    status: Status = "active"
    external_id: ExternalId | None = None


def _unmoved(value: object) -> object:  # noqa: ARG001
    raise ValueError("a pixel keeps it for good: delete the pixel and make another")


class PixelPatch(Body):
    """`program_id`, `commission` and `product_id` are refused: they say what a pixel is for."""

    rules: ClassVar[Mapping[str, Rule]] = dict.fromkeys(
        ("program_id", "commission", "product_id"), Rule(_unmoved)
    )

    program_id: ProgramOrAll | UnsetType = UNSET
    commission: Commission | UnsetType = UNSET
    product_id: Product | UnsetType = UNSET
    type: Type | UnsetType = UNSET
    template: Template | UnsetType = UNSET
    rule: LeadRule | UnsetType | None = UNSET
    delay_seconds: Delay | UnsetType | None = UNSET
    test_url: TestUrl | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET


class FiringsQuery(PageQuery):
    """Firings from `since` on and before `until`; `state` `dead`: the dead letters. A page that
    is looked for by program or state may hold fewer than its limit while more are to come.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "program_id": refers("prg"),
        "partner_id": refers("prt"),
        "pixel_id": refers("pxl"),
        "since": Rule(time_text),
        "until": Rule(time_text),
    }

    program_id: Id | None = None
    partner_id: Id | None = None
    pixel_id: Id | None = None
    state: FiringState | None = None
    since: Time | None = None
    until: Time | None = None
