"""Days and months of a time zone, and when an action locks and is paid.

Zones are those of the pinned package `tzdata`, never the machine's: the same log gives the same
lock times everywhere. Times are integer milliseconds of UTC.
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from headwater import limits

# Calendars end with the year 9999; what is later counts as the last moment a lock fits after.
_LAST_MS: Final = 252_000_000_000_000
_DAYS_OPEN: Final = limits.LOCK_DAYS_MAX


class Locking(NamedTuple):
    """When an action locks.

    `month_end`: `months` months and `days` days after the end of the month it was tracked in.
    `tracked`: `days` days after the end of the day it was tracked on. `never`: open-ended.
    """

    kind: Literal["month_end", "tracked", "never"]
    months: int
    days: int


class Payment(NamedTuple):
    """Paid `months` months and `days` days after the end of the month in which it locks."""

    months: int
    days: int


@functools.cache
def zone_names() -> frozenset[str]:
    """Every zone that is known."""
    listed = resources.files("tzdata").joinpath("zones").read_text("utf-8")
    return frozenset(listed.split())


@functools.lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    known = name if name in zone_names() else "UTC"
    path = resources.files("tzdata").joinpath("zoneinfo", *known.split("/"))
    with path.open("rb") as stored:
        return ZoneInfo.from_file(stored, key=known)


def day_of(at_ms: int, zone: str) -> date:
    """The day it is in `zone`, an IANA name; one that is not known counts as UTC."""
    seconds = max(0, min(at_ms, _LAST_MS)) // 1000
    return datetime.fromtimestamp(seconds, tz=_zone(zone)).date()


def month_of(at_ms: int, zone: str) -> date:
    """The first day of the month it is in `zone`."""
    return day_of(at_ms, zone).replace(day=1)


@functools.lru_cache(maxsize=4096)
def day_start_ms(day: date, zone: str) -> int:
    """The first moment of `day` in `zone`, or of the next day that `zone` has.

    Midnight itself where there is one, the first of two, and where clocks are put forward over
    midnight the moment after it.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=_zone(zone))
    start_ms, other_ms = _utc_ms(midnight), _utc_ms(midnight.replace(fold=1))
    if other_ms >= start_ms:
        return start_ms
    # Midnight is skipped: the clock is put forward somewhere between the two.
    while start_ms - other_ms > 1:
        middle_ms = (start_ms + other_ms) // 2
        if day_of(middle_ms, zone) < day:
            other_ms = middle_ms
        else:
            start_ms = middle_ms
    return start_ms


def _utc_ms(moment: datetime) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000


def _months_after(month: date, months: int) -> date:
    """The first day of the month that many months later."""
    count = month.year * 12 + month.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def _after_month_ms(at_ms: int, months: int, days: int, zone: str) -> int:
    end = _months_after(month_of(at_ms, zone), 1 + months)
    return day_start_ms(end + timedelta(days=days), zone)


def lock_at_ms(tracked_ms: int, locking: Locking, zone: str) -> int:
    """When an action tracked then is due to lock: the start of a day of `zone`.

    "0 months and 27 days after the end of the month" locks January's actions on 28 February, as
    the field counts. No action is open for longer than `LOCK_DAYS_MAX` days after the day it was
    tracked on, whatever the terms say.
    """
    next_day = day_of(tracked_ms, zone) + timedelta(days=1)
    open_end_ms = day_start_ms(next_day + timedelta(days=_DAYS_OPEN), zone)
    if locking.kind == "never":
        return open_end_ms
    if locking.kind == "tracked":
        due_ms = day_start_ms(next_day + timedelta(days=locking.days), zone)
    else:
        due_ms = _after_month_ms(tracked_ms, locking.months, locking.days, zone)
    return min(due_ms, open_end_ms)


def pay_at_ms(lock_ms: int, payment: Payment, zone: str) -> int:
    """When an action that locks then is due to be paid: the start of a day of `zone`."""
    return _after_month_ms(lock_ms, payment.months, payment.days, zone)
