"""What routes about events and people take: erasures, reports, a partner's questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from headwater import limits
from headwater.console.fields import Body, Id, PageQuery, Rule, Text, Time, refers, time_text

Identifier = Annotated[str, Meta(min_length=1, max_length=limits.IDENTIFIER_CHARACTERS_MAX)]
ErasureScope = Literal["identifier", "person"]
Verdict = Literal["accept", "review", "reject", "filtered"]
Counted = Literal["counted", "duplicate", "prefetch", "test"]
Status = Literal["attributed", "unattributed", "rejected"]
Group = Literal["partner", "day"]


class ErasureIn(Body):
    """Identifiers are those of events, flat; at least one is named."""

    rules: ClassVar[Mapping[str, Rule]] = {"brand_id": refers("brd")}

    brand_id: Id
    scope: ErasureScope = "identifier"
    dry_run: bool = True
    force: bool = False
    click_id: Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARACTERS_MAX)] | None = (
        None
    )
    external_click_id: Identifier | None = None
    visitor_id: Identifier | None = None
    customer_id: Identifier | None = None
    profile_id: Identifier | None = None
    email: Identifier | None = None
    email_sha256: Identifier | None = None
    email_sha1: Identifier | None = None
    phone: Identifier | None = None
    phone_sha256: Identifier | None = None
    device_id: Identifier | None = None


class ErasuresQuery(PageQuery):
    rules: ClassVar[Mapping[str, Rule]] = {"brand_id": refers("brd")}

    brand_id: Id | None = None


_CLICK_RULES: Final = {
    "program_id": refers("prg"),
    "partner_id": refers("prt"),
    "since": Rule(time_text),
    "until": Rule(time_text),
}


class ClicksQuery(PageQuery):
    """Clicks accepted from `since` on and before `until`. A page that is looked for by partner,
    verdict or count may hold fewer clicks than its limit while more are to come.
    """

    rules: ClassVar[Mapping[str, Rule]] = _CLICK_RULES

    program_id: Id | None = None
    partner_id: Id | None = None
    verdict: Verdict | None = None
    counted: Counted | None = None
    since: Time | None = None
    until: Time | None = None


class ConversionsQuery(PageQuery):
    """Conversions accepted from `since` on and before `until`. A page that is looked for by status
    or by `test` may hold fewer conversions than its limit while more are to come.
    """

    rules: ClassVar[Mapping[str, Rule]] = _CLICK_RULES

    program_id: Id | None = None
    status: Status | None = None
    test: bool | None = None
    since: Time | None = None
    until: Time | None = None


class ClickReportQuery(Body):
    """`until` is now unless given, `since` 30 days before it; days are those of the program's time
    zone.
    """

    rules: ClassVar[Mapping[str, Rule]] = _CLICK_RULES

    program_id: Id
    group: Group = "partner"
    since: Time | None = None
    until: Time | None = None


class CoverageQuery(Body):
    """`until` is now unless given, `since` 30 days before it; days are those of the program's time
    zone.
    """

    rules: ClassVar[Mapping[str, Rule]] = _CLICK_RULES

    program_id: Id
    since: Time | None = None
    until: Time | None = None


class FraudReportQuery(Body):
    """`until` is now unless given, `since` a day before it."""

    rules: ClassVar[Mapping[str, Rule]] = _CLICK_RULES

    program_id: Id
    since: Time | None = None
    until: Time | None = None


class UnattributedQuery(PageQuery):
    """`until` is now unless given, `since` 30 days before it."""

    rules: ClassVar[Mapping[str, Rule]] = {"since": Rule(time_text), "until": Rule(time_text)}

    program: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=limits.TEXT_CHARACTERS_MAX + 4,
                description="A program's code, or its id.",
            ),
        ]
        | None
    ) = None
    since: Time | None = None
    until: Time | None = None


class PartnerExplainQuery(Body):
    """Codes that narrow an order id, which several programs may have."""

    program: Text | None = None
    event: Text | None = None
