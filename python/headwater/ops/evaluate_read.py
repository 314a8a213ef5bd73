"""Labelled files, line by line: what cannot be used is counted and named, and stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from headwater import limits
from headwater.errors import HeadwaterError

_NAMED: Final = 5


class Line(NamedTuple):
    """One line, without its end; numbers begin at 1, as editors count."""

    number: int
    text: str


Progressed = Callable[[int], None]
"""Told how many bytes of the file were read since it was told last."""


def nobody(_size: int) -> None:
    """Nobody watches."""


@dataclass
class Faults:
    """The lines that could not be used."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)
    """Number of the line and what is wrong with it."""

    def add(self, number: int, why: str) -> None:
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append((number, why))

    def told(self) -> list[dict[str, object]]:
        """The first of them, for a report."""
        return [{"line": number, "fault": why} for number, why in self.first]


def lines(path: Path, faults: Faults, progressed: Progressed = nobody) -> Iterator[Line]:
    """The lines of a file that are not empty, in order; bytes that are no UTF-8 become U+FFFD.

    A line beyond the bound is a fault, and no more of it than the bound is ever held. Raises
    HeadwaterError when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(limits.EVALUATED_LINE_BYTES_MAX):
                number += 1
                size = len(raw)
                if size == limits.EVALUATED_LINE_BYTES_MAX and not raw.endswith(b"\n"):
                    faults.add(number, "longer than any such line")
                    while (rest := file.readline(limits.EVALUATED_LINE_BYTES_MAX)) and (
                        not rest.endswith(b"\n")
                    ):
                        size += len(rest)
                    size += len(rest)
                    raw = b""
                text = raw.decode("utf-8", "replace").rstrip("\r\n")
                if number == 1:
                    text = text.removeprefix("\ufeff")
                if text and not text.isspace():
                    yield Line(number, text)
                progressed(size)
    except OSError as error:
        raise HeadwaterError(f"{path}: {error.strerror}") from error


def require_good(path: Path, good: int, faults: Faults, wanted: str) -> None:
    """Raise HeadwaterError when a file had no line that could be used."""
    if good:
        return
    where = "; ".join(f"line {number}: {why}" for number, why in faults.first)
    raise HeadwaterError(f"{path}: no line is {wanted}" + (f" ({where})" if where else ""))
