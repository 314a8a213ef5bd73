"""An evaluation told: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from rich import table as tables
from rich.console import Console
from rich.text import Text

from headwater.ops.evaluate_read import Faults
from headwater.ops.evaluate_statistics import Interval


class Table(NamedTuple):
    """A title, columns and rows of texts; all but the first column are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Report:
    """What was found in a file."""

    lines: int
    """Lines that could be used."""
    faults: Faults
    figures: dict[str, Any]
    """For programs."""
    tables: list[Table]
    """The same for people."""
    notes: list[str]
    """What a reader has to know before he believes the numbers."""


def share(interval: Interval) -> str:
    """A share in percent with its interval."""
    if interval.value is None or interval.low is None or interval.high is None:
        return "none"
    return f"{interval.value:.2%} ({interval.low:.2%} to {interval.high:.2%})"


def area(interval: Interval) -> str:
    """An area under a curve with its interval."""
    if interval.value is None or interval.low is None or interval.high is None:
        return "none: one class is empty"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def bounds(interval: Interval) -> dict[str, float | None]:
    """The interval alone, for a figure that is a plain number."""
    return {"low": interval.low, "high": interval.high}


def write_json(report: Report, path: Path, layout: str, out: TextIO) -> None:
    """One JSON object."""
    head = {
        "format": layout,
        "file": str(path),
        "lines": report.lines,
        "bad_lines": report.faults.count,
        "first_bad_lines": report.faults.told(),
    }
    whole = {**head, **report.figures, "notes": report.notes}
    # Escaped, so that a file's name that is no UTF-8 can be printed as well.
    out.write(json.dumps(whole) + "\n")


def print_report(report: Report, path: Path, screen: Console) -> None:
    """Tables, then what has to be known of them."""
    screen.print(Text(f"{path.name}: {report.lines} lines used, {report.faults.count} not"))
    for number, why in report.faults.first:
        screen.print(Text(f"  line {number}: {why}"))
    if report.faults.count > len(report.faults.first):
        screen.print(Text("  ..."))
    for each in report.tables:
        drawn = tables.Table(each.columns[0], title=each.title)
        for column in each.columns[1:]:
            drawn.add_column(column, justify="right")
        for row in each.rows:
            drawn.add_row(*map(Text, row))
        screen.print(drawn)
    for note in report.notes:
        screen.print(Text(note))
