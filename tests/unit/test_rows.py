"""Every row of what the features promise has a test named for it: `test_i3_...`, `test_p5_p16_...`.

Rows I0 to I23 are those of tracking methods and of clicks that are paid, P1 to P16 those of
tracking links, K1 to K24 those of partner pixels.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = {
    *(f"i{number}" for number in range(24)),
    *(f"p{number}" for number in range(1, 17)),
    *(f"k{number}" for number in range(1, 25)),
}
_NAMED = re.compile(r"test((?:_[ikp]\d+)+)_")


def named_rows() -> dict[str, list[str]]:
    """Row to the tests named for it."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match = _NAMED.match(node.name) if isinstance(node, ast.FunctionDef) else None
            for row in match[1].strip("_").split("_") if match else ():
                found.setdefault(row, []).append(f"{path.name}::{node.name}")
    return found


def test_every_row_has_a_test_named_for_it() -> None:
    found = named_rows()
    assert not ROWS - found.keys()


def test_no_test_is_named_for_a_row_that_is_none() -> None:
    strange = {row: tests for row, tests in named_rows().items() if row not in ROWS | {"p17"}}
    assert not strange
