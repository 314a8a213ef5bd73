"""Partner pixels, what they fired and why not, as the management API answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from headwater import clock, ids
from headwater.console.views import Object, View
from headwater.ledger.firings import WAITING
from headwater.model.attribution import WHOLE_PPM
from headwater.model.pixels import (
    ANY_PROGRAM,
    DECISION_CODES,
    DELIVERY_CODES,
    MAIN,
    POSTBACK,
    UPSELL,
    masked,
)

Row = Mapping[str, Any]


class PixelDelivery(View):
    """How a postback does. `state`: `idle` before its first attempt, `working`, `failing` since
    its last success (`failing_since`: when that began), or `disabled`: nothing is sent any more
    since `disabled_at`, for `disabled_code`. Counts are attempts.
    """

    state: str
    failing_since: str | None
    disabled_at: str | None
    disabled_code: str | None
    delivered: int
    failed: int
    success_ppm: int | None
    last_attempt_at: str | None
    paused_until: str | None


class Pixel(Object, kw_only=True):
    """`program_id` `*`: every program the partner is in. `delivery` is null of a pixel that the
    browser fires. `signing_secrets` counts the secrets that sign it now.
    """

    partner_id: str
    program_id: str
    commission: str
    product_id: str | None
    slot: str
    type: str
    template: str
    rule: str | None
    delay_seconds: int | None
    test_url: str | None
    signing_secrets: int
    last_fired_at: str | None
    delivery: PixelDelivery | None


class PixelPreview(View):
    """A pixel with the values of a sample order: `url` is what is asked for, `rendered` the whole
    tag; `values` are the macros it names, as they are written, and what they stand for.
    """

    type: str
    url: str
    rendered: str
    values: dict[str, str]
    warnings: list[str]


class PixelTestLink(View):
    program_id: str
    url: str


class PixelTestLinks(View):
    """`test_url` is the partner's own; `links` are tracking links of the partner that mark what
    comes of them as a test, with the sub ids in `values`, which were never used before.
    """

    test_url: str | None
    links: list[PixelTestLink]
    values: dict[str, str]


class PixelSecret(View):
    """A secret, told once; `valid` counts the pixel's secrets that sign it now."""

    pixel_id: str
    secret: str
    valid: int


class Firing(View):
    """One message to a partner. `at` is when it was due, `url` has its secrets masked, `state` is
    `waiting`, `delivered`, `dead` (a dead letter) or `client` (given to the visitor's browser).
    """

    event_id: str
    at: str
    pixel_id: str
    partner_id: str
    program_id: str
    action_id: str
    conversion_id: str | None
    type: str
    url: str
    test: bool
    state: str
    code: str | None
    meaning: str | None
    attempts: int
    next_attempt_at: str | None


class FiringAttempt(View):
    """`status` is null where no answer came; `answer` holds the first 512 bytes of its body."""

    attempt: int
    at: str
    url: str
    status: int | None
    latency_ms: int
    answer: str
    outcome: str
    code: str
    meaning: str


class AttemptedFiring(Firing, kw_only=True):
    attempts_made: list[FiringAttempt]


class PixelDecision(View):
    """Why a pixel was fired for an action, or was not. `pixel_id` null: there was none."""

    at: str
    partner_id: str
    action_id: str
    pixel_id: str | None
    code: str
    meaning: str


class ConversionPixels(View):
    conversion_id: str
    fired: int
    firings: list[AttemptedFiring]
    pixel_decisions: list[PixelDecision]


def product_of(slot: str) -> str | None:
    return None if slot == MAIN else slot.removeprefix(UPSELL)


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else clock.iso_ms(at_ms)


def pixel(
    row: Row,
    endpoint: Row | None,
    fired_ms: int | None,
    warnings: Sequence[str] | UnsetType = UNSET,
) -> Pixel:
    """A pixel with how it does: its row of the endpoints, and when it was fired last."""
    program = row["program_number"]
    return Pixel(
        id=ids.object_text("pxl", row["id"]),
        status=row["status"],
        external_id=row["external_id"],
        created_at=clock.iso_ms(row["created_ms"]),
        updated_at=clock.iso_ms(row["updated_ms"]),
        warnings=UNSET if isinstance(warnings, UnsetType) else list(warnings),
        partner_id=ids.object_text("prt", row["partner_id"]),
        program_id="*" if program == ANY_PROGRAM else ids.object_text("prg", program),
        commission=row["commission"],
        product_id=product_of(row["slot"]),
        slot=row["slot"],
        type=row["type"],
        template=row["template"],
        rule=row["rule"],
        delay_seconds=row["delay_ms"] // 1000 if row["delay_ms"] else None,
        test_url=row["test_url"],
        signing_secrets=len(row["signing_salts"]),
        last_fired_at=_time(fired_ms),
        delivery=_delivery(endpoint) if row["type"] == POSTBACK else None,
    )


def without_secrets(view: Pixel) -> Pixel:
    """A pixel with what its URLs name like secrets masked."""
    test_url = None if view.test_url is None else masked(view.test_url)
    return msgspec.structs.replace(view, template=masked(view.template), test_url=test_url)


_IDLE: Final = PixelDelivery(
    state="idle",
    failing_since=None,
    disabled_at=None,
    disabled_code=None,
    delivered=0,
    failed=0,
    success_ppm=None,
    last_attempt_at=None,
    paused_until=None,
)


def _delivery(endpoint: Row | None) -> PixelDelivery:
    if endpoint is None:
        return _IDLE
    delivered, failed = endpoint["delivered_count"], endpoint["failed_count"]
    state = "failing" if endpoint["failures"] else "working"
    is_disabled = endpoint["disabled_ms"] is not None
    made = delivered + failed
    return PixelDelivery(
        state="disabled" if is_disabled else state,
        failing_since=_time(endpoint["failing_since_ms"]),
        disabled_at=_time(endpoint["disabled_ms"]),
        disabled_code=endpoint["disabled_code"],
        delivered=delivered,
        failed=failed,
        success_ppm=delivered * WHOLE_PPM // made if made else None,
        last_attempt_at=_time(endpoint["last_ms"] or None),
        paused_until=None if is_disabled else _time(endpoint["open_until_ms"] or None),
    )


def _firing(row: Row) -> dict[str, Any]:
    conversion, code = row["conversion_id"], row["code"]
    is_waiting = row["state"] == WAITING
    return {
        "event_id": ids.event_text("evt", row["event_id"]),
        "at": clock.iso_ms(row["at_ms"]),
        "pixel_id": ids.object_text("pxl", row["pixel"]),
        "partner_id": ids.object_text("prt", row["partner"]),
        "program_id": ids.object_text("prg", row["program"]),
        "action_id": ids.event_text("act", row["action_id"]),
        "conversion_id": None if conversion is None else ids.event_text("cnv", conversion),
        "type": row["type"],
        "url": masked(row["url"]),
        "test": bool(row["is_test"]),
        "state": row["state"],
        "code": code,
        "meaning": None if code is None else DELIVERY_CODES[code],
        "attempts": row["attempts"],
        "next_attempt_at": clock.iso_ms(row["due_ms"]) if is_waiting else None,
    }


def firing(row: Row) -> Firing:
    return Firing(**_firing(row))


def _attempt(row: Row) -> FiringAttempt:
    return FiringAttempt(
        attempt=row["attempt"],
        at=clock.iso_ms(row["at_ms"]),
        url=row["url"],
        status=row["status"],
        latency_ms=row["latency_ms"],
        # Whatever a partner's server sends is somebody else's text: no byte of it is left out.
        answer=row["answer"].decode("utf-8", "backslashreplace"),
        outcome=row["outcome"],
        code=row["code"],
        meaning=DELIVERY_CODES[row["code"]],
    )


def _decision(row: Row) -> PixelDecision:
    return PixelDecision(
        at=clock.iso_ms(row["at_ms"]),
        partner_id=ids.object_text("prt", row["partner"]),
        action_id=ids.event_text("act", row["action_id"]),
        pixel_id=ids.object_text("pxl", row["pixel"]) if row["pixel"] else None,
        code=row["code"],
        meaning=DECISION_CODES[row["code"]],
    )


def conversion_pixels(
    conversion_id: bytes,
    firings: Sequence[Row],
    attempts: Sequence[Row],
    decisions: Sequence[Row],
) -> ConversionPixels:
    by_event: dict[bytes, list[FiringAttempt]] = {}
    for row in attempts:
        by_event.setdefault(row["event_id"], []).append(_attempt(row))
    return ConversionPixels(
        conversion_id=ids.event_text("cnv", conversion_id),
        fired=len(firings),
        firings=[
            AttemptedFiring(**_firing(row), attempts_made=by_event.get(row["event_id"], []))
            for row in firings
        ],
        pixel_decisions=[_decision(row) for row in decisions],
    )
