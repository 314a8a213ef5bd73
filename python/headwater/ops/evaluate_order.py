"""Lines in order of time, whatever the size of the file: sorted in parts, then merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO, Final, NamedTuple

from headwater import limits
from headwater.errors import HeadwaterError

_SEPARATOR: Final = "\x1f"


class Timed(NamedTuple):
    """A line and its time; lines of one time keep the order of the file."""

    at_ms: int
    number: int
    text: str


class Order:
    """Notes whether times only rise."""

    def __init__(self) -> None:
        self._last_ms = -1
        self.first_ms = 0
        self.is_kept = True
        self.count = 0

    def look(self, at_ms: int) -> None:
        if not self.count:
            self.first_ms = at_ms
        self.first_ms = min(self.first_ms, at_ms)
        self.is_kept = self.is_kept and at_ms >= self._last_ms
        self._last_ms = at_ms
        self.count += 1


def ordered(lines: Iterable[Timed], order: Order) -> Iterator[Timed]:
    """The lines in order of time: as they come when `order` found them to be so, else sorted, in
    temporary files when they are many. Raises HeadwaterError when these cannot be written.
    """
    if order.is_kept:
        yield from lines
        return
    with ExitStack() as stack:
        parts: list[IO[str]] = []
        held: list[Timed] = []
        try:
            for line in lines:
                held.append(line)
                if len(held) == limits.EVALUATED_SORT_LINES:
                    parts.append(stack.enter_context(_written(sorted(held))))
                    held = []
            yield from heapq.merge(*map(_read, parts), sorted(held))
        except OSError as error:
            raise HeadwaterError(f"cannot sort the file: {error.strerror}") from error


def _written(lines: list[Timed]) -> IO[str]:
    file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115
    for at_ms, number, text in lines:
        file.write(f"{at_ms}{_SEPARATOR}{number}{_SEPARATOR}{text}\n")
    file.seek(0)
    return file


def _read(file: IO[str]) -> Iterator[Timed]:
    for line in file:
        at_ms, number, text = line.removesuffix("\n").split(_SEPARATOR, 2)
        yield Timed(int(at_ms), int(number), text)
