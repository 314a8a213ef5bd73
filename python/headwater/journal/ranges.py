"""Sets of sequence numbers kept as inclusive ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence


class RangeSet:
    """Whole numbers as sorted, disjoint, non-touching ranges [low, high].

    Sequences arrive nearly in order, so a set of millions is one or two ranges.
    """

    __slots__ = ("_highs", "_lows")

    def __init__(self, ranges: Iterable[Sequence[int]] = ()) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []
        for low, high in ranges:
            self.add(low, high)

    def add(self, low: int, high: int) -> None:
        """Put every number from low to high, both included, into the set."""
        lows, highs = self._lows, self._highs
        if highs and low == highs[-1] + 1:
            highs[-1] = high
            return
        if not highs or low > highs[-1]:
            lows.append(low)
            highs.append(high)
            return
        # Ranges that overlap [low, high] or touch it become one.
        start = bisect_left(highs, low - 1)
        end = bisect_right(lows, high + 1)
        if start < end:
            low = min(low, lows[start])
            high = max(high, highs[end - 1])
        lows[start:end] = [low]
        highs[start:end] = [high]

    def update(self, other: RangeSet) -> None:
        for low, high in other:
            self.add(low, high)

    def covers(self, low: int, high: int) -> bool:
        """Whether every number from low to high is in the set."""
        at = bisect_left(self._highs, low)
        return at < len(self._lows) and self._lows[at] <= low and high <= self._highs[at]

    def covers_all(self, other: RangeSet) -> bool:
        return all(self.covers(low, high) for low, high in other)

    def copy(self) -> RangeSet:
        twin = RangeSet()
        twin._lows, twin._highs = self._lows.copy(), self._highs.copy()
        return twin

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._lows, self._highs, strict=True)

    def __len__(self) -> int:
        """Number of ranges, not of numbers."""
        return len(self._lows)

    def __bool__(self) -> bool:
        return bool(self._lows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._lows == other._lows and self._highs == other._highs

    __hash__ = None  # type: ignore[assignment]  # a mutable set

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"
