"""Families of browsers, by how long they keep what a site stores: for reports of match rates."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "unknown"
# The first mark that is found decides: those that build on others stand before these.
_MARKS: Final = (
    ("FBAN/", "in_app"),
    ("FBAV/", "in_app"),
    ("Instagram ", "in_app"),
    ("musical_ly_", "in_app"),
    ("BytedanceWebview/", "in_app"),
    ("Snapchat/", "in_app"),
    ("Pinterest/", "in_app"),
    ("MicroMessenger/", "in_app"),
    ("GSA/", "in_app"),
    ("; wv)", "in_app"),
    ("SamsungBrowser/", "samsung"),
    ("EdgiOS/", "ios_other"),
    ("FxiOS/", "ios_other"),
    ("CriOS/", "ios_other"),
    ("OPiOS/", "ios_other"),
    ("OPT/", "ios_other"),
    ("DuckDuckGo/", "other"),
    ("Edg/", "edge"),
    ("EdgA/", "edge"),
    ("OPR/", "opera"),
    ("Firefox/", "firefox"),
    ("Chrome/", "chrome"),
)
_APPLE: Final = ("iPhone", "iPad", "iPod", "Macintosh")


def family(user_agent: str | None) -> str:
    """`safari`, `ios_other` (every other browser there runs on Safari's engine, under its rules),
    `chrome`, `edge`, `firefox`, `samsung`, `opera`, `in_app`, `other`; `unknown` where no user
    agent was kept, or its class alone.
    """
    if not user_agent or "/" not in user_agent:
        return UNKNOWN
    for mark, name in _MARKS:
        if mark in user_agent:
            return name
    if not any(system in user_agent for system in _APPLE) or "AppleWebKit/" not in user_agent:
        return "other"
    # An app's own view of a page names no browser.
    return "safari" if "Version/" in user_agent and "Safari/" in user_agent else "in_app"
