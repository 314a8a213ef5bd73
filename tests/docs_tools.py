"""Examples of the documentation, taken out of its pages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
_REQUEST = re.compile(r"\b(?:api|curl)\b|\bkey create\b|^[A-Z]+=\$\(")
_INLINE = re.compile(r"`((?:api|curl) [^`]+)`")


def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The page's fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)


def requests(page: str) -> list[str]:
    """The page's commands that ask a system something, those within its sentences included."""
    found: list[tuple[int, str]] = []
    whole = text(page)
    for match in re.finditer(r"^```sh\n(.*?)^```", whole, re.DOTALL | re.MULTILINE):
        found += [(match.start(), each) for each in _commands(match[1]) if _REQUEST.search(each)]
    found += [(match.start(), match[1]) for match in _INLINE.finditer(whole)]
    return [command for _at, command in sorted(found, key=lambda each: each[0])]


def _commands(block: str) -> list[str]:
    """Commands of a block: a line, and what a quote or a backslash carries on."""
    commands: list[str] = []
    pending = ""
    for line in block.splitlines():
        pending += line + "\n"
        if pending.count("'") % 2 or line.endswith("\\"):
            continue
        if pending.strip() and not pending.lstrip().startswith("#"):
            commands.append(pending.strip())
        pending = ""
    return commands
