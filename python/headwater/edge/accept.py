"""Waiting until an event is safe, but never past a deadline.

All waits of one queue have the same length, so they expire in the order they began: one timer
serves them all, where a timer and a future for each would cost more than the rest of the wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol


class Wait(Protocol):
    """What is waited for: a future, or what passes for one."""

    def done(self) -> bool: ...
    def set_exception(self, error: DeadlinePassed, /) -> None: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...


class DeadlinePassed(Exception):
    """The result of a wait whose deadline came first."""


class DeadlineQueue:
    """Gives futures `seconds` to get done.

    A future that is late is ended with DeadlinePassed. Whoever was to set its result finds it
    done and leaves it alone, as for a caller that went away.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, Wait]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, future: Wait) -> None:
        """`future` is done in time, or ends with DeadlinePassed; it must then be awaited."""
        loop = future.get_loop()
        until = loop.time() + self._seconds
        self._waiting.append((until, future))
        if self._timer is None:
            self._timer = loop.call_at(until, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        waiting = self._waiting
        while waiting and (waiting[0][0] <= now or waiting[0][1].done()):
            future = waiting.popleft()[1]
            if not future.done():
                future.set_exception(DeadlinePassed())
        self._timer = loop.call_at(waiting[0][0], self._expire, loop) if waiting else None
