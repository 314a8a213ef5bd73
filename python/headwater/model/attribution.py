"""How a program shares credit: the members of its `attribution`, and what the engine is told.

The members and what they do are described in docs/identity.md. Seconds are for people: the log
carries milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from headwater import limits

Model = Literal["last_click", "first_click", "linear", "position", "time_decay"]
TouchClass = Literal["exclusive_coupon", "click", "soft_click", "impression"]
ExplicitClick = Literal["wins", "candidate"]
OnConflict = Literal["last_auth", "isolate"]

CLASSES: Final[tuple[TouchClass, ...]] = ("exclusive_coupon", "click", "soft_click", "impression")
WHOLE_PPM: Final = 1_000_000

DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "model": "last_click",
        "position_ppm": [400_000, 200_000, 400_000],
        "half_life_seconds": 7 * 86_400,
        "class_order": list(CLASSES),
        # As long as the click window, whatever that is.
        "soft_click_window_seconds": None,
        "impression_window_seconds": 86_400,
        "explicit_click": "wins",
        "on_conflict": "last_auth",
        # As the model has it: true where credit is split.
        "per_partner_latest": None,
        "members_max": limits.PERSON_MEMBERS,
        "hops_max": limits.PERSON_HOPS,
        "neighbours_max": limits.PERSON_NEIGHBOURS,
    }
)
"""Every member of an `attribution`, as it is where nothing is said."""

_SECONDS: Final = "_seconds"


def completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """All members: those given, and the defaults of the others."""
    return {**DEFAULTS, **given}


def control_members(attribution: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine is told of an `attribution`; a member left open is not told."""
    told: dict[str, Any] = {}
    for name, value in attribution.items():
        if value is None:
            continue
        if name.endswith(_SECONDS):
            told[f"{name.removesuffix(_SECONDS)}_ms"] = value * 1000
        else:
            told[name] = value
    return told
