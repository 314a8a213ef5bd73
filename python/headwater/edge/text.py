"""Text from strangers: cut to a bound, made safe to encode, judged for control characters."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]+")


def cut(text: str, bytes_max: int) -> str:
    """`text` in at most `bytes_max` bytes of UTF-8, whole characters, without lone surrogates.

    A header's undecodable bytes arrive as surrogates, which no encoder takes: they become "?".
    """
    if text.isascii():
        return text[:bytes_max]
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")


def bytes_count(text: str) -> int:
    """Length in bytes of UTF-8; lone surrogates count as one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def has_control(text: str) -> bool:
    """Whether `text` holds a C0 control character or DEL."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def is_plain(text: str) -> bool:
    """Whether `text` is printable ASCII and not empty: the grammar of ids that people compare."""
    return _PRINTABLE_ASCII.fullmatch(text) is not None
