"""Clicks, conversions and explanations as the management API answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack

from headwater import clock, ids
from headwater.console.views import View
from headwater.ledger.decisions import decision
from headwater.model.currency import decimal_text
from headwater.model.records import ClickBody, ConversionBody, Flag, Source, Trust, decode

Row = Mapping[str, Any]


class Flags(View):
    test: bool
    consent_denied: bool
    deep_link_refused: bool
    qr: bool
    prefetch: bool


class Click(View):
    """`at` is when it was accepted, `occurred_at` when it happened by the caller's word."""

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
    verdict: str
    params: dict[str, str]
    referrer: str | None
    user_agent: str | None
    address_prefix: str | None


class Credit(View):
    partner_id: str
    click_id: str
    share_ppm: int


class Fraud(View):
    score: int
    verdict: str
    codes: list[str]


class Report(View):
    """One time the conversion was reported. `outcome`: created, repeat, merged or conflict."""

    event_id: str
    at: str
    source: str
    trust: str
    outcome: str


class Conversion(View):
    conversion_id: str
    status: str
    reason: str | None
    credits: list[Credit]
    fraud: Fraud
    actions: list[dict[str, Any]]
    pixels: list[dict[str, Any]]
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


class Identifier(View):
    """`key`: a click's id, or the first 8 hex digits of an identifier's digest."""

    type: str
    key: str


# `from` is no name for a field in Python.
class Hop(View, rename={"from_": "from"}):
    from_: Identifier
    to: Identifier
    at: str
    event_id: str


class Candidate(View):
    click_id: str
    partner_id: str
    touch_at: str
    path: list[Hop]
    outcome: str


class Explanation(View):
    members: list[Identifier]
    candidates: list[Candidate]
    candidates_omitted: int
    hubs: list[Identifier]
    cut: list[Identifier]
    truncated: bool
    config_hash: str


def flags(bits: int) -> Flags:
    return Flags(
        test=bool(bits & Flag.TEST),
        consent_denied=bool(bits & Flag.CONSENT_DENIED),
        deep_link_refused=bool(bits & Flag.DEEP_LINK_REFUSED),
        qr=bool(bits & Flag.QR),
        prefetch=bool(bits & Flag.PREFETCH),
    )


def click(row: Row) -> Click:
    body = ClickBody._make(decode(row["record"]).body)
    address_prefix, user_agent, referrer = body.client
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
        verdict=row["verdict"],
        params=body.params,
        referrer=referrer,
        user_agent=user_agent,
        address_prefix=address_prefix,
    )


def conversion(row: Row) -> Conversion:
    body = ConversionBody._make(decode(row["record"]).body)
    decided = decision(
        row["conversion_id"], row["brand"], row["status"], row["reason"], row["credits"]
    )
    return Conversion(
        conversion_id=decided["conversion_id"],
        status=decided["status"],
        reason=decided["reason"],
        credits=[Credit(**credit) for credit in decided["credits"]],
        fraud=Fraud(**decided["fraud"]),
        actions=decided["actions"],
        pixels=decided["pixels"],
        warnings=[],
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
        promo_code=body.promo_code,
        customer_status=body.customer_status,
        revision=row["revision"],
        reports=[_report(report) for report in row.get("reports", ())],
    )


def _report(row: Row) -> Report:
    return Report(
        event_id=ids.event_text("evt", row["event_id"]),
        at=clock.iso_ms(row["accept_ms"]),
        source=Source(row["source"]).name.lower(),
        trust=Trust(row["trust"]).name.lower(),
        outcome=row["outcome"],
    )


# Type 0 is the conversion itself; the others are those of records, by their public names.
_CONVERSION_TYPE: Final = 0
_CLICK_TYPE: Final = 6
_TYPE_NAMES: Final = {
    _CONVERSION_TYPE: "conversion",
    1: "customer_id",
    2: "profile_id",
    3: "email",
    4: "phone",
    5: "device_id",
    _CLICK_TYPE: "click_id",
    7: "external_click_id",
    8: "visitor_id",
}
# Enough to tell the identifiers of one explanation apart, too little to look a visitor up by.
_KEY_BYTES: Final = 4


def explanation(row: Row) -> Explanation:
    """The engine's explanation, with ids as texts and digests cut."""
    told = msgpack.unpackb(row["explain"], strict_map_key=False)
    return Explanation(
        members=[_identifier(each) for each in told["members"]],
        candidates=[_candidate(each) for each in told["candidates"]],
        candidates_omitted=told.get("candidates_omitted", 0),
        hubs=[_identifier(each) for each in told["hubs"]],
        cut=[_identifier(each) for each in told["cut"]],
        truncated=told.get("truncated", False),
        config_hash=row["config_hash"].hex(),
    )


def _candidate(told: Mapping[str, Any]) -> Candidate:
    return Candidate(
        click_id=ids.event_text("clk", told["click_id"]),
        partner_id=ids.object_text("prt", told["partner"]),
        touch_at=clock.iso_ms(told["touch_ms"]),
        path=[
            Hop(
                from_=_identifier(hop["from"]),
                to=_identifier(hop["to"]),
                at=clock.iso_ms(hop["at_ms"]),
                event_id=_event(hop),
            )
            for hop in told["path"]
        ],
        outcome=told["outcome"],
    )


def _event(hop: Mapping[str, Any]) -> str:
    """A click proves the steps that end at it; its event id is its own id."""
    prefix = "clk" if hop["to"][0] == _CLICK_TYPE and hop["to"][1] == hop["event_id"] else "evt"
    return ids.event_text(prefix, hop["event_id"])


def _identifier(told: Sequence[Any]) -> Identifier:
    kind, digest = told
    name = _TYPE_NAMES.get(kind, "unknown")
    if kind == _CONVERSION_TYPE:
        return Identifier(type=name, key=ids.event_text("cnv", digest))
    if kind == _CLICK_TYPE:
        return Identifier(type=name, key=ids.event_text("clk", digest))
    return Identifier(type=name, key=digest[:_KEY_BYTES].hex())
