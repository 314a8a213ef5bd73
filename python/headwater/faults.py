"""Places where a fault test may end the process, in the middle of a step that must survive it.

`HEADWATER_FAULT=site:count` kills the process by SIGKILL when `site` is reached for the count-th
time; `HEADWATER_FAULT_SLOW=site:milliseconds` makes `site` take so long each time, so that what
may happen beside it does. Without the variables `reach` is two comparisons.
"""

from __future__ import annotations

import os
import signal

from headwater import clock

_site, _, _count = os.environ.get("HEADWATER_FAULT", "").partition(":")
_left = int(_count or 1) if _site else 0
_slow_site, _, _slow_ms = os.environ.get("HEADWATER_FAULT_SLOW", "").partition(":")


def reach(site: str) -> None:
    """Tarry or end the process here if the environment asks for it."""
    global _left
    if _slow_site and site == _slow_site:
        clock.sleep(int(_slow_ms) / 1000)
    if not _left or site != _site:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def panic_event() -> bytes | None:
    """The event id at which the engine is told to panic, or None."""
    text = os.environ.get("HEADWATER_FAULT_PANIC")
    return bytes.fromhex(text) if text else None
