"""What both lanes count of the same requests, however their events end."""

from __future__ import annotations

from typing import Any

import pytest

from edge_tools import Running
from headwater.edge.meters import Meters
from headwater.errors import JournalError
from hot_pixels import HOT_PIXELS, OTHER_PIXELS
from hot_tools import HOT, OTHER
from lane_tools import Lanes, exchange, forgotten, lanes

__all__ = ["forgotten", "lanes"]

FULL = object()
REQUESTS = [*HOT.values(), *OTHER.values(), *HOT_PIXELS.values(), *OTHER_PIXELS.values()]


def counted(edge: Running, request: bytes) -> Any:
    """Every count that a request, and the last one of its exchange, adds to."""
    meters = edge.edge.meters
    Meters.flush(meters)
    exchange(edge.port, [request])
    seconds = {route: sum(row[:-1]) for route, row in meters._seconds.items()}
    kept = (meters._accepted, meters._unaccepted, meters._rejected, meters._refused)
    return [dict(counter) for counter in kept], seconds


@pytest.mark.parametrize("outcome", [True, JournalError("disk"), ValueError("?"), FULL])
def test_requests_are_counted_alike(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch, outcome: Any
) -> None:
    for edge in (lanes.ordinary, lanes.hot):
        monkeypatch.setattr(edge.writer, "full", outcome is FULL)
        monkeypatch.setattr(edge.writer, "outcome", True if outcome is FULL else outcome)
        # The edge's own flushes would put counts out of sight.
        monkeypatch.setattr(edge.edge.meters, "flush", lambda: None)
    for request in REQUESTS:
        assert counted(lanes.hot, request) == counted(lanes.ordinary, request), request
