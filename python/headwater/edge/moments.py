"""Times in requests: RFC 3339 with an offset, neither long past nor ahead."""

from __future__ import annotations

import re

from headwater import clock, limits

_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
# Before this a time is seconds taken for milliseconds, or an unset clock.
EARLIEST_MS = 946_684_800_000


class MomentRefused(ValueError):
    """`code` is a reason: invalid or time_out_of_range."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def claimed_ms(text: str, now_ms: int) -> int:
    """Milliseconds of the caller's time. Raises MomentRefused.

    Numbers are refused: seconds, milliseconds and microseconds look alike.
    """
    if not _RFC_3339.fullmatch(text):
        raise MomentRefused("invalid")
    try:
        at_ms = clock.parse_iso_ms(text.upper())
    except (ValueError, OverflowError):
        raise MomentRefused("invalid") from None
    if not EARLIEST_MS <= at_ms <= now_ms + limits.FUTURE_MS_MAX:
        raise MomentRefused("time_out_of_range")
    return at_ms


def year_and_month(at_ms: int) -> tuple[int, int]:
    """The UTC year and month of a moment."""
    text = clock.iso_ms(at_ms)
    return int(text[:4]), int(text[5:7])
