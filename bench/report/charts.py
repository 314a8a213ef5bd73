"""Charts as SVG, for readers of light and of dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

_WIDTH = 820
_HEIGHT = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 40, 78
_ROW_HEIGHT = 30
_LABELS_WIDTH = 210
_LIGHT = ("#1f6fb2", "#d1662a", "#3a8f5c", "#8a5fb0", "#b03a48", "#7a7a2a", "#4b8b9b", "#9a6b4f")
_DARK = ("#5aa9e6", "#f0935b", "#6cc490", "#b795dc", "#e07886", "#c2c25e", "#86c5d4", "#cfa185")


class Line(NamedTuple):
    """One series; x rises."""

    name: str
    points: Sequence[tuple[float, float]]


class Mark(NamedTuple):
    """A moment worth a word."""

    x: float
    text: str


class Bar(NamedTuple):
    """One row of stacked parts."""

    name: str
    parts: Sequence[tuple[str, float]]


def short(value: float) -> str:
    """A number with three digits at most and its thousands or millions as a letter."""
    for limit, unit in ((1_000_000, "M"), (1000, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _style() -> str:
    def rules(colors: Sequence[str]) -> str:
        return "".join(
            f".f{at}{{fill:{color}}}.l{at}{{stroke:{color};fill:none;stroke-width:1.6}}"
            for at, color in enumerate(colors)
        )

    return (
        f"<style>text{{fill:#222}}.g{{stroke:#8886;stroke-width:.6}}"
        f".m{{stroke:#c33;stroke-dasharray:4 3}}{rules(_LIGHT)}"
        f"@media(prefers-color-scheme:dark){{text{{fill:#ddd}}{rules(_DARK)}}}</style>"
    )


def _opened(title: str, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        _style(),
        f'<text x="8" y="20" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]


def _legend(names: Sequence[str], y: float) -> Iterator[str]:
    x = 8.0
    for at, name in enumerate(names):
        width = 26 + 7 * len(name)
        if x + width > _WIDTH:
            x, y = 8.0, y + 16
        color = at % len(_LIGHT)
        yield f'<rect class="f{color}" x="{x:.0f}" y="{y - 9:.0f}" width="11" height="11"/>'
        yield f'<text x="{x + 15:.0f}" y="{y:.0f}">{escape(name)}</text>'
        x += width


def _steps(highest: float) -> list[float]:
    """Round numbers from zero up."""
    rough = highest / 5 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    return [step * number for number in range(int(highest / step) + 1)]


def _decades(lowest: float, highest: float) -> list[float]:
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def lines(
    title: str,
    series: Sequence[Line],
    *,
    x_says: str,
    y_says: str,
    is_log: bool = False,
    marks: Sequence[Mark] = (),
) -> str:
    """Lines over a common x, y linear from zero or logarithmic. Without a point: an empty text."""
    shown = [line for line in series if line.points]
    if not shown:
        return ""
    xs = [x for line in shown for x, _ in line.points]
    ys = [y for line in shown for _, y in line.points if y > 0 or not is_log] or [1.0]
    rungs = _decades(min(ys), max(ys)) if is_log else _steps(max(*ys, 1e-9) * 1.05)
    low, high = (rungs[0], rungs[-1]) if is_log else (0.0, max(max(ys) * 1.05, rungs[-1]))
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    x_high = max(xs) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        share = math.log(max(y, low) / low) / math.log(high / low) if is_log else y / high
        return _LEFT + wide * x / x_high, _TOP + tall * (1 - share)

    parts = _opened(title, _HEIGHT)
    for rung in rungs:
        _, y = at(0, rung)
        parts.append(
            f'<line class="g" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(rung)}</text>'
        )
    for rung in _steps(x_high):
        x, y = at(rung, low)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{short(rung)}</text>'
        )
    for mark in marks:
        x, _ = at(mark.x, low)
        parts.append(
            f'<line class="m" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + tall}"/>'
            f'<text x="{x + 4:.1f}" y="{_TOP + 11}">{escape(mark.text)}</text>'
        )
    for number, line in enumerate(shown):
        color = number % len(_LIGHT)
        path = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in line.points)
        parts.append(f'<polyline class="l{color}" points="{path}"/>')
        if len(line.points) <= 12:
            for x, y in line.points:
                place = "cx='{:.1f}' cy='{:.1f}'".format(*at(x, y))
                parts.append(f'<circle class="f{color}" r="2.6" {place}/>')
    parts.append(
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - _BOTTOM + 32}" text-anchor="end">'
        f"{escape(x_says)}</text>"
        f'<text x="{_LEFT}" y="{_TOP - 6}">{escape(y_says)}</text>'
    )
    parts += _legend([line.name for line in shown], _HEIGHT - 24)
    return "\n".join([*parts, "</svg>", ""])


def bars(title: str, rows: Sequence[Bar], unit: str) -> str:
    """Rows of stacked parts, on a linear scale. Without a row: an empty text."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name, _ in row.parts))
    height = _TOP + _ROW_HEIGHT * len(rows) + 44
    room = _WIDTH - _LABELS_WIDTH - 110
    highest = max(sum(value for _, value in row.parts) for row in rows) or 1.0
    parts = _opened(title, height)
    for number, row in enumerate(rows):
        y = _TOP + _ROW_HEIGHT * number
        x = float(_LABELS_WIDTH)
        parts.append(
            f'<text x="{x - 8:.0f}" y="{y + 15}" text-anchor="end">{escape(row.name)}</text>'
        )
        for name, value in row.parts:
            width = room * value / highest
            color = names.index(name) % len(_LIGHT)
            parts.append(
                f'<rect class="f{color}" x="{x:.1f}" y="{y}" width="{max(width, 0):.1f}" '
                f'height="20"><title>{escape(name)}: {short(value)} {unit}</title></rect>'
            )
            x += width
        total = sum(value for _, value in row.parts)
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{short(total)} {escape(unit)}</text>')
    parts += _legend(names, height - 20)
    return "\n".join([*parts, "</svg>", ""])
