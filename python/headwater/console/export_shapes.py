"""What the exports of clicks, conversions and actions take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headwater.console.action_shapes import Kind, State
from headwater.console.event_shapes import Counted, Status, Verdict
from headwater.console.fields import Body, Id, Rule, Time, refers, time_text


class ExportFilter(Body):
    """`until` is now unless given, `since` 30 days before it. `format`: `csv` (RFC 4180, UTF-8,
    with a head) or `jsonl` (an object a line).
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "program_id": refers("prg"),
        "partner_id": refers("prt"),
        "since": Rule(time_text),
        "until": Rule(time_text),
    }

    format: Literal["csv", "jsonl"] = "csv"
    program_id: Id | None = None
    partner_id: Id | None = None
    since: Time | None = None
    until: Time | None = None


class ClicksExport(ExportFilter):
    """Clicks accepted in the period."""

    verdict: Verdict | None = None
    counted: Counted | None = None


class ConversionsExport(ExportFilter):
    """Conversions accepted in the period; of a partner those it has credit of."""

    status: Status | None = None
    test: bool | None = None


class ActionsExport(ExportFilter):
    """Actions tracked in the period."""

    state: State | None = None
    kind: Kind | None = None
    test: bool | None = None
