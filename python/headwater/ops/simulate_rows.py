"""Rows of one table of an engine's outcomes, without unpacking the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack


def rows_of(outcomes: bytes, table: str) -> Iterator[list[Any]]:
    """The rows of a table, in order; none where there is no such table."""
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=0)
    unpacker.feed(outcomes)
    for _ in range(unpacker.read_map_header()):
        if unpacker.unpack() != table:
            unpacker.skip()
            continue
        for _ in range(unpacker.read_array_header()):
            yield unpacker.unpack()
        return
