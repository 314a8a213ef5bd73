"""docs/limits.md names every bound, and only bounds that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Units and multiples, which bound nothing by themselves.
UNITS = {"KIB", "MIB", "GIB", "MINUTE_MS", "HOUR_MS", "DAY_MS"}


def named_in_code() -> set[str]:
    python = (ROOT / "python/headwater/limits.py").read_text("utf-8")
    rust = (ROOT / "rust/engine/src/limits.rs").read_text("utf-8")
    names = set(re.findall(r"^([A-Z][A-Z_0-9]+): Final", python, re.MULTILINE))
    names |= set(re.findall(r"^pub const ([A-Z][A-Z_0-9]+):", rust, re.MULTILINE))
    return names - UNITS


def test_the_page_names_every_bound() -> None:
    page = (ROOT / "docs/limits.md").read_text("utf-8")
    on_page = set(re.findall(r"`([A-Z][A-Z_0-9]+)`", page))
    assert on_page == named_in_code()


def test_every_bound_is_used() -> None:
    code = "\n".join(
        path.read_text("utf-8")
        for folder, pattern in (("python", "*.py"), ("rust", "*.rs"))
        for path in (ROOT / folder).rglob(pattern)
        if path.name not in {"limits.py", "limits.rs"}
    )
    own = (ROOT / "python/headwater/limits.py").read_text("utf-8")
    own += (ROOT / "rust/engine/src/limits.rs").read_text("utf-8")
    unused = {
        name
        for name in named_in_code()
        if not re.search(rf"\b{name}\b", code) and len(re.findall(rf"\b{name}\b", own)) < 2
    }
    assert not unused
