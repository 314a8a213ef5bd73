"""The ledger's state as the matcher writes it to a file, for when Redis cannot tell."""

from __future__ import annotations

import json
from pathlib import Path

from headwater import clock

FILE = "matcher.status"
# The matcher writes twice a second; six writes missed and it counts as gone.
STALE_MS = 3000
_LOOK_EVERY_S = 0.25


class LedgerWatch:
    """Whether decisions can be committed now, read from `run/matcher.status`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._looked_s = float("-inf")
        self._ok = False
        self._said = False

    @property
    def ok(self) -> bool:
        """False when the matcher is gone, or says that its ledger does not answer."""
        self._look()
        return self._ok

    @property
    def known_down(self) -> bool:
        """The file is there and tells of no working ledger. On a machine without a matcher there
        is no file, and whether a decision will come is not known.
        """
        self._look()
        return self._said and not self._ok

    def _look(self) -> None:
        now_s = clock.monotonic_s()
        if now_s - self._looked_s <= _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        try:
            status = json.loads(self._path.read_bytes())
            self._said = True
            self._ok = bool(status["ledger_ok"]) and clock.now_ms() - status["at_ms"] < STALE_MS
        except FileNotFoundError:
            self._said = self._ok = False
        except (OSError, ValueError, KeyError, TypeError):
            self._said, self._ok = True, False
