"""The matcher's heartbeat in a file: an edge of this host reads it while Redis is away."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from headwater import clock

FILE = "matcher.status"
EVERY_S = 0.5
# A ledger call that takes longer than this counts as a ledger that is down.
STALLED_S = 2.0


class Heartbeat:
    """A thread that writes `run/matcher.status` twice a second until stopped.

    The matcher says when a ledger call begins and how it ended; a call that hangs is seen from
    here, since the thread goes on while the matcher waits.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._ledger_ok = False
        self._calling_since: float | None = None
        self._stopped = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop and remove the file: an edge then takes the ledger for down."""
        self._stopped = True
        self._wake.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def calling(self) -> None:
        """A ledger call begins."""
        self._calling_since = clock.monotonic_s()

    def called(self, ok: bool) -> None:
        """The ledger call ended, well or not."""
        self._calling_since = None
        if ok != self._ledger_ok:
            self._ledger_ok = ok
            self._wake.set()

    @property
    def ledger_ok(self) -> bool:
        since = self._calling_since
        return self._ledger_ok and (since is None or clock.monotonic_s() - since < STALLED_S)

    def facts(self) -> dict[str, Any]:
        return {"ledger_ok": self.ledger_ok, "at_ms": clock.now_ms(), "pid": os.getpid()}

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            partial = self._path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(self.facts()), "utf-8")
            partial.replace(self._path)
            self._wake.wait(EVERY_S)
