"""A flame graph as SVG: width is time, what calls stands below what it calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final
from zlib import crc32

_WIDTH: Final = 1180
_ROW: Final = 17
_TOP: Final = 34
# A letter's width; what does not fit is cut, and is whole in the title.
_LETTER: Final = 6.7
# Narrower frames cannot be seen, and there are thousands of them.
_SHARE_MIN: Final = 0.002
_DEPTH_MAX: Final = 60
_STYLE: Final = (
    "<style>text{font:11px monospace;fill:#111}.t{font:bold 15px sans-serif;fill:#222}"
    "rect{stroke:#fff8;stroke-width:.5}"
    "@media(prefers-color-scheme:dark){.t{fill:#ddd}rect{stroke:#0008}}</style>"
)


@dataclass
class _Node:
    count: int = 0
    children: dict[str, _Node] = field(default_factory=dict)


def _tree(stacks: Mapping[tuple[str, ...], int]) -> _Node:
    root = _Node()
    for names, count in stacks.items():
        root.count += count
        node = root
        for name in names[:_DEPTH_MAX]:
            node = node.children.setdefault(name, _Node())
            node.count += count
    return root


def _depth(node: _Node, least: float) -> int:
    inner = [_depth(child, least) for child in node.children.values() if child.count >= least]
    return 1 + max(inner, default=-1) if inner else 0


def _color(name: str) -> str:
    """The same for a name everywhere: the kernel's cold, Python's green, all others warm."""
    drawn = crc32(name.encode())
    hue = 205 if "kernel" in name else 100 if ".py)" in name or "Python" in name else 24
    return f"hsl({hue + drawn % 26},{55 + drawn // 26 % 25}%,{66 + drawn // 700 % 12}%)"


def svg(title: str, stacks: Mapping[tuple[str, ...], int]) -> str:
    """The graph, without scripts: a frame's title tells its name and share. Without a stack: an
    empty text."""
    root = _tree(stacks)
    if not root.count:
        return ""
    least = root.count * _SHARE_MIN
    depth = _depth(root, least)
    height = _TOP + _ROW * max(depth, 1) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}">',
        _STYLE,
        f'<text class="t" x="6" y="20">{escape(title)}</text>',
        *_drawn(root, 0.0, _WIDTH / root.count, height - 4 - _ROW, least, root.count),
        "</svg>\n",
    ]
    return "\n".join(lines)


def _drawn(node: _Node, x: float, scale: float, y: float, least: float, of: int) -> Iterator[str]:
    """The callees of a node, side by side from `x` on, with all above them."""
    for name, child in sorted(node.children.items()):
        width = child.count * scale
        if child.count >= least:
            said = escape(f"{name}: {child.count / of:.1%}")
            yield (
                f'<g><title>{said}</title><rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" '
                f'height="{_ROW - 1}" fill="{_color(name)}"/>'
            )
            fits = int((width - 6) / _LETTER)
            if fits > 3:
                shown = escape(name if len(name) <= fits else name[: fits - 1] + "…")
                yield f'<text x="{x + 3:.1f}" y="{y + 12:.0f}">{shown}</text>'
            yield "</g>"
            yield from _drawn(child, x, scale, y - _ROW, least, of)
        x += width
