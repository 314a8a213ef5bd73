"""Ranges of addresses, merged and sorted: is an address in the list?"""

from __future__ import annotations

import socket
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import chain

Range = tuple[int, int, int]
"""IP version, first address, last address."""

_BITS = {4: 32, 6: 128}
_MAPPED = 0xFFFF << 32
_V4_LAST = (1 << 32) - 1


def parse_range(text: str) -> Range | None:
    """A network, an address, or `first-last`; None for anything else.

    Bits behind a network's length are passed over, as firewalls do. An IPv4 address written in
    IPv6 counts as IPv4, which is what such a caller is looked up as.
    """
    head, slash, length = text.partition("/")
    if slash:
        start = _number(head)
        if start is None or not length.isdigit() or not length.isascii() or len(length) > 3:
            return None
        version, number = start
        free = _BITS[version] - int(length)
        if free < 0:
            return None
        first = number >> free << free
        return _plain(version, first, first | (1 << free) - 1)
    head, dash, tail = text.partition("-")
    start, end = _number(head.strip()), _number(tail.strip() if dash else head.strip())
    if start is None or end is None or start[0] != end[0] or start[1] > end[1]:
        return None
    return _plain(start[0], start[1], end[1])


def _number(text: str) -> tuple[int, int] | None:
    try:
        if ":" in text:
            return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):
        return None


def _plain(version: int, first: int, last: int) -> Range:
    if version == 6 and first >= _MAPPED and last <= _MAPPED + _V4_LAST:
        return 4, first - _MAPPED, last - _MAPPED
    return version, first, last


class Ranges:
    """A set of addresses. It is never changed, so threads may share it."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        # Both ends in one number: a hundred thousand pairs would make the collector of garbage
        # look at each, and every request wait for it.
        spans: dict[int, list[int]] = {4: [], 6: []}
        for version, first, last in ranges:
            spans[version].append(first << _BITS[version] | last)
        self._firsts: dict[int, list[int]] = {}
        self._lasts: dict[int, list[int]] = {}
        for version, found in spans.items():
            self._firsts[version], self._lasts[version] = _merged(found, _BITS[version])

    def __len__(self) -> int:
        """Ranges left after merging."""
        return sum(len(firsts) for firsts in self._firsts.values())

    def knows(self, version: int) -> bool:
        """Whether the list says anything of addresses of this IP version."""
        return bool(self._firsts[version])

    def holds(self, version: int, number: int) -> bool:
        """Whether an address is in the list."""
        at = bisect_right(self._firsts[version], number) - 1
        return at >= 0 and number <= self._lasts[version][at]

    def packed(self) -> tuple[bytes, bytes]:
        """First and last address of each range, one after the other, in the machine's byte order:
        of IPv4 4 bytes each, of IPv6 16.
        """
        ends = {
            version: chain.from_iterable(
                zip(self._firsts[version], self._lasts[version], strict=True)
            )
            for version in _BITS
        }
        return (
            array("I", ends[4]).tobytes(),
            b"".join(number.to_bytes(16, sys.byteorder) for number in ends[6]),
        )


def _merged(spans: list[int], bits: int) -> tuple[list[int], list[int]]:
    """First and last addresses of the fewest ranges that hold the same, in order."""
    firsts: list[int] = []
    lasts: list[int] = []
    every_bit = (1 << bits) - 1
    spans.sort()
    for span in spans:
        first, last = span >> bits, span & every_bit
        if lasts and first <= lasts[-1] + 1:
            if last > lasts[-1]:
                lasts[-1] = last
        else:
            firsts.append(first)
            lasts.append(last)
    return firsts, lasts
