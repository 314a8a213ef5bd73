"""When actions lock and are paid, in days of the program's time zone."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import clock, limits
from headwater.book.calendar import (
    Locking,
    Payment,
    day_of,
    day_start_ms,
    lock_at_ms,
    month_of,
    pay_at_ms,
    zone_names,
)
from terms_tools import DAY_MS

MINUTE_MS = 60_000
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
]


def ms(text: str) -> int:
    return clock.parse_iso_ms(text)


def lock(tracked: str, locking: Locking, zone: str = "UTC") -> str:
    return clock.iso_ms(lock_at_ms(ms(tracked), locking, zone))


def month_end(months: int, days: int) -> Locking:
    return Locking("month_end", months, days)


def tracked(days: int) -> Locking:
    return Locking("tracked", 0, days)


NEVER = Locking("never", 0, 0)


def test_i20_january_locks_on_28_february_and_is_paid_in_march() -> None:
    """I20, the field's example: 27 days after the end of the month; paid 20 days after the end of
    the month they lock in.
    """
    lock_ms = lock_at_ms(ms("2026-01-15T12:00:00Z"), month_end(0, 27), "UTC")
    assert clock.iso_ms(lock_ms) == "2026-02-28T00:00:00.000Z"
    paid_ms = pay_at_ms(lock_ms, Payment(0, 20), "UTC")
    assert clock.iso_ms(paid_ms) == "2026-03-21T00:00:00.000Z"


def test_i20_thirty_days_after_the_end_of_the_day_they_are_tracked() -> None:
    """I20, the field's example of CPC terms."""
    assert lock("2026-01-31T23:59:59.999Z", tracked(30)) == "2026-03-03T00:00:00.000Z"
    assert lock("2026-02-01T00:00:00.000Z", tracked(30)) == "2026-03-04T00:00:00.000Z"
    assert lock("2026-02-01T00:00:00.000Z", tracked(0)) == "2026-02-02T00:00:00.000Z"


@pytest.mark.parametrize(
    ("at", "months", "days", "locks"),
    [
        ("2026-01-31T23:59:59.999Z", 1, 0, "2026-03-01"),
        ("2024-01-31T12:00:00Z", 1, 0, "2024-03-01"),
        ("2024-02-29T12:00:00Z", 0, 0, "2024-03-01"),
        ("2024-01-31T12:00:00Z", 0, 28, "2024-02-29"),
        ("2026-01-31T12:00:00Z", 0, 28, "2026-03-01"),
        ("2026-12-31T12:00:00Z", 0, 0, "2027-01-01"),
        ("2026-12-01T00:00:00Z", 12, 0, "2028-01-01"),
        ("2026-08-31T12:00:00Z", 1, 0, "2026-10-01"),
    ],
)
def test_across_month_ends_and_leap_days(at: str, months: int, days: int, locks: str) -> None:
    assert lock(at, month_end(months, days)) == f"{locks}T00:00:00.000Z"


def test_a_month_ends_where_the_program_is() -> None:
    at = "2026-02-01T03:00:00Z"
    assert lock(at, month_end(0, 0), "America/New_York") == "2026-02-01T05:00:00.000Z"
    assert lock(at, month_end(0, 0), "Europe/Berlin") == "2026-02-28T23:00:00.000Z"
    assert lock(at, month_end(1, 0), "Europe/Berlin") == "2026-03-31T22:00:00.000Z"


def test_days_on_which_clocks_are_moved() -> None:
    at = "2026-03-28T12:00:00Z"
    assert lock(at, tracked(0), "Europe/Berlin") == "2026-03-28T23:00:00.000Z"
    assert lock(at, tracked(1), "Europe/Berlin") == "2026-03-29T22:00:00.000Z"
    assert lock("2026-10-24T12:00:00Z", tracked(1), "Europe/Berlin") == "2026-10-25T23:00:00.000Z"


def test_a_day_without_midnight_begins_when_the_clock_is_put_forward() -> None:
    # Cairo: 24 April 2026, from 00:00 to 01:00. Sao Paulo: 4 November 2018.
    assert clock.iso_ms(day_start_ms(date(2026, 4, 24), "Africa/Cairo")) == (
        "2026-04-23T22:00:00.000Z"
    )
    assert clock.iso_ms(day_start_ms(date(2018, 11, 4), "America/Sao_Paulo")) == (
        "2018-11-04T03:00:00.000Z"
    )


def test_a_midnight_that_comes_twice_counts_the_first_time() -> None:
    # Havana puts its clock back from 01:00 to 00:00.
    assert clock.iso_ms(day_start_ms(date(2026, 11, 1), "America/Havana")) == (
        "2026-11-01T04:00:00.000Z"
    )


def test_a_day_that_a_place_never_had_begins_with_the_next() -> None:
    skipped = day_start_ms(date(2011, 12, 30), "Pacific/Apia")
    assert skipped == day_start_ms(date(2011, 12, 31), "Pacific/Apia")
    assert clock.iso_ms(skipped) == "2011-12-30T10:00:00.000Z"


def test_what_is_open_ended_locks_after_two_years() -> None:
    assert limits.LOCK_DAYS_MAX == 730
    assert lock("2026-01-01T12:00:00Z", NEVER) == "2028-01-02T00:00:00.000Z"
    at_the_bound = tracked(730)
    assert lock("2026-01-01T12:00:00Z", at_the_bound) == "2028-01-02T00:00:00.000Z"
    one_past = tracked(731)
    assert lock("2026-01-01T12:00:00Z", one_past) == "2028-01-02T00:00:00.000Z"
    assert lock("2026-01-01T12:00:00Z", month_end(24, 0)) == "2028-01-02T00:00:00.000Z"
    assert lock("2026-01-31T12:00:00Z", month_end(23, 0)) == "2028-01-01T00:00:00.000Z"


def test_a_change_of_zone_moves_new_actions_alone() -> None:
    """Due times are worked out when an action is made and kept: the function has no state."""
    at, locking = "2026-05-10T23:30:00Z", tracked(7)
    before = lock(at, locking, "UTC")
    assert lock(at, locking, "Asia/Tokyo") != before
    assert lock(at, locking, "UTC") == before


def test_zones_are_those_of_the_package_and_no_path_leaves_it() -> None:
    assert "Europe/Berlin" in zone_names()
    at_ms = ms("2026-02-01T03:00:00Z")
    for odd in ("", "Mars/Base", "../../../../etc/passwd", "/etc/localtime", "Europe", "UTC\0"):
        assert day_of(at_ms, odd) == day_of(at_ms, "UTC")


def test_times_no_calendar_holds_are_no_error() -> None:
    for at_ms in (-1, 0, 253_402_300_800_000, 2**48 - 1, 2**63):
        for zone in ("UTC", "Pacific/Kiritimati", "America/New_York"):
            lock_ms = lock_at_ms(at_ms, NEVER, zone)
            pay_at_ms(lock_ms, Payment(24, 730), zone)


# ---- Laws ------------------------------------------------------------------------------------


@given(
    st.dates(date(2006, 1, 2), date(2020, 12, 30)),
    st.sampled_from(ZONES),
)
def test_a_day_begins_at_the_first_minute_that_shows_it(day: date, zone: str) -> None:
    """The oracle looks at every minute of three days, of years the machine's own zones know."""
    start_ms = day_start_ms(day, zone)
    place = ZoneInfo(zone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo("UTC"))
    first_ms = int(noon.timestamp()) * 1000 - 36 * 60 * MINUTE_MS
    for at_ms in range(first_ms, first_ms + 3 * DAY_MS, MINUTE_MS):
        if datetime.fromtimestamp(at_ms // 1000, tz=place).date() >= day:
            assert start_ms == at_ms
            return
    raise AssertionError("the day never came")


@given(
    st.integers(ms("2006-01-01T00:00:00Z"), ms("2037-01-01T00:00:00Z")),
    st.sampled_from(ZONES),
    st.one_of(
        st.builds(month_end, st.integers(0, 24), st.integers(0, 730)),
        st.builds(tracked, st.integers(0, 730)),
        st.just(NEVER),
    ),
)
def test_an_action_locks_after_its_day_at_the_start_of_one_and_within_two_years(
    at_ms: int, zone: str, locking: Locking
) -> None:
    lock_ms = lock_at_ms(at_ms, locking, zone)
    assert day_of(lock_ms, zone) > day_of(at_ms, zone)
    assert day_of(lock_ms - 1, zone) < day_of(lock_ms, zone)
    assert lock_ms <= at_ms + (limits.LOCK_DAYS_MAX + 3) * DAY_MS
    if locking.kind == "month_end":
        assert month_of(lock_ms, zone) > month_of(at_ms, zone)
    pay_ms = pay_at_ms(lock_ms, Payment(0, 0), zone)
    assert pay_ms > lock_ms


@given(
    st.integers(ms("2020-01-01T00:00:00Z"), ms("2030-01-01T00:00:00Z")),
    st.integers(0, 3 * DAY_MS),
    st.sampled_from(ZONES),
    st.integers(0, 40),
)
def test_what_is_tracked_later_does_not_lock_before(
    at_ms: int, later_ms: int, zone: str, days: int
) -> None:
    for locking in (tracked(days), month_end(1, days), NEVER):
        before = lock_at_ms(at_ms, locking, zone)
        assert before <= lock_at_ms(at_ms + later_ms, locking, zone)


def test_one_day_after_another() -> None:
    for zone in ZONES:
        day = date(2026, 1, 1)
        for _ in range(366):
            start_ms = day_start_ms(day, zone)
            assert day_of(start_ms, zone) == day
            assert day_of(start_ms - 1, zone) == day - timedelta(days=1)
            day += timedelta(days=1)
