"""Partner pixels: what a partner is told of what it earned, and every word said of that.

The types are those that the book decides with and the ledger keeps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from headwater import limits
from headwater.model.records import NUMBER_MAX, ClickBody, ConversionBody

COMMISSIONS: Final = {"sale": "cpa", "custom": "cpa", "lead": "cpl", "click": "cpc"}
"""Kind of event type to the commission its pixels are of."""

POSTBACK, IMAGE, IFRAME = "postback", "image", "iframe"
TYPES: Final = (POSTBACK, IMAGE, IFRAME)
MAIN: Final = "main"
UPSELL: Final = "upsell:"
ANY_UPSELL: Final = "upsell:*"
ANY_PROGRAM: Final = 0

NEVER_MS: Final = 2**62

NOT_FOR_SALES: Final = "do_not_fire_for_sales"
ALL_PARTIALS: Final = "fire_for_all_partials"
RULES: Final = (NOT_FOR_SALES, ALL_PARTIALS)

DECISION_CODES: Final = {
    "fired": "The pixel is fired.",
    "waiting_for_sale": "The lead may still become a sale; the pixel waits for its time.",
    "suppressed_sale": "The lead became a sale before the pixel's time.",
    "held": "The action waits for a manager; the pixel fires when it is approved.",
    "skipped_source_api": "A server reported the event, and only a browser fires this type.",
    "skipped_source_pixel": "An image reported the event, and its answer can carry no pixel.",
    "browser_gone": "The visitor's browser does not wait any more for a pixel of this type.",
    "consent_denied": "The visitor denied consent: no pixel is given to the browser.",
    "over_cap": "A cap of the terms is reached, so the action is not paid.",
    "url_too_long": "With its values filled in, the URL is longer than servers take.",
    "reversed": "The action was reversed before the pixel's time; it fires if the action is back.",
    "no_pixel": "The partner has no pixel for this program, commission and slot.",
    "less_specific": "Another pixel of the partner is more specific for the same slot.",
    "pixel_inactive": "The pixel was paused or deleted before its time.",
    "partner_inactive": "The partner was taken out of the program before the pixel's time.",
}
"""Why a pixel was fired for an action, or was not."""

DELIVERY_CODES: Final = {
    "delivered": "The partner's server answered 2xx.",
    "redirect": "The answer was a redirect, and none is followed.",
    "refused_status": "The answer was 4xx: it would be the same again.",
    "gone": "The answer was 410: nothing more is sent to this pixel.",
    "retry_status": "The answer was 408, 425, 429 or 5xx: it is tried again.",
    "timeout": "No whole answer within five seconds.",
    "connect_failed": "No connection to the partner's server.",
    "dns_failed": "The name of the partner's server has no address.",
    "tls_failed": "The server's certificate does not hold, or TLS failed.",
    "bad_answer": "What came back is no HTTP answer.",
    "connection_lost": "The connection broke before the answer.",
    "url_refused": "The URL is not one that may be asked.",
    "address_refused": "The name leads to an address that is not public.",
    "exhausted": "Every attempt of the schedule failed.",
    "too_old": "The firing waited longer than firings are kept for.",
    "endpoint_disabled": "The pixel is disabled: it answered 410, or failed for days.",
    "partner_inactive": "The partner was taken out of the program before it was sent.",
}
"""What came of an attempt to deliver, and why a firing is given up."""


class Pixel(NamedTuple):
    """A pixel as the log has it."""

    number: int
    partner: int
    program: int
    """0: every program the partner is in."""
    commission: str
    slot: str
    """`main`, `upsell:<product id>` or `upsell:*`."""
    type: str
    template: str
    rule: str | None
    """Of a lead's pixel alone."""
    delay_ms: int
    """How long a lead waits for its sale."""


class Earned(NamedTuple):
    """What the book's action is to partner pixels."""

    action_id: bytes
    brand: int
    program: int
    program_code: str
    partner: int
    event_type: int
    event_code: str
    event_kind: str
    conversion_id: bytes | None
    click_id: bytes | None
    """The click that is credited; None for a promo code's use and for clicks' own actions."""
    order_id: str | None
    line: str
    state: str
    is_held: bool
    """A manager has to approve it first."""
    is_test: bool
    is_over_cap: bool
    tracked_ms: int
    currency: str
    """Of the order."""
    order_minor: int
    payout_currency: str
    payout_minor: int


class Told(NamedTuple):
    """What a conversion's report and its click say. Absent in what clicks themselves earn."""

    accept_ms: int
    source: int
    """Of `model.records.Source`: who reported the event."""
    is_denied: bool
    is_first: bool
    """It is the conversion's first decision, which the reporter is answered with."""
    conversion: ConversionBody | None
    click: ClickBody | None
    click_ms: int | None


class Firing(NamedTuple):
    """A message to a partner, ready to be sent. `event_id` is the same however often it goes."""

    event_id: bytes
    brand: int
    program: int
    partner: int
    pixel: int
    action_id: bytes
    conversion_id: bytes | None
    type: str
    url: str
    is_test: bool
    at_ms: int
    """Log time at which it was due."""


class Lead(NamedTuple):
    """A firing that waits for its time: a sale of the same visitor cancels it until `due_ms`."""

    firing: Firing
    due_ms: int
    """`NEVER_MS`: nobody knows yet whether it is paid, and no time fires it."""
    order_id: str | None
    identifiers: tuple[tuple[int, bytes], ...]


class PixelDecision(NamedTuple):
    """Why a pixel was fired for an action, or was not. Pixel 0: the partner has none for it."""

    action_id: bytes
    pixel: int
    brand: int
    program: int
    partner: int
    conversion_id: bytes | None
    at_ms: int
    code: str
    """One of DECISION_CODES."""


def firing_id(action_id: bytes, pixel: int) -> bytes:
    """The event id that a partner knows one firing by: 16 bytes, from the log alone."""
    named = b"headwater firing\0" + action_id + pixel.to_bytes(8, "big")
    return hashlib.sha256(named).digest()[:16]


def slot_of_line(line: str) -> str:
    """The slot that an order's line fires: `main`, or that of its product."""
    return line if line.startswith(UPSELL) else MAIN


_LANE_BITS: Final = 40


def control_number(pixel: int, lane: int) -> int:
    """The number of a control record that one lane is told of a pixel of all programs: one for
    each lane, as what is committed is counted by it.
    """
    return (lane + 1) << _LANE_BITS | pixel


def pixel_of(number: int) -> int:
    """The pixel that a control record's number stands for."""
    return number & ((1 << _LANE_BITS) - 1)


def control_value(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the log is told of a pixel: all that decides, and no secret."""
    return {
        "partner": row["partner_id"],
        "program": row["program_number"],
        "commission": row["commission"],
        "slot": row["slot"],
        "type": row["type"],
        "template": row["template"],
        "rule": row["rule"],
        "delay_ms": row["delay_ms"],
        "status": row["status"],
    }


def read_pixel(number: int, value: Mapping[str, Any]) -> Pixel:
    """A pixel from the value of its control record. Raises KeyError or ValueError for none."""
    numbers = (number, value["partner"], value["program"], value["delay_ms"])
    texts = [value[name] for name in ("commission", "slot", "type", "template")]
    rule = value["rule"]
    if (
        any(type(each) is not int or not 0 <= each <= NUMBER_MAX for each in numbers)
        or not all(isinstance(each, str) for each in (*texts, rule or ""))
        or texts[2] not in TYPES
        or value["delay_ms"] > limits.LEAD_DELAY_MS_MAX
    ):
        raise ValueError("not a pixel")
    return Pixel._make((*numbers[:3], *texts, rule, value["delay_ms"]))


_PARAMETER: Final = re.compile(r"([?&;])([^=&;#]*)=[^&;#]*", re.ASCII)
_SECRET: Final = re.compile(
    r"token|secret|pass|pwd|sig|auth|cred|key|hash|hmac|jwt|(?<![a-z])pin(?![a-z])",
    re.IGNORECASE | re.ASCII,
)


def masked(url: str) -> str:
    """A URL as it is shown, or a tag with one: values of parameters that are named like secrets,
    however the name is written, are stars.
    """
    return _PARAMETER.sub(_masked, url)


def _masked(parameter: re.Match[str]) -> str:
    separator, name = parameter.groups()
    is_secret = _SECRET.search(unquote(name)) is not None
    return f"{separator}{name}=***" if is_secret else parameter[0]
