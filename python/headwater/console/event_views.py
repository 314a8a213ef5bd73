"""Clicks and conversions as the management API answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from headwater import clock, ids
from headwater.console.fraud_views import ClickRevision, FraudDetail, detail, revisions
from headwater.console.views import View
from headwater.ledger.decisions import decision
from headwater.model.currency import decimal_text
from headwater.model.records import (
    ClickBody,
    ConversionBody,
    Flag,
    Kind,
    Source,
    Trust,
    decode,
    touch_type,
)

Row = Mapping[str, Any]


class Flags(View):
    test: bool
    consent_denied: bool
    deep_link_refused: bool
    qr: bool
    prefetch: bool
    link_tampered: bool


class Click(View):
    """`at` is when it was accepted, `occurred_at` when it happened by the caller's word.
    `touch_type` is `click`, `soft_click` or `impression`; `counted` is `counted`, `duplicate`,
    `prefetch` or `test`. `fraud` is null where nothing was scored. `revisions` are told of one
    click that is read, the first change first. A partner's key is told of neither, nor of
    user agent and address.
    """

    id: str
    brand_id: str
    program_id: str
    partner_id: str
    link_id: str | None
    at: str
    occurred_at: str
    source: str
    trust: str
    flags: Flags
    touch_type: str
    verdict: str
    counted: str
    unique: bool
    score: int | None
    fraud: FraudDetail | None
    revisions: list[ClickRevision]
    params: dict[str, str]
    referrer: str | None
    user_agent: str | None
    address_prefix: str | None


class Credit(View):
    """`click_id` is null where the use of a promo code earned it, without a click."""

    partner_id: str
    click_id: str | None
    share_ppm: int


class Fraud(View):
    """`codes` with an effect; the explanation has them whole, with those in shadow. A partner is
    told the verdict alone.
    """

    score: int | None
    verdict: str
    codes: list[str]


class Report(View):
    """One time the conversion was reported. `outcome`: created, repeat, merged or conflict."""

    event_id: str
    at: str
    source: str
    trust: str
    outcome: str


class LateEvidence(View):
    """An event that came too late for the decision, and the partners it would have credited.

    Ids of clicks begin with `clk_`.
    """

    event_id: str
    kind: str
    at: str
    partners: list[str]


class PixelsFired(View):
    """How many partner pixels were fired. `details_url` is where to read of each; it is left out
    where there were none: `/pixels/explain` says why.
    """

    fired: int
    details_url: str | UnsetType = UNSET


class Action(View):
    """What a partner is paid for the conversion."""

    action_id: str
    partner_id: str
    state: str
    reason: str | None
    payout: str
    currency: str


class Conversion(View):
    """A partner's key is told of the partner's own credits, actions, pixels and late evidence, and
    of a promo code only where its use earned the partner's credit.
    """

    conversion_id: str
    status: str
    reason: str | None
    credits: list[Credit]
    fraud: Fraud
    actions: list[Action]
    pixels: PixelsFired
    warnings: list[str]
    brand_id: str
    program_id: str
    program: str | None
    event: str | None
    order_id: str | None
    line: str
    amount: str
    currency: str
    occurred_at: str
    accepted_at: str
    flags: Flags
    promo_code: str | None
    customer_status: str | None
    revision: int
    reports: list[Report]
    late_evidence: list[LateEvidence]


def flags(bits: int) -> Flags:
    return Flags(
        test=bool(bits & Flag.TEST),
        consent_denied=bool(bits & Flag.CONSENT_DENIED),
        deep_link_refused=bool(bits & Flag.DEEP_LINK_REFUSED),
        qr=bool(bits & Flag.QR),
        prefetch=bool(bits & Flag.PREFETCH),
        link_tampered=bool(bits & Flag.LINK_TAMPERED),
    )


def click(row: Row, partner: int | None = None) -> Click:
    """`partner`: as this partner is told of its own click, without what is the visitor's and
    what scoring observed.
    """
    body = ClickBody._make(decode(row["record"]).body)
    address_prefix, user_agent, referrer = body.client[:3]
    is_whole = partner is None
    return Click(
        id=ids.event_text("clk", row["click_id"]),
        brand_id=ids.object_text("brd", row["brand"]),
        program_id=ids.object_text("prg", row["program"]),
        partner_id=ids.object_text("prt", row["partner"]),
        link_id=ids.object_text("lnk", row["link"]) if row["link"] else None,
        at=clock.iso_ms(row["accept_ms"]),
        occurred_at=clock.iso_ms(row["touch_ms"]),
        source=Source(row["source"]).name.lower(),
        trust=Trust(row["trust"]).name.lower(),
        flags=flags(row["flags"]),
        touch_type=touch_type(row["flags"]),
        verdict=row["verdict"],
        counted=row["counted"],
        unique=bool(row["is_unique"]),
        score=row["score"] if is_whole else None,
        fraud=detail(row) if is_whole else None,
        revisions=revisions(row.get("revisions", ())) if is_whole else [],
        params=body.params,
        referrer=referrer,
        user_agent=user_agent if is_whole else None,
        address_prefix=address_prefix if is_whole else None,
    )


def conversion(row: Row, partner: int | None = None) -> Conversion:
    """`partner`: as this partner is told of it."""
    body = ConversionBody._make(decode(row["record"]).body)
    promo_code = body.promo_code
    if partner is not None:
        row = _own(row, partner)
        if all(click_id is not None for _partner, click_id, _share in row["credits"]):
            promo_code = None
    decided = decision(
        row["conversion_id"],
        row["brand"],
        row["status"],
        row["reason"],
        row["credits"],
        (row["verdict"], row["score"], row["fraud"]),
        row["actions"],
    )
    return Conversion(
        conversion_id=decided["conversion_id"],
        status=decided["status"],
        reason=decided["reason"],
        credits=[Credit(**credit) for credit in decided["credits"]],
        fraud=_fraud(decided["fraud"], is_whole=partner is None),
        actions=[Action(**action) for action in decided["actions"]],
        pixels=_pixels(decided["conversion_id"], row["pixels_fired"]),
        warnings=_warnings(body),
        brand_id=ids.object_text("brd", row["brand"]),
        program_id=ids.object_text("prg", row["program"]),
        program=row["program_code"],
        event=row["event_code"],
        order_id=row["order_id"],
        line=row["line"],
        amount=decimal_text(row["amount_minor"], row["currency"]),
        currency=row["currency"],
        occurred_at=clock.iso_ms(row["occurred_ms"]),
        accepted_at=clock.iso_ms(row["accept_ms"]),
        flags=flags(row["flags"]),
        promo_code=promo_code,
        customer_status=body.customer_status,
        revision=row["revision"],
        reports=[_report(report) for report in row.get("reports", ())],
        late_evidence=[_late_evidence(each) for each in row.get("late_evidence", ())],
    )


def _fraud(told: dict[str, Any], *, is_whole: bool) -> Fraud:
    if is_whole:
        return Fraud(**told)
    return Fraud(score=None, verdict=told["verdict"], codes=[])


def _own(row: Row, partner: int) -> Row:
    """The row with what is this partner's alone."""
    return {
        **row,
        "credits": [credit for credit in row["credits"] if credit[0] == partner],
        "actions": [action for action in row["actions"] if action.partner == partner],
        "late_evidence": [
            {**each, "partners": [partner]}
            for each in row.get("late_evidence", ())
            if partner in each["partners"]
        ],
    }


def _warnings(body: ConversionBody) -> list[str]:
    """What was cut where the report came by a way whose answer has no room for warnings."""
    cut = body.params.get("truncated")
    return [f"values cut: {cut}"] if cut else []


def _pixels(conversion_id: str, fired: int) -> PixelsFired:
    if not fired:
        return PixelsFired(fired=0)
    return PixelsFired(fired=fired, details_url=f"/v1/conversions/{conversion_id}/pixels")


def _late_evidence(row: Row) -> LateEvidence:
    kind = Kind(row["kind"])
    return LateEvidence(
        event_id=ids.event_text("clk" if kind is Kind.CLICK else "evt", row["event_id"]),
        kind=kind.name.lower(),
        at=clock.iso_ms(row["accept_ms"]),
        partners=[ids.object_text("prt", number) for number in dict.fromkeys(row["partners"])],
    )


def _report(row: Row) -> Report:
    return Report(
        event_id=ids.event_text("evt", row["event_id"]),
        at=clock.iso_ms(row["accept_ms"]),
        source=Source(row["source"]).name.lower(),
        trust=Trust(row["trust"]).name.lower(),
        outcome=row["outcome"],
    )
