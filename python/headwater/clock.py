"""The only module that reads a clock; everything else is handed the time or asks here."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

ISO_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, with which calendars end."""


def now_ms() -> int:
    """Wall-clock time in integer milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Seconds from a clock that never steps back: for durations and deadlines only."""
    return time.monotonic()


def perf_ns() -> int:
    """Nanoseconds from the finest clock: for measuring latency only."""
    return time.perf_counter_ns()


def process_cpu_s() -> float:
    """CPU seconds this process has used, user and system."""
    return time.process_time()


def thread_cpu_s() -> float:
    """CPU seconds the calling thread has used, user and system."""
    return time.thread_time()


def sleep(seconds: float) -> None:
    """Block this thread. Only for code that owns its thread; coroutines use asyncio.sleep."""
    time.sleep(seconds)


def iso_ms(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, the form of every time the API emits.

    Raises ValueError beyond ISO_MS_MAX.
    """
    moment = datetime.fromtimestamp(at_ms // 1000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def parse_iso_ms(text: str) -> int:
    """Milliseconds of an RFC 3339 time with any offset.

    Raises ValueError when the text is not one, or names no offset: a time without an offset
    means a different moment to every reader.
    """
    if not text.isascii() or len(text) > 40:
        raise ValueError("not an RFC 3339 time")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or "T" not in text.upper().replace(" ", "T"):
        raise ValueError("an RFC 3339 time needs an offset")
    return round(moment.timestamp() * 1000)
