"""What an answer means, and when a firing that failed is tried again."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from headwater import limits
from headwater.courier.egress import Answer

RETRIES_MS: Final = (
    5_000,
    30_000,
    120_000,
    600_000,
    3_600_000,
    21_600_000,
    86_400_000,
)
"""Pauses after the first attempt, the second and so on; after the last the firing is dead."""
JITTER_PPM: Final = 200_000
"""Each pause is drawn from this much below to this much above."""

DELIVERED, RETRY, FINAL = "delivered", "retry", "final"
"""Outcomes of an attempt."""

_RETRIED: Final = (408, 425, 429)
# Nothing that time would mend: the URL, or where its name leads.
_FINAL_CODES: Final = ("url_refused", "address_refused")


def outcome_of(answer: Answer) -> tuple[str, str]:
    """Outcome and code of an attempt."""
    status = answer.status
    if status is None:
        code = answer.code or "connection_lost"
        return (FINAL if code in _FINAL_CODES else RETRY), code
    if 200 <= status < 300:
        return DELIVERED, "delivered"
    if status in _RETRIED or status >= 500:
        return RETRY, "retry_status"
    if status == 410:
        return FINAL, "gone"
    if 300 <= status < 400:
        return FINAL, "redirect"
    return FINAL, "refused_status"


def pause_ms(attempts: int, retry_after: str | None, now_ms: int, jitter_ppm: int) -> int | None:
    """The pause after so many attempts; None when there is no further one.

    `retry_after` is the header's value: it may lengthen a pause, up to RETRY_AFTER_MS_MAX, and
    never shorten it. `jitter_ppm` is drawn between minus and plus JITTER_PPM.
    """
    if attempts > len(RETRIES_MS):
        return None
    pause = RETRIES_MS[attempts - 1]
    pause += pause * jitter_ppm // 1_000_000
    asked = _asked_ms(retry_after, now_ms) if retry_after else 0
    return max(pause, min(asked, limits.RETRY_AFTER_MS_MAX))


def _asked_ms(value: str, now_ms: int) -> int:
    """A Retry-After in seconds or as a date; 0 for anything else."""
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return int(text[:12]) * 1000
    try:
        moment = parsedate_to_datetime(text)
        return max(0, int(moment.timestamp()) * 1000 - now_ms)
    except (ValueError, TypeError, OverflowError, OSError):
        return 0
