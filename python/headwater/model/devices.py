"""Kinds of devices, and their systems, told by the user agent."""

from __future__ import annotations

from typing import Final

from headwater import _core, limits

IOS, ANDROID, MOBILE, DESKTOP = "ios", "android", "mobile", "desktop"
DEVICES: Final = (DESKTOP, IOS, ANDROID, MOBILE)
"""`mobile`: one that is neither of the two before."""


_SYSTEMS: Final = (
    ("chromeos", ("cros ",)),
    ("windows", ("windows",)),
    ("macos", ("macintosh", "mac os x")),
    ("linux", ("linux", "x11;")),
)


def device_of(user_agent: str) -> str:
    """One of DEVICES; empty for an empty user agent."""
    return _core.device_of(user_agent[: limits.USER_AGENT_BYTES_MAX])


def system_of(user_agent: str) -> str | None:
    """`ios`, `android`, `chromeos`, `windows`, `macos`, `linux`; None for one that is not told."""
    device = device_of(user_agent)
    if device in (IOS, ANDROID):
        return device
    lower = user_agent[: limits.USER_AGENT_BYTES_MAX].lower()
    return next((name for name, marks in _SYSTEMS if any(mark in lower for mark in marks)), None)
