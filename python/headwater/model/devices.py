"""Kinds of devices, and their systems, told by the user agent."""

from __future__ import annotations

import functools
from typing import Final

from headwater import limits

IOS, ANDROID, MOBILE, DESKTOP = "ios", "android", "mobile", "desktop"
DEVICES: Final = (DESKTOP, IOS, ANDROID, MOBILE)
"""`mobile`: one that is neither of the two before."""

_MARKS: Final = ((IOS, ("iphone", "ipad", "ipod")), (ANDROID, ("android",)))
_MOBILE: Final = ("mobile", "phone", "tablet")


_SYSTEMS: Final = (
    *_MARKS,
    ("chromeos", ("cros ",)),
    ("windows", ("windows",)),
    ("macos", ("macintosh", "mac os x")),
    ("linux", ("linux", "x11;")),
)


@functools.lru_cache(maxsize=limits.AGENTS_REMEMBERED_MAX)
def device_of(user_agent: str) -> str:
    """One of DEVICES."""
    lower = user_agent[: limits.USER_AGENT_BYTES_MAX].lower()
    for name, marks in _MARKS:
        if any(mark in lower for mark in marks):
            return name
    return MOBILE if any(mark in lower for mark in _MOBILE) else DESKTOP


@functools.lru_cache(maxsize=limits.AGENTS_REMEMBERED_MAX)
def system_of(user_agent: str) -> str | None:
    """`ios`, `android`, `chromeos`, `windows`, `macos`, `linux`; None for one that is not told."""
    lower = user_agent[: limits.USER_AGENT_BYTES_MAX].lower()
    return next((name for name, marks in _SYSTEMS if any(mark in lower for mark in marks)), None)
