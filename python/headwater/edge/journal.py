"""Handing records to the journal."""

from __future__ import annotations

import asyncio

from headwater import _core, limits
from headwater.edge.context import Edge
from headwater.errors import RequestRefused


def submit(edge: Edge, brand: int, record: bytes) -> asyncio.Future[bool]:
    """Give a record to the brand's lane. The future: see the journal's writer.

    Each record is judged alone first, as one that the format does not allow would take every
    other record of its frame down with it. Raises JournalFull; RequestRefused for a record that
    is too large; FrameError for one that should not have been made.
    """
    if len(record) > limits.RECORD_BYTES_MAX:
        raise RequestRefused("body_too_large", "The event is larger than the log takes.")
    _core.validate_record(record)
    return edge.writer.submit(edge.table.partition(brand), record)
