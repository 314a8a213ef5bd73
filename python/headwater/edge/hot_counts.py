"""What is counted of the hot lane's requests, as the ordinary handlers count theirs."""

from __future__ import annotations

import logging
from typing import Final

from headwater.edge.accept import DeadlinePassed
from headwater.edge.meters import Meters
from headwater.errors import JournalError, JournalFull

log = logging.getLogger(__name__)

_CLICK: Final = "click"
_PIXEL: Final = "pixel"
ROUTES: Final = {_CLICK: "redirect", "conversion": _PIXEL, "rejection": _PIXEL}
"""The route of each kind of request."""


def refused(meters: Meters, reason: str, number: int) -> None:
    """So many reports by the pixel are recorded as rejections."""
    meters.rejected(_PIXEL, reason, number)


def not_safe(meters: Meters, kind: str, error: Exception, number: int) -> None:
    """So many events of a kind are answered without being safe."""
    if kind == _CLICK:
        is_logged = not isinstance(error, (DeadlinePassed, JournalFull))
        late_or_full = "deadline" if isinstance(error, DeadlinePassed) else "journal_full"
        meters.unaccepted("error" if is_logged else late_or_full, number)
    else:
        is_logged = not isinstance(error, (DeadlinePassed, JournalError))
        meters.rejected(_PIXEL, "internal_error" if is_logged else "unavailable", number)
    if is_logged:
        fields = {"kind": kind, "error": type(error).__name__}
        log.error("event not recorded", extra={"fields": fields})
