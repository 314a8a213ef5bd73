"""Browsers and the header fields they send, by how common they are."""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from headwater.model.records import Request


class Browser(NamedTuple):
    """One kind of browser on one kind of system."""

    agent: str
    brands: str | None
    """`Sec-CH-UA`, of browsers that send it."""
    platform: str | None
    is_mobile: bool


def _chrome(system: str, platform: str, major: int, *, is_mobile: bool = False) -> Browser:
    mobile = " Mobile" if is_mobile else ""
    return Browser(
        f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{major}.0.0.0{mobile} Safari/537.36",
        f'"Chromium";v="{major}", "Google Chrome";v="{major}", "Not?A_Brand";v="99"',
        f'"{platform}"',
        is_mobile,
    )


def _safari(system: str, version: str, *, is_mobile: bool = False) -> Browser:
    mobile = " Mobile/15E148" if is_mobile else ""
    return Browser(
        f"Mozilla/5.0 ({system}) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        f"Version/{version}{mobile} Safari/{604 if is_mobile else 605}.1.15",
        None,
        None,
        is_mobile,
    )


def _firefox(system: str, major: int) -> Browser:
    agent = f"Mozilla/5.0 ({system}; rv:{major}.0) Gecko/20100101 Firefox/{major}.0"
    return Browser(agent, None, None, False)


_WINDOWS: Final = "Windows NT 10.0; Win64; x64"
_MAC: Final = "Macintosh; Intel Mac OS X 10_15_7"
_LINUX: Final = "X11; Linux x86_64"
_PHONE: Final = "Linux; Android 10; K"
_NEWEST: Final = 145


def _all() -> list[tuple[Browser, float]]:
    found: list[tuple[Browser, float]] = []
    for age, share in enumerate((0.5, 0.25, 0.1, 0.06, 0.05, 0.04)):
        major = _NEWEST - age
        found += [
            (_chrome(_PHONE, "Android", major, is_mobile=True), 30 * share),
            (_chrome(_WINDOWS, "Windows", major), 22 * share),
            (_chrome(_MAC, "macOS", major), 6 * share),
            (_chrome(_LINUX, "Linux", major), 1.5 * share),
            (_firefox(_WINDOWS, major), 3 * share),
            (_firefox(_LINUX, major), 1 * share),
        ]
    for minor, share in ((6, 0.4), (5, 0.3), (4, 0.15), (1, 0.15)):
        phone = f"iPhone; CPU iPhone OS 18_{minor} like Mac OS X"
        found.append((_safari(phone, f"18.{minor}", is_mobile=True), 26 * share))
        found.append((_safari(_MAC, f"18.{minor}"), 7 * share))
    return found


BROWSERS: Final = _all()
RARE: Final = _chrome(_LINUX, "Linux", 118)
"""What a farm of machines has that was set up once and never renewed."""


def draw(random: Random) -> Browser:
    """One browser by its share of visitors."""
    (found,) = random.choices(
        [browser for browser, _ in BROWSERS], [share for _, share in BROWSERS]
    )
    return found


def request(
    random: Random,
    browser: Browser,
    *,
    dest: str = "document",
    mode: str = "navigate",
    purpose: str | None = None,
    is_clicked: bool = True,
) -> Request:
    """The header fields of a navigation, or of what else fetches a link."""
    is_chromium = browser.brands is not None
    # Redirects on the way to the link, and some apps, drop what tells of the tap.
    is_told = is_clicked and mode == "navigate" and random.random() < 0.9
    accepted = "image/avif,image/webp,*/*;q=0.8" if dest == "image" else "text/html,*/*;q=0.8"
    return Request(
        http_version=11,
        is_secure=True,
        fetch_dest=dest,
        fetch_mode=mode,
        fetch_site="cross-site",
        fetch_user="?1" if is_told else None,
        purpose=purpose,
        accept=accepted,
        accept_language="en-GB,en;q=0.9" if random.random() < 0.995 else None,
        agent_brands=browser.brands,
        agent_mobile=("?1" if browser.is_mobile else "?0") if is_chromium else None,
        agent_platform=browser.platform,
    )
