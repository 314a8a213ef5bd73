"""Bodies: JSON and MessagePack, strictly, with numbers as they were written.

Refused before anything is made of them: nesting beyond the limit, a key named twice, NaN and
Infinity, text that is no Unicode, anything behind the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgpack

from headwater import limits
from headwater.errors import RequestRefused

# An int of at most this many digits fits 64 bits; a longer one is kept as text.
_INT_DIGITS = 18
# One that is not closed goes to the end: were it no match, each quote in it would be tried anew.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class Number:
    """A number of a JSON body that is no ordinary int: its text, as written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "Number"


class _DuplicateKey(ValueError):
    pass


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8. Numbers with a point or exponent come as `Number`.

    Raises RequestRefused: malformed_body or duplicate_key.
    """
    if too_deep(raw):
        raise RequestRefused("malformed_body", "The nesting is unbalanced or too deep.")
    try:
        value = _json_decoder.decode(raw.decode("utf-8"))
        if _SURROGATE_ESCAPE.search(raw):
            # A pair of escapes is a character; half a pair is none, and no encoder takes it.
            json.dumps(value, ensure_ascii=False, default=repr).encode("utf-8")
    except _DuplicateKey:
        raise RequestRefused("duplicate_key", "An object names a key twice.") from None
    except (ValueError, RecursionError):
        raise RequestRefused("malformed_body", "The body is not well-formed JSON.") from None
    return value


def parse_msgpack(raw: bytes) -> Any:
    """The value of a MessagePack body. Floats come as float: no money is read from them.

    Raises RequestRefused: malformed_body or duplicate_key.
    """
    try:
        value = msgpack.unpackb(
            raw,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_object,
            ext_hook=_no_extension,
        )
        _bounded(value)
    except _DuplicateKey:
        raise RequestRefused("duplicate_key", "A map names a key twice.") from None
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise RequestRefused("malformed_body", "The body is not one MessagePack value.") from None
    return value


def too_deep(raw: bytes) -> bool:
    """Whether brackets outside strings nest deeper than the limit, or do not pair up."""
    if raw.count(b"[") + raw.count(b"{") <= limits.JSON_DEPTH_MAX:
        return False
    brackets = _STRINGS.sub(b"", raw).translate(None, _NOT_BRACKETS)
    for _ in range(limits.JSON_DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _object(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    listed = list(pairs)
    value = dict(listed)
    if len(value) != len(listed):
        raise _DuplicateKey
    return value


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _INT_DIGITS else Number(text)


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def _no_extension(_code: int, _data: bytes) -> None:
    raise ValueError("extension types are not taken")


def _bounded(value: Any, depth: int = 0) -> None:
    if depth > limits.JSON_DEPTH_MAX:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                raise ValueError("a key is a text")
            _bounded(member, depth + 1)
    elif isinstance(value, list):
        for member in value:
            _bounded(member, depth + 1)


_json_decoder = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=Number,
    parse_int=_integer,
    parse_constant=_no_constant,
)
