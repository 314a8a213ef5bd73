"""Exports: rows as CSV or as JSON lines, written while they are read."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headwater.console.answers import Answer
from headwater.model.cells import safe_cell

CSV: Final = "text/csv; charset=utf-8; header=present"
JSON_LINES: Final = "application/jsonl"
CONTENT_TYPES: Final = ("text/csv", JSON_LINES)
"""What an export may come as."""

Page = Sequence[Mapping[str, Any]]


def answer(columns: Sequence[str], pages: AsyncIterator[Page], kind: str, name: str) -> Answer:
    """Rows as a file of that name: `csv`, or `jsonl`. An error on the way ends the connection
    without the end of the body, so nobody takes a part for the whole.
    """
    is_csv = kind == "csv"
    return Answer(
        _csv(columns, pages) if is_csv else _json_lines(columns, pages),
        headers={"Content-Disposition": f'attachment; filename="{name}.{kind}"'},
        content_type=CSV if is_csv else JSON_LINES,
    )


async def _csv(columns: Sequence[str], pages: AsyncIterator[Page]) -> AsyncIterator[bytes]:
    """As RFC 4180 has it: a head, CRLF after each row, quotes where they are needed."""
    yield _lines([columns])
    async for page in pages:
        yield _lines([_cell(row.get(name)) for name in columns] for row in page)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return safe_cell(value) if isinstance(value, str) else value


async def _json_lines(columns: Sequence[str], pages: AsyncIterator[Page]) -> AsyncIterator[bytes]:
    encode = msgspec.json.encode
    async for page in pages:
        yield b"".join(encode({name: row.get(name) for name in columns}) + b"\n" for row in page)
