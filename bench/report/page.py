"""A page as blocks, written as Markdown with pictures beside it, and as one HTML file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Listing:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    name: str
    """Of its file, without an ending."""
    says: str
    svg: str


Block = Heading | Paragraph | Listing | Table | Chart


def markdown(blocks: Iterable[Block]) -> str:
    return "\n\n".join(filter(None, map(_marked, blocks))) + "\n"


def _marked(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Listing(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(head, rows):
            ruled = "|".join("---" if at == 0 else "---:" for at in range(len(head)))
            lines = [_row(head), f"|{ruled}|", *map(_row, rows)]
            return "\n".join(lines)
        case Chart(name, says, svg):
            return f"![{says}]({name}.svg)" if svg else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:14px;margin:1rem 0;display:block;overflow-x:auto}
td,th{border:1px solid #8886;padding:.25rem .6rem;text-align:right}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}
"""


def html(title: str, blocks: Iterable[Block]) -> str:
    body = "\n".join(line for block in blocks for line in _html(block))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>\n'
        f"{body}\n</html>\n"
    )


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _html(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            yield f"<p>{_inline(text)}</p>"
        case Listing(items):
            yield "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Table(head, rows):
            yield "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
            for row in rows:
                yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            yield "</table>"
        case Chart(_, says, svg):
            if svg:
                yield f"<figure>{svg}<figcaption>{escape(says)}</figcaption></figure>"
