"""Every row of what the features promise has a test named for it: `test_i3_...`, `test_p5_p16_...`.

Rows I0 to I14, I22 and I23 are those of tracking methods, P1 to P16 those of tracking links.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = (
    {f"i{number}" for number in (*range(15), 22, 23)} | {f"p{number}" for number in range(1, 17)}
)  # fmt: skip
_NAMED = re.compile(r"test((?:_[ip]\d+)+)_")


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
    strange = {row: tests for row, tests in named_rows().items() if row[0] in "ip"}
    known = ROWS | {f"i{number}" for number in range(15, 22)} | {"p17"}
    assert not strange.keys() - known
