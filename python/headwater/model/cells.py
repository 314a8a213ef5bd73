"""Cells of tables that people open in a spreadsheet."""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER: Final = re.compile(r"-[0-9]+(\.[0-9]+)?")


def safe_cell(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: behind an apostrophe where it
    begins like one (OWASP, CSV injection) and is no plain number below zero.
    """
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
