"""The table of signals, read from the engine's source: what the extension has to give."""

from __future__ import annotations

import re
from pathlib import Path

_SOURCE = Path(__file__).parents[1] / "rust/engine/src/fraud/signals.rs"
_LINE = re.compile(
    r"(?P<name>\w+) = (?P<number>\d+), \"(?P<code>\w+)\", (?P<family>\w+), (?P<stage>\w+), "
    r"(?P<hardness>\w+), (?P<mode>\w+), (?P<weight>\d+),\s+(?P<low>\d+)\.\.(?P<high>\d+) "
    r"(?P<unit>\w+),\s+(?P<window>\d+),\s+\"(?P<meaning>(?:[^\"\\]|\\.|\\\n)*)\";"
)
Line = tuple[int, str, str, str, str, str, int, int, int, str, int, str]


def table() -> list[Line]:
    """Every line, in order."""
    text = _SOURCE.read_text("utf-8")
    return [
        (
            int(found["number"]),
            found["code"],
            found["family"].lower(),
            found["stage"].lower(),
            found["hardness"].lower(),
            found["mode"].lower(),
            int(found["weight"]),
            int(found["low"]),
            int(found["high"]),
            found["unit"].lower(),
            int(found["window"]),
            re.sub(r"\\\n\s*", "", found["meaning"]),
        )
        for found in _LINE.finditer(text)
    ]
