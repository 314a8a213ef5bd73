"""What a partner is told of a conversion: its own touches, what became of them, and why.

Nothing of anybody else is in it: no other partner, no amount, no identifier of the visitor, no
size of what was found. Whether another earned the credit shows only in the outcome of one's own
touches. Of the way to the conversion only the step between it and one's own click is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headwater import clock, ids
from headwater.console.explain_views import (
    CONVERSION_TYPE,
    Hop,
    class_of,
    click_text,
    explained,
    hop,
)
from headwater.console.views import View
from headwater.model.attribution import WHOLE_PPM
from headwater.model.records import ClickBody, IdentifierType, decode, touch_type

Row = Mapping[str, Any]

NO_TOUCH: Final = "no touch of yours was found for this conversion"
NO_CONVERSION: Final = "no conversion has met this click"
_CREDITED: Final = "credited"
_SENTENCES: Final = {
    _CREDITED: "it earned the credit",
    "older": "a later touch counts by the program's model",
    "newer": "an earlier touch counts by the program's model",
    "superseded": "a later touch of yours counts instead",
    "outranked_by_class": "a touch of a class that ranks higher in the program counts",
    "outranked_by_named_click": "the order named another click, and that one counts",
    "outside_window": "it was outside of the program's window when the conversion happened",
    "after_conversion": "it happened after the conversion",
    "late": "it was recorded only after the conversion was reported",
    "partner_inactive": "your part in the program was not active",
    "other_program": "it was made for another program",
    "filtered": "it was made by a program that says it is one, not by a visitor",
    "prefetch": "a browser fetched the link ahead of time, and nobody went there",
    "fraud_rejected": "it did not pass the checks of invalid traffic",
    "browser_evidence": "only a browser ties it to the conversion, and a server's word decided",
}
_PART: Final = "it earned a part of the credit"
_OTHER: Final = "it did not earn credit"


class PartnerTouch(View, rename={"class_": "class"}):
    """One of the partner's own touches. `params` are the sub ids and the like of its click;
    `path` has the step between the click and the conversion, when the conversion names the click.
    """

    conversion_id: str
    click_id: str | None
    touch_at: str
    class_: str
    params: dict[str, str]
    path: list[Hop]
    outcome: str
    why: str
    share_ppm: int


class PartnerConversion(View):
    """A conversion that the partner has a touch in."""

    conversion_id: str
    program_id: str
    program: str | None
    event: str | None
    line: str
    occurred_at: str
    status: str
    reason: str | None


class PartnerClick(View):
    """The partner's own click that was asked for."""

    click_id: str
    program_id: str
    touch_at: str
    touch_type: str
    params: dict[str, str]


class PartnerExplanation(View):
    """`truncated`: not all conversions that may hold a touch were looked at."""

    why: str
    click: PartnerClick | None
    conversions: list[PartnerConversion]
    touches: list[PartnerTouch]
    truncated: bool


def nothing() -> PartnerExplanation:
    """The one answer for a conversion that there is not, and for one without a touch."""
    return PartnerExplanation(why=NO_TOUCH, click=None, conversions=[], touches=[], truncated=False)


def explanation(
    partner: int,
    rows: Sequence[Row],
    clicks: Mapping[bytes, Row],
    *,
    asked: Row | None = None,
    truncated: bool = False,
) -> PartnerExplanation:
    """What `partner` is told of the conversions in `rows`; `clicks` are those `click_ids` names.

    `asked`: the click that was asked for; then its own touches alone are told.
    """
    told: list[PartnerConversion] = []
    touches: list[PartnerTouch] = []
    for row in rows:
        found = [
            _touch(row, each, clicks)
            for each in own(partner, row)
            if asked is None or each.get("click_id") == asked["click_id"]
        ]
        if found:
            told.append(_conversion(row))
            touches += found
    if not touches and asked is None:
        return nothing()
    return PartnerExplanation(
        why=_why(touches),
        click=None if asked is None else _click(asked),
        conversions=told,
        touches=touches,
        truncated=truncated,
    )


def click_ids(partner: int, rows: Sequence[Row]) -> list[bytes]:
    """The partner's clicks among the touches of some conversions."""
    found = [each.get("click_id") for row in rows for each in own(partner, row)]
    return [click_id for click_id in found if click_id is not None]


def own(partner: int, row: Row) -> list[Mapping[str, Any]]:
    """The partner's candidates of a conversion, and its credits that the explanation left out."""
    told = [each for each in explained(row).get("candidates", ()) if each["partner"] == partner]
    listed = {each.get("click_id") for each in told}
    omitted = [
        {
            "click_id": click_id,
            "touch_ms": None,
            "outcome": _CREDITED,
            "share_ppm": share_ppm,
        }
        for credited, click_id, share_ppm in row["credits"]
        if credited == partner and click_id not in listed
    ]
    return [*told, *omitted]


def _touch(row: Row, told: Mapping[str, Any], clicks: Mapping[bytes, Row]) -> PartnerTouch:
    click_id = told.get("click_id")
    click = None if click_id is None else clicks.get(click_id)
    touch_ms = told["touch_ms"]
    if touch_ms is None:
        touch_ms = row["occurred_ms"] if click is None else click["touch_ms"]
    share_ppm = told.get("share_ppm", 0)
    outcome = told["outcome"]
    why = _SENTENCES.get(outcome, _OTHER)
    if outcome == _CREDITED and share_ppm < WHOLE_PPM:
        why = _PART
    return PartnerTouch(
        conversion_id=ids.event_text("cnv", row["conversion_id"]),
        click_id=click_text(click_id),
        touch_at=clock.iso_ms(touch_ms),
        class_=class_of(told),
        params={} if click is None else _params(click),
        path=[hop(each) for each in told.get("path", ()) if _is_own(each, click_id)],
        outcome=outcome,
        why=why,
        share_ppm=share_ppm,
    )


def _is_own(told: Mapping[str, Any], click_id: bytes | None) -> bool:
    """Whether a step joins the conversion and the touch's own click."""
    ends = (told["from"], told["to"])
    return {kind for kind, _ in ends} == {CONVERSION_TYPE, IdentifierType.CLICK} and all(
        kind == CONVERSION_TYPE or digest == click_id for kind, digest in ends
    )


def _conversion(row: Row) -> PartnerConversion:
    return PartnerConversion(
        conversion_id=ids.event_text("cnv", row["conversion_id"]),
        program_id=ids.object_text("prg", row["program"]),
        program=row["program_code"],
        event=row["event_code"],
        line=row["line"],
        occurred_at=clock.iso_ms(row["occurred_ms"]),
        status=row["status"],
        reason=row["reason"],
    )


def _click(row: Row) -> PartnerClick:
    return PartnerClick(
        click_id=ids.event_text("clk", row["click_id"]),
        program_id=ids.object_text("prg", row["program"]),
        touch_at=clock.iso_ms(row["touch_ms"]),
        touch_type=touch_type(row["flags"]),
        params=_params(row),
    )


def _params(click: Row) -> dict[str, str]:
    return dict(ClickBody._make(decode(click["record"]).body).params)


def _why(touches: Sequence[PartnerTouch]) -> str:
    if not touches:
        return NO_CONVERSION
    if any(touch.outcome == _CREDITED for touch in touches):
        return "a touch of yours earned credit"
    return touches[0].why if len(touches) == 1 else "none of your touches earned credit"
