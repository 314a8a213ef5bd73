"""A bar chart as SVG, on a logarithmic scale, for readers of light and of dark pages."""

from __future__ import annotations

import math
from html import escape

_WIDTH = 820
_LABELS_WIDTH = 280
_VALUES_WIDTH = 90
_ROW_HEIGHT = 26
_TOP = 46


def _short(value: float) -> str:
    """A number with three digits at most and its thousands or millions as a letter."""
    for limit, unit in ((1_000_000, "M"), (1000, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def bars(title: str, note: str, rows: list[tuple[str, float, bool]]) -> str:
    """Rows of name, value and whether it is one's own; the values are above zero."""
    room = _WIDTH - _LABELS_WIDTH - _VALUES_WIDTH
    lowest = 10.0 ** math.floor(math.log10(min(value for _, value, _ in rows)))
    highest = max(value for _, value, _ in rows)
    decades = math.log10(highest / lowest) or 1.0
    height = _TOP + _ROW_HEIGHT * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">',
        "<style>text{fill:#222}.o{fill:#1f6fb2}.p{fill:#9aa5b1}.g{stroke:#8888;stroke-width:.5}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}"
        ".o{fill:#5aa9e6}.p{fill:#66707a}}</style>",
        f'<text x="8" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    bottom = _TOP + _ROW_HEIGHT * len(rows)
    for decade in range(math.floor(decades) + 1):
        x = _LABELS_WIDTH + room * decade / decades
        parts.append(f'<line class="g" x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{bottom}"/>')
    for number, (name, value, is_own) in enumerate(rows):
        y = _TOP + _ROW_HEIGHT * number
        width = max(room * math.log10(value / lowest) / decades, 1.0)
        parts += [
            f'<text x="{_LABELS_WIDTH - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{"o" if is_own else "p"}" x="{_LABELS_WIDTH}" y="{y}" '
            f'width="{width:.1f}" height="18" rx="2"/>',
            f'<text x="{_LABELS_WIDTH + width + 6:.1f}" y="{y + 13}">{_short(value)}</text>',
        ]
    parts.append(f'<text x="8" y="{height - 8}" font-size="11">{escape(note)}</text>')
    return "\n".join([*parts, "</svg>", ""])
