"""Addresses: read in any form they come in, and what of one may be looked at further on."""

from __future__ import annotations

import functools
import ipaddress
import socket
from typing import NamedTuple

from headwater import limits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# An address of an IPv6 network at home changes daily in its lower half; the upper is the line's.
_LINE_BYTES = 8
_SITE_BYTES = 6
_V4_BYTES = 4
_MAPPED = bytes(10) + b"\xff\xff"


def parse_address(text: str) -> Address | None:
    """An address in any form a forwarded header uses: with a port, in brackets, with a zone."""
    text = text.strip()
    if len(text) > 64 or not text.isascii():
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


class Place(NamedTuple):
    """An address taken apart. It stays in the process: nothing but the prefix is recorded."""

    text: str
    version: int
    number: int
    prefix: str
    """The /24 or /48 it lies in."""
    line: bytes
    """What a digest covers: the address, of IPv6 its /64."""


@functools.lru_cache(maxsize=limits.ADDRESSES_REMEMBERED_MAX)
def place(text: str) -> Place | None:
    """The address in `text`, or None when there is none."""
    packed = _packed(text)
    if packed is None:
        address = parse_address(text)
        if address is None:
            return None
        packed = address.packed
    number = int.from_bytes(packed, "big")
    if len(packed) == _V4_BYTES:
        plain = socket.inet_ntop(socket.AF_INET, packed)
        return Place(plain, 4, number, f"{plain[: plain.rindex('.')]}.0/24", packed)
    plain = socket.inet_ntop(socket.AF_INET6, packed)
    network = socket.inet_ntop(socket.AF_INET6, packed[:_SITE_BYTES].ljust(len(packed), b"\0"))
    return Place(plain, 6, number, f"{network}/48", packed[:_LINE_BYTES])


def _packed(text: str) -> bytes | None:
    """The bytes of an address that is written plainly, as sockets and proxies do: a tenth of the
    cost of `parse_address`.
    """
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    return packed[len(_MAPPED) :] if packed.startswith(_MAPPED) else packed
